"""rex_torch on a WallClock: training that ends on time; killed and resumed; in two processes."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rex_torch import HyperparamScheduler, lambda_lr
from torch.distributed import broadcast, destroy_process_group, init_process_group
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from rex_core import Schedule, WallClock, demon, linear
from tests.adapters.digits_torch import Run, accuracy, batch, digest, finish, load, network, save

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
# Powers of 2, so that a factor of the optimizer's rate is exactly the absolute rate.
PEAK, END = 0.25, 0.25 / 64
SHAPE = Schedule(linear, end_value=END / PEAK)
RATE = Schedule(linear, peak_value=PEAK, end_value=END)
SCHEDULERS = {
    "lambda_lr": lambda optimizer, clock: lambda_lr(optimizer, SHAPE, clock),
    "absolute": lambda optimizer, clock: lambda_lr(optimizer, RATE, clock, absolute=True),
    "HyperparamScheduler": lambda optimizer, clock: HyperparamScheduler(
        optimizer, clock, lr=RATE, momentum=demon(0.9)
    ),
}
every_scheduler = pytest.mark.parametrize("name", SCHEDULERS)


def start(name, clock):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=PEAK, momentum=0.9)
    return Run(model, optimizer, SCHEDULERS[name](optimizer, clock))


def rate(run):
    return run.optimizer.param_groups[0]["lr"]


def loss(model, t):
    images, labels = batch(t)
    return cross_entropy(model(images), labels)


def update(run, t):
    loss(run.model, t).backward()
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.scheduler.step()


def until_the_time_is_up(run, clock, each=lambda: None):
    """The rate of each update, and the time at which it began."""
    rates, times = [], []
    while (now := clock.t) < clock.T:
        rates.append(rate(run))
        times.append(now)
        update(run, run.scheduler.last_epoch)
        each()
    return rates, times


@every_scheduler
def test_a_run_of_one_second(name):
    start(name, WallClock(1))  # torch imports much with its first optimizer.
    before = time.monotonic()
    clock = WallClock(1)
    run = start(name, clock)
    rates, times = until_the_time_is_up(run, clock)
    after = time.monotonic()
    assert times[-1] < clock.T <= clock.t <= after - before
    # A rate is read between the beginnings of two updates, from a schedule that falls.
    pairs = zip(rates[1:], times, times[1:], strict=False)
    assert all(RATE(first, 1) >= value >= RATE(second, 1) for value, first, second in pairs)
    assert PEAK >= rates[0] >= RATE(times[0], 1)
    assert RATE(times[-1], 1) >= rate(run) >= END
    run.scheduler.step()
    assert rate(run) == END
    assert loss(run.model, 0) < loss(network(), 0)


@every_scheduler
def test_validation_is_free_in_a_pause(name):
    clock = WallClock(0.4)
    run = start(name, clock)
    before = time.monotonic()
    left = clock.T - clock.t
    pauses = []

    def validate():
        if run.scheduler.last_epoch % 50 == 1:
            with clock.paused():
                began = time.monotonic()
                time.sleep(0.02)
                accuracy(run.model)
                pauses.append(time.monotonic() - began)

    until_the_time_is_up(run, clock, validate)
    elapsed = time.monotonic() - before
    assert elapsed >= left + sum(pauses) > left


def test_rate_and_momentum_are_of_one_moment():
    clock = WallClock(0.05)
    optimizer = torch.optim.SGD(network().parameters(), lr=1.0, momentum=0.9)
    both = Schedule(linear, peak_value=0.5)
    scheduler = HyperparamScheduler(optimizer, clock, lr=both, momentum=both)
    (group,) = optimizer.param_groups
    optimizer.step()
    while clock.t < clock.T:
        scheduler.step()
        assert group["lr"] == group["momentum"]
    scheduler.step()
    assert group["lr"] == 0


@every_scheduler
def test_a_scheduler_brings_the_time_of_its_clock(name, tmp_path):
    clock = WallClock(100)
    clock.pause()
    clock.load_state_dict({"t": 40})
    run = start(name, clock)
    update(run, 0)
    save(run, tmp_path / "state")
    assert run.scheduler.state_dict()["clock"] == {"t": 40.0}
    for T in (100, 200):  # The same budget, or a longer one.
        other = WallClock(T)
        other.pause()
        resumed = start(name, other)
        assert rate(resumed) > RATE(1, 100)
        load(resumed, tmp_path / "state")
        assert (other.t, other.T) == (40, T)
        assert rate(resumed) == RATE(40, T)
        assert resumed.scheduler.last_epoch == 1
        assert "clock" not in vars(resumed.scheduler)
        assert digest(resumed.model) == digest(run.model)


@every_scheduler
def test_a_state_without_a_clock_does_not_give_the_time_again(name):
    state = start(name, 100).scheduler.state_dict()
    assert "clock" not in state
    clock = WallClock(100)
    scheduler = start(name, clock).scheduler
    with pytest.raises(ValueError, match="state_dict must have the 'clock' of a scheduler"):
        scheduler.load_state_dict(state)
    timed = scheduler.state_dict()
    steps = start(name, 100)
    steps.scheduler.load_state_dict(timed | {"last_epoch": 25})
    update(steps, 25)
    assert rate(steps) == RATE(26, 100)


def test_what_a_schedule_refuses_of_a_clock():
    clock = WallClock(60)
    optimizer = torch.optim.SGD(network().parameters(), lr=PEAK)
    late = Schedule(warmup_steps=60)
    for make in (
        lambda: lambda_lr(optimizer, late, clock),
        lambda: HyperparamScheduler(optimizer, clock, lr=late),
    ):
        with pytest.raises(ValueError, match=r"must end before T, .*; got an end at 60"):
            make()


def python(job, **options):
    command = [sys.executable, "-m", "tests.adapters.test_rex_torch_clock", json.dumps(job)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **pipes, **options)


def test_killed_and_resumed(tmp_path):
    """What is left is spent; neither the time away is, nor any time twice."""
    seconds, path = 2, tmp_path / "state"
    job = {"seconds": seconds, "path": str(path)}
    process = python(job | {"killed_at": 0.5})
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, err
    spent = torch.load(path, weights_only=True)[2]["clock"]["t"]
    assert 0.5 <= spent < seconds
    time.sleep(0.5)
    found = finish(python(job))
    assert found["times"][0] >= spent
    assert found["times"][-1] < seconds <= found["t"]
    assert spent + found["at_least"] <= found["t"] <= spent + found["at_most"]
    assert RATE(found["times"][-1], seconds) >= found["rate"] >= END
    assert found["rates"][0] <= RATE(spent, seconds)
    assert found["updates"] > len(found["rates"]) > 0


def run_from_a_checkpoint(job):
    start("lambda_lr", WallClock(1))  # Imports what it needs.
    clock = WallClock(job["seconds"])
    run = start("lambda_lr", clock)
    path = Path(job["path"])
    before = time.monotonic()
    if path.exists():
        load(run, path)
    after = time.monotonic()

    def checkpoint():
        save(run, path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)
        saved = torch.load(path, weights_only=True)[2]["clock"]["t"]
        if saved >= job.get("killed_at", math.inf):
            os.kill(os.getpid(), signal.SIGKILL)

    rates, times = until_the_time_is_up(run, clock, checkpoint)
    at_least = time.monotonic() - after
    spent = clock.t
    return {
        "rates": rates,
        "times": times,
        "t": spent,
        "at_least": at_least,
        "at_most": time.monotonic() - before,
        "rate": rate(run),
        "updates": run.scheduler.last_epoch,
    }


def test_two_processes_spend_the_time_of_the_first(tmp_path):
    """Rank 1's own clock is 5 seconds ahead; both follow rank 0's, to the last digit."""
    ranks = [
        python({"store": str(tmp_path / "store"), "rank": rank, "seconds": 1, "ahead": 5 * rank})
        for rank in range(2)
    ]
    try:
        zero, one = map(finish, ranks)
    finally:
        for rank in ranks:
            rank.kill()
    assert zero["rates"] == one["rates"]
    assert zero["digest"] == one["digest"]
    assert zero["t"] == one["t"] >= 1
    assert zero["rates"][-1] == END
    assert len(zero["rates"]) > 2
    assert all(b - a > 2.5 for a, b in zip(zero["own"], one["own"], strict=True))
    # The time that counted is rank 0's own.
    assert zero["t"] == zero["own"][-1]


def run_with_another(job):
    init_process_group("gloo", f"file://{job['store']}", rank=job["rank"], world_size=2)
    model = network()
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=PEAK)
    parallel(batch(0)[0]).sum().backward()  # Both have what they need, and the time begins.
    optimizer.zero_grad()
    own, clock = WallClock(job["seconds"]), WallClock(job["seconds"])
    own.load_state_dict({"t": job["ahead"]})
    clock.pause()
    read = []

    def agree():
        now = torch.tensor(own.t, dtype=torch.float64)
        read.append(now.item())
        broadcast(now, src=0)
        clock.load_state_dict({"t": now.item()})

    agree()
    scheduler = lambda_lr(optimizer, SHAPE, clock)
    rates = scheduler.get_last_lr()
    while clock.t < clock.T:
        images, labels = batch(len(rates), slice(job["rank"], None, 2))
        cross_entropy(parallel(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        agree()
        scheduler.step()
        rates += scheduler.get_last_lr()
    # What still holds the group when the interpreter lets go of it can wait for it forever.
    del parallel
    destroy_process_group()
    return {"rates": rates, "digest": digest(model), "t": clock.t, "own": read}


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    print(json.dumps((run_with_another if "store" in task else run_from_a_checkpoint)(task)))
