"""A network, and one jitted training step of it with any optimizer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import optax

Params = Any
Step = Callable[[Params, Any], tuple[Params, Any]]


class Size(NamedTuple):
    """How large a network is, and its batches."""

    width: int
    depth: int
    batch: int

    def __str__(self) -> str:
        blocks = f"{self.depth} residual block{'s'[: self.depth > 1]}"
        return f"{blocks} of width {self.width}, batches of {self.batch}"


TINY = Size(width=64, depth=1, batch=128)
DEEP = Size(width=64, depth=8, batch=32)
MEDIUM = Size(width=256, depth=8, batch=64)


class Network(nn.Module):
    """A residual perceptron on 64 inputs."""

    size: Size

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The logits."""
        x = nn.Dense(self.size.width)(x)
        for _ in range(self.size.depth):
            x += nn.Dense(self.size.width)(nn.relu(nn.LayerNorm()(x)))
        logits: jax.Array = nn.Dense(10)(x)
        return logits


class Problem(NamedTuple):
    """Where training begins, and what it lowers."""

    params: Params
    loss: Callable[[Params], jax.Array]


def problem(size: Size) -> Problem:
    """One batch of noise, with labels; the work of a step does not depend on them."""
    network = Network(size)
    images = jax.random.normal(jax.random.key(1), (size.batch, 64))
    labels = jax.random.randint(jax.random.key(2), (size.batch,), 0, 10)

    def loss(params: Params) -> jax.Array:
        logits: Any = network.apply(params, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return Problem(jax.jit(network.init)(jax.random.key(0), images), loss)


def finished(arrays: Any) -> Any:
    """The arrays, once they have been computed."""
    for leaf in jax.tree.leaves(arrays):
        leaf.block_until_ready()
    return arrays


def train_step(
    loss: Callable[[Params], jax.Array], optimizer: optax.GradientTransformation
) -> Step:
    """The jitted step (params, state) -> (params, state)."""

    @jax.jit
    def train_step(params: Params, state: Any) -> tuple[Params, Any]:
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    return train_step
