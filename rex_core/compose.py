"""Schedules made of schedules: one after the other, again and again, multiplied, kept in bounds."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from rex_core.arrays import (
    Real,
    alike,
    concrete,
    everywhere,
    is_integer,
    is_number,
    shown,
)
from rex_core.boundary import Boundary, Milestone, Milestones, meant, places
from rex_core.functions import Function, Timed, taking_moments
from rex_core.moment import as_float, clamp, last_step, minus, where
from rex_core.progress import unify
from rex_core.ranges import ANY, Range, check_truth
from rex_core.schedule import Schedule
from rex_core.spec import checked_function

_MAX_SCHEDULES = 1000
_CYCLES = Range(1, 100, integers=True)
_PERIOD_MULT = Range(0.01, 100)
_PEAK_MULT = Range(0, ends="(]")


class Join(Timed, kind=True):
    """Schedules one after the other, each over its share of the budget, with its own (t, T).

    Schedule i runs from milestone i - 1 to milestone i. There it is called as ``schedule(t - start,
    end - start)``. With local=False it is called as ``schedule(t, T)``: it counts from 0, and takes
    effect at its milestone. A share too short for a step is skipped.

    Args:
        schedules: Two or more schedules, profiles or other functions of (t, T), or their names.
        milestones: Where the next schedule begins: increasing places, one fewer than schedules. A
            share of the budget in (0, 1) is the first step t with t >= share·T. A positive integer
            counts steps from the start, a negative one steps back from the end.
        local: Whether each schedule has a (t, T) of its own.

    Raises:
        ValueError: There are not two or more schedules and one milestone fewer. A place is out of
            range. A schedule is no function of (t, T). At the call: a place is not in the budget,
            or a schedule refuses its t or T.

    >>> from rex_core import constant, linear
    >>> join = Join([Schedule(peak_value=0.5), linear], [0.5])
    >>> [round(join(t, 8), 4) for t in range(9)]
    [0.5, 0.4286, 0.3333, 0.2, 1.0, 0.75, 0.5, 0.25, 0.0]
    >>> Join([constant, Schedule(linear, peak_value=0.5)], [-4])(8, 10)
    0.25
    """

    schedules: tuple[Function, ...]
    milestones: tuple[Milestone, ...]
    local: bool
    _milestones: tuple[Boundary, ...]
    _functions: list[Function]

    def __init__(
        self,
        schedules: Sequence[Any],
        milestones: Sequence[Milestone],
        *,
        local: bool = True,
    ) -> None:
        functions = checked_functions(schedules)
        Milestones().check("milestones", milestones)
        if len(milestones) != len(functions) - 1 or (
            isinstance(milestones[-1], float | Fraction) and milestones[-1] == 1
        ):
            raise ValueError(
                f"milestones must be {len(functions) - 1}, one less than schedules, and shares of "
                f"the budget in (0, 1); got {shown(milestones)}"
            )
        check_truth("local", local)
        self._set(schedules=functions, milestones=Milestones().stored(milestones), local=local)

    def _derive(self) -> None:
        super()._derive()
        self.__dict__.update(
            _milestones=Milestones().ready(self.milestones),
            _functions=[*map(taking_moments, self.schedules)],
        )

    def _value(self, t: Any, T: Any) -> Any:
        t, T, xp, _ = unify(t, T, others=self._arrays)
        t = clamp(t, T, xp)
        step = last_step(t, xp)
        edges = [0, *places(self._milestones, T, step, xp), T]
        value: Any = None
        for function, (start, end) in zip(self._functions, pairwise(edges), strict=True):
            empty = end <= start
            if empty is True:
                continue
            length = where(empty, T, end - start, xp)
            own = clamp(minus(t, start, xp), length, xp), length
            found = function(*(own if self.local else (t, T)))
            before = (empty & (T > 0)) | (step < start)
            value = found if value is None else where(before, value, found, xp)
        return value


class Restarts(Timed, kind=True):
    """One schedule several times over, each cycle with its own (t, T): warm restarts.

    Cycles count from 0. Cycle i takes a share of T in proportion to period_mult^i. Its peak is
    peak_value·peak_mult^i. end_value and init_value stay. Each cycle begins at the first step t on
    or after its share of T. This step is exact up to a denominator of 2^26. A cycle too short for a
    step is skipped.

    Args:
        schedule: The schedule of a cycle: a `Schedule`. If peak_mult is 1, any other value, profile
            or function of (t, T) too.
        cycles: How many, an integer in [1, 100].
        period_mult: The length of a cycle divided by the length of the one before, in [0.01, 100].
        peak_mult: The peak of a cycle divided by the peak of the one before, > 0; any shape. Each
            peak must stay on its side of end_value.

    Raises:
        ValueError: A value is out of range, or the schedule refuses its t or T.

    >>> from rex_core import linear
    >>> restarts = Restarts(Schedule(linear), 2, period_mult=2, peak_mult=0.5)
    >>> [round(restarts(t, 9), 3) for t in range(10)]
    [1.0, 0.667, 0.333, 0.5, 0.417, 0.333, 0.25, 0.167, 0.083, 0.0]

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017,
    arXiv 1608.03983.
    """

    schedule: Function
    cycles: int
    period_mult: float
    peak_mult: Real
    _ends: tuple[Boundary, ...]
    _same: bool
    _checked: int | None  # The budget of the last call, if its cycles were checked.
    _function: Function

    def __init__(
        self, schedule: Any, cycles: int, *, period_mult: float = 1, peak_mult: Real = 1
    ) -> None:
        schedule = checked_function("schedule", schedule)
        _CYCLES.check("cycles", cycles)
        cycles = _CYCLES.stored(cycles)
        if not isinstance(cycles, int):
            raise ValueError(f"cycles must be {_CYCLES}; got {shown(cycles)}")
        period_mult = _PERIOD_MULT.single("period_mult", period_mult)
        _PEAK_MULT.check("peak_mult", peak_mult)
        peak_mult = _PEAK_MULT.stored(peak_mult)
        if isinstance(schedule, Schedule):
            _check_peaks(schedule, cycles, peak_mult)
        elif not is_number(peak_mult) or peak_mult != 1:
            raise ValueError(
                f"schedule must be a Schedule where peak_mult is not 1; got {shown(schedule)}"
            )
        self._set(schedule=schedule, cycles=cycles, period_mult=period_mult, peak_mult=peak_mult)

    def _derive(self) -> None:
        super()._derive()
        ends = [*accumulate(meant(self.period_mult) ** cycle for cycle in range(self.cycles))]
        self.__dict__.update(
            _ends=tuple(Boundary(0, end / ends[-1]) for end in ends),
            _same=is_number(self.peak_mult) and self.peak_mult == 1,
            _checked=None,
            _function=taking_moments(self.schedule),
        )

    def _value(self, t: Any, T: Any) -> Any:
        numbers = {"peak_mult": self.peak_mult}
        t, T, xp, numbers = unify(t, T, numbers, self._arrays)
        t = clamp(t, T, xp)
        step = last_step(t, xp)
        edges = [0, *(end.at(T, step, xp) for end in self._ends)]
        known = int(T) if is_number(T) and is_integer(T, xp) else None
        checked = known is not None and self._checked == known
        if isinstance(self.schedule, Timed) and not checked:
            # A cycle too short for its phases is refused now, not when t comes there.
            if not self._arrays:
                for length in _lengths(edges):
                    self.schedule(0, length)
            elif isinstance(self.schedule, Schedule):
                for start, end in pairwise(edges):
                    length = where(end > start, end - start, T, xp)
                    self.schedule.check_budget(length, is_integer(T, xp))
            self.__dict__["_checked"] = known
        start, end, scale = 0 * step, 0 * step + edges[1], as_float(0 * step, xp) + 1.0
        for cycle, (cycle_start, cycle_end) in enumerate(pairwise(edges)):
            here = (step >= cycle_start) & (cycle_end > cycle_start)
            start = where(here, cycle_start, start, xp)
            end = where(here, cycle_end, end, xp)
            scale = where(here, numbers["peak_mult"] ** cycle, scale, xp)
        own = minus(t, start, xp), end - start
        if self._same or not isinstance(self.schedule, Schedule):
            return self._function(*own)
        peak = self.schedule.peak_value
        peak = peak if xp is math else alike(peak, scale, xp)
        return self.schedule._of_arrays(*own, peak_value=peak * scale)


class Product(Timed, kind=True):
    """The product of schedules at the same (t, T), written ``a * b``.

    One factor may be a warmup over a curve that counts from 0, or the scale of another factor.

    Args:
        schedules: Two or more schedules, profiles or other functions of (t, T), or their names.

    Raises:
        ValueError: schedules are not two or more functions of (t, T); at the call, one of them
            refuses t or T.

    >>> from rex_core import constant, linear
    >>> product = Schedule(constant, warmup_steps=4) * linear
    >>> product
    Product((Schedule(constant, warmup_steps=4), linear))
    >>> [product(t, 8) for t in range(9)]
    [0.0, 0.21875, 0.375, 0.46875, 0.5, 0.375, 0.25, 0.125, 0.0]
    """

    schedules: tuple[Function, ...]
    _functions: list[Function]

    def __init__(self, schedules: Sequence[Any]) -> None:
        self._set(schedules=checked_functions(schedules))

    def _derive(self) -> None:
        super()._derive()
        self.__dict__["_functions"] = [*map(taking_moments, self.schedules)]

    def _value(self, t: Any, T: Any) -> Any:
        t, T, xp, _ = unify(t, T, others=self._arrays)
        first, *rest = self._functions
        value = as_float(first(t, T), xp)
        for function in rest:
            value = value * as_float(function(t, T), xp)
        return value


class Clamp(Timed, kind=True):
    """A schedule that is kept in bounds: min(max(schedule(t, T), least), most).

    The bounds hold in a warmup too. For a floor of the decay alone, make the `Clamp` the profile of
    a `Schedule`: ``Schedule(Clamp(profile, least=0.1), warmup_steps=100)``. The floor is a share of
    the peak then.

    Args:
        schedule: A schedule, profile or other function of (t, T), or its name.
        least: The lower bound, or None; any shape.
        most: The upper bound, or None; any shape.

    Raises:
        ValueError: No bound is given; least is above most; schedule is no function of (t, T); at
            the call, the schedule refuses t or T.

    >>> from rex_core import linear
    >>> [Clamp(linear, least=0.25)(t, 8) for t in range(9)]
    [1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.25, 0.25]
    """

    schedule: Function
    least: Real | None
    most: Real | None
    _function: Function

    def __init__(
        self, schedule: Any, *, least: Real | None = None, most: Real | None = None
    ) -> None:
        bounds = {"least": least, "most": most}
        for name, bound in bounds.items():
            if bound is not None:
                ANY.check(name, bound)
                bound = ANY.stored(bound)
                bounds[name] = 1.0 * bound if is_number(bound) else bound
        if least is None and most is None:
            raise ValueError("least must be a finite number, or most must; got None for both")
        if least is not None and most is not None:
            low, high = concrete(least), concrete(most)
            if low is not None and high is not None and not everywhere(low <= high):
                raise ValueError(f"least must be at most most = {shown(most)}; got {shown(least)}")
        self._set(schedule=checked_function("schedule", schedule), **bounds)

    def _derive(self) -> None:
        super()._derive()
        self.__dict__["_function"] = taking_moments(self.schedule)

    def _value(self, t: Any, T: Any) -> Any:
        bounds = {name: v for name in ("least", "most") if (v := getattr(self, name)) is not None}
        t, T, xp, bounds = unify(t, T, bounds, self._arrays)
        value = 1.0 * as_float(self._function(t, T), xp)
        if "least" in bounds:
            value = where(value < bounds["least"], bounds["least"], value, xp)
        if "most" in bounds:
            value = where(value > bounds["most"], bounds["most"], value, xp)
        return value


def checked_functions(schedules: Any) -> tuple[Function, ...]:
    """Two or more functions of (t, T)."""
    items = [] if isinstance(schedules, str) or not isinstance(schedules, Sequence) else schedules
    if not 2 <= len(items) <= _MAX_SCHEDULES:
        raise ValueError(
            f"schedules must be 2 to {_MAX_SCHEDULES} functions of (t, T); got {shown(schedules)}"
        )
    return tuple(checked_function("schedules", item) for item in items)


def _check_peaks(schedule: Schedule, cycles: int, peak_mult: Real) -> None:
    """Refuse peaks that are too large for a float, or that cross the end value."""
    peak, end, mult = map(concrete, (schedule.peak_value, schedule.end_value, peak_mult))
    if peak is None or end is None or mult is None:
        return
    with np.errstate(over="ignore"):
        last = np.float64(mult) ** (cycles - 1) * np.float64(peak)
        same_side = np.sign(last - end) * np.sign(np.float64(peak) - end) >= 0
    if not everywhere(np.isfinite(last)):
        raise ValueError(
            f"peak_mult must keep each of {cycles} peaks finite; got {shown(peak_mult)}"
        )
    if not everywhere(same_side):
        raise ValueError(
            f"peak_mult must keep each of {cycles} peaks on its side of end_value = "
            f"{shown(schedule.end_value)}; got {shown(peak_mult)} for a first peak of "
            f"{shown(schedule.peak_value)}"
        )


def _lengths(edges: list[Any]) -> set[Any]:
    """The distances between neighbouring edges that are known and above 0."""
    found: set[Any] = set()
    for start, end in pairwise(edges):
        length = concrete(end - start)
        if length is not None:
            found.update([length] if is_number(length) else length.reshape(-1).tolist())
    return {length for length in found if length > 0}
