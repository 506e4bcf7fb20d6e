"""The results by cell, and how two points of a cell differ."""

from typing import Any, NamedTuple

import numpy as np

from benchmarks.law.plans import PEERS, RULE
from benchmarks.law.run import Floats, Key, Stage, least
from benchmarks.law.space import OTHERS, RIVALS
from benchmarks.statistics import Difference, in_percent


class Cell(NamedTuple):
    """A setting, an optimizer with its momentum, and a budget in updates."""

    setting: str
    optimizer: str
    momentum: float
    updates: int

    @property
    def task(self) -> str:
        return f"{self.setting}, {self.optimizer} {self.momentum:g}"

    @property
    def family(self) -> str:
        """Whether momentum is a sum of gradients or an average."""
        return "Adam" if self.optimizer.startswith("Adam") else "SGD"

    @property
    def lengths(self) -> float:
        """T·(1 − μ): the run in lengths of momentum's average."""
        return round(self.updates * (1 - self.momentum), 9)

    @property
    def data(self) -> str:
        """What is learned: some settings share it."""
        first = self.setting.partition("-")[0]
        return "digits" if first in ("batches", "lowprecision") else first

    @property
    def rule(self) -> str:
        """The point of the rule."""
        return str(RULE[self.family])


Result = dict[str, Any]  # what `run` has written of a point
Results = dict[Cell, dict[str, Result]]


def of_stage(found: dict[Key, Result], stage: Stage) -> Results:
    """The results of a pass by their cells, but for the peers of schedules.

    Of the fine pass and the one around a second minimum, the better counts.
    """
    return _of_stage(found, stage, peers=False)


def of_peers(found: dict[Key, Result]) -> Results:
    """The results of the peers' fine pass, by their cells."""
    return _of_stage(found, "fine", peers=True)


def _of_stage(found: dict[Key, Result], stage: Stage, peers: bool) -> Results:
    cells: Results = {}
    for key, result in found.items():
        if key.stage == stage and (key.optimizer in PEERS) == peers:
            cell = Cell(key.setting, key.optimizer, key.momentum, key.updates)
            second = found.get(key._replace(stage="second"), result) if stage == "fine" else result
            cells.setdefault(cell, {})[key.point] = min(result, second, key=least)
    return cells


def rival(results: dict[str, Result], name: str) -> str:
    """The point of a schedule in a cell: the warmup of least validation metric."""
    points = (str(point) for point in (RIVALS | OTHERS)[name])
    return min((p for p in points if p in results), key=lambda point: least(results[point]))


def difference(result: Result, other: Result) -> Difference:
    """The paired difference of the test metric, in percent of the other's mean.

    Seeds that one of them has not are left out; both count from the same first seed.
    """
    values, baseline = seeds(result), seeds(other)
    common = min(len(values), len(baseline))
    return in_percent(values[:common], baseline[:common])


def seeds(result: Result) -> Floats:
    """The test metric of each seed, at the peak that was chosen."""
    return np.array([np.nan if v is None else v for v in result["of_seeds"]], dtype=np.float64)


def mean(result: Result) -> float:
    """The mean of it."""
    return float(seeds(result).mean())
