"""Gradient norms recorded while real networks train, against norms that are computed apart."""

import copy
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
import torch._dynamo.testing
from flax import nnx
from flax.training.train_state import TrainState
from rex_optax import BudgetedSchedule, gradient_norms, record_gradient_norms, restart, resume
from rex_torch import GradientNorms
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from benchmarks.budgeted.compilations import compilations
from rex_core import Schedule, linear, refine
from tests.adapters.digits_torch import batch as torch_batch
from tests.adapters.digits_torch import finish, network

T, BATCH = 12, 64
NORMS = {"l2": 2, "l1": 1}
IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES = (IMAGES / 16).astype(np.float32)

both = pytest.mark.parametrize("norm", NORMS)


def batch(t):
    chosen = slice(t * BATCH, (t + 1) * BATCH)
    return IMAGES[chosen], LABELS[chosen]


def norm_of(arrays, norm):
    """The norm in float64, by NumPy."""
    numbers = np.concatenate([np.asarray(each, np.float64).ravel() for each in arrays])
    return np.linalg.norm(numbers, NORMS[norm])


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


def clipped(norms, most):
    return np.minimum(norms, most)


@both
@pytest.mark.parametrize("donate", [False, True])
def test_optax_records_the_gradient_of_each_update(norm, donate):
    tx = optax.chain(record_gradient_norms(T, norm=norm), optax.adam(0.01))
    opt_state, seen = train_in_optax(tx, donate=donate)
    norms = gradient_norms(opt_state)
    assert (norms.dtype, norms.shape, type(norms)) == (np.float32, (T,), np.ndarray)
    np.testing.assert_allclose(norms, norms_of(seen, norm), rtol=1e-5)
    assert len(np.unique(norms)) == T
    assert refine(norms, T, norm=norm)(T, T) == 0


def test_optax_passes_updates_on_unchanged():
    plain, _ = train_in_optax(optax.adam(0.01))
    (_, recording), _ = train_in_optax(optax.chain(record_gradient_norms(T), optax.adam(0.01)))
    assert jax.tree.all(jax.tree.map(np.array_equal, plain, recording))


def test_optax_before_and_after_clipping():
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
def test_optax_accumulates(norm):
    chain = optax.chain(record_gradient_norms(T, norm=norm), optax.sgd(0.1))
    opt_state, seen = train_in_optax(optax.MultiSteps(chain, 3))
    means = [
        jax.tree.map(lambda *parts: np.mean(parts, axis=0), *seen[t : t + 3])
        for t in range(0, T, 3)
    ]
    np.testing.assert_allclose(gradient_norms(opt_state), norms_of(means, norm), rtol=1e-5)


def test_optax_leaves_skipped_steps_out():
    tx = optax.apply_if_finite(optax.chain(record_gradient_norms(T), optax.sgd(0.1)), 5)
    opt_state = tx.init(1.0)
    for gradient in (3.0, jnp.nan, 2.0, jnp.inf, 1.0):
        _, opt_state = tx.update(gradient, opt_state)
    assert gradient_norms(opt_state).tolist() == [3, 2, 1]


def test_optax_records_nan_where_nothing_is_skipped_and_refine_says_what_to_do():
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
def test_optax_adds_up_16_bits_in_32(dtype, norm):
    gradient = jnp.full((300, 300), 0.75, dtype)  # In float16 the sum would be infinite.
    tx = record_gradient_norms(1, norm=norm)
    _, opt_state = jax.jit(tx.update)({"w": gradient}, tx.init(None))
    np.testing.assert_allclose(gradient_norms(opt_state), {"l2": 225, "l1": 67500}[norm], rtol=1e-5)


def test_optax_steps_are_not_compiled_again():
    tx = optax.chain(record_gradient_norms(T), optax.sgd(0.1))
    opt_state, _ = train_in_optax(tx, 2)
    update = jax.jit(tx.update)
    update(start(), opt_state)
    with compilations() as compiled:
        for _ in range(3):
            _, opt_state = update(start(), opt_state)
    assert not [name for name in compiled if "update" in name]


def test_optax_lanes():
    tx = optax.chain(record_gradient_norms(T), optax.sgd(0.1))
    lanes = jnp.array([1.0, 2.0])
    opt_state = jax.vmap(tx.init)(lanes)
    with pytest.raises(ValueError, match=r"^opt_state must have lanes .* counts from 0 to 1$"):
        gradient_norms((opt_state[0]._replace(count=jnp.array([0, 1])),))
    for _ in range(3):
        _, opt_state = jax.vmap(tx.update)(lanes, opt_state)
    assert gradient_norms(opt_state).tolist() == [[1, 1, 1], [2, 2, 2]]


def test_optax_a_run_that_is_longer_than_the_record():
    opt_state, seen = train_in_optax(optax.chain(record_gradient_norms(4), optax.sgd(0.1)), 6)
    with pytest.warns(UserWarning, match="at least 6, .* got 4, .* the first 4"):
        norms = gradient_norms(opt_state)
    np.testing.assert_allclose(norms, norms_of(seen, "l2")[:4], rtol=1e-5)


def test_optax_part_of_a_run():
    tx = optax.chain(record_gradient_norms(T), optax.sgd(0.1))
    assert gradient_norms(tx.init(start())).shape == (0,)
    opt_state, _ = train_in_optax(tx, 5)
    assert gradient_norms(opt_state).shape == (5,)


def test_optax_resume_keeps_the_record_and_restart_empties_it():
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


def test_optax_where_states_are_kept():
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
def test_optax_states_without_a_record(opt_state):
    with pytest.raises(
        ValueError, match=r"^opt_state must have the state of one .* with 0 of them"
    ):
        gradient_norms(opt_state)


def grads(model):
    return [p.grad.detach().clone() for p in model.parameters() if p.grad is not None]


@both
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
def test_torch_records_the_gradient_of_each_step(norm, make):
    model = network()
    optimizer = make(model.parameters(), lr=0.01)
    record = GradientNorms(optimizer, T, norm=norm)
    expected = []
    for t in range(T):
        optimizer.zero_grad()
        images, labels = torch_batch(t)
        cross_entropy(model(images), labels).backward()
        expected.append(norm_of(grads(model), norm))
        optimizer.step()
    norms = record.numpy()
    assert (norms.dtype, norms.shape, type(norms)) == (np.float32, (T,), np.ndarray)
    np.testing.assert_allclose(norms, expected, rtol=1e-5)
    assert len(np.unique(norms)) == T
    assert refine(norms, T, norm=norm)(T, T) == 0


@both
def test_torch_clipping_and_accumulation(norm):
    most = {"l2": 0.265, "l1": 7.7}[norm]
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    record = GradientNorms(optimizer, T, norm=norm)
    before, after = [], []
    for t in range(T):
        images, labels = torch_batch(t)
        (cross_entropy(model(images), labels) / 3).backward()
        if t % 3 == 2:
            before.append(float(clip_grad_norm_(model.parameters(), most, NORMS[norm])))
            after.append(norm_of(grads(model), norm))
            optimizer.step()
            optimizer.zero_grad()
    assert min(before) < most < max(before)
    np.testing.assert_allclose(after, clipped(before, most), rtol=1e-5)
    np.testing.assert_allclose(record.numpy(), after, rtol=1e-5)


@pytest.mark.parametrize("unscale", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_torch_with_a_grad_scaler(fused, unscale):
    """A step whose gradient overflows is skipped, and is not in the record."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    record = GradientNorms(optimizer, T)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    expected = []
    for t in range(6):
        optimizer.zero_grad()
        images, labels = torch_batch(t)
        scaler.scale(cross_entropy(model(images), labels)).backward()
        scale = scaler.get_scale()
        if t == 2:
            model[0].bias.grad[0] = torch.inf
        else:
            expected.append(norm_of(grads(model), "l2") / scale)
        if unscale:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 512
    np.testing.assert_allclose(record.numpy(), expected, rtol=1e-5)


def closure_of(model, optimizer, batch, norms):
    """A closure that computes the gradient of a batch, and puts its norm into a list."""

    def closure():
        optimizer.zero_grad()
        images, labels = batch
        loss = cross_entropy(model(images), labels)
        loss.backward()
        norms.append(norm_of(grads(model), "l2"))
        return loss

    return closure


def test_torch_with_a_closure():
    """The gradient that the closure computes, and not the one of the step before."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    record = GradientNorms(optimizer, T)
    expected = []
    for t in range(4):
        closure = closure_of(model, optimizer, torch_batch(t), expected)
        loss = optimizer.step(closure) if t % 2 else optimizer.step(closure=closure)
        assert loss > 0
    assert len(expected) == 4
    np.testing.assert_allclose(record.numpy(), expected, rtol=1e-5)


def test_torch_lbfgs_calls_its_closure_often():
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    record = GradientNorms(optimizer, T)
    seen = []
    closure = closure_of(model, optimizer, torch_batch(0), seen)
    optimizer.step(closure)
    calls = len(seen)
    optimizer.step(closure)
    assert calls > 1
    np.testing.assert_allclose(record.numpy(), [seen[0], seen[calls]], rtol=1e-5)


def test_torch_nesterov_changes_the_gradients_in_place():
    """The record is made before the step, which may write into the gradients."""
    weights = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weights], lr=0.1, momentum=0.9, nesterov=True, foreach=True)
    record = GradientNorms(optimizer, 3)
    for _ in range(3):
        weights.grad = torch.tensor([3.0, 4.0])
        optimizer.step()
    assert record.numpy().tolist() == [5, 5, 5]


@both
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_torch_adds_up_16_bits_in_32(dtype, norm):
    weights = [torch.nn.Parameter(torch.zeros(300, 150, dtype=dtype)) for _ in range(2)]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    record = GradientNorms(optimizer, 1, norm=norm)
    for each in weights:
        each.grad = torch.full_like(each, 0.75)
    optimizer.step()
    np.testing.assert_allclose(record.numpy(), {"l2": 225, "l1": 67500}[norm], rtol=1e-5)


def test_torch_groups_and_parameters_without_a_gradient():
    first, second, idle = (torch.nn.Parameter(torch.zeros(1)) for _ in range(3))
    embedding = torch.nn.Embedding(5, 2, sparse=True)
    optimizer = torch.optim.SGD([first, idle], lr=0.1)
    record = GradientNorms(optimizer, T)
    optimizer.add_param_group({"params": [second], "lr": 0.2})
    first.grad, second.grad = torch.tensor([3.0]), torch.tensor([4.0])
    optimizer.step()
    optimizer.add_param_group({"params": embedding.parameters()})
    embedding(torch.tensor([1, 1, 3])).sum().backward()  # The gradient of 1 is 2, of 3 is 1.
    optimizer.step()
    optimizer.zero_grad()
    optimizer.step()
    np.testing.assert_allclose(record.numpy(), [5, (25 + 8 + 2) ** 0.5, 0], rtol=1e-6)


# PyTorch's compiler imports what PyTorch itself deprecates.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_torch_compiled_steps_are_not_compiled_again():
    torch._dynamo.reset()
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(0.01))
    record = GradientNorms(optimizer, T)
    counter = torch._dynamo.testing.CompileCounter()
    optimizer.step = torch.compile(optimizer.step, backend=counter)
    seen, compiled = [], []
    for t in range(5):
        optimizer.zero_grad()
        images, labels = torch_batch(t)
        cross_entropy(model(images), labels).backward()
        seen.append(norm_of(grads(model), "l2"))
        optimizer.step()
        compiled.append(counter.frame_count)
    assert compiled[0] > 0
    assert compiled[1:] == compiled[:1] * 4
    np.testing.assert_allclose(record.numpy(), seen, rtol=1e-5)


def test_torch_parameters_in_shards(tmp_path):
    """FSDP2 on two processes: each has half of the parameters, and the norm of the whole."""
    store = f"file://{tmp_path / 'store'}"
    command = [sys.executable, Path(__file__).with_name("norms_in_shards.py")]
    processes = [
        subprocess.Popen(
            [*command, str(rank), store], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    for found in map(finish, processes):
        for norm in NORMS:
            assert found["sharded"] == [True] * 4
            np.testing.assert_allclose(found[norm], found[f"whole {norm}"], rtol=1e-5)
            assert len(set(found[norm])) == 4


@pytest.fixture
def one():
    """An optimizer whose gradient is as long as it is told, and its record of 3 steps."""
    weights = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weights], lr=0.1)
    record = GradientNorms(optimizer, 3)

    def step(length):
        weights.grad = torch.tensor([length])
        optimizer.step()

    return step, record, optimizer


def test_torch_a_run_that_is_longer_than_the_record(one):
    step, record, _ = one
    for length in (1.0, 2.0, 3.0, 4.0, 5.0):
        step(length)
    with pytest.warns(UserWarning, match="at least 5, .* got 3, .* the first 3"):
        assert record.numpy().tolist() == [1, 2, 3]


def test_torch_remove_and_copies_of_the_optimizer(one):
    step, record, optimizer = one
    assert record.numpy().shape == (0,)
    copied = copy.deepcopy(optimizer)
    copied.param_groups[0]["params"][0].grad = torch.ones(1)
    copied.step()
    step(2.0)
    kept = record.numpy()
    step(3.0)
    record.remove()
    step(4.0)
    assert (kept.tolist(), record.numpy().tolist()) == ([2], [2, 3])


def test_torch_resume(one, tmp_path):
    step, record, optimizer = one
    step(1.0)
    step(2.0)
    torch.save(record.state_dict(), tmp_path / "record.pt")
    saved = torch.load(tmp_path / "record.pt", weights_only=True)

    longer = GradientNorms(optimizer, 5)  # A longer budget has room for what comes.
    longer.load_state_dict(saved)
    step(3.0)
    assert longer.numpy().tolist() == [1, 2, 3]

    with pytest.raises(ValueError, match=r"^total_steps must be at least 2, .* got 1$"):
        GradientNorms(optimizer, 1).load_state_dict(saved)
    with pytest.raises(ValueError, match=r"^norm must be that of the record before, 'l2', .* 'l1'"):
        GradientNorms(optimizer, 5, norm="l1").load_state_dict(saved)
    for state in ({}, {"norms": saved["norms"]}, optimizer.state_dict(), None):
        with pytest.raises(ValueError, match=r"^state_dict must be what state_dict\(\) of a Grad"):
            longer.load_state_dict(state)


def test_torch_optimizers_that_are_refused():
    accelerate = pytest.importorskip("accelerate")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    prepared = accelerate.Accelerator(cpu=True).prepare(optimizer)
    with pytest.raises(ValueError, match=r"^optimizer must have the hooks .* that other one; got "):
        GradientNorms(prepared, T)
    with pytest.raises(ValueError, match=r"^optimizer must be a torch\.optim\.Optimizer; got 0\.1"):
        GradientNorms(0.1, T)
    record = GradientNorms(optimizer, T)
    optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
    prepared.step()
    assert record.numpy().tolist() == [1]


def in_torch(total_steps, **norm):
    return GradientNorms(torch.optim.SGD([torch.zeros(1)], lr=0.1), total_steps, **norm)


@pytest.mark.parametrize("make", [record_gradient_norms, in_torch])
def test_arguments_that_are_refused(make):
    for total_steps in (0, -1, 2.5, np.nan, 2**31, "3", None, True):
        with pytest.raises(
            ValueError, match=r"^total_steps must be an integer in \[1, 2147483647\]"
        ):
            make(total_steps)
    for norm in ("L2", "max", 2, None, ["l2"]):
        with pytest.raises(ValueError, match=r"^norm must be 'l2' or 'l1'; got "):
            make(T, norm=norm)


@both
def test_the_two_record_the_same(norm):
    """One network in both, from the same weights, with the same batches and updates."""
    params = start()
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10, bias=False)
    )
    with torch.no_grad():
        for own, array in zip(
            model.parameters(), (params["w1"].T, params["b1"], params["w2"].T), strict=True
        ):
            own.copy_(torch.tensor(np.asarray(array)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    record = GradientNorms(optimizer, T, norm=norm)
    for t in range(T):
        optimizer.zero_grad()
        images, labels = torch_batch(t)
        cross_entropy(model(images), labels).backward()
        optimizer.step()
    tx = optax.chain(record_gradient_norms(T, norm=norm), optax.sgd(0.1))
    opt_state, _ = train_in_optax(tx)
    np.testing.assert_allclose(gradient_norms(opt_state), record.numpy(), rtol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_a_refined_profile_goes_where_a_profile_goes(norm):
    tx = optax.chain(record_gradient_norms(T, norm=norm), optax.sgd(0.1))
    norms = gradient_norms(train_in_optax(tx)[0])
    schedule = Schedule(refine(norms, T, norm=norm), peak_value=0.1, warmup_steps=2)
    again = BudgetedSchedule(schedule, 10 * T)
    tx = optax.inject_hyperparams(optax.sgd)(again)
    opt_state, _ = train_in_optax(tx, 4)
    rate = float(opt_state.hyperparams["learning_rate"])
    assert rate == pytest.approx(schedule(3, 10 * T), rel=1e-6)
    assert rate != pytest.approx(Schedule(linear, peak_value=0.1, warmup_steps=2)(3, 10 * T))
