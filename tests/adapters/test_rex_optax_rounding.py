"""Updates of bfloat16 weights that are smaller than their last digit, against exact sums."""

from functools import cache

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax import nnx
from rex_optax import (
    BudgetedSchedule,
    KahanState,
    kahan_summation,
    restart,
    resume,
    stochastic_rounding,
)
from sklearn.datasets import load_digits

from rex_core import Schedule

pytestmark = pytest.mark.long

FINISHES = {"kahan": kahan_summation, "stochastic": lambda: stochastic_rounding(1)}
every_finish = pytest.mark.parametrize("finish", FINISHES)
RNG = np.random.default_rng(0)


def exact(array):
    return np.asarray(array).astype(np.float64)


def applied(finish, params, updates, state=None, **extra):
    """The parameters after an update, and the state."""
    state = finish.init(params) if state is None else state
    updates, state = finish.update(updates, state, params, **extra)
    return optax.apply_updates(params, updates), state


def pairs(count=20_000):
    """Weights and updates of all signs and ratios, sums that nearly cancel among them."""
    weights = RNG.normal(size=count) * 10.0 ** RNG.integers(-8, 4, count)
    updates = RNG.normal(size=count) * 10.0 ** RNG.integers(-8, 4, count)
    updates[: count // 4] = -weights[: count // 4] * (1 + RNG.normal(size=count // 4) / 500)
    return jnp.asarray(weights, jnp.bfloat16), jnp.asarray(updates, jnp.float32)


def same(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def neighbours(sums):
    """The bfloat16 numbers below and above float32 sums."""
    near = sums.astype(ml_dtypes.bfloat16)
    wide = near.astype(np.float32)
    infinity = np.array(np.inf, ml_dtypes.bfloat16)
    below = np.where(wide > sums, np.nextafter(near, -infinity), near)
    above = np.where(wide < sums, np.nextafter(near, infinity), near)
    return exact(below), exact(above)


def test_rounded_to_one_of_two_neighbours():
    params, updates = pairs()
    after, _ = applied(stochastic_rounding(0), params, updates)
    sums = np.asarray(params).astype(np.float32) + np.asarray(updates)
    below, above = neighbours(sums)
    after = exact(after)
    assert ((after == below) | (after == above)).all()
    inside = (exact(sums) != below) & (exact(sums) != above)
    up = (after == above)[inside].mean()
    assert inside.mean() > 0.5
    assert 0.45 < up < 0.55
    assert (after[~inside] == exact(sums)[~inside]).all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("weight", [1.0, 1.9921875, 1e-30, 2.0**100])
@pytest.mark.parametrize("share", [0, 2**-16, 0.25, 0.5, 0.9])
def test_the_mean_is_right(sign, weight, share):
    count = 200_000
    params = jnp.full(count, sign * weight, jnp.bfloat16)
    ulp = neighbours(np.float32([weight * (1 + 2.0**-9)]))
    ulp = float(ulp[1][0] - ulp[0][0])
    # No weight of one digit more than its neighbour: the distance to it is the same everywhere.
    updates = jnp.full(count, sign * share * ulp, jnp.float32)
    after, _ = applied(stochastic_rounding(2), params, updates)
    ups = np.mean(np.abs(exact(after)) > float(params[0]) * sign)
    # Five standard deviations of the mean of so many.
    assert abs(ups - share) <= 5 * (share * (1 - share) / count) ** 0.5


def test_what_is_not_finite_stays_so():
    params = jnp.asarray([1, 1, 1, 0], jnp.bfloat16)
    updates = jnp.asarray([jnp.inf, -jnp.inf, jnp.nan, 0])
    after, _ = applied(stochastic_rounding(0), params, updates)
    np.testing.assert_array_equal(exact(after), exact(updates))


def test_noise():
    params, updates = jnp.ones(1000, jnp.bfloat16), jnp.full(1000, 1e-3)
    both = {"a": params, "b": params}, {"a": updates, "b": updates}

    def twice(seed, **extra):
        finish = stochastic_rounding(seed)
        first, state = applied(finish, *both, **extra)
        second, state = applied(finish, *both, state, **extra)
        assert int(state.count) == 2
        return [exact(part) for after in (first, second) for part in after.values()]

    def alike(a, b):
        return np.array_equal(np.array(a), np.array(b))

    four = twice(0)
    assert len({part.tobytes() for part in four}) == 4  # Of two steps and two weights.
    assert alike(four, twice(jax.random.key(0)))
    assert alike(four, twice(np.int64(0)))
    assert alike(four, twice(jnp.int32(0)))
    assert not alike(four, twice(1))
    first, second = np.split(np.array(twice(0, key=jax.random.key(7))), 2)
    assert alike(first, second)
    assert alike(twice(1, key=jax.random.key(7)), twice(0, key=7))
    assert alike(twice(jax.random.PRNGKey(3)), twice(jax.random.PRNGKey(3)))


def test_sums_are_exact():
    """Where the owed sum has digits enough, nothing is lost at any step."""
    steps = RNG.integers(-8, 9, (300, 500))
    params = jnp.asarray(RNG.choice([-1.0, 1.0, 1.5, 3.0], 500), jnp.bfloat16)
    total = exact(params)
    state = kahan_summation().init(params)
    for step in steps:
        updates = jnp.asarray(step * 2.0**-14, jnp.float32)
        params, state = applied(kahan_summation(), params, updates, state)
        total += exact(updates)
        np.testing.assert_array_equal(exact(params) + exact(state.owed), total)
    nearest = np.asarray(jnp.asarray(total, jnp.bfloat16)).astype(np.float64)
    np.testing.assert_array_equal(exact(params), nearest)


def test_the_error_of_a_sum_is_bounded():
    """2^-16 of the weight for each update, for updates of any size up to the weight's."""
    params = jnp.asarray(RNG.uniform(1, 2, 2000), jnp.bfloat16)
    total, bound, naive = exact(params), np.zeros(2000), params
    state = kahan_summation().init(params)
    for _ in range(200):
        size = 10.0 ** RNG.uniform(-6, -2, 2000)
        updates = jnp.asarray(size, jnp.float32)
        params, state = applied(kahan_summation(), params, updates, state)
        naive = optax.apply_updates(naive, updates)
        total += exact(updates)
        bound += exact(params) * 2.0**-16
        assert (np.abs(exact(params) + exact(state.owed) - total) <= bound).all()
    errors = np.abs(exact(params) + exact(state.owed) - total)
    assert np.median(np.abs(exact(naive) - total)) > 100 * np.median(errors)


def test_one_update_is_rounded_to_the_nearest():
    params, updates = pairs()
    after, state = applied(kahan_summation(), params, updates)
    sums = np.asarray(params).astype(np.float32) + np.asarray(updates)
    np.testing.assert_array_equal(exact(after), exact(sums.astype(ml_dtypes.bfloat16)))
    left = exact(params) + exact(updates) - exact(after)
    # A digit of bfloat16, and one of float32 where the update is the larger one.
    bound = np.abs(left) * 2.0**-8 + np.abs(exact(updates)) * 2.0**-23
    assert (np.abs(exact(state.owed) - left) <= bound).all()


@every_finish
def test_the_same_under_jit_scan_and_vmap(finish):
    finish = FINISHES[finish]()
    params = jnp.asarray(RNG.normal(size=(3, 50)), jnp.bfloat16)
    updates = jnp.asarray(RNG.normal(size=(20, 3, 50)) / 1000, jnp.float32)

    def step(carried, update):
        params, state = carried
        return applied(finish, params, update, state), None

    def scan(params, updates):
        return jax.lax.scan(step, (params, finish.init(params)), updates)[0]

    eager = jitted = params, finish.init(params)
    for update in updates:
        eager, _ = step(eager, update)
        jitted, _ = jax.jit(step)(jitted, update)
    same(jitted, eager)
    same(jax.jit(scan)(params, updates), eager)
    assert not np.array_equal(exact(eager[0]), exact(params))

    rows = [scan(params[i], updates[:, i]) for i in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)
    together = jax.jit(jax.vmap(scan, (0, 1)))(params, updates)
    same(together, stacked)


@every_finish
def test_other_dtypes(finish):
    finish = FINISHES[finish]()
    params = {"w": jnp.ones(3, jnp.bfloat16), "scale": jnp.ones(2), "steps": jnp.arange(2)}
    updates = {"w": jnp.full(3, 1e-3), "scale": jnp.full(2, 1e-3), "steps": jnp.arange(2)}
    params["number"] = updates["number"] = 0.5
    state = finish.init(params)
    for _ in range(100):
        changed, state = finish.update(updates, state, params)
        assert changed["steps"] is updates["steps"]
        params = {**params, "scale": optax.apply_updates(params["scale"], changed["scale"])}
    assert params["scale"].dtype == jnp.float32
    # Plain sums of float32 are off by more; only Kahan's are exact to the last digit.
    error = np.abs(exact(params["scale"]) - (1 + 100 * exact(updates["scale"]))).max()
    assert error <= (6e-8 if isinstance(state, KahanState) else 1e-5)
    after = optax.apply_updates(params, changed)
    assert float(after["number"]) == 1.0
    assert {key: jnp.result_type(w) for key, w in after.items()} == {
        key: jnp.result_type(w) for key, w in params.items()
    }
    for dtype in (jnp.float16, jnp.float8_e4m3fn):
        short = {"a": jnp.ones(1), "b": [jnp.ones(1, dtype)]}
        with pytest.raises(ValueError, match=rf"got {jnp.dtype(dtype).name} at params\['b'\]\[0\]"):
            finish.init(short)
    with pytest.raises(ValueError, match="params must be given to update"):
        finish.update(updates, state)


@pytest.mark.parametrize("key", [-1, 2**31, 1.0, True, None, "key", jnp.float32(1)])
def test_bad_keys_are_refused(key):
    with pytest.raises(ValueError, match=r"key must be a key of jax.random or a seed in \[0, 2"):
        stochastic_rounding(key)


@every_finish
def test_in_the_chains_of_optax(finish):
    """Beside schedules in the state, accumulation, masks and steps that are not finite."""
    rate = BudgetedSchedule(Schedule(peak_value=0.01), total_steps=4)
    sgd = optax.inject_hyperparams(optax.sgd, hyperparam_dtype=jnp.float32)(rate)
    chain = optax.chain(sgd, FINISHES[finish]())
    optimizers = [
        chain,
        optax.MultiSteps(chain, 2),
        optax.apply_if_finite(chain, 3),
        optax.masked(chain, {"w": True, "fixed": False}),
    ]
    start = {"w": jnp.ones(1000, jnp.bfloat16), "fixed": jnp.zeros(2)}
    gradients = {"w": jnp.full(1000, 0.1), "fixed": jnp.zeros(2)}
    for optimizer in optimizers:
        params, state = start, optimizer.init(start)
        update = jax.jit(optimizer.update)
        for _ in range(8 if optimizer is optimizers[1] else 4):
            updates, state = update(gradients, state, params)
            params = optax.apply_updates(params, updates)
        # Each update is smaller than half of a last digit, and their sum is not.
        total = 1 - 0.1 * sum(rate.schedule(t, 4) for t in range(4))
        if finish == "kahan":
            assert exact(params["w"])[0] == pytest.approx(total, abs=2**-9)
        else:
            assert exact(params["w"]).mean() == pytest.approx(total, abs=5e-4)


@cache
def runner(optimizer, dtype):
    """Training on the digits from one step to another, compiled; and the loss on all of them."""
    images, labels = load_digits(return_X_y=True)
    images, labels = jnp.asarray(images / 16, dtype), jnp.asarray(labels)

    def loss(params, rows):
        hidden = jax.nn.relu(images[rows] @ params["w1"])
        logits = (hidden @ params["w2"]).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()

    def step(t, carried):
        params, state = carried
        grads = jax.grad(loss)(params, (jnp.arange(64) + t * 64) * 7 % len(images))
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    @jax.jit
    def run(first, last, *carried):
        params, state = jax.lax.fori_loop(first, last, step, carried)
        return params, state, loss(params, jnp.arange(len(images)))

    return run


def train(optimizer, state, params, steps, dtype=jnp.bfloat16):
    params, state, loss = runner(optimizer, dtype)(*steps, params, state)
    return params, state, float(loss)


def start(dtype=jnp.bfloat16):
    one, two = jax.random.split(jax.random.key(0))
    weights = {"w1": jax.random.normal(one, (64, 32)), "w2": jax.random.normal(two, (32, 10))}
    return jax.tree.map(lambda w: (w / len(w) ** 0.5).astype(dtype), weights)


def sgd(T):
    rate = BudgetedSchedule(Schedule("linear", peak_value=0.02), total_steps=T)
    return optax.inject_hyperparams(optax.sgd, hyperparam_dtype=jnp.float32)(rate)


def test_digits_learn_as_in_float32():
    """The loss after small updates: what rounding to the nearest loses, both bring back."""
    T = 500
    losses = {}
    for name, finish in {"nearest": optax.identity, **FINISHES}.items():
        optimizer = optax.chain(sgd(T), finish())
        *_, losses[name] = train(optimizer, optimizer.init(start()), start(), (0, T))
    wide = start(jnp.float32)
    *_, reference = train(sgd(T), sgd(T).init(wide), wide, (0, T), jnp.float32)
    lost = losses["nearest"] - reference
    assert lost > 0.1 * reference
    for name in FINISHES:
        assert abs(losses[name] - reference) < 0.2 * lost


@every_finish
def test_saved_and_restored(finish, tmp_path):
    T = 60
    optimizer = optax.chain(sgd(T), FINISHES[finish]())
    params, state, _ = train(optimizer, optimizer.init(start()), start(), (0, 30))
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "half", (params, state))
    fresh = start(), optimizer.init(start())
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        restored = checkpointer.restore(tmp_path / "half", fresh)
        bare = checkpointer.restore(tmp_path / "half")
    same(restored, (params, state))
    whole, last, _ = train(optimizer, state, params, (30, T))
    for params, state in (restored, (restored[0], resume(bare[1], fresh[1]))):
        again, end, _ = train(optimizer, state, params, (30, T))
        same((again, end), (whole, last))
    # A new phase starts the schedule again, and keeps what is owed and the place in the noise.
    second = restart(restored[1], fresh[1])
    same(second[1], restored[1][1])
    assert int(second[0].hyperparams_states["learning_rate"].count) == 0


@every_finish
def test_flax_nnx(finish):
    model = nnx.Linear(40, 50, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    chain = optax.chain(optax.sgd(1e-4), FINISHES[finish]())
    optimizer = nnx.Optimizer(model, chain, wrt=nnx.Param)
    before = exact(model.kernel[...])

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(model, jax.tree.map(jnp.ones_like, nnx.state(model, nnx.Param)))

    for _ in range(50):
        step(model, optimizer)
    assert model.kernel[...].dtype == jnp.bfloat16
    moved = (exact(model.kernel[...]) - before).mean()
    assert moved == pytest.approx(-50e-4, rel=0.05)
