"""Schedules as plain JSON types and back: for configuration files, checkpoints and logs.

A value becomes ``{"type": "Schedule", <its fields>}``, a function ``{"function": "rex"}`` or,
bound, ``{"function": "rex", "params": {"beta": 0.9}}``. What comes back is equal to what went in.
Reading never imports or evaluates anything: names are looked up among the library's own and those
registered.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from rex_core.plateau import Plateau
from rex_core.profiles import PROFILES
from rex_core.progress import is_array, is_number, known
from rex_core.replan import Replan
from rex_core.sampling import SAMPLINGS
from rex_core.schedule import Bound, Function, Join, Restarts, Schedule, bind

VERSION = 1

_TYPES: dict[str, Any] = {
    kind.__name__: kind for kind in (Schedule, Join, Restarts, Replan, Plateau)
}
_FUNCTIONS: dict[str, Function] = {f.__name__: f for f in (*PROFILES, *SAMPLINGS)}


def register(function: Function, name: str | None = None) -> Function:
    """Let `to_dict` write, and `from_dict` read, a profile or sampling of your own by its name.

    Args:
        function: The function of (t, T, **params); usable as a decorator.
        name: What it is called in the dictionary; its own name by default.

    Returns:
        The function.

    Raises:
        ValueError: The function is not callable, or the name belongs to another function (one that
            is defined again, in a notebook or by a reload, takes the place of the old one).

    >>> @register
    ... def half(t, T):
    ...     return 0.5
    >>> from_dict(to_dict(Schedule(half))) == Schedule(half)
    True
    """
    if not callable(function) or isinstance(function, Bound | type):
        raise ValueError(f"function must be a profile or sampling function; got {function!r}")
    name = getattr(function, "__name__", None) if name is None else name
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be a non-empty string; got {name!r}")
    taken = _FUNCTIONS.get(name, function)
    if _origin(taken) != _origin(function):
        raise ValueError(f"name must not be taken by another function; got {name!r}")
    _FUNCTIONS[name] = function
    return function


def _origin(function: Function) -> Any:
    """Where a function was defined: a notebook's cell, or a reloaded module, defines it again."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "<>")
    return function if "<" in name else (module, name)


def to_dict(value: Any) -> dict[str, Any]:
    """Write a schedule, or a profile or sampling, bound or not, as plain JSON types.

    Args:
        value: A `Schedule`, `Join`, `Restarts`, `Replan` or `Plateau`, what `bind` returned, or a
            registered function.

    Returns:
        A dictionary of strings, numbers, lists and dictionaries, with the version of the format.

    Raises:
        ValueError: A function in it is not registered, a number in it is an array or traced.

    >>> from rex_core import rex
    >>> to_dict(bind(rex, beta=0.9))
    {'version': 1, 'function': 'rex', 'params': {'beta': 0.9}}
    """
    plain = _encode(value)
    if not isinstance(plain, dict):
        raise ValueError(f"value must be a schedule, profile or sampling; got {value!r}")
    return {"version": VERSION, **plain}


def from_dict(data: Mapping[str, Any]) -> Any:
    """Read what `to_dict` wrote.

    Args:
        data: The dictionary, as it was or after a round trip through JSON.

    Returns:
        A value equal to the one that was written.

    Raises:
        ValueError: Unknown version, type or function; missing or unknown keys; values out of range.

    >>> from rex_core import rex
    >>> schedule = Schedule(bind(rex, beta=0.9), peak_value=0.1, warmup_ratio=0.05)
    >>> from_dict(to_dict(schedule)) == schedule
    True
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"data must be a dictionary written by to_dict; got {data!r}")
    version = data.get("version")
    if version != VERSION or isinstance(version, bool):
        raise ValueError(f"version must be {VERSION}; got {version!r}")
    try:
        return _decode({key: content for key, content in data.items() if key != "version"})
    except RecursionError:
        raise ValueError("data must be nested less deeply") from None


def _encode(value: Any) -> Any:
    if type(value).__name__ in _TYPES and type(value) is _TYPES[type(value).__name__]:
        content = {item.name: getattr(value, item.name) for item in fields(value) if item.init}
        return {"type": type(value).__name__} | {k: _encode(v) for k, v in content.items()}
    if isinstance(value, Bound):
        params = {name: _encode(param) for name, param in value.keywords.items()}
        return _encode(value.func) | {"params": params}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if is_number(value) or isinstance(value, bool | str | None):
        return value
    if is_array(value):
        array = known(value)
        if array is not None and array.ndim == 0:
            return array.item()
        raise ValueError(f"a number must be one known number to be written; got {value!r}")
    for name, function in _FUNCTIONS.items():
        if function is value:
            return {"function": name}
    raise ValueError(
        f"a function must be registered, with rex_core.register, to be written; got {value!r}"
    )


def _decode(data: Any) -> Any:
    if isinstance(data, list | tuple):
        return tuple(_decode(item) for item in data)
    if not isinstance(data, Mapping):
        return data
    if "type" in data:
        kind = _look_up("type", data["type"], _TYPES)
        names = [item.name for item in fields(kind) if item.init]
        _check_keys(data, ["type", *names])
        return kind(**{name: _decode(data[name]) for name in names})
    function = _look_up("function", data.get("function"), _FUNCTIONS)
    if "params" not in data:
        _check_keys(data, ["function"])
        return function
    _check_keys(data, ["function", "params"])
    if not isinstance(data["params"], Mapping) or not all(
        isinstance(k, str) for k in data["params"]
    ):
        raise ValueError(f"params must be a dictionary of names; got {data['params']!r}")
    return bind(function, **{name: _decode(param) for name, param in data["params"].items()})


def _look_up(key: str, name: Any, known_names: dict[str, Any]) -> Any:
    if not isinstance(name, str) or name not in known_names:
        others = ", or registered before it is read" if known_names is _FUNCTIONS else ""
        raise ValueError(f"{key} must be one of {', '.join(known_names)}{others}; got {name!r}")
    return known_names[name]


def _check_keys(data: Mapping[str, Any], accepted: list[str]) -> None:
    if set(data) != set(accepted):
        raise ValueError(f"keys must be {', '.join(accepted)}; got {', '.join(map(str, data))}")
