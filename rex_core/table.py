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
    shown,
)

MAX_VALUES = 100_000


class Table:
    """Two or more known finite numbers; `ready` makes an array of them."""

    def check(self, name: str, value: Any) -> bool:
        """Raise the ValueError of all declarations; True, since values keep Python numbers."""
        table = self._numbers(value)
        if table is not None and table.ndim == 1 and 2 <= table.size <= MAX_VALUES:
            numbers = table.dtype.kind in "iuf"
            if numbers and np.all(np.isfinite(table)):
                return True
        raise ValueError(f"{name} must be {self}; got {shown(value)}")

    def stored(self, value: Any) -> tuple[Number, ...]:
        """The values as a tuple of Python floats."""
        return tuple(map(float, self._numbers(value)))

    def ready(self, value: Any) -> Array:
        """The values as an array of float64."""
        return np.asarray(self._numbers(value), np.float64)

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
        except ValueError:  # Of rows of different lengths.
            return None


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def looked_up(table: Array, index: Real, like: Real, xp: Namespace) -> Real:
    """table[index], with an index beyond an end taken as that end, in the dtype of like."""
    last = len(table) - 1
    if isinstance(index, int | float):
        return float(table[min(max(int(index), 0), last)])
    index = xp.minimum(xp.maximum(index, 0 * index), 0 * index + last)
    index = xp.astype(index, default_dtypes(xp)["integral"])
    flat = xp.take(alike(table, like, xp), xp.reshape(index, (-1,)))
    return xp.reshape(flat, index.shape)
