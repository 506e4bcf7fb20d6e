"""Schedulers of PyTorch and fvcore, each one expression here.

The simple ones are in `tests/core/test_agreement.py`.
"""

import numpy as np
import pytest
from fvcore.common import param_scheduler as fvcore
from torch.optim import lr_scheduler as schedulers

from rex_core import (
    Join,
    Product,
    Restarts,
    Schedule,
    bind,
    constant,
    cosine,
    every_fraction,
    geometric,
    linear,
    range_test,
    step,
)
from tests.conformance.originals import (
    BUDGETS,
    COOLDOWN,
    END,
    PEAK,
    WARMUP,
    close,
    optimizer,
)


def in_torch(make):
    """A PyTorch scheduler: the rates that the first optimizer steps, 0 to T, would be made with."""

    def values(T):
        scheduler = make(optimizer(), T)
        rates = []
        for _ in range(T + 1):
            rates.append(scheduler.optimizer.param_groups[0]["lr"])
            scheduler.optimizer.step()
            scheduler.step()
        return np.array(rates)

    return values


def in_fvcore(make):
    """An fvcore scheduler, a function of t/T."""
    return lambda T: np.array([float(make(T)(t / T)) for t in range(T + 1)])


# Closed forms.
CLOSED = {
    "PyTorch, CyclicLR triangular2": (
        Schedule(
            Restarts(Schedule(linear, warmup_ratio=0.5), 5, peak_mult=0.5),
            peak_value=PEAK,
            end_value=END,
        ),
        in_torch(
            lambda o, T: schedulers.CyclicLR(
                o, END, PEAK, T // 10, mode="triangular2", cycle_momentum=False
            )
        ),
    ),
    # Its phases end at pct·total - 1, 2·pct·total - 2 and total - 1; here total is T + 1.
    "PyTorch, OneCycleLR three_phase": (
        Join(
            [
                Schedule(linear, peak_value=PEAK / 25, end_value=PEAK),
                Schedule(linear, peak_value=PEAK, end_value=PEAK / 25),
                Schedule(linear, peak_value=PEAK / 25, end_value=PEAK / 25e4),
            ],
            [0.3, 0.6],
        ),
        in_torch(
            lambda o, T: schedulers.OneCycleLR(
                o,
                PEAK,
                T + 1,
                pct_start=(0.3 * T + 1) / (T + 1),
                anneal_strategy="linear",
                three_phase=True,
            )
        ),
    ),
    # detectron2's WarmupParamScheduler: a line from 0.001 of the peak to the cosine at 10 %.
    "fvcore, CompositeParamScheduler fixed": (
        Join(
            [
                Schedule(
                    constant,
                    peak_value=(wave := Schedule(cosine, peak_value=PEAK))(10, 100),
                    init_value=0.001 * PEAK,
                    warmup_ratio=0.1,
                ),
                wave,
            ],
            [0.1],
            local=False,
        ),
        in_fvcore(
            lambda T: fvcore.CompositeParamScheduler(
                [
                    fvcore.LinearParamScheduler(
                        0.001 * PEAK, fvcore.CosineParamScheduler(PEAK, 0)(0.1)
                    ),
                    fvcore.CosineParamScheduler(PEAK, 0),
                ],
                [0.1, 0.9],
                ["rescaled", "fixed"],
            )
        ),
    ),
    "fvcore, CompositeParamScheduler rescaled": (
        Join([Schedule(linear, peak_value=END, end_value=PEAK), cosine], [0.3]),
        in_fvcore(
            lambda T: fvcore.CompositeParamScheduler(
                [
                    fvcore.LinearParamScheduler(END, PEAK),
                    fvcore.CosineParamScheduler(1.0, 0.0),
                ],
                [0.3, 0.7],
                ["rescaled", "rescaled"],
            )
        ),
    ),
    "fvcore, ExponentialParamScheduler rising": (
        range_test(1e-4, 1.0),
        in_fvcore(lambda T: fvcore.ExponentialParamScheduler(1e-4, 1e4)),
    ),
    "fvcore, MultiStepParamScheduler": (
        Schedule(bind(step, milestones=(30, -COOLDOWN)), peak_value=PEAK),
        in_fvcore(
            lambda T: fvcore.MultiStepParamScheduler(
                [PEAK, 0.1 * PEAK, 0.01 * PEAK], T, [30, T - COOLDOWN]
            )
        ),
    ),
}

# Rates that are worked out from the rate of the step before.
RECURSIVE = {
    # γ is rounded once, and its power multiplies that rounding by t.
    "PyTorch, CyclicLR exp_range": (
        Schedule(
            Product([Restarts(Schedule(linear, warmup_ratio=0.5), 5), bind(geometric, ratio=0.05)]),
            peak_value=PEAK,
            end_value=END,
        ),
        in_torch(
            lambda o, T: schedulers.CyclicLR(
                o, END, PEAK, T // 10, mode="exp_range", gamma=0.05 ** (1 / T), cycle_momentum=False
            )
        ),
    ),
    "PyTorch, MultiStepLR": (
        Schedule(bind(step, milestones=(30, -COOLDOWN)), peak_value=PEAK),
        in_torch(lambda o, T: schedulers.MultiStepLR(o, [30, T - COOLDOWN])),
    ),
    "PyTorch, StepLR": (
        Schedule(
            bind(geometric, ratio=0.5**10), bind(every_fraction, fraction=0.1), peak_value=PEAK
        ),
        in_torch(lambda o, T: schedulers.StepLR(o, T // 10, gamma=0.5)),
    ),
    "PyTorch, ChainedScheduler": (
        Join([Schedule(constant, peak_value=0.1), constant], [20])
        * Schedule(bind(geometric, ratio=0.05), peak_value=PEAK),
        in_torch(
            lambda o, T: schedulers.ChainedScheduler(
                [
                    schedulers.ConstantLR(o, factor=0.1, total_iters=20),
                    schedulers.ExponentialLR(o, gamma=0.05 ** (1 / T)),
                ]
            )
        ),
    ),
    "PyTorch, ChainedScheduler of a warmup": (
        Schedule(constant, init_value=0.1, warmup_steps=WARMUP)
        * Schedule(bind(step, milestones=(30,)), peak_value=PEAK),
        in_torch(
            lambda o, T: schedulers.ChainedScheduler(
                [
                    schedulers.LinearLR(o, start_factor=0.1, total_iters=WARMUP),
                    schedulers.MultiStepLR(o, [30]),
                ]
            )
        ),
    ),
    "PyTorch, SequentialLR": (
        Join(
            [
                Schedule(constant, peak_value=0.1 * PEAK),
                Schedule(bind(geometric, ratio=0.05), peak_value=PEAK),
            ],
            [20],
        ),
        in_torch(
            lambda o, T: schedulers.SequentialLR(
                o,
                [
                    schedulers.ConstantLR(o, factor=0.1, total_iters=T),
                    schedulers.ExponentialLR(o, gamma=0.05 ** (1 / (T - 20))),
                ],
                [20],
            )
        ),
    ),
    "PyTorch, SequentialLR back from the end": (
        Join(
            [
                Schedule(linear, peak_value=0.1 * PEAK, end_value=PEAK),
                Schedule(constant, peak_value=PEAK),
                Schedule(cosine, peak_value=PEAK),
            ],
            [WARMUP, -COOLDOWN],
        ),
        in_torch(
            lambda o, T: schedulers.SequentialLR(
                o,
                [
                    schedulers.LinearLR(o, start_factor=0.1, total_iters=WARMUP),
                    schedulers.ConstantLR(o, factor=1.0),
                    schedulers.CosineAnnealingLR(o, COOLDOWN),
                ],
                [WARMUP, T - COOLDOWN],
            )
        ),
    ),
}
TORCH = CLOSED | RECURSIVE


@pytest.mark.parametrize("T", BUDGETS)
@pytest.mark.parametrize("name", TORCH)
def test_agreement(name, T):
    ours, original = TORCH[name]
    roundings = T if name in RECURSIVE else 1
    close([ours(t, T) for t in range(T + 1)], original(T), roundings)
