"""Ratios of what was measured in turn: a change of the machine's speed hits all alike."""

import timeit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np


class Effort(NamedTuple):
    """How much to measure: less of it is quick, and the numbers say less."""

    rounds: int = 60
    share: float = 1.0

    def of(self, number: int) -> int:
        """The share of a number of calls, updates or values, at least 2."""
        return max(2, round(number * self.share))

    def at_most(self, rounds: int) -> "Effort":
        """The same in fewer rounds, where each takes long."""
        return self._replace(rounds=min(rounds, self.rounds))

    def times(self, factor: int) -> "Effort":
        """The same in more rounds, where differences are small."""
        return self._replace(rounds=factor * self.rounds)


@dataclass(frozen=True)
class Bound:
    """What a row promises: its ratio to the baseline, or its value, is at most so much."""

    most: float
    of: Literal["ratio", "value"] = "ratio"


@dataclass(frozen=True)
class Row:
    """One candidate: medians over the rounds of its value and of its ratio to the baseline.

    The ratio is that to the baseline of the same round, low and high its quartiles. A baseline is
    that of the rows after it, up to the next one.
    """

    name: str
    value: float
    ratio: float
    low: float
    high: float
    rounds: int
    baseline: bool = False
    bound: Bound | None = None

    @property
    def met(self) -> bool | None:
        """Whether the row keeps what it promises; None without a promise."""
        if self.bound is None:
            return None
        return (self.value if self.bound.of == "value" else self.ratio) <= self.bound.most


@dataclass(frozen=True)
class Table:
    """Rows in one unit, under a sentence that says what they are, and a few words for it."""

    title: str
    short: str
    unit: str
    rows: list[Row]


def compare(
    calls: Mapping[str, Callable[[], object]],
    number: int,
    effort: Effort,
    bounds: Mapping[str, Bound] | None = None,
    per_second: float = 1e6,
) -> list[Row]:
    """Time calls, each made `number` times a round; the first is the baseline.

    A second is so many of the table's unit.
    """
    timers = {name: timeit.Timer(call) for name, call in calls.items()}
    return _time(timers, number, effort, bounds, per_second)


def compare_statements(
    statements: Mapping[str, tuple[str, Mapping[str, Any]]],
    number: int,
    effort: Effort,
    bounds: Mapping[str, Bound] | None = None,
) -> list[Row]:
    """The same in microseconds for statements with their names, which no wrapper delays."""
    timers = {
        # Assigned in the setup, the names are local variables in the timed loop.
        name: timeit.Timer(text, "; ".join(f"{n} = _{n}" for n in names), globals=_private(names))
        for name, (text, names) in statements.items()
    }
    return _time(timers, number, effort, bounds, per_second=1e6)


def summarize(
    samples: Mapping[str, Sequence[float]], bounds: Mapping[str, Bound] | None = None
) -> list[Row]:
    """Rows of what was measured in each round; the first is the baseline."""
    baseline = next(iter(samples))
    rows = []
    for name, own in samples.items():
        ratios = [a / b for a, b in zip(own, samples[baseline], strict=True)]
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75)).tolist()
        bound = (bounds or {}).get(name)
        value = float(np.median(own))
        rows.append(Row(name, value, middle, low, high, len(own), name == baseline, bound))
    return rows


def in_turn(names: Sequence[str], rounds: int) -> list[str]:
    """The names once for each round, each time in another order: none always follows another."""
    random = np.random.default_rng(0)
    return [names[i] for _ in range(rounds) for i in random.permutation(len(names))]


def _time(
    timers: Mapping[str, timeit.Timer],
    number: int,
    effort: Effort,
    bounds: Mapping[str, Bound] | None,
    per_second: float,
) -> list[Row]:
    number = effort.of(number) if number > 1 else 1
    times: dict[str, list[float]] = {name: [] for name in timers}
    for name in in_turn(list(timers), effort.rounds):
        times[name].append(timers[name].timeit(number) / number * per_second)
    return summarize(times, bounds)


def _private(names: Mapping[str, Any]) -> dict[str, Any]:
    return {f"_{name}": value for name, value in names.items()}
