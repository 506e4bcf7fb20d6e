"""Ten million values at once in NumPy: their time, and the memory that they take."""

import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.overhead import by_hand
from benchmarks.overhead.measure import Bound, Effort, Row, Table, compare, summarize
from rex_core import Schedule, bind, profiles, rex
from rex_core.functions import PROFILES

VALUES = 10_000_000
ROUNDS = 15
# Of the profiles that have no curve of their own without them.
PARAMS: dict[str, dict[str, Any]] = {
    "geometric": {"ratio": 0.01},
    "inverse_sqrt": {"timescale": 10_000},
    "interpolate": {"values": (1.0, 0.9, 0.6, 0.4, 0.1, 0.0)},
}
SCHEDULE = Schedule(peak_value=0.1, end_value=0.001, warmup_ratio=0.05)

Candidates = dict[str, Callable[[], Any]]


def tables(effort: Effort) -> list[Table]:
    """Every profile against its formula by hand; a schedule against its profile; their memory."""
    count = effort.of(VALUES)
    t, source = np.arange(count), np.random.default_rng(0).random(count)
    there = source.copy()
    few = effort.at_most(ROUNDS)
    pairs = {name: pair(name, t, count) for name in (profile.__name__ for profile in PROFILES)}
    rows: list[Row] = []
    for name, calls in pairs.items():
        rows += compare(calls, 1, few, {own(name): Bound(1.6)}, per_second=1e3)
    schedules: Candidates = {
        "rex(t, T)": lambda: rex(t, count),
        "Schedule(rex), warmup_ratio, end_value": lambda: SCHEDULE(t, count),
        "REX written by hand": lambda: by_hand.rex_by_hand(t, count),
        "np.copyto": lambda: np.copyto(there, source),
        "np.copyto, into a new array": lambda: np.copyto(np.empty_like(source), source),
    }
    limit = {"Schedule(rex), warmup_ratio, end_value": Bound(3)}
    held: Candidates = {name: schedules[name] for name in ("REX written by hand", *limit)}
    for calls in pairs.values():
        held |= calls
    sizes = {own(name): Bound(1.1, of="value") for name in pairs}
    values = f"{count} values at once in NumPy"
    return [
        Table(f"{values}, against the formula in blocks and in place.", "10⁷ in NumPy", "ms", rows),
        Table(
            f"{values}, against rex.",
            "10⁷ of a schedule",
            "ms",
            compare(schedules, 1, few, limit, per_second=1e3),
        ),
        Table(
            "The same: the peak of the memory, in sizes of the result.",
            "memory for them",
            "sizes",
            summarize({name: [peak(call)] for name, call in held.items()}, sizes),
        ),
    ]


def pair(name: str, t: Any, T: int) -> Candidates:
    """A profile's formula by hand, the same with a check of t, and the profile."""
    params = PARAMS.get(name, {})
    formula = partial(getattr(by_hand, f"{name}_in_place"), **params)
    profile = bind(getattr(profiles, name), **params)
    return {
        f"{name} by hand, in place": lambda: by_hand.in_place(formula, t, T),
        f"{name} by hand, t checked": lambda: by_hand.in_place(formula, t, T, checked=True),
        own(name): lambda: profile(t, T),
    }


def own(name: str) -> str:
    """The name of a profile's row."""
    return f"{name}(t, T)"


def peak(call: Callable[[], Any]) -> float:
    """The memory that was held at most during a call, divided by that of its result."""
    tracemalloc.start()
    try:
        result = call()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return float(most / result.nbytes)
