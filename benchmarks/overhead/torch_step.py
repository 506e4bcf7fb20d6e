"""One scheduler.step() in PyTorch, with (1) and with (10) parameter groups."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from rex_torch import HyperparamScheduler, lambda_lr
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR

from benchmarks.overhead.measure import Row, compare
from benchmarks.overhead.python_calls import hand_written
from rex_core import Schedule, demon

STEPS = 10_000_000
PEAK = 0.1
SHAPE = Schedule(end_value=0.01, warmup_steps=10)
RATIO = Schedule(end_value=0.01, warmup_ratio=0.01)
RATE = Schedule(peak_value=PEAK, end_value=0.01 * PEAK, warmup_steps=10)
RATE_OF_RATIO = Schedule(peak_value=PEAK, end_value=0.01 * PEAK, warmup_ratio=0.01)

# Each a scheduler of one optimizer; the first of a table is what the others are compared with.
LAMBDAS: dict[str, Callable[[Any], Any]] = {
    "LambdaLR, REX written by hand": lambda o: LambdaLR(o, partial(hand_written, T=STEPS)),
    "OneCycleLR": lambda o: OneCycleLR(o, PEAK, total_steps=STEPS),
    "lambda_lr, warmup_steps, floor": lambda o: lambda_lr(o, SHAPE, STEPS),
    "lambda_lr, warmup_ratio, floor": lambda o: lambda_lr(o, RATIO, STEPS),
}
HYPERPARAMS: dict[str, Callable[[Any], Any]] = {
    "CosineAnnealingLR": lambda o: CosineAnnealingLR(o, STEPS),
    "HyperparamScheduler, rex": lambda o: HyperparamScheduler(o, STEPS, lr=Schedule()),
    "HyperparamScheduler, warmup_steps, floor": lambda o: HyperparamScheduler(o, STEPS, lr=RATE),
    "HyperparamScheduler, warmup_ratio, floor": lambda o: HyperparamScheduler(
        o, STEPS, lr=RATE_OF_RATIO
    ),
    "HyperparamScheduler, demon() too": lambda o: HyperparamScheduler(
        o, STEPS, lr=RATE, momentum=demon()
    ),
}


def optimizer(groups: int) -> torch.optim.Optimizer:
    """An optimizer with so many parameter groups."""
    params = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(groups)]
    return torch.optim.SGD(params, lr=PEAK, momentum=0.9)


def run() -> list[Row]:
    """The rows of the table."""
    rows = []
    for groups in (1, 10):
        for makers in (LAMBDAS, HYPERPARAMS):
            schedulers = {name: make(optimizer(groups)) for name, make in makers.items()}
            for scheduler in schedulers.values():  # They warn where no update has been made.
                scheduler.optimizer.step()
            rows += compare({f"{n} ({groups})": s.step for n, s in schedulers.items()}, number=1000)
    return rows
