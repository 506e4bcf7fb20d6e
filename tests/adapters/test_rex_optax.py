import pickle
import re
import subprocess
import sys
import time

import flax.linen as nn
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rex_optax import BudgetedSchedule, as_schedule
from sklearn.datasets import load_digits

from rex_core import (
    Join,
    Product,
    Replan,
    Restarts,
    Schedule,
    WallClock,
    bind,
    cosine,
    demon,
    every,
    every_fraction,
    falling_momentum,
    linear,
    one_cycle,
    rex,
    step,
)

try:
    from jax import enable_x64
except ImportError:  # Older versions of JAX.
    from jax.experimental import enable_x64

LARGEST = 2**31 - 1
RATE = Schedule(peak_value=0.1, end_value=0.001, init_value=0.01, warmup_steps=3)


class Network(nn.Module):
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images):
        hidden = nn.relu(nn.Dense(16, param_dtype=self.dtype, dtype=self.dtype)(images))
        return nn.Dense(10, param_dtype=self.dtype, dtype=self.dtype)(hidden)


def digits():
    images, labels = load_digits(return_X_y=True)
    return jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels)


def train_step(network, optimizer):
    """A real step on digits, and a list that grows by one at each trace of it."""
    traces = []

    def loss(params, images, labels):
        logits = network.apply(params, images).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def step(params, state, images, labels, extra):
        traces.append(None)
        grads = jax.grad(loss)(params, images, labels)
        updates, state = optimizer.update(grads, state, params, **extra)
        return optax.apply_updates(params, updates), state

    return step, traces


def start(optimizer, dtype=jnp.float32):
    network = Network(dtype)
    params = network.init(jax.random.key(0), jnp.zeros((1, 64)))
    step, traces = train_step(network, optimizer)
    images, labels = digits()
    return step, traces, params, optimizer.init(params), images[:64], labels[:64]


def applied_rates(optimizer, steps):
    """The rates that moved a parameter whose gradient is always 1."""
    params = jnp.zeros(())
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    rates = []
    for _ in range(steps):
        updates, state = update(jnp.ones(()), state, params)
        rates.append(-float(updates))
    return rates


def expected(schedule, T, steps):
    return [schedule(t, T) for t in range(steps)]


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.sgd(as_schedule(RATE, 20)),
        optax.chain(optax.scale_by_schedule(as_schedule(RATE, 20)), optax.scale(-1)),
        optax.inject_hyperparams(optax.sgd)(as_schedule(RATE, 20)),
        optax.inject_hyperparams(optax.sgd)(BudgetedSchedule(RATE, 20)),
    ],
    ids=["sgd", "scale_by_schedule", "inject_hyperparams", "BudgetedSchedule"],
)
def test_the_applied_rate_is_the_schedule(optimizer):
    np.testing.assert_allclose(applied_rates(optimizer, 25), expected(RATE, 20, 25), rtol=3e-7)


def test_multi_steps_advances_per_applied_update():
    optimizer = optax.MultiSteps(optax.sgd(as_schedule(RATE, 20)), every_k_schedule=3)
    rates = applied_rates(optimizer, 60)
    assert [rate for i, rate in enumerate(rates) if i % 3 != 2] == [0] * 40
    np.testing.assert_allclose(rates[2::3], expected(RATE, 20, 20), rtol=3e-7)


RATE_AND_MOMENTUM = one_cycle(0.1)
HYPERPARAMS = {
    "sgd with demon": (optax.sgd, {"learning_rate": RATE, "momentum": demon(0.9)}),
    "sgd with one_cycle": (
        optax.sgd,
        {"learning_rate": RATE_AND_MOMENTUM.lr, "momentum": RATE_AND_MOMENTUM.momentum},
    ),
    "adamw": (
        optax.adamw,
        {
            "learning_rate": RATE,
            "b1": demon(0.95),
            "weight_decay": Schedule(cosine, peak_value=0.1),
        },
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("make", [as_schedule, BudgetedSchedule])
@pytest.mark.parametrize("case", HYPERPARAMS.values(), ids=HYPERPARAMS)
def test_every_hyperparameter_follows_its_schedule(case, make):
    factory, schedules = case
    arguments = {name: make(schedule, 20) for name, schedule in schedules.items()}
    optimizer = optax.inject_hyperparams(factory)(**arguments)
    train, traces, params, state, images, labels = start(optimizer)
    for t in range(22):
        params, state = train(params, state, images, labels, {})
        for name, schedule in schedules.items():
            assert float(state.hyperparams[name]) == pytest.approx(schedule(t, 20), rel=3e-7)
    assert len(traces) == 1
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(params))


def test_the_optimizer_uses_what_is_scheduled():
    """Momentum of one step is what the update after a gradient of zero still moves."""
    optimizer = optax.inject_hyperparams(optax.sgd)(1.0, momentum=BudgetedSchedule(demon(0.8), 10))
    params = jnp.zeros(())
    state = optimizer.init(params)
    update, state = optimizer.update(jnp.ones(()), state, params)
    for t in range(1, 10):
        before = update
        update, state = optimizer.update(jnp.zeros(()), state, params)
        assert float(update / before) == pytest.approx(demon(0.8)(t, 10), rel=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("make", [as_schedule, BudgetedSchedule])
def test_the_rate_stays_float32_with_bfloat16_params(make):
    optimizer = optax.inject_hyperparams(optax.sgd)(make(RATE, 1000))
    train, traces, params, state, images, labels = start(optimizer, jnp.bfloat16)
    for t in range(5):
        params, state = train(params, state, images, labels, {})
        rate = state.hyperparams["learning_rate"]
        assert rate.dtype == jnp.float32
        assert float(rate) == pytest.approx(RATE(t, 1000), rel=3e-7)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}
    assert len(traces) == 1


def test_the_budget_is_part_of_the_state_and_changes_without_recompilation():
    optimizer = optax.inject_hyperparams(optax.sgd)(
        BudgetedSchedule(RATE, 20),
        momentum=BudgetedSchedule(demon(), 20),
    )
    train, traces, params, state, images, labels = start(optimizer)
    for _ in range(6):
        params, state = train(params, state, images, labels, {})
    for T in (40, 8, LARGEST):
        state = optax.tree_utils.tree_set(state, total_steps=jnp.int32(T))
        t = int(state.count)
        params, state = train(params, state, images, labels, {})
        assert float(state.hyperparams["learning_rate"]) == pytest.approx(RATE(t, T), rel=3e-7)
        assert float(state.hyperparams["momentum"]) == pytest.approx(demon()(t, T), rel=3e-7)
    assert len(traces) == 1


def test_extra_args_take_the_place_of_the_counters():
    optimizer = optax.inject_hyperparams(optax.sgd)(BudgetedSchedule(Schedule(peak_value=0.1), 20))
    train, traces, params, state, images, labels = start(optimizer)
    for seconds in (0.0, 12.5, 3599.0, 3600.0, 4000.0):
        extra = {"t": seconds, "T": 3600.0}
        params, state = train(params, state, images, labels, extra)
        rate = Schedule(peak_value=0.1)(seconds, 3600.0)
        assert float(state.hyperparams["learning_rate"]) == pytest.approx(rate, rel=1e-5)
    assert len(traces) == 1
    _, state = optimizer.update(params, state, params, t=30.0, T=60.0)
    assert state.hyperparams["learning_rate"].dtype == jnp.float32
    assert float(state.hyperparams["learning_rate"]) == pytest.approx(0.1 * rex(30.0, 60.0))


def test_state():
    schedule = BudgetedSchedule(RATE, 20)
    state = schedule.init()
    assert isinstance(schedule, optax.schedules.StatefulSchedule)
    assert (state.count, state.total_steps) == (0, 20)
    assert {state.count.dtype, state.total_steps.dtype} == {jnp.dtype("int32")}
    assert schedule.update(state, loss=1.0).count == 1
    full = state._replace(count=jnp.int32(LARGEST), total_steps=jnp.int32(LARGEST))
    assert schedule.update(full).count == LARGEST
    assert schedule(full) == np.float32(RATE.end_value)


@pytest.mark.parametrize(
    "schedule",
    [
        RATE,
        Schedule(bind(rex, beta=0.9), bind(every_fraction, fraction=0.05), warmup_ratio=0.1),
        Join([RATE, Restarts(Schedule(cosine), 3, period_mult=2, peak_mult=0.5)], [0.4]),
    ],
    ids=["warmup", "sampled", "join"],
)
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_a_train_step_exports(platform, schedule):
    optimizer = optax.inject_hyperparams(optax.sgd)(
        BudgetedSchedule(schedule, 1000), momentum=BudgetedSchedule(demon(), 1000)
    )
    train, _, params, state, images, labels = start(optimizer)
    exported = jax.export.export(train, platforms=[platform])(params, state, images, labels, {})
    program = exported.mlir_module()
    assert exported.platforms == (platform,)
    assert "stablehlo" in program
    assert not re.search(r"tensor<([0-9?]+x)*[a-z]*64>", program)
    assert "custom_call" not in program
    assert "callback" not in program


def test_six_budgets_share_one_compilation():
    traces = []

    @jax.jit
    def train(T):
        traces.append(None)
        optimizer = optax.sgd(as_schedule(Schedule(peak_value=1.0), T))

        def body(_, carry):
            params, state = carry
            updates, state = optimizer.update(jnp.ones(()), state, params)
            return optax.apply_updates(params, updates), state

        params = jnp.zeros(())
        return jax.lax.fori_loop(0, T, body, (params, optimizer.init(params)))[0]

    for T in (1, 5, 10, 25, 50, 100):
        total = sum(rex(t, T) for t in range(T))
        assert float(train(T)) == pytest.approx(-total, rel=1e-5)
    assert len(traces) == 1


VALUES = [
    (RATE, 7),
    (Schedule(bind(rex, beta=0.9), bind(every_fraction, fraction=0.05)), 9),
    (bind(step, milestones=(0.3, 0.6), factor=0.5), 1),
    (Join([RATE, Schedule(cosine)], [0.5]), 14),
    (Restarts(RATE, 3, period_mult=2), 8),
    (Replan(RATE, 10, 50), 9),
    (Replan(rex, 10, 50), 2),
]


@pytest.mark.parametrize(("value", "leaves"), VALUES)
def test_pytrees(value, leaves):
    flat, structure = jax.tree.flatten(value)
    assert len(flat) == leaves
    assert jax.tree.unflatten(structure, flat) == value
    placeholders = jax.tree.unflatten(structure, [object()] * leaves)
    assert jax.tree.structure(placeholders) == structure
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(value)]
    assert len(set(paths)) == leaves


@pytest.mark.long
@pytest.mark.parametrize(("value", "leaves"), VALUES)
def test_a_schedule_is_an_argument_of_a_jitted_function(value, leaves):
    call = jax.jit(lambda value, t, T: value(t, T))
    for T in (100, 997):
        steps = np.arange(T + 1)
        np.testing.assert_allclose(call(value, steps, T), value(steps, T), rtol=2e-6)


def test_one_program_sweeps_peak_end_warmup_and_beta():
    sweep = [
        Schedule(bind(rex, beta=beta), peak_value=peak, end_value=end, warmup_steps=warmup)
        for beta, peak, end, warmup in [
            (0.5, 0.1, 0.0, 0),
            (0.9, 0.3, 0.01, 7),
            (-1.0, 1.0, 0.1, 50),
        ]
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *sweep)
    values = jax.jit(jax.vmap(lambda schedule, t: schedule(t, 100), (0, None)))
    for t in (0, 6, 7, 50, 99, 100):
        expected_values = [schedule(t, 100) for schedule in sweep]
        np.testing.assert_allclose(values(stacked, t), expected_values, rtol=1e-6)


def test_gradients_reach_the_numbers_of_a_schedule():
    grads = jax.grad(lambda schedule: schedule(50, 100), allow_int=True)(
        Schedule(bind(rex, beta=0.5))
    )
    assert float(grads.peak_value) == pytest.approx(rex(50, 100))
    assert float(grads.profile.params["beta"]) == pytest.approx(0.25 / 0.75**2)


def test_pickle():
    schedule = pickle.loads(pickle.dumps(as_schedule(RATE, 20)))
    assert [schedule(t) for t in range(20)] == expected(RATE, 20, 20)
    budgeted = BudgetedSchedule(RATE, 20)
    assert pickle.loads(pickle.dumps(budgeted)) == budgeted


def test_without_jax_the_extra_is_named():
    code = "import sys; sys.modules['jax'] = None; import rex_optax"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "pip install 'rex-schedules[jax]'" in run.stderr


@pytest.mark.parametrize("leaf", [None, (1, 2), "x", 0.5], ids=str)
def test_a_tree_keeps_its_structure_whatever_its_leaves_become(leaf):
    """As `in_axes`, shardings and masks made by jax.tree.map need it."""
    for value in (
        Schedule(bind(step, milestones=(0.5,), factor=0.3), bind(every, steps=3), peak_value=0.1),
        Join([Schedule(bind(rex, beta=0.9)), rex], [0.5]),
        Restarts(Schedule(), 2, period_mult=2),
        Replan(Schedule(bind(rex, beta=0.9)), 1, 2),
    ):
        mapped = jax.tree.map(lambda _: leaf, value)
        # Where a field is None, as decay_steps, there is a leaf only to who takes None for one.
        treedef, again = (
            jax.tree.structure(tree, is_leaf=lambda node: node is leaf) for tree in (value, mapped)
        )
        assert again == treedef
        assert hash(again) == hash(treedef)


@pytest.mark.long
def test_a_run_of_one_second():
    """The rate of each update is that of the moment at which it began; compiled once, for free."""
    rate = Schedule(linear, peak_value=0.25, end_value=0.001)
    optimizer = optax.inject_hyperparams(optax.sgd)(BudgetedSchedule(rate, 1), momentum=0.9)
    train, traces, params, state, images, labels = start(optimizer)

    def loss(params):
        logits = Network().apply(params, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    untrained = loss(params)
    jax.block_until_ready(train(params, state, images, labels, {"t": 0.0, "T": 1.0}))
    before = time.monotonic()
    clock = WallClock(1)
    times = []
    while (t := clock.t) < clock.T:
        times.append(t)
        params, state = train(params, state, images, labels, {"t": t, "T": clock.T})
        # The wait keeps Python from running ahead of the device, and the clock with it.
        assert float(state.hyperparams["learning_rate"]) == pytest.approx(rate(t, 1), rel=1e-5)
    assert times[-1] < 1 <= clock.t <= time.monotonic() - before
    _, state = train(params, state, images, labels, {"t": clock.t, "T": clock.T})
    assert state.hyperparams["learning_rate"] == np.float32(0.001)
    assert state.hyperparams_states["learning_rate"].count == len(times) + 1
    assert len(traces) == 1
    assert loss(params) < untrained


TOKENS, STEP = 300 * 10**9, 2**19


@pytest.mark.long
def test_tokens_beyond_int32_are_refused_or_exact():
    rate = Schedule(peak_value=3e-4, end_value=3e-5, warmup_ratio=1 / 800)
    optimizer = optax.inject_hyperparams(optax.sgd)(BudgetedSchedule(rate, 1000))
    update = jax.jit(lambda state, t, T: optimizer.update(0.0, state, 0.0, t=t, T=T)[1])
    with pytest.raises(OverflowError, match="An overflow was encountered while parsing"):
        update(optimizer.init(0.0), STEP, TOKENS)
    spent = [0, STEP, TOKENS // 800, TOKENS // 2, TOKENS - 1, TOKENS]
    with enable_x64(True):
        for t in spent:
            found = update(optimizer.init(0.0), t, TOKENS).hyperparams["learning_rate"]
            assert float(found) == pytest.approx(rate(t, TOKENS), rel=1e-14)


def test_a_rate_worked_out_by_the_host():
    """Python's integers have no end; the compiled step takes the number that comes of them."""
    rate = Schedule(peak_value=0.1)
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)
    train, traces, params, state, images, labels = start(optimizer)
    for t in (0, STEP, TOKENS - STEP, TOKENS - 1, TOKENS):
        state = optax.tree_utils.tree_set(state, learning_rate=jnp.float32(rate(t, TOKENS)))
        params, state = train(params, state, images, labels, {})
        assert state.hyperparams["learning_rate"] == np.float32(rate(t, TOKENS))
    assert len(traces) == 1


@pytest.mark.parametrize(
    "make", [lambda b: as_schedule(RATE, b), lambda b: BudgetedSchedule(RATE, b)]
)
def test_a_clock_is_no_budget_of_a_compiled_schedule(make):
    with pytest.raises(ValueError, match=r"total_steps must be an integer .* got <WallClock"):
        make(WallClock(60))


def test_a_tree_keeps_the_order_of_its_schedules():
    """A plain profile is structure, a schedule beside it a child."""
    for value in (
        Join([linear, Schedule(cosine, peak_value=0.1)], [0.5]),
        Product((linear, Schedule(cosine, peak_value=0.1))),
    ):
        leaves, structure = jax.tree.flatten(value)
        assert jax.tree.unflatten(structure, leaves) == value


def test_a_number_of_a_function_is_no_weak_array():
    """inject_hyperparams would cast it to the dtype of the parameters."""
    budgeted = BudgetedSchedule(lambda t, T: 0.1, 100)
    value = budgeted(budgeted.init())
    assert (value.dtype, value.weak_type) == (jnp.float32, False)


@pytest.mark.long
def test_a_float_between_two_updates():
    """Without a plan it is the place itself, to the last digit."""
    budgeted = BudgetedSchedule(Schedule(linear), 97)
    state = budgeted.init()
    for t in np.linspace(0.1, 96.9, 50, dtype=np.float32):
        found = jax.jit(lambda t: budgeted(state, t=t))(t)
        assert found == jax.jit(lambda t: linear(t, 97))(t)


def test_a_pair_sets_the_rate_and_the_momentum_of_sgd():
    """Against the loop written by hand: v = m·v + g, w = w - rate·v."""
    T, pair = 20, falling_momentum(0.02, warmup_ratio=0.1)
    tx = optax.inject_hyperparams(optax.sgd)(
        BudgetedSchedule(pair.lr, T), momentum=BudgetedSchedule(pair.momentum, T)
    )
    w = jnp.array([1.0, -2.0])
    state = tx.init(w)
    by_hand, trace = np.array([1.0, -2.0]), np.zeros(2)
    for t in range(T):
        updates, state = tx.update(2 * w, state, w)
        w = optax.apply_updates(w, updates)
        trace = pair.momentum(t, T) * trace + 2 * by_hand
        by_hand = by_hand - pair.lr(t, T) * trace
        np.testing.assert_allclose(w, by_hand, rtol=1e-5, atol=1e-6)


def test_a_pair_is_a_pytree_of_its_numbers():
    peaks = [0.1, 0.2, 0.4]
    stacked = jax.tree.map(lambda *leaves: jnp.array(leaves), *map(falling_momentum, peaks))
    found = jax.vmap(lambda pair: jnp.stack([each(30, 100) for each in pair]))(stacked)
    expected = [[each(30, 100) for each in falling_momentum(peak)] for peak in peaks]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
