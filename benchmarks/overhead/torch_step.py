"""One `step()` of a scheduler in PyTorch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from rex_torch import HyperparamScheduler, lambda_lr
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR

from benchmarks.overhead.by_hand import rex_by_hand
from benchmarks.overhead.measure import Bound, Effort, Row, Table, compare
from rex_core import Schedule, demon

CALLS = 1000
GROUPS = 1, 10, 100
STEPS = 10_000_000
PEAK = 0.1
WARMUP = 10  # over after the first few of a round's calls
SHAPE = Schedule(end_value=0.01, warmup_steps=WARMUP)
RATE = Schedule(peak_value=PEAK, end_value=0.01 * PEAK, warmup_steps=WARMUP)

Makers = dict[str, Callable[[Any], Any]]

# Each a scheduler of one optimizer; the first of a table is what the others are compared with.
LAMBDAS: Makers = {
    "LambdaLR, REX written by hand": lambda o: LambdaLR(o, partial(rex_by_hand, T=STEPS)),
    "OneCycleLR": lambda o: OneCycleLR(o, PEAK, total_steps=STEPS),
    "lambda_lr, rex": lambda o: lambda_lr(o, Schedule(), STEPS),
    "lambda_lr, warmup, floor": lambda o: lambda_lr(o, SHAPE, STEPS),
}
HYPERPARAMS: Makers = {
    "CosineAnnealingLR": lambda o: CosineAnnealingLR(o, STEPS),
    "HyperparamScheduler, rex": lambda o: HyperparamScheduler(o, STEPS, lr=Schedule()),
    "HyperparamScheduler, warmup, floor": lambda o: HyperparamScheduler(o, STEPS, lr=RATE),
    "HyperparamScheduler, momentum too": lambda o: HyperparamScheduler(
        o, STEPS, lr=RATE, momentum=demon()
    ),
}
LAMBDA_BOUNDS = {name: Bound(1.25) for name in LAMBDAS if name.startswith("lambda_lr")}
# The last one sets twice as much as its baseline.
HYPERPARAM_BOUNDS = {name: Bound(0.5) for name in list(HYPERPARAMS)[1:-1]}


def optimizer(groups: int) -> torch.optim.Optimizer:
    """An optimizer with so many parameter groups."""
    params = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(groups)]
    return torch.optim.SGD(params, lr=PEAK, momentum=0.9)


def tables(effort: Effort) -> list[Table]:
    """A table for each number of parameter groups."""
    found = []
    for groups in GROUPS:
        count = f"{groups} parameter group{'s'[: groups > 1]}"
        rows = _rows(LAMBDAS, groups, effort, LAMBDA_BOUNDS)
        rows += _rows(HYPERPARAMS, groups, effort, HYPERPARAM_BOUNDS)
        title = f"One `scheduler.step()` in PyTorch, {count}."
        found.append(Table(title, f"PyTorch, {groups} group{'s'[: groups > 1]}", "µs", rows))
    return found


def _rows(makers: Makers, groups: int, effort: Effort, bounds: dict[str, Bound]) -> list[Row]:
    schedulers = {name: make(optimizer(groups)) for name, make in makers.items()}
    for scheduler in schedulers.values():  # They warn where no update has been made.
        scheduler.optimizer.step()
    calls = {name: scheduler.step for name, scheduler in schedulers.items()}
    return compare(calls, max(CALLS // groups, 50), effort, bounds)
