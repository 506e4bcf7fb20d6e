"""A budget that changes in mid-run."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from rex_core.moment import Moment
from rex_core.progress import (
    GRID,
    as_float,
    check,
    check_range,
    clamp,
    completed,
    floor,
    holds,
    is_integer,
    is_number,
    known,
    less,
    limits,
    minus,
    not_negative,
    parts,
    plain,
    positive,
    quotient,
    unify,
    where,
)
from rex_core.sampling import SAMPLINGS
from rex_core.schedule import arrays_of, call_repr, check_function, exact


@dataclass(frozen=True, slots=True, weakref_slot=True, repr=False)
class Replan:
    """A schedule whose budget was T0 until t0, and is T from there on.

    Until t0 the values are those planned. From there the rest of the planned curve is stretched, or
    compressed, over what the new budget leaves: there is no jump at t0, and the end comes at T::

        t <= t0  schedule(t, T0)
        t >= t0  schedule(t', T0)  with  T0 - t' = (T0 - t0) · (T - t) / (T - t0)

    t' lies between whole steps; warmup, hold, milestones and samplings keep their places on the
    curve, at whole steps of T0. T = T0 changes nothing. Of integers the digits are as many as those
    of the schedule, down to the last steps, and places exact; a `Replan` of a `Replan`, in which t'
    is rounded once more, has each place within one step and T·2^-21 in float32. Where t, T, t0 or
    T0 is a float, t' has the digits of a float.

    Args:
        schedule: A `Schedule`, `Join`, `Restarts` or `Replan`, a profile, or any function of
            (t, T). One that is not this library's gets t' as a float where it is not whole, and so
            no more digits of it; arrays are tried as both.
        t0: When the budget changed, in [0, T0), in the unit of t; any shape.
        T0: The budget before that, > 0; any shape.

    Raises:
        ValueError: A value out of range; at the call, T is not above t0; what the schedule refuses.

    >>> from rex_core import Schedule, linear
    >>> schedule = Replan(Schedule(linear), 5, 10)
    >>> [schedule(t, 20) for t in (0, 5, 8, 11, 14, 17, 20)]
    [1.0, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    >>> schedule
    Replan(Schedule(linear), 5, 10)
    """

    schedule: Callable[[Any, Any], Any]
    t0: Any
    T0: Any
    _arrays: tuple[Any, ...] = field(init=False, repr=False, compare=False)
    _planned: Callable[[Any, Any], Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_function("schedule", self.schedule, others=SAMPLINGS)
        check("T0", self.T0, "a positive finite number", positive)
        check("t0", self.t0, "a finite number >= 0", not_negative)
        t0, T0 = known(self.t0), known(self.T0)
        if t0 is not None and T0 is not None and not holds(t0 < T0):
            raise ValueError(f"t0 must be below T0 = {self.T0!r}; got {self.t0!r}")
        for name in ("t0", "T0"):
            number = plain(getattr(self, name))
            whole = isinstance(number, float) and number.is_integer()
            object.__setattr__(self, name, int(number) if whole else number)
        self._derive()

    def _derive(self) -> None:
        object.__setattr__(self, "_arrays", arrays_of(self.schedule, self.t0, self.T0))
        object.__setattr__(self, "_planned", exact(self.schedule))

    def __call__(self, t: Any, T: Any) -> Any:
        """The value when t of a budget of T is spent."""
        budget = T
        t, T, xp, t0, T0, *_ = unify(t, T, self.t0, self.T0, *self._arrays)
        start, end = known(self.t0), known(budget)
        if start is not None and end is not None and not holds(end > start):
            raise ValueError(f"T must be above t0 = {self.t0!r}; got {budget!r}")
        if xp is not math:
            t = clamp(t, T, xp)
            dtype = completed(t, xp).dtype
            check_range("T0", self.T0, 0, limits(dtype, xp)[1], dtype)
            t0, T0 = (
                v if is_number(v) or not is_integer(v, xp) else xp.astype(v, dtype)
                for v in (t0, T0)
            )
        later = stretched(t, T, t0, clamp(T0 - t0, T0, xp), T0, xp)
        changed = (less(t0, t) & (T != T0)) | (t0 >= T)
        return self._planned(where(changed, later, t, xp), T0)

    def __repr__(self) -> str:
        return call_repr(self)


def stretched(t: Any, T: Any, t0: Any, left: Any, T0: Any, xp: ModuleType) -> Any:
    """The moment t' of a budget T0 that t of T stands for, with t >= t0 where so much was left.

    T0 - t' = left·(T - t)/(T - t0), all of them unified. Where a traced T is not above t0, all is
    spent.
    """
    total = where(t0 < T, T - t0, 1, xp)
    share = where(t0 < T, clamp(minus(T, t, xp), total, xp), 0, xp)
    if all(is_integer(parts(value)[0], xp) for value in (t, T, t0, left, T0)):
        moment = minus(T0, product(left, share, total, xp), xp)
        return moment.whole if xp is math and moment.part == 0 else moment
    left, share, total = (as_float(value, xp) for value in (left, share, total))
    return T0 - left * (share / total)


def product(a: Any, b: Any, total: Any, xp: ModuleType) -> Moment:
    """a·b/total for 0 <= b <= total, whole steps or moments; exact but for rounding its part.

    No intermediate value is beyond the dtype of the integers, but for two products whose difference
    is at most total: that is right even though they wrap around. (In functions of xp, since NumPy
    warns of operators that do.)
    """
    (whole_a, part_a), (whole_b, part_b) = parts(a), parts(b)
    if xp is math:
        whole = (whole_a * whole_b + total // 2) // total
        remainder = whole_a * whole_b - whole * total
    else:
        coarse, fine = quotient(whole_b, total - whole_b, xp)
        share = xp.astype(coarse * GRID, whole_b.dtype)
        low = whole_a % GRID * share
        rest = as_float(low % GRID, xp) / GRID + as_float(whole_a, xp) * fine
        whole = whole_a // GRID * share + low // GRID + xp.astype(xp.round(rest), whole_b.dtype)
        remainder = xp.subtract(xp.multiply(whole_b, whole_a), xp.multiply(whole, total))
    part = as_float(remainder, xp) / as_float(total, xp)
    if Moment in (a.__class__, b.__class__):
        part = part + (whole_a * part_b + part_a * as_float(b, xp)) / total
    more = floor(part + 0.5, xp)
    return Moment(whole + (int(more) if xp is math else xp.astype(more, whole.dtype)), part - more)
