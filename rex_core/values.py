"""Values: immutable, equal and hashable by their fields, written as the call that makes them."""

import inspect
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

import numpy as np

from rex_core.arrays import concrete, is_array, shown
from rex_core.names import check_names

V = TypeVar("V", bound="Value")

MAX_DEPTH = 50
MAX_SIZE = 10_000

TYPES: dict[str, type["Value"]] = {}


class Value:
    """The base of schedules and their like.

    Its fields are the parameters of its constructor. They alone are compared, hashed, copied and
    pickled: a pickle is the call of the constructor. `_derive` computes all other attributes from
    them.
    """

    fields: ClassVar[tuple[str, ...]]
    _defaults: ClassVar[dict[str, Any]]
    _positional: ClassVar[int]
    _arrays: tuple[Any, ...]
    _depth: int
    _size: int

    def __init_subclass__(cls, *, kind: bool = False) -> None:
        """A kind is written and read by its name. A subclass of a kind is not."""
        super().__init_subclass__()
        if cls.__init__ is not object.__init__:
            parameters = [*inspect.signature(cls.__init__).parameters.values()][1:]
            cls.fields = tuple(each.name for each in parameters)
            cls._defaults = {each.name: each.default for each in parameters}
            cls._positional = sum(each.kind is each.POSITIONAL_OR_KEYWORD for each in parameters)
        if kind:
            TYPES[cls.__name__] = cls

    def __new__(cls: type[V], *args: Any, **params: Any) -> V:
        """Refuse unknown names, with the library's error and a hint, before the constructor."""
        cls._check_names(args, params)
        return super().__new__(cls)

    @classmethod
    def _check_names(cls, args: tuple[Any, ...], params: dict[str, Any]) -> None:
        check_names(cls.__name__, params, cls.fields)

    def _set(self, **fields: Any) -> None:
        """Set the fields, refuse values nested too deeply, and compute the rest."""
        self.__dict__.update(fields)
        parts = [*inner(self)]
        depth = 1 + max((each._depth for each in parts), default=0)
        size = 1 + sum(each._size for each in parts)
        for name, number, most in (("depth", depth, MAX_DEPTH), ("size", size, MAX_SIZE)):
            if number > most:
                raise ValueError(
                    f"the {name} of nested values must be at most {most}; got {number} in a "
                    f"{type(self).__name__}"
                )
        self.__dict__.update(_depth=depth, _size=size)
        self._derive()

    def _derive(self) -> None:
        """Compute what calls need from the fields."""
        self.__dict__["_arrays"] = arrays_of(self.contents())

    def contents(self) -> dict[str, Any]:
        """The fields by their names."""
        return {name: getattr(self, name) for name in self.fields}

    def replace(self: V, **changes: Any) -> V:
        """The same value with other fields.

        >>> from rex_core import Schedule
        >>> Schedule(peak_value=0.1).replace(warmup_ratio=0.05)
        Schedule(peak_value=0.1, warmup_ratio=0.05)
        """
        return type(self)(**(self.contents() | changes))

    __replace__ = replace  # What copy.replace calls.

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a {type(self).__name__} is a value; {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} is a value; {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other) or not isinstance(other, Value):
            return NotImplemented
        return bool(_key(self.contents()) == _key(other.contents()))

    def __hash__(self) -> int:
        return hash((type(self), *_key(self.contents())))

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), self.contents())

    def __repr__(self) -> str:
        """The call that makes it, defaults left out."""
        texts, positional = [], True
        for index, name in enumerate(self.fields):
            content = getattr(self, name)
            if _key(content) == _key(self._defaults[name]):
                positional = False
                continue
            named = not positional or index >= self._positional
            texts.append(f"{name}={text(content)}" if named else text(content))
        return f"{type(self).__name__}({', '.join(texts)})"


def _made(kind: type[Value], fields: dict[str, Any]) -> Value:
    return kind(**fields)


def restored(kind: type[V], fields: dict[str, Any]) -> V:
    """A value of unchecked fields: pytrees put tracers and placeholders into them."""
    value = object.__new__(kind)
    value.__dict__.update(fields, _depth=1, _size=1)
    with suppress(TypeError, ValueError):  # A placeholder is no number; its value is never called.
        value._derive()
    return value


def inner(value: Value) -> Iterator[Value]:
    """The values in the fields of a value."""
    return _values_in(value.contents().values())


def _values_in(contents: Any) -> Iterator[Value]:
    for content in contents:
        if isinstance(content, Value):
            yield content
        elif isinstance(content, tuple):
            yield from _values_in(content)


def arrays_of(content: Any) -> tuple[Any, ...]:
    """The arrays in a field, in its tuples and dictionaries, and in the values there."""
    if isinstance(content, dict):
        content = tuple(content.values())
    if isinstance(content, tuple):
        return tuple(array for item in content for array in arrays_of(item))
    if isinstance(content, Value):
        return content._arrays
    return (content,) if is_array(content) else ()


def _key(content: Any) -> Any:
    """The compared part of a field: for an array its values, or its identity while traced."""
    if isinstance(content, dict):
        return tuple((name, _key(item)) for name, item in content.items())
    if isinstance(content, tuple):
        return tuple(map(_key, content))
    if not is_array(content):
        return content
    seen = concrete(content)
    if seen is None:
        return id(content)
    return seen.item() if np.ndim(seen) == 0 else (seen.shape, tuple(seen.reshape(-1).tolist()))


def text(content: Any) -> str:
    """A field in the call that makes a value."""
    if isinstance(content, tuple):
        return f"({', '.join(map(text, content))}{',' if len(content) == 1 else ''})"
    return name_of(content) if inspect.isfunction(content) else repr(content)


def name_of(function: Any) -> str:
    """The name of a function, or the call that makes a value."""
    return function.__name__ if hasattr(function, "__name__") else shown(function)
