"""A table of values as a parameter."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rex_core.arrays import (
    Array,
    Namespace,
    Number,
    Real,
    alike,
    concrete,
    default_dtypes,
    is_array,
    is_number,
    is_torch,
    shown,
)

MAX_VALUES = 100_000


class Table:
    """Two or more known finite numbers; `ready` makes an array of them."""

    def check(self, name: str, value: Any) -> bool:
        """Raise ValueError for bad values. Returns True: good ones are kept as Python numbers."""
        table = self._numbers(value)
        if table is not None and table.ndim == 1 and 2 <= table.size <= MAX_VALUES:
            numbers = table.dtype.kind in "iuf"
            if numbers and np.all(np.isfinite(table)):
                return True
        raise ValueError(f"{name} must be {self}; got {shown(value)}")

    def stored(self, value: Any) -> tuple[Number, ...]:
        """The values as a tuple of Python floats."""
        return tuple(map(float, self._numbers(value)))

    def ready(self, value: Any) -> "Values":
        """The values as the formula looks them up."""
        return Values(self.stored(value))

    def __str__(self) -> str:
        return f"2 to {MAX_VALUES} known finite numbers in a row"

    def _numbers(self, value: Any) -> Array:
        if is_array(value):
            return concrete(value)
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or True in map(_is_bool, value)
        ):
            return None
        try:
            return np.asarray([*value])
        except ValueError:  # The rows have different lengths.
            return None


class Values:
    """The numbers of a table from the last one to the first, which stands twice, to be looked up.

    They are in a NumPy array too. torch.compile cannot trace that.
    """

    __slots__ = ("array", "last", "numbers")

    def __init__(self, numbers: tuple[Number, ...]) -> None:
        self.last = len(numbers) - 1
        self.numbers = (*reversed(numbers), numbers[0])
        self.array = np.asarray(self.numbers, np.float64)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def looked_up(table: Values, index: Real, like: Real, xp: Namespace) -> Real:
    """The value at an index, counted from the last one, in the dtype of like."""
    if is_number(index):
        return table.numbers[int(index)]
    index = xp.astype(index, default_dtypes(xp)["integral"])
    if is_torch(like):
        values = xp.asarray(table.numbers, dtype=like.dtype, device=like.device)
    else:
        values = alike(table.array, like, xp)
    flat = xp.take(values, xp.reshape(index, (-1,)))
    return xp.reshape(flat, index.shape)
