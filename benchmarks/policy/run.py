"""Train every schedule at every peak for every share of a budget, and append lines of results.

A policy is then no training but a choice from these results, so that all policies are compared
with the same seeds, and a new one costs nothing. What is in the file is not trained again.
"""

import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import record
from benchmarks.budgeted.cells import finite
from benchmarks.budgeted.engine import programs
from benchmarks.budgeted.optimizers import OPTIMIZERS
from benchmarks.budgeted.settings import load
from benchmarks.law.run import Floats, train
from benchmarks.policy.plans import FAMILIES, SHORT, peaks


class Key(NamedTuple):
    """What is trained: a schedule at all of its peaks, with all seeds."""

    setting: str
    family: str
    schedule: str
    updates: int


def run(
    path: Path,
    settings: Sequence[str],
    families: Sequence[str],
    budgets: Sequence[int],
    seeds: int,
    minutes: float = float("inf"),
) -> bool:
    """Train what has no line yet, short runs first; whether all is done.

    Args:
        path: The file of results, which is appended to.
        settings: Names that `settings.load` knows.
        families: Names in `FAMILIES`.
        budgets: Whole budgets, in updates.
        seeds: How many.
        minutes: When to begin nothing more.

    Raises:
        ValueError: A budget that leaves no update for the shortest run, or fewer than two seeds.
    """
    least = round(1 / min(SHORT))
    if min(budgets) < least:
        raise ValueError(f"budgets must be at least {least} updates; got {min(budgets)}")
    if seeds < 2:
        raise ValueError(f"seeds must be at least 2, for a standard error; got {seeds}")
    deadline = time.time() + 60 * minutes
    record.append(path, {"machine": record.machine(), "versions": record.versions(record.TRAINING)})
    for setting, family in product(settings, families):
        for (optimizer, shares), names in groups(family).items():
            compiled = programs(
                load(setting),
                OPTIMIZERS[optimizer],
                [FAMILIES[family][name].rule for name in names],
            )
            grid = np.repeat(peaks(optimizer)[:, None], len(names), axis=1)
            kinds: dict[int, set[str]] = {}
            for budget, share in product(budgets, shares):
                kind = "validation" if share in SHORT else "test"
                kinds.setdefault(updates_of(budget, share), set()).add(kind)
            for updates in sorted(kinds):
                done = read(path)
                keys = [Key(setting, family, name, updates) for name in names]
                if all(kinds[updates] <= done.get(key, {}).keys() for key in keys):
                    continue
                if time.time() >= deadline:
                    return False
                began = time.time()
                validation, test = train(compiled, updates, np.arange(seeds), grid)
                found = {"validation": validation, "test": test}
                line = {
                    "setting": setting,
                    "family": family,
                    "updates": updates,
                    "schedules": {
                        name: {
                            kind: finite(found[kind][:, :, i], 4) for kind in sorted(kinds[updates])
                        }
                        for i, name in enumerate(names)
                    },
                }
                record.append(path, line)
                seconds = time.time() - began
                print(f"{setting}, {optimizer}, {updates} updates: {seconds:.0f} s", flush=True)
    return True


def groups(family: str) -> dict[tuple[str, tuple[float, ...]], list[str]]:
    """The schedules of each optimizer that are trained for the same shares, as one program."""
    found: dict[tuple[str, tuple[float, ...]], list[str]] = {}
    for name, entry in FAMILIES[family].items():
        found.setdefault((entry.optimizer, entry.shares), []).append(name)
    return found


def updates_of(budget: int, share: float) -> int:
    """A share of the whole budget, in updates."""
    return round(budget * share)


def read(path: Path) -> dict[Key, dict[str, Floats]]:
    """The metrics, (seeds, peaks), by what was trained; what came to no number is NaN."""
    found: dict[Key, dict[str, Floats]] = {}
    for row in record.lines(path):
        for name, kinds in row.get("schedules", {}).items():
            key = Key(row["setting"], row["family"], name, row["updates"])
            metrics = {kind: np.array(v, dtype=np.float64) for kind, v in kinds.items()}
            found[key] = found.get(key, {}) | metrics
    return found
