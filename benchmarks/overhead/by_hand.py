"""REX as people write it themselves, and every profile in its fewest passes over an array."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

InPlace = Callable[[Any, Any, Any], None]  # (t, T, out), for a T that is a Python number.


def rex_by_hand(t: Any, T: Any) -> Any:
    """The paper's formula, for numbers and arrays."""
    r = 1 - t / T
    return r / (0.5 + 0.5 * r)


def rex_as_printed(t: Any, T: Any) -> Any:
    """The paper's formula as the paper has it, with 1 - t/T twice."""
    z = t / T
    return (1 - z) / (0.5 + 0.5 * (1 - z))


def rex_with_beta_by_hand(t: Any, T: Any, *, beta: float = 0.5) -> Any:
    """The formula with its parameter."""
    r = 1 - t / T
    return r / ((1 - beta) + beta * r)


def rex_checked_by_hand(t: Any, T: Any, *, beta: float = 0.5) -> Any:
    """The formula for β = ½ where t and T are integers and 0 <= t < T, and 0 elsewhere."""
    if beta == 0.5 and t.__class__ is int is T.__class__ and 0 <= t < T:
        r = 1 - t / T
        return r / (0.5 + 0.5 * r)
    return 0.0


def in_place(formula: InPlace, t: Any, T: Any, *, checked: bool = False, block: int = 2**15) -> Any:
    """A formula for long arrays of NumPy's, block after block; `checked`, t must be in [0, T]."""
    values = np.empty(t.shape)
    for start in range(0, t.size, block):
        steps = t[start : start + block]
        if checked and not (steps.min() >= 0 and steps.max() <= T):
            raise ValueError("t must be in [0, T]")
        formula(steps, T, values[start : start + block])
    return values


def rex_in_place(t: Any, T: Any, out: Any) -> None:
    rest = t.astype(np.float64)
    np.subtract(T, rest, out=out)
    rest *= 0.5
    rest += out
    out /= rest


def linear_in_place(t: Any, T: Any, out: Any) -> None:
    np.subtract(T, t, out=out)
    out /= T


def cosine_in_place(t: Any, T: Any, out: Any) -> None:
    np.subtract(T, t, out=out)
    out *= math.pi / 2 / T
    np.sin(out, out=out)
    out *= out


def exponential_in_place(t: Any, T: Any, out: Any, *, gamma: float = 3.0) -> None:
    np.multiply(t, -gamma / T, out=out)
    np.exp(out, out=out)


def geometric_in_place(t: Any, T: Any, out: Any, *, ratio: float) -> None:
    np.multiply(t, math.log(ratio) / T, out=out)
    np.exp(out, out=out)


def polynomial_in_place(t: Any, T: Any, out: Any) -> None:
    linear_in_place(t, T, out)
    out *= out


def one_minus_sqrt_in_place(t: Any, T: Any, out: Any) -> None:
    np.divide(t, T, out=out)
    np.sqrt(out, out=out)
    np.subtract(1.0, out, out=out)


def inverse_sqrt_in_place(t: Any, T: Any, out: Any, *, timescale: float) -> None:
    np.divide(t, timescale, out=out)
    out += 1.0
    np.sqrt(out, out=out)
    np.divide(1.0, out, out=out)


def logarithmic_in_place(t: Any, T: Any, out: Any) -> None:
    np.subtract(T, t, out=out)
    np.log1p(out, out=out)
    out /= math.log1p(T)


def tanh_in_place(t: Any, T: Any, out: Any, *, lower: float = -7.0, upper: float = 3.0) -> None:
    np.multiply(t, (upper - lower) / T, out=out)
    out += lower
    np.tanh(out, out=out)
    out *= -0.5
    out += 0.5


def step_in_place(t: Any, T: Any, out: Any, *, factor: float = 0.1) -> None:
    out.fill(1.0)
    np.copyto(out, factor, where=t >= math.ceil(T / 2))
    np.copyto(out, factor**2, where=t >= math.ceil(3 * T / 4))


def interpolate_in_place(t: Any, T: Any, out: Any, *, values: Sequence[float]) -> None:
    out[:] = np.interp(t, np.linspace(0, T, len(values)), values)


def constant_in_place(t: Any, T: Any, out: Any) -> None:
    out.fill(1.0)
