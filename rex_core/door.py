"""The door to every formula: it makes a profile from a curve, and a sampling from a rule of reads.

A door checks the parameters against their declarations. It brings t, T and the parameters to one
kind of number. It takes a short way for Python's integers and for NumPy's long arrays. The formula
behind it gets checked numbers only.
"""

import math
from collections.abc import Callable
from functools import partial
from inspect import Parameter, Signature, signature
from types import FunctionType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

import numpy as np

from rex_core.arrays import Array, Namespace, Number, Real, alike, is_array, namespace
from rex_core.boundary import Milestones, places
from rex_core.moment import Moment, Time, as_float, last_step, where
from rex_core.names import check_names
from rex_core.progress import (
    BLOCK,
    blockwise,
    floats_are_exact,
    goes_in_blocks,
    measure,
    spent_of_block,
    split,
    unify,
)
from rex_core.ranges import Declared, Range

P = ParamSpec("P")
A = TypeVar("A", bound="AnyArray")
Curve = Callable[[Time, Time, Real, Namespace], Real]  # (left, spent, T, xp) -> factor


class AnyArray(Protocol):
    """What the arrays of all libraries have."""

    @property
    def dtype(self) -> Any:
        """The dtype of its elements."""

    @property
    def shape(self) -> Any:
        """The length of each of its axes."""


class Function(Protocol, Generic[P]):
    """A profile or sampling: numbers give a float, arrays an array of their library."""

    __name__: str
    door: "Door"

    @overload
    def __call__(self, t: Number, T: Number, *args: P.args, **params: P.kwargs) -> float: ...
    @overload
    def __call__(
        self, t: np.ndarray[Any, Any], T: Any, *args: P.args, **params: P.kwargs
    ) -> np.ndarray[Any, np.dtype[np.floating[Any]]]: ...
    @overload
    def __call__(
        self, t: Number, T: np.ndarray[Any, Any], *args: P.args, **params: P.kwargs
    ) -> np.ndarray[Any, np.dtype[np.floating[Any]]]: ...
    @overload
    def __call__(
        self, t: np.generic, T: Number, *args: P.args, **params: P.kwargs
    ) -> np.floating[Any]: ...
    @overload
    def __call__(self, t: A, T: Any, *args: P.args, **params: P.kwargs) -> A: ...
    @overload
    def __call__(self, t: Number, T: A, *args: P.args, **params: P.kwargs) -> A: ...


class Door:
    """The formula of a function of (t, T), and the declarations of its parameters."""

    def __init__(self, formula: Callable[..., Any], declared: dict[str, Declared]) -> None:
        self.formula = formula
        self.name = formula.__name__
        self.declared = declared
        self.signature = _public(signature(formula))
        defaults = formula.__kwdefaults__ or {}
        self.required = [name for name in declared if name not in defaults]
        self.defaults = formula.__kwdefaults__ = self.ready(defaults)
        self.milestone_names = [name for name in declared if isinstance(declared[name], Milestones)]

    def check(self, params: dict[str, Any]) -> bool:
        """Refuse parameters that break a declaration. Returns whether all are Python numbers."""
        check_names(self.name, params, self.declared)
        numbers = True
        for name, value in params.items():
            numbers = self.declared[name].check(name, value) and numbers
        for name in self.required:
            if name not in params:
                raise ValueError(
                    f"{name} must be given, as in bind({self.name}, {name}=...): "
                    f"{self.declared[name]}; got none"
                )
        return numbers

    def stored(self, params: dict[str, Any]) -> dict[str, Any]:
        """Checked parameters as a value keeps them."""
        return {name: self.declared[name].stored(value) for name, value in params.items()}

    def ready(self, params: dict[str, Any]) -> dict[str, Any]:
        """Checked parameters as the formula takes them."""
        return {name: self.declared[name].ready(value) for name, value in params.items()}

    def place(self, params: dict[str, Any], T: Real, spent: Real, xp: Namespace) -> dict[str, Any]:
        """Ready parameters, with the places in a budget for milestones."""
        found = {name: (self.defaults | params)[name] for name in self.milestone_names}
        return params | {name: places(found[name], T, spent, xp) for name in found}

    def bound(self, params: dict[str, Any]) -> Callable[[Any, Any], Any]:
        """The function of (t, T) with checked parameters."""
        raise NotImplementedError

    def opened(self, function: Callable[..., Any]) -> Any:
        """The function with the name, the docstring and the parameters of the formula."""
        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            setattr(function, name, getattr(self.formula, name))
        function.__signature__ = self.signature  # type: ignore[attr-defined]
        function.door = self  # type: ignore[attr-defined]
        return function


def _public(own: Signature) -> Signature:
    """The signature (t, T, *, params), from the signature of a formula."""
    kind = Parameter.POSITIONAL_OR_KEYWORD
    first = [Parameter(name, kind, annotation=Real) for name in ("t", "T")]
    params = [p for p in own.parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
    return own.replace(parameters=[*first, *params])


class ProfileDoor(Door):
    """The door to the formula of a curve: (left, spent, xp, *, params) -> factor.

    left + spent is the budget. Neither is negative. xp is the namespace of the numbers.
    """

    def __init__(
        self, formula: Callable[..., Any], declared: dict[str, Declared], integers: bool
    ) -> None:
        super().__init__(formula, declared)
        self.integers = integers
        self.number = self._number if self.milestone_names else _by_position(formula)

    def _number(self, left: int, spent: int, xp: Namespace, **params: Any) -> Any:
        return self.formula(left, spent, xp, **self.place(params, left + spent, spent, xp))

    def bound(self, params: dict[str, Any]) -> Callable[[Any, Any], Any]:
        """The function of (t, T) with checked parameters."""
        ready = self.ready(params)
        number = partial(self.number, **ready)
        short = not any(map(is_array, params.values()))

        def function(t: Any, T: Any) -> Any:
            if t.__class__ is int is T.__class__ and 0 <= t < T and short:
                try:
                    return number(T - t, t, math)
                except OverflowError:  # An integer is too large for a float.
                    pass
            return self.value(t, T, params, ready)

        return function

    def value(self, t: Time, T: Real, params: dict[str, Any], ready: dict[str, Any]) -> Real:
        """The factor at any t and T."""
        if goes_in_blocks(t, T, *params.values()):
            if floats_are_exact(t, T):
                return blockwise(self._of_blocks(t, T, ready), t)
            if t.size > BLOCK:
                return blockwise(lambda block: self.value(block, T, params, ready), t)
        numbers = {name: v for name, v in params.items() if isinstance(self.declared[name], Range)}
        left, spent, T, xp, numbers = measure(t, T, numbers)
        return self.curve(left, spent, T, xp, **(ready | numbers))

    def _of_blocks(self, t: Array, T: Real, ready: dict[str, Any]) -> Callable[[Array], Array]:
        """The factors of a block of a NumPy array."""
        xp = namespace(t)
        if self.milestone_names:
            T = float(T) if t.dtype.kind == "f" else T
            ready = self.place(ready, T, t, xp)

        def factors(block: Array) -> Array:
            spent = spent_of_block(block, T)
            return self.formula(T - spent, spent, xp, **ready)

        return factors

    def curve(self, left: Time, spent: Time, T: Real, xp: Namespace, **params: Any) -> Real:
        """The formula, for numbers from `measure` and ready parameters."""
        if not self.integers:
            left, spent = as_float(left, xp), as_float(spent, xp)
        for name, value in params.items():
            declared = self.declared[name]
            if isinstance(declared, Range) and is_array(value):
                params[name] = declared.nearest(alike(value, as_float(spent, xp), xp), xp)
        if self.milestone_names:
            spent = last_step(spent, xp)
            params = self.place(params, T, spent, xp)
        return self.formula(left, spent, xp, **params)


class SamplingDoor(Door):
    """The door to a rule of reads: (spent, T, xp, *, params) -> the moment of the last read.

    spent is a whole step in [0, T], or a float.
    """

    def __init__(
        self, formula: Callable[..., Any], declared: dict[str, Declared], always: bool
    ) -> None:
        super().__init__(formula, declared)
        self.always = always

    def bound(self, params: dict[str, Any]) -> Callable[[Any, Any], Any]:
        """The function of (t, T) with checked parameters."""
        ready = self.ready(params)
        rule: Callable[..., Any] = partial(self.read, **ready)
        short = not any(map(is_array, params.values()))

        def function(t: Any, T: Any) -> Any:
            if t.__class__ is int is T.__class__ and 0 <= t <= T > 0 and short:
                return rule(t, T, math)
            return self.value(t, T, params, ready)

        return function

    def value(self, t: Time, T: Real, params: dict[str, Any], ready: dict[str, Any]) -> Time:
        """The moment of the last read, at any t and T. Before the budget it is t."""
        if goes_in_blocks(t, T, *params.values()) and t.size > BLOCK:
            return blockwise(lambda block: self.value(block, T, params, ready), t)
        t, T, xp, _ = unify(t, T, others=[v for v in params.values() if is_array(v)])
        if self.always:
            return t if t.__class__ is Moment else where(t == t, t, T, xp)
        t = last_step(t, xp)
        _, spent, T = split(t, T, xp)
        read = self.read(spent, T, xp, **ready)
        return where(t < read, t, read, xp)

    def read(self, spent: Real, T: Real, xp: Namespace, **ready: Any) -> Real:
        """The formula, for unified numbers and ready parameters."""
        if self.milestone_names:
            ready = self.place(ready, T, spent, xp)
        return self.formula(spent, T, xp, **ready)


Formula = Callable[Concatenate[Any, Any, Namespace, P], Any]


def profile(*, integers: bool = False, **declared: Declared) -> Callable[[Formula[P]], Function[P]]:
    """Make a profile ``(t, T, *, params) -> factor`` from its formula.

    Args:
        integers: Whether the formula takes whole steps as integers, and moments between them as
            `Moment`. These have more digits than floats. Otherwise it gets floats.
        **declared: The declaration of each parameter.
    """

    def decorate(formula: Formula[P]) -> Function[P]:
        door = ProfileDoor(formula, declared, integers)
        number = door.number
        simple = partial(_missing, door) if door.required else number

        def function(t: Any, T: Any, **params: Any) -> Any:
            if t.__class__ is int is T.__class__ and 0 <= t < T:
                try:
                    if not params:
                        return simple(T - t, t, math)
                    if door.check(params):
                        return number(T - t, t, math, **door.ready(params))
                except OverflowError:  # An integer is too large for a float.
                    pass
            door.check(params)
            return door.value(t, T, params, door.ready(params))

        return cast(Function[P], door.opened(function))

    return decorate


def sampling(*, always: bool = False, **declared: Declared) -> Callable[[Formula[P]], Function[P]]:
    """Make a sampling ``(t, T, *, params) -> t'`` from its formula.

    Args:
        always: Whether it reads at every moment, between whole steps and after the budget as well.
        **declared: The declaration of each parameter.
    """

    def decorate(formula: Formula[P]) -> Function[P]:
        door = SamplingDoor(formula, declared, always)

        def function(t: Any, T: Any, **params: Any) -> Any:
            numbers = door.check(params)
            if t.__class__ is int is T.__class__ and 0 <= t <= T > 0 and numbers:
                return door.read(t, T, math, **door.ready(params))
            return door.value(t, T, params, door.ready(params))

        return cast(Function[P], door.opened(function))

    return decorate


def _by_position(formula: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with parameters by position: Python calls it faster."""
    code, defaults = formula.__code__, formula.__kwdefaults__ or {}
    if len(defaults) < code.co_kwonlyargcount:
        return formula
    code = code.replace(co_argcount=code.co_argcount + code.co_kwonlyargcount, co_kwonlyargcount=0)
    return FunctionType(code, formula.__globals__, formula.__name__, (*defaults.values(),))


def _missing(door: Door, *_: Any) -> None:
    door.check({})
