"""Values as plain JSON types and back: for configuration files, checkpoints and logs.

`to_dict` writes all fields. A value becomes ``{"type": "Schedule", <its fields>}``, a function
``{"function": "rex"}``, a bound function ``{"function": "rex", "params": {"beta": 0.9}}``.
`from_dict` also reads what a person writes: fields may be left out, ``"cosine"`` names a function,
``{"rex": {"beta": 0.9}}`` binds one, and ``{"preset": "demon"}`` calls a preset. Reading never
imports or evaluates anything. It finds the library's own names, and the registered ones.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from rex_core.arrays import concrete, is_array, is_number, shown
from rex_core.functions import (
    FUNCTIONS,
    PRESETS,
    Bound,
    Function,
    bind,
    check_called,
    is_other_kind,
    named,
)
from rex_core.names import check_names, nearest_name
from rex_core.table import MAX_VALUES
from rex_core.values import MAX_DEPTH, MAX_SIZE, TYPES, Value, name_of

F = TypeVar("F", bound=Callable[..., Any])

VERSION = 1
_MAX_PARTS = 4 * MAX_SIZE  # A Schedule has up to four: itself, and bound functions.


def register(function: F, name: str | None = None) -> F:
    """Let `to_dict` write, and `from_dict` read, a profile or sampling of your own by its name.

    Args:
        function: The function ``(t, T, **params)``; usable as a decorator.
        name: Its name in the dictionary; the function's own name by default.

    Returns:
        The function.

    Raises:
        ValueError: The function is not callable, or the name belongs to another function. A
            function that is defined again, in a notebook or by a reload, replaces the old one.

    >>> from rex_core import Schedule
    >>> @register
    ... def two_thirds(t, T):
    ...     return 2 / 3
    >>> from_dict(to_dict(Schedule(two_thirds))) == Schedule("two_thirds")
    True
    """
    if not callable(function) or isinstance(function, Value | type):
        raise ValueError(f"function must be a profile or sampling function; got {shown(function)}")
    own = getattr(function, "__name__", None) if name is None else name
    if not isinstance(own, str) or not own:
        raise ValueError(f"name must be a non-empty string; got {shown(own)}")
    if "<" in own:
        raise ValueError(f"name must be given for a lambda, without '<'; got {own!r}")
    taken = FUNCTIONS.get(own, function)
    if _origin(taken) != _origin(function):
        raise ValueError(f"name must not be taken by another function; got {own!r}")
    FUNCTIONS[own] = function
    return function


def _origin(function: Function) -> Any:
    """Where a function was defined: a notebook's cell, or a reloaded module, defines it again."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "<>")
    return function if "<" in name else (module, name)


def to_dict(value: Any) -> dict[str, Any]:
    """Write a value, or a profile or sampling, bound or not, as plain JSON types.

    Args:
        value: A `Schedule` or another value of this library, what `bind` returned, or a registered
            function.

    Returns:
        A dictionary of strings, numbers, lists and dictionaries, with the version of the format.

    Raises:
        ValueError: A function in it is not registered, or a number in it is an array or traced.

    >>> from rex_core import rex
    >>> to_dict(bind(rex, beta=0.9))
    {'version': 1, 'function': 'rex', 'params': {'beta': 0.9}}
    """
    plain = _encode(value)
    if not isinstance(plain, dict):
        raise ValueError(f"value must be a schedule, profile or sampling; got {shown(value)}")
    return {"version": VERSION, **plain}


def _encode(value: Any) -> Any:
    if isinstance(value, Bound):
        params = {name: _encode(param) for name, param in value.params.items()}
        return _encode(value.function) | {"params": params}
    if TYPES.get(type(value).__name__) is type(value):
        fields = {name: _encode(content) for name, content in value.contents().items()}
        return {"type": type(value).__name__} | fields
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if is_number(value) or isinstance(value, bool | str | None):
        return value
    if is_array(value):
        array = concrete(value)
        if array is not None and array.ndim == 0:
            return array.item()
        raise ValueError(f"a number must be one known number to be written; got {shown(value)}")
    for name, function in FUNCTIONS.items():
        if function is value:
            return {"function": name}
    raise ValueError(
        f"a function must be registered, with rex_core.register, to be written; got {shown(value)}"
    )


def from_dict(data: Any) -> Any:
    """Read a dictionary that `to_dict`, or a person, has written.

    Args:
        data: The dictionary, another object with keys, or the name of a registered function. Lists
            may be any sequences. In a dictionary:

            * "type" names a kind of value, `Schedule` by default. The other keys are its fields.
              Fields that are left out have their defaults.
            * "function" names a registered function, "params" its parameters. ``{"rex": {"beta":
              0.9}}`` is short for both.
            * "preset" names a preset. The other keys are its arguments.
            * "version", in the outermost dictionary, is the version of the format, 1 by default.

    Returns:
        The value, equal to the one that was written.

    Raises:
        ValueError: Unknown version, type, preset or function; unknown keys, with the nearest known
            one; values out of range; more than 50 levels or 40 000 dictionaries and
            lists.

    >>> schedule = from_dict({"profile": "cosine", "peak_value": 3e-4, "warmup_ratio": 0.05})
    >>> schedule
    Schedule(cosine, peak_value=0.0003, warmup_ratio=0.05)
    >>> from_dict(to_dict(schedule)) == schedule
    True
    """
    _check_size(data)
    entries = _entries(data)
    if entries is not None:
        version = entries.pop("version", VERSION)
        if version != VERSION or isinstance(version, bool):
            raise ValueError(f"version must be {VERSION}; got {shown(version)}")
    return _decode("data", data if entries is None else entries)


def checked_function(name: str, function: Any) -> Any:
    """A function of (t, T): itself, or by its name or its dictionary.

    An argument of the name "sampling" must be no profile. All others must be no sampling.
    """
    if isinstance(function, str):
        function = named(name, function)
    elif _entries(function) is not None:
        function = from_dict(function)
    if not callable(function) or isinstance(function, type):
        raise ValueError(f"{name} must be a function of (t, T); got {shown(function)}")
    if is_other_kind(name, function):
        kind = "profile" if name == "sampling" else "sampling"
        raise ValueError(f"{name} must not be a {kind}; got {name_of(function)}")
    check_called(name, function)
    return function


def _check_size(data: Any) -> None:
    """Check depth and size before anything is read, level by level, without recursion."""
    level, size = [data], 0
    for _ in range(2 * MAX_DEPTH + 2):  # A value and its list of values are two levels.
        inner = [item for content in level for item in _items(content)]
        inner = [item for item in inner if not isinstance(item, int | float | str)]
        inner = [item for item in inner if _entries(item) is not None or _is_list(item)]
        size += len(inner)
        if size > _MAX_PARTS:
            raise ValueError(
                f"data must have at most {_MAX_PARTS} dictionaries and lists; got {size} or more"
            )
        if not inner:
            return
        level = inner
    raise ValueError(f"data must be nested at most {MAX_DEPTH} levels deep; got more")


def _items(content: Any) -> list[Any]:
    entries = _entries(content)
    if entries is not None:
        return [*entries.values()]
    if not _is_list(content):
        return []
    if len(content) > MAX_VALUES:
        raise ValueError(f"data must have lists of at most {MAX_VALUES} items; got {len(content)}")
    return [*content]


def _entries(data: Any) -> dict[Any, Any] | None:
    """A dictionary of the data, if it has keys: ml_collections' ConfigDict is no Mapping."""
    kind = type(data)
    if isinstance(data, Mapping) or (hasattr(kind, "keys") and hasattr(kind, "__getitem__")):
        return dict(data)
    return None


def _is_list(data: Any) -> bool:
    return isinstance(data, Sequence) and not isinstance(data, str | bytes)


def _decode(name: str, data: Any) -> Any:
    if isinstance(data, str):
        return named(name, data)
    entries = _entries(data)
    if entries is None:
        raise ValueError(
            f"{name} must be a dictionary or the name of a function; got {shown(data)}"
        )
    for key in entries:
        if not isinstance(key, str):
            raise ValueError(f"keys must be strings; got {shown(key)}")
    if "preset" in entries:
        preset = _look_up("preset", entries["preset"], PRESETS)
        return preset(**_fields(entries, "preset"))
    if "function" in entries:
        check_names("a function's dictionary", entries, ["function", "params"])
        function = _look_up("function", entries["function"], FUNCTIONS)
        return _bound(function, entries["params"]) if "params" in entries else function
    if "type" not in entries and len(entries) == 1:
        ((only, params),) = entries.items()
        if only in FUNCTIONS or (
            _entries(params) is not None and only not in TYPES["Schedule"].fields
        ):
            return _bound(named(name, only), params)
    kind = _look_up("type", entries.get("type", "Schedule"), TYPES)
    fields = _fields(entries, "type")
    kind._check_names((), fields)
    for name, default in kind._defaults.items():
        if default is inspect.Parameter.empty and name not in fields:
            raise ValueError(f"{name} must be given in a {kind.__name__}; got {shown(fields)}")
    return kind(**fields)


def _bound(function: Function, params: Any) -> Bound:
    entries = _entries(params)
    if entries is None or not all(isinstance(key, str) for key in entries):
        raise ValueError(f"params must be a dictionary of names; got {shown(params)}")
    return bind(function, **_fields(entries))


def _fields(entries: dict[str, Any], *without: str) -> dict[str, Any]:
    return {key: _field(key, content) for key, content in entries.items() if key not in without}


def _field(name: str, content: Any) -> Any:
    if _entries(content) is not None:
        return _decode(name, content)
    if _is_list(content):
        return tuple(_field(name, item) for item in content)
    return content


def _look_up(key: str, name: Any, known: Mapping[str, Any]) -> Any:
    if not isinstance(name, str) or name not in known:
        others = ", or registered with rex_core.register" if known is FUNCTIONS else ""
        raise ValueError(
            f"{key} must be one of {', '.join(known)}{others}{nearest_name(name, known)}; "
            f"got {shown(name)}"
        )
    return known[name]
