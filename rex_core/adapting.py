"""The names of this library that adapters need, besides the public ones.

An adapter checks a schedule and a budget when it is made, and gets one value at each step.
"""

import inspect
import math
import operator
import warnings
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from rex_core.arrays import (
    Real,
    concrete,
    everywhere,
    is_integer,
    shown,
)
from rex_core.budget import WallClock
from rex_core.compose import Clamp, Join, Product, Restarts
from rex_core.functions import FUNCTIONS, PRESETS, PROFILES, Bound, Function, taking_moments
from rex_core.moment import Moment, clamp, less, minus, where
from rex_core.presets import Pair
from rex_core.profiles import interpolate
from rex_core.progress import product, unify
from rex_core.ranges import ANY, NOT_NEGATIVE, POSITIVE, SHARE, SHARE_OR_ALL, Range, check_truth
from rex_core.replan import Place, Replan, phase_places, stretched
from rex_core.schedule import Schedule
from rex_core.spec import checked_function
from rex_core.theory import checked_norm
from rex_core.values import TYPES, Value, _made, restored

__all__ = [
    "ANY",
    "FUNCTIONS",
    "LARGEST_STEP",
    "NOT_NEGATIVE",
    "POSITIVE",
    "PRESETS",
    "PROFILES",
    "SHARE",
    "SHARE_OR_ALL",
    "STEPS",
    "TYPES",
    "Bound",
    "Function",
    "Moment",
    "Place",
    "Range",
    "Real",
    "Value",
    "check_truth",
    "checked_count",
    "checked_function",
    "checked_norm",
    "checked_schedule",
    "checked_value",
    "clamp",
    "concrete",
    "everywhere",
    "is_integer",
    "largest_peak",
    "less",
    "minus",
    "number",
    "phase_places",
    "pickled",
    "product",
    "reading",
    "recorded",
    "restored",
    "shown",
    "stretched",
    "taking_moments",
    "tried",
    "unify",
    "where",
]

LARGEST_STEP = 2**31 - 1
STEPS = Range(1, LARGEST_STEP, integers=True)
_PLACES = 32
_FACTOR = 0.1


def checked_schedule(name: str, schedule: Any) -> Function:
    """One schedule: a function of (t, T), its name or its dictionary, and no pair of schedules."""
    if isinstance(schedule, Pair):
        raise ValueError(
            f"{name} must be one of the two schedules of a pair, pair.lr or pair.momentum; "
            f"got {shown(schedule)}"
        )
    function: Function = checked_function(name, schedule)
    return function


def tried(name: str, schedule: Function, T: Real, accepted: Range = NOT_NEGATIVE) -> None:
    """Call a schedule at some places of its budget, so that errors come now."""
    try:
        for t in sorted({type(T)(T * place / _PLACES) for place in range(_PLACES + 1)}):
            checked_value(name, schedule(t, T), accepted)
    except TypeError as error:
        try:
            inspect.signature(schedule).bind(0, T)
        except (TypeError, ValueError):
            text = f"{name} must be a function of (t, T); got {shown(schedule)}"
            raise ValueError(text) from error
        raise  # The error comes from within the schedule.


def checked_value(name: str, number: Any, accepted: Range = NOT_NEGATIVE) -> float:
    """One value of a schedule as a Python float; a ValueError if it is not in the range."""
    if number.__class__ is float and accepted.least < number < accepted.most:
        value: float = number
        return value
    if np.ndim(concrete(number)) != 0:
        raise ValueError(f"{name} must give one number at a step; got {shown(number)}")
    accepted.check(f"each value of {name}", number)
    return float(number)


def number(text: str) -> Any:
    """The number in a text: an integer if it is whole and has no point, as 10_000 and 1e4.

    Another text is returned as it is. The check of the argument then refuses it by name.

    >>> number("10_000"), number("1e4"), number("3e-4"), number("1.0"), number("rex")
    (10000, 10000, 0.0003, 1.0, 'rex')
    """
    try:
        value = float(text)
    except ValueError:
        return text
    try:
        return int(text)
    except ValueError:
        return int(value) if value.is_integer() and "." not in text else value


def checked_count(name: str, count: Any, least: int | None = None) -> int:
    """A number of steps, an integer of any library, as an int."""
    try:
        number = None if isinstance(count, bool) else operator.index(count)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        bound = "" if least is None else f" >= {least}"
        raise ValueError(f"{name} must be an integer{bound}; got {shown(count)}")
    return number


def reading(budget: Any, t: Any) -> tuple[Any, Any]:
    """The (t, T) to call a schedule with: those of a `WallClock`, or t and a budget of steps."""
    return (budget.t, budget.T) if isinstance(budget, WallClock) else (t, budget)


def recorded(norms: Any, count: int) -> Any:
    """The norms of so many updates in a record, as NumPy's; a warning if it was full before."""
    size = norms.shape[-1]
    if count > size:
        warnings.warn(
            f"total_steps of the record of gradient norms must be at least {count}, the updates so "
            f"far, to have them all; got {size}, and these are the norms of the first {size}",
            UserWarning,
            stacklevel=3,
        )
    return np.array(norms[..., :count])


def largest_peak(schedule: Function) -> Any:
    """The largest peak of the schedules in a function, however deep; 1 if there are none.

    For a table of `interpolate` beside no other function, its largest value if that is below 0.1.
    """
    peak = _peak(schedule)
    return 1.0 if peak is None else peak


def _peak(function: Any) -> Any:
    if isinstance(function, Clamp | Restarts | Replan):
        return _peak(function.schedule)
    if isinstance(function, Schedule):
        return function.peak_value * largest_peak(function.profile)
    if isinstance(function, Bound) and function.function is interpolate:
        # A table of factors comes near 1 somewhere. A measured curve of rates may not.
        largest = max(function.params["values"])
        return largest if largest < _FACTOR else None
    if not isinstance(function, Join | Product):
        return None
    # A table may be the low end of a Join.
    parts = (each for each in function.schedules if not isinstance(each, Bound))
    peaks = [peak for peak in map(_peak, parts) if peak is not None]
    if not peaks:
        return None
    return max(peaks) if isinstance(function, Join) else math.prod(peaks)


def pickled() -> Iterator[Any]:
    """The names in pickles of values: classes, and functions that make values of fields."""
    yield from (_made, Fraction, Bound, *TYPES.values())
    yield from (f for f in FUNCTIONS.values() if f.__module__.startswith("rex_core."))
