"""A cell of the study, from its start to a line of results.

A cell is a setting × an optimizer × a budget × a peak rate for each schedule; its schedules and
seeds are lanes of one program. What is known of a cell is one line of JSON in a file that only
grows, so that a run which was killed goes on where it was: lines are appended whole, and a cell
in progress keeps its state beside the file, with a count of its updates for who wants to follow.
"""

import hashlib
import json
import math
import os
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from flax import serialization

from benchmarks import record
from benchmarks.budgeted.engine import Programs, State, programs
from benchmarks.budgeted.optimizers import OPTIMIZERS
from benchmarks.budgeted.schedules import RULES
from benchmarks.budgeted.settings import load

Line = dict[str, Any]

_POINTS = 10  # of a learning curve
_SAVE_EVERY = 300.0  # seconds between two saves of a cell's state
_LOOK_EVERY = 1.0  # seconds between two looks at the clock


@dataclass(frozen=True)
class Cell:
    """What is trained.

    Args:
        setting: A name that `settings.load` knows.
        optimizer: A name in `optimizers.OPTIMIZERS`.
        purpose: To choose rates, by the validation examples, or to compare, by the test examples.
        percent: The budget, in percent of the setting's full one.
        schedules: Names in `schedules.RULES`.
        rates: The peak rate of each schedule.
        seeds: The seeds.
    """

    setting: str
    optimizer: str
    purpose: Literal["tune", "compare"]
    percent: float
    schedules: tuple[str, ...]
    rates: tuple[float, ...]
    seeds: tuple[int, ...]

    @property
    def lanes(self) -> int:
        """The networks that are trained at once."""
        return len(self.schedules) * len(self.seeds)


def run(cell: Cell, path: Path, deadline: float = math.inf) -> None:
    """Train the cell and append its line; of one that fails, append a line with the error.

    What had been saved of that one stays, for the next run to go on from.

    Args:
        cell: What to train.
        path: The file of results.
        deadline: When to stop, as `time.time` counts; the state is kept for the next run.
    """
    if time.time() >= deadline:
        return
    try:
        line = _train(cell, path, deadline)
    except Exception:  # Whatever it is, it is recorded, and the other cells go on.
        append_failure(path, cell)
        return
    if line is not None:
        record.append(path, line)
        _saved(path, cell).unlink(missing_ok=True)
        _count(path, cell).unlink(missing_ok=True)


def append_failure(path: Path, cell: Cell) -> None:
    """Append the line of a cell with the exception that is being handled."""
    record.append(path, {"cell": asdict(cell), "error": traceback.format_exc()})


def read(path: Path, start: int = 0) -> Iterator[Line]:
    """The lines after that many bytes of results, but none that was cut off; of no file, none."""
    for line in record.lines(path, start):
        fields = line["cell"].items()
        cell: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in fields}
        yield line | {"cell": Cell(**cell)}


def results(path: Path) -> dict[Cell, Line]:
    """The lines of the cells that are done."""
    return {line["cell"]: line for line in read(path) if "error" not in line}


def failures(path: Path) -> dict[Cell, str]:
    """The errors of the cells that failed and have not been done since."""
    lines = {line["cell"]: line for line in read(path)}
    return {cell: line["error"] for cell, line in lines.items() if "error" in line}


def updates_done(path: Path, cell: Cell) -> int:
    """How far a cell has come that is not done, or had come when it was cut off."""
    try:
        return int(_count(path, cell).read_text())
    except OSError:
        return 0


def finite(values: Any, digits: int = 7) -> Any:
    """The numbers as lists, to so many digits; None for NaN and infinities, which JSON has not."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim:
        return [finite(value, digits) for value in values]
    return float(f"{values:.{digits}g}") if np.isfinite(values) else None


@lru_cache(maxsize=1)
def _programs(setting: str, optimizer: str, schedules: tuple[str, ...]) -> Programs:
    return programs(load(setting), OPTIMIZERS[optimizer], [RULES[name] for name in schedules])


def _train(cell: Cell, path: Path, deadline: float) -> Line | None:
    """The line of the cell, or None if the deadline came first."""
    setting = load(cell.setting)
    T = setting.updates(cell.percent)
    lanes = _programs(cell.setting, cell.optimizer, cell.schedules)
    state = lanes.start(np.asarray(cell.seeds), np.asarray([cell.rates]))
    saved = _saved(path, cell)
    curve: dict[str, list[Any]] = {"t": [], "validation": []}
    seconds = 0.0
    if saved.exists():
        restored = serialization.msgpack_restore(saved.read_bytes())
        state = jax.device_put(serialization.from_state_dict(state, restored["state"]))
        curve, seconds = json.loads(restored["curve"]), restored["seconds"]

    points = _points(T) if cell.purpose == "compare" else [T]
    began = last_save = time.time()
    stride = 1
    while (t := int(state.t)) < T:
        point = next(point for point in points if point > t)
        looked = time.time()
        state = lanes.advance(state, T, min(t + stride, point))
        state.t.block_until_ready()
        now = time.time()
        if now - looked < _LOOK_EVERY:
            stride *= 2
        _replace(_count(path, cell), b"%d" % int(state.t))
        if cell.purpose == "compare" and int(state.t) == point:
            curve["t"].append(point)
            curve["validation"].append(finite(lanes.validation(state)[:, 0].mean(axis=0)))
        if now >= deadline or now - last_save > _SAVE_EVERY:
            _save(saved, state, curve, seconds + now - began)
            last_save = now
        if now >= deadline and int(state.t) < T:
            return None
    line = {
        "cell": asdict(cell),
        "name": setting.name,
        "data": setting.data,
        "metric": setting.metric_name,
        "updates": T,
        "full_updates": setting.updates(100),
        "validation": finite(lanes.validation(state)[:, 0]),
        "seconds": round(seconds + time.time() - began, 1),
        "machine": record.machine(),
        "versions": record.versions(record.TRAINING),
    }
    if cell.purpose == "compare":
        line |= {"test": finite(lanes.test(state)[:, 0]), "curve": curve}
    return line


def _points(T: int) -> list[int]:
    """Where a learning curve is looked at: tenths of the budget, as far as it has them."""
    return sorted({math.ceil(T * i / _POINTS) for i in range(1, _POINTS + 1)})


def _saved(path: Path, cell: Cell) -> Path:
    """The file of the state of a cell that is not done."""
    digest = hashlib.sha256(repr(cell).encode()).hexdigest()[:16]
    return path.with_suffix(".partial") / f"{digest}.msgpack"


def _count(path: Path, cell: Cell) -> Path:
    """The file of its number of updates, which is newer than the state."""
    return _saved(path, cell).with_suffix(".updates")


def _save(path: Path, state: State, curve: Any, seconds: float) -> None:
    content = {
        "state": serialization.to_state_dict(jax.device_get(state)),
        "curve": json.dumps(curve),
        "seconds": seconds,
    }
    _replace(path, serialization.msgpack_serialize(content))


def _replace(path: Path, content: bytes) -> None:
    """Write to another name and rename it, so that the file is whole or the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_bytes(content)
    new.replace(path)


def best_rates(lines: Iterable[Line]) -> dict[str, float]:
    """Of the lines of tuning cells: for each schedule the rate of least mean validation metric.

    A lane that came to no number has lost; of equals, the rate that comes first.
    """
    means: dict[str, dict[float, float]] = {}
    for line in lines:
        cell = line["cell"]
        values = np.asarray(line["validation"], dtype=np.float64)  # None becomes NaN
        for name, rate, column in zip(cell.schedules, cell.rates, values.T, strict=True):
            mean = float(np.mean(column))
            means.setdefault(name, {})[rate] = math.inf if math.isnan(mean) else round(mean, 7)
    return {name: min(of_rate, key=lambda r: of_rate[r]) for name, of_rate in means.items()}
