"""What a policy chooses, seed by seed, and what that comes to."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.law.run import Floats
from benchmarks.policy.plans import FAMILIES, PEAKS, SHORT, Policy
from benchmarks.policy.run import Key, updates_of

Results = dict[Key, dict[str, Floats]]


class Cell(NamedTuple):
    """A setting, a family of optimizers and a whole budget in updates."""

    setting: str
    family: str
    budget: int


def oracle(found: Results, cell: Cell) -> tuple[str, int]:
    """The schedule, and the place of its peak, of least mean test metric at the whole budget."""
    means = {
        (name, place): value
        for name, entry in FAMILIES[cell.family].items()
        if entry.in_oracle
        for place, value in enumerate(test(found, cell, name, 1.0).mean(axis=0))
    }
    return min(means, key=lambda at: means[at])


def outcome(policy: Policy, found: Results, cell: Cell) -> Floats:
    """The test metric of the policy's long run, (seeds,). Each seed chooses on its own short runs.

    Of equal validation metrics the one of the lowest peak counts.
    """
    if not policy.rungs:
        (schedule,) = policy.schedules
        return test(found, cell, schedule, 1.0)[:, elsewhere(found, cell, schedule)]
    last = updates_of(cell.budget, policy.rungs[-1].share)
    ratio = updates_of(cell.budget, policy.share) / last
    moved = round(policy.exponent * float(np.log2(ratio)))
    candidates = _candidates(policy, found, cell, moved)
    tried = {rung: _scores(found, cell, candidates, rung.share) for rung in policy.rungs}
    values = []
    for seed in range(len(tried[policy.rungs[0]])):
        left = np.arange(len(candidates))
        for rung, after in zip(policy.rungs, [*policy.rungs[1:], None], strict=True):
            order = np.argsort(tried[rung][seed, left], kind="stable")
            left = left[order[: after.candidates if after else 1]]
        schedule, place = candidates[int(left[0])]
        trained = policy.trained or schedule
        place = min(max(place + moved, 0), PEAKS - 1)
        values.append(test(found, cell, trained, policy.share)[seed, place])
    return np.array(values)


def _candidates(policy: Policy, found: Results, cell: Cell, moved: int) -> list[tuple[str, int]]:
    """The schedules of the first rung, each at its places on the grid of peaks."""
    each = policy.rungs[0].candidates // len(policy.schedules)
    apart = PEAKS // each
    places = dict.fromkeys(policy.schedules, range(apart // 2, PEAKS, apart))
    if policy.below is not None:
        for schedule in policy.schedules:
            lowest = elsewhere(found, cell, schedule) - moved - policy.below
            lowest = min(max(lowest, 0), PEAKS - each)
            places[schedule] = range(lowest, lowest + each)
    return [(schedule, place) for schedule, at in places.items() for place in at]


def is_whole(found: Results, cell: Cell) -> bool:
    """Whether every schedule has results for each of its shares of the budget."""
    return all(
        ("validation" if share in SHORT else "test")
        in found.get(Key(*cell[:2], name, updates_of(cell.budget, share)), ())
        for name, entry in FAMILIES[cell.family].items()
        for share in entry.shares
    )


def elsewhere(found: Results, cell: Cell, schedule: str) -> int:
    """The place of the best peak in the other settings: the mean of theirs, at the same budget."""
    runs = {key.setting for key in found if key[1:] == (cell.family, schedule, cell.budget)}
    places = [
        int(test(found, cell._replace(setting=name), schedule, 1.0).mean(axis=0).argmin())
        for name in sorted(runs - {cell.setting})
    ]
    return round(float(np.mean(places)))


def test(found: Results, cell: Cell, schedule: str, share: float) -> Floats:
    """The test metric, (seeds, peaks), of runs of that share of the budget."""
    return _metric(found, cell, schedule, share, "test")


def _scores(
    found: Results, cell: Cell, candidates: list[tuple[str, int]], share: float
) -> NDArray[np.floating]:
    columns = [
        _metric(found, cell, name, share, "validation")[:, place] for name, place in candidates
    ]
    return np.stack(columns, axis=1)


def _metric(found: Results, cell: Cell, schedule: str, share: float, kind: str) -> Floats:
    key = Key(cell.setting, cell.family, schedule, updates_of(cell.budget, share))
    values = found[key][kind]
    return np.where(np.isnan(values), np.inf, values)
