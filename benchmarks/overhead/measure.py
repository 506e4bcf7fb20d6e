"""Ratios of running times, measured in turn: a change of the machine's speed hits all alike."""

import statistics
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ROUNDS = 60


@dataclass(frozen=True)
class Row:
    """One candidate: median time of a call, and its ratio to the baseline of the same round."""

    name: str
    microseconds: float
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        spread = f"{self.low:.2f} to {self.high:.2f}"
        return f"{self.name:<44}{self.microseconds:>10.3f}{self.ratio:>8.2f}   {spread}"


HEADER = f"{'':<44}{'µs / call':>10}{'ratio':>8}   middle half of rounds"


def compare(candidates: Mapping[str, Callable[[], object]], number: int) -> list[Row]:
    """Time every candidate `number` times in each round; the first is the baseline."""
    timers = {name: timeit.Timer(call) for name, call in candidates.items()}
    return _rows(timers, number)


def compare_calls(functions: Mapping[str, Callable[..., object]], *args: object) -> list[Row]:
    """The same for the functions' own calls, with no wrapper around them in the timed loop."""
    names = [f"x{i}" for i in range(len(args))]
    timers = {
        name: timeit.Timer(
            f"f({', '.join(names)})",
            "; ".join(f"{x} = {x}_" for x in names),
            globals={"f": function} | {f"{x}_": arg for x, arg in zip(names, args, strict=True)},
        )
        for name, function in functions.items()
    }
    return _rows(timers, number=20_000)


def _rows(timers: Mapping[str, timeit.Timer], number: int) -> list[Row]:
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            times[name].append(timer.timeit(number) / number)
    baseline = next(iter(times.values()))
    rows = []
    for name, own in times.items():
        ratios = [a / b for a, b in zip(own, baseline, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows.append(Row(name, statistics.median(own) * 1e6, middle, low, high))
    return rows
