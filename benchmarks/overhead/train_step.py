"""One jitted training step of a small network, with the rate from different places."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from rex_optax import BudgetedSchedule, as_schedule

from benchmarks.overhead.measure import Row, compare
from rex_core import Schedule

STEPS = 10_000
BATCH = 128
SCHEDULE = Schedule(peak_value=0.1, end_value=0.001, warmup_steps=100)


class Network(nn.Module):
    """A perceptron on 64 inputs; small, so that a schedule's cost would show."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """The logits."""
        hidden = nn.relu(nn.Dense(128)(images))
        logits: jax.Array = nn.Dense(10)(hidden)
        return logits


def stepper(optimizer: optax.GradientTransformation) -> Callable[[], object]:
    """A function that takes the next step each time it is called."""
    network = Network()
    images = jax.random.normal(jax.random.key(1), (BATCH, 64))
    labels = jax.random.randint(jax.random.key(2), (BATCH,), 0, 10)

    def loss(params: Any) -> jax.Array:
        logits: Any = network.apply(params, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def step(params: Any, state: optax.OptState) -> tuple[Any, optax.OptState]:
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    params = network.init(jax.random.key(0), images)
    now = step(params, optimizer.init(params))

    def call() -> object:
        nonlocal now
        now = step(*now)
        return [leaf.block_until_ready() for leaf in jax.tree.leaves(now[0])]

    return call


def run() -> list[Row]:
    """The rows of the table: plain optimizers, then those with injected hyperparameters."""
    inject = optax.inject_hyperparams(optax.sgd)
    plain = {
        "sgd, constant rate": optax.sgd(0.1),
        "sgd, optax's cosine": optax.sgd(optax.cosine_decay_schedule(0.1, STEPS)),
        "sgd, as_schedule": optax.sgd(as_schedule(SCHEDULE, STEPS)),
    }
    injected = {
        "inject_hyperparams, constant rate": inject(jnp.float32(0.1)),
        "inject_hyperparams, optax's cosine": inject(optax.cosine_decay_schedule(0.1, STEPS)),
        "inject_hyperparams, BudgetedSchedule": inject(BudgetedSchedule(SCHEDULE, STEPS)),
    }
    return [
        row
        for optimizers in (plain, injected)
        for row in compare({name: stepper(o) for name, o in optimizers.items()}, number=50)
    ]
