"""Gradient norms recorded by rex_optax while a real network trains."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from rex_optax import BudgetedSchedule, gradient_norms, record_gradient_norms, restart, resume
from sklearn.datasets import load_digits

from benchmarks.budgeted.compilations import compilations
from rex_core import Schedule, refine
from tests.adapters.norms import T, both, clipped, norm_of

pytestmark = pytest.mark.long

BATCH = 64
IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES = (IMAGES / 16).astype(np.float32)


def batch(t):
    chosen = slice(t * BATCH, (t + 1) * BATCH)
    return IMAGES[chosen], LABELS[chosen]


def start(dtype=jnp.float32):
    one, two = jax.random.split(jax.random.key(0))
    params = {
        "w1": jax.random.normal(one, (64, 32)) / 8,
        "b1": jnp.zeros(32),
        "w2": jax.random.normal(two, (32, 10)) / 6,
    }
    return jax.tree.map(lambda array: array.astype(dtype), params)


def loss(params, images, labels):
    logits = jax.nn.relu(images @ params["w1"] + params["b1"]) @ params["w2"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def train_in_optax(tx, steps=T, *, params=None, opt_state=None, donate=False):
    """The state of the optimizer, and the gradient of each step."""
    params = start() if params is None else params
    opt_state = tx.init(params) if opt_state is None else opt_state

    def step(params, opt_state, images, labels):
        grads = jax.grad(loss)(params, images, labels)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, grads

    step = jax.jit(step, donate_argnums=(0, 1) if donate else ())
    seen = []
    for t in range(steps):
        params, opt_state, grads = step(params, opt_state, *batch(t))
        seen.append(jax.tree.map(np.asarray, grads))
    return opt_state, seen


def norms_of(gradients, norm):
    return [norm_of(jax.tree.leaves(each), norm) for each in gradients]


@both
@pytest.mark.parametrize("donate", [False, True])
def test_records_the_gradient_of_each_update(norm, donate):
    tx = optax.chain(record_gradient_norms(T, norm=norm), optax.adam(0.01))
    opt_state, seen = train_in_optax(tx, donate=donate)
    norms = gradient_norms(opt_state)
    assert (norms.dtype, norms.shape, type(norms)) == (np.float32, (T,), np.ndarray)
    np.testing.assert_allclose(norms, norms_of(seen, norm), rtol=1e-5)
    assert len(np.unique(norms)) == T
    assert refine(norms, T, norm=norm)(T, T) == 0


def test_passes_updates_on_unchanged():
    plain, _ = train_in_optax(optax.adam(0.01))
    (_, recording), _ = train_in_optax(optax.chain(record_gradient_norms(T), optax.adam(0.01)))
    assert jax.tree.all(jax.tree.map(np.array_equal, plain, recording))


def test_before_and_after_clipping():
    most = 0.41
    tx = optax.chain(
        record_gradient_norms(T),
        optax.clip_by_global_norm(most),
        record_gradient_norms(T),
        optax.sgd(0.1),
    )
    opt_state, seen = train_in_optax(tx)
    expected = norms_of(seen, "l2")
    assert min(expected) < most < max(expected)
    np.testing.assert_allclose(gradient_norms(opt_state[0]), expected, rtol=1e-5)
    np.testing.assert_allclose(gradient_norms(opt_state[2]), clipped(expected, most), rtol=1e-5)
    with pytest.raises(ValueError, match=r"^opt_state must have .* got a tuple with 2 of them$"):
        gradient_norms(opt_state)


@both
def test_accumulates(norm):
    chain = optax.chain(record_gradient_norms(T, norm=norm), optax.sgd(0.1))
    opt_state, seen = train_in_optax(optax.MultiSteps(chain, 3))
    means = [
        jax.tree.map(lambda *parts: np.mean(parts, axis=0), *seen[t : t + 3])
        for t in range(0, T, 3)
    ]
    np.testing.assert_allclose(gradient_norms(opt_state), norms_of(means, norm), rtol=1e-5)


def test_leaves_skipped_steps_out():
    tx = optax.apply_if_finite(optax.chain(record_gradient_norms(T), optax.sgd(0.1)), 5)
    opt_state = tx.init(1.0)
    for gradient in (3.0, jnp.nan, 2.0, jnp.inf, 1.0):
        _, opt_state = tx.update(gradient, opt_state)
    assert gradient_norms(opt_state).tolist() == [3, 2, 1]


def test_records_nan_where_nothing_is_skipped_and_refine_says_what_to_do():
    tx = record_gradient_norms(T)
    opt_state = tx.init(1.0)
    for gradient in (3.0, jnp.nan, 2.0):
        _, opt_state = tx.update(gradient, opt_state)
    norms = gradient_norms(opt_state)
    with pytest.raises(ValueError, match=r"got nan at t = 1 \(a step that was skipped"):
        refine(norms, 3)
    norms = norms[np.isfinite(norms)]
    assert refine(norms, len(norms)).params["values"] == (1, 0)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@both
def test_adds_up_16_bits_in_32(dtype, norm):
    gradient = jnp.full((300, 300), 0.75, dtype)  # In float16 the sum would be infinite.
    tx = record_gradient_norms(1, norm=norm)
    _, opt_state = jax.jit(tx.update)({"w": gradient}, tx.init(None))
    np.testing.assert_allclose(gradient_norms(opt_state), {"l2": 225, "l1": 67500}[norm], rtol=1e-5)


def test_steps_are_not_compiled_again():
    tx = optax.chain(record_gradient_norms(T), optax.sgd(0.1))
    opt_state, _ = train_in_optax(tx, 2)
    update = jax.jit(tx.update)
    update(start(), opt_state)
    with compilations() as compiled:
        for _ in range(3):
            _, opt_state = update(start(), opt_state)
    assert not [name for name in compiled if "update" in name]


@both
@pytest.mark.parametrize("links", [(), (optax.clip_by_global_norm(1.0),)])
def test_no_step_writes_squares_to_memory(norm, links):
    """Adam has use for them too, and XLA would share them with the norm."""
    params, images = jnp.ones((512, 512)), jnp.ones((64, 512))

    def memory(*links):
        tx = optax.chain(*links, optax.adam(0.01))

        def step(params, opt_state):
            grads = jax.grad(lambda params: jnp.tanh(images @ params).sum())(params)
            updates, opt_state = tx.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, tx.init(params)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    recording = memory(*links, record_gradient_norms(T, norm=norm))
    assert recording < memory(*links) + params.nbytes / 100


def test_lanes():
    tx = optax.chain(record_gradient_norms(T), optax.sgd(0.1))
    lanes = jnp.array([1.0, 2.0])
    opt_state = jax.vmap(tx.init)(lanes)
    with pytest.raises(ValueError, match=r"^opt_state must have lanes .* counts from 0 to 1$"):
        gradient_norms((opt_state[0]._replace(count=jnp.array([0, 1])),))
    for _ in range(3):
        _, opt_state = jax.vmap(tx.update)(lanes, opt_state)
    assert gradient_norms(opt_state).tolist() == [[1, 1, 1], [2, 2, 2]]


def test_a_run_that_is_longer_than_the_record():
    opt_state, seen = train_in_optax(optax.chain(record_gradient_norms(4), optax.sgd(0.1)), 6)
    with pytest.warns(UserWarning, match="at least 6, .* got 4, .* the first 4"):
        norms = gradient_norms(opt_state)
    np.testing.assert_allclose(norms, norms_of(seen, "l2")[:4], rtol=1e-5)


def test_part_of_a_run():
    tx = optax.chain(record_gradient_norms(T), optax.sgd(0.1))
    assert gradient_norms(tx.init(start())).shape == (0,)
    opt_state, _ = train_in_optax(tx, 5)
    assert gradient_norms(opt_state).shape == (5,)


def test_resume_keeps_the_record_and_restart_empties_it():
    def make(total_steps):
        rate = BudgetedSchedule(Schedule(peak_value=0.1), total_steps)
        return optax.chain(record_gradient_norms(2 * T), optax.inject_hyperparams(optax.sgd)(rate))

    tx = make(T)
    opt_state, seen = train_in_optax(tx, 5)
    fresh = make(2 * T).init(start())
    np.testing.assert_allclose(
        gradient_norms(resume(opt_state, fresh)), norms_of(seen, "l2"), rtol=1e-5
    )
    restarted = restart(opt_state, fresh)
    assert gradient_norms(restarted).shape == (0,)
    restarted, seen = train_in_optax(make(2 * T), 3, opt_state=restarted)
    np.testing.assert_allclose(gradient_norms(restarted), norms_of(seen, "l2"), rtol=1e-5)
    shorter = optax.chain(record_gradient_norms(T), make(T)).init(start())[:1]
    with pytest.raises(ValueError, match=r"0/norms has shape \(24,\), and \(12,\) in fresh"):
        resume(opt_state, (*shorter, fresh[1]))


def test_where_states_are_kept():
    tx = optax.chain(record_gradient_norms(T), optax.sgd(0.1))
    model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    optimizer.update(model, jax.tree.map(jnp.ones_like, nnx.state(model, nnx.Param)))
    np.testing.assert_allclose(gradient_norms(optimizer), [3**0.5], rtol=1e-6)

    state = TrainState.create(apply_fn=None, params=start(), tx=tx)
    state = state.apply_gradients(grads=start())
    (expected,) = norms_of([start()], "l2")
    np.testing.assert_allclose(gradient_norms(state), [expected], rtol=1e-6)
    count, norms = state.opt_state[0]
    restored = [{"count": np.asarray(count), "norms": np.asarray(norms)}, [{}, {}]]
    np.testing.assert_allclose(gradient_norms(restored), [expected], rtol=1e-6)


@pytest.mark.parametrize("opt_state", [None, (), optax.adam(0.1).init(1.0), {"norms": 3.0}])
def test_states_without_a_record(opt_state):
    with pytest.raises(
        ValueError, match=r"^opt_state must have the state of one .* with 0 of them"
    ):
        gradient_norms(opt_state)
