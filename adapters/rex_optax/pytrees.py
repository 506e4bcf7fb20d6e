"""Schedules as pytrees: numbers are leaves; functions and the places of boundaries are structure.

One program can then be vmapped over, or differentiated by, peaks, ends, warmups and β. Milestones,
fractions, cycles and period_mult stay outside, so that their boundaries stay exact. Ratios and the
fraction of `every_fraction` are leaves, and as exact as their dtype once they are traced.
"""

from dataclasses import fields
from functools import partial
from typing import Any

from jax.tree_util import DictKey, GetAttrKey, SequenceKey, register_pytree_with_keys

from rex_core import Join, Replan, Restarts, Schedule
from rex_core.schedule import Bound, restore

_VALUES = Schedule, Join, Restarts, Replan, Bound
_STRUCTURE = {"cycles", "period_mult", "fractions", "milestones"}
_KEYS = {Join: SequenceKey, Bound: DictKey}


def _parts(value: Any) -> dict[Any, Any]:
    if isinstance(value, Bound):
        return value.keywords
    if isinstance(value, Join):
        return {**dict(enumerate(value.schedules)), "fractions": value.fractions}
    return {item.name: getattr(value, item.name) for item in fields(value) if item.init}


def _is_child(name: Any, content: Any) -> bool:
    return isinstance(content, _VALUES) or (name not in _STRUCTURE and not callable(content))


def _flatten(value: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
    parts = _parts(value)
    key = _KEYS.get(type(value), GetAttrKey)
    children = {name: content for name, content in parts.items() if _is_child(name, content)}
    structure = tuple((name, c) for name, c in parts.items() if name not in children)
    function = value.func if isinstance(value, Bound) else None
    return [(key(name), c) for name, c in children.items()], (function, tuple(children), structure)


def _unflatten(kind: type[Any], data: tuple[Any, ...], children: Any) -> Any:
    function, names, structure = data
    parts = dict(zip(names, children, strict=True)) | dict(structure)
    if kind is Bound:
        return Bound(function, **parts)
    if kind is Join:
        fractions = parts.pop("fractions")
        parts = {"schedules": tuple(parts[i] for i in sorted(parts)), "fractions": fractions}
    return restore(kind, parts)


for _kind in _VALUES:
    register_pytree_with_keys(_kind, _flatten, partial(_unflatten, _kind))
