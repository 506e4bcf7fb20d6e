"""Schedules of optax and Keras, each one expression here. The originals run in float64.

The simple ones are in `tests/core/test_agreement.py`.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest

from benchmarks.accuracy.frameworks import keras_floats
from rex_core import (
    Clamp,
    Join,
    Restarts,
    Schedule,
    bind,
    constant,
    cosine,
    every_fraction,
    geometric,
    linear,
    range_test,
    rex,
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
)

keras_schedules = keras.optimizers.schedules


def in_optax(make):
    """An optax schedule of T, at the steps 0 to T."""

    def values(T):
        with jax.enable_x64(True):
            return np.asarray(jax.jit(jax.vmap(make(T)))(jnp.arange(T + 1)))

    return values


def in_keras(make):
    """A Keras schedule of T, at the steps 0 to T."""

    def values(T):
        with jax.enable_x64(True), keras_floats("float64"):
            return np.asarray(make(T)(jnp.arange(T + 1)), dtype=np.float64)

    return values


JAX = {
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
        in_keras(lambda T: keras_schedules.InverseTimeDecay(PEAK, T, 3.0)),
    ),
    "Keras, InverseTimeDecay staircase": (
        Schedule(
            bind(rex, beta=-5.0),
            bind(every_fraction, fraction=0.1),
            peak_value=PEAK,
            end_value=PEAK / 6,
        ),
        in_keras(lambda T: keras_schedules.InverseTimeDecay(PEAK, T // 10, 0.5, staircase=True)),
    ),
    # Its m_mul scales the height above the floor; our peak_mult scales the peak. At T it restarts.
    "Keras, CosineDecayRestarts": (
        Schedule(
            Restarts(Schedule(cosine), 2, period_mult=3, peak_mult=0.5),
            peak_value=PEAK,
            end_value=0.1 * PEAK,
        ),
        before_the_end(
            in_keras(
                lambda T: keras_schedules.CosineDecayRestarts(
                    PEAK, T // 4, t_mul=3.0, m_mul=0.5, alpha=0.1
                )
            )
        ),
    ),
}
# Keras's cosine is float32 whatever its floatx is: half an ulp of 1 there is 2^28 of those here.
FLOAT32 = {JAX["Keras, CosineDecayRestarts"][0]: 2**28}


@pytest.mark.long
@pytest.mark.parametrize("T", BUDGETS)
@pytest.mark.parametrize(("ours", "original"), JAX.values(), ids=JAX)
def test_agreement(ours, original, T):
    expected = original(T)
    roundings = FLOAT32.get(ours, 1)
    close([ours(t, T) for t in range(len(expected))], expected, roundings)
