"""Small updates of bfloat16 weights: rounded at random with the right mean, or summed up."""

import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import keystr, tree_leaves_with_path

from rex_core.adapting import LARGEST_STEP, shown


class StochasticRoundingState(NamedTuple):
    """The state of `stochastic_rounding`.

    Attributes:
        count: The number of updates so far, int32.
    """

    count: jax.Array  # type: ignore[assignment]  # optax's name; tuple.count has it too.


class KahanState(NamedTuple):
    """The state of `kahan_summation`.

    Attributes:
        owed: The part of its updates that each weight has not yet taken, in the weight's dtype.
    """

    owed: Any


def stochastic_rounding(key: jax.Array | int = 0) -> optax.GradientTransformationExtraArgs:
    """Round the sum of a bfloat16 weight and its update up or down at random, with the right mean.

    The sum of weight and update is p + u, in float32. Its neighbours in bfloat16 are a and b, with
    a <= p + u <= b::

        p + update = b with the probability (p + u - a)/(b - a), a otherwise
        E[p + update] = p + u

    A weight of bfloat16 has 8 binary digits. ``optax.apply_updates`` rounds to the nearest number,
    and loses each update below 1/512 of the weight. Here such an update takes effect once in a
    while. Make this the last link of a chain: a later link would change the sum. `optax.MultiSteps`
    goes around the chain.

    Weights of 32 bits and more keep their updates as they are. The noise of an update depends on
    the key and on the count of updates, not on the devices that hold the weights. Within
    ``jax.shard_map`` every device has the same noise for its part.

    Args:
        key: A key of ``jax.random``, or a seed, an integer in [0, 2^31 - 1]. An extra argument
            ``key=`` of ``update`` takes its place for that update.

    Returns:
        The transformation. It needs ``params``; its state is a count; its updates are float32.

    Raises:
        ValueError: key is no key and no seed; a parameter is a float of 16 bits or less, and no
            bfloat16.

    >>> import jax.numpy as jnp
    >>> import optax
    >>> optimizer = optax.chain(optax.sgd(1e-3), stochastic_rounding(0))
    >>> weights = jnp.ones(100_000, jnp.bfloat16)
    >>> updates, state = optimizer.update(weights, optimizer.init(weights), weights)
    >>> changed = optax.apply_updates(weights, updates)
    >>> sorted(set(changed.tolist())), bool(jnp.abs(changed.mean(dtype="float32") - 0.999) < 1e-4)
    ([0.99609375, 1.0], True)

    Source: Zamirai, Zhang, Aberger, De Sa, "Revisiting BFloat16 Training", arXiv 2010.06192.
    """
    key = _key(key)

    def init(params: Any) -> StochasticRoundingState:
        _check(params)
        return StochasticRoundingState(jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        _check(params)
        given = extra.get("key")
        of_update = jax.random.fold_in(key, state.count) if given is None else _key(given)
        keys = optax.tree_utils.tree_split_key_like(of_update, updates)
        rounded = jax.tree.map(_rounded, params, updates, keys)
        return rounded, StochasticRoundingState(jnp.asarray(optax.safe_increment(state.count)))

    return optax.GradientTransformationExtraArgs(init, update)


def kahan_summation() -> optax.GradientTransformation:
    """Add to each update what rounding has kept from the weight so far: Kahan's summation.

    c is the sum that a weight p is owed, 0 at first. ``round`` is to the nearest in p's dtype::

        update = round(p + (u + c)) - p
        c' = round((u + c) - update)

    In bfloat16, a weight and its owed sum together have 16 binary digits. Each update adds at most
    2^-16 of the weight to the distance between p + c and the exact sum. Make this the last link of
    a chain: a later link would change the sum. `optax.MultiSteps` goes around the chain.

    Returns:
        The transformation. It needs ``params``; its state is as large as they are; its updates of
        bfloat16 weights are float32.

    Raises:
        ValueError: A parameter is a float of 16 bits or less, and no bfloat16.

    >>> import jax.numpy as jnp
    >>> import optax
    >>> optimizer = optax.chain(optax.sgd(1e-3), kahan_summation())
    >>> weight = jnp.ones((), jnp.bfloat16)
    >>> state = optimizer.init(weight)
    >>> for _ in range(100):
    ...     updates, state = optimizer.update(jnp.ones(()), state, weight)
    ...     weight = optax.apply_updates(weight, updates)
    >>> weight
    Array(0.898438, dtype=bfloat16)

    Source: Zamirai, Zhang, Aberger, De Sa, "Revisiting BFloat16 Training", arXiv 2010.06192.
    """

    def init(params: Any) -> KahanState:
        _check(params)
        return KahanState(jax.tree.map(jnp.zeros_like, params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        _check(params)
        pairs = jax.tree.map(_compensated, params, updates, state.owed)
        taken = jax.tree.map(lambda _, pair: pair[0], params, pairs)
        return taken, KahanState(jax.tree.map(lambda _, pair: pair[1], params, pairs))

    return optax.GradientTransformation(init, update)


def _rounded(param: jax.Array, update: jax.Array, key: jax.Array) -> jax.Array:
    """The update that takes a weight to its sum, rounded at random.

    A bfloat16 is the upper half of a float32. A random number of 16 bits is added to the sum. Then
    the lower half is cut off.
    """
    if jnp.result_type(param) != jnp.bfloat16:
        return update
    wide = jnp.asarray(param, jnp.float32)
    exact = wide + jnp.asarray(update, jnp.float32)
    noise = jax.random.bits(key, exact.shape, jnp.uint16).astype(jnp.uint32)
    bits = jax.lax.bitcast_convert_type(exact, jnp.uint32) + noise
    cut = jax.lax.bitcast_convert_type(bits & jnp.uint32(0xFFFF0000), jnp.float32)
    return jnp.where(jnp.isfinite(exact), cut, exact) - wide


def _compensated(
    param: jax.Array, update: jax.Array, owed: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The update that a weight takes, and the sum that it is owed then."""
    own = jnp.result_type(param)
    if not jnp.issubdtype(own, jnp.floating):
        return update, owed
    dtype = jnp.promote_types(own, jnp.float32)
    wide = jnp.asarray(param, dtype)
    wanted = jnp.asarray(update, dtype) + jnp.asarray(owed, dtype)
    total = wide + wanted
    if own == jnp.bfloat16:
        # XLA may leave out a cast to bfloat16 and back, but no reduce_precision.
        total = jax.lax.reduce_precision(total, exponent_bits=8, mantissa_bits=7)
    taken = total - wide
    return taken, (wanted - taken).astype(own)


def _key(key: Any) -> jax.Array:
    """A key of jax.random, of either kind. A seed becomes a key."""
    if isinstance(key, jax.Array):
        old = key.dtype == jnp.uint32 and key.ndim == 1
        if old or jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            return key
    try:
        seed = -1 if isinstance(key, bool) else operator.index(key)
    except TypeError:
        seed = -1
    if not 0 <= seed <= LARGEST_STEP:
        raise ValueError(
            f"key must be a key of jax.random or a seed in [0, {LARGEST_STEP}]; got {shown(key)}"
        )
    return jax.random.key(seed)


def _check(params: Any) -> None:
    """Refuse missing parameters, and short floats other than bfloat16."""
    if params is None:
        raise ValueError("params must be given to update, as its third argument; got None")
    for path, leaf in tree_leaves_with_path(params):
        dtype = jnp.result_type(leaf)
        short = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize <= 2
        if short and dtype != jnp.bfloat16:
            raise ValueError(
                "params must be bfloat16, or have 32 bits or more; "
                f"got {dtype.name} at params{keystr(path)}"
            )
