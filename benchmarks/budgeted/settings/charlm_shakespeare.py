"""A character-level language model of Shakespeare's plays: a small transformer, with AdamW."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.budgeted.data import shakespeare
from benchmarks.budgeted.setting import Batch, Model, Setting

CONTEXT = 64
WIDTH = 64
HEADS = 4
LAYERS = 2
MEASURED = 64  # windows that are measured at once


class Block(nn.Module):
    """Attention to what came before, then a perceptron, each after a layer norm."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        mask = nn.make_causal_mask(x[..., 0])
        x = x + nn.MultiHeadDotProductAttention(HEADS)(nn.LayerNorm()(x), mask=mask)
        hidden = nn.gelu(nn.Dense(4 * WIDTH)(nn.LayerNorm()(x)))
        return x + nn.Dense(WIDTH)(hidden)


class Network(nn.Module):
    """A decoder-only transformer with learned positions: characters (n, CONTEXT) to logits."""

    characters: int

    @nn.compact
    def __call__(self, text: jax.Array) -> jax.Array:
        positions = self.param("positions", nn.initializers.normal(0.02), (CONTEXT, WIDTH))
        x = nn.Embed(self.characters, WIDTH)(text) + positions
        for _ in range(LAYERS):
            x = Block()(x)
        return nn.Dense(self.characters)(nn.LayerNorm()(x))


def charlm_shakespeare() -> Setting:
    """Of the text, 90 % are for training, 5 % each for validation and test."""
    return charlm(shakespeare())


def charlm(text: str) -> Setting:
    """The same, of any text."""
    alphabet, codes = np.unique(list(text), return_inverse=True)
    codes = codes.astype(np.uint8)
    n = len(codes)
    train, validation, test = (
        _windows(part) for part in np.split(codes, [round(0.9 * n), round(0.95 * n)])
    )
    validation, test = (part[: len(part) // MEASURED * MEASURED] for part in (validation, test))
    validation = validation[: 5 * MEASURED]  # which is looked at often
    network = Network(len(alphabet))

    def metric(model: Model, windows: Batch, key: jax.Array) -> jax.Array:
        windows = windows.astype(jnp.int32)
        logits: Any = network.apply(model.params, windows[:, :-1])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:])
        return losses.mean()

    def loss(model: Model, windows: Batch, key: jax.Array) -> tuple[jax.Array, None]:
        return metric(model, windows, key), None

    return Setting(
        name="character-level transformer on Shakespeare",
        train=train,
        validation=validation,
        test=test,
        init=lambda key: Model(network.init(key, jnp.zeros((1, CONTEXT), jnp.int32))),
        loss=loss,
        metric=metric,
        metric_name="loss",
        batch_size=32,
        epochs=10,
        rates={"AdamW": (0.1, 0.03, 0.01, 0.003, 0.001, 3e-4)},
        percents=(1, 5, 25),
        tuned_at=5,
        evaluation_batch=MEASURED,
    )


def _windows(codes: Any) -> Any:
    """Rows of the context and one character more, which is the next row's first."""
    count = (len(codes) - 1) // CONTEXT
    return np.lib.stride_tricks.sliding_window_view(codes, CONTEXT + 1)[::CONTEXT][:count].copy()
