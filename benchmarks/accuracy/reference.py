"""The profiles once more, from their definitions, in 50 digits; and distances in ulp."""

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

mpmath.mp.dps = 50


def fraction_left(t: Any, T: Any) -> Any:
    return mpmath.mpf(T - min(max(t, 0), T)) / T


def rex(t: Any, T: Any, beta: Any = 0.5) -> Any:
    left = fraction_left(t, T)
    return left / ((1 - mpmath.mpf(beta)) + beta * left)


def linear(t: Any, T: Any) -> Any:
    return fraction_left(t, T)


def cosine(t: Any, T: Any) -> Any:
    return (1 + mpmath.cos(mpmath.pi * (1 - fraction_left(t, T)))) / 2


def exponential(t: Any, T: Any, gamma: Any = 3.0) -> Any:
    return mpmath.exp(-mpmath.mpf(gamma) * (1 - fraction_left(t, T)))


def polynomial(t: Any, T: Any, power: Any = 2.0) -> Any:
    return fraction_left(t, T) ** mpmath.mpf(power)


def one_minus_sqrt(t: Any, T: Any) -> Any:
    return 1 - mpmath.sqrt(1 - fraction_left(t, T))


def step(t: Any, T: Any, milestones: Any = (0.5, 0.75), factor: Any = 0.1) -> Any:
    meant = [Fraction(p).limit_denominator(1000) for p in milestones]
    return mpmath.mpf(factor) ** sum(t >= p * T for p in meant)


def constant(t: Any, T: Any) -> Any:
    return mpmath.mpf(1)


def every_step(t: Any, T: Any) -> Any:
    return t


def every(t: Any, T: Any, steps: Any) -> Any:
    return t if t < 0 else min(t, T) // steps * steps


def every_fraction(t: Any, T: Any, fraction: Any) -> Any:
    meant = Fraction(fraction).limit_denominator(1000)
    return t if t < 0 else math.ceil(min(t, T) // (meant * T) * meant * T)


def at(t: Any, T: Any, milestones: Any) -> Any:
    meant = [Fraction(p).limit_denominator(1000) for p in milestones]
    return t if t < 0 else max(math.ceil(p * T) for p in [0, *meant] if min(t, T) >= p * T)


def ulps(values: Any, exact: Any) -> Any:
    """Elementwise distance to the exact values, in the spacing of the values' dtype there."""
    values = np.asarray(values)
    high = np.array([float(value) for value in exact])
    low = np.array([float(value - mpmath.mpf(float(value))) for value in exact])
    spacing = np.spacing(np.abs(high).astype(values.dtype)).astype(float)
    return np.abs((values.astype(float) - high) - low) / spacing
