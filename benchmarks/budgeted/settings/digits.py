"""Scikit-learn's handwritten digits, 8 × 8 pixels, which need no download, and a small network."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from benchmarks.budgeted.setting import Model, Setting, classification


class Network(nn.Module):
    """One hidden layer of 64 units; weights and all that is computed have the dtype."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        hidden = nn.relu(nn.Dense(64, dtype=self.dtype, param_dtype=self.dtype)(x))
        return nn.Dense(10, dtype=self.dtype, param_dtype=self.dtype)(hidden)


def digits(dtype: Any = jnp.float32) -> Setting:
    """Half of the 1797 images for training, a fifth for validation, the rest for the test."""
    x, y = load_digits(return_X_y=True)
    x, y = (x / 16).astype(np.float32), y.astype(np.int32)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)
    x, x_valid, y, y_valid = train_test_split(x, y, test_size=2 / 7, stratify=y, random_state=0)
    network = Network(dtype)

    return Setting(
        name="scikit-learn digits",
        train=(x, y),
        validation=(x_valid, y_valid),
        test=(x_test, y_test),
        init=lambda key: Model(network.init(key, x[:1])),
        **classification(network),
        batch_size=32,
        epochs=50,
        rates={"SGDM": (3, 1, 0.3, 0.1, 0.03, 0.01), "Adam": (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)},
    )
