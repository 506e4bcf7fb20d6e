"""Functions of (t, T): bound to their parameters, found by their names, read as curves."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from rex_core import profiles, sampling
from rex_core.arrays import Namespace, Number, Real, is_number, namespace, python_number, shown
from rex_core.door import A, Curve, Door, ProfileDoor, SamplingDoor
from rex_core.moment import Moment, Time, last_step, minus, where
from rex_core.names import check_names, nearest_name
from rex_core.sampling import every_step
from rex_core.values import Value, name_of, text

if TYPE_CHECKING:
    from rex_core.compose import Product

Function = Callable[..., Any]
NumberCurve = Callable[[int, int, Namespace], float]  # (left, spent, math) -> factor

FUNCTIONS: dict[str, Function] = {
    name: function
    for module in (profiles, sampling)
    for name, function in vars(module).items()
    if isinstance(getattr(function, "door", None), Door)
}
PROFILES = [f for f in FUNCTIONS.values() if isinstance(f.door, ProfileDoor)]  # type: ignore[attr-defined]
PRESETS: dict[str, Function] = {}


class Timed(Value):
    """A value that is a function of (t, T): numbers give a float, arrays an array.

    A class defines the value in `_value`.
    """

    if TYPE_CHECKING:

        @overload
        def __call__(self, t: Number, T: Number) -> float: ...
        @overload
        def __call__(
            self, t: np.ndarray[Any, Any], T: Any
        ) -> np.ndarray[Any, np.dtype[np.floating[Any]]]: ...
        @overload
        def __call__(
            self, t: Number, T: np.ndarray[Any, Any]
        ) -> np.ndarray[Any, np.dtype[np.floating[Any]]]: ...
        @overload
        def __call__(self, t: np.generic, T: Number) -> np.floating[Any]: ...
        @overload
        def __call__(self, t: A, T: Any) -> A: ...
        @overload
        def __call__(self, t: Number, T: A) -> A: ...
        def __call__(self, t: Any, T: Any) -> Any:
            """The value when t of a budget of T is spent."""

    def __init_subclass__(cls, *, kind: bool = False) -> None:
        super().__init_subclass__(kind=kind)
        if "_value" in cls.__dict__:
            cls._value.__qualname__ = f"{cls.__qualname__}.__call__"  # The name in errors.
            cls.__call__ = cls._value  # type: ignore[method-assign]  # One call less for each value.

    def _value(self, t: Any, T: Any) -> Any:
        """The value when t of a budget of T is spent."""
        raise NotImplementedError

    def __mul__(self, other: Any) -> "Product":
        from rex_core.compose import Product

        _check_factor(other)
        return Product(_factors(self) + _factors(other)) if callable(other) else NotImplemented

    def __rmul__(self, other: Any) -> "Product":
        from rex_core.compose import Product

        _check_factor(other)
        return Product(_factors(other) + _factors(self)) if callable(other) else NotImplemented


def _check_factor(other: Any) -> None:
    if is_number(other):
        raise ValueError(
            "schedules are multiplied by schedules; for another scale give peak_value, as in "
            f"Schedule(..., peak_value={other}); got {other}"
        )


def _factors(function: Any) -> tuple[Any, ...]:
    """The factors of a product, so that a·b·c is one product; else the function."""
    from rex_core.compose import Product

    return function.schedules if isinstance(function, Product) else (function,)


class Bound(Timed):
    """A profile or sampling with its parameters fixed: what `bind` returns."""

    function: Function
    params: Mapping[str, Any]
    _call: Function

    def __init__(self, function: Function, params: Mapping[str, Any]) -> None:
        check_callable("function", function)
        door = door_of(function)
        if door is not None:
            door.check(dict(params))
            stored = door.stored(dict(params))
        else:
            _check_parameters(function, params)
            stored = {name: _tuples(value) for name, value in params.items()}
            check_called("function", function, stored)
            function(0, 1, **stored)  # The function itself knows which values it accepts.
        self._set(function=function, params=MappingProxyType(dict(sorted(stored.items()))))

    def contents(self) -> dict[str, Any]:
        """The function and its parameters."""
        return {"function": self.function, "params": dict(self.params)}

    def _derive(self) -> None:
        super()._derive()
        door = door_of(self.function)
        params = dict(self.params)
        call = partial(self.function, **params) if door is None else door.bound(params)
        self.__dict__["_call"] = call

    def _value(self, t: Any, T: Any) -> Any:
        return self._call(t, T)

    def __repr__(self) -> str:
        params = [f"{name}={text(value)}" for name, value in self.params.items()]
        return f"bind({', '.join([name_of(self.function), *params])})"


def bind(function: Function | str, /, **params: Any) -> Bound:
    """Fix the parameters of a profile or a sampling.

    Args:
        function: A profile or a sampling, called as ``function(t, T, **params)``, or its name.
        **params: Its parameters; numbers may be arrays, and may be traced.

    Returns:
        A function of (t, T) that compares, hashes and pickles by value.

    Raises:
        ValueError: The function has no such parameter, or refuses its value.

    >>> from rex_core import rex
    >>> profile = bind(rex, beta=0.9)
    >>> profile
    bind(rex, beta=0.9)
    >>> profile(50, 100) == rex(50, 100, beta=0.9), profile == bind("rex", beta=0.9)
    (True, True)
    """
    return Bound(named("function", function) if isinstance(function, str) else function, params)


def named(name: str, function: str) -> Function:
    """The function registered under a name. One of this library is found by its path too."""
    short = function.removeprefix("rex_core.")  # "rex_core.rex", as jsonargparse writes it.
    if short in PRESETS:
        raise ValueError(
            f"{name} must be a profile or a sampling, and {short} is a preset: call "
            f"rex_core.{short}(...), or write {{'preset': {short!r}, ...}}; got {shown(function)}"
        )
    known = FUNCTIONS.get(short)
    if known is None or (short != function and not known.__module__.startswith("rex_core.")):
        fitting = [each for each, value in FUNCTIONS.items() if not is_other_kind(name, value)]
        raise ValueError(
            f"{name} must be one of {', '.join(fitting)}, or registered with rex_core.register"
            f"{nearest_name(function, fitting)}; got {shown(function)}"
        )
    return known


def is_other_kind(name: str, function: Function) -> bool:
    """Whether a function is a profile for the argument "sampling", or a sampling for another."""
    if name in ("function", "data"):  # Of `bind` and `from_dict`, which take both.
        return False
    return is_profile(function) if name == "sampling" else is_sampling(function)


def door_of(function: Any) -> Door | None:
    """The door of a function of this library, bound or not."""
    base = function.function if isinstance(function, Bound) else function
    return getattr(base, "door", None)


def is_sampling(function: Any) -> bool:
    """Whether a function is a sampling of this library, bound or not."""
    return isinstance(door_of(function), SamplingDoor)


def is_profile(function: Any) -> bool:
    """Whether a function is a profile of this library, bound or not, or a value like a schedule."""
    if isinstance(function, Timed) and not isinstance(function, Bound):
        return True
    return isinstance(door_of(function), ProfileDoor)


def is_continuous(function: Any) -> bool:
    """Whether a float may stand for a moment between steps in a profile's formula or a sampling.

    Functions that know only whole steps, and values, need the `Moment` itself.
    """
    door = door_of(function)
    if isinstance(door, SamplingDoor):
        return door.always
    return isinstance(door, ProfileDoor) and not door.milestone_names


def takes_moments(function: Any) -> bool:
    """Whether a function takes a `Moment` for t: this library's own do."""
    return is_profile(function) or is_sampling(function)


def taking_moments(function: Function) -> Function:
    """The function for a t that may be a `Moment`. One from elsewhere gets numbers."""
    return function if takes_moments(function) else partial(_without_moments, function)


def _without_moments(function: Function, t: Time, T: Real) -> Any:
    """The value at t, given as an integer at a whole step and as a float between steps."""
    if t.__class__ is Moment and not is_number(t.part):
        between = function(t.rounded(), T)
        return where(t.part == 0, function(t.whole, T), between, namespace(t.part))
    if t.__class__ is Moment:
        t = t.rounded() if t.part else t.whole
    value = function(t, T)
    return float(value) if value.__class__ is int else value


def curves_of(profile: Function, sampling: Function = every_step) -> tuple[Curve, NumberCurve]:
    """A profile, read by a sampling, as functions of checked numbers left and spent.

    The first takes numbers of any kind, the second Python's numbers.
    """
    door, function = door_of(profile), taking_moments(profile)
    curve: Curve = partial(_called, function)
    number: NumberCurve = partial(_called_number, function)
    if isinstance(door, ProfileDoor):
        params = door.ready(dict(profile.params)) if isinstance(profile, Bound) else {}
        curve = partial(door.curve, **params) if params else door.curve
        known = not (isinstance(profile, Bound) and profile._arrays)
        if known and (params or not door.required):
            number = partial(door.number, **params) if params else door.number
    return (curve, number) if sampling is every_step else _sampled(curve, number, sampling)


def _called(function: Function, left: Time, spent: Time, T: Real, xp: Namespace) -> Any:
    return function(spent, T)


def _called_number(function: Function, left: int, spent: int, xp: Namespace) -> Any:
    return function(spent, left + spent)


def _ruled(rule: Function, spent: Time, T: Real, xp: Namespace) -> Any:
    return rule(last_step(spent, xp), T, xp)


def _read(function: Function, spent: Time, T: Real, xp: Namespace) -> Any:
    return function(spent, T)


def _sampled(curve: Curve, number: NumberCurve, sampling: Function) -> tuple[Curve, NumberCurve]:
    """Curves at the moments that a sampling reads."""
    door = door_of(sampling)
    if isinstance(door, SamplingDoor):
        params = door.ready(dict(sampling.params)) if isinstance(sampling, Bound) else {}
        last_read = partial(_ruled, partial(door.read, **params))
    else:
        last_read = partial(_read, taking_moments(sampling))

    def sampled(left: Time, spent: Time, T: Real, xp: Namespace) -> Any:
        read = last_read(spent, T, xp)
        return curve(minus(T, read, xp), read, T, xp)

    def sampled_number(left: int, spent: int, xp: Namespace) -> float:
        T = left + spent
        read = last_read(spent, T, xp)
        return number(T - read, read, xp)

    return sampled, sampled_number


def check_callable(name: str, function: Any) -> None:
    """Accept functions. Refuse classes and values."""
    if not callable(function) or isinstance(function, Value | type):
        hint = " (bind all parameters at once)" if isinstance(function, Bound) else ""
        raise ValueError(
            f"{name} must be a profile or sampling function{hint}; got {shown(function)}"
        )


def check_called(name: str, function: Function, given: Mapping[str, Any] | None = None) -> None:
    """Accept functions that can be called with (t, T), and with parameters that are given."""
    if isinstance(function, Value):
        return
    try:
        inspect.signature(function).bind(0, 1, **(given or {}))
    except ValueError:  # Some functions written in C have no signature.
        return
    except TypeError:
        required = [
            each.name
            for each in inspect.signature(function).parameters.values()
            if each.kind is each.KEYWORD_ONLY and each.default is each.empty
        ]
        missing = [each for each in required if each not in (given or {})]
        if missing:
            raise ValueError(
                f"{name} must be bound to a value of {', '.join(missing)}: "
                f"bind({name_of(function)}, {missing[0]}=...); got {name_of(function)}"
            ) from None
        raise ValueError(f"{name} must be a function of (t, T); got {shown(function)}") from None


def _check_parameters(function: Function, params: Mapping[str, Any]) -> None:
    try:
        accepted = [*inspect.signature(function).parameters.values()][2:]
    except ValueError:  # Some functions written in C have no signature.
        raise ValueError(
            f"function must be a profile or sampling function; got {shown(function)}"
        ) from None
    if not any(each.kind is each.VAR_KEYWORD for each in accepted):
        check_names(name_of(function), params, [each.name for each in accepted])


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else python_number(value)
