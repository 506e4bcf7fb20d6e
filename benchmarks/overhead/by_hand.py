"""REX as people write it themselves."""

from typing import Any


def rex_by_hand(t: Any, T: Any) -> Any:
    """The paper's formula as it is usually written, for numbers and arrays."""
    z = t / T
    return (1 - z) / (0.5 + 0.5 * (1 - z))


def rex_with_parameter_by_hand(t: Any, T: Any, beta: float = 0.5) -> Any:
    """rex_core's formula with its parameter, and none of its checks."""
    left = T - t
    return left / (left + (1 - beta) * t)
