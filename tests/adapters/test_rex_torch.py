import copy
import io
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from rex_torch import HyperparamScheduler, lambda_lr
from torch.optim import LBFGS, SGD, Adagrad, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import ConstantLR, LambdaLR, LRScheduler, SequentialLR

from rex_core import (
    Join,
    Restarts,
    Schedule,
    bind,
    cosine,
    demon,
    every,
    every_step,
    exponential,
    linear,
    one_cycle,
    rex,
    warmup_stable_decay,
)

T = 20
PEAK = 0.1
SHAPE = Schedule(end_value=0.01, init_value=0.1, warmup_steps=3)
RATE = Schedule(peak_value=PEAK, end_value=0.01 * PEAK, init_value=0.1 * PEAK, warmup_steps=3)
OTHER = Schedule(cosine, peak_value=PEAK, warmup_ratio=0.2)

SCHEDULERS = {
    "factor": lambda optimizer, T=T: lambda_lr(optimizer, SHAPE, T),
    "absolute": lambda optimizer, T=T: lambda_lr(optimizer, RATE, T, absolute=True),
    "HyperparamScheduler": lambda optimizer, T=T: HyperparamScheduler(optimizer, T, lr=RATE),
}
every_scheduler = pytest.mark.parametrize("make", SCHEDULERS.values(), ids=SCHEDULERS)


def parameter():
    return torch.nn.Parameter(torch.zeros((), dtype=torch.float64))


def sgd(*rates, **options):
    return SGD([{"params": [parameter()], "lr": rate} for rate in rates], **options)


def double(number):
    return torch.tensor(number, dtype=torch.float64)


def update(optimizer, gradient=1.0):
    """How far one update moves the first parameter of each group."""
    parameters = [group["params"][0] for group in optimizer.param_groups]
    before = [p.item() for p in parameters]
    for p in parameters:
        p.grad = torch.full_like(p, gradient)
    optimizer.step()
    return [b - p.item() for b, p in zip(before, parameters, strict=True)]


def applied(optimizer, scheduler, steps):
    """The rates that moved the parameters, a row for each group."""
    rows = []
    for _ in range(steps):
        rows.append(update(optimizer))
        scheduler.step()
    return [list(column) for column in zip(*rows, strict=True)]


def expected(schedule, T, steps, first=0):
    values = [schedule(t, T) for t in range(first, first + steps)]
    return pytest.approx(values, rel=1e-12, abs=1e-15)


def rates_of(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


def saved(state):
    """The state as torch saves it and loads it without unpickling code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@every_scheduler
@pytest.mark.parametrize("rate", [PEAK, double(PEAK), double([PEAK])], ids=["float", "0d", "1d"])
def test_the_applied_rate_is_the_schedule(make, rate):
    rate = copy.copy(rate) if isinstance(rate, float) else rate.clone()
    optimizer = sgd(rate)
    scheduler = make(optimizer)
    (rates,) = applied(optimizer, scheduler, T + 5)
    assert rates == expected(RATE, T, T + 5)
    assert (rates[0], rates[3], rates[T]) == pytest.approx((0.01, 0.1, 0.001))
    assert rates[T - 1] > rates[T] == pytest.approx(rates[-1])
    if not isinstance(rate, float):
        assert optimizer.param_groups[0]["lr"] is rate


def test_a_factor_keeps_the_ratio_of_the_groups():
    optimizer = sgd(0.1, 0.01, double(0.5))
    rows = applied(optimizer, lambda_lr(optimizer, SHAPE, T), T)
    for rate, row in zip((0.1, 0.01, 0.5), rows, strict=True):
        assert row == expected(lambda t, T, rate=rate: rate * SHAPE(t, T), T, T)


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer, schedules: lambda_lr(optimizer, schedules, T, absolute=True),
        lambda optimizer, schedules: HyperparamScheduler(optimizer, T, lr=schedules),
    ],
    ids=["lambda_lr", "HyperparamScheduler"],
)
@pytest.mark.parametrize("kind", [float, double])
def test_one_schedule_per_group(make, kind):
    """One tensor given to all groups must not carry the rate of one of them into the others."""
    groups = [{"params": [parameter()]} for _ in range(3)]
    optimizer = SGD(groups, lr=kind(PEAK))
    rows = applied(optimizer, make(optimizer, [RATE, OTHER, RATE]), T)
    assert rows == [expected(RATE, T, T), expected(OTHER, T, T), expected(RATE, T, T)]


def test_one_factor_per_group():
    optimizer = sgd(0.1, 0.2)
    rows = applied(optimizer, lambda_lr(optimizer, (rex, bind(rex, beta=0.9)), T), T)
    assert rows[0] == expected(lambda t, T: 0.1 * rex(t, T), T, T)
    assert rows[1] == expected(lambda t, T: 0.2 * rex(t, T, beta=0.9), T, T)


@pytest.mark.parametrize(
    "schedule",
    [
        RATE,
        demon(0.9),
        one_cycle(0.1)[0],
        warmup_stable_decay(3.0),
        Schedule(peak_value=np.float32(0.5)),
        Join([Schedule(peak_value=0.1), Schedule(peak_value=0.01)], [0.5]),
        Restarts(Schedule(peak_value=0.1), 2),
    ],
)
def test_a_rate_times_a_rate_is_refused(schedule):
    with pytest.raises(ValueError, match=r"must be 1 unless absolute=True.* \(lr²\); got"):
        lambda_lr(sgd(PEAK), schedule, T)
    with pytest.raises(ValueError, match="peak_value must be 1"):
        lambda_lr(sgd(PEAK, PEAK), [SHAPE, schedule], T)
    optimizer = sgd(PEAK)
    (rates,) = applied(optimizer, lambda_lr(optimizer, schedule, T, absolute=True), T)
    assert rates == expected(schedule, T, T)


@pytest.mark.parametrize(
    "schedule",
    [
        rex,
        bind(exponential, gamma=2.0),
        Schedule(),
        Join([Schedule(), Schedule(peak_value=0.1)], [0.5]),
        Restarts(Schedule(), 2, peak_mult=0.5),
        lambda t, T: min(1.0, (t + 1) / 5),
    ],
    ids=["profile", "bound profile", "Schedule", "Join", "Restarts", "a function"],
)
def test_a_factor_is_accepted(schedule):
    optimizer = sgd(PEAK)
    (rates,) = applied(optimizer, lambda_lr(optimizer, schedule, T), T)
    assert rates == expected(lambda t, T: PEAK * schedule(t, T), T, T)


@every_scheduler
@pytest.mark.parametrize("kind", [float, double])
def test_a_group_added_later_follows(make, kind):
    optimizer = SGD([parameter()], lr=kind(PEAK))
    scheduler = make(optimizer)
    applied(optimizer, scheduler, 6)
    optimizer.add_param_group({"params": [parameter()]})
    update(optimizer)
    scheduler.step()
    assert applied(optimizer, scheduler, 3) == [expected(RATE, T, 3, 7)] * 2
    optimizer.add_param_group({"params": [parameter()], "lr": kind(3 * PEAK)})
    update(optimizer)
    scheduler.step()
    factor = 3 if make is SCHEDULERS["factor"] else 1
    rows = applied(optimizer, scheduler, 3)
    assert rows[:2] == [expected(RATE, T, 3, 11)] * 2
    assert rows[2] == expected(lambda t, T: factor * RATE(t, T), T, 3, 11)
    assert scheduler.get_last_lr() == rates_of(optimizer)


@every_scheduler
def test_groups_added_later_are_resumed(make):
    def grown():
        optimizer = sgd(PEAK)
        scheduler = make(optimizer)
        optimizer.add_param_group({"params": [parameter()], "lr": 2 * PEAK})
        return optimizer, scheduler

    optimizer, scheduler = grown()
    applied(optimizer, scheduler, 5)
    again, resumed = grown()
    again.load_state_dict(saved(optimizer.state_dict()))
    resumed.load_state_dict(saved(scheduler.state_dict()))
    rows = applied(optimizer, scheduler, 5)
    assert applied(again, resumed, 5) == [pytest.approx(row) for row in rows]


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: lambda_lr(optimizer, [RATE, OTHER], T, absolute=True),
        lambda optimizer: HyperparamScheduler(optimizer, T, lr=[RATE, OTHER]),
        lambda optimizer: HyperparamScheduler(optimizer, T, lr=RATE, momentum=[demon(), demon()]),
    ],
    ids=["lambda_lr", "HyperparamScheduler", "one of its settings"],
)
def test_a_group_without_a_schedule_is_refused(make):
    optimizer = sgd(PEAK, PEAK)
    scheduler = make(optimizer)
    update(optimizer)
    optimizer.add_param_group({"params": [parameter()]})
    with pytest.raises(ValueError, match=r"added later; got 2 different ones, .* 3 groups"):
        scheduler.step()


@every_scheduler
def test_the_state_is_plain_and_knows_no_budget(make):
    optimizer = sgd(PEAK, double(PEAK))
    scheduler = make(optimizer)
    applied(optimizer, scheduler, 5)
    state = scheduler.state_dict()
    if isinstance(scheduler, LambdaLR):
        assert state["lr_lambdas"] == [{}, {}]
    else:
        assert state == {"last_epoch": 5}
    assert saved(state)["last_epoch"] == 5
    assert not {T, float(T)} & {v for v in state.values() if isinstance(v, int | float)}


@every_scheduler
@pytest.mark.parametrize("budget", [T, 2 * T, 12])
def test_the_new_budget_holds_from_the_first_update_after_a_resume(make, budget):
    optimizer = sgd(PEAK)
    scheduler = make(optimizer)
    applied(optimizer, scheduler, 8)
    again = sgd(PEAK)
    resumed = make(again, budget)
    again.load_state_dict(saved(optimizer.state_dict()))
    resumed.load_state_dict(saved(scheduler.state_dict()))
    assert resumed.get_last_lr() == rates_of(again) == [pytest.approx(RATE(8, budget))]
    assert applied(again, resumed, 10) == [expected(RATE, budget, 10, 8)]


@pytest.mark.parametrize("name", ["absolute", "HyperparamScheduler"])
def test_absolute_rates_do_not_depend_on_the_optimizers(name):
    """Neither on the one it was made with, nor on the one in a checkpoint."""
    optimizer = sgd(0.7)
    scheduler = SCHEDULERS[name](optimizer)
    assert applied(optimizer, scheduler, 5) == [expected(RATE, T, 5)]
    again = sgd(0.0)
    resumed = SCHEDULERS[name](again)
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert applied(again, resumed, 5) == [expected(RATE, T, 5, 5)]


def test_last_epoch_goes_on_without_a_state():
    optimizer = sgd(PEAK)
    applied(optimizer, lambda_lr(optimizer, SHAPE, T), 6)
    scheduler = lambda_lr(optimizer, SHAPE, T, last_epoch=5)
    assert applied(optimizer, scheduler, 5) == [expected(RATE, T, 5, 6)]


@every_scheduler
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))])
def test_copies_go_on_alike(make, copied):
    optimizer = sgd(PEAK, double(PEAK))
    scheduler = make(optimizer)
    applied(optimizer, scheduler, 5)
    run = copied((optimizer, scheduler))
    assert run[1].optimizer is run[0]
    rates = applied(*run, 5)
    assert rates_of(optimizer) == [pytest.approx(RATE(5, T))] * 2
    assert rates == applied(optimizer, scheduler, 5)


@every_scheduler
def test_it_is_what_the_ecosystem_takes_for_a_scheduler(make):
    scheduler = make(sgd(PEAK, double(PEAK)))
    assert isinstance(scheduler, LRScheduler)
    rates = scheduler.get_last_lr()
    assert rates == [pytest.approx(RATE(0, T))] * 2
    assert torch.is_tensor(rates[1])
    rates[1].fill_(7.0)
    assert float(scheduler.optimizer.param_groups[1]["lr"]) == pytest.approx(RATE(0, T))


@every_scheduler
def test_it_takes_its_turn_in_a_sequence_and_is_resumed_there(make):
    def sequence():
        optimizer = sgd(PEAK)
        parts = [ConstantLR(optimizer, 0.5, 100), make(optimizer), make(optimizer, 40)]
        return optimizer, SequentialLR(optimizer, parts, [4, 10])

    plan = [0.5 * PEAK] * 4 + [RATE(t, T) for t in range(6)] + [RATE(t, 40) for t in range(6)]
    optimizer, scheduler = sequence()
    assert applied(optimizer, scheduler, 16) == [pytest.approx(plan)]
    for stop in (2, 4, 6, 10, 13):
        optimizer, scheduler = sequence()
        applied(optimizer, scheduler, stop)
        again, resumed = sequence()
        again.load_state_dict(saved(optimizer.state_dict()))
        resumed.load_state_dict(scheduler.state_dict())
        assert applied(again, resumed, 16 - stop) == [pytest.approx(plan[stop:])]


@every_scheduler
def test_a_first_value_that_is_skipped_is_said(make):
    scheduler = make(sgd(PEAK))
    with pytest.warns(UserWarning, match=r"first value of the (learning rate )?schedule"):
        scheduler.step()


@every_scheduler
@pytest.mark.parametrize("kind", [np.float64, torch.tensor])
def test_numbers_in_a_checkpoint_are_plain(make, kind):
    """A NumPy scalar among them would keep torch.load from reading it safely."""
    schedule = Schedule(peak_value=kind(1.0))
    optimizer = sgd(PEAK)
    if make is SCHEDULERS["HyperparamScheduler"]:
        HyperparamScheduler(optimizer, np.int64(T), lr=schedule)
    else:
        lambda_lr(optimizer, schedule, float(T))
    (group,) = saved(optimizer.state_dict())["param_groups"]
    assert type(group["lr"]) is float


def test_momentum_of_sgd_is_what_the_optimizer_uses():
    """After a gradient of zero, an update moves by the one before it times the momentum."""
    optimizer = sgd(1.0, momentum=0.5)
    scheduler = HyperparamScheduler(optimizer, 10, momentum=demon(0.8))
    (before,) = update(optimizer)
    for t in range(1, 10):
        scheduler.step()
        (moved,) = update(optimizer, 0.0)
        assert moved / before == pytest.approx(demon(0.8)(t, 10))
        before = moved
    assert rates_of(optimizer) == [1.0]


@pytest.mark.parametrize("kind", [float, double])
def test_momentum_of_adam_is_its_first_beta(kind):
    p, betas = parameter(), (kind(0.5), kind(0.99))
    optimizer = Adam([p], lr=PEAK, betas=betas, foreach=False, capturable=False)
    scheduler = HyperparamScheduler(optimizer, 10, momentum=demon(0.8))
    update(optimizer)
    for t in range(1, 10):
        scheduler.step()
        before = float(optimizer.state[p]["exp_avg"])
        update(optimizer, 0.0)
        assert float(optimizer.state[p]["exp_avg"]) / before == pytest.approx(demon(0.8)(t, 10))
    first, second = optimizer.param_groups[0]["betas"]
    assert (float(first), float(second)) == (demon(0.8)(9, 10), 0.99)
    assert torch.is_tensor(first) == torch.is_tensor(betas[0])


def test_weight_decay_is_what_the_optimizer_uses():
    """Without a gradient AdamW shrinks a weight by the product of rate and weight decay."""
    p = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = AdamW([p], lr=1.0, weight_decay=0.0)
    decay = Schedule(linear, peak_value=0.3, end_value=0.1)
    scheduler = HyperparamScheduler(optimizer, T, lr=RATE, weight_decay=decay)
    for t in range(T):
        before = p.item()
        p.grad = torch.zeros_like(p)
        optimizer.step()
        scheduler.step()
        assert 1 - p.item() / before == pytest.approx(RATE(t, T) * decay(t, T), rel=1e-9)


@pytest.mark.parametrize("kind", [SGD, RMSprop])
def test_every_setting_at_any_step(kind):
    optimizer = kind([parameter()], lr=1.0, momentum=0.5)
    lr, momentum = one_cycle(0.3)
    decay = Schedule(cosine, peak_value=0.01)
    scheduler = HyperparamScheduler(optimizer, T, lr=lr, momentum=momentum, weight_decay=decay)
    (group,) = optimizer.param_groups
    for t in (T, 7, 0, 19, 10**9, 10):
        scheduler.step(t)
        found = group["lr"], group["momentum"], group["weight_decay"]
        assert found == (lr(t, T), momentum(t, T), decay(t, T))
        assert scheduler.last_epoch == t
    update(optimizer)
    scheduler.step()
    assert (scheduler.last_epoch, group["lr"]) == (11, lr(11, T))


def test_another_schedulers_checkpoint_says_where_to_go_on():
    optimizer = sgd(PEAK)
    cosine_annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T)
    applied(optimizer, cosine_annealing, 6)
    scheduler = HyperparamScheduler(optimizer, T, lr=RATE)
    scheduler.load_state_dict(cosine_annealing.state_dict())
    assert applied(optimizer, scheduler, 4) == [expected(RATE, T, 4, 6)]


def test_one_tensor_of_betas_in_all_groups():
    betas = double(0.9), double(0.99)
    groups = [{"params": [parameter()]} for _ in range(2)]
    optimizer = Adam(groups, betas=betas, foreach=False)
    HyperparamScheduler(optimizer, T, momentum=[demon(0.9), demon(0.5)])
    assert [float(group["betas"][0]) for group in optimizer.param_groups] == [0.9, 0.5]


BUDGETS = 0, -1, 1.5, float("nan"), float("inf"), "10", True, None, [10], np.array([10, 20])


@pytest.mark.parametrize("budget", BUDGETS, ids=repr)
@every_scheduler
def test_budgets_that_are_refused(make, budget):
    with pytest.raises(ValueError, match=re.escape("total_steps must be")) as error:
        make(sgd(PEAK), budget)
    assert f"got {budget!r}" in str(error.value)


REFUSED = {
    "phases that fill the budget": (Schedule(warmup_steps=T), "warmup_steps"),
    "the same in a join": (Join([Schedule(), Schedule(warmup_steps=10)], [0.6]), "warmup_steps"),
    "the same in a cycle": (Restarts(Schedule(warmup_steps=10), 2), "warmup_steps"),
    "no function": (0.1, "must be a function of (t, T); got 0.1"),
    "a class": (Schedule, "must be a function of (t, T); got"),
    "a function of t": (lambda t: 1.0, "must be a function of (t, T); got"),
    "an unbound sampling": (every, "must not be a sampling"),
    "a sampling": (every_step, "must not be a sampling"),
    "an array": (Schedule(peak_value=np.ones(3)), "must give one number at a step"),
    "a string": (lambda t, T: "1", "must be a finite number >= 0; got '1'"),
    "a negative rate": (lambda t, T: 1 - 2 * t / T, "must be a finite number >= 0; got -1.0"),
    "not a number": (lambda t, T: float("nan"), "must be a finite number >= 0; got nan"),
    "too few": ([SHAPE], "one for each of the 2 parameter groups; got 1"),
    "too many": ((SHAPE,) * 3, "one for each of the 2 parameter groups; got 3"),
}


@pytest.mark.parametrize(("schedule", "message"), REFUSED.values(), ids=REFUSED)
def test_schedules_that_are_refused(schedule, message):
    for absolute in (False, True):
        with pytest.raises(ValueError, match=re.escape(message)):
            lambda_lr(sgd(PEAK, PEAK), schedule, T, absolute=absolute)
    with pytest.raises(ValueError, match=re.escape(message)):
        HyperparamScheduler(sgd(PEAK, PEAK), T, lr=schedule)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lambda_lr(None, SHAPE, T), "optimizer must be a torch.optim.Optimizer; got None"),
        (lambda: HyperparamScheduler([], T, lr=RATE), "torch.optim.Optimizer; got []"),
        (lambda: lambda_lr(sgd(PEAK), SHAPE, T, last_epoch=-2), "an integer >= -1; got -2"),
        (lambda: lambda_lr(sgd(PEAK), SHAPE, T, last_epoch=1.0), "an integer >= -1; got 1.0"),
        (lambda: lambda_lr(sgd(PEAK), SHAPE, T, last_epoch=3), "no 'initial_lr'"),
        (lambda: HyperparamScheduler(sgd(PEAK), T), "lr, momentum, weight_decay must be"),
        (
            lambda: HyperparamScheduler(sgd(PEAK), T, momentum=Schedule()),
            "each value of momentum must be in [0, 1); got 1.0",
        ),
        (
            lambda: HyperparamScheduler(Adam([parameter()]), T, momentum=Schedule(warmup_steps=5)),
            "each value of momentum must be in [0, 1); got 1.0",
        ),
        (
            lambda: HyperparamScheduler(Adagrad([parameter()]), T, momentum=demon()),
            "momentum must be None for Adagrad",
        ),
        (
            lambda: HyperparamScheduler(LBFGS([parameter()]), T, weight_decay=SHAPE),
            "weight_decay must be None for LBFGS",
        ),
        (lambda: HyperparamScheduler(sgd(PEAK), T, lr=RATE).step(-1), "epoch must be an integer"),
        (lambda: HyperparamScheduler(sgd(PEAK), T, lr=RATE).step(0.5), ">= 0; got 0.5"),
        (
            lambda: HyperparamScheduler(sgd(PEAK), T, lr=RATE).load_state_dict({}),
            "last_epoch must be an integer >= -1; got None",
        ),
    ],
)
def test_other_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_without_torch_the_extra_is_named():
    code = "import sys; sys.modules['torch'] = None; import rex_torch"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "pip install 'rex-schedules[torch]'" in run.stderr
