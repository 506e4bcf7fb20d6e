"""Profiles, samplings and schedules that several tests run through, and the array libraries."""

import re

import jax.numpy as jnp
import numpy as np
import torch

from rex_core import (
    Join,
    Replan,
    Restarts,
    Schedule,
    at,
    bind,
    constant,
    cosine,
    every,
    every_fraction,
    every_step,
    exponential,
    linear,
    one_minus_sqrt,
    polynomial,
    rex,
    step,
)

LARGEST = 2**31 - 1
THIRD = 1 / 3

PROFILES = [
    rex,
    bind(rex, beta=0.9),
    bind(rex, beta=-3.0),
    linear,
    cosine,
    exponential,
    bind(exponential, gamma=9.3),
    polynomial,
    bind(polynomial, power=0.5),
    bind(polynomial, power=2.7),
    one_minus_sqrt,
    step,
    bind(step, milestones=(0.3, 0.6, 0.9), factor=0.3),
    constant,
]
SAMPLINGS = [
    every_step,
    bind(every, steps=7),
    bind(every_fraction, fraction=0.05),
    bind(every_fraction, fraction=0.7),
    bind(every_fraction, fraction=THIRD),
    bind(at, milestones=(0.5, 0.75)),
    bind(at, milestones=(0.3, 0.6, 1.0)),
]
PLAIN = Schedule(peak_value=0.5, end_value=0.1, init_value=0.2, warmup_steps=3)
SCHEDULES = [
    PLAIN,
    Schedule(cosine, bind(every, steps=2), warmup_ratio=0.3, warmup_profile=one_minus_sqrt),
    Schedule(one_minus_sqrt, hold_ratio=0.5),
    Schedule(polynomial, bind(every_fraction, fraction=0.05), warmup_ratio=0.1, hold_ratio=0.7),
    Schedule(step, bind(at, milestones=(0.5, 0.75)), init_value=0.1, warmup_steps=1.5),
    Join([Schedule(warmup_ratio=0.2), linear, Schedule(exponential)], [THIRD, 0.7]),
    Restarts(Schedule(cosine, warmup_ratio=0.2), 3, period_mult=2, peak_mult=0.5),
    Join([Restarts(Schedule(), 2), Schedule(linear, peak_value=0.3)], [0.6]),
    Replan(PLAIN, 2, 7),
    Replan(Schedule(cosine, bind(every_fraction, fraction=0.05), warmup_ratio=0.3), 1, 33),
    Replan(Replan(Join([Schedule(), Restarts(Schedule(linear), 3)], [0.4]), 1, 50), 3, 80),
]

# From a list or a NumPy array to the library's array; NumPy's own dtype names.
LIBRARIES = {
    "numpy": lambda values, dtype=None: np.asarray(values, dtype=dtype),
    "jax": lambda values, dtype=None: jnp.asarray(values, dtype=dtype),
    "torch": lambda values, dtype=None: torch.asarray(
        np.asarray(values, dtype=dtype) if dtype else values
    ),
}


def name(value):
    """The id of a case, the same in every process: no addresses of functions."""
    return getattr(value, "__name__", None) or re.sub(r"<function (\w+) at \w+>", r"\1", str(value))


def together(functions):
    """Many functions as one, for compilers: one program takes far less time than many."""
    named = {name(function): function for function in functions}
    return lambda t, T: {case: function(t, T) for case, function in named.items()}
