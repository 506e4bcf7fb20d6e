"""The settings against what is published of them, and against other implementations."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from benchmarks.budgeted import settings
from benchmarks.budgeted.engine import programs
from benchmarks.budgeted.optimizers import OPTIMIZERS
from benchmarks.budgeted.schedules import RULES
from benchmarks.budgeted.setting import Setting, as_it_is
from benchmarks.budgeted.settings import lowprecision
from benchmarks.budgeted.settings.charlm_shakespeare import CONTEXT, Network, charlm
from benchmarks.budgeted.settings.digits import digits
from benchmarks.budgeted.settings.resnet20_cifar10 import (
    Convolution,
    ResNet20,
    flip_and_crop,
    resnet20,
)
from benchmarks.budgeted.settings.vae_mnist import LATENT, negative_elbo, vae

pytestmark = pytest.mark.long

RNG = np.random.default_rng(0)


def pixels(*shape: int) -> Any:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


IMAGES = [(pixels(n, 32, 32, 3), RNG.integers(0, 10, n)) for n in (128, 500, 500)]


def small_resnet() -> Setting:
    """One batch, always as it is: a few steps on it can only lower its loss."""
    few = tuple(column[:4] for column in IMAGES[0])
    return replace(resnet20(*IMAGES, "noise"), train=few, batch_size=4, augment=as_it_is)


TEXT = "to be, or not to be: that is the question. " * 2000

# Name: (setting, optimizer, rate); those with downloaded data have a little noise instead.
SMALL: dict[str, tuple[Setting, str, float]] = {
    "vae_mnist": (vae(*(pixels(n, 784) for n in (200, 500, 500))), "Adam", 1e-3),
    "resnet20_cifar10": (small_resnet(), "SGDM", 0.01),
    "charlm_shakespeare": (replace(charlm(TEXT), batch_size=8), "AdamW", 0.01),
    "moons": (settings.load("moons"), "SGDM", 0.1),
    **{name: (settings.load(name), "GD", 30) for name in settings.variants("autoencoder")},
    **{
        name: (settings.load(name), "SGDM", 0.1)
        for file in ("lowprecision", "batches")
        for name in settings.variants(file)
    },
}


def test_every_setting_is_here() -> None:
    here = {name.partition("-")[0] for name in SMALL}
    elsewhere = {"digits", "selftraining", "translation"}  # In test files of their own.
    assert here | elsewhere == set(settings.files())


def test_variants() -> None:
    assert settings.variants("digits") == ["digits"]
    assert settings.variants("autoencoder")[0] == "autoencoder-weak"
    assert settings.variants("autoencoder-tied") == ["autoencoder-tied"]
    assert settings.load("batches-8").batch_size == 8
    for name in ("digits-large", "autoencoder-", "numbers"):
        with pytest.raises(ValueError, match=f"setting must be one of .*; got '{name}'"):
            settings.variants(name)
    with pytest.raises(ValueError, match="setting must be one of autoencoder-weak"):
        settings.load("autoencoder")


@pytest.mark.parametrize("name", SMALL)
def test_training(name: str) -> None:
    setting, optimizer, rate = SMALL[name]
    lanes = programs(setting, OPTIMIZERS[optimizer], [RULES["REX"]])
    new = lanes.advance(lanes.start([0], [[rate]]), 12, 12)
    state = lanes.start([0], [[rate]])

    def loss(state: Any) -> float:
        model = jax.tree.map(lambda leaf: leaf[0, 0], state.model)
        train = jax.tree.map(lambda column: column[: setting.batch_size], setting.train)
        return float(setting.loss(model, train, jax.random.key(0))[0])

    assert loss(new) < loss(state)
    assert lanes.validation(new).shape == lanes.test(new).shape == (1, 1, 1)
    if name.startswith("resnet20"):  # Batch norm has learned its averages.
        assert all(_changed(state.model.stats, new.model.stats))
    if name.startswith("lowprecision"):
        dtypes = {leaf.dtype for leaf in jax.tree.leaves((new.model, new.trace))}
        assert dtypes - {jnp.dtype(jnp.int32)} == {jnp.dtype(jnp.bfloat16)}  # Besides counts.
    if name.startswith("autoencoder"):  # Encoder, and decoder if there is one.
        expected = {"weak": [True, False], "joint": [True, True], "tied": [True]}
        assert _changed(state.model, new.model) == expected[name.partition("-")[2]]


def _changed(old: Any, new: Any) -> list[bool]:
    pairs = zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)
    return [bool((a != b).any()) for a, b in pairs]


def test_loss_of_the_vae_is_the_negative_elbo() -> None:
    x, logits = RNG.random((5, 7)), RNG.normal(size=(5, 7))
    mean, log_variance = RNG.normal(size=(2, 5, 3))
    pixels = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(logits), torch.tensor(x), reduction="none"
    )
    posterior = torch.distributions.Normal(
        torch.tensor(mean), torch.tensor(np.exp(log_variance / 2))
    )
    prior = torch.distributions.Normal(0.0, 1.0)
    divergence = torch.distributions.kl_divergence(posterior, prior)
    expected = pixels.sum(dim=1) + divergence.sum(dim=1)
    found = negative_elbo(*map(jnp.asarray, (x, logits, mean, log_variance)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_vae_has_three_dense_layers_on_each_side() -> None:
    setting, *_ = SMALL["vae_mnist"]
    params = setting.init(jax.random.key(0)).params["params"]
    shapes = [layer["kernel"].shape for layer in params.values()]
    encoder, decoder = [(784, 512), (512, 256), (256, 2 * LATENT)], [(2, 256), (256, 512)]
    assert sorted(shapes) == sorted([*encoder, *decoder, (512, 784)])
    assert (setting.batch_size, setting.epochs, LATENT) == (100, 200, 2)


def test_resnet20_is_the_published_one() -> None:
    x = jnp.zeros((2, 32, 32, 3))
    variables = jax.jit(lambda key: ResNet20().init(key, x, train=False))(jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 269_722
    _, inside = ResNet20().apply(
        variables,
        x,
        train=False,
        capture_intermediates=lambda module, _: type(module).__name__ in ("Convolution", "Dense"),
        mutable="intermediates",
    )
    shapes = sorted(leaf.shape[1:] for leaf in jax.tree.leaves(inside))
    maps = 7 * [(32, 32, 16)] + 6 * [(16, 16, 32)] + 6 * [(8, 8, 64)]
    assert shapes == sorted([*maps, (10,)])


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_is_a_convolution(stride: int) -> None:
    x = jnp.asarray(RNG.normal(size=(2, 8, 8, 5)), jnp.float32)
    layer = Convolution(7, stride)
    variables = layer.init(jax.random.key(0), x)
    expected = jax.lax.conv_general_dilated(
        x,
        variables["params"]["kernel"],
        (stride, stride),
        [(1, 1), (1, 1)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=1e-4, atol=1e-5)


def test_flips_and_crops() -> None:
    images, classes = pixels(40, 32, 32, 3), np.arange(40)
    found, same = flip_and_crop((images, classes), jax.random.key(1))
    np.testing.assert_array_equal(same, classes)
    seen = []
    for before, after in zip(images, np.asarray(found), strict=True):
        moves = [
            (mirrored, down, right)
            for mirrored in (False, True)
            for down in range(9)
            for right in range(9)
            if _cropped(before[:, ::-1] if mirrored else before, after, down, right)
        ]
        assert len(moves) == 1
        seen += moves
    assert {mirrored for mirrored, _, _ in seen} == {False, True}
    assert min(move[1:] for move in seen)[0] == 0
    assert max(move[1:] for move in seen)[0] == 8


def _cropped(image: Any, found: Any, down: int, right: int) -> bool:
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    return bool((padded[down : down + 32, right : right + 32] == found).all())


def test_text_is_cut_into_windows_that_overlap_by_a_character() -> None:
    setting, *_ = SMALL["charlm_shakespeare"]
    windows = setting.train
    assert windows.shape[1] == CONTEXT + 1
    np.testing.assert_array_equal(windows[:-1, -1], windows[1:, 0])
    alphabet = sorted(set(TEXT))
    text = "".join(alphabet[code] for code in windows[:, :-1].ravel())
    assert TEXT.startswith(text)


def test_language_model_sees_no_later_character() -> None:
    network, text = Network(5), jnp.asarray(RNG.integers(0, 5, (1, CONTEXT)))
    variables = network.init(jax.random.key(0), text)
    other = text.at[0, 20].set((text[0, 20] + 1) % 5)
    before, after = network.apply(variables, text)[0], network.apply(variables, other)[0]
    same = (before == after).all(axis=1)
    assert same[:20].all()
    assert not same[20:].any()


@pytest.mark.parametrize(
    ("rounding", "low", "high"),
    [
        ("nearest", 1, 1),
        ("stochastic", 1.06, 1.14),
        ("kahan", 1.095, 1.105),
    ],
)
def test_roundings_and_updates_below_half_a_digit(rounding: str, low: float, high: float) -> None:
    finish = lowprecision.FINISHES[rounding]
    weights = {"w": jnp.ones(1000, jnp.bfloat16)}
    state = finish.init(weights)
    for i in range(100):
        updates = {"w": jnp.full(1000, 1e-3)}
        extra = {"key": jax.random.key(i)} if rounding == "stochastic" else {}
        updates, state = finish.update(updates, state, weights, **extra)
        weights = jax.tree.map(lambda w, u: (w + u).astype(w.dtype), weights, updates)
    mean = float(weights["w"].astype(jnp.float32).mean())
    assert low <= mean <= high


def test_settings_of_the_paper() -> None:
    original = resnet20(*IMAGES, "noise")
    assert (original.batch_size, original.epochs) == (128, 300)


def test_names_of_settings() -> None:
    with pytest.raises(ValueError, match=r"setting must be one of .*, charlm_shakespeare, .*got"):
        settings.load("nothing")
    with pytest.raises(ValueError, match=r"autoencoder-weak, .*; got 'autoencoder-strong'"):
        settings.load("autoencoder-strong")


def test_bad_settings_are_refused() -> None:
    for size in (0, 898):  # A batch that cannot be filled.
        with pytest.raises(ValueError, match=rf"batch_size must be in \[1, 897\].*got {size}"):
            replace(digits(), batch_size=size)
    with pytest.raises(ValueError, match="must divide the 360 validation examples; got 7"):
        replace(digits(), evaluation_batch=7)
    with pytest.raises(ValueError, match=r"optimizers of SGDM, Adam, .*; got 'Sgd'"):
        replace(digits(), rates={"Sgd": (1.0,)})
