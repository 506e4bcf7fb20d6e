"""The errors of a schedule against its definition in 50 digits, and what it does at the end."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.frameworks import Rates, Steps
from benchmarks.accuracy.peers import PARAMS, Peer, milestones
from tests.conformance import reference

BUDGETS = (100, 10_000, 1_000_000, 2**24 + 3, 2**31 - 1)
LAST = 1000
EVERY = 10_000
SPREAD = 1000
SMALL = range(1, 51)
ENDING_AT_ZERO = (
    *("rex", "linear", "cosine", "polynomial", "one_minus_sqrt"),
    *("logarithmic", "interpolate"),
)


@cache
def steps_of(T: int) -> Steps:
    """Steps in [0, T): all of a small T, else the last 1000, and some at every distance.

    They are spread evenly, and by their logarithm from the start, from the end and on both sides
    of the milestones.
    """
    if T <= EVERY:
        return np.arange(T)
    away = np.unique(np.geomspace(1, T // 4, SPREAD).astype(np.int64))
    parts = [np.arange(T - LAST, T), np.linspace(0, T - 1, SPREAD).astype(np.int64), away, T - away]
    parts += [b + side for b in milestones(T) for side in (-away, np.array([0]), away)]
    steps = np.unique(np.concatenate(parts))
    return steps[(steps >= 0) & (steps < T)]


@cache
def exact(profile: str, T: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The profile at `steps_of(T)`, as the sum of a double and of what it leaves."""
    definition = partial(getattr(reference, profile), **PARAMS.get(profile, {}))
    values = [definition(t, T) for t in steps_of(T).tolist()]
    high = [float(value) for value in values]
    low = [float(value - mpmath.mpf(h)) for value, h in zip(values, high, strict=True)]
    return np.array(high), np.array(low)


def errors(
    values: NDArray[Any], profile: str, T: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The relative errors of rates at `steps_of(T)`, and the errors in ulp of the rates' dtype."""
    high, low = exact(profile, T)
    distance = np.abs((values.astype(np.float64) - high) - low)
    return distance / high, distance / np.spacing(high.astype(values.dtype)).astype(np.float64)


def accuracy(peer: Peer, T: int) -> dict[str, Any]:
    """The worst errors over the budget and over its last 1000 steps, and how the budget ends."""
    rates = peer.rates(T)
    values = rates(steps_of(T))
    relative, ulp = errors(values, peer.profile, T)
    last = steps_of(T) >= T - LAST
    return {
        "T": T,
        "dtype": str(values.dtype),
        "relative": _digits(relative.max()),
        "ulp": _digits(ulp.max()),
        "relative_last": _digits(relative[last].max()),
        "ulp_last": _digits(ulp[last].max()),
        "at_T": _value(rates, T),
        "without_rate": without_rate(rates, T),
    }


def without_rate(rates: Rates, T: int) -> int:
    """The number of final steps before T at which the rate is 0, negative or NaN."""
    stop, size = T, LAST
    while stop > 0:
        start = max(stop - size, 0)
        positive = np.flatnonzero(rates(np.arange(start, stop)) > 0)
        if positive.size:
            return T - 1 - start - int(positive[-1])
        stop, size = start, 4 * size
    return T


def small_budgets(peer: Peer, budgets: Sequence[int] = SMALL) -> dict[str, int]:
    """How many of the budgets end at a rate that is not exactly 0, and at one below 0."""
    values = [_value(peer.rates(T), T) for T in budgets]
    return {
        "budgets": len(budgets),
        "not_zero": sum(value != 0 for value in values),
        "negative": sum(not isinstance(value, str) and value < 0 for value in values),
    }


def beyond(peer: Peer, T: int = 100) -> list[dict[str, Any]]:
    """The rates of a run that goes on after its budget: a step, half of it, all of it again."""
    rates = peer.rates(T)
    return [{"t": t, "rate": _value(rates, t)} for t in (T + 1, T + T // 2, 2 * T)]


def curve(peer: Peer, T: int, bins: int = 40) -> dict[str, list[float]]:
    """The worst relative error at so many distances from the end."""
    relative, _ = errors(peer.rates(T)(steps_of(T)), peer.profile, T)
    left = T - steps_of(T)
    edges = np.unique(np.geomspace(1, T + 1, bins + 1).astype(np.int64))
    bins_of = np.searchsorted(edges, left, side="right") - 1
    worst = {int(i): relative[bins_of == i].max() for i in np.unique(bins_of)}
    return {
        "left": [int(edges[i]) for i in worst],
        "relative": [_digits(error) for error in worst.values()],
    }


def _value(rates: Rates, t: int) -> float | str:
    """The rate, or what came instead: a complex or infinite number, NaN, or an exception."""
    try:
        value = rates(np.array([t]))[0]
    except Exception as error:  # Whatever it is, it is the result.
        return type(error).__name__
    if np.iscomplexobj(value):
        return "a complex number"
    return _digits(value) if np.isfinite(value) else str(value)


def _digits(value: Any) -> float:
    return float(f"{value:.4g}")
