import copy
import io
import itertools
import pickle
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from rex_torch import HyperparamScheduler, lambda_lr
from torch.optim import LBFGS, SGD, Adagrad, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
)
from torch.optim.swa_utils import SWALR

from rex_core import (
    Join,
    Product,
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

# SequentialLR of PyTorch 2.8 calls its other schedulers so.
pytestmark = pytest.mark.filterwarnings("ignore:The epoch parameter in .scheduler.step:UserWarning")

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
        one_cycle(0.1).lr,
        warmup_stable_decay(3.0),
        Schedule(peak_value=np.float32(0.5)),
        Join([Schedule(peak_value=0.1), Schedule(peak_value=0.01)], [0.5]),
        Join([Schedule(peak_value=0.1), linear], [0.5]),
        Schedule(Schedule(peak_value=0.5)),
        Restarts(Schedule(peak_value=0.1), 2),
        bind("interpolate", values=(0.001, 0.01, 0)),
        Schedule(bind("interpolate", values=(0.001, 0.01, 0))),
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
        bind("interpolate", values=(0.5, 0.2, 0)),
        Join([linear, bind("interpolate", values=(0.05, 0))], [0.95]),
        Product([linear, bind("interpolate", values=(0.05, 0))]),
    ],
)
def test_tables_of_factors_are_no_rates(schedule):
    optimizer = sgd(PEAK)
    (rates,) = applied(optimizer, lambda_lr(optimizer, schedule, T), T)
    assert rates == expected(lambda t, T: PEAK * schedule(t, T), T, T)


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
    if make is not SCHEDULERS["factor"]:
        rates = rates_of(optimizer)
        with pytest.raises(ValueError, match=r"^lr of parameter group 2, which was added, must be"):
            scheduler.step()
        assert rates_of(optimizer) == rates
        return
    scheduler.step()
    rows = applied(optimizer, scheduler, 3)
    assert rows[:2] == [expected(RATE, T, 3, 11)] * 2
    assert rows[2] == expected(lambda t, T: 3 * RATE(t, T), T, 3, 11)
    assert scheduler.get_last_lr() == rates_of(optimizer)


@every_scheduler
def test_groups_added_later_are_resumed(make):
    def grown():
        optimizer = sgd(PEAK)
        scheduler = make(optimizer)
        factor = 2 if make is SCHEDULERS["factor"] else 1
        optimizer.add_param_group({"params": [parameter()], "lr": factor * rates_of(optimizer)[0]})
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
        lambda optimizer: HyperparamScheduler(
            optimizer, T, lr=RATE, momentum=[demon(), demon(0.8)]
        ),
    ],
    ids=["lambda_lr", "HyperparamScheduler", "one of its settings"],
)
def test_a_group_without_a_schedule_is_refused(make):
    optimizer = sgd(PEAK, PEAK)
    scheduler = make(optimizer)
    update(optimizer)
    optimizer.add_param_group({"params": [parameter()]})
    with pytest.raises(ValueError, match=r"added later; got one for each of 2, .* 3 groups"):
        scheduler.step()


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer, schedules: lambda_lr(optimizer, schedules, T, absolute=True),
        lambda optimizer, schedules: HyperparamScheduler(optimizer, T, lr=schedules),
    ],
    ids=["lambda_lr", "HyperparamScheduler"],
)
def test_equal_schedules_are_one(make):
    optimizer = sgd(PEAK, PEAK)
    scheduler = make(optimizer, [Schedule(peak_value=0.3), Schedule(peak_value=0.3)])
    optimizer.add_param_group({"params": [parameter()]})
    update(optimizer)
    scheduler.step()
    assert rates_of(optimizer) == [Schedule(peak_value=0.3)(1, T)] * 3


@every_scheduler
def test_the_state_is_plain_and_knows_no_budget(make):
    optimizer = sgd(PEAK, double(PEAK))
    scheduler = make(optimizer)
    applied(optimizer, scheduler, 5)
    state = scheduler.state_dict()
    if isinstance(scheduler, LambdaLR):
        assert state["lr_lambdas"] == [{}, {}]
    else:
        assert state == {"last_epoch": 5, "_last_lr": [RATE(5, T)] * 2}
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


class Beside:
    """Two schedulers, of which the second takes over at some step, as in the example of SWALR."""

    def __init__(self, first, second, start):
        self.parts, self.start, self.t = (first, second), start, 0

    def step(self):
        self.t += 1
        self.parts[self.t > self.start].step()

    def state_dict(self):
        return {"t": self.t, "parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state):
        self.t = state["t"]
        for part, content in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(content)


COMPANY = {
    "first in SequentialLR": lambda optimizer, ours: SequentialLR(
        optimizer, [ours(optimizer), CosineAnnealingLR(optimizer, T)], [4]
    ),
    "first in ChainedScheduler": lambda optimizer, ours: ChainedScheduler(
        [ours(optimizer), ExponentialLR(optimizer, 0.5)]
    ),
    "beside SWALR": lambda optimizer, ours: Beside(
        ours(optimizer), SWALR(optimizer, 0.02, anneal_epochs=5), 4
    ),
}


# The factor of a ChainedScheduler is undone at each step of ours.
@pytest.mark.filterwarnings("ignore:.*is overwritten now:UserWarning")
@pytest.mark.parametrize("company", COMPANY.values(), ids=COMPANY)
@pytest.mark.parametrize("kind", [float, double, torch.tensor])
@every_scheduler
def test_what_another_scheduler_has_set_is_kept_on_resume(make, kind, company):
    def start():
        optimizer = sgd(kind(PEAK))
        return optimizer, company(optimizer, make)

    (whole,) = applied(*start(), 14)
    for stop in (0, 2, 3, 4, 5, 9):
        optimizer, scheduler = start()
        applied(optimizer, scheduler, stop)
        again, resumed = start()
        again.load_state_dict(saved(optimizer.state_dict()))
        resumed.load_state_dict(scheduler.state_dict())
        assert applied(again, resumed, 14 - stop) == [pytest.approx(whole[stop:], rel=1e-12)]


# PyTorch makes that step itself, in the constructor.
@pytest.mark.filterwarnings("ignore:.*before.*optimizer.step:UserWarning")
@every_scheduler
def test_a_sequence_within_a_sequence_is_resumed(make):
    """There PyTorch counts down to -2 for those that wait, and to 1 for the first."""

    def start():
        optimizer = sgd(PEAK)
        inner = SequentialLR(optimizer, [make(optimizer), make(optimizer, 40)], [4])
        return optimizer, SequentialLR(optimizer, [inner, CosineAnnealingLR(optimizer, T)], [8])

    (whole,) = applied(*start(), 14)
    for stop in (2, 6, 9):
        optimizer, scheduler = start()
        applied(optimizer, scheduler, stop)
        again, resumed = start()
        again.load_state_dict(saved(optimizer.state_dict()))
        resumed.load_state_dict(scheduler.state_dict())
        assert applied(again, resumed, 14 - stop) == [pytest.approx(whole[stop:], rel=1e-12)]


def test_a_momentum_that_another_scheduler_has_set_is_kept_on_resume():
    def start():
        optimizer = sgd(PEAK, momentum=0.5)
        ours = HyperparamScheduler(optimizer, T, lr=RATE, momentum=demon(0.8))
        theirs = OneCycleLR(optimizer, PEAK, total_steps=T)
        return optimizer, SequentialLR(optimizer, [ours, theirs], [4])

    optimizer, scheduler = start()
    applied(optimizer, scheduler, 7)
    again, resumed = start()
    again.load_state_dict(saved(optimizer.state_dict()))
    resumed.load_state_dict(scheduler.state_dict())
    assert again.param_groups[0]["momentum"] == optimizer.param_groups[0]["momentum"] > 0.85


@every_scheduler
def test_a_first_value_that_is_skipped_is_said(make):
    scheduler = make(sgd(PEAK))
    with pytest.warns(UserWarning, match=r"first value of the (learning rate )?schedule"):
        scheduler.step()


@every_scheduler
def test_numpys_rates_do_not_reach_a_checkpoint(make):
    """Of the optimizer, of its defaults, and of another scheduler that was there before."""
    optimizer = SGD([{"params": [parameter()]}], lr=np.float64(PEAK))
    ConstantLR(optimizer, 1.0)
    scheduler = make(optimizer)
    optimizer.add_param_group({"params": [parameter()]})
    update(optimizer)
    scheduler.step()
    assert saved(scheduler.state_dict())["last_epoch"] == 1
    assert len(saved(optimizer.state_dict())["param_groups"]) == 2


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


@pytest.mark.parametrize("kind", [float, double])
def test_momentum_where_each_group_has_it(kind):
    """Optimizers of several rules, as Muon beside Adam, have both sorts of groups."""

    class Both(torch.optim.Optimizer):
        def step(self):
            pass

    first = {"params": [parameter()], "momentum": kind(0.5)}
    optimizer = Both([first, {"params": [parameter()], "betas": (kind(0.5), 0.99)}], {"lr": 0.1})
    scheduler = HyperparamScheduler(optimizer, T, momentum=[demon(0.8), demon(0.9)])
    scheduler.step(7)
    one, other = optimizer.param_groups
    assert (one["momentum"], other["betas"]) == (demon(0.8)(7, T), (demon(0.9)(7, T), 0.99))
    assert "betas" not in one
    assert "momentum" not in other
    with pytest.raises(ValueError, match="weight_decay must be None for Both"):
        HyperparamScheduler(optimizer, T, weight_decay=demon())


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


@pytest.mark.parametrize("steps_only", [False, True])
def test_another_schedulers_checkpoint_says_where_to_go_on(steps_only):
    optimizer = sgd(PEAK)
    cosine_annealing = CosineAnnealingLR(optimizer, T)
    applied(optimizer, cosine_annealing, 6)
    again = sgd(PEAK)
    scheduler = HyperparamScheduler(again, T, lr=RATE)
    again.load_state_dict(optimizer.state_dict())
    state = cosine_annealing.state_dict()
    scheduler.load_state_dict({"last_epoch": 6} if steps_only else state)
    assert applied(again, scheduler, 4) == [expected(RATE, T, 4, 6)]


def test_one_tensor_of_betas_in_all_groups():
    betas = double(0.9), double(0.99)
    groups = [{"params": [parameter()]} for _ in range(2)]
    optimizer = Adam(groups, betas=betas, foreach=False)
    HyperparamScheduler(optimizer, T, momentum=[demon(0.9), demon(0.5)])
    assert [float(group["betas"][0]) for group in optimizer.param_groups] == [0.9, 0.5]


@every_scheduler
def test_steps_may_be_integers_of_any_library(make):
    for integer in (5, np.int64(5), np.array(5), torch.tensor(5)):
        optimizer = sgd(PEAK)
        scheduler = make(optimizer)
        update(optimizer)
        with warnings.catch_warnings():
            # LambdaLR's own, of the argument.
            warnings.filterwarnings("ignore", "The epoch parameter", UserWarning)
            scheduler.step(integer)
        assert rates_of(optimizer) == [pytest.approx(RATE(5, T))]
        assert saved(scheduler.state_dict())["last_epoch"] == 5


@pytest.mark.parametrize("kind", [float, double, torch.tensor])
def test_groups_added_from_the_defaults_begin_with_their_rate(kind):
    """However late: what is filled in place is neither the defaults' tensor nor "initial_lr"."""
    optimizer = SGD([parameter()], lr=kind(PEAK))
    scheduler = lambda_lr(optimizer, SHAPE, T)
    for _ in range(2):
        applied(optimizer, scheduler, 4)
        optimizer.add_param_group({"params": [parameter()]})
    applied(optimizer, scheduler, 2)
    groups = optimizer.param_groups
    assert [float(group["initial_lr"]) for group in groups] == [pytest.approx(PEAK)] * 3
    assert rates_of(optimizer) == [pytest.approx(PEAK * SHAPE(10, T))] * 3


def test_a_state_is_not_changed_by_what_comes_after():
    optimizer = sgd(PEAK)
    scheduler = lambda_lr(optimizer, SHAPE, T)
    before = scheduler.state_dict()
    again = sgd(PEAK)
    resumed = lambda_lr(again, SHAPE, T)
    resumed.load_state_dict(before)
    for each, its in ((optimizer, scheduler), (again, resumed)):
        each.add_param_group({"params": [parameter()]})
        applied(each, its, 2)
    assert before["base_lrs"] == [PEAK]
    assert before["lr_lambdas"] == [{}]


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
    "a negative rate": (lambda t, T: 1 - 2 * t / T, "must be a finite number >= 0; got -0.1"),
    "a negative rate in between": (
        Join([Schedule(end_value=-0.5), Schedule()], [0.7]),
        "must be a finite number >= 0; got -0.1",
    ),
    "nothing in between": (
        lambda t, T: None if t == 5 else 0.1,
        "must be a finite number >= 0; got None",
    ),
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


@pytest.mark.parametrize("groups", [1, 2])
def test_the_pair_of_one_cycle_is_refused(groups):
    """Of two groups it could pass for a schedule each."""
    for make in (
        lambda optimizer, pair: lambda_lr(optimizer, pair, T, absolute=True),
        lambda optimizer, pair: HyperparamScheduler(optimizer, T, lr=pair),
        lambda optimizer, pair: HyperparamScheduler(optimizer, T, lr=pair.lr, momentum=pair),
    ):
        optimizer = sgd(*[PEAK] * groups, momentum=0.9)
        with pytest.raises(ValueError, match=r"must be one of the two schedules of a pair"):
            make(optimizer, one_cycle(PEAK))


MISSED = 1_000_003


def test_values_out_of_range_between_those_seen_at_first():
    """An error at their step, before the optimizer gets them."""
    makers = (
        lambda optimizer, schedule: lambda_lr(optimizer, schedule, MISSED),
        lambda optimizer, schedule: HyperparamScheduler(optimizer, MISSED, lr=schedule),
    )
    for bad, make in itertools.product((None, float("nan"), -0.5, float("inf"), "x"), makers):
        optimizer = sgd(PEAK)
        scheduler = make(optimizer, lambda t, T, bad=bad: bad if t == 5 else 0.1)
        applied(optimizer, scheduler, 4)
        update(optimizer)
        rates = rates_of(optimizer)
        with pytest.raises(ValueError, match=f"must be a finite number >= 0; got {bad!r}"):
            scheduler.step()
        assert rates_of(optimizer) == rates


@pytest.mark.parametrize("T", [10, MISSED])
def test_a_momentum_of_1_in_a_restart(T):
    schedule = Restarts(Schedule(peak_value=0.5), 2, peak_mult=2)
    with pytest.raises(ValueError, match=r"each value of momentum must be in \[0, 1\); got 1.0"):
        HyperparamScheduler(Adam([parameter()]), T, momentum=schedule).step(T // 2 + T % 2)


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
        (lambda: HyperparamScheduler(sgd(PEAK), T, lr=RATE).step(-0.5), ">= 0; got -0.5"),
        (lambda: lambda_lr(sgd(PEAK), SHAPE, T).step(float("nan")), ">= 0; got nan"),
        (
            lambda: HyperparamScheduler(sgd(PEAK), T, lr=RATE).load_state_dict({}),
            "last_epoch in state_dict must be an integer; got None",
        ),
        (
            lambda: HyperparamScheduler(sgd(PEAK), T, lr=RATE).load_state_dict(None),
            "state_dict must be what state_dict() of a scheduler returned; got None",
        ),
        (lambda: HyperparamScheduler(sgd(PEAK), T, lr=RATE).step(True), ">= 0; got True"),
        (
            lambda: lambda_lr(sgd(PEAK), SHAPE, T).load_state_dict({"last_epoch": None}),
            "last_epoch in state_dict must be an integer; got None",
        ),
        (
            lambda: lambda_lr(sgd(PEAK), SHAPE, T).load_state_dict({"last_epoch": 5}),
            "base_lrs in state_dict must be a list with one for each of the 1 parameter groups",
        ),
        (
            lambda: lambda_lr(sgd(PEAK), SHAPE, T).load_state_dict(
                lambda_lr(sgd(PEAK, PEAK), SHAPE, T).state_dict()
            ),
            "base_lrs in state_dict must be a list with one for each of the 1 parameter groups",
        ),
        (
            lambda: lambda_lr(sgd(PEAK), SHAPE, T).load_state_dict(
                {"last_epoch": 5, "base_lrs": [PEAK], "lr_lambdas": [{}, {}]}
            ),
            "lr_lambdas in state_dict must be a list with one for each of the 1 parameter groups",
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
