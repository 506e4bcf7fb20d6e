"""Schedules as pytrees: numbers are leaves; functions and the places of boundaries are structure.

One program can then be vmapped over peaks, ends, warmups and β, or differentiated by them.
Milestones, tables, cycles and period_mult are no leaves, so that their boundaries stay exact.
Ratios and the fraction of `every_fraction` are leaves. Once traced, they are as exact as their
dtype.
"""

from functools import partial
from typing import Any

from jax.tree_util import DictKey, GetAttrKey, SequenceKey, register_pytree_with_keys

from rex_core import Clamp, Join, OneCycle, Pair, Product, Replan, Restarts, Schedule
from rex_core.adapting import Bound, Value, restored

_VALUES = Schedule, Join, Restarts, Replan, Product, Clamp, Pair, OneCycle, Bound
_STRUCTURE = {"cycles", "period_mult", "milestones", "values", "local", "decay_now"}
_KEYS = {Join: SequenceKey, Product: SequenceKey, Bound: DictKey}


def _parts(value: Value) -> dict[Any, Any]:
    """The fields of a value by name. Several schedules go by their places."""
    if isinstance(value, Bound):
        return {"function": value.function, **value.params}
    fields = value.contents()
    return {**dict(enumerate(fields.pop("schedules", ()))), **fields}


def _is_child(name: Any, content: Any) -> bool:
    return isinstance(content, Value) or (name not in _STRUCTURE and not callable(content))


def _flatten(value: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
    parts = _parts(value)
    key = _KEYS.get(type(value), GetAttrKey)
    children = {name: content for name, content in parts.items() if _is_child(name, content)}
    structure = tuple((name, c) for name, c in parts.items() if name not in children)
    return [(key(name), c) for name, c in children.items()], (tuple(children), structure)


def _unflatten(kind: type[Any], data: tuple[Any, ...], children: Any) -> Any:
    names, structure = data
    parts = dict(zip(names, children, strict=True)) | dict(structure)
    if kind is Bound:
        return restored(Bound, {"function": parts.pop("function"), "params": parts})
    places = sorted(name for name in parts if isinstance(name, int))
    if places:
        parts["schedules"] = tuple(parts.pop(place) for place in places)
    return restored(kind, parts)


for _kind in _VALUES:
    register_pytree_with_keys(_kind, _flatten, partial(_unflatten, _kind))
