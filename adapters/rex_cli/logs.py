"""A table of values that another program has logged, compared with a schedule."""

import csv
import math
from io import StringIO
from typing import Any

from rex_cli.settings import text_of
from rex_core.adapting import Function

Log = list[tuple[Any, float]]

_STEPS = {"step", "steps", "t", "iteration", "iter", "global_step", "update"}
_VALUES = {"lr", "learning_rate", "rate", "value"}


def read_log(path: str, columns: tuple[str, str] | None) -> tuple[Log, int]:
    """The pairs (t, value) of a CSV file, and the number of rows that have no value.

    Args:
        path: The file, or "-" for the standard input. Commas, semicolons or tabs separate its
            columns. A line that begins with # is a comment. A first row that is not all numbers has
            the names.
        columns: The names of the columns of t and of the value; by default the only two, by their
            names where these are known, and otherwise t first.

    Raises:
        ValueError: There are no such columns, a cell is no finite number, or there is no value.
    """
    text = text_of(path)
    head = next((line for line in StringIO(text) if line.strip() and line[0] != "#"), "")
    reader = csv.reader(StringIO(text), delimiter=max("\t;,", key=head.count))
    try:
        rows = [(reader.line_num, row) for row in reader if row and not row[0].startswith("#")]
    except csv.Error as error:
        raise ValueError(f"{path} must be a CSV file; got {error}") from None
    names = [name.strip() for name in rows[0][1]] if rows else []
    headed = any(_number(name) is None for name in names)
    if columns is not None and not (headed and {*columns} <= {*names}):
        raise ValueError(
            f"columns must be two of {', '.join(names) if headed else 'a first row of names'}; "
            f"got {' '.join(columns)}"
        )
    if columns is None and len(names) != 2:
        raise ValueError(
            f"columns must be given where {path} has not two of them, with commas, semicolons or "
            f"tabs between them; got {', '.join(names)}"
        )
    first, second = _order(names) if columns is None else map(names.index, columns)
    pairs, empty = [], 0
    for place, row in rows[1:] if headed else rows:
        cells = [row[i].strip() if i < len(row) else "" for i in (first, second)]
        if not cells[1]:
            empty += 1
            continue
        t, value = map(_number, cells)
        if t is None or value is None:
            raise ValueError(
                f"row {place} of {path} must have two finite numbers; got {', '.join(cells)}"
            )
        pairs.append((int(t) if t.is_integer() else t, value))
    if not pairs:
        raise ValueError(f"{path} must have rows with values; got {empty} rows without")
    return pairs, empty


def _order(names: list[str]) -> tuple[int, int]:
    """The places of t and of the value among two columns."""
    first, second = (name.lower().rpartition("/")[2].strip("_") for name in names)
    swapped = (second in _STEPS and first not in _STEPS) or (
        first in _VALUES and second not in _VALUES
    )
    return (1, 0) if swapped else (0, 1)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def compared(schedule: Function, T: Any, log: Log, empty: int = 0) -> list[str]:
    """The largest difference of ``schedule(t, T)`` and a log, in lines to print.

    Args:
        schedule: The schedule.
        T: The budget.
        log: Pairs (t, value).
        empty: The number of rows that have no value.
    """
    size, t, here, there = _largest(schedule, T, log, 0)
    steps = [each for each, _ in log]
    lines = [
        f"rows        {len(log)}, t from {min(steps)} to {max(steps)}",
        f"difference  {size}, the largest, at t = {t}",
        f"schedule    {here}",
        f"log         {there}",
    ]
    outside = sum(not 0 <= each <= T for each in steps)
    if outside:
        lines.insert(1, f"outside     {outside} of the rows, with t below 0 or above T = {T}")
    if empty:
        lines[0] += f"; {empty} more without a value"
    shifted = {shift: _largest(schedule, T, log, shift)[0] for shift in (1, -1)}
    nearest = min(shifted, key=lambda shift: shifted[shift])
    if shifted[nearest] < size / 2:
        lines.append(
            f"The log fits better at t {'+' if nearest > 0 else '-'} 1, where the largest "
            f"difference is {shifted[nearest]}."
        )
    return lines


def _largest(schedule: Function, T: Any, log: Log, shift: int) -> tuple[float, float, float, float]:
    """The largest difference, where it is, and the two values there; the first of several."""
    found = ((t, float(schedule(t + shift, T)), there) for t, there in log)
    rows = ((abs(here - there), t, here, there) for t, here, there in found)
    return max(rows, key=lambda row: row[0])
