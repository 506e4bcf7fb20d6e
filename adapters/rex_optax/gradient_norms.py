"""The norm of the gradient at each update, in the state of an optimizer."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from rex_core.adapting import STEPS, checked_norm, recorded
from rex_optax.trees import leaves, value_of

_LARGE = 2**15


class GradientNormsState(NamedTuple):
    """The state of `record_gradient_norms`.

    Attributes:
        count: The number of updates so far, an int32 scalar.
        norms: Their norms, and zeros for those to come: float32, of the shape (total_steps,).
    """

    count: jax.Array  # type: ignore[assignment]  # optax's name; tuple.count has it too.
    norms: jax.Array


def record_gradient_norms(
    total_steps: int, *, norm: Literal["l2", "l1"] = "l2"
) -> optax.GradientTransformationExtraArgs:
    """A transformation that records the norm of what it is given, and passes it on unchanged.

    ::

        l2: √(Σ |g|²)      l1: Σ |g|      over all numbers g of the gradient

    It stands in an ``optax.chain`` before what makes an update of a gradient. `gradient_norms`
    reads the record, and `rex_core.refine` takes it:

    * After a clipping it records the clipped gradient, which is what the rate multiplies. Before it
      the record has the norms as they were.
    * In ``optax.MultiSteps(optax.chain(record, ...), k)`` it records the accumulated gradient, once
      an update.
    * In ``optax.apply_if_finite`` steps that are skipped are not recorded.
    * Gradients that are sharded have their norm as a whole, under jit. In a ``shard_map`` each
      device sees its own part: record there what all devices share.

    Sums are taken in float32 or better, also of gradients of 16 bits. The state grows by 4 bytes
    for each of total_steps. Donate it to the compiled step (``donate_argnums``), or each step
    copies the record.

    A step reads the gradient once more. On a CPU, with three layers of 1024 units and batches of
    256, l2 norms take 2 % of a step, and l1 norms 3 to 4 %. After a clipping the cost of l2 norms
    cannot be measured. A small step of 0.15 ms takes a third longer
    (``python -m benchmarks.theory cost``).

    `rex_optax.restart` empties the record. `rex_optax.resume` keeps it, and needs the same
    total_steps: leave room for a longer budget if one may come.

    Args:
        total_steps: The most updates to record, in [1, 2^31 - 1], mostly the budget. Later updates
            are counted and not recorded.
        norm: "l2", for SGD, or "l1", for Adam: the `norm` that `refine` then takes.

    Raises:
        ValueError: total_steps is out of range; norm is another.

    >>> import jax.numpy as jnp
    >>> import optax
    >>> tx = optax.chain(record_gradient_norms(total_steps=3), optax.sgd(0.1))
    >>> opt_state = tx.init({"w": jnp.zeros(2)})
    >>> _, opt_state = tx.update({"w": jnp.array([3.0, 4.0])}, opt_state)
    >>> gradient_norms(opt_state)
    array([5.], dtype=float32)

    Source: arXiv 2310.07831, for the norms that its refinement takes.
    """
    steps = STEPS.count("total_steps", total_steps)
    measure = {"l2": _l2, "l1": _l1}[checked_norm(norm)]

    def init(params: Any) -> GradientNormsState:
        del params
        return GradientNormsState(jnp.zeros([], jnp.int32), jnp.zeros(steps, jnp.float32))

    def update(
        updates: Any, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, GradientNormsState]:
        del params, extra_args
        found = jnp.asarray(measure(updates), jnp.float32)
        norms = state.norms.at[state.count].set(found, mode="drop")
        count = jnp.asarray(optax.safe_increment(state.count))
        return updates, GradientNormsState(count, norms)

    return optax.GradientTransformationExtraArgs(init, update)


def gradient_norms(opt_state: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The norms that `record_gradient_norms` has recorded so far, for `rex_core.refine`.

    A warning says if updates came after the last one that there was room for.

    Args:
        opt_state: The state of an optimizer, at any depth of which there is one record: an
            ``nnx.Optimizer`` or a ``TrainState`` too, or the dictionaries of a checkpoint. Of
            several records, pass the part of the state that has the one, as ``opt_state[0]``.

    Returns:
        A NumPy array, float32, of the shape (n,) after n updates. Of a vmapped state (lanes, n).

    Raises:
        ValueError: Not one record; lanes that have made different numbers of updates.

    >>> import optax
    >>> from rex_core import refine
    >>> tx = optax.chain(record_gradient_norms(total_steps=100), optax.sgd(0.1))
    >>> opt_state = tx.init(1.0)
    >>> for gradient in (2.0, 2.0, 2.0):
    ...     _, opt_state = tx.update(gradient, opt_state)
    >>> norms = gradient_norms(opt_state)
    >>> refine(norms, len(norms), norm="l2")
    bind(interpolate, values=(1.0, 0.5, 0.0))
    """
    named = leaves(getattr(opt_state, "opt_state", opt_state))
    paths = [path[:-1] for path in named if path[-1:] == ("norms",)]
    found = [path for path in paths if (*path, "count") in named]
    if len(found) != 1:
        raise ValueError(
            "opt_state must have the state of one record_gradient_norms (of several, pass the part "
            f"that has the one, as opt_state[0]); got a {type(opt_state).__name__} with "
            f"{len(found)} of them"
        )
    count, norms = (np.asarray(value_of(named[(*found[0], name)])) for name in ("count", "norms"))
    counts = np.unique(count)
    if len(counts) != 1:
        raise ValueError(
            "opt_state must have lanes that have made the same number of updates; got counts from "
            f"{counts[0]} to {counts[-1]}"
        )
    known: np.ndarray[Any, np.dtype[np.float32]] = recorded(norms, int(counts[0]))
    return known


def _l2(tree: Any) -> ArrayLike:
    return jnp.sqrt(sum(jnp.sum(jnp.square(jnp.abs(leaf))) for leaf in _long(tree)))


def _l1(tree: Any) -> ArrayLike:
    return sum(jnp.sum(jnp.abs(leaf)) for leaf in _long(tree))


def _long(tree: Any) -> list[jax.Array]:
    """The arrays of a gradient, in float32 or better."""
    arrays = map(_apart, map(jnp.asarray, jax.tree.leaves(tree)))
    return [array.astype(jnp.promote_types(array.dtype, jnp.float32)) for array in arrays]


def _apart(array: jax.Array) -> jax.Array:
    """An array whose squares XLA does not share with Adam's.

    XLA writes what is shared to memory, which takes several times as long as the norm. Small arrays
    stay in the cache, and a kernel of their own costs more.
    """
    if array.size < _LARGE:
        return array
    apart: jax.Array = jax.lax.optimization_barrier(array)  # type: ignore[no-untyped-call]
    return apart
