"""REX as people write it themselves."""

from typing import Any

import numpy as np


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


def rex_in_place_by_hand(t: Any, T: Any, block: int = 2**15) -> Any:
    """The formula for long arrays of NumPy's, in its fewest passes; nothing is checked."""
    values = np.empty(t.shape)
    for start in range(0, t.size, block):
        rest = t[start : start + block].astype(np.float64)
        left = T - rest
        rest *= 0.5
        rest += left
        np.divide(left, rest, out=values[start : start + block])
    return values
