"""A moment between two steps, with the digits of what is left and of what is spent."""

import operator
from collections.abc import Callable
from typing import Any


class Moment:
    """whole + part: an integer, or an array of them, and a float, at most a half from 0.

    As one float32 it would have no digit of T - t left near the end of a long run. So integers are
    subtracted from the integer, here too. It has no more operators than this library's functions
    ask for; others get it `rounded`.
    """

    __slots__ = ("part", "whole")
    __array_ufunc__ = None  # NumPy's operators leave the work to the ones here.

    def __init__(self, whole: Any, part: Any) -> None:
        self.whole = whole
        self.part = part

    def rounded(self) -> Any:
        """The sum, a float."""
        return self.whole + self.part

    def __repr__(self) -> str:
        return f"Moment({self.whole!r}, {self.part!r})"

    def __neg__(self) -> "Moment":
        return Moment(-self.whole, -self.part)

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, int) or "int" in str(getattr(other, "dtype", "")):
            return Moment(self.whole - other, self.part)
        return self.rounded() - other

    def __rsub__(self, other: Any) -> Any:
        return -(self - other)


def _compared(compare: Callable[[Any, Any], Any]) -> Callable[[Moment, Any], Any]:
    return lambda moment, other: compare(moment.whole - other, -moment.part)


for _name in ("lt", "le", "eq", "ne", "ge", "gt"):
    setattr(Moment, f"__{_name}__", _compared(getattr(operator, _name)))
