"""Loops as users write them, each training on digits; resumed in new processes, bit for bit."""

import json
import subprocess
import sys

import pytest
import torch
from rex_torch import HyperparamScheduler, lambda_lr
from torch.nn.functional import cross_entropy

from tests.adapters import digits_torch
from tests.adapters.digits_torch import (
    MOMENTUM,
    PEAK,
    RATE,
    SCHEDULERS,
    SHAPE,
    accuracy,
    batch,
    digest,
    finish,
    network,
    save,
    start,
    train,
)

pytestmark = pytest.mark.long

T = 200
LEARNED = 0.85


def plan(T, first, last):
    return pytest.approx([RATE(t, T) for t in range(first, last)])


def begin(rank, jobs):
    command = [sys.executable, digits_torch.__file__, str(rank), json.dumps(jobs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_plain_loop(name):
    run = start(name, T)
    assert train(run, 0, T) == plan(T, 0, T)
    assert accuracy(run.model) > LEARNED


def test_a_new_process_goes_on_bit_for_bit_or_with_a_new_budget(tmp_path):
    jobs, whole = [], {}
    for name in SCHEDULERS:
        run = start(name, T)
        whole[name] = train(run, 0, 30)
        save(run, tmp_path / name)
        whole[name] += train(run, 30, T)
        whole[name].append(digest(run.model))
        common = {"name": name, "load": str(tmp_path / name), "first": 30}
        jobs += [common | {"T": T, "last": T}, common | {"T": 2 * T, "last": T}]
    results = finish(begin(0, jobs))
    for name, same, longer in zip(SCHEDULERS, results[::2], results[1::2], strict=True):
        assert [*same["rates"], same["digest"]] == whole[name][30:]
        assert longer["rates"] == plan(2 * T, 30, T)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_gradient_accumulation(name):
    """One step() per update, not per batch: four quarters of a batch are one."""
    run = start(name, T)
    rates = []
    for i in range(4 * 50):
        images, labels = batch(i // 4, slice(i % 4 * 16, (i % 4 + 1) * 16))
        (cross_entropy(run.model(images), labels) / 4).backward()
        if i % 4 == 3:
            rates.append(run.optimizer.param_groups[0]["lr"])
            run.optimizer.step()
            run.optimizer.zero_grad()
            run.scheduler.step()
    assert rates == plan(T, 0, 50)
    at_once = start(name, T)
    assert train(at_once, 0, 50) == rates
    for own, other in zip(run.model.parameters(), at_once.model.parameters(), strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.filterwarnings(  # By the compiler's own modules, when they are first imported.
    r"ignore:`torch\.jit\.script_method` is deprecated:DeprecationWarning"
)
@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: lambda_lr(optimizer, SHAPE, T),
        lambda optimizer: lambda_lr(optimizer, RATE, T, absolute=True),
        lambda optimizer: HyperparamScheduler(optimizer, T, lr=RATE),
    ],
    ids=SCHEDULERS,
)
def test_a_compiled_step_is_not_compiled_again(make):
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    def run(rate, compiled):
        torch.compiler.reset()
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        scheduler = make(optimizer)
        forward, update = model, optimizer.step
        if compiled:
            forward = torch.compile(model, backend=backend)
            update = torch.compile(lambda: optimizer.step(), backend=backend)
        for t in range(100):
            images, labels = batch(t)
            cross_entropy(forward(images), labels).backward()
            update()
            optimizer.zero_grad()
            scheduler.step()
        return model

    compiled = run(torch.tensor(PEAK), compiled=True)
    assert len(graphs) == 2
    eager = run(torch.tensor(PEAK), compiled=False)
    for own, other in zip(compiled.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(own, other)
    assert accuracy(compiled) > 0.75
    # What is counted does grow where something changes that was compiled in.
    graphs.clear()
    run(PEAK, compiled=True)
    assert len(graphs) > 2


@pytest.mark.filterwarnings(r"ignore:`torch\.jit\.script_method` is deprecated:DeprecationWarning")
def test_all_settings_of_a_compiled_adam():
    """Rate and betas as tensors; momentum reaches the compiled step, at every value."""
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    betas = torch.tensor(0.9), torch.tensor(0.999)
    p = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.Adam([p], lr=torch.tensor(PEAK), betas=betas)
    scheduler = HyperparamScheduler(optimizer, T, lr=RATE, momentum=MOMENTUM)
    update = torch.compile(lambda: optimizer.step(), backend=backend)
    p.grad = torch.ones(3)
    update()
    p.grad.zero_()
    for t in range(1, 100):
        scheduler.step()
        before = optimizer.state[p]["exp_avg"].clone()
        update()
        torch.testing.assert_close(optimizer.state[p]["exp_avg"], before * MOMENTUM(t, T))
    assert len(graphs) == 1


def test_two_processes_and_one_of_them_restarted(tmp_path):
    """Rank 1 ends before half of the steps; a new rank 1 goes on from its checkpoint."""

    def jobs(part, first, last, **more):
        steps = {"T": T, "first": first, "last": last}
        return [
            {"name": name, "store": str(tmp_path / f"{part} {name}"), **steps}
            | {key: str(tmp_path / f"{path} {name}") for key, path in more.items()}
            for name in SCHEDULERS
        ]

    rank_0 = begin(0, jobs("whole", 0, T) + jobs("before", 0, 90) + jobs("after", 90, T))
    rank_1 = begin(1, jobs("whole", 0, T) + jobs("before", 0, 90, save="checkpoint"))
    try:
        ones = finish(rank_1)
        ones += finish(begin(1, jobs("after", 90, T, load="checkpoint")))
        zeros = finish(rank_0)
    finally:
        rank_0.kill()
    assert zeros == ones
    n = len(SCHEDULERS)
    for whole, before, after in zip(zeros[:n], zeros[n : 2 * n], zeros[2 * n :], strict=True):
        assert whole["rates"] == before["rates"] + after["rates"] == plan(T, 0, T)
        assert whole["digest"] == after["digest"] != before["digest"]
        assert whole["accuracy"] > LEARNED
