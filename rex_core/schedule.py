"""Schedules: values that are pure functions of (t, T), made of profiles and samplings."""

import inspect
import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, fields
from fractions import Fraction
from functools import partial
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np

from rex_core.profiles import PROFILES, linear, rex
from rex_core.progress import (
    LARGEST,
    boundaries,
    boundary,
    check,
    check_count,
    check_finite,
    exactly,
    finite,
    is_array,
    is_integer,
    is_number,
    known,
    unify,
    where,
)
from rex_core.sampling import SAMPLINGS, every_step

Function = Callable[..., Any]

_NUMBERS = (
    "peak_value",
    "end_value",
    "init_value",
    "warmup_steps",
    "warmup_ratio",
    "hold_ratio",
)


class Bound(partial[Any]):
    """A profile or sampling with its parameters fixed: what `bind` returns."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bound):
            return NotImplemented
        return self.func == other.func and self.keywords == other.keywords

    def __hash__(self) -> int:
        return hash((self.func, tuple(sorted(self.keywords.items()))))

    def __repr__(self) -> str:
        params = [f"{name}={value!r}" for name, value in self.keywords.items()]
        return f"bind({', '.join([_name(self.func), *params])})"

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a bound function is a value; {name} cannot be set")


def bind(function: Function, /, **params: Any) -> Bound:
    """Fix the parameters of a profile or a sampling.

    Args:
        function: A profile or a sampling, called as ``function(t, T, **params)``.
        **params: Its parameters; numbers may be arrays, and may be traced.

    Returns:
        A function of (t, T) that compares, hashes and pickles by value.

    Raises:
        ValueError: The function has no such parameter, or refuses its value.

    >>> profile = bind(rex, beta=0.9)
    >>> profile
    bind(rex, beta=0.9)
    >>> profile(50, 100) == rex(50, 100, beta=0.9), profile == bind(rex, beta=0.9)
    (True, True)
    """
    if not callable(function) or isinstance(function, Bound):
        raise ValueError(f"function must be a profile or sampling function; got {function!r}")
    accepted = list(inspect.signature(function).parameters)[2:]
    for name, value in params.items():
        if name not in accepted:
            takes = ", ".join(accepted) or "none"
            raise ValueError(
                f"{name} must be a parameter of {_name(function)}, which takes {takes}; "
                f"got {value!r}"
            )
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in params.items()}
    bound = Bound(function, **values)
    bound(0, 1)  # The function itself knows which values it accepts.
    return bound


@dataclass(frozen=True, slots=True, weakref_slot=True, repr=False)
class Schedule:
    """A budget-aware schedule: warmup, hold, then a profile, read by a sampling, over what is left.

    With w steps of warmup, h of hold, and D = T - w - h::

        t <= w      init_value + (peak_value - init_value) · warmup_profile(w - t, w)
        t <= w + h  peak_value
        t >= w + h  end_value + (peak_value - end_value) · profile(sampling(t - w - h, D), D)

    T counts everything, warmup included. Warmup is a decay reversed in time; init_value is what it
    starts from if its profile ends at 0. The value is held at the end it passed outside [0, T].

    Args:
        profile: The curve of the decay, a profile or a bound one.
        sampling: How often it is read, a sampling or a bound one.
        peak_value: The value at the end of warmup; any shape.
        end_value: The value where the profile is 0, absolute (not a share of the peak); any shape.
        init_value: The value at t = 0 if there is warmup; any shape.
        warmup_steps: w, >= 0, in the unit of t; any shape.
        warmup_ratio: w as a fraction of T, in [0, 1): w is the first step t with t >=
            warmup_ratio·T.
        warmup_profile: The curve of the warmup.
        hold_ratio: h as a fraction of T, in [0, 1), rounded like w.

    Raises:
        ValueError: A value out of range, both warmup_steps and warmup_ratio given, phases that fill
            T (ratios at construction, steps at the call).

    >>> schedule = Schedule(rex, peak_value=0.1, end_value=0.001, warmup_steps=10)
    >>> [round(schedule(t, 100), 4) for t in (0, 5, 10, 55, 99, 100)]
    [0.0, 0.05, 0.1, 0.067, 0.0032, 0.001]
    >>> schedule
    Schedule(peak_value=0.1, end_value=0.001, warmup_steps=10)

    Source: arXiv 2107.04197 (REX), section 3, for profile × sampling.
    """

    profile: Function = rex
    sampling: Function = every_step
    _: KW_ONLY
    peak_value: Any = 1.0
    end_value: Any = 0.0
    init_value: Any = 0.0
    warmup_steps: Any = 0
    warmup_ratio: Any = 0.0
    warmup_profile: Function = linear
    hold_ratio: Any = 0.0
    _plain: bool = field(init=False, repr=False, compare=False)
    _ratios: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_function("profile", self.profile, others=SAMPLINGS)
        check_function("sampling", self.sampling, others=PROFILES)
        check_function("warmup_profile", self.warmup_profile, others=SAMPLINGS)
        for name in ("peak_value", "end_value", "init_value"):
            check_finite(name, getattr(self, name))
        check("warmup_steps", self.warmup_steps, "a finite number >= 0", _from_zero)
        for name in ("warmup_ratio", "hold_ratio"):
            check(name, getattr(self, name), "in [0, 1)", lambda p: (p >= 0) & (p < 1))
        steps, ratio, hold = map(known, (self.warmup_steps, self.warmup_ratio, self.hold_ratio))
        if steps is not None and ratio is not None and np.any((steps != 0) & (ratio != 0)):
            raise ValueError(
                f"warmup_ratio must be 0 where warmup_steps is given; got "
                f"warmup_ratio={self.warmup_ratio!r}, warmup_steps={self.warmup_steps!r}"
            )
        if ratio is not None and hold is not None and np.any(ratio + hold >= 1):
            raise ValueError(
                f"warmup_ratio + hold_ratio must be below 1; got "
                f"{self.warmup_ratio!r} + {self.hold_ratio!r}"
            )
        self._derive()

    def _derive(self) -> None:
        plain = all(is_number(getattr(self, name)) for name in _NUMBERS)
        object.__setattr__(self, "_plain", plain)
        ratios = self.warmup_ratio, self.hold_ratio
        object.__setattr__(self, "_ratios", not plain or ratios != (0, 0))

    def __call__(self, t: Any, T: Any) -> Any:
        """The value when t of a budget of T is spent."""
        peak, end, init = self.peak_value, self.end_value, self.init_value
        if self._plain and t.__class__ is int and T.__class__ is int and T > 0:
            xp: ModuleType = math
            warmup = start = self.warmup_steps
            if self._ratios:
                warmup, start = _boundaries(T, xp, warmup, self.warmup_ratio, self.hold_ratio)
        else:
            budget, ratios = T, (self.warmup_ratio, self.hold_ratio)
            numbers = peak, end, init, self.warmup_steps, *ratios
            t, T, xp, peak, end, init, warmup, *_ = unify(t, T, *numbers)
            if xp is not math:
                self._check_phases(0 if is_integer(T, xp) else 0.0, budget)
            warmup, start = _boundaries(T, xp, warmup, *ratios)
        if xp is math:
            if start >= T:
                raise _no_decay(start, T)
            if t < warmup and warmup > 0:
                return _between(init, peak, self.warmup_profile(warmup - t, warmup))
            return _between(end, peak, self._decay(t - start, T - start))
        falling = _between(end, peak, self._decay(t - start, T - start))
        if start is not warmup:  # A traced T may leave no decay: the peak holds until T then.
            falling = where((t < start) & (t < T), peak + 0.0 * falling, falling, xp)
        if is_number(warmup) and warmup == 0:
            return falling
        length = warmup if is_number(warmup) else where(warmup > 0, warmup, 1, xp)
        rising = _between(init, peak, self.warmup_profile(length - t, length))
        return where(t < warmup, rising, falling, xp)

    def _decay(self, t: Any, T: Any) -> Any:
        if self.sampling is not every_step:
            t = self.sampling(t, T)
        return self.profile(t, T)

    def _check_phases(self, t: Any, T: Any) -> None:
        """Refuse, from what is known, phases that fill T; a compiler would hide even that."""
        T, *phases = map(known, (T, self.warmup_steps, self.warmup_ratio, self.hold_ratio))
        if T is None or any(phase is None for phase in phases):
            return
        _, T, xp, *phases = unify(t, T, *phases)
        _, start = _boundaries(T, xp, *phases)
        if np.any(start >= T):
            raise _no_decay(start, T)

    def __repr__(self) -> str:
        return _call_repr(self)


_PARTS = [item.name for item in fields(Schedule) if item.init]


@dataclass(frozen=True, slots=True, weakref_slot=True, repr=False)
class Join:
    """Schedules one after the other, each over its share of the budget, with its own (t, T).

    Schedule i runs from the first step t with t >= fractions[i - 1]·T to the first with
    t >= fractions[i]·T, and is called there as ``schedule(t - start, end - start)``. A share too
    short for a step is skipped.

    Args:
        schedules: Two or more `Schedule`, `Join` or `Restarts`, or functions of (t, T).
        fractions: Where the second and each further one begins: increasing, in (0, 1).

    Raises:
        ValueError: Not one fraction less than schedules, fractions not increasing in (0, 1), and
            what the schedules themselves refuse.

    >>> join = Join([Schedule(linear), Schedule(linear, peak_value=0.5)], [0.6])
    >>> [round(join(t, 10), 3) for t in range(11)]
    [1.0, 0.833, 0.667, 0.5, 0.333, 0.167, 0.5, 0.375, 0.25, 0.125, 0.0]
    """

    schedules: tuple[Function, ...]
    fractions: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("schedules", "fractions"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if not isinstance(self.schedules, tuple) or not all(map(callable, self.schedules)):
            raise ValueError(f"schedules must be functions of (t, T); got {self.schedules!r}")
        boundaries("fractions", self.fractions, 1, math)
        if len(self.fractions) != len(self.schedules) - 1 or self.fractions[-1] == 1:
            raise ValueError(
                f"fractions must be {len(self.schedules) - 1} increasing numbers in (0, 1), one "
                f"less than schedules; got {self.fractions!r}"
            )

    def __call__(self, t: Any, T: Any) -> Any:
        """The value when t of a budget of T is spent."""
        t, T, xp = unify(t, T)
        edges = [0 * T, *boundaries("fractions", self.fractions, T, xp), T]
        value = None
        for schedule, (start, end) in zip(self.schedules, pairwise(edges), strict=True):
            empty = end <= start
            piece = schedule(t - start, where(empty, T, end - start, xp))
            value = piece if value is None else where(empty | (t < start), value, piece, xp)
        return value

    def __repr__(self) -> str:
        return _call_repr(self)


@dataclass(frozen=True, slots=True, weakref_slot=True, repr=False)
class Restarts:
    """One schedule several times over, each cycle with its own (t, T): warm restarts.

    Cycle i, from 0, takes a share of T in proportion to period_mult^i, and its peak is
    peak_value·peak_mult^i; end_value and init_value stay. Cycles begin at exact boundaries: at the
    first step t on or after their fraction of T. A cycle too short for a step is skipped.

    Args:
        schedule: The `Schedule` of a cycle.
        cycles: How many, an integer >= 1.
        period_mult: Length of a cycle over that of the one before it, > 0.
        peak_mult: Peak of a cycle over that of the one before it, > 0; any shape.

    Raises:
        ValueError: A value out of range, and what the schedule itself refuses.

    >>> restarts = Restarts(Schedule(linear), 2, period_mult=2, peak_mult=0.5)
    >>> [round(restarts(t, 9), 3) for t in range(10)]
    [1.0, 0.667, 0.333, 0.5, 0.417, 0.333, 0.25, 0.167, 0.083, 0.0]

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017,
    arXiv 1608.03983, section 3.
    """

    schedule: Schedule
    cycles: int
    _: KW_ONLY
    period_mult: float = 1
    peak_mult: Any = 1
    _fractions: tuple[Fraction, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Schedule):
            raise ValueError(f"schedule must be a Schedule; got {self.schedule!r}")
        if not isinstance(self.cycles, int) or isinstance(self.cycles, bool) or self.cycles < 1:
            raise ValueError(f"cycles must be an integer >= 1; got {self.cycles!r}")
        if not is_number(self.period_mult) or not 0 < self.period_mult <= LARGEST:
            raise ValueError(f"period_mult must be a finite number > 0; got {self.period_mult!r}")
        check("peak_mult", self.peak_mult, "a finite number > 0", lambda m: finite(m) & (m > 0))
        self._derive()

    def _derive(self) -> None:
        lengths = [exactly(self.period_mult) ** i for i in range(self.cycles)]
        ends = [sum(lengths[: i + 1]) / sum(lengths) for i in range(self.cycles)]
        object.__setattr__(self, "_fractions", tuple(ends))

    def __call__(self, t: Any, T: Any) -> Any:
        """The value when t of a budget of T is spent."""
        t, T, xp, peak_mult = unify(t, T, self.peak_mult)
        edges = [0 * T, *boundaries("cycles", self._fractions, T, xp)]
        if xp is math:  # A cycle too short for its warmup is refused now, not when it comes.
            for length in {b - a for a, b in pairwise(edges)} - {0}:
                self.schedule(0, length)
        start, end, scale = edges[0], edges[1], 1.0
        for cycle, (cycle_start, cycle_end) in enumerate(pairwise(edges)):
            here = (t >= cycle_start) & (cycle_end > cycle_start)
            start = where(here, cycle_start, start, xp)
            end = where(here, cycle_end, end, xp)
            scale = where(here, peak_mult**cycle, scale, xp)
        parts = {name: getattr(self.schedule, name) for name in _PARTS}
        parts["peak_value"] = parts["peak_value"] * scale
        return restore(Schedule, parts)(t - start, end - start)

    def __repr__(self) -> str:
        return _call_repr(self)


def restore(kind: type[Any], values: dict[str, Any]) -> Any:
    """A value from its fields, unchecked: pytrees carry tracers and placeholders in them."""
    value = object.__new__(kind)
    for name, content in values.items():
        object.__setattr__(value, name, content)
    if hasattr(value, "_derive"):
        value._derive()
    return value


def _between(floor: Any, peak: Any, factor: Any) -> Any:
    """Floor at factor 0 and peak at factor 1, both exactly."""
    return peak * factor + floor * (1.0 - factor)


def _boundaries(T: Any, xp: ModuleType, steps: Any, ratio: Any, hold: Any) -> tuple[Any, Any]:
    """The ends of warmup and of hold."""
    if xp is not math:
        check_count("warmup_steps", steps, xp)
    warmup = steps
    if ratio.__class__ is not float or ratio != 0.0:
        warmup = warmup + boundary(ratio, T, xp)
    if hold.__class__ is not float or hold != 0.0:
        return warmup, warmup + boundary(hold, T, xp)
    return warmup, warmup


def _no_decay(start: Any, T: Any) -> ValueError:
    return ValueError(
        f"warmup_steps or warmup_ratio, and hold_ratio, must end before T; got an end at {start} "
        f"of T = {T}"
    )


def _from_zero(value: Any) -> Any:
    return finite(value) & (value >= 0)


def check_function(name: str, function: Any, others: tuple[Function, ...] = ()) -> None:
    """Accept functions of (t, T), bound if they need more, and none of the others."""
    base = function.func if isinstance(function, Bound) else function
    if not callable(function) or isinstance(function, type):
        raise ValueError(f"{name} must be a function of (t, T); got {function!r}")
    if base in others:
        kind = "sampling" if others is SAMPLINGS else "profile"
        raise ValueError(f"{name} must not be a {kind}; got {_name(function)}")
    if inspect.isfunction(function):
        defaults = function.__kwdefaults__ or {}
        code = function.__code__
        needed = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        missing = [param for param in needed if param not in defaults]
        if missing:
            raise ValueError(
                f"{name} must be bound to a value of {', '.join(missing)}: "
                f"bind({function.__name__}, {missing[0]}=...); got {function.__name__}"
            )


def _name(function: Any) -> str:
    return function.__name__ if hasattr(function, "__name__") else repr(function)


def _call_repr(value: Any) -> str:
    """The call that makes the value, defaults left out."""
    shown = []
    for item in fields(value):
        content = getattr(value, item.name)
        if item.init and (is_array(content) or content != item.default):
            text = repr(content) if not inspect.isfunction(content) else _name(content)
            shown.append(f"{item.name}={text}" if item.kw_only else text)
    return f"{type(value).__name__}({', '.join(shown)})"
