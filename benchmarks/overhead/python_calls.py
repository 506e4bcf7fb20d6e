"""Calls on Python integers, against the same formulas written by hand."""

from collections.abc import Callable

from benchmarks.overhead.measure import Row, compare_calls
from rex_core import Schedule, bind, every_fraction, rex


def hand_written(t: int, T: int) -> float:
    """The paper's formula as it is usually written."""
    z = t / T
    return (1 - z) / (0.5 + 0.5 * (1 - z))


def hand_written_exact(t: int, T: int, beta: float = 0.5) -> float:
    """rex_core's formula with its parameter, and none of its checks."""
    left = T - t
    return left / (left + (1 - beta) * t)


FUNCTIONS: dict[str, Callable[..., object]] = {
    "REX written by hand": hand_written,
    "rex's formula and parameter by hand": hand_written_exact,
    "rex(t, T)": rex,
    "Schedule(rex), warmup_steps and end_value": Schedule(
        peak_value=0.1, end_value=0.001, warmup_steps=10
    ),
    "Schedule(rex), warmup_ratio and end_value": Schedule(
        peak_value=0.1, end_value=0.001, warmup_ratio=0.01
    ),
    "Schedule(bind(rex, beta=0.9)), every 5 %": Schedule(
        bind(rex, beta=0.9), bind(every_fraction, fraction=0.05), peak_value=0.1
    ),
}


def run() -> list[Row]:
    """The rows of the table."""
    return compare_calls(FUNCTIONS, 333, 1000)
