"""Schedule: a profile and a sampling over a budget, after a warmup and a hold."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rex_core.arrays import (
    Array,
    Namespace,
    Real,
    check_limits,
    concrete,
    everywhere,
    is_integer,
    is_number,
    limits,
    namespace,
    shown,
    whole_steps,
    widened,
)
from rex_core.boundary import Boundary, meant_number, meant_sum
from rex_core.door import Curve
from rex_core.functions import (
    Function,
    NumberCurve,
    Timed,
    curves_of,
    door_of,
    is_continuous,
)
from rex_core.hints import check_settings, no_decay
from rex_core.moment import Moment, as_float, clamp, last_step, less, minus, plus, where
from rex_core.profiles import linear, rex
from rex_core.progress import (
    BLOCK,
    blockwise,
    floats_are_exact,
    goes_in_blocks,
    spent_of_block,
    split,
    unify,
)
from rex_core.ranges import ANY, NOT_NEGATIVE, POSITIVE, SHARE, Range
from rex_core.sampling import every_step
from rex_core.spec import checked_function
from rex_core.values import Value

_VALUES = "peak_value", "end_value", "init_value"
# The range of each phase, in steps and as a share of T. 0 and None mean no such phase.
_PHASES = {"warmup": NOT_NEGATIVE, "hold": NOT_NEGATIVE, "decay": POSITIVE}
_SHARES = {"warmup": SHARE, "hold": SHARE, "decay": Range(0, 1, "(]")}


class Schedule(Timed, kind=True):
    """A budget-aware schedule: a warmup, a hold, and a decay along a profile, read by a sampling.

    The warmup ends at w. The decay starts at s and lasts D = T - s::

        t <= w       init_value + (peak_value - init_value) · warmup_profile(w - t, w)
        w <= t <= s  peak_value
        t >= s       end_value + (peak_value - end_value) · profile(sampling(t - s, D), D)

    T counts everything, warmup included. The warmup is a decay reversed in time. It starts from
    init_value if its profile ends at 0. Below 0 and above T the value stays as at 0 and at T.
    hold_steps or hold_ratio starts the decay so long after w. decay_steps or decay_ratio starts it
    so long before T. Without any of the four it starts at w.

    Args:
        profile: The curve of the decay: a profile, bound or not, its name or its dictionary; or
            another value such as `Restarts`. Its t counts from the start of the decay.
        sampling: How often the profile is read: a sampling, bound or not, its name or dictionary.
        peak_value: The value at the end of warmup; any shape.
        end_value: The value where the profile is 0, absolute (not a share of the peak); any shape.
        init_value: The value at t = 0 if there is warmup; any shape.
        warmup_steps: The length of the warmup, w, >= 0, in the unit of t; any shape. For integers t
            and T give an integer. A fraction such as 2.5, or a traced float, turns t and T into
            floats, which have fewer digits.
        warmup_ratio: The warmup as a share of T, in [0, 1): w is the first step t with
            t >= warmup_ratio·T.
        warmup_profile: The curve of the warmup, like profile.
        hold_steps: The length of the hold, s - w, >= 0, in the unit of t; any shape.
        hold_ratio: The hold as a share of T, in [0, 1): s is the first step t with
            t >= (warmup_ratio + hold_ratio)·T. With warmup_steps, s is warmup_steps after the first
            step t with t >= hold_ratio·T.
        decay_steps: The length of the decay, T - s, > 0, in the unit of t; any shape. 2000 is the
            last 2000 steps, at every T.
        decay_ratio: The decay as a share of T, in (0, 1]: s is the first step t with
            t >= (1 - decay_ratio)·T.

    Raises:
        ValueError: A value is out of range. A phase has both steps and a ratio. Hold and decay are
            both given. The ratios fill T. At the call: steps or rounded ratios fill T, or a phase
            has between 0 and 1 steps where T counts whole steps.

    >>> schedule = Schedule(rex, peak_value=0.1, end_value=0.001, warmup_steps=10)
    >>> [round(schedule(t, 100), 4) for t in (0, 5, 10, 55, 99, 100)]
    [0.0, 0.05, 0.1, 0.067, 0.0032, 0.001]
    >>> schedule
    Schedule(peak_value=0.1, end_value=0.001, warmup_steps=10)
    >>> cooldown = Schedule("one_minus_sqrt", decay_steps=2000)
    >>> cooldown(8000, 10_000), cooldown(98_000, 100_000), cooldown(98_500, 100_000)
    (1.0, 1.0, 0.5)

    Source: arXiv 2107.04197 (REX), for profile × sampling.
    """

    profile: Function
    sampling: Function
    peak_value: Real
    end_value: Real
    init_value: Real
    warmup_steps: Real
    warmup_ratio: Real
    warmup_profile: Function
    hold_steps: Real
    hold_ratio: Real
    decay_steps: Real
    decay_ratio: Real
    _warmup: Boundary
    _start: Boundary
    _short: bool  # Whether Python's integers may take the short way.
    _nested: bool
    _last: tuple[int | None, int, int]  # A budget, and where its warmup and hold end.
    _continuous: bool  # Whether moments between steps may take it too.
    _in_blocks: bool  # Whether NumPy's long arrays are computed in blocks.
    _rise_number: NumberCurve
    _fall_number: NumberCurve
    _rise: Curve
    _fall: Curve

    def __init__(
        self,
        profile: Any = rex,
        sampling: Any = every_step,
        *,
        peak_value: Real = 1.0,
        end_value: Real = 0.0,
        init_value: Real = 0.0,
        warmup_steps: Real = 0,
        warmup_ratio: Real = 0.0,
        warmup_profile: Any = linear,
        hold_steps: Real = 0,
        hold_ratio: Real = 0.0,
        decay_steps: Real | None = None,
        decay_ratio: Real | None = None,
    ) -> None:
        values = {"peak_value": peak_value, "end_value": end_value, "init_value": init_value}
        for name, value in values.items():
            ANY.check(name, value)
        steps = {"warmup": warmup_steps, "hold": hold_steps, "decay": decay_steps}
        ratios = {"warmup": warmup_ratio, "hold": hold_ratio, "decay": decay_ratio}
        for phase in _PHASES:
            if phase != "decay" or steps[phase] is not None:
                _PHASES[phase].check(f"{phase}_steps", steps[phase])
            if phase != "decay" or ratios[phase] is not None:
                _SHARES[phase].check(f"{phase}_ratio", ratios[phase])
            _check_one(f"{phase}_ratio", ratios[phase], f"{phase}_steps", steps[phase])
        for hold_name, hold in (("hold_steps", hold_steps), ("hold_ratio", hold_ratio)):
            for name, decay in (("decay_steps", decay_steps), ("decay_ratio", decay_ratio)):
                _check_one(hold_name, hold, name, decay)
        _check_sum("warmup_ratio + hold_ratio", "below 1", warmup_ratio, hold_ratio)
        if decay_ratio is not None:
            _check_sum("warmup_ratio + decay_ratio", "at most 1", warmup_ratio, decay_ratio)
        self._set(
            profile=checked_function("profile", profile),
            sampling=checked_function("sampling", sampling),
            **{name: ANY.stored(value) for name, value in values.items()},
            warmup_steps=whole_steps(warmup_steps),
            warmup_ratio=_ratio(warmup_ratio),
            warmup_profile=checked_function("warmup_profile", warmup_profile),
            hold_steps=whole_steps(hold_steps),
            hold_ratio=_ratio(hold_ratio),
            decay_steps=None if decay_steps is None else whole_steps(decay_steps),
            decay_ratio=None if decay_ratio is None else _ratio(decay_ratio),
        )

    @classmethod
    def _check_names(cls, args: tuple[Any, ...], params: dict[str, Any]) -> None:
        check_settings(cls.__name__, cls.fields, args, params)

    def _derive(self) -> None:
        super()._derive()
        warmup = start = Boundary(self.warmup_steps, self.warmup_ratio)
        if self.decay_steps is not None or self.decay_ratio is not None:
            back = 0 if self.decay_steps is None else -widened(self.decay_steps)
            share = 0 if self.decay_ratio is None else -widened(self.decay_ratio)
            start = Boundary(back, 1, share)
        elif not (_is_absent(self.hold_steps) and _is_absent(self.hold_ratio)):
            steps = self.warmup_steps
            if not _is_absent(self.hold_steps):
                hold = widened(self.hold_steps)
                steps = hold if _is_absent(steps) else plus(widened(steps), hold)
            start = Boundary(steps, self.warmup_ratio, self.hold_ratio)
        functions = self.profile, self.sampling, self.warmup_profile
        short = not self._arrays and all(isinstance(b.steps, int) for b in (warmup, start))
        own = all(isinstance(f, Value) or door_of(f) is not None for f in functions)
        rise, rise_number = curves_of(self.warmup_profile)
        fall, fall_number = curves_of(self.profile, self.sampling)
        self.__dict__.update(
            _warmup=warmup,
            _start=start,
            _short=short,
            _nested=any(isinstance(f, Value) for f in functions),
            _last=(None, 0, 0),
            _continuous=short and all(map(is_continuous, functions)),
            _in_blocks=own and not self._arrays,
            _rise=rise,
            _rise_number=rise_number,
            _fall=fall,
            _fall_number=fall_number,
        )

    def _value(self, t: Any, T: Any) -> Any:
        if not (t.__class__ is int is T.__class__ and self._short and T > 0):
            if t.__class__ is Moment and t.whole.__class__ is int and self._continuous:
                return self._between_steps(t, T)
            return self._of_arrays(t, T)
        budget, warmup, start = self._last
        if budget != T:
            warmup, start = self._ends(T)
        if t < 0:
            t = 0
        try:
            if t < warmup:
                factor = self._rise_number(t, warmup - t, math)
                return self.peak_value * factor + self.init_value * (1.0 - factor)
            if t < start:
                return 1.0 * self.peak_value
            t = t if t < T else T
            factor = self._fall_number(T - t, t - start, math)
            return self.peak_value * factor + self.end_value * (1.0 - factor)
        except OverflowError:  # An integer is too large for a float.
            return self._of_arrays(t, T)

    def _ends(self, T: int) -> tuple[int, int]:
        """Where warmup and hold end, for Python's integers. Remembered until T changes."""
        if self._last[0] == T:
            return self._last[1:]
        warmup = start = self._warmup.of(T)
        if self._start is not self._warmup:
            start = self._start.of(T)
        if not warmup <= start < T:
            raise self._no_decay(warmup, start, T)
        if self._nested:  # It refuses its part now, not when t comes there.
            self._fall_number(T - start, 0, math)
            if warmup:
                self._rise_number(0, warmup, math)
        self.__dict__["_last"] = T, warmup, start
        return warmup, start

    def _between_steps(self, t: Moment, T: int) -> Any:
        """The value between two whole steps of the budget, for Python's numbers."""
        warmup, start = self._ends(T)
        whole, part = t.whole, t.part
        if whole - warmup < -part:
            factor = self._rise_number(whole + part, warmup - whole - part, math)
            return self.peak_value * factor + self.init_value * (1.0 - factor)
        if whole - start < -part:
            return 1.0 * self.peak_value
        factor = self._fall_number(T - whole - part, whole - start + part, math)
        return self.peak_value * factor + self.end_value * (1.0 - factor)

    def _of_arrays(self, t: Any, T: Any, **changed: Real) -> Any:
        """The value for any t and T: all phases are computed, and the one at t is taken."""
        if self._in_blocks and goes_in_blocks(t, T, *changed.values()):
            whole = t.dtype.kind in "iu" and T.__class__ is int and not changed
            if whole and self._continuous and floats_are_exact(t, T):
                return blockwise(self._of_blocks(t, T), t)
            if t.size > BLOCK:
                return blockwise(lambda block: self._of_arrays(block, T, **changed), t)
        values = {name: getattr(self, name) for name in _VALUES} | changed
        budget = T
        t, T, xp, values = unify(t, T, values, self._arrays)
        t, T = self._as_steps(t, T, xp)
        self.check_budget(budget, is_integer(T, xp))
        t, step = clamp(t, T, xp), last_step(t, xp)
        peak, end, init = (values[name] for name in _VALUES)
        warmup = start = self._warmup.at(T, step, xp)
        if self._start is not self._warmup:
            start = self._start.at(T, step, xp)
        value = _between(end, peak, _read(self._fall, minus(t, start, xp), T - start, xp))
        if self._start is not self._warmup:  # A traced T may leave no decay: then the peak holds.
            value = where(less(t, start) & less(t, T), 1.0 * peak, value, xp)
        if is_number(warmup) and warmup == 0:
            return value
        length = where(warmup > 0, warmup, 1, xp)
        rising = _between(init, peak, _read(self._rise, minus(length, t, xp), length, xp))
        return where(less(t, warmup) & (T > 0), rising, value, xp)

    def _of_blocks(self, t: Array, T: int) -> Callable[[Array], Array]:
        """The value of a block of a long array of steps."""
        warmup, start = self._ends(T)
        xp = namespace(t)

        def falling(spent: Array) -> Array:
            factor = self._fall_number(T - spent, spent - start, xp)
            return _between(self.end_value, self.peak_value, factor)

        def values(block: Array) -> Array:
            spent = spent_of_block(block, T)
            if spent.flat[0] >= start <= spent.min():
                return falling(spent)
            value = falling(np.maximum(spent, start))
            if start > warmup:
                value = np.where(spent < start, 1.0 * self.peak_value, value)
            if warmup:
                early = np.minimum(spent, warmup)
                rising = self._rise_number(early, warmup - early, xp)
                rising = _between(self.init_value, self.peak_value, rising)
                value = np.where(spent < warmup, rising, value)
            return value

        return values

    def _as_steps(self, t: Any, T: Real, xp: Namespace) -> tuple[Any, Real]:
        """(t, T), as floats if a phase is a float. A phase below one whole step is refused."""
        whole = is_integer(T, xp)
        for phase in _PHASES:
            name = f"{phase}_steps"
            steps = getattr(self, name)
            if _is_absent(steps):
                continue
            known = concrete(steps)
            if whole and known is not None and not everywhere((known == 0) | (known >= 1)):
                raise ValueError(
                    f"{name} must be at least 1 where T counts steps (a share of T is "
                    f"{phase}_ratio); got {shown(steps)}"
                )
            if xp is not math:
                dtype = last_step(t, xp).dtype
                check_limits(name, steps, 0, limits(dtype, xp)[1], dtype)
            if whole and not is_integer(steps, xp):
                t, T = as_float(t, xp), as_float(T, xp)
                if xp is math:
                    t, T = float(t), float(T)
        return t, float(T) if is_number(T) and not is_integer(last_step(t, xp), xp) else T

    def check_budget(self, T: Any, whole: bool) -> None:
        """Refuse phases that fill a known budget, of whole steps or not.

        A compiler would hide even known numbers, so they are read outside of it.
        """
        warmup, start, T = self._warmup.concrete(), self._start.concrete(), concrete(T)
        if T is None or warmup is None or start is None:
            return
        t, T, xp, _ = unify(0 if whole else 0.0, T, {}, warmup.arrays() + start.arrays())
        ends = warmup.at(T, t, xp), start.at(T, t, xp)
        if not everywhere((ends[0] <= ends[1]) & (ends[1] < T)):
            raise self._no_decay(*ends, T)

    def _no_decay(self, warmup: Any, start: Any, T: Any) -> ValueError:
        """The error for phases that leave no decay."""
        names = [f"{phase}_{unit}" for phase in _PHASES for unit in ("steps", "ratio")]
        given = [name for name in names if not _is_absent(getattr(self, name))]
        return no_decay(given, warmup, start, T)


def _read(curve: Any, t: Any, T: Real, xp: Namespace) -> Real:
    left, spent, T = split(t, T, xp)
    return curve(left, spent, T, xp)


def _between(floor: Real, peak: Real, factor: Real) -> Real:
    """Floor at factor 0 and peak at factor 1, both exactly."""
    return peak * factor + floor * (1.0 - factor)


def _check_one(name: str, value: Any, other: str, content: Any) -> None:
    """Refuse two settings that are both given."""
    first, second = (concrete(0 if v is None else v) for v in (value, content))
    if first is None or second is None or everywhere((first == 0) | (second == 0)):
        return
    raise ValueError(
        f"{name} must be 0 where {other} is given; got {name}={shown(value)}, "
        f"{other}={shown(content)}"
    )


def _check_sum(names: str, accepted: str, *shares: Real) -> None:
    """Refuse shares that fill the budget. Their sum is exact, as their writers meant them."""
    exact = meant_sum(*shares)
    if exact is None:
        return
    if not everywhere(exact < 1 if accepted == "below 1" else exact <= 1):
        values = " + ".join(map(shown, shares))
        raise ValueError(f"{names} must be {accepted}; got {values}")


def _is_absent(value: Any) -> bool:
    return value is None or (is_number(value) and value == 0)


def _ratio(value: Real) -> Real:
    value = meant_number(ANY.stored(value))
    return float(value) if isinstance(value, int) else value
