"""Profiles and samplings once more, from their definitions, in 50 digits; and distances in ulp.

A t outside [0, T] counts as the end that it has passed. A share of T is the ratio of at most
`LARGEST` that its float stands for.
"""

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

mpmath.mp.dps = 50

LARGEST = 1000


def inside(t: Any, T: Any) -> Any:
    return min(max(t, 0), T)


def fraction_left(t: Any, T: Any) -> Any:
    return mpmath.mpf(T - inside(t, T)) / T


def with_k(t: Any, T: Any, k: Any) -> Any:
    """The fraction left where (t/T)^k takes the place of t/T."""
    left = fraction_left(t, T)
    return left if k == 1 else 1 - (1 - left) ** mpmath.mpf(k)


def rex(t: Any, T: Any, beta: Any = 0.5) -> Any:
    left = fraction_left(t, T)
    return left / ((1 - mpmath.mpf(beta)) + beta * left)


def linear(t: Any, T: Any) -> Any:
    return fraction_left(t, T)


def cosine(t: Any, T: Any, power: Any = 1.0, k: Any = 1.0) -> Any:
    factor = (1 + mpmath.cos(mpmath.pi * (1 - with_k(t, T, k)))) / 2
    return factor ** mpmath.mpf(power)


def exponential(t: Any, T: Any, gamma: Any = 3.0) -> Any:
    return mpmath.exp(-mpmath.mpf(gamma) * (1 - fraction_left(t, T)))


def geometric(t: Any, T: Any, ratio: Any) -> Any:
    return mpmath.mpf(ratio) ** (1 - fraction_left(t, T))


def polynomial(t: Any, T: Any, power: Any = 2.0, k: Any = 1.0) -> Any:
    return with_k(t, T, k) ** mpmath.mpf(power)


def one_minus_sqrt(t: Any, T: Any) -> Any:
    return 1 - mpmath.sqrt(1 - fraction_left(t, T))


def inverse_sqrt(t: Any, T: Any, timescale: Any) -> Any:
    return 1 / mpmath.sqrt(1 + mpmath.mpf(inside(t, T)) / timescale)


def logarithmic(t: Any, T: Any) -> Any:
    return mpmath.log(1 + mpmath.mpf(T - inside(t, T))) / mpmath.log(1 + mpmath.mpf(T))


def tanh(t: Any, T: Any, lower: Any = -7.0, upper: Any = 3.0) -> Any:
    way = mpmath.mpf(upper) - mpmath.mpf(lower)
    return (1 - mpmath.tanh(mpmath.mpf(lower) + way * (1 - fraction_left(t, T)))) / 2


def step(t: Any, T: Any, milestones: Any = (0.5, 0.75), factor: Any = 0.1) -> Any:
    return mpmath.mpf(factor) ** sum(t >= place for place in places(milestones, T))


def interpolate(t: Any, T: Any, values: Any) -> Any:
    passed = (len(values) - 1) * Fraction(inside(t, T)) / T
    index = min(math.floor(passed), len(values) - 2)
    after = mpmath.mpf(passed.numerator) / passed.denominator - index
    return mpmath.mpf(values[index]) * (1 - after) + mpmath.mpf(values[index + 1]) * after


def constant(t: Any, T: Any) -> Any:
    return mpmath.mpf(1)


def every_step(t: Any, T: Any) -> Any:
    return t


def every(t: Any, T: Any, steps: Any) -> Any:
    return t if t < 0 else min(t, T) // steps * steps


def every_fraction(t: Any, T: Any, fraction: Any) -> Any:
    meant = Fraction(fraction).limit_denominator(LARGEST)
    return t if t < 0 else math.ceil(min(t, T) // (meant * T) * meant * T)


def at(t: Any, T: Any, milestones: Any) -> Any:
    passed = [place for place in places(milestones, T) if place <= min(t, T)]
    return t if t < 0 else max([0, *map(math.ceil, passed)])


def places(milestones: Any, T: Any) -> list[Any]:
    """Shares of T; integers are steps from the start or, below 0, back from the end."""
    return [_place(milestone, T) for milestone in milestones]


def _place(milestone: Any, T: Any) -> Any:
    if isinstance(milestone, int):
        return milestone if milestone > 0 else T + milestone
    return Fraction(milestone).limit_denominator(LARGEST) * T


def ulps(values: Any, exact: Any) -> Any:
    """Elementwise distance to the exact values, in the spacing of the values' dtype there.

    0 in place of a value below the smallest normal number is no distance: XLA has none of those.
    """
    return ulps_of_two_floats(values, *two_floats(exact))


def two_floats(exact: Any) -> tuple[Any, Any]:
    """The floats nearest to exact values, and the floats nearest to what these leave over."""
    high = [float(value) for value in exact]
    low = [float(value - mpmath.mpf(near)) for value, near in zip(exact, high, strict=True)]
    return np.array(high), np.array(low)


def ulps_of_two_floats(values: Any, high: Any, low: Any) -> Any:
    """`ulps`, for exact values that several backends are compared with."""
    values = np.asarray(values)
    spacing = np.spacing(np.abs(high).astype(values.dtype)).astype(float)
    flushed = (values == 0) & (np.abs(high) < np.finfo(values.dtype).tiny)
    return np.where(flushed, 0.0, np.abs((values.astype(float) - high) - low) / spacing)
