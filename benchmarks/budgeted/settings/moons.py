"""Scikit-learn's two moons with noise, two numbers to one of two classes, and a small network."""

import flax.linen as nn
import jax
import numpy as np
from sklearn.datasets import make_moons

from benchmarks.budgeted.setting import Model, Setting, classification


class Network(nn.Module):
    """Two hidden layers of 32 units."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            x = nn.relu(nn.Dense(32)(x))
        return nn.Dense(2)(x)


def moons() -> Setting:
    """Of noise 0.2: 640 points for training, 1000 for validation, 2000 for the test."""
    points, classes = make_moons(3640, noise=0.2, random_state=0)
    points, classes = points.astype(np.float32), classes.astype(np.int32)
    train, validation, test = (
        (points[part], classes[part]) for part in np.split(np.arange(len(points)), [640, 1640])
    )
    network = Network()

    return Setting(
        name="two moons",
        train=train,
        validation=validation,
        test=test,
        init=lambda key: Model(network.init(key, points[:1])),
        **classification(network),
        batch_size=16,
        epochs=32,
        rates={"SGDM": (3, 1, 0.3, 0.1, 0.03, 0.01), "Adam": (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)},
    )
