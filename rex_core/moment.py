"""A moment between two steps, with the digits of what is left and of what is spent."""

from typing import Any


class Moment:
    """whole + part: an integer, or an array of them, and a float, at most a half from 0.

    As one float32 it would have no digit of T - t left near the end of a long run. So integers are
    subtracted from the integer, here too: `progress.minus`. Functions that are not this library's
    get it `rounded`.
    """

    __slots__ = ("part", "whole")

    def __init__(self, whole: Any, part: Any) -> None:
        self.whole = whole
        self.part = part

    def rounded(self) -> Any:
        """The sum, a float."""
        return self.whole + self.part

    def __repr__(self) -> str:
        return f"Moment({self.whole!r}, {self.part!r})"
