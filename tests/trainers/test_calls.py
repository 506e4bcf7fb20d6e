"""Trainers that are no packages, or heavy ones, by the call that their source makes."""

import ast
import importlib
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from rex_optax import as_schedule
from rex_torch import get_rex_schedule_with_warmup, lambda_lr, schedule_lr
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, SequentialLR
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, get_scheduler
from transformers.trainer_utils import SchedulerType

from benchmarks.accuracy.frameworks import timm_schedulers
from rex_core import Schedule, bind, rex
from tests.trainers.extra import RATES, SCHEDULE, T, run, sgd


def by_path(path):
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


# kohya's sd-scripts: `--lr_scheduler_type` is a path, each of `--lr_scheduler_args` "key=literal",
# and the call is `lr_scheduler_class(optimizer, **lr_scheduler_kwargs)`.


@pytest.mark.parametrize(
    ("path", "arguments", "schedule"),
    [
        (
            "rex_torch.schedule_lr",
            ["total_steps=8", "warmup_steps=2", "end_ratio=0.1"],
            SCHEDULE,
        ),
        (
            "rex_torch.schedule_lr",
            ["total_steps=8", "profile='cosine'", "cycles=1"],
            Schedule("cosine"),
        ),
        (
            "rex_torch.schedule_lr",
            ["total_steps=8", "profile={'rex': {'beta': 0.9}}", "decay_ratio=0.5"],
            Schedule(bind(rex, beta=0.9), decay_ratio=0.5),
        ),
        (
            "rex_torch.schedule_lr",
            ["total_steps=8", "profile='step'", "milestones=(0.25, -2)", "factor=.5"],
            Schedule({"step": {"milestones": (0.25, -2), "factor": 0.5}}),
        ),
        (
            "rex_torch.get_rex_schedule_with_warmup",
            ["num_training_steps=8", "num_warmup_steps=2", "min_lr_ratio=0.1"],
            SCHEDULE,
        ),
        ("rex_torch.lambda_lr", ["total_steps=8", "schedule='cosine'"], Schedule("cosine")),
        (
            "rex_torch.lambda_lr",
            ["total_steps=8", "schedule={'warmup_steps': 2, 'end_value': .1}"],
            SCHEDULE,
        ),
    ],
)
def test_kohya(path, arguments, schedule):
    optimizer = sgd()
    settings = {}
    for argument in arguments:
        key, value = argument.split("=", 1)
        settings[key] = ast.literal_eval(value)
    scheduler = by_path(path)(optimizer, **settings)
    assert run(optimizer, scheduler) == [0.1 * schedule(t, T) for t in range(T)]


# OneTrainer: a path, a list of {"key", "value"} of literals and of names such as
# "%SCHEDULER_STEPS%", and the call is `klass(optimizer=optimizer, last_epoch=..., **args)`, in a
# SequentialLR after a LambdaLR if the trainer has a warmup of its own.


def one_trainer(make, warmup, done=0, state=None):
    """A scheduler as OneTrainer makes it, and its optimizer, with the number of updates done."""
    parameters = [torch.nn.Parameter(torch.zeros(()))]
    optimizer = torch.optim.SGD([{"params": parameters, "lr": 0.1, "initial_lr": 0.1}])
    if state is not None:
        optimizer.load_state_dict(state)
    scheduler = make(optimizer=optimizer, last_epoch=done - 1)
    if warmup:
        ramp = LambdaLR(optimizer, lambda t: min(1.0, t / warmup), last_epoch=done - 1)
        scheduler = SequentialLR(optimizer, [ramp, scheduler], [warmup], last_epoch=done - 1)
    return optimizer, scheduler


def test_one_trainer():
    given = [
        {"key": "total_steps", "value": "%SCHEDULER_STEPS%"},
        {"key": "warmup_steps", "value": "2"},
        {"key": "end_ratio", "value": "0.1"},
        {"key": "profile", "value": "'rex'"},
    ]
    known = {"%SCHEDULER_STEPS%": T}
    settings = {
        each["key"]: known.get(each["value"]) or ast.literal_eval(each["value"]) for each in given
    }

    def make(**arguments):
        return by_path("rex_torch.schedule_lr")(**arguments, **settings)

    optimizer, scheduler = one_trainer(make, 0)
    assert run(optimizer, scheduler, 5) == RATES[:5]
    optimizer, scheduler = one_trainer(make, 0, done=5, state=optimizer.state_dict())
    assert run(optimizer, scheduler, 3) == RATES[5:]


# SequentialLR of PyTorch calls its other schedulers so.
@pytest.mark.filterwarnings("ignore:The epoch parameter in .scheduler.step:UserWarning")
@pytest.mark.parametrize("done", [0, 2, 5])
def test_one_trainer_with_a_warmup_of_its_own(done):
    """What it makes of PyTorch's own LambdaLR, it makes of this one."""
    schedule = Schedule("cosine")

    def ours(optimizer, last_epoch):
        return schedule_lr(optimizer, T, profile="cosine", last_epoch=last_epoch)

    def theirs(optimizer, last_epoch):
        return LambdaLR(optimizer, lambda t: schedule(t, T), last_epoch=last_epoch)

    found = []
    for make in (ours, theirs):
        optimizer, scheduler = one_trainer(make, 3, done)
        found.append(run(optimizer, scheduler))
    assert found[0] == found[1]


# LLaMA-Factory and diffusers' scripts take the names that transformers knows: an entry of its table
# is called as `schedule_func(optimizer, num_warmup_steps=..., num_training_steps=..., **kwargs)`.


def test_a_name_of_transformers(monkeypatch):
    name = SchedulerType.COSINE_WITH_MIN_LR
    monkeypatch.setitem(TYPE_TO_SCHEDULER_FUNCTION, name, get_rex_schedule_with_warmup)
    optimizer = sgd()
    scheduler = get_scheduler(
        "cosine_with_min_lr",
        optimizer,
        num_warmup_steps=2,
        num_training_steps=T,
        scheduler_specific_kwargs={"min_lr_ratio": "1e-1"},
    )
    assert run(optimizer, scheduler) == RATES


# composer keeps a scheduler of PyTorch's as it is, and steps it after each batch or each epoch
# (`_compile_schedulers` and `_train_loop` in composer/trainer/trainer.py). Of a function of its
# state it makes a LambdaLR (`compile_composer_scheduler` in composer/optim/scheduler.py), and steps
# that before it counts the batch.


def test_composer():
    optimizer = sgd()
    scheduler = lambda_lr(optimizer, SCHEDULE, T)
    assert isinstance(scheduler, LRScheduler)
    assert run(optimizer, scheduler) == RATES

    optimizer, rates = sgd(), []
    scheduler = LambdaLR(optimizer, lambda epoch: SCHEDULE(len(rates), T))
    for _ in range(T):
        rates += run(optimizer, scheduler, 1)
    assert rates == pytest.approx([RATES[0], *RATES[:-1]])


# ultralytics calls `_setup_scheduler` when it makes the optimizer, and with `time=` again after
# each epoch (`_build_train_pipeline` and `_do_train` in ultralytics/engine/trainer.py). It sets
# `last_epoch`, steps before each epoch, and in its warmup sets the rates itself.


class UltralyticsTrainer:
    """The calls of its trainer, with the scheduler of the guide."""

    def __init__(self, epochs, warmup_epochs=0):
        self.epochs, self.warmup_epochs, self.scheduler = epochs, warmup_epochs, None
        self.optimizer = sgd()
        self._setup_scheduler()
        self.scheduler.last_epoch = -1

    def _setup_scheduler(self):
        schedule = Schedule(end_value=0.1)
        self.lf = partial(schedule, T=self.epochs)
        done = -1 if self.scheduler is None else self.epoch
        self.scheduler = lambda_lr(self.optimizer, schedule, self.epochs, last_epoch=done)

    def train(self, estimates=()):
        """The rate of each epoch, with a new estimate of their number after each."""
        rates = []
        for epoch in range(self.epochs):
            self.epoch = epoch
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.scheduler.step()
            for group in self.optimizer.param_groups:
                if epoch < self.warmup_epochs:
                    group["lr"] = 0.5 * group["initial_lr"] * self.lf(epoch)
            rates.append(self.optimizer.param_groups[0]["lr"])
            self.optimizer.step()
            if epoch < len(estimates):
                self.epochs = estimates[epoch]
                self._setup_scheduler()
                self.scheduler.last_epoch = epoch
        return rates


def test_ultralytics():
    schedule = Schedule(end_value=0.1)
    expected = [0.1 * schedule(epoch, 4) for epoch in range(4)]
    assert UltralyticsTrainer(4).train() == pytest.approx(expected)
    rates = UltralyticsTrainer(4, warmup_epochs=2).train([4, 5, 8])
    halves = [0.05 * schedule(0, 4), 0.05 * schedule(1, 4)]
    assert rates == pytest.approx([*halves, 0.1 * schedule(2, 5), 0.1 * schedule(3, 8)])


# levanter calls `build(ctx)` of a class that is registered, reads the result at the end of its
# decay, and puts it behind its own warmup with optax.join_schedules (`OptimizerConfig.lr_scheduler`
# in levanter/optim/config.py).


def test_levanter():
    peak, warmup = 0.1, 2
    built = as_schedule(Schedule(peak_value=peak, end_value=0.01), T - warmup)
    assert float(built(T - warmup)) == pytest.approx(0.01)
    joined = optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), built], [warmup])
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=joined)
    params = jnp.zeros(1)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    rates = []
    for _ in range(T):
        _, state = update(jnp.ones(1), state, params)
        rates.append(float(state.hyperparams["learning_rate"]))
    np.testing.assert_allclose(rates, RATES, rtol=1e-6)


# timm: its scripts make one of their own schedulers by name, and step it per epoch or per update.


def test_timm():
    base = timm_schedulers().scheduler.Scheduler

    class Rex(base):
        """A scheduler of timm's, whose values of the groups are scaled by layer there, too."""

        def __init__(self, optimizer, total_updates):
            super().__init__(optimizer, "lr", t_in_epochs=False)
            self.total_updates = total_updates

        def _get_lr(self, t):
            return [base * SCHEDULE(t, self.total_updates) for base in self.base_values]

    def groups():
        scales = (0.5, 1.0)
        parameters = [
            {"params": [torch.nn.Parameter(torch.zeros(()))], "lr_scale": x} for x in scales
        ]
        return torch.optim.SGD(parameters, lr=0.1)

    theirs, ours = groups(), groups()
    scheduler, same = Rex(theirs, T), lambda_lr(ours, SCHEDULE, T)
    for update in range(1, T):
        ours.step()
        same.step()
        scheduler.step_update(update)
        rates = [group["lr"] for group in theirs.param_groups]
        assert rates == pytest.approx([RATES[update] / 2, RATES[update]])
        assert rates == pytest.approx([group["lr"] for group in ours.param_groups])


# Per epoch: the first epoch of a warmup has the rate at its start, which is 0 by default.


def test_per_epoch():
    epochs = 5

    def made(**settings):
        optimizer = sgd()
        schedule = Schedule(warmup_steps=2, **settings)
        return run(optimizer, lambda_lr(optimizer, schedule, epochs), epochs)

    assert made()[:3] == pytest.approx([0.0, 0.05, 0.1])
    assert made(init_value=0.25)[:3] == pytest.approx([0.025, 0.0625, 0.1])
    assert min(made(init_value=0.25)) > 0
