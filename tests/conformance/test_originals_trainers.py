"""Schedulers of transformers and timm, each one expression here.

The simple ones are in `tests/core/test_agreement.py`.
"""

import numpy as np
import pytest
from transformers import optimization as hf

from benchmarks.accuracy.frameworks import timm_schedulers
from rex_core import (
    Join,
    Restarts,
    Schedule,
    bind,
    constant,
    cosine,
    geometric,
    inverse_sqrt,
    linear,
    one_minus_sqrt,
    polynomial,
    step,
    tanh,
)
from tests.conformance.originals import (
    BUDGETS,
    COOLDOWN,
    END,
    INIT,
    PEAK,
    WARMUP,
    before_the_end,
    close,
    optimizer,
)

timm = timm_schedulers()


def in_transformers(make):
    """A transformers scheduler: the function that its LambdaLR multiplies by."""

    def values(T):
        function = make(optimizer(), T).lr_lambdas[0]
        return np.array([PEAK * function(t) for t in range(T + 1)])

    return values


def in_timm(make):
    def values(T):
        scheduler = make(optimizer(), T)
        rates = []
        for t in range(T + 1):
            scheduler.step_update(t)
            rates.append(scheduler.optimizer.param_groups[0]["lr"])
        return np.array(rates)

    return values


TRAINERS = {
    "transformers, inverse_sqrt": (
        Schedule(bind(inverse_sqrt, timescale=WARMUP), peak_value=PEAK, warmup_steps=WARMUP),
        in_transformers(lambda o, T: hf.get_inverse_sqrt_schedule(o, WARMUP)),
    ),
    "transformers, inverse_sqrt with timescale": (
        Schedule(bind(inverse_sqrt, timescale=40), peak_value=PEAK, warmup_steps=WARMUP),
        in_transformers(lambda o, T: hf.get_inverse_sqrt_schedule(o, WARMUP, timescale=40)),
    ),
    "transformers, cosine_with_min_lr": (
        Schedule(cosine, peak_value=PEAK, end_value=END, warmup_steps=WARMUP),
        in_transformers(
            lambda o, T: hf.get_cosine_with_min_lr_schedule_with_warmup(o, WARMUP, T, min_lr=END)
        ),
    ),
    # It is one step ahead throughout: at t - 1 it has the value of ours at t. Before its first step
    # stands what it would have had, 0.
    "transformers, cosine_warmup_with_min_lr": (
        Schedule(cosine, peak_value=PEAK, end_value=END, warmup_steps=WARMUP),
        lambda T: np.array(
            [
                0.0,
                *in_transformers(
                    lambda o, T: hf.get_cosine_with_min_lr_schedule_with_warmup_lr_rate(
                        o, WARMUP, T, min_lr=END
                    )
                )(T)[:T],
            ]
        ),
    ),
    # With warmup_lr_rate its first step is not ahead: warmup and run are both a step shorter.
    "transformers, cosine_warmup_with_min_lr from a rate": (
        Schedule(
            cosine,
            peak_value=PEAK,
            end_value=END,
            init_value=0.05 * PEAK,
            warmup_steps=WARMUP - 1,
        ),
        lambda T: in_transformers(
            lambda o, total: hf.get_cosine_with_min_lr_schedule_with_warmup_lr_rate(
                o, WARMUP, total, min_lr=END, warmup_lr_rate=0.05
            )
        )(T + 1)[: T + 1],
    ),
    # A quarter of a wave: half of the range, as the half cosine above a floor of a half.
    "transformers, cosine with 0.25 cycles": (
        Schedule(
            bind(cosine, power=0.5), peak_value=PEAK, end_value=0.5 * PEAK, warmup_steps=WARMUP
        ),
        in_transformers(
            lambda o, T: hf.get_cosine_schedule_with_warmup(o, WARMUP, T, num_cycles=0.25)
        ),
    ),
    "transformers, cosine with 1 cycle": (
        Schedule(
            Schedule(
                cosine,
                peak_value=0,
                init_value=1,
                end_value=1,
                warmup_ratio=0.5,
                warmup_profile=cosine,
            ),
            peak_value=PEAK,
            warmup_steps=WARMUP,
        ),
        in_transformers(
            lambda o, T: hf.get_cosine_schedule_with_warmup(o, WARMUP, T, num_cycles=1)
        ),
    ),
    "transformers, cosine_with_restarts": (
        Schedule(profile=Restarts(cosine, 5), peak_value=PEAK, warmup_steps=WARMUP),
        in_transformers(
            lambda o, T: hf.get_cosine_with_hard_restarts_schedule_with_warmup(o, WARMUP, T, 5)
        ),
    ),
    # Its floor is where the warmup starts as well.
    "transformers, warmup_stable_decay": (
        Schedule(
            cosine,
            peak_value=PEAK,
            end_value=0.1 * PEAK,
            init_value=0.1 * PEAK,
            warmup_steps=WARMUP,
            decay_steps=COOLDOWN,
        ),
        in_transformers(lambda o, T: hf.get_wsd_schedule(o, WARMUP, COOLDOWN, T, min_lr_ratio=0.1)),
    ),
    "transformers, warmup_stable_decay of 1-sqrt": (
        Schedule(
            one_minus_sqrt,
            peak_value=PEAK,
            warmup_steps=WARMUP,
            warmup_profile=one_minus_sqrt,
            decay_steps=COOLDOWN,
        ),
        in_transformers(
            lambda o, T: hf.get_wsd_schedule(
                o, WARMUP, COOLDOWN, T, warmup_type="1-sqrt", decay_type="1-sqrt"
            )
        ),
    ),
    "transformers, warmup_stable_decay with stable steps": (
        Schedule(
            linear, peak_value=PEAK, warmup_steps=WARMUP, warmup_profile=cosine, hold_steps=30
        ),
        in_transformers(
            lambda o, T: hf.get_wsd_schedule(
                o,
                WARMUP,
                T - WARMUP - 30,
                num_stable_steps=30,
                warmup_type="cosine",
                decay_type="linear",
            )
        ),
    ),
    # warmup_prefix=False is the default: the warmup replaces the start of a cosine that counts from
    # 0.
    "timm, CosineLRScheduler": (
        Join(
            [
                Schedule(constant, peak_value=PEAK, init_value=INIT, warmup_steps=WARMUP),
                Schedule(cosine, peak_value=PEAK, end_value=END),
            ],
            [WARMUP],
            local=False,
        ),
        in_timm(
            lambda o, T: timm.CosineLRScheduler(
                o, T, END, warmup_t=WARMUP, warmup_lr_init=INIT, t_in_epochs=False
            )
        ),
    ),
    "timm, CosineLRScheduler with warmup_prefix": (
        Schedule(cosine, peak_value=PEAK, end_value=END, init_value=INIT, warmup_steps=WARMUP),
        in_timm(
            lambda o, T: timm.CosineLRScheduler(
                o,
                T - WARMUP,
                END,
                warmup_t=WARMUP,
                warmup_lr_init=INIT,
                warmup_prefix=True,
                t_in_epochs=False,
            )
        ),
    ),
    "timm, CosineLRScheduler with cycles": (
        Restarts(Schedule(cosine, peak_value=PEAK, end_value=END), 2, period_mult=3, peak_mult=0.5),
        in_timm(
            lambda o, T: timm.CosineLRScheduler(
                o, T // 4, END, cycle_mul=3, cycle_decay=0.5, cycle_limit=2, t_in_epochs=False
            )
        ),
    ),
    "timm, CosineLRScheduler with k_decay": (
        Schedule(bind(cosine, k=3.0), peak_value=PEAK, end_value=END),
        in_timm(lambda o, T: timm.CosineLRScheduler(o, T, END, k_decay=3.0, t_in_epochs=False)),
    ),
    "timm, PolyLRScheduler with k_decay": (
        Schedule(bind(polynomial, power=0.5, k=2.0), peak_value=PEAK, end_value=END),
        in_timm(lambda o, T: timm.PolyLRScheduler(o, T, 0.5, END, k_decay=2.0, t_in_epochs=False)),
    ),
    # Its curve ends above lr_min. At T it drops to lr_min; ours is held.
    "timm, TanhLRScheduler": (
        Schedule(tanh, peak_value=PEAK, end_value=END),
        before_the_end(
            in_timm(lambda o, T: timm.TanhLRScheduler(o, T, lr_min=END, t_in_epochs=False))
        ),
    ),
    # Its warmup ends on the curve. A share of T gives one expression for every T.
    "timm, TanhLRScheduler with warmup": (
        Join(
            [
                Schedule(
                    constant,
                    peak_value=(curve := Schedule(bind(tanh, lower=-2, upper=2), peak_value=PEAK))(
                        10, 100
                    ),
                    init_value=INIT,
                    warmup_ratio=0.1,
                ),
                curve,
            ],
            [0.1],
            local=False,
        ),
        before_the_end(
            in_timm(
                lambda o, T: timm.TanhLRScheduler(
                    o, T, -2, 2, warmup_t=T // 10, warmup_lr_init=INIT, t_in_epochs=False
                )
            )
        ),
    ),
    # lr_min + (rate - lr_min)·decay: the product has its floor at 0, its rate one below 0.
    "timm, WSDLRScheduler rsqrt": (
        Schedule(
            Schedule(bind(inverse_sqrt, timescale=WARMUP), end_value=-END / (PEAK - END))
            * Schedule(one_minus_sqrt, decay_steps=COOLDOWN),
            peak_value=PEAK,
            end_value=END,
            init_value=INIT,
            warmup_steps=WARMUP,
        ),
        in_timm(
            lambda o, T: timm.WSDLRScheduler(
                o,
                T - WARMUP,
                COOLDOWN,
                END,
                stable_fn="rsqrt",
                warmup_t=WARMUP,
                warmup_lr_init=INIT,
                t_in_epochs=False,
            )
        ),
    ),
    # 1 - x^power is k-decay of a line.
    "timm, WSDLRScheduler power": (
        Schedule(
            bind(polynomial, power=1, k=2.0), peak_value=PEAK, end_value=END, decay_steps=COOLDOWN
        ),
        in_timm(
            lambda o, T: timm.WSDLRScheduler(
                o, T, COOLDOWN, END, decay_fn="power", decay_power=2.0, t_in_epochs=False
            )
        ),
    ),
    # (r^x - r)/(1 - r) is r^x with its floor moved, to end at 0.
    "timm, WSDLRScheduler exp": (
        Schedule(
            Schedule(bind(geometric, ratio=0.1), end_value=-0.1 / 0.9),
            peak_value=PEAK,
            end_value=END,
            decay_steps=COOLDOWN,
        ),
        in_timm(
            lambda o, T: timm.WSDLRScheduler(
                o, T, COOLDOWN, END, decay_fn="exp", decay_ratio=0.1, t_in_epochs=False
            )
        ),
    ),
    # It changes a step before each of decay_t.
    "timm, MultiStepLRScheduler": (
        Schedule(bind(step, milestones=(30, -COOLDOWN), factor=0.3), peak_value=PEAK),
        in_timm(
            lambda o, T: timm.MultiStepLRScheduler(
                o, [31, T - COOLDOWN + 1], 0.3, t_in_epochs=False
            )
        ),
    ),
}


@pytest.mark.parametrize("T", BUDGETS)
@pytest.mark.parametrize(("ours", "original"), TRAINERS.values(), ids=TRAINERS)
def test_agreement(ours, original, T):
    expected = original(T)
    close([ours(t, T) for t in range(len(expected))], expected)


@pytest.mark.parametrize("T", [137, 1001])
def test_restarts_between_steps(T):
    """transformers restarts between two steps. So do ours if T is a float, else at the second."""
    ours, original = TRAINERS["transformers, cosine_with_restarts"]
    expected = original(T)
    close([ours(float(t), float(T)) for t in range(T + 1)], expected, roundings=5)
