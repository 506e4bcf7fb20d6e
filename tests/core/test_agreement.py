"""The same curves in optax, PyTorch and Keras, and where theirs differ by a step or a boundary."""

import math

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest
import torch

from rex_core import (
    Restarts,
    Schedule,
    bind,
    cosine,
    exponential,
    linear,
    one_cycle,
    polynomial,
    step,
)

T = 100
STEPS = np.arange(T + 1)
PEAK, END, INIT = 0.4, 0.01, 0.02

# The peers subtract rounded ratios from 1 in float32: half an ulp of 1 for each operation on the
# way, times the peak. Relative to the last values that is a lot; it is their error, not ours.
FLOAT32 = 4 * 2.0**-24 * PEAK
# PyTorch multiplies the rate of the step before: its errors add up over the run.
RECURSIVE = T * 2.0**-53 * PEAK

# What is one curve: (ours, theirs in optax). Linear, cosine, polynomial and piecewise schedules of
# both are held after T, and take the new value at a boundary.
OPTAX = {
    "linear": (
        Schedule(linear, peak_value=PEAK, end_value=END),
        optax.linear_schedule(PEAK, END, T),
    ),
    "cosine": (
        # optax's alpha is a share of the peak, our end_value is the value itself.
        Schedule(cosine, peak_value=PEAK, end_value=0.1 * PEAK),
        optax.cosine_decay_schedule(PEAK, T, alpha=0.1),
    ),
    "polynomial": (
        Schedule(bind(polynomial, power=2.5), peak_value=PEAK, end_value=END),
        optax.polynomial_schedule(PEAK, END, 2.5, T),
    ),
    "polynomial after a hold": (
        Schedule(polynomial, peak_value=PEAK, end_value=END, hold_ratio=0.3),
        optax.polynomial_schedule(PEAK, END, 2, 70, transition_begin=30),
    ),
    "piecewise_constant": (
        Schedule(bind(step, milestones=(0.3, 0.6, 0.9), factor=0.1), peak_value=PEAK),
        optax.piecewise_constant_schedule(PEAK, {30: 0.1, 60: 0.1, 90: 0.1}),
    ),
    "warmup_cosine": (
        # decay_steps counts the warmup, as our T does.
        Schedule(cosine, peak_value=PEAK, end_value=END, init_value=INIT, warmup_steps=10),
        optax.warmup_cosine_decay_schedule(INIT, PEAK, 10, T, END),
    ),
    "sgdr": (
        Restarts(
            Schedule(cosine, peak_value=PEAK, end_value=END, init_value=INIT, warmup_ratio=0.1),
            2,
            period_mult=1.5,
            peak_mult=0.5,
        ),
        optax.sgdr_schedule(
            [
                {
                    "init_value": INIT,
                    "peak_value": PEAK * 0.5**i,
                    "decay_steps": steps,
                    "warmup_steps": steps // 10,
                    "end_value": END,
                }
                for i, steps in enumerate([40, 60])
            ]
        ),
    ),
}


@pytest.mark.parametrize(("ours", "theirs"), OPTAX.values(), ids=OPTAX)
def test_optax(ours, theirs):
    steps = jnp.arange(T + 20)
    expected = jax.jit(jax.vmap(theirs))(steps)
    np.testing.assert_allclose([ours(t, T) for t in range(T + 20)], expected, 0, FLOAT32)
    np.testing.assert_allclose(jax.jit(ours)(steps, T), expected, 0, 2 * FLOAT32)


def test_optax_exponential_goes_on_after_the_budget():
    """Its rate·decay^(t/T) never ends; ours is held at T."""
    theirs = optax.exponential_decay(PEAK, T, decay_rate=0.05)
    ours = Schedule(bind(exponential, gamma=-math.log(0.05)), peak_value=PEAK)
    expected = jax.jit(jax.vmap(theirs))(STEPS)
    # A power of a float32: the exponent is rounded once, log(0.05) = -3 times that.
    np.testing.assert_allclose(ours(STEPS, T), expected, rtol=8 * 2.0**-24)
    assert theirs(2 * T) == pytest.approx(PEAK * 0.05**2, rel=1e-6)
    assert ours(2 * T, T) == ours(T, T) == pytest.approx(PEAK * 0.05, rel=1e-15)


def torch_rates(make, steps=T):
    """The rates that the first optimizer steps, 0 to `steps`, would be made with."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK, momentum=0.9)
    scheduler = make(optimizer)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return np.array(rates)


schedulers = torch.optim.lr_scheduler

TORCH = {
    "LinearLR": (
        Schedule(linear, peak_value=PEAK, end_value=0.1 * PEAK),
        lambda optimizer: schedulers.LinearLR(optimizer, 1.0, 0.1, total_iters=T),
    ),
    "LinearLR as warmup": (
        Schedule(linear, peak_value=PEAK, init_value=0.1 * PEAK, warmup_steps=T),
        lambda optimizer: schedulers.LinearLR(optimizer, 0.1, 1.0, total_iters=T),
    ),
    "PolynomialLR": (
        Schedule(bind(polynomial, power=2.5), peak_value=PEAK),
        lambda optimizer: schedulers.PolynomialLR(optimizer, total_iters=T, power=2.5),
    ),
    "CosineAnnealingLR": (
        Schedule(cosine, peak_value=PEAK, end_value=END),
        lambda optimizer: schedulers.CosineAnnealingLR(optimizer, T_max=T, eta_min=END),
    ),
    "MultiStepLR": (
        # The new rate at the milestone, as ours.
        Schedule(bind(step, milestones=(0.3, 0.6, 0.9)), peak_value=PEAK),
        lambda optimizer: schedulers.MultiStepLR(optimizer, [30, 60, 90], gamma=0.1),
    ),
    "ExponentialLR": (
        Schedule(bind(exponential, gamma=-T * math.log(0.97)), peak_value=PEAK),
        lambda optimizer: schedulers.ExponentialLR(optimizer, gamma=0.97),
    ),
    "CosineAnnealingWarmRestarts": (
        # Its T_0 is the first period; our T is all of them, T_0 · (1 + 3).
        Restarts(Schedule(cosine, peak_value=PEAK, end_value=END), 2, period_mult=3),
        lambda optimizer: schedulers.CosineAnnealingWarmRestarts(
            optimizer, T_0=T // 4, T_mult=3, eta_min=END
        ),
    ),
}


@pytest.mark.parametrize(("ours", "theirs"), TORCH.values(), ids=TORCH)
def test_torch(ours, theirs):
    rates = torch_rates(theirs, T - 1)
    budget = 2 * T if "warmup_steps" in repr(ours) else T
    np.testing.assert_allclose([ours(t, budget) for t in range(T)], rates, rtol=0, atol=RECURSIVE)


def test_torch_cosine_rebounds_after_the_budget():
    rates = torch_rates(lambda o: schedulers.CosineAnnealingLR(o, T_max=T), 2 * T)
    ours = Schedule(cosine, peak_value=PEAK)
    assert ours(T, T) == ours(2 * T, T) == 0
    assert rates[T] == pytest.approx(0, abs=RECURSIVE)
    assert rates[3 * T // 2] > 0.1 * PEAK


@pytest.mark.parametrize("anneal", ["linear", "cos"])
def test_torch_one_cycle_is_one_step_early(anneal):
    """It peaks at pct_start·T - 1 and ends at T - 1."""
    rates = torch_rates(
        lambda o: schedulers.OneCycleLR(
            o, max_lr=PEAK, total_steps=T, pct_start=0.25, anneal_strategy=anneal
        ),
        T - 1,
    )
    settings = {"init_value": PEAK / 25, "end_value": PEAK / 25e4}
    profile = linear if anneal == "linear" else cosine
    ours, _ = one_cycle(PEAK, warmup_ratio=24 / 99, profile=profile, **settings)
    np.testing.assert_allclose(
        [ours(t, T - 1) for t in range(T)], rates, rtol=0, atol=4 * 2.0**-53 * PEAK
    )
    ours, _ = one_cycle(PEAK, warmup_ratio=0.25, profile=profile, **settings)
    assert rates[24] == ours(25, T) == PEAK
    assert rates[99] == pytest.approx(ours(100, T), rel=1e-9)


keras_schedules = keras.optimizers.schedules

KERAS = {
    "CosineDecay": (
        Schedule(cosine, peak_value=PEAK, end_value=0.1 * PEAK),
        keras_schedules.CosineDecay(PEAK, T, alpha=0.1),
    ),
    "CosineDecay after warmup": (
        # Its decay_steps do not count the warmup: the budget is the sum of both.
        Schedule(cosine, peak_value=PEAK, init_value=INIT, warmup_steps=10),
        keras_schedules.CosineDecay(INIT, T - 10, warmup_target=PEAK, warmup_steps=10),
    ),
    "PolynomialDecay": (
        Schedule(bind(polynomial, power=2.5), peak_value=PEAK, end_value=END),
        keras_schedules.PolynomialDecay(PEAK, T, END, power=2.5),
    ),
    "PolynomialDecay, linear": (
        Schedule(linear, peak_value=PEAK, end_value=END),
        keras_schedules.PolynomialDecay(PEAK, T, END),
    ),
    "ExponentialDecay": (
        Schedule(bind(exponential, gamma=-math.log(0.05)), peak_value=PEAK),
        keras_schedules.ExponentialDecay(PEAK, T, 0.05),
    ),
}


@pytest.mark.parametrize(("ours", "theirs"), KERAS.values(), ids=KERAS)
def test_keras(ours, theirs):
    for t in (0, 1, 5, 10, 11, 30, 50, 77, 90, 99, 100):
        assert ours(t, T) == pytest.approx(float(theirs(t)), abs=FLOAT32)


def test_keras_exponential_goes_on_after_the_budget():
    ours, theirs = KERAS["ExponentialDecay"]
    assert float(theirs(2 * T)) == pytest.approx(PEAK * 0.05**2, rel=1e-6)
    assert ours(2 * T, T) == ours(T, T)


def test_keras_keeps_the_old_value_at_a_boundary():
    """Ours, optax and PyTorch take the new value at b; Keras at the first step after b."""
    ours = Schedule(bind(step, milestones=(0.3, 0.6)), peak_value=PEAK)
    theirs = keras_schedules.PiecewiseConstantDecay([30, 60], [PEAK, 0.1 * PEAK, 0.01 * PEAK])
    for t in (0, 29, 31, 59, 61, 99, 100):
        assert ours(t, T) == pytest.approx(float(theirs(t)), rel=2.0**-23)
    for b in (30, 60):
        assert float(theirs(b)) == pytest.approx(ours(b - 1, T), rel=2.0**-23)
        assert float(theirs(b)) == pytest.approx(10 * ours(b, T), rel=2.0**-23)
