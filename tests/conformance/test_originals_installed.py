"""Schedules of optax, Keras, PyTorch, transformers, timm and fvcore, each one expression here.

The simple ones are in `tests/core/test_agreement.py`. All originals run in float64.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest
import torch
from fvcore.common import param_scheduler as fvcore
from transformers import optimization as hf

from benchmarks.accuracy.frameworks import keras_floats, timm_schedulers
from rex_core import (
    Clamp,
    Join,
    Product,
    Restarts,
    Schedule,
    bind,
    constant,
    cosine,
    every_fraction,
    geometric,
    inverse_sqrt,
    linear,
    one_minus_sqrt,
    polynomial,
    range_test,
    rex,
    step,
    tanh,
)

timm = timm_schedulers()
schedulers = torch.optim.lr_scheduler

PEAK, END, INIT = 0.4, 0.01, 0.02
WARMUP, COOLDOWN = 10, 20
# Multiples of 40, so that the shares below are whole steps; one expression serves all of them.
BUDGETS = (80, 200, 1000)


def close(values, expected, roundings=1):
    """Equal but for rounding.

    Where an original subtracts a rounded ratio from 1, or a cosine from 1, it is off by an ulp of
    1, or of the largest value, however small the result. A recursion rounds at every step.
    """
    expected = np.asarray(expected)
    assert expected.dtype == np.float64
    atol = 2 * 2.0**-52 * roundings * np.abs(expected).max()
    np.testing.assert_allclose(values, expected, 8 * 2.0**-52, atol)


def in_optax(make):
    """An optax schedule of T, at the steps 0 to T."""

    def values(T):
        with jax.enable_x64(True):
            return np.asarray(jax.jit(jax.vmap(make(T)))(jnp.arange(T + 1)))

    return values


def in_keras(make):
    def values(T):
        with jax.enable_x64(True), keras_floats("float64"):
            schedule = make(T)
            return np.array([schedule(t) for t in range(T + 1)])

    return values


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK, momentum=0.9)


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


def in_fvcore(make):
    """An fvcore scheduler, a function of t/T."""
    return lambda T: np.array([float(make(T)(t / T)) for t in range(T + 1)])



def before_the_end(values):
    """For originals that begin one more cycle at T, where ours are held."""
    return lambda T: values(T)[:T]


# Scheduler of T, in closed form: as exact as its formula.
CLOSED = {
    "optax, cosine with exponent": (
        Schedule(bind(cosine, power=1.5), peak_value=PEAK, end_value=0.1 * PEAK),
        in_optax(lambda T: optax.cosine_decay_schedule(PEAK, T, alpha=0.1, exponent=1.5)),
    ),
    "optax, exponential after a hold": (
        Schedule(bind(geometric, ratio=0.05), peak_value=PEAK, hold_steps=30),
        in_optax(lambda T: optax.exponential_decay(PEAK, T - 30, 0.05, transition_begin=30)),
    ),
    "optax, exponential with a floor": (
        Clamp(Schedule(bind(geometric, ratio=0.001), peak_value=PEAK), least=END),
        in_optax(lambda T: optax.exponential_decay(PEAK, T, 0.001, end_value=END)),
    ),
    "optax, exponential staircase": (
        Schedule(
            bind(geometric, ratio=0.5**10), bind(every_fraction, fraction=0.1), peak_value=PEAK
        ),
        in_optax(lambda T: optax.exponential_decay(PEAK, T // 10, 0.5, staircase=True)),
    ),
    # Only the decay has the floor: the warmup starts below it.
    "optax, warmup_exponential_decay with a floor": (
        Schedule(
            Clamp(bind(geometric, ratio=0.001), least=0.1),
            peak_value=PEAK,
            init_value=INIT,
            warmup_steps=WARMUP,
        ),
        in_optax(
            lambda T: optax.warmup_exponential_decay_schedule(
                INIT, PEAK, WARMUP, T - WARMUP, 0.001, end_value=0.1 * PEAK
            )
        ),
    ),
    "optax, geometric rise": (
        range_test(1e-6, 1.0),
        in_optax(lambda T: optax.exponential_decay(1e-6, T, 1e6)),
    ),
    "optax, geometric rise to a ceiling": (
        Clamp(range_test(1e-4, 1.0), most=0.1),
        in_optax(lambda T: optax.exponential_decay(1e-4, T, 1e4, end_value=0.1)),
    ),
    "optax, cosine_onecycle": (
        Schedule(
            cosine,
            peak_value=PEAK,
            init_value=PEAK / 25,
            end_value=PEAK / 25e4,
            warmup_ratio=0.3,
            warmup_profile=cosine,
        ),
        in_optax(lambda T: optax.cosine_onecycle_schedule(T, PEAK)),
    ),
    "optax, linear_onecycle": (
        Join(
            [
                Schedule(linear, peak_value=PEAK / 25, end_value=PEAK),
                Schedule(linear, peak_value=PEAK, end_value=PEAK / 25),
                Schedule(linear, peak_value=PEAK / 25, end_value=PEAK / 25e4),
            ],
            [0.3, 0.85],
        ),
        in_optax(lambda T: optax.linear_onecycle_schedule(T, PEAK)),
    ),
    "optax, join_schedules": (
        Join(
            [
                Schedule(linear, peak_value=INIT, end_value=PEAK),
                Schedule(constant, peak_value=PEAK),
                Schedule(cosine, peak_value=PEAK),
            ],
            [WARMUP, -COOLDOWN],
        ),
        in_optax(
            lambda T: optax.join_schedules(
                [
                    optax.linear_schedule(INIT, PEAK, WARMUP),
                    optax.constant_schedule(PEAK),
                    optax.cosine_decay_schedule(PEAK, COOLDOWN),
                ],
                [WARMUP, T - COOLDOWN],
            )
        ),
    ),
    # 1/(1 + rate·x) is REX with β = -rate, (1 - x)/(1 + rate·x), above a floor of 1/(1 + rate).
    "Keras, InverseTimeDecay": (
        Schedule(bind(rex, beta=-3.0), peak_value=PEAK, end_value=PEAK / 4),
        in_keras(lambda T: keras.optimizers.schedules.InverseTimeDecay(PEAK, T, 3.0)),
    ),
    "Keras, InverseTimeDecay staircase": (
        Schedule(
            bind(rex, beta=-5.0),
            bind(every_fraction, fraction=0.1),
            peak_value=PEAK,
            end_value=PEAK / 6,
        ),
        in_keras(
            lambda T: keras.optimizers.schedules.InverseTimeDecay(
                PEAK, T // 10, 0.5, staircase=True
            )
        ),
    ),
    # Its m_mul scales the height above the floor; our peak_mult scales the peak.
    "Keras, CosineDecayRestarts": (
        Schedule(
            Restarts(Schedule(cosine), 2, period_mult=3, peak_mult=0.5),
            peak_value=PEAK,
            end_value=0.1 * PEAK,
        ),
        before_the_end(
            in_keras(
                lambda T: keras.optimizers.schedules.CosineDecayRestarts(
                    PEAK, T // 4, t_mul=3.0, m_mul=0.5, alpha=0.1
                )
            )
        ),
    ),
    "PyTorch, CyclicLR exp_range": (
        Schedule(
            Product(
                [Restarts(Schedule(linear, warmup_ratio=0.5), 5), bind(geometric, ratio=0.05)]
            ),
            peak_value=PEAK,
            end_value=END,
        ),
        in_torch(
            lambda o, T: schedulers.CyclicLR(
                o, END, PEAK, T // 10, mode="exp_range", gamma=0.05 ** (1 / T), cycle_momentum=False
            )
        ),
    ),
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
        in_transformers(
            lambda o, T: hf.get_wsd_schedule(o, WARMUP, COOLDOWN, T, min_lr_ratio=0.1)
        ),
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
    # warmup_prefix=False, the default: the warmup replaces the start of a cosine that counts from 0.
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
        Schedule(
            cosine, peak_value=PEAK, end_value=END, init_value=INIT, warmup_steps=WARMUP
        ),
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
        Restarts(
            Schedule(cosine, peak_value=PEAK, end_value=END), 2, period_mult=3, peak_mult=0.5
        ),
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
        in_timm(
            lambda o, T: timm.PolyLRScheduler(o, T, 0.5, END, k_decay=2.0, t_in_epochs=False)
        ),
    ),
    "timm, TanhLRScheduler": (
        Schedule(tanh, peak_value=PEAK, end_value=END),
        in_timm(lambda o, T: timm.TanhLRScheduler(o, T, lr_min=END, t_in_epochs=False)),
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
        in_timm(
            lambda o, T: timm.TanhLRScheduler(
                o, T, -2, 2, warmup_t=T // 10, warmup_lr_init=INIT, t_in_epochs=False
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

# A PyTorch scheduler that works each rate out of the one before it.
RECURSIVE = {
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
INSTALLED = CLOSED | RECURSIVE


@pytest.mark.parametrize("T", BUDGETS)
@pytest.mark.parametrize(("ours", "original"), CLOSED.values(), ids=CLOSED)
def test_in_closed_form(ours, original, T):
    expected = original(T)
    close([ours(t, T) for t in range(len(expected))], expected)


@pytest.mark.parametrize("T", BUDGETS)
@pytest.mark.parametrize(("ours", "original"), RECURSIVE.values(), ids=RECURSIVE)
def test_recursive(ours, original, T):
    expected = original(T)
    close([ours(t, T) for t in range(len(expected))], expected, roundings=T)


@pytest.mark.parametrize("T", [137, 1001])
def test_restarts_between_steps(T):
    """transformers restarts between two steps; ours at the step after, unless T is a float."""
    ours, original = CLOSED["transformers, cosine_with_restarts"]
    expected = original(T)
    close([ours(float(t), float(T)) for t in range(T + 1)], expected, roundings=5)
