"""Train the points of the space: peaks coarsely, then finely, and append lines of results.

First every point at peaks in steps of 2, on a few seeds. Then a short list at five peaks in steps
of √2 around the best of each, on many other seeds: each rival at every warmup, the candidates, and
REX with several β. Where the few seeds saw a second minimum nearly as low, five peaks around that
one as well. All choose by the validation metric, and all points are given the same seeds. What is
in the file is not trained again.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import record
from benchmarks.budgeted.cells import finite
from benchmarks.budgeted.engine import Programs, programs
from benchmarks.budgeted.optimizers import OPTIMIZERS
from benchmarks.budgeted.settings import load
from benchmarks.law.space import FAMILY, OTHERS, RIVALS, Point, space, stacked

Floats = NDArray[np.floating]
Stage = Literal["coarse", "fine", "second"]
STAGES: tuple[Stage, ...] = "coarse", "fine", "second"

_LANES = 160  # at once: as many small networks as stay in the caches
_FINE = 2.0 ** np.arange(-1, 1.5, 0.5)  # peaks beside the best of the coarse pass
_NEARLY = 1.1  # The least metric, times this: what a few seeds do not tell from it.
_FIRST_SEED = {"coarse": 1000, "fine": 0}


class Key(NamedTuple):
    """What is trained: a point at all of its peaks."""

    setting: str
    optimizer: str
    momentum: float
    updates: int
    stage: Stage
    point: str


@dataclass(frozen=True)
class Plan:
    """What is run on a setting.

    Args:
        setting: A name that `settings.load` knows.
        optimizers: The lowest peak of the coarse pass for each optimizer and each momentum μ.
        budgets: In updates.
        peaks: The number of coarse peaks, in steps of 2.
        seeds: How many, in the coarse pass and in the others.
        points: What is compared, or None for all of the space.
    """

    setting: str
    optimizers: dict[str, dict[float, float]]
    budgets: tuple[int, ...]
    peaks: int
    seeds: dict[Literal["coarse", "fine"], int]
    points: tuple[Point, ...] | None = None

    def seeds_of(self, stage: Stage) -> NDArray[np.intp]:
        """The seeds of a stage. The coarse pass shares none with the others."""
        of: Literal["coarse", "fine"] = "coarse" if stage == "coarse" else "fine"
        return np.arange(_FIRST_SEED[of], _FIRST_SEED[of] + self.seeds[of])

    def coarse(self, optimizer: str, momentum: float) -> tuple[Point, ...]:
        """The points of the first pass."""
        everything = space(momentum, optimizer)
        return tuple(p for p in everything if self.points is None or p in self.points)


class Lane(NamedTuple):
    """A point, its momentum and its peaks, (peaks,)."""

    momentum: float
    point: Point
    peaks: Floats


def run(
    plans: Sequence[Plan],
    path: Path,
    *,
    candidates: Sequence[Point],
    budgets: Sequence[int] | None = None,
    stages: Sequence[Stage] = STAGES,
    minutes: float = float("inf"),
) -> bool:
    """Train what has no line yet, short budgets first; whether all is done.

    Args:
        plans: What to train, in this order.
        path: The file of results, which is appended to.
        candidates: The points that the fine pass compares with the rivals.
        budgets: Those of the plans to run, in updates, or None for all.
        stages: Those to run; "fine" and "second" need the lines of "coarse".
        minutes: When to begin nothing more.
    """
    deadline = time.time() + 60 * minutes
    record.append(path, {"machine": record.machine(), "versions": record.versions(record.TRAINING)})
    for plan in plans:
        for optimizer in plan.optimizers:
            for stage, updates in product(stages, sorted(plan.budgets)):
                if budgets is not None and updates not in budgets:
                    continue
                done = read(path)
                lanes = [
                    lane
                    for lane in _lanes(plan, optimizer, updates, stage, done, candidates)
                    if Key(
                        *(plan.setting, optimizer, lane.momentum),
                        *(updates, stage, str(lane.point)),
                    )
                    not in done
                ]
                if not lanes:
                    continue
                if time.time() >= deadline:
                    return False
                began = time.time()
                rules, places = stacked([lane.point.rule(lane.momentum, updates) for lane in lanes])
                compiled = programs(load(plan.setting), OPTIMIZERS[optimizer], rules)
                seeds = plan.seeds_of(stage)
                peaks = np.stack([lane.peaks for lane in lanes], axis=1)
                found = train(compiled, updates, seeds, peaks[:, places])
                validation, test = (values[:, :, np.argsort(places)] for values in found)
                for momentum in plan.optimizers[optimizer]:
                    line = {
                        "setting": plan.setting,
                        "optimizer": optimizer,
                        "momentum": momentum,
                        "updates": updates,
                        "stage": stage,
                        "seeds": len(seeds),
                        "points": {
                            str(lane.point): _result(lane, stage, validation[..., i], test[..., i])
                            for i, lane in enumerate(lanes)
                            if lane.momentum == momentum
                        },
                    }
                    if line["points"]:
                        record.append(path, line)
                seconds = time.time() - began
                print(f"{plan.setting}, {optimizer}, {updates} updates, {stage}: ", end="")
                print(f"{peaks.size * len(seeds)} networks in {seconds:.0f} s", flush=True)
    return True


def train(
    compiled: Programs, updates: int, seeds: NDArray[np.intp], peaks: Floats
) -> tuple[Floats, Floats]:
    """The validation and the test metric, (seeds, peaks, lanes), some lanes at a time."""
    rows = max(1, _LANES // peaks.shape[1])
    rows = min(rows, len(peaks))
    at_once = max(1, _LANES // (rows * peaks.shape[1]))
    metrics = np.empty((2, len(seeds), *peaks.shape))
    for s, p in product(range(0, len(seeds), at_once), range(0, len(peaks), rows)):
        state = compiled.start(seeds[s : s + at_once], peaks[p : p + rows])
        state = compiled.advance(state, updates, updates)
        for i, measure in enumerate((compiled.validation, compiled.test)):
            metrics[i, s : s + at_once, p : p + rows] = measure(state)
    return metrics[0], metrics[1]


def _lanes(
    plan: Plan,
    optimizer: str,
    updates: int,
    stage: Stage,
    done: dict[Key, Any],
    candidates: Sequence[Point],
) -> Iterator[Lane]:
    for momentum, lowest in plan.optimizers[optimizer].items():
        points = plan.coarse(optimizer, momentum)
        if stage == "coarse":
            for point in points:
                yield Lane(momentum, point, lowest * 2.0 ** np.arange(plan.peaks))
            continue
        coarse = {
            point: line
            for point in points
            if (
                line := done.get(
                    Key(plan.setting, optimizer, momentum, updates, "coarse", str(point))
                )
            )
        }
        if len(coarse) == len(points):
            for point in short_list(coarse, candidates):
                place = chosen(coarse[point]) if stage == "fine" else second(coarse[point])
                if place is not None:
                    yield Lane(momentum, point, peak_at(coarse[point], place) * _FINE)


def short_list(coarse: dict[Point, Any], candidates: Sequence[Point]) -> list[Point]:
    """What the fine pass trains, out of the points of the coarse one.

    These are the rivals at every warmup, each other schedule with the warmup of least validation
    metric, the candidates, and the family.
    """
    rivals = (point for rival in RIVALS.values() for point in rival)
    others = (
        min(there, key=lambda point: least(coarse[point]))
        for other in OTHERS.values()
        if (there := [point for point in other if point in coarse])
    )
    points = dict.fromkeys((*rivals, *others, *candidates, *FAMILY))
    return [point for point in points if point in coarse]


def least(result: Any) -> float:
    """The least mean validation metric of a point; what came to no number is the worst."""
    return float(np.min(_ranked(result["validation"])))


def chosen(result: Any) -> int:
    """The place of the peak of that metric."""
    return int(np.argmin(_ranked(result["validation"])))


def second(result: Any) -> int | None:
    """The place of the best peak that is apart from the chosen one and nearly as good, if any.

    It is a minimum among its neighbours too.
    """
    metrics = np.pad(_ranked(result["validation"]), 1, constant_values=np.inf)
    inner = metrics[1:-1]
    minima = (inner <= metrics[:-2]) & (inner <= metrics[2:]) & (inner <= _NEARLY * inner.min())
    apart = abs(np.arange(inner.size) - chosen(result)) > 1
    places = np.flatnonzero(minima & apart & np.isfinite(inner))
    return int(min(places, key=lambda place: inner[place])) if places.size else None


def peak_at(result: Any, place: int) -> float:
    """The peak at a place."""
    return float(result["lowest"] * result["step"] ** place)


def best_peak(result: Any) -> float:
    """The peak that was chosen."""
    return peak_at(result, chosen(result))


def _ranked(validation: Any) -> Floats:
    values = np.asarray(validation, dtype=np.float64)  # None becomes NaN
    return np.where(np.isnan(values), np.inf, values)


def _result(lane: Lane, stage: Stage, validation: Floats, test: Floats) -> dict[str, Any]:
    """The means at each peak; but of the coarse pass, each seed at the chosen one too."""
    result: dict[str, Any] = {
        "lowest": finite(lane.peaks[0], 5),
        "step": finite(lane.peaks[1] / lane.peaks[0], 5),
        "validation": finite(validation.mean(axis=0), 4),
        "test": finite(test.mean(axis=0), 4),
    }
    if stage != "coarse":
        result["of_seeds"] = finite(test[:, chosen(result)], 5)
    return result


def read(path: Path) -> dict[Key, Any]:
    """The results, with their number of seeds, by what was trained; of no file, none."""
    return {
        Key(
            *(row["setting"], row["optimizer"], row["momentum"], row["updates"], row["stage"]),
            point,
        ): result | {"seeds": row["seeds"]}
        for row in record.lines(path)
        if "points" in row
        for point, result in row["points"].items()
    }
