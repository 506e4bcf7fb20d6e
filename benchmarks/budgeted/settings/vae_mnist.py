"""A variational autoencoder of MNIST with two latent variables, the REX paper's.

Three dense layers encode and three decode, batches are of 100, and 100 % are 200 epochs. The widths
are not published; 512 and 256 are taken.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from benchmarks.budgeted.data import mnist
from benchmarks.budgeted.setting import Batch, Model, Setting

LATENT = 2
VALIDATION = 5000


class Network(nn.Module):
    """An encoder to mean and log-variance of the latent variables, and a decoder to logits."""

    @nn.compact
    def __call__(self, x: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        hidden = nn.relu(nn.Dense(256)(nn.relu(nn.Dense(512)(x))))
        mean, log_variance = jnp.split(nn.Dense(2 * LATENT)(hidden), 2, axis=-1)
        latent = mean + jnp.exp(log_variance / 2) * noise
        hidden = nn.relu(nn.Dense(512)(nn.relu(nn.Dense(256)(latent))))
        return nn.Dense(x.shape[-1])(hidden), mean, log_variance


def negative_elbo(
    x: jax.Array, logits: jax.Array, mean: jax.Array, log_variance: jax.Array
) -> jax.Array:
    """The cross-entropy of pixels in [0, 1] plus the divergence of the latent variables, in nats.

    Source: Kingma, Welling, "Auto-Encoding Variational Bayes", arXiv 1312.6114, equation 10 and
    appendix B.
    """
    reconstruction = optax.sigmoid_binary_cross_entropy(logits, x).sum(axis=-1)
    divergence = (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=-1) / 2
    loss: jax.Array = reconstruction + divergence
    return loss


def vae_mnist() -> Setting:
    """The last 5000 training images are for validation."""
    x, _, test, _ = mnist()
    return vae(x[:-VALIDATION], x[-VALIDATION:], test)


def vae(train: Any, validation: Any, test: Any) -> Setting:
    """The same, of any images: bytes, (n, pixels)."""
    network = Network()

    def metric(model: Model, images: Batch, key: jax.Array) -> jax.Array:
        x = images / jnp.float32(255)
        noise = jax.random.normal(key, (len(x), LATENT))
        outputs: Any = network.apply(model.params, x, noise)
        return negative_elbo(x, *outputs).mean()

    def loss(model: Model, images: Batch, key: jax.Array) -> tuple[jax.Array, None]:
        return metric(model, images, key), None

    return Setting(
        name="VAE on MNIST",
        train=train,
        validation=validation,
        test=test,
        init=lambda key: Model(
            network.init(key, jnp.zeros((1, train.shape[1])), jnp.zeros((1, LATENT)))
        ),
        loss=loss,
        metric=metric,
        metric_name="loss",
        batch_size=100,
        epochs=200,
        rates={
            "SGDM": (0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5),
            "Adam": (0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4),
        },
        tuned_at=1,
        evaluation_batch=500,
    )
