"""A budget that changes in mid-run."""

import math
from fractions import Fraction
from typing import Any, NamedTuple

from rex_core.arrays import (
    Namespace,
    Real,
    alike,
    check_limits,
    concrete,
    everywhere,
    is_integer,
    is_number,
    limits,
    shown,
    whole_steps,
)
from rex_core.boundary import Boundary
from rex_core.compose import Clamp
from rex_core.functions import Function, Timed, taking_moments
from rex_core.moment import Moment, Time, as_float, clamp, last_step, less, minus, parts, where
from rex_core.progress import product, unify
from rex_core.ranges import NOT_NEGATIVE, POSITIVE, check_truth
from rex_core.schedule import Schedule
from rex_core.spec import checked_function
from rex_core.values import Value, inner


class Replan(Timed, kind=True):
    """A schedule whose budget was T0 until t0, and is T from there on.

    Until t0 the values are those of the old plan. From t0 on, the rest of the old curve is
    stretched or compressed to end at the new T. The value does not jump at t0::

        t <= t0  schedule(t, T0)
        t >= t0  schedule(t', T0)  with  T0 - t' = (T0 - t0) · (T - t) / (T - t0)

    t' may lie between whole steps. Warmup, hold, milestones and samplings keep their places on the
    curve, at whole steps of T0. T = T0 changes nothing.

    With decay_now the rest of the curve is the decay alone. If t0 is in the hold, the rest of the
    hold is skipped: T0 - t0 in the formula becomes the length of the decay. So a run on a plateau
    can cool down over T - t0 steps at any time.

    With integers, the values have as many digits as the schedule's own, down to the last steps, and
    places are exact. A `Replan` of a `Replan` rounds t' once more. Its places are exact within one
    step and T·2^-21 in float32. Where t, T, t0 or T0 is a float, t' has the digits of a float.

    Args:
        schedule: A schedule, a profile, or any function of (t, T), or its name. A function that is
            not this library's gets t' as a float where t' is not whole. If t is an array, this
            function is called with integers and with floats.
        t0: The moment of the change, in [0, T0), in the unit of t; any shape.
        T0: The budget before the change, > 0; any shape.
        decay_now: Whether the decay starts at t0. Only for a `Schedule`, or a `Clamp` or `Replan`
            of one.

    Raises:
        ValueError: A value is out of range. decay_now is set in a warmup, or for a schedule of
            another kind. At the call: T is not above t0, or the schedule refuses its t or T.

    >>> from rex_core import Schedule, linear
    >>> schedule = Replan(Schedule(linear), 5, 10)
    >>> [schedule(t, 20) for t in (0, 5, 8, 11, 14, 17, 20)]
    [1.0, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    >>> schedule
    Replan(Schedule(linear), 5, 10)
    >>> cooled = Replan(Schedule(linear, decay_steps=1), 5, 10, decay_now=True)
    >>> [cooled(t, 9) for t in (0, 5, 6, 7, 8, 9)]
    [1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    """

    schedule: Function
    t0: Real
    T0: Real
    decay_now: bool
    _planned: Function
    _short: bool

    def __init__(self, schedule: Any, t0: Real, T0: Real, *, decay_now: bool = False) -> None:
        schedule = checked_function("schedule", schedule)
        POSITIVE.check("T0", T0)
        NOT_NEGATIVE.check("t0", t0)
        start, end = concrete(t0), concrete(T0)
        if start is not None and end is not None and not everywhere(start < end):
            raise ValueError(f"t0 must be below T0 = {shown(T0)}; got {shown(t0)}")
        check_truth("decay_now", decay_now)
        t0, T0 = whole_steps(t0), whole_steps(T0)
        self._set(schedule=schedule, t0=t0, T0=T0, decay_now=decay_now)
        if decay_now and start is not None and end is not None:
            spent, total, xp, _ = unify(start, end, others=self._arrays)
            warmup, _ = _phases(schedule, total, spent, xp)
            known = concrete(parts(warmup)[0])
            if known is not None and not everywhere(known <= start):
                raise ValueError(
                    f"t0 must not be in the warmup, which ends at {shown(known)} of T0 = "
                    f"{shown(T0)}, for decay_now; got {shown(t0)}"
                )

    def _derive(self) -> None:
        super()._derive()
        short = self.t0.__class__ is int is self.T0.__class__ and not self._arrays
        self.__dict__.update(
            _planned=taking_moments(self.schedule), _short=short and not self.decay_now
        )

    def _value(self, t: Any, T: Any) -> Any:
        if t.__class__ is int is T.__class__ and self._short and T > self.t0 <= t <= T:
            length = T - self.t0
            steps, rest = divmod((self.T0 - self.t0) * (T - t), length)
            place: Time = self.T0 - steps
            if 2 * rest > length:
                place = Moment(place - 1, (length - rest) / length)
            elif rest:
                place = Moment(place, -rest / length)
            return self._planned(place, self.T0)
        budget = T
        t, T, xp, _ = unify(t, T, others=self._arrays)
        if xp is not math and not (is_integer(self.t0, xp) and is_integer(self.T0, xp)):
            t, T = as_float(t, xp), as_float(T, xp)
        start, end = concrete(self.t0), concrete(budget)
        if start is not None and end is not None and not everywhere(end > start):
            raise ValueError(f"T must be above t0 = {shown(self.t0)}; got {shown(budget)}")
        t, step, t0, T0 = clamp(t, T, xp), last_step(t, xp), self.t0, self.T0
        if xp is not math:
            check_limits("T0", T0, 0, limits(step.dtype, xp)[1], step.dtype)
            real = as_float(step, xp)
            t0, T0 = (alike(v, step if is_integer(v, xp) else real, xp) for v in (t0, T0))
        if not is_integer(step, xp):
            t0, T0 = (float(v) if is_number(v) else v for v in (t0, T0))
        left: Time = T0 - t0
        changed = less(t0, t)
        if self.decay_now:
            _, decay = _phases(self.schedule, T0, step, xp)
            left = where(less(t0, decay), minus(T0, decay, xp), left, xp)
        else:
            changed = changed & (T != T0)
        later = stretched(t, T, t0, clamp(left, T0, xp), T0, xp)
        return self._planned(where(changed | (t0 >= T), later, t, xp), T0)


def stretched(t: Time, T: Real, t0: Real, left: Time, T0: Real, xp: Namespace) -> Time:
    """The moment t' of a budget T0 for a moment t >= t0 of a budget T.

    T0 - t' = left·(T - t)/(T - t0), where left is the rest of the curve at t0. All arguments are
    unified. Where a traced T is not above t0, all is spent.
    """
    total = where(t0 < T, T - t0, 1, xp)
    share = where(t0 < T, clamp(minus(T, t, xp), total, xp), 0, xp)
    if all(is_integer(parts(value)[0], xp) for value in (t, T, t0, left, T0)):
        moment = minus(T0, product(left, share, total, xp), xp)
        return moment.whole if xp is math and moment.part == 0 else moment
    left, share, total, end = (as_float(value, xp) for value in (left, share, total, T0))
    return end - left * (share / total)


def _has_hold(value: Value) -> bool:
    """Whether a schedule holds its peak somewhere."""
    own = isinstance(value, Schedule) and value._start is not value._warmup
    return own or any(map(_has_hold, inner(value)))


def _phases(schedule: Any, T: Real, t: Real, xp: Namespace) -> tuple[Time, Time]:
    """Where the warmup ends and where the decay starts, in a budget of T."""
    if isinstance(schedule, Schedule):
        if any(map(_has_hold, inner(schedule))):
            raise ValueError(
                "schedule must have no hold within its profile for decay_now; "
                f"got {shown(schedule)}"
            )
        return schedule._warmup.at(T, t, xp), schedule._start.at(T, t, xp)
    if isinstance(schedule, Clamp):
        return _phases(schedule.schedule, T, t, xp)
    if not isinstance(schedule, Replan):
        raise ValueError(
            "schedule must be a Schedule, or a Clamp or Replan of one, for decay_now; "
            f"got {shown(schedule)}"
        )
    t0, T0 = (0 * t + (v if xp is math else alike(v, t, xp)) for v in (schedule.t0, schedule.T0))
    warmup, decay = _phases(schedule.schedule, T0, t, xp)
    if schedule.decay_now:
        return warmup, where(less(t0, decay), t0, decay, xp)

    def moved(place: Time) -> Time:
        later = stretched(place, T0, t0, T - t0, T, xp)
        return where(less(t0, place), later, place, xp)

    return moved(warmup), moved(decay)


class Place(NamedTuple):
    """A place in every budget T: steps + share·T. If whole, share·T is rounded up to a step."""

    steps: Fraction
    share: Fraction = Fraction(0)
    whole: bool = False

    def of(self, T: Fraction) -> Fraction:
        """The place in a budget."""
        part = self.share * T
        return self.steps + (math.ceil(part) if self.whole else part)


def phase_places(schedule: Any) -> tuple[Place, Place] | None:
    """Where the warmup ends and the decay starts, in every budget.

    None if Replan refuses the schedule with decay_now, or if its numbers are not known.
    """
    if isinstance(schedule, Clamp):
        return phase_places(schedule.schedule)
    if isinstance(schedule, Schedule) and not any(map(_has_hold, inner(schedule))):
        warmup, decay = _place(schedule._warmup), _place(schedule._start)
        return (warmup, decay) if warmup and decay else None
    if not isinstance(schedule, Replan) or not (is_number(schedule.t0) and is_number(schedule.T0)):
        return None
    planned = phase_places(schedule.schedule)
    if planned is None:
        return None
    t0, T0 = Fraction(schedule.t0), Fraction(schedule.T0)
    end, start = (place.of(T0) for place in planned)
    if schedule.decay_now:
        return Place(end), Place(min(t0, start))
    return _moved(end, t0, T0), _moved(start, t0, T0)


def _place(boundary: Boundary) -> Place | None:
    """The place of a boundary of whole steps, if its numbers are known."""
    if boundary.ratio is None or not all(map(is_number, (boundary.steps, *boundary.ratio))):
        return None
    return Place(Fraction(boundary.steps), Fraction(*boundary.ratio), whole=True)


def _moved(place: Fraction, t0: Fraction, T0: Fraction) -> Place:
    """The place in a later budget of a place in T0, by the rule of `Replan`."""
    if place <= t0:
        return Place(place)
    share = (place - t0) / (T0 - t0)
    return Place(t0 * (1 - share), share)
