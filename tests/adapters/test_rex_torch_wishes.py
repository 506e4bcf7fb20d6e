"""What a user has set on purpose is not overwritten without a word."""

import copy
import pickle
import re

import numpy as np
import pytest
import skorch
import torch
from rex_torch import HyperparamScheduler, lambda_lr
from skorch.callbacks import LRScheduler as SkorchScheduler
from torch.optim import SGD, Adafactor, Adam, AdamW
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)
from transformers.optimization import Adafactor as TransformersAdafactor

from benchmarks.accuracy.frameworks import timm_schedulers
from rex_core import Replan, Schedule, cosine, demon, linear, rex

T = 20
SHAPE = Schedule(init_value=0.1, warmup_steps=3)
RATE = Schedule(peak_value=0.3, init_value=0.03, warmup_steps=3)


def parameter():
    return torch.nn.Parameter(torch.zeros((), dtype=torch.float64))


def sgd(*settings, **options):
    """An optimizer with a group for each of these settings."""
    groups = [{"params": [parameter()], **each} for each in settings or [{}]]
    return SGD(groups, **{"lr": 0.1, **options})


def column(optimizer, name):
    return [float(group[name]) for group in optimizer.param_groups]


def run(optimizer, scheduler, steps):
    for _ in range(steps):
        optimizer.step()
        scheduler.step()


MAKERS = {
    "factor": lambda optimizer, **options: lambda_lr(optimizer, SHAPE, T, **options),
    "absolute": lambda optimizer, **options: lambda_lr(
        optimizer, RATE, T, absolute=True, **options
    ),
    "HyperparamScheduler": lambda optimizer, **options: HyperparamScheduler(
        optimizer, T, lr=RATE, **options
    ),
}
every_scheduler = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
every_absolute = pytest.mark.parametrize(
    "make", [MAKERS["absolute"], MAKERS["HyperparamScheduler"]], ids=[*MAKERS][1:]
)


def rate(make, t, base=0.1):
    return pytest.approx(base * SHAPE(t, T) if make is MAKERS["factor"] else RATE(t, T))


# A full LRScheduler, for those who know it only as one.


class Driver:
    """Sets the count and asks for the rates, as jagged restarts and containers do."""

    def __init__(self, scheduler: LRScheduler):
        self.scheduler = scheduler

    def set(self, t):
        self.scheduler.last_epoch = t
        rates = self.scheduler.get_lr()
        for group, number in zip(self.scheduler.optimizer.param_groups, rates, strict=True):
            group["lr"] = number


@every_scheduler
def test_the_rate_is_that_of_the_count(make):
    optimizer = sgd({}, {})
    driver = Driver(make(optimizer))
    for t in (0, 1, 7, 3, T, 12):
        driver.set(t)
        assert column(optimizer, "lr") == [rate(make, t)] * 2


@every_scheduler
def test_it_goes_on_by_last_epoch(make):
    optimizer = sgd()
    run(optimizer, make(optimizer), 7)
    again = sgd()
    again.load_state_dict(optimizer.state_dict())
    scheduler = make(again, last_epoch=6)
    assert (scheduler.last_epoch, column(again, "lr")) == (7, [rate(make, 7)])
    assert scheduler._last_lr == scheduler.get_last_lr() == column(again, "lr")
    run(again, scheduler, 1)
    assert column(again, "lr") == [rate(make, 8)]


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@every_scheduler
def test_ignite_asks_for_the_rates(make):
    import ignite.engine
    import ignite.handlers

    optimizer = sgd()
    handler = ignite.handlers.LRScheduler(make(optimizer))
    trainer = ignite.engine.Engine(lambda engine, batch: optimizer.step())
    trainer.add_event_handler(ignite.engine.Events.ITERATION_STARTED, handler)
    seen = []
    trainer.add_event_handler(
        ignite.engine.Events.ITERATION_COMPLETED, lambda: seen.extend(column(optimizer, "lr"))
    )
    trainer.run([0] * T, max_epochs=1)
    assert seen == [rate(make, t) for t in range(T)]


@pytest.mark.parametrize(
    "policy", [lambda_lr, HyperparamScheduler], ids=["lambda_lr", "HyperparamScheduler"]
)
def test_skorch_makes_it(policy):
    given = {"schedule": SHAPE} if policy is lambda_lr else {"lr": RATE}
    net = skorch.NeuralNetRegressor(
        torch.nn.Linear,
        module__in_features=2,
        module__out_features=1,
        train_split=None,
        max_epochs=2,
        batch_size=5,
        lr=0.1,
        verbose=0,
        iterator_train__shuffle=False,
        callbacks=[
            SkorchScheduler(policy, total_steps=T, step_every="batch", monitor=None, **given)
        ],
    )
    net.fit(np.ones((50, 2), np.float32), np.ones((50, 1), np.float32))
    seen = [batch["event_lr"] for epoch in net.history for batch in epoch["batches"]]
    make = MAKERS["factor" if policy is lambda_lr else "absolute"]
    assert seen == [rate(make, t) for t in range(T)]


@every_scheduler
def test_between_two_steps(make):
    optimizer = sgd()
    scheduler = make(optimizer)
    optimizer.step()
    scheduler.step(6.5)
    assert column(optimizer, "lr") == [rate(make, 6.5)]
    scheduler.step()
    assert (scheduler.last_epoch, column(optimizer, "lr")) == (7.5, [rate(make, 7.5)])
    resumed = make(sgd())
    resumed.load_state_dict(scheduler.state_dict())
    assert resumed.last_epoch == 7.5


@every_scheduler
def test_a_state_at_its_first_step_sets_the_values(make):
    """The optimizer that is loaded before may have other ones."""
    optimizer = sgd()
    state = make(optimizer).state_dict()
    again = sgd()
    scheduler = make(again)
    again.param_groups[0]["lr"] = 5.0
    scheduler.load_state_dict(state)
    assert column(again, "lr") == [rate(make, 0)]


# Groups that differ.


@every_absolute
@pytest.mark.parametrize("rates", [(1e-4, 1e-3), (0.1, 0.0)], ids=["by layer", "frozen"])
def test_rates_that_differ_are_not_made_equal(make, rates):
    optimizer = sgd(*({"lr": number} for number in rates))
    with pytest.raises(
        ValueError, match=r"^lr must be a list .*\[schedule, None\], since"
    ) as error:
        make(optimizer)
    assert str(list(rates)) in str(error.value)
    assert column(optimizer, "lr") == [*rates]


@pytest.mark.parametrize(
    ("name", "schedule", "numbers"),
    [
        ("weight_decay", Schedule(linear, peak_value=0.1), (0.01, 0.0)),
        ("momentum", demon(), (0.9, 0.0)),
        ("dampening", Schedule(linear, peak_value=0.1), (0.1, 0.0)),
    ],
)
def test_none_leaves_a_group_alone(name, schedule, numbers):
    optimizer = sgd(*({name: number} for number in numbers))
    with pytest.raises(ValueError, match=f"^{name} must be a list"):
        HyperparamScheduler(optimizer, T, **{name: schedule})
    scheduler = HyperparamScheduler(optimizer, T, **{name: [schedule, None]})
    run(optimizer, scheduler, 5)
    assert column(optimizer, name) == [schedule(5, T), numbers[1]]
    optimizer.param_groups[1][name] = 0.05
    run(optimizer, scheduler, 2)
    assert column(optimizer, name) == [schedule(7, T), 0.05]
    state = scheduler.state_dict()
    again = HyperparamScheduler(optimizer, T, **{name: [schedule, None]}, last_epoch=6)
    again.load_state_dict(state)
    assert column(optimizer, name) == [schedule(7, T), 0.05]


@pytest.mark.parametrize("absolute", [False, True])
def test_none_leaves_a_rate_alone(absolute):
    optimizer = sgd({"lr": 0.1}, {"lr": 0.5})
    schedules = [RATE if absolute else SHAPE, None]
    scheduler = lambda_lr(optimizer, schedules, T, absolute=absolute)
    run(optimizer, scheduler, 4)
    assert column(optimizer, "lr")[1] == 0.5
    assert scheduler.get_lr() == column(optimizer, "lr")
    resumed = lambda_lr(optimizer, schedules, T, absolute=absolute, last_epoch=0)
    resumed.load_state_dict(scheduler.state_dict())
    assert column(optimizer, "lr")[1] == 0.5
    with pytest.raises(ValueError, match="for one of the groups"):
        lambda_lr(sgd(), [None], T)


@every_scheduler
def test_the_scale_of_a_layer_multiplies_its_rate(make):
    """As timm's own schedulers have it, for the groups that it makes."""
    scales = (0.25, 0.5, 1.0)
    optimizer = sgd(*({"lr_scale": factor} for factor in scales))
    scheduler = make(optimizer)
    for t in range(6):
        assert column(optimizer, "lr") == [
            pytest.approx(factor * rate(make, t).expected) for factor in scales
        ]
        run(optimizer, scheduler, 1)
    theirs = timm_schedulers().CosineLRScheduler(optimizer, t_initial=T)
    ours = sgd(*({"lr_scale": factor} for factor in scales))
    run(ours, lambda_lr(ours, "cosine", T), 7)
    theirs.step(7)
    assert column(optimizer, "lr") == pytest.approx(column(ours, "lr"))


def test_any_number_has_a_schedule():
    optimizer = Adam([parameter()], lr=0.1, betas=(0.9, 0.999))
    beta2 = Schedule("constant", peak_value=0.99, init_value=0.9, warmup_steps=5)
    eps = Schedule("linear", peak_value=1e-3, end_value=1e-8)
    scheduler = HyperparamScheduler(optimizer, T, beta2=beta2, eps=eps, momentum=demon(0.8))
    for t in range(8):
        (group,) = optimizer.param_groups
        assert group["betas"] == (demon(0.8)(t, T), beta2(t, T))
        assert group["eps"] == eps(t, T)
        run(optimizer, scheduler, 1)
    for name, meant in (("learning_rate", "lr"), ("b1", "momentum"), ("beta_2", "beta2")):
        message = rf"^{name} must be None for Adam, since .* has only .* \(is {meant} meant\?\)$"
        with pytest.raises(ValueError, match=message):
            HyperparamScheduler(optimizer, T, **{name: RATE})
    for name in ("b2", "beta2"):  # SGD has none.
        with pytest.raises(ValueError, match=rf"^{name} must be None for SGD.* weight_decay$"):
            HyperparamScheduler(sgd(), T, **{name: RATE})
    with pytest.raises(ValueError, match=r"^foreach must be a number in each parameter group"):
        HyperparamScheduler(optimizer, T, foreach=RATE)
    with pytest.raises(ValueError, match=r"^each value of beta2 must be in \[0, 1\)"):
        HyperparamScheduler(optimizer, T, beta2=Schedule())


@pytest.mark.parametrize("name", ["cosine", {"cosine": {"power": 2.0}}, {"profile": "cosine"}])
def test_a_name_or_a_dictionary_is_a_schedule(name):
    optimizer = sgd({}, {})
    run(optimizer, lambda_lr(optimizer, name, T), 6)
    power = 2.0 if isinstance(name, dict) and "cosine" in name else 1.0
    assert column(optimizer, "lr") == [pytest.approx(0.1 * cosine(6, T, power=power))] * 2


# Groups that come, go and move.


@every_scheduler
@pytest.mark.parametrize("new_list", [False, True])
def test_a_group_keeps_its_schedule_wherever_it_stands(make, new_list):
    """The factor of each has its own first rate; of the others, the schedules differ."""
    if make is MAKERS["factor"]:
        optimizer = sgd({"lr": 0.1}, {"lr": 0.2}, {"lr": 0.4})
        scheduler = make(optimizer)
        rates = [(lambda t, base=base: base * SHAPE(t, T)) for base in (0.1, 0.2, 0.4)]
    else:
        optimizer = sgd({}, {}, {})
        three = [Schedule(peak_value=peak) for peak in (0.1, 0.2, 0.4)]
        if make is MAKERS["absolute"]:
            scheduler = lambda_lr(optimizer, three, T, absolute=True)
        else:
            scheduler = HyperparamScheduler(optimizer, T, lr=three)
        rates = [(lambda t, schedule=schedule: schedule(t, T)) for schedule in three]
    run(optimizer, scheduler, 4)
    for order in ([2, 0, 1], [1, 0]):
        groups = [optimizer.param_groups[i] for i in order]
        rates = [rates[i] for i in order]
        if new_list:
            optimizer.param_groups = groups
        else:
            optimizer.param_groups[:] = groups
        t = scheduler.last_epoch + 1
        run(optimizer, scheduler, 1)
        assert column(optimizer, "lr") == [pytest.approx(each(t)) for each in rates]
        assert scheduler.get_lr() == [pytest.approx(each(t)) for each in rates]


def test_a_group_in_the_place_of_another_is_a_new_one():
    optimizer = sgd({"lr": 0.1}, {"lr": 0.2})
    scheduler = lambda_lr(optimizer, SHAPE, T)
    run(optimizer, scheduler, 4)
    optimizer.param_groups.pop()
    optimizer.add_param_group({"params": [parameter()], "lr": 0.7})
    run(optimizer, scheduler, 1)
    assert column(optimizer, "lr") == [pytest.approx(r * SHAPE(5, T)) for r in (0.1, 0.7)]


@pytest.mark.parametrize("kind", ["lambda_lr", "HyperparamScheduler"])
def test_a_new_scheduler_for_an_added_group(kind):
    """The way out that the error names, where each group has a schedule."""
    two = [Schedule(peak_value=0.1), Schedule(peak_value=0.2)]
    three = [*two, None]

    def made(optimizer, schedules, **options):
        if kind == "lambda_lr":
            return lambda_lr(optimizer, schedules, T, absolute=True, **options)
        return HyperparamScheduler(optimizer, T, lr=schedules, **options)

    optimizer = sgd({}, {})
    scheduler = made(optimizer, two)
    run(optimizer, scheduler, 4)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.05})
    optimizer.step()
    with pytest.raises(ValueError, match=r"Make a new scheduler: .*last_epoch=3\)"):
        scheduler.step()
    scheduler = made(optimizer, three, last_epoch=scheduler.last_epoch - 1)
    run(optimizer, scheduler, 1)
    assert column(optimizer, "lr") == [two[0](5, T), two[1](5, T), 0.05]


def test_a_new_budget_after_a_group_was_added():
    """Before its first step an added group has no "initial_lr": it begins with its lr."""
    optimizer = sgd({"lr": 0.1})
    scheduler = lambda_lr(optimizer, SHAPE, T)
    run(optimizer, scheduler, 6)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.4})
    longer = Replan(SHAPE, 6, T)
    scheduler = lambda_lr(optimizer, longer, 2 * T, last_epoch=5)
    run(optimizer, scheduler, 3)
    assert column(optimizer, "lr") == [pytest.approx(r * longer(9, 2 * T)) for r in (0.1, 0.4)]


# A second phase, and what a resume brings.


def test_two_first_rates_of_a_second_phase():
    optimizer = sgd()
    run(optimizer, lambda_lr(optimizer, SHAPE, T), 15)
    optimizer.param_groups[0]["lr"] = 0.01
    with pytest.raises(ValueError, match=r"must be its 'initial_lr', 0\.1, .*got 0\.01\. To begin"):
        lambda_lr(optimizer, SHAPE, T)
    del optimizer.param_groups[0]["initial_lr"]
    lambda_lr(optimizer, Schedule(), T)
    assert column(optimizer, "lr") == [0.01]


def test_the_first_rate_of_a_second_phase_again():
    """Nobody has set another one since: that is the rate remembered, as in PyTorch."""
    optimizer = sgd()
    run(optimizer, lambda_lr(optimizer, Schedule(), T), 15)
    lambda_lr(optimizer, Schedule(), T)
    assert column(optimizer, "lr") == [0.1]


def test_two_first_rates_after_another_scheduler():
    optimizer = sgd()
    run(optimizer, CosineAnnealingLR(optimizer, T), 15)
    with pytest.raises(ValueError, match="must be its 'initial_lr'"):
        lambda_lr(optimizer, Schedule(), T)
    optimizer.param_groups[0]["lr"] = optimizer.param_groups[0]["initial_lr"]
    lambda_lr(optimizer, Schedule(), T)
    assert column(optimizer, "lr") == [0.1]


def test_a_resumed_run_with_another_rate():
    """PyTorch goes on along the old one's curve, whatever the code says."""
    model = torch.nn.Linear(1, 1)
    optimizer = AdamW(model.parameters(), lr=1e-3)
    scheduler = lambda_lr(optimizer, SHAPE, T)
    run(optimizer, scheduler, 6)
    again = AdamW(model.parameters(), lr=1e-4)
    resumed = lambda_lr(again, SHAPE, T)
    again.load_state_dict(optimizer.state_dict())
    state = scheduler.state_dict()
    with pytest.raises(
        ValueError, match=r"^base_lrs in state_dict must be \[0\.0001\].*\[0\.001\]"
    ):
        resumed.load_state_dict(state)
    resumed.load_state_dict(state | {"base_lrs": [1e-4]})
    assert column(again, "lr") == [pytest.approx(1e-4 * SHAPE(6, T))]


# Optimizers that cannot be scheduled.


def test_the_notes_of_schedulers_are_no_settings():
    optimizer = sgd(momentum=0.9)
    OneCycleLR(optimizer, 0.1, T)
    notes = {"initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum"}
    assert notes < optimizer.param_groups[0].keys()
    for name in notes:
        with pytest.raises(ValueError, match=rf"^{name} must be left out: .*SGD does not read it"):
            HyperparamScheduler(optimizer, T, **{name: RATE})


def test_a_setting_that_is_named_as_a_note():
    class Bounded(SGD):
        """An optimizer with a lower bound of its rate, as some libraries have."""

        def __init__(self, params):
            super().__init__(params, lr=0.1)
            self.defaults["min_lr"] = 0.3
            for group in self.param_groups:
                group["min_lr"] = 0.3

    optimizer = Bounded([parameter()])
    HyperparamScheduler(optimizer, T, min_lr=RATE)
    assert column(optimizer, "min_lr") == [RATE(0, T)]


@every_scheduler
def test_rates_that_are_none_or_ignored(make):
    with pytest.raises(ValueError, match=r"^lr must be a number .* Adafactor"):
        make(TransformersAdafactor([parameter()], lr=None))
    optimizer = TransformersAdafactor([parameter()], lr=None, relative_step=True)
    optimizer.param_groups[0]["lr"] = 0.1
    with pytest.raises(ValueError, match=r"^relative_step must be False"):
        make(optimizer)
    make(Adafactor([parameter()], lr=0.1))
    make(TransformersAdafactor([parameter()], lr=0.1, relative_step=False))


class Ruleless(torch.optim.Optimizer):
    def __init__(self, params):
        super().__init__(params, {})

    def step(self):
        pass


@every_scheduler
def test_groups_without_a_rate(make):
    with pytest.raises(ValueError, match=r"^lr must be None for Ruleless"):
        make(Ruleless([parameter()]))


@every_scheduler
def test_a_step_compiled_first(make):
    optimizer = sgd()
    optimizer.step = torch.compile(optimizer.step, backend="eager")
    with pytest.raises(ValueError, match=r"^optimizer\.step must be a method.*first, then compile"):
        make(optimizer)


def test_another_schedulers_state_names_the_way():
    optimizer = sgd()
    other = CosineAnnealingLR(optimizer, T)
    with pytest.raises(ValueError, match=r"give last_epoch=state_dict\['last_epoch'\] - 1"):
        lambda_lr(sgd(), SHAPE, T).load_state_dict(other.state_dict())


# A second controller.


@every_scheduler
@pytest.mark.parametrize("kind", [float, torch.tensor], ids=["float", "tensor"])
def test_a_second_controller_is_named(make, kind):
    optimizer = sgd(lr=kind(0.1))
    scheduler = make(optimizer)
    plateau = ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    plateau.step(1.0)
    run(optimizer, scheduler, 4)
    plateau.step(2.0)
    optimizer.step()
    with pytest.warns(UserWarning, match=r"^lr of parameter group 0 .*rex_core\.Plateau"):
        scheduler.step()
    run(optimizer, scheduler, 1)
    assert column(optimizer, "lr") == [pytest.approx(rate(make, 6).expected, rel=1e-6)]


def test_another_rate_of_a_group_in_mid_run():
    """By the way that the warning names, which is then no reason to warn."""
    optimizer = sgd({}, {})
    scheduler = lambda_lr(optimizer, SHAPE, T)
    run(optimizer, scheduler, 4)
    optimizer.param_groups[0]["lr"] = 0.05
    with pytest.warns(UserWarning, match=r"set group\['initial_lr'\] to it .*last_epoch - 1\)$"):
        run(optimizer, scheduler, 1)
    optimizer.param_groups[0]["initial_lr"] = 0.05
    scheduler = lambda_lr(optimizer, SHAPE, T, last_epoch=scheduler.last_epoch - 1)
    assert column(optimizer, "lr") == [pytest.approx(r * SHAPE(5, T)) for r in (0.05, 0.1)]
    run(optimizer, scheduler, 1)
    assert column(optimizer, "lr") == [pytest.approx(r * SHAPE(6, T)) for r in (0.05, 0.1)]


@every_absolute
def test_another_rate_of_a_group_that_has_the_schedule_of_all(make):
    optimizer = sgd({}, {})
    scheduler = make(optimizer)
    run(optimizer, scheduler, 4)
    optimizer.param_groups[0]["lr"] = 0.05
    with pytest.warns(UserWarning, match="gets a schedule of its own, in a list$"):
        run(optimizer, scheduler, 1)


def test_a_second_controller_of_momentum_is_named():
    optimizer = Adam([parameter()], lr=0.1)
    scheduler = HyperparamScheduler(optimizer, T, momentum=demon(0.8))
    run(optimizer, scheduler, 3)
    optimizer.param_groups[0]["betas"] = (0.5, 0.999)
    optimizer.step()
    with pytest.warns(UserWarning, match=r"^momentum of parameter group 0 is 0\.5"):
        scheduler.step()


@every_scheduler
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
@pytest.mark.parametrize("kind", [float, torch.tensor], ids=["float", "tensor"])
def test_nobody_is_named_where_nobody_was(make, copied, kind):
    """After a copy, after a state was loaded, and where another takes its turn."""
    optimizer = sgd(lr=kind(0.1))
    scheduler = make(optimizer)
    run(optimizer, scheduler, 4)
    again = copied(scheduler)
    run(again.optimizer, again, 2)
    again.optimizer.load_state_dict(optimizer.state_dict())
    again.load_state_dict(scheduler.state_dict())
    run(again.optimizer, again, 2)
    assert column(again.optimizer, "lr") == [pytest.approx(rate(make, 6).expected, rel=1e-6)]


@every_scheduler
@pytest.mark.parametrize("kind", [float, torch.tensor], ids=["float", "tensor"])
def test_the_rate_of_the_count_is_no_second_controller(make, kind):
    """torchtitan resumes with the optimizer's state and the count alone."""
    optimizer, resumed = sgd(lr=kind(0.1)), sgd(lr=kind(0.1))
    scheduler, again = make(optimizer), make(resumed)
    run(optimizer, scheduler, 5)
    resumed.load_state_dict(optimizer.state_dict())
    again.last_epoch, again._step_count = 5, 6
    run(resumed, again, 1)
    assert column(resumed, "lr") == [pytest.approx(rate(make, 6).expected, rel=1e-6)]


# SequentialLR of PyTorch 2.8 calls its other schedulers so.
@pytest.mark.filterwarnings("ignore:The epoch parameter in .scheduler.step:UserWarning")
@every_scheduler
def test_turns_are_no_second_controller(make):
    optimizer = sgd()
    parts = [make(optimizer), CosineAnnealingLR(optimizer, T), make(optimizer)]
    scheduler = SequentialLR(optimizer, parts, [4, 8])
    run(optimizer, scheduler, 12)
    assert column(optimizer, "lr") == [rate(make, 4)]


def test_messages_are_of_one_line():
    optimizer = sgd(*({"lr": 0.1 + i} for i in range(500)))
    with pytest.raises(ValueError, match="lr must be a list") as error:
        HyperparamScheduler(optimizer, T, lr=rex)
    assert not re.search(r"\n", str(error.value))
    assert len(str(error.value)) < 8000
