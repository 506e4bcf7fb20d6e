"""Ranges of numbers: the check, its message, and the clamp of traced values, declared once."""

import math
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from rex_core.arrays import (
    MAX_FLOAT,
    Namespace,
    Number,
    Real,
    concrete,
    everywhere,
    is_array,
    is_number,
    python_number,
    shown,
    where,
)


class Declared(Protocol):
    """The declaration of a parameter: its check, its form in a value, its form in a formula."""

    def check(self, name: str, value: Any) -> bool:
        """Raise ValueError for a bad value. Returns whether it consists of Python numbers."""

    def stored(self, value: Any) -> Any:
        """A checked value in the form that is compared. Plain numbers are Python's."""

    def ready(self, value: Any) -> Any:
        """A checked value as the formula takes it."""


class Range:
    """An interval of finite numbers, or of integers.

    Args:
        least: Its lower end, -∞ for none.
        most: Its upper end, ∞ for none.
        ends: Whether the ends belong to it, as in "[)".
        integers: Whether only integers belong to it (2.0 is one).

    >>> str(Range(0, 1, "[)")), str(Range(1, integers=True)), str(Range())
    ('in [0, 1)', 'an integer >= 1', 'a finite number')
    >>> Range(0, 1).check("factor", 2)
    Traceback (most recent call last):
    ValueError: factor must be in [0, 1]; got 2
    """

    def __init__(
        self,
        least: Number = -math.inf,
        most: Number = math.inf,
        ends: str = "[]",
        *,
        integers: bool = False,
    ) -> None:
        self.least = least
        self.most = most
        self.ends = ends
        self.integers = integers

    def holds(self, value: Any) -> Any:
        """Elementwise: whether it is in the range."""
        above = value >= self.least if self.ends[0] == "[" else value > self.least
        below = value <= self.most if self.ends[1] == "]" else value < self.most
        valid = above & below
        return valid & (value % 1 == 0) if self.integers else valid

    def check(self, name: str, value: Any) -> bool:
        """Raise ValueError, with argument, range and value, for a known value out of range.

        Returns:
            Whether the value is a Python number.
        """
        if value.__class__ is Fraction:
            value = float(value)
        if value.__class__ is float or is_number(value):
            if -MAX_FLOAT <= value <= MAX_FLOAT and self.holds(value):
                return True
        elif is_array(value):
            seen = concrete(value)
            if seen is None:
                return False
            if seen.dtype.kind in "iuf" and everywhere(np.isfinite(seen)):
                # Short floats are compared as float64, since it holds every bound.
                short = seen.dtype.kind == "f" and seen.dtype.itemsize < 8
                if everywhere(self.holds(seen.astype(np.float64) if short else seen)):
                    return False
        raise ValueError(f"{name} must be {self}; got {shown(value)}")

    def stored(self, value: Real) -> Real:
        """The value: a single number as Python's, an array of NumPy's as a copy."""
        value = python_number(value)
        return value.copy() if value.__class__ is np.ndarray else value

    def ready(self, value: Real) -> Real:
        """The value, a Fraction as a float."""
        return float(value) if value.__class__ is Fraction else value

    def single(self, name: str, value: Any) -> Any:
        """One known number in the range, from any library, as Python's or NumPy's."""
        seen = concrete(value) if is_number(value) or is_array(value) else None
        if seen is None and is_array(value):
            raise ValueError(f"{name} must be {self}, and known; got {shown(value)}")
        if seen is None or np.ndim(seen) != 0:
            raise ValueError(f"{name} must be {self}; got {shown(value)}")
        self.check(name, value)
        return seen if is_number(seen) else python_number(seen[()])

    def count(self, name: str, value: Any) -> int:
        """`single` of a range of integers, as an int."""
        return int(self.single(name, value))

    def nearest(self, value: Real, xp: Namespace) -> Real:
        """A traced value, moved into the range; NaN becomes its upper end."""
        if is_number(value) or not xp.isdtype(value.dtype, "real floating"):
            return value
        info = xp.finfo(value.dtype)
        least, most = max(self.least, float(info.min)), min(self.most, float(info.max))
        if self.ends[0] == "(":
            least += float(info.smallest_normal)
        if self.ends[1] == ")":
            most -= abs(most) * float(info.eps) / 2
        value = where(value <= most, value, most, xp)
        return where(value >= least, value, least, xp)

    def __str__(self) -> str:
        kind = "an integer" if self.integers else "a finite number"
        if self.least == -math.inf:
            return kind
        least, most = (f"{end:.10g}".replace("e+", "e") for end in (self.least, self.most))
        if self.most == math.inf:
            return f"{kind} {'>=' if self.ends[0] == '[' else '>'} {least}"
        within = f"in {self.ends[0]}{least}, {most}{self.ends[1]}"
        return f"an integer {within}" if self.integers else within


def check_truth(name: str, value: Any) -> None:
    """Raise ValueError for an argument that is not True or False, such as "False"."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False; got {shown(value)}")


ANY = Range()
POSITIVE = Range(0, ends="(]")
NOT_NEGATIVE = Range(0)
SHARE = Range(0, 1, "[)")
SHARE_OR_ALL = Range(0, 1)
COUNT = Range(1, integers=True)
