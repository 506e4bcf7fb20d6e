"""The digits network wholly in bfloat16, where late updates are smaller than half a last digit.

Weights, activations, gradients and momentum have 8 binary digits; what differs is how a weight
takes an update: by rounding to the nearest, which loses the small ones, by rounding up or down at
random so that the mean is right, or by Kahan's summation, which keeps what was rounded away.

Source: Zamirai, Zhang, Aberger, De Sa, "Revisiting BFloat16 Training", arXiv 2010.06192.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.budgeted.setting import Setting
from benchmarks.budgeted.settings.digits import digits


def stochastic_rounding() -> optax.GradientTransformationExtraArgs:
    """Let the sum of weight and update be rounded up or down at random, with the right mean.

    The new update is the difference to that result, in float32, so that adding it is exact.
    """

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        keys = optax.tree_utils.tree_split_key_like(extra["key"], updates)

        def of(param: jax.Array, update: jax.Array, key: jax.Array) -> jax.Array:
            wide = param.astype(jnp.float32)
            return round_stochastically(wide + update, key).astype(jnp.float32) - wide

        return jax.tree.map(of, params, updates, keys), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def round_stochastically(x: jax.Array, key: jax.Array) -> jax.Array:
    """Float32 to bfloat16, up with a probability that is the distance to the lower neighbour.

    A bfloat16 is the upper half of a float32: a random number of 16 bits is added, and the lower
    half cut off.
    """
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    cut = jax.lax.bitcast_convert_type((bits + noise) & jnp.uint32(0xFFFF0000), jnp.float32)
    return jnp.where(jnp.isfinite(x), cut, x).astype(jnp.bfloat16)


class KahanState(NamedTuple):
    """What the weights have not yet taken of their updates."""

    owed: Any


def kahan_summation() -> optax.GradientTransformation:
    """Add to each update what rounding has kept from the weight so far, in bfloat16 too."""

    def init(params: Any) -> Any:
        return KahanState(jax.tree.map(jnp.zeros_like, params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        wanted = jax.tree.map(lambda u, o, p: (u + o).astype(p.dtype), updates, state.owed, params)
        taken = jax.tree.map(lambda p, w: (p + w).astype(p.dtype) - p, params, wanted)
        return wanted, KahanState(jax.tree.map(jnp.subtract, wanted, taken))

    return optax.GradientTransformation(init, update)


FINISHES = {
    "nearest": optax.identity(),
    "stochastic": stochastic_rounding(),
    "kahan": kahan_summation(),
}
VARIANTS = tuple(FINISHES)


def lowprecision(rounding: str) -> Setting:
    """`digits` in bfloat16, by SGD: Adam's second moment, which decays by 0.1 %, could not fall."""
    setting = digits(jnp.bfloat16)
    return replace(
        setting,
        name=f"digits in bfloat16, {rounding} rounding",
        rates={"SGDM": setting.rates["SGDM"]},
        finish=FINISHES[rounding],
    )
