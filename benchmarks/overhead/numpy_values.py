"""Ten million values at once in NumPy: their time, and the memory that they take."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.overhead.by_hand import rex_by_hand, rex_in_place_by_hand
from benchmarks.overhead.measure import Bound, Effort, Table, compare, summarize
from rex_core import Schedule, rex

VALUES = 10_000_000
ROUNDS = 15

Candidates = dict[str, Callable[[], Any]]


def tables(effort: Effort) -> list[Table]:
    """Against a copy of as many values, into an array that is there and into a new one."""
    count = effort.of(VALUES)
    t, source = np.arange(count), np.random.default_rng(0).random(count)
    there = source.copy()
    schedule = Schedule(peak_value=0.1, end_value=0.001, warmup_ratio=0.05)
    values: Candidates = {
        "REX written by hand": lambda: rex_by_hand(t, count),
        "in blocks and in place, by hand": lambda: rex_in_place_by_hand(t, count),
        "rex(t, T)": lambda: rex(t, count),
        "Schedule(rex), warmup_ratio, end_value": lambda: schedule(t, count),
    }
    copies: Candidates = {
        "np.copyto": lambda: np.copyto(there, source),
        "np.copyto, into a new array": lambda: np.copyto(np.empty_like(source), source),
    }
    limit = {"rex(t, T)": Bound(2.5)}
    peaks = {name: [peak(call)] for name, call in values.items()}
    return [
        Table(
            f"{count} values at once in NumPy.",
            "10⁷ in NumPy",
            "ms",
            compare(copies | values, 1, effort.at_most(ROUNDS), limit, per_second=1e3),
        ),
        Table(
            "The same: the largest amount of memory taken, in sizes of the result.",
            "memory for them",
            "sizes",
            summarize(peaks, {"rex(t, T)": Bound(2.5, of="value")}),
        ),
    ]


def peak(call: Callable[[], Any]) -> float:
    """The memory that was held at most during a call, divided by that of its result."""
    tracemalloc.start()
    try:
        result = call()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return float(most / result.nbytes)
