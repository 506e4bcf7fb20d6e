"""A two-layer ReLU autoencoder with many more units than inputs, by full-batch gradient descent.

    x̂ = A·relu(W·x) / √(m·d), for m units and d inputs, from weights of variance 1

Weakly trained, only the encoder W learns; jointly trained, both do; weight-tied, A is W transposed.
The data are scikit-learn's digits, scaled to length 1.

Source: Nguyen, Wong, Hegde, "Benefits of Jointly Training Autoencoders: An Improved Neural Tangent
Kernel Analysis", arXiv 1911.11983.
"""

import jax
import jax.numpy as jnp

from benchmarks.budgeted.setting import Batch, Model, Setting
from benchmarks.budgeted.settings.digits import digits

UNITS = 512
VARIANTS = ("weak", "joint", "tied")


def autoencoder(variant: str) -> Setting:
    """The loss of the full batch is the squared distance of x and x̂, and so is the metric."""
    train, validation, test = (
        x / jnp.linalg.norm(x, axis=1, keepdims=True)
        for x, _ in (digits().train, digits().validation, digits().test)
    )
    inputs = train.shape[1]

    def init(key: jax.Array) -> Model:
        encoder_key, decoder_key = jax.random.split(key)
        encoder = jax.random.normal(encoder_key, (inputs, UNITS))
        decoder = jax.random.normal(decoder_key, (UNITS, inputs))
        if variant == "joint":
            return Model((encoder, decoder))
        # The decoder of the weakly trained one is no parameter, but each seed has its own.
        return Model((encoder,), stats=decoder if variant == "weak" else None)

    def metric(model: Model, x: Batch, key: jax.Array) -> jax.Array:
        encoder = model.params[0]
        decoder = {"weak": model.stats, "joint": model.params[-1], "tied": encoder.T}[variant]
        decoded = jax.nn.relu(x @ encoder) @ decoder / jnp.sqrt(UNITS * inputs)
        return jnp.mean(jnp.sum((x - decoded) ** 2, axis=1))

    def loss(model: Model, batch: Batch, key: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        return metric(model, batch, key), model.stats

    return Setting(
        name=f"autoencoder, {variant}",
        train=train,
        validation=validation,
        test=test,
        init=init,
        loss=loss,
        metric=metric,
        metric_name="loss",
        batch_size=len(train),
        epochs=1000,
        rates={"GD": (1000, 300, 100, 30, 10, 3)},
    )
