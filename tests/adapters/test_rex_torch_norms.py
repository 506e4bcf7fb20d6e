"""Gradient norms recorded by rex_torch while a real network trains."""

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from rex_torch import GradientNorms
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from rex_core import refine
from tests.adapters.digits_torch import batch, finish, network
from tests.adapters.norms import NORMS, T, both, clipped, norm_of

pytestmark = pytest.mark.long


def grads(model):
    return [p.grad.detach().clone() for p in model.parameters() if p.grad is not None]


@both
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
def test_records_the_gradient_of_each_step(norm, make):
    model = network()
    optimizer = make(model.parameters(), lr=0.01)
    record = GradientNorms(optimizer, T, norm=norm)
    expected = []
    for t in range(T):
        optimizer.zero_grad()
        images, labels = batch(t)
        cross_entropy(model(images), labels).backward()
        expected.append(norm_of(grads(model), norm))
        optimizer.step()
    norms = record.numpy()
    assert (norms.dtype, norms.shape, type(norms)) == (np.float32, (T,), np.ndarray)
    np.testing.assert_allclose(norms, expected, rtol=1e-5)
    assert len(np.unique(norms)) == T
    assert refine(norms, T, norm=norm)(T, T) == 0


@both
def test_clipping_and_accumulation(norm):
    most = {"l2": 0.265, "l1": 7.7}[norm]
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    record = GradientNorms(optimizer, T, norm=norm)
    before, after = [], []
    for t in range(T):
        images, labels = batch(t)
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
def test_with_a_grad_scaler(fused, unscale):
    """A step whose gradient overflows is skipped, and is not in the record."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    record = GradientNorms(optimizer, T)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    expected = []
    for t in range(6):
        optimizer.zero_grad()
        images, labels = batch(t)
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


def test_with_a_closure():
    """The gradient that the closure computes, and not the one of the step before."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    record = GradientNorms(optimizer, T)
    expected = []
    for t in range(4):
        closure = closure_of(model, optimizer, batch(t), expected)
        loss = optimizer.step(closure) if t % 2 else optimizer.step(closure=closure)
        assert loss > 0
    assert len(expected) == 4
    np.testing.assert_allclose(record.numpy(), expected, rtol=1e-5)


@pytest.mark.filterwarnings(  # By LBFGS of PyTorch 2.8.
    "ignore:Converting a tensor with requires_grad=True to a scalar:UserWarning"
)
def test_lbfgs_calls_its_closure_often():
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    record = GradientNorms(optimizer, T)
    seen = []
    closure = closure_of(model, optimizer, batch(0), seen)
    optimizer.step(closure)
    calls = len(seen)
    optimizer.step(closure)
    assert calls > 1
    np.testing.assert_allclose(record.numpy(), [seen[0], seen[calls]], rtol=1e-5)


def test_nesterov_changes_the_gradients_in_place():
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
def test_adds_up_16_bits_in_32(dtype, norm):
    weights = [torch.nn.Parameter(torch.zeros(300, 150, dtype=dtype)) for _ in range(2)]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    record = GradientNorms(optimizer, 1, norm=norm)
    for each in weights:
        each.grad = torch.full_like(each, 0.75)
    optimizer.step()
    np.testing.assert_allclose(record.numpy(), {"l2": 225, "l1": 67500}[norm], rtol=1e-5)


def test_groups_and_parameters_without_a_gradient():
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
    first.grad, second.grad = torch.tensor([3.0]), torch.tensor([4.0])
    half = torch.nn.Parameter(torch.zeros(4, dtype=torch.bfloat16))
    optimizer.add_param_group({"params": [half]})
    half.grad = torch.ones_like(half)
    optimizer.step()
    expected = [5, (25 + 8 + 2) ** 0.5, 0, (25 + 4) ** 0.5]
    np.testing.assert_allclose(record.numpy(), expected, rtol=1e-6)


# PyTorch's compiler imports what PyTorch itself deprecates.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_compiled_steps_are_not_compiled_again():
    torch._dynamo.reset()
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(0.01))
    record = GradientNorms(optimizer, T)
    counter = torch._dynamo.testing.CompileCounter()
    optimizer.step = torch.compile(optimizer.step, backend=counter)
    seen, compiled = [], []
    for t in range(5):
        optimizer.zero_grad()
        images, labels = batch(t)
        cross_entropy(model(images), labels).backward()
        seen.append(norm_of(grads(model), "l2"))
        optimizer.step()
        compiled.append(counter.frame_count)
    assert compiled[0] > 0
    assert compiled[1:] == compiled[:1] * 4
    np.testing.assert_allclose(record.numpy(), seen, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parameters_in_shards(dtype, tmp_path):
    """FSDP2 on two processes: each has half of the parameters, and the norm of the whole."""
    store = f"file://{tmp_path / 'store'}"
    command = [sys.executable, Path(__file__).with_name("norms_in_shards.py")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([*command, str(rank), store, dtype], **pipes) for rank in range(2)
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


def test_a_run_that_is_longer_than_the_record(one):
    step, record, _ = one
    for length in (1.0, 2.0, 3.0, 4.0, 5.0):
        step(length)
    with pytest.warns(UserWarning, match="at least 5, .* got 3, .* the first 3"):
        assert record.numpy().tolist() == [1, 2, 3]


def test_remove_and_copies_of_the_optimizer(one):
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


def test_resume(one, tmp_path):
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


def test_optimizers_that_are_refused():
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
