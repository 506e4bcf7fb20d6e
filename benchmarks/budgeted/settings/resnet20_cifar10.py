"""ResNet-20 on CIFAR-10, the REX paper's: batches of 128, 100 % are 300 epochs.

Weight decay and augmentation are not published; He et al.'s are taken: 1e-4 on all weights, flips,
and crops of images padded by 4.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", arXiv 1512.03385,
section 4.2, with the shortcuts without parameters (option A).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from benchmarks.budgeted.data import cifar10
from benchmarks.budgeted.setting import Batch, Model, Setting

VALIDATION = 5000
WEIGHT_DECAY = 1e-4
PADDING = 4


class Convolution(nn.Module):
    """A convolution of 3 × 3, padded by 1 on all sides, as a matrix product.

    Lanes have kernels of their own, which makes a product of batches of matrices; XLA's
    convolution would become one of groups, and is slow in a loop on CPUs.
    """

    channels: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = 3, 3, x.shape[-1], self.channels
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        height, width = x.shape[1:3]

        @jax.checkpoint  # The patches are nine times the input: made again, not kept.
        def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
            padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            patches = [
                padded[:, i : i + height : self.stride, j : j + width : self.stride]
                for i in range(3)
                for j in range(3)
            ]
            return jnp.concatenate(patches, axis=-1) @ kernel.reshape(-1, self.channels)

        y: jax.Array = product(x, kernel)
        return y


class Block(nn.Module):
    """Two convolutions and a shortcut; with a stride of 2 it takes every other pixel."""

    channels: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        y = nn.relu(_norm(train)(Convolution(self.channels, self.stride)(x)))
        y = _norm(train)(Convolution(self.channels)(y))
        shortcut = x[:, :: self.stride, :: self.stride]
        more = self.channels - x.shape[-1]
        shortcut = jnp.pad(shortcut, ((0, 0), (0, 0), (0, 0), (more // 2, more - more // 2)))
        return nn.relu(y + shortcut)


class ResNet20(nn.Module):
    """Three stages of three blocks, of 16, 32 and 64 channels, after a convolution."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.relu(_norm(train)(Convolution(16)(x)))
        for stage in range(3):
            for block in range(3):
                x = Block(16 * 2**stage, stride=2 if stage > 0 and block == 0 else 1)(x, train)
        return nn.Dense(10)(x.mean(axis=(1, 2)))


def resnet20_cifar10() -> Setting:
    """The last 5000 training images are for validation."""
    x, y, x_test, y_test, data = cifar10()
    train, validation = (x[:-VALIDATION], y[:-VALIDATION]), (x[-VALIDATION:], y[-VALIDATION:])
    return resnet20(train, validation, (x_test, y_test), data)


def resnet20(train: Batch, validation: Batch, test: Batch, data: str) -> Setting:
    """The same, of any images: bytes, (n, 32, 32, 3), and their classes."""
    network = ResNet20()
    mean, sd = train[0].mean(axis=(0, 1, 2)) / 255, train[0].std(axis=(0, 1, 2)) / 255

    def inputs(images: Any) -> jax.Array:
        normal: jax.Array = (images / jnp.float32(255) - mean) / sd
        return normal.astype(jnp.float32)

    def init(key: jax.Array) -> Model:
        variables = network.init(key, inputs(train[0][:1]), train=False)
        return Model(variables["params"], variables["batch_stats"])

    def loss(model: Model, batch: Batch, key: jax.Array) -> tuple[jax.Array, Any]:
        x, y = batch
        variables = {"params": model.params, "batch_stats": model.stats}
        logits, new = network.apply(variables, inputs(x), train=True, mutable=["batch_stats"])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        decay = WEIGHT_DECAY / 2 * optax.tree_utils.tree_norm(model.params, squared=True)
        return losses.mean() + decay, new["batch_stats"]

    def error(model: Model, examples: Batch, key: jax.Array) -> jax.Array:
        x, y = examples
        variables = {"params": model.params, "batch_stats": model.stats}
        logits: Any = network.apply(variables, inputs(x), train=False)
        return jnp.mean(jnp.argmax(logits, axis=-1) != y)

    return Setting(
        name="ResNet-20 on CIFAR-10",
        train=train,
        validation=validation,
        test=test,
        init=init,
        loss=loss,
        metric=error,
        batch_size=128,
        epochs=300,
        rates={
            "SGDM": (1, 0.3, 0.1, 0.03, 0.01, 0.003),
            "Adam": (0.1, 0.03, 0.01, 0.003, 0.001, 3e-4),
        },
        tuned_at=1,
        augment=flip_and_crop,
        lanes_at_once=1 if jax.default_backend() == "cpu" else None,
        evaluation_batch=500,
        data=data,
    )


def flip_and_crop(batch: Batch, key: jax.Array) -> Batch:
    """Half of the images mirrored, and each moved by up to 4 pixels either way, black behind it."""
    images, classes = batch
    count, height, width, _ = images.shape
    flip_key, crop_key = jax.random.split(key)
    mirrored = jax.random.bernoulli(flip_key, shape=(count, 1, 1, 1))
    images = jnp.where(mirrored, images[:, :, ::-1], images)
    padded = jnp.pad(images, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    corners = jax.random.randint(crop_key, (2, count, 1), 0, 2 * PADDING + 1)
    down = (corners[0] + jnp.arange(height))[:, :, None]
    right = (corners[1] + jnp.arange(width))[:, None, :]
    return padded[jnp.arange(count)[:, None, None], down, right], classes


def _norm(train: bool) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=not train, momentum=0.9)
