"""Schedules: values that are pure functions of (t, T), made of profiles and samplings."""

import inspect
import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import partial
from itertools import accumulate, pairwise
from types import ModuleType
from typing import Any

import numpy as np

from rex_core.moment import Moment
from rex_core.profiles import PROFILES, linear, rex
from rex_core.progress import (
    anything,
    as_float,
    blockwise,
    boundary,
    ceiling,
    check,
    check_fractions,
    check_range,
    clamp,
    completed,
    holds,
    is_array,
    is_integer,
    is_long,
    is_number,
    known,
    less,
    limits,
    minus,
    namespace,
    not_negative,
    plain,
    positive,
    proper,
    rational,
    rationals,
    shortest,
    unify,
    where,
    whole,
)
from rex_core.sampling import SAMPLINGS, every_step

Function = Callable[..., Any]

_VALUES = "peak_value", "end_value", "init_value"
_RATIOS = "warmup_ratio", "hold_ratio"
_MAX_CYCLES = 100


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
    accepted = _parameters(function)
    for name, value in params.items():
        if name not in accepted and "**" not in accepted:
            takes = ", ".join(accepted) or "none"
            raise ValueError(
                f"{name} must be a parameter of {_name(function)}, which takes {takes}; "
                f"got {value!r}"
            )
    values = {name: _tuples(value) for name, value in sorted(params.items())}
    bound = Bound(function, **values)
    check_function("function", bound)
    bound(0, 1)  # The function itself knows which values it accepts.
    return Bound(function, **{name: plain(value) for name, value in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _parameters(function: Function) -> list[str]:
    try:
        if callable(function) and not isinstance(function, Bound | type):
            parameters = inspect.signature(function).parameters.values()
            return ["**" if p.kind is p.VAR_KEYWORD else p.name for p in parameters][2:]
    except ValueError:  # Some functions written in C have none to be seen.
        pass
    raise ValueError(f"function must be a profile or sampling function; got {function!r}")


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
        warmup_steps: w, >= 0, in the unit of t; any shape. Integers for integer t: 2.5 makes floats
            of t and T - t, as a traced float does, with no more digits than those have.
        warmup_ratio: w as a fraction of T, in [0, 1): warmup ends at the first step t with t >=
            warmup_ratio·T.
        warmup_profile: The curve of the warmup.
        hold_ratio: h as a fraction of T, in [0, 1): hold ends at the first step t with t >=
            (warmup_ratio + hold_ratio)·T, or warmup_steps after the first with t >= hold_ratio·T.

    Raises:
        ValueError: A value out of range, both warmup_steps and warmup_ratio given, phases that fill
            T: at construction if the ratios do, at the call if the steps do, or ratios rounded up.

    >>> schedule = Schedule(rex, peak_value=0.1, end_value=0.001, warmup_steps=10)
    >>> [round(schedule(t, 100), 4) for t in (0, 5, 10, 55, 99, 100)]
    [0.0, 0.05, 0.1, 0.067, 0.0032, 0.001]
    >>> schedule
    Schedule(peak_value=0.1, end_value=0.001, warmup_steps=10)

    Source: arXiv 2107.04197 (REX), for profile × sampling.
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
    _arrays: tuple[Any, ...] = field(init=False, repr=False, compare=False)
    _plain: bool = field(init=False, repr=False, compare=False)
    _ratios: bool = field(init=False, repr=False, compare=False)
    _ends: tuple[Any, Any] = field(init=False, repr=False, compare=False)
    _fall: Function = field(init=False, repr=False, compare=False)
    _rise: Function = field(init=False, repr=False, compare=False)
    _blocks: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_function("profile", self.profile, others=SAMPLINGS)
        check_function("sampling", self.sampling, others=PROFILES)
        check_function("warmup_profile", self.warmup_profile, others=SAMPLINGS)
        for name in _VALUES:
            check(name, getattr(self, name), "a finite number", anything)
        for name in _RATIOS:
            check(name, getattr(self, name), "in [0, 1)", proper)
        check("warmup_steps", self.warmup_steps, "a finite number >= 0", not_negative)
        steps, ratio, hold = map(known, (self.warmup_steps, self.warmup_ratio, self.hold_ratio))
        if steps is not None and ratio is not None and not holds((steps == 0) | (ratio == 0)):
            raise ValueError(
                f"warmup_ratio must be 0 where warmup_steps is given; got "
                f"warmup_ratio={self.warmup_ratio!r}, warmup_steps={self.warmup_steps!r}"
            )
        if ratio is not None and hold is not None and not holds(_sum(ratio, hold) < 1):
            raise ValueError(
                f"warmup_ratio + hold_ratio must be below 1; got "
                f"{self.warmup_ratio!r} + {self.hold_ratio!r}"
            )
        for name in (*_VALUES, "warmup_steps", *_RATIOS):
            object.__setattr__(self, name, plain(getattr(self, name)))
        for name in _RATIOS:
            if isinstance(getattr(self, name), int):
                object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "warmup_steps", whole(self.warmup_steps))
        self._derive()

    def _derive(self) -> None:
        numbers = [getattr(self, name) for name in (*_VALUES, "warmup_steps", *_RATIOS)]
        ratio, hold = numbers[-2:]
        ends = None
        if is_number(ratio) and is_number(hold) and 0 <= ratio < 1 and 0 <= hold < 1:
            ends = self._meant(ratio, hold)
        parts = *numbers, self.profile, self.sampling, self.warmup_profile
        object.__setattr__(self, "_arrays", arrays_of(*parts))
        plain = all(map(is_number, numbers)) and isinstance(self.warmup_steps, int)
        object.__setattr__(self, "_plain", plain)
        object.__setattr__(self, "_ratios", plain and numbers[-2:] != [0, 0])
        object.__setattr__(self, "_ends", ends)
        fall = exact(self.profile)
        if self.sampling is not every_step:
            fall = partial(_sampled, fall, exact(self.sampling))
        object.__setattr__(self, "_fall", fall)
        object.__setattr__(self, "_rise", exact(self.warmup_profile))
        functions = self.profile, self.sampling, self.warmup_profile
        blocks = plain and not self._arrays and all(map(is_own, functions))
        object.__setattr__(self, "_blocks", blocks)

    def _meant(self, ratio: Any, hold: Any) -> tuple[Any, Any]:
        """The ends of warmup and hold as exact fractions of T, if they are known."""
        ratio, hold = known(ratio), known(hold)
        both = None if ratio is None or hold is None else _sum(ratio, hold)
        return (
            None if ratio is None else rationals(ratio),
            None if both is None else rationals(both),
        )

    def __call__(self, t: Any, T: Any) -> Any:
        """The value when t of a budget of T is spent."""
        return self._value(t, T, self.peak_value)

    def _value(self, t: Any, T: Any, peak: Any) -> Any:
        """The value with another peak."""
        if self._plain and t.__class__ is int and T.__class__ is int and T > 0:
            xp: ModuleType = math
            end, init = self.end_value, self.init_value
            warmup = start = self.warmup_steps
            if self._ratios:
                (n, d), (m, e) = self._ends
                warmup = start + ceiling(n, d, T)
                start = warmup if m == n and e == d else start + ceiling(m, e, T)
            early, since = t < warmup, t - start
        elif self._blocks and is_long(t, T, peak):
            return blockwise(partial(self._value, peak=peak), t, T)
        else:
            numbers = peak, self.end_value, self.init_value, self.warmup_steps
            budget = T
            t, T, xp, peak, end, init, steps, *_ = unify(t, T, *numbers, *self._arrays)
            like = completed(t, xp)
            if xp is not math:
                self.check_budget(budget, is_integer(T, xp))
                dtype = like.dtype
                check_range("warmup_steps", self.warmup_steps, 0, limits(dtype, xp)[1], dtype)
                t = clamp(t, T, xp)
            warmup, start = self._phases(T, steps, like, xp)
            early, since = less(t, warmup), minus(t, start, xp)
        if xp is math:
            if start >= T:
                raise _no_decay(self, start, T)
            if early and warmup > 0:
                return _between(init, peak, self._rise(minus(warmup, t, xp), warmup))
            return _between(end, peak, self._fall(since, T - start))
        falling = _between(end, peak, self._fall(since, T - start))
        if start is not warmup:  # A traced T may leave no decay: the peak holds until T then.
            falling = where(less(t, start) & less(t, T), peak, falling, xp)
        if is_number(warmup) and warmup == 0:
            return falling
        length = where(warmup > 0, warmup, 1, xp)
        rising = _between(init, peak, self._rise(minus(length, t, xp), length))
        return where(early & (T > 0), rising, falling, xp)

    def _phases(self, T: Any, steps: Any, like: Any, xp: ModuleType) -> tuple[Any, Any]:
        """The ends of warmup and of hold."""
        warmup = start = steps
        ratio, hold = self.warmup_ratio, self.hold_ratio
        ends = self._ends or self._meant(ratio, hold)
        if not is_number(ratio) or ratio:
            warmup = start = steps + boundary(ratio, ends[0], T, like, xp)
        if not is_number(hold) or hold:
            start = steps + boundary(ratio + hold, ends[1], T, like, xp)
        return warmup, start

    def check_budget(self, T: Any, whole: bool) -> None:
        """Refuse phases that fill a known budget, of whole steps or not.

        From what is known outside of a compiler, which would hide even that.
        """
        T, steps, *ratios = map(known, (T, self.warmup_steps, self.warmup_ratio, self.hold_ratio))
        if T is None or steps is None or any(ratio is None for ratio in ratios):
            return
        t, T, xp, steps, *_ = unify(0 if whole else 0.0, T, steps, *ratios)
        _, start = self._phases(T, steps, t, xp)
        if not holds(start < T):
            raise _no_decay(self, start, T)

    def __repr__(self) -> str:
        return call_repr(self)


@dataclass(frozen=True, slots=True, weakref_slot=True, repr=False)
class Join:
    """Schedules one after the other, each over its share of the budget, with its own (t, T).

    Schedule i runs from the first step t with t >= fractions[i - 1]·T to the first with
    t >= fractions[i]·T, and is called there as ``schedule(t - start, end - start)``. A share too
    short for a step is skipped.

    Args:
        schedules: Two or more `Schedule`, `Join`, `Restarts` or `Replan`, or functions of (t, T).
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
    _arrays: tuple[Any, ...] = field(init=False, repr=False, compare=False)
    _ends: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)
    _pieces: tuple[Function, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("schedules", "fractions"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if not isinstance(self.schedules, tuple) or len(self.schedules) < 2:
            raise ValueError(f"schedules must be two or more functions; got {self.schedules!r}")
        for schedule in self.schedules:
            check_function("schedules", schedule, others=SAMPLINGS)
        check_fractions("fractions", self.fractions)
        if len(self.fractions) != len(self.schedules) - 1 or self.fractions[-1] == 1:
            raise ValueError(
                f"fractions must be {len(self.schedules) - 1} increasing numbers in (0, 1), one "
                f"less than schedules; got {self.fractions!r}"
            )
        object.__setattr__(self, "fractions", tuple(map(plain, self.fractions)))
        self._derive()

    def _derive(self) -> None:
        object.__setattr__(self, "_arrays", arrays_of(*self.schedules))
        object.__setattr__(self, "_ends", tuple(map(rational, self.fractions)))
        object.__setattr__(self, "_pieces", tuple(map(exact, self.schedules)))

    def __call__(self, t: Any, T: Any) -> Any:
        """The value when t of a budget of T is spent."""
        t, T, xp, *_ = unify(t, T, *self._arrays)
        t = clamp(t, T, xp)
        like = completed(t, xp)
        edges = [0, *(boundary(None, end, T, like, xp) for end in self._ends), T]
        value = None
        for schedule, (start, end) in zip(self._pieces, pairwise(edges), strict=True):
            empty = end <= start
            if empty is True:
                continue
            length = where(empty, T, end - start, xp)
            piece = schedule(clamp(minus(t, start, xp), length, xp), length)
            before = (empty & (T > 0)) | less(t, start)
            value = piece if value is None else where(before, value, piece, xp)
        return value

    def __repr__(self) -> str:
        return call_repr(self)


@dataclass(frozen=True, slots=True, weakref_slot=True, repr=False)
class Restarts:
    """One schedule several times over, each cycle with its own (t, T): warm restarts.

    Cycle i, from 0, takes a share of T in proportion to period_mult^i, and its peak is
    peak_value·peak_mult^i; end_value and init_value stay. Cycles begin at exact boundaries: at the
    first step t on or after their fraction of T (a ratio up to a denominator of 2^27, or the
    nearest such ratio). A cycle too short for a step is skipped.

    Args:
        schedule: The `Schedule` of a cycle.
        cycles: How many, an integer in [1, 100].
        period_mult: Length of a cycle over that of the one before it, in [0.01, 100].
        peak_mult: Peak of a cycle over that of the one before it, > 0; any shape.

    Raises:
        ValueError: A value out of range, and what the schedule itself refuses.

    >>> restarts = Restarts(Schedule(linear), 2, period_mult=2, peak_mult=0.5)
    >>> [round(restarts(t, 9), 3) for t in range(10)]
    [1.0, 0.667, 0.333, 0.5, 0.417, 0.333, 0.25, 0.167, 0.083, 0.0]

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017,
    arXiv 1608.03983.
    """

    schedule: Schedule
    cycles: int
    _: KW_ONLY
    period_mult: float = 1
    peak_mult: Any = 1
    _arrays: tuple[Any, ...] = field(init=False, repr=False, compare=False)
    _ends: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Schedule):
            raise ValueError(f"schedule must be a Schedule; got {self.schedule!r}")
        for name in ("cycles", "period_mult", "peak_mult"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        if self.cycles.__class__ is not int or not 1 <= self.cycles <= _MAX_CYCLES:
            raise ValueError(
                f"cycles must be an integer in [1, {_MAX_CYCLES}]; got {self.cycles!r}"
            )
        if not is_number(self.period_mult) or not 0.01 <= self.period_mult <= 100:
            raise ValueError(f"period_mult must be in [0.01, 100]; got {self.period_mult!r}")
        check("peak_mult", self.peak_mult, "a finite number > 0", positive)
        self._derive()

    def _derive(self) -> None:
        mult = shortest(self.period_mult)
        ends = list(accumulate(mult**cycle for cycle in range(self.cycles)))
        object.__setattr__(self, "_arrays", arrays_of(self.schedule, self.peak_mult))
        object.__setattr__(self, "_ends", tuple(rationals(end / ends[-1]) for end in ends))

    def __call__(self, t: Any, T: Any) -> Any:
        """The value when t of a budget of T is spent."""
        t, T, xp, peak_mult, *_ = unify(t, T, self.peak_mult, *self._arrays)
        t = clamp(t, T, xp)
        like = completed(t, xp)
        edges = [0, *(boundary(None, end, T, like, xp) for end in self._ends)]
        # A cycle too short for its phases is refused now, not when it comes.
        for length in _lengths(edges):
            self.schedule.check_budget(length, is_integer(T, xp))
        start, end, scale = 0 * like, 0 * like + edges[1], as_float(0 * like, xp) + 1.0
        for cycle, (cycle_start, cycle_end) in enumerate(pairwise(edges)):
            here = (like >= cycle_start) & (cycle_end > cycle_start)
            start = where(here, cycle_start, start, xp)
            end = where(here, cycle_end, end, xp)
            scale = where(here, peak_mult**cycle, scale, xp)
        peak = self.schedule.peak_value * scale
        return self.schedule._value(minus(t, start, xp), end - start, peak)

    def __repr__(self) -> str:
        return call_repr(self)


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


def _sum(a: Any, b: Any) -> Any:
    """The exact sum of known fractions, as their writers meant them."""
    if is_number(a) and is_number(b):
        return shortest(a) + shortest(b)
    return np.frompyfunc(lambda a, b: shortest(a) + shortest(b), 2, 1)(a, b)


def _lengths(edges: list[Any]) -> set[Any]:
    """The distances of neighbours, as far as they are known, that are not empty."""
    found: set[Any] = set()
    for start, end in pairwise(edges):
        length = known(end - start)
        if length is not None:
            found.update([length] if is_number(length) else length.reshape(-1).tolist())
    return {length for length in found if length > 0}


def arrays_of(*parts: Any) -> tuple[Any, ...]:
    """The arrays among the parts, and among theirs."""
    found: list[Any] = []
    for part in parts:
        if isinstance(part, Bound):
            found += arrays_of(*part.keywords.values())
        elif is_array(part):
            found.append(part)
        else:
            found += getattr(part, "_arrays", ())
    return tuple(found)


def _no_decay(schedule: Schedule, start: Any, T: Any) -> ValueError:
    names = "warmup_steps", *_RATIOS
    phases = [
        name for name in names if is_array(getattr(schedule, name)) or getattr(schedule, name)
    ]
    return ValueError(
        f"{' + '.join(phases)} must end before T, the budget or its share in a Join or Restarts; "
        f"got an end at {start} of T = {T}"
    )


def exact(function: Function) -> Function:
    """The function for a t that may be a `Moment`, of which one from elsewhere knows nothing."""
    return function if is_own(function) else partial(_either, function)


def is_own(function: Function) -> bool:
    """Whether a function is this library's, bound or not."""
    base = function.func if isinstance(function, Bound) else function
    return base in PROFILES or base in SAMPLINGS or _is_value(base)


def _either(function: Function, t: Any, T: Any) -> Any:
    """The value at a whole step, if that is what t is, and at a float between steps."""
    if t.__class__ is not Moment:
        return function(t, T)
    between = function(t.rounded(), T)
    if is_number(t.part):
        return between if t.part else function(t.whole, T)
    return where(t.part == 0, function(t.whole, T), between, namespace(t.part))


def _sampled(profile: Function, sampling: Function, t: Any, T: Any) -> Any:
    return profile(sampling(t, T), T)


def _is_value(function: Function) -> bool:
    """Whether a function is a `Schedule`, or one of the values made of them."""
    return hasattr(function, "_arrays")


def check_function(name: str, function: Any, others: tuple[Function, ...] = ()) -> None:
    """Accept functions of (t, T), bound if they need more, and none of the others."""
    base, given = (
        (function.func, function.keywords) if isinstance(function, Bound) else (function, {})
    )
    if not callable(function) or isinstance(function, type):
        raise ValueError(f"{name} must be a function of (t, T); got {function!r}")
    if base in others or (others is PROFILES and _is_value(base)):
        kind = "sampling" if others is SAMPLINGS else "profile"
        raise ValueError(f"{name} must not be a {kind}; got {_name(function)}")
    if inspect.isfunction(base):
        code = base.__code__
        names = code.co_varnames[: code.co_argcount - len(base.__defaults__ or ())]
        required = [param for param in names if param not in given]
        if len(required) > 2 or (code.co_argcount < 2 and not code.co_flags & inspect.CO_VARARGS):
            raise ValueError(f"{name} must be a function of (t, T); got {function!r}")
        defaults = base.__kwdefaults__ or {}
        needed = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        missing = [param for param in needed if param not in defaults and param not in given]
        if missing:
            raise ValueError(
                f"{name} must be bound to a value of {', '.join(missing)}: "
                f"bind({base.__name__}, {missing[0]}=...); got {_name(function)}"
            )


def _name(function: Any) -> str:
    return function.__name__ if hasattr(function, "__name__") else repr(function)


def _text(content: Any) -> str:
    if isinstance(content, tuple):
        return f"({', '.join(map(_text, content))}{',' if len(content) == 1 else ''})"
    return _name(content) if inspect.isfunction(content) else repr(content)


def call_repr(value: Any) -> str:
    """The call that makes the value, defaults left out."""
    shown, positional = [], True
    for item in fields(value):
        content = getattr(value, item.name)
        if not item.init:
            continue
        if not is_array(content) and content == item.default:
            positional = False
            continue
        named = item.kw_only or not positional
        shown.append(f"{item.name}={_text(content)}" if named else _text(content))
    return f"{type(value).__name__}({', '.join(shown)})"
