"""A moment between two steps, exact near the start and near the end of a budget."""

import math
from typing import Any, TypeAlias

import numpy as np

from rex_core import arrays
from rex_core.arrays import Namespace, Real, is_integer, is_number, namespace


class Moment:
    """whole + part: an integer or an array of integers, and a float in [-1/2, 1/2].

    One float32 would have no correct digit of T - t near the end of a long run. `minus` therefore
    subtracts integers from the integer.

    `minus` and `less` are functions. torch.compile does not find operators where the other operand
    is a tensor or one of its symbols.
    """

    __slots__ = ("part", "whole")

    def __init__(self, whole: Any, part: Any) -> None:
        self.whole = whole
        self.part = part

    def rounded(self) -> Real:
        """The sum, a float."""
        return self.whole + self.part

    def __repr__(self) -> str:
        return f"Moment({self.whole!r}, {self.part!r})"


Time: TypeAlias = Any  # What t may be within the library: a Real or a Moment.


def parts(value: Time) -> tuple[Real, Real]:
    """The whole and the part of a `Moment`, or of a whole step."""
    return (value.whole, value.part) if value.__class__ is Moment else (value, 0.0)


def less(a: Time, b: Time) -> Any:
    """Whether a < b."""
    if Moment not in (a.__class__, b.__class__):
        return a < b
    (a, a_part), (b, b_part) = parts(a), parts(b)
    steps, part = a - b, b_part - a_part  # An integer and a float in [-1, 1], never mixed.
    return (steps < -1) | ((steps == -1) & (part > -1)) | ((steps == 0) & (part > 0))


def minus(a: Time, b: Time, xp: Namespace) -> Time:
    """A - b; a float if one of them is."""
    if Moment not in (a.__class__, b.__class__):
        return a - b
    (a, a_part), (b, b_part) = parts(a), parts(b)
    whole, part = a - b, a_part - b_part
    return Moment(whole, part) if is_integer(whole, xp) else as_float(whole, xp) + part


def where(condition: Any, a: Time, b: Time, xp: Namespace) -> Time:
    """Elementwise choice among moments, steps and floats."""
    if isinstance(condition, bool):
        return a if condition else b
    if Moment in (a.__class__, b.__class__):
        (a, a_part), (b, b_part) = parts(a), parts(b)
        return Moment(
            arrays.where(condition, a, b, xp), arrays.where(condition, a_part, b_part, xp)
        )
    return arrays.where(condition, a, b, xp)


def clamp(t: Time, T: Time, xp: Namespace) -> Time:
    """A moment, kept in [0, T]."""
    if xp is math:
        return type(T)(0) if less(t, 0) else T if less(T, t) else t
    return where(less(t, T), where(less(0, t), t, 0, xp), T, xp)


def last_step(t: Time, xp: Namespace) -> Real:
    """The last whole step of a `Moment`: boundaries need no more. Else t."""
    if t.__class__ is not Moment:
        return t
    early = t.part < 0
    return t.whole - (early if xp is math else xp.astype(early, t.whole.dtype))


def as_float(value: Time, xp: Namespace) -> Real:
    """A value in the dtype of the result."""
    if value.__class__ is Moment:
        return as_float(value.whole, xp) + value.part
    if isinstance(value, arrays.NUMPY):
        return value.astype(np.float64) if value.dtype.kind in "iu" else value
    if xp is not math and not is_number(value) and is_integer(value, xp):
        return xp.astype(value, arrays.default_dtypes(xp)["real floating"])
    return value


def plus(a: Real, b: Real) -> Real:
    """The sum. If one of the two is a float, both become floats, for strict promotion."""
    xp = namespace(a, b)
    if xp is math or is_integer(a, xp) == is_integer(b, xp):
        return a + b
    return as_float(a, xp) + as_float(b, xp)
