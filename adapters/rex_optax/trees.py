"""Trees whose leaves have paths, Variables of flax.nnx among them.

A state that was restored as dictionaries has the same paths as the state that was saved.
"""

import sys
from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.tree_util import keystr

Path: TypeAlias = tuple[str, ...]


def is_variable(node: Any) -> bool:
    """Whether it is a Variable of flax.nnx, if the user has imported that."""
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(node, nnx.Variable)


def value_of(leaf: Any) -> Any:
    """The array in a Variable; any other leaf as it is."""
    if not is_variable(leaf):
        return leaf
    return leaf.get_value() if hasattr(leaf, "get_value") else leaf.value


def leaves(tree: Any) -> dict[Path, Any]:
    """The leaves by their paths, as ``("inner_state", "0", "mu")``; a Variable is one leaf."""
    found, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_variable)
    return {tuple(keystr((key,), simple=True) for key in path): leaf for path, leaf in found}


def changed(tree: Any, values: Mapping[Path, Any]) -> Any:
    """The tree with other values at some paths. Variables are set in place.

    If all of them are Variables, the tree itself.
    """
    named = leaves(tree)
    for path, value in values.items():
        if is_variable(named[path]):
            _set(named[path], value)
        else:
            named[path] = value
    in_place = all(is_variable(named[path]) for path in values)
    return tree if in_place else rebuilt(tree, named)


def rebuilt(tree: Any, named: Mapping[Path, Any]) -> Any:
    """A tree of the same structure, its leaves looked up by their paths."""
    structure = jax.tree.structure(tree, is_leaf=is_variable)
    return jax.tree.unflatten(structure, [named[path] for path in leaves(tree)])


def like(old: Any, new: Any) -> jax.Array:
    """A copy of the new value with the shape, dtype and devices of the old: no recompilation."""
    old = value_of(old)
    # full_like may return the new array itself, which would be donated twice.
    copy = jnp.array(jnp.full_like(old, value_of(new)), copy=True)
    traced = isinstance(copy, jax.core.Tracer) or isinstance(old, jax.core.Tracer)
    placed = isinstance(old, jax.Array) and not traced and getattr(old, "committed", True)
    return jax.device_put(copy, old.sharding) if placed else copy


def _set(variable: Any, value: Any) -> None:
    if hasattr(variable, "set_value"):
        variable.set_value(value)
    else:
        variable.value = value
