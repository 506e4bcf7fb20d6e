"""Exact places in a budget: a share of it, steps from its start, steps back from its end.

A share stands for the short decimal or the ratio that its writer meant: 0.7 is 7/10. The first step
on or after it is then found with integers alone, in int32 and in Python.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from rex_core.arrays import (
    Array,
    Namespace,
    Number,
    Real,
    alike,
    concrete,
    default_dtypes,
    everywhere,
    is_array,
    is_integer,
    is_number,
    python_number,
    shown,
    widened,
)
from rex_core.moment import as_float
from rex_core.progress import nudge
from rex_core.ranges import Range

# Two ratios up to this denominator are at least 2^-52 apart. Below 1, a double's rounding interval
# is at most 2^-53 wide. So no two of these ratios round to the same double.
MAX_DENOMINATOR = 2**26
MIN_FRACTION = 1e-6  # Down to here, a float32 quotient is off by one read at most.
MAX_MILESTONES = 1000
_MAX_REMEMBERED = 4096

Milestone: TypeAlias = float | Fraction  # An integer counts steps.

_meant: dict[float, Fraction] = {}


def meant(share: Any) -> Fraction:
    """The ratio that the writer of a share meant: 0.7 is 7/10.

    It is the ratio of smallest denominator that rounds to the share. If this denominator is beyond
    2^26, it is the nearest ratio other than 0 with a denominator up to 2^26.

    >>> meant(1 / 3), meant(0.7)
    (Fraction(1, 3), Fraction(7, 10))
    """
    if share.__class__ is not float:
        return _meant_by(share)
    found = _meant.get(share)
    if found is None:
        if len(_meant) >= _MAX_REMEMBERED:
            _meant.clear()
        found = _meant[share] = _meant_by(share)
    return found


def _meant_by(share: Any) -> Fraction:
    inexact = isinstance(share, (float, np.floating))
    exact = simple = Fraction(float(share) if inexact else share)
    if inexact:
        half = Fraction(float(np.spacing(abs(share)))) / 2
        simple = _simplest(exact - half, exact + half)
    return simple if simple.denominator <= MAX_DENOMINATOR else _nearest(exact)


def _nearest(exact: Fraction) -> Fraction:
    return exact.limit_denominator(MAX_DENOMINATOR) or Fraction(1, MAX_DENOMINATOR)


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of smallest denominator in [low, high], by their continued fractions."""
    whole = math.ceil(low)
    if whole <= high:
        return Fraction(whole)
    return whole - 1 + 1 / _simplest(1 / (high - whole + 1), 1 / (low - whole + 1))


def meant_number(share: Real) -> Real:
    """A single short float of NumPy's as the float that its writer meant; else the share."""
    return float(meant(share)) if isinstance(share, np.float16 | np.float32) else share


def meant_sum(*shares: Real) -> Any:
    """The exact sum of shares: a Fraction, or a NumPy array of them.

    None if a share is traced, or not finite. A gradient in the place of a share may be infinite.
    """
    known = [share if isinstance(share, Fraction) else concrete(share) for share in shares]
    if any(share is None or not everywhere(abs(share) < math.inf) for share in known):
        return None
    if not any(isinstance(share, np.ndarray) for share in known):
        return sum(map(meant, known), start=Fraction(0))
    return sum(_meant_of(np.asarray(share)) for share in known)


def _meant_of(shares: Array) -> Array:
    exact = np.empty(shares.shape, object)
    exact.reshape(-1)[:] = [meant(share) for share in shares.reshape(-1)]
    return exact


class Boundary:
    """A place in a budget: steps + share·T. If T counts whole steps, share·T is rounded up.

    Args:
        steps: Steps from the start, in the unit of t.
        shares: Shares of T, to be added up. 1 is the end of T; a negative share goes back from it.
            The sum is exact if its denominator is up to 2^26, else the nearest such ratio.
    """

    __slots__ = ("ratio", "share", "steps")

    def __init__(self, steps: Real = 0, *shares: Real) -> None:
        self.steps = steps
        self.share = sum(float(s) if isinstance(s, Fraction) else widened(s) for s in shares)
        self.ratio: tuple[Any, Any] | None = None  # Numerator and denominator, if known.
        exact = meant_sum(*shares)
        if isinstance(exact, Fraction):
            self.ratio = _pair(exact)
        elif exact is not None:
            pairs = np.asarray([_pair(p) for p in exact.reshape(-1)], dtype=np.int64)
            numerators, denominators = pairs.reshape(-1, 2).T
            self.ratio = numerators.reshape(exact.shape), denominators.reshape(exact.shape)

    def of(self, T: int) -> int:
        """The first step on or after it, for Python's integers."""
        n, d = self.ratio  # type: ignore[misc]  # Numbers are known.
        place: int = self.steps + ceil_share(n, d, T, T, math)
        return place

    def at(self, T: Real, t: Real, xp: Namespace) -> Real:
        """The first step on or after it, in the dtype of t. If T is a float, the exact point.

        Known shares are exact. A traced share has the digits of its dtype: in float32 the step is
        off by up to one step and T·2^-21.
        """
        steps = self.steps if xp is math else alike(self.steps, t, xp)
        if is_number(steps) and not is_integer(T, xp):
            steps = float(steps)
        if self.ratio is not None:
            n, d = self.ratio
            if is_number(n) and n == 0:
                return steps
            if is_integer(T, xp):
                return steps + ceil_share(n, d, T, t, xp)
            if xp is not math:
                n, d = alike(n, t, xp), alike(d, t, xp)
            return steps + n * (T * 2.0**-30) / d * 2.0**30  # n·T might be beyond a float.
        point = alike(self.share, as_float(t, xp), xp) * as_float(T, xp)
        if is_integer(T, xp):
            point = xp.ceil(nudge(point, -2, xp))
            point = xp.astype(point, default_dtypes(xp)["integral"])
        return steps + point

    def times(self, count: Real, xp: Namespace) -> "Boundary":
        """The place at so many times its share, for floats."""
        many = Boundary()
        many.share = (self.share if xp is math else alike(self.share, count, xp)) * count
        many.ratio = None if self.ratio is None else (self.ratio[0] * count, self.ratio[1])
        return many

    def concrete(self) -> "Boundary | None":
        """The same place in numbers of Python and NumPy; None while a compiler is tracing it."""
        steps = concrete(self.steps)
        if steps is None or self.ratio is None:
            return None
        found = Boundary(steps)
        found.ratio = self.ratio
        return found

    def arrays(self) -> list[Array]:
        """The arrays in it."""
        return [part for part in (self.steps, *(self.ratio or ())) if not is_number(part)]


def _pair(exact: Fraction) -> tuple[int, int]:
    if exact.denominator > MAX_DENOMINATOR:
        exact = _nearest(exact)
    return exact.numerator, exact.denominator


def ceil_share(n: Any, d: Any, T: Real, t: Real, xp: Namespace) -> Real:
    """⌈n·T/d⌉ for 0 <= n <= d <= 2^26, exact. No intermediate value overflows the dtype of t.

    With T = q·d + r this is n·q + ⌈n·r/d⌉. The product n·r is divided digit by digit, in the
    largest radix that cannot overflow.
    """
    if isinstance(n, int) and isinstance(d, int) and isinstance(T, int):
        return -(-n * T // d)
    if isinstance(n, int) and n == d:
        return T
    largest = d if isinstance(d, int) else int(np.max(d, initial=1))
    n, d = alike(n, t, xp), alike(d, t, xp)
    radix = (int(xp.iinfo(t.dtype).max) // largest + 1) // 2
    digits = 1
    while radix**digits <= largest:
        digits += 1
    whole, rest = T // d, T % d
    quotient, remainder = 0, 0
    for place in reversed(range(digits)):
        value = remainder * radix + n // radix**place % radix * rest
        quotient, remainder = quotient * radix + value // d, value % d
    return n * whole + quotient + xp.astype(remainder > 0, t.dtype)


class Share(Range):
    """The share of T between two reads; `ready` makes a `Boundary` of it."""

    def __init__(self) -> None:
        super().__init__(MIN_FRACTION, 1)

    def ready(self, value: Real) -> Boundary:
        """The share, with its exact ratio where it is known."""
        return Boundary(0, self.stored(value))

    def stored(self, value: Real) -> Real:
        """The share. A single short float of NumPy's becomes the float that was meant."""
        return meant_number(super().stored(value))


class Milestones:
    """Increasing places in a budget, as a user writes them; `ready` makes a `Boundary` of each.

    A float or Fraction in (0, 1] is a share of T. A positive integer counts steps from the start. A
    negative integer counts steps back from the end.
    """

    def check(self, name: str, value: Any) -> bool:
        """Raise ValueError for bad milestones. Returns True: good ones are Python numbers."""
        numbers = self._numbers(value)
        right = 1 <= len(numbers) <= MAX_MILESTONES and all(map(_is_milestone, numbers))
        if right and _increase(numbers):
            return True
        raise ValueError(
            f"{name} must be 1 to {MAX_MILESTONES} increasing places: shares in (0, 1], or "
            "integers other than 0, steps from the start or, below 0, back from the end; "
            f"got {shown(value)}"
        )

    def stored(self, value: Sequence[Any]) -> tuple[Number, ...]:
        """The milestones as a value keeps them: Python numbers, equal for equal places."""
        return tuple(self._numbers(value))

    def _numbers(self, value: Any) -> list[Any]:
        """The items of a list or an array, as Python's numbers."""
        seen = concrete(value) if is_array(value) else None
        if seen is not None and seen.ndim == 1:
            value = list(seen)
        if not isinstance(value, Sequence) or isinstance(value, str):
            return []
        return [python_number(meant_number(item)) for item in value]

    def ready(self, value: Sequence[Any]) -> tuple[Boundary, ...]:
        """The milestones as boundaries."""
        return tuple(map(_boundary, self.stored(value)))


def _is_milestone(number: Any) -> bool:
    if is_number(number) and isinstance(number, int):
        return bool(number != 0)
    return isinstance(number, float) and 0 < number <= 1


def _increase(numbers: list[Any]) -> bool:
    """Whether milestones of one kind increase; two kinds have no order before T is known."""
    shares = [n for n in numbers if not isinstance(n, int)]
    steps = [n for n in numbers if isinstance(n, int)]
    kinds = shares, [n for n in steps if n > 0], [n for n in steps if n < 0]
    return all(a < b for kind in kinds for a, b in pairwise(kind))


def _boundary(milestone: Number) -> Boundary:
    if not isinstance(milestone, int):
        return Boundary(0, milestone)
    return Boundary(milestone, 0 if milestone > 0 else 1)


def places(milestones: Sequence[Boundary], T: Real, t: Real, xp: Namespace) -> list[Real]:
    """The places of milestones in a budget; a ValueError if a known budget lacks one."""
    found = [milestone.at(T, t, xp) for milestone in milestones]
    if any(milestone.steps for milestone in milestones):
        before: Any = 0
        for index, place in enumerate(found):
            now, end = concrete(place), concrete(T)
            if now is None or end is None:
                break
            inside = (now > 0 if index == 0 else now >= before) & (now <= end)
            if not everywhere(inside):
                raise ValueError(
                    f"milestones must be increasing places in (0, T], the budget or its share in a "
                    f"Join or Restarts; got steps {shown(found)} of T = {shown(T)}"
                )
            before = now
    return found
