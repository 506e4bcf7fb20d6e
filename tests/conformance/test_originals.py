"""Schedules of public trainers, each one expression here, against the formula its source publishes.

Where an original installs, its own code is the reference: in test_originals_jax.py for optax and
Keras, test_originals_torch.py for PyTorch and fvcore, test_originals_trainers.py for the others.
"""

import math

import numpy as np
import pytest

from rex_core import (
    Clamp,
    Join,
    Replan,
    Restarts,
    Schedule,
    bind,
    constant,
    cosine,
    every,
    geometric,
    interpolate,
    inverse_sqrt,
    linear,
    logarithmic,
    noam,
    one_minus_sqrt,
    polynomial,
    range_test,
    step,
    warmup_stable_decay,
)
from tests.conformance.originals import BUDGETS, COOLDOWN, END, INIT, PEAK, WARMUP, close


def ramp(t, steps):
    """From 0 to 1, and 1 from there on."""
    return min(t / steps, 1)


def half_wave(x):
    """From 1 at 0 to 0 at 1, along a cosine."""
    return (1 + math.cos(math.pi * x)) / 2


def between(start, end, x):
    """From start at x = 0 to end at x = 1."""
    return start + (end - start) * x


# Ours, and the formula of the original.
FORMULAS = {
    # Vaswani et al., "Attention Is All You Need", equation 3. Its first step is t = 1.
    "Transformer, Noam": (
        noam((512 * WARMUP) ** -0.5, warmup_steps=WARMUP),
        lambda t, T: 512**-0.5 * min(t**-0.5, t * WARMUP**-1.5) if t else 0,
    ),
    # Raffel et al., "T5", section 3.1.2: 1/√max(n, k).
    "T5, inverse square root": (
        Schedule(bind(inverse_sqrt, timescale=30), peak_value=30**-0.5, hold_steps=30),
        lambda t, T: 1 / math.sqrt(max(t, 30)),
    ),
    # fairseq/optim/lr_scheduler/inverse_square_root_schedule.py.
    "fairseq, inverse_sqrt": (
        Schedule(
            bind(inverse_sqrt, timescale=WARMUP),
            peak_value=PEAK,
            init_value=INIT,
            warmup_steps=WARMUP,
        ),
        lambda t, T: (
            between(INIT, PEAK, t / WARMUP) if t < WARMUP else PEAK * WARMUP**0.5 * t**-0.5
        ),
    ),
    # megatron/core/optimizer_param_scheduler.py. Only the decay is kept above min_lr.
    "Megatron, inverse-square-root": (
        Schedule(
            Clamp(bind(inverse_sqrt, timescale=WARMUP), least=0.25),
            peak_value=PEAK,
            init_value=INIT,
            warmup_steps=WARMUP,
        ),
        lambda t, T: (
            between(INIT, PEAK, t / WARMUP)
            if t <= WARMUP
            else max(0.25 * PEAK, PEAK * WARMUP**0.5 / t**0.5)
        ),
    ),
    # The same file: the decay of WSD is 2·½^x - 1, which is ½^x with its floor moved to -1.
    "Megatron, WSD exponential": (
        Schedule(
            Schedule(bind(geometric, ratio=0.5), end_value=-1),
            peak_value=PEAK,
            end_value=END,
            init_value=INIT,
            warmup_steps=WARMUP,
            decay_steps=COOLDOWN,
        ),
        lambda t, T: (
            between(INIT, PEAK, t / WARMUP)
            if t <= WARMUP
            else between(END, PEAK, 2 * 0.5 ** max((t - T + COOLDOWN) / COOLDOWN, 0) - 1)
        ),
    ),
    # The same file, get_wd: weight decay that rises.
    "Megatron, weight decay": (
        Schedule(cosine, peak_value=END, end_value=0.1),
        lambda t, T: between(END, 0.1, half_wave(1 - t / T)),
    ),
    # OLMo's olmo/optim.py, InvSqrtWithWarmup. Its warmup starts at a tenth.
    "OLMo, InvSqrtWithWarmup": (
        Schedule(
            bind(inverse_sqrt, timescale=WARMUP),
            peak_value=PEAK,
            init_value=0.1 * PEAK,
            warmup_steps=WARMUP,
        ),
        lambda t, T: (
            PEAK * (0.1 + 0.9 * t / WARMUP) if t < WARMUP else PEAK * math.sqrt(WARMUP / t)
        ),
    ),
    # OLMo-core's optim/scheduler.py, InvSqrtWithWarmup: eta_min is where the curve would end.
    "OLMo-core, InvSqrtWithWarmup": (
        Schedule(
            bind(inverse_sqrt, timescale=WARMUP),
            peak_value=PEAK,
            end_value=0.1 * PEAK,
            warmup_steps=WARMUP,
        ),
        lambda t, T: (
            PEAK * t / WARMUP if t < WARMUP else between(0.1 * PEAK, PEAK, math.sqrt(WARMUP / t))
        ),
    ),
    # The same file: a cosine that is cut off, and a line from there. Shares give one expression for
    # every T; the line starts at the cosine's value at 90 % of any budget.
    "OLMo-core, CosWithWarmupAndLinearDecay": (
        Join(
            [
                (whole := Schedule(cosine, peak_value=PEAK, end_value=END, warmup_ratio=0.1)),
                Schedule(linear, peak_value=whole(90, 100), hold_ratio=0.9),
            ],
            [0.9],
            local=False,
        ),
        lambda t, T: (
            PEAK * t / (0.1 * T)
            if t < 0.1 * T
            else between(END, PEAK, half_wave((min(t, 0.9 * T) / T - 0.1) / 0.9))
            * ramp(T - t, 0.1 * T)
        ),
    ),
    # big_vision/utils.py, create_learning_rate_schedule(decay_type="rsqrt").
    "big_vision, rsqrt with cooldown": (
        Schedule(bind(inverse_sqrt, timescale=40), peak_value=PEAK, warmup_steps=WARMUP)
        * Schedule(linear, decay_steps=COOLDOWN),
        lambda t, T: (
            PEAK / math.sqrt(1 + max(t - WARMUP, 0) / 40) * ramp(t, WARMUP) * ramp(T - t, COOLDOWN)
        ),
    ),
    # With shift, the timescale is the sum of both, and the peak lies on the curve without a shift.
    "big_vision, rsqrt with shift": (
        Schedule(
            bind(inverse_sqrt, timescale=45),
            peak_value=PEAK / (1 + 5 / 40) ** 0.5,
            warmup_steps=WARMUP,
        )
        * Schedule(linear, decay_steps=COOLDOWN),
        lambda t, T: (
            PEAK
            / math.sqrt(1 + (max(t - WARMUP, 0) + 5) / 40)
            * ramp(t, WARMUP)
            * ramp(T - t, COOLDOWN)
        ),
    ),
    # detectron2/solver/lr_scheduler.py: the cosine counts from 0.
    "detectron2, WarmupCosineLR": (
        Schedule(constant, init_value=0.001, warmup_steps=WARMUP)
        * Schedule(cosine, peak_value=PEAK),
        lambda t, T: PEAK * between(0.001, 1, ramp(t, WARMUP)) * half_wave(t / T),
    ),
    # The same file: the milestones count from 0, and are steps.
    "detectron2, WarmupMultiStepLR": (
        Schedule(constant, init_value=0.001, warmup_steps=WARMUP)
        * Schedule(bind(step, milestones=(30, 60)), peak_value=PEAK),
        lambda t, T: PEAK * between(0.001, 1, ramp(t, WARMUP)) * 0.1 ** ((t >= 30) + (t >= 60)),
    ),
    # mmcv's lr_updater.py, policy="poly": the warmup multiplies the floor as well.
    "mmcv, poly": (
        Schedule(bind(polynomial, power=0.9), peak_value=PEAK, end_value=END)
        * Schedule(constant, init_value=1e-6, warmup_steps=WARMUP),
        lambda t, T: (
            between(END, PEAK, (1 - t / T) ** 0.9) * (1 - (1 - ramp(t, WARMUP)) * (1 - 1e-6))
        ),
    ),
    # ultralytics/engine/trainer.py, with 20 steps per epoch: the line falls once per epoch, the
    # warmup rises at every step.
    "YOLO, weights": (
        Schedule(linear, bind(every, steps=20), peak_value=PEAK, end_value=END)
        * Schedule(constant, warmup_steps=60),
        lambda t, T: between(PEAK, END, t // 20 * 20 / T) * ramp(t, 60),
    ),
    # The rate of the biases falls from 0.5 to that of the weights: a sum, 0.5·(1 - x) + rate·x. It
    # is a product with its floor at 0.5.
    "YOLO, biases": (
        Schedule(
            Schedule(linear, bind(every, steps=20), end_value=(END - 0.5) / (PEAK - 0.5))
            * Schedule(constant, warmup_steps=60),
            peak_value=PEAK,
            end_value=0.5,
        ),
        lambda t, T: between(0.5, between(PEAK, END, t // 20 * 20 / T), ramp(t, 60)),
    ),
    "YOLO, momentum": (
        Schedule(constant, peak_value=0.937, init_value=0.8, warmup_steps=60),
        lambda t, T: between(0.8, 0.937, ramp(t, 60)),
    ),
    # deepspeed/runtime/lr_schedules.py, warmup_type="log", log(1 + t)/log(warmup_num_steps): it is
    # at its peak one step before warmup_num_steps.
    "DeepSpeed, WarmupLR": (
        Schedule(
            constant,
            peak_value=PEAK,
            init_value=INIT,
            warmup_steps=WARMUP - 1,
            warmup_profile=logarithmic,
        ),
        lambda t, T: between(INIT, PEAK, min(math.log(1 + t) / math.log(WARMUP), 1)),
    ),
    "DeepSpeed, WarmupDecayLR": (
        Schedule(
            linear,
            peak_value=PEAK,
            warmup_steps=WARMUP - 1,
            warmup_profile=logarithmic,
            hold_steps=1,
        ),
        lambda t, T: PEAK * min(math.log(1 + t) / math.log(WARMUP), (T - t) / (T - WARMUP)),
    ),
    # Its cosine is one step ahead and ends at total_num_steps - 1: here total_num_steps is T + 1.
    "DeepSpeed, WarmupCosineLR": (
        Schedule(
            cosine,
            peak_value=PEAK,
            end_value=END,
            warmup_steps=WARMUP - 1,
            warmup_profile=logarithmic,
        ),
        lambda t, T: (
            PEAK * math.log(1 + t) / math.log(WARMUP)
            if t < WARMUP
            else between(END, PEAK, half_wave((t - WARMUP + 1) / (T + 1 - WARMUP)))
        ),
    ),
    # dino/utils.py, cosine_scheduler. np.linspace reaches the peak at the last step of the warmup,
    # and the cosine has it once more at the next.
    "DINO, rate": (
        Schedule(cosine, peak_value=PEAK, end_value=END, warmup_steps=WARMUP - 1, hold_steps=1),
        lambda t, T: (
            np.linspace(0, PEAK, WARMUP)[t]
            if t < WARMUP
            else between(END, PEAK, half_wave((t - WARMUP) / (T - WARMUP)))
        ),
    ),
    "DINO, teacher momentum": (
        Schedule(cosine, peak_value=0.996, end_value=1),
        lambda t, T: 1 - 0.004 * half_wave(t / T),
    ),
    "DINO, weight decay": (
        Schedule(cosine, peak_value=0.04, end_value=0.4),
        lambda t, T: 0.4 - 0.36 * half_wave(t / T),
    ),
    # Fu et al., "Cyclical Annealing Schedule", equation 6, f linear, M = 4, R = 0.5. After its last
    # step nothing is defined: the modulus would give 0.
    "Fu et al., cyclical annealing": (
        Restarts(Schedule(constant, warmup_ratio=0.5), 4),
        lambda t, T: min(4 * (t % (T // 4)) / T / 0.5, 1) if t < T else 1,
    ),
    # fastai/callback/schedule.py, SchedExp of lr_find.
    "fastai, lr_find": (
        range_test(1e-7, 10.0),
        lambda t, T: 1e-7 * (10 / 1e-7) ** (t / T),
    ),
    # The same file, fit_flat_cos.
    "fastai, fit_flat_cos": (
        Schedule(cosine, peak_value=PEAK, end_value=PEAK / 1e5, hold_ratio=0.75),
        lambda t, T: between(PEAK / 1e5, PEAK, half_wave(max(4 * t / T - 3, 0))),
    ),
    # Howard, Ruder, "ULMFiT", slanted triangular, equation 3: cut_frac 0.1, ratio 32.
    "ULMFiT, slanted triangular": (
        Schedule(
            linear,
            peak_value=PEAK,
            init_value=PEAK / 32,
            end_value=PEAK / 32,
            warmup_ratio=0.1,
        ),
        lambda t, T: PEAK * (1 + 31 * min(t / (T // 10), 1 - (t - T // 10) / (T // 10 * 9))) / 32,
    ),
    # nanoGPT/train.py: the warmup is (t + 1)/(warmup_iters + 1).
    "nanoGPT": (
        Schedule(
            cosine,
            peak_value=PEAK,
            end_value=END,
            init_value=PEAK / (WARMUP + 1),
            warmup_steps=WARMUP,
        ),
        lambda t, T: (
            PEAK * (t + 1) / (WARMUP + 1)
            if t < WARMUP
            else between(END, PEAK, half_wave((t - WARMUP) / (T - WARMUP)))
        ),
    ),
    # DeepSeek-AI, "DeepSeek LLM", section 2.3: 31.6 % at 80 % of the tokens, 10 % at 90 %.
    "DeepSeek, multi-step": (
        Schedule(constant, warmup_steps=WARMUP)
        * Schedule(bind(step, milestones=(0.8, 0.9), factor=0.1**0.5), peak_value=PEAK),
        lambda t, T: (
            PEAK * ramp(t, WARMUP) * 0.1 ** (0.5 * ((t >= T * 4 // 5) + (t >= T * 9 // 10)))
        ),
    ),
    # Hu et al., "MiniCPM", section 4.2: ½^((s - S)/T), halved here four times in the cooldown.
    "MiniCPM, WSD exponential": (
        Schedule(
            bind(geometric, ratio=0.5**4),
            peak_value=PEAK,
            warmup_steps=WARMUP,
            decay_steps=COOLDOWN,
        ),
        lambda t, T: PEAK * ramp(t, WARMUP) * 0.5 ** (max(t - T + COOLDOWN, 0) / (COOLDOWN / 4)),
    ),
    # Hägele et al., "Scaling Laws ... Beyond Fixed Training Durations", equation 1 and 1 - √x.
    "Hägele et al., 1-sqrt": (
        warmup_stable_decay(PEAK, warmup_steps=WARMUP, decay_steps=COOLDOWN),
        lambda t, T: PEAK * ramp(t, WARMUP) * (1 - math.sqrt(max(t - T + COOLDOWN, 0) / COOLDOWN)),
    ),
    # A quarter of a wave, cos(π/2·t/T).
    "half cosine": (
        Schedule(bind(cosine, power=0.5), peak_value=PEAK),
        lambda t, T: PEAK * math.cos(math.pi / 2 * t / T),
    ),
    "NumPy, interp": (
        Schedule(bind(interpolate, values=(0.1, 1.0, 0.7, 0.2, 0.0)), peak_value=PEAK),
        lambda t, T: PEAK * np.interp(t / T, np.linspace(0, 1, 5), (0.1, 1.0, 0.7, 0.2, 0.0)),
    ),
}


@pytest.mark.parametrize("T", BUDGETS)
@pytest.mark.parametrize(("ours", "formula"), FORMULAS.values(), ids=FORMULAS)
def test_formulas(ours, formula, T):
    close([ours(t, T) for t in range(T + 1)], [float(formula(t, T)) for t in range(T + 1)])


@pytest.mark.parametrize("T", [5_000, 20_000, 100_000])
def test_the_last_2000_steps_at_every_budget(T):
    ours = Schedule(one_minus_sqrt, peak_value=PEAK, warmup_steps=500, decay_steps=2000)
    original = [
        PEAK * ramp(t, 500) * (1 - math.sqrt(max(t - T + 2000, 0) / 2000)) for t in range(T + 1)
    ]
    close([ours(t, T) for t in range(T + 1)], original)
    assert ours(T - 2000, T) == PEAK > ours(T - 1999, T)


@pytest.mark.parametrize("profile", [linear, cosine, one_minus_sqrt, bind(geometric, ratio=0.1)])
@pytest.mark.parametrize(("t0", "T"), [(WARMUP, 80), (300, 400), (300, 2000), (799, 800)])
def test_decay_from_here_is_the_plan_made_with_hindsight(profile, t0, T):
    phases = {"peak_value": PEAK, "end_value": END, "warmup_steps": WARMUP}
    planned = Schedule(profile, **phases, decay_steps=200)
    ours = Replan(planned, t0, 1000, decay_now=True)
    hindsight = Schedule(profile, **phases, decay_steps=T - t0)
    close([ours(t, T) for t in range(T + 1)], [hindsight(t, T) for t in range(T + 1)])
