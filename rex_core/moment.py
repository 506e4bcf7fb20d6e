"""A moment between two steps, with the digits of what is left and of what is spent."""

import operator
from collections.abc import Callable
from typing import Any


class Moment:
    """whole + part: an integer, or an array of them, and a float, at most a half from 0.

    As one float32 it would have no digit of T - t left near the end of a long run. So integers are
    subtracted from the integer, here too; every other operation is that of the rounded sum.
    """

    __slots__ = ("part", "whole")
    __array_ufunc__ = None  # NumPy's operators leave the work to the ones here.

    def __init__(self, whole: Any, part: Any) -> None:
        self.whole = whole
        self.part = part

    def __repr__(self) -> str:
        return f"Moment({self.whole!r}, {self.part!r})"

    def __float__(self) -> float:
        return float(self.whole + self.part)

    def __neg__(self) -> "Moment":
        return Moment(-self.whole, -self.part)

    def __sub__(self, other: Any) -> Any:
        if _is_whole(other):
            return Moment(self.whole - other, self.part)
        return self.whole + self.part - other

    def __rsub__(self, other: Any) -> Any:
        return -(self - other)


def _is_whole(value: Any) -> bool:
    """Whether a number or an array of any library counts whole steps."""
    return isinstance(value, int) or "int" in str(getattr(value, "dtype", ""))


def _compared(compare: Callable[[Any, Any], Any]) -> Callable[[Moment, Any], Any]:
    return lambda moment, other: compare(moment.whole - other, -moment.part)


def _rounded(function: Callable[[Any, Any], Any]) -> Callable[[Moment, Any], Any]:
    return lambda moment, other: function(moment.whole + moment.part, other)


def _reflected(function: Callable[[Any, Any], Any]) -> Callable[[Moment, Any], Any]:
    return lambda moment, other: function(other, moment.whole + moment.part)


for _name in ("lt", "le", "eq", "ne", "ge", "gt"):
    setattr(Moment, f"__{_name}__", _compared(getattr(operator, _name)))
for _name in ("add", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(Moment, f"__{_name}__", _rounded(getattr(operator, _name)))
    setattr(Moment, f"__r{_name}__", _reflected(getattr(operator, _name)))
