"""Calls on Python's numbers."""

from collections.abc import Callable
from typing import Any

from benchmarks.overhead.measure import Bound, Effort, Table, compare_statements
from rex_core import Schedule, bind, every_fraction, rex

CALLS = 20_000
STEP, STEPS = 333, 1000


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
    "Schedule(bind(rex, beta=0.9)), every 5 %": Schedule(
        bind(rex, beta=0.9), bind(every_fraction, fraction=0.05), peak_value=0.1
    ),
}


def tables(effort: Effort) -> list[Table]:
    """Calls with two integers, t and T."""
    rows = compare_statements(
        {name: ("f(t, T)", _named(function)) for name, function in FUNCTIONS.items()},
        CALLS,
        effort,
        {"rex(t, T)": Bound(1.5)},
    )
    return [Table("One call with Python's integers.", "µs", rows)]


def _named(function: Callable[..., object]) -> dict[str, Any]:
    return {"f": function, "t": STEP, "T": STEPS}
