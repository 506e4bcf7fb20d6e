"""Budgets that change in mid-run, in PyTorch: the applied values are the pure functions'."""

import copy
import io

import pytest
import torch
from rex_torch import HyperparamScheduler, lambda_lr

from rex_core import Join, Replan, Schedule, WallClock, cosine, demon, linear, one_minus_sqrt

SHAPE = Schedule(end_value=0.01, init_value=0.1, warmup_steps=6)
HELD = Schedule(one_minus_sqrt, warmup_ratio=0.1, hold_ratio=0.5)
MOMENTUM = Join([demon(0.9), Schedule(cosine, peak_value=0.5, end_value=0.3)], [0.5])
RATE = 0.25

CHANGES = {
    "longer": (20, [(8, 45)]),
    "shorter": (40, [(10, 25)]),
    "inside warmup": (30, [(3, 50)]),
    "inside hold": (40, [(12, 60)]),
    "before the first step": (20, [(0, 35)]),
    "twice": (20, [(8, 45), (30, 50)]),
    "twice in a row": (20, [(8, 45), (8, 25)]),
}


def factor(optimizer, plan, T, **options):
    return lambda_lr(optimizer, plan(HELD), T, **options)


def rates(optimizer, plan, T):
    return HyperparamScheduler(optimizer, T, lr=[plan(SHAPE), plan(HELD)], momentum=plan(MOMENTUM))


def sgd():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(()))]} for _ in range(2)]
    return torch.optim.SGD(groups, lr=RATE, momentum=0.5)


def settings(optimizer):
    return [(group["lr"], group["momentum"]) for group in optimizer.param_groups]


def expected(make, plan, t, T):
    if make is factor:
        return [(RATE * plan(HELD)(t, T), 0.5)] * 2
    return [(plan(schedule)(t, T), plan(MOMENTUM)(t, T)) for schedule in (SHAPE, HELD)]


def stretched(schedules, t0, T0):
    return lambda schedule: Replan(schedules(schedule), t0, T0)


def by_count(make, optimizer, scheduler, plan, T):
    t0 = scheduler.last_epoch
    if make is factor:
        return optimizer, factor(optimizer, plan, T, last_epoch=t0 - 1)
    again = make(optimizer, plan, T)
    again.step(t0)
    return optimizer, again


def by_state(make, optimizer, scheduler, plan, T):
    again = make(optimizer, plan, T)
    again.load_state_dict(scheduler.state_dict())
    return optimizer, again


def by_checkpoint(make, optimizer, scheduler, plan, T):
    file = io.BytesIO()
    torch.save([optimizer.state_dict(), scheduler.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    optimizer = sgd()
    again = make(optimizer, plan, T)
    optimizer.load_state_dict(states[0])
    again.load_state_dict(states[1])
    return optimizer, again


def train(optimizer, scheduler, steps):
    """The settings of each update."""
    seen = []
    for _ in range(steps):
        seen.append(settings(optimizer))
        for group in optimizer.param_groups:
            group["params"][0].grad = torch.ones(())
        optimizer.step()
        scheduler.step()
    return seen


def close(rows):
    return [[pytest.approx(pair, rel=1e-12, abs=1e-15) for pair in row] for row in rows]


@pytest.mark.parametrize("make", [factor, rates])
@pytest.mark.parametrize("change", [by_count, by_state, by_checkpoint])
@pytest.mark.parametrize("stretch", [True, False], ids=["stretched", "the same curve"])
@pytest.mark.parametrize(("T", "changes"), CHANGES.values(), ids=CHANGES)
def test_every_update_has_its_value(T, changes, stretch, change, make):
    def plan(schedule):
        return schedule

    optimizer = sgd()
    scheduler, t = make(optimizer, plan, T), 0
    for t0, following in changes:
        rows = train(optimizer, scheduler, t0 - t)
        assert rows == close([expected(make, plan, t, T) for t in range(t, t0)])
        last = settings(optimizer)
        if stretch:
            plan = stretched(plan, t0, T)
        t, T = t0, following
        optimizer, scheduler = change(make, optimizer, scheduler, plan, T)
        assert scheduler.last_epoch == t
        if stretch:
            assert [settings(optimizer)] == close([last])
    rows = train(optimizer, scheduler, T - t + 2)
    assert rows == close([expected(make, plan, t, T) for t in range(t, T + 2)])


def test_the_rest_of_a_run_is_the_same_with_its_momenta():
    """The new scheduler changes nothing else of an optimizer."""
    optimizer = sgd()
    scheduler = rates(optimizer, lambda schedule: schedule, 20)
    train(optimizer, scheduler, 8)
    other = copy.deepcopy(optimizer)
    other_scheduler = rates(other, lambda schedule: schedule, 20)
    other_scheduler.step(8)
    _, scheduler = by_state(rates, optimizer, scheduler, stretched(lambda s: s, 8, 20), 20)
    train(optimizer, scheduler, 12)
    train(other, other_scheduler, 12)
    for one, two in zip(optimizer.param_groups, other.param_groups, strict=True):
        assert one["params"][0] == two["params"][0]


def test_a_clock_is_given_more_time():
    clock, longer = WallClock(3600), WallClock(7200)
    clock.pause()
    longer.pause()
    clock.load_state_dict({"t": 1800.0})
    optimizer = sgd()
    rate = Schedule(linear, warmup_steps=300)
    scheduler = lambda_lr(optimizer, rate, clock)
    train(optimizer, scheduler, 3)
    before = settings(optimizer)
    again = lambda_lr(optimizer, Replan(rate, clock.t, clock.T), longer)
    again.load_state_dict(scheduler.state_dict())
    assert longer.t == 1800.0
    assert [settings(optimizer)] == close([before])
    for t, left in ((1800.0, 1800 / 3300), (4500.0, 900 / 3300), (7200.0, 0.0)):
        longer.load_state_dict({"t": t})
        again.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(RATE * left, rel=1e-12, abs=0)


def test_a_factor_that_is_replanned_has_a_peak_of_1_too():
    with pytest.raises(ValueError, match=r"schedule.peak_value must be 1 unless absolute=True"):
        lambda_lr(sgd(), Replan(Schedule(peak_value=0.1), 5, 20), 40)
