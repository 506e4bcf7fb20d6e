"""An adversarial autoencoder that translates words between two texts, without a dictionary.

Linear encoders give the codes p = x·E and q = y·E' of words of the two texts. A mapper G takes p
to the space of q, and F takes q to that of p. A discriminator D in each of these spaces, a
perceptron, tells codes that are mapped there from those that are at home. Two players lose

    discriminators:  bce(D(p·G), 0.8) + bce(D(q), 0.2)
    mappers:         bce(D(p·G), 0.2) + bce(D(q), 0.8) + 5·|p·G·F − p| + (p·G·F·decoder − x)²

as means over words and coordinates, and as much in the other direction. The loss of the `Setting`
is the sum, where gradients of a player's part stop before the other's weights. SGD and Adam step
each weight by itself, so that one optimizer of the sum is one for each player. Both have the same
schedule and the same peak; the source has one rate for both, too.

The vectors are made from the texts (`words.space`). The variant "halves" has two halves of an
English text, and its gold pairs are the words that are in both. "french" has the whole of it and a
French text, and its pairs are of a dictionary. Nothing is trained on a pair. The metric is
1 − precision at 1, by CSLS, after the refinement of G (`words.refined`).

Source: Mohiuddin, Joty, "Revisiting Adversarial Autoencoder for Unsupervised Word Translation with
Cycle Consistency and Improved Training", arXiv 1904.04116. What differs here:

* The discriminators have one update for each of the mappers', not five, and both players move at
  the same time. Their layers have 128 units, not 2048.
* The codes have as many coordinates as the vectors, so that any rotation is an encoder that is
  trained already: each seed draws its own, and it stays. In the published program, too, encoders
  are trained before, and no gradient reaches them then; in the paper one plays with the mapper.
* The reweighting of coordinates, which comes after the refinement there, is left out.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.budgeted import data, words
from benchmarks.budgeted.setting import Batch, Model, Setting
from benchmarks.budgeted.words import Gold

VARIANTS = ("halves", "french")
WORDS = 4000
DIMENSIONS = 40
DRAWN = 2000  # the most frequent words, which the discriminators see
EPOCH = 800  # batches of words that are drawn at random, as often as it comes
BATCH = 32
SMOOTHING = 0.2
CYCLE = 5.0
RECONSTRUCTION = 1.0
ORTHOGONALISATION = 0.01


class Spaces(NamedTuple):
    """Two spaces, and gold pairs in three parts; the first is for what is supervised alone."""

    source: Any
    target: Any
    dictionary: Gold
    validation: Gold
    test: Gold


class Params(NamedTuple):
    """What is trained; the first of each pair is of the source's codes, the second the target's."""

    mappers: tuple[jax.Array, ...]
    decoders: tuple[jax.Array, ...]
    discriminators: tuple[Any, ...]


Codes = tuple[jax.Array, ...]


class Discriminator(nn.Module):
    """Codes (n, dimensions) of unit variance to logits (n,)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dropout(0.1, deterministic=False)(x)
        for _ in range(2):
            x = nn.leaky_relu(nn.Dense(128, kernel_init=nn.initializers.he_normal())(x), 0.2)
        return nn.Dense(1)(x)[:, 0]


def translation(variant: str) -> Setting:
    """The adversarial autoencoder on the spaces of two texts."""
    name, tuned_at = {
        "halves": ("two halves of an English text", 25),
        "french": ("English to French", 100),  # Under 25 % no peak gets anywhere.
    }[variant]
    setting = adversarial(spaces(variant), f"word translation, {name}")
    return replace(setting, tuned_at=tuned_at)


@lru_cache
def spaces(variant: str) -> Spaces:
    """The spaces of the texts of `REX_DATA`; they are made in a few seconds."""
    halves = data.sentences("en-a"), data.sentences("en-b")
    texts = halves if variant == "halves" else ("\n".join(halves), data.sentences("fr"))
    (source, x), (target, y) = (words.space(text, WORDS, DIMENSIONS) for text in texts)
    pairs = [(word, word) for word in source] if variant == "halves" else data.word_pairs()
    return Spaces(x, y, *words.gold(pairs, source, target))


def adversarial(given: Spaces, name: str) -> Setting:
    """The same, on any two spaces with as many dimensions as each other."""
    source, target = given.source, given.target
    dimensions = source.shape[1]
    drawn = np.random.default_rng(0).integers(
        [[min(DRAWN, len(source))], [min(DRAWN, len(target))]], size=(2, EPOCH * BATCH)
    )

    def init(key: jax.Array) -> Model:
        encoder_key, *keys = jax.random.split(key, 3)
        encoders = jax.random.orthogonal(encoder_key, dimensions, (2,))
        params = Params(
            mappers=2 * (jnp.eye(dimensions),),
            decoders=tuple(encoder.T for encoder in encoders),
            discriminators=tuple(
                Discriminator().init({"params": k, "dropout": k}, source[:1]) for k in keys
            ),
        )
        return Model(params, stats=tuple(encoders))

    def loss(model: Model, batch: Batch, key: jax.Array) -> tuple[jax.Array, Any]:
        codes = tuple(x @ encoder for x, encoder in zip(batch, model.stats, strict=True))
        stop = jax.lax.stop_gradient
        judges = model.params._replace(mappers=stop(model.params.mappers))
        players = model.params._replace(discriminators=stop(model.params.discriminators))
        total = told(judges, codes, 1 - SMOOTHING, key) + told(players, codes, SMOOTHING, key)
        return total + lost(players, codes, batch), model.stats

    def metric(model: Model, pairs: Gold, key: jax.Array) -> jax.Array:
        encoder, other = model.stats
        turn = encoder @ model.params.mappers[0] @ other.T
        return words.error(words.refined(turn, source, target), source, target, pairs)

    return Setting(
        name=name,
        train=(source[drawn[0]], target[drawn[1]]),
        validation=given.validation,
        test=given.test,
        init=init,
        loss=loss,
        metric=metric,
        batch_size=BATCH,
        epochs=50,
        rates={"SGDM": (0.8, 0.4, 0.2, 0.1, 0.05), "Adam": (0.02, 0.01, 0.005, 0.0025, 0.00125)},
        percents=(5, 10, 25, 50, 100),
        finish=optax.stateless(orthogonalised),
        lanes_at_once=1,
    )


def told(params: Params, codes: Codes, label: float, key: jax.Array) -> jax.Array:
    """½·Σ over both spaces of bce(D(codes mapped there), label) + bce(D(codes), 1 − label)."""
    total = jnp.zeros(())
    for here, there in ((0, 1), (1, 0)):
        mapped = codes[here] @ params.mappers[here]
        seen = jnp.concatenate([mapped, codes[there]]) * jnp.sqrt(mapped.shape[1])
        logits = Discriminator().apply(
            params.discriminators[there], seen, rngs={"dropout": jax.random.fold_in(key, here)}
        )
        labels = jnp.repeat(jnp.asarray([label, 1 - label]), len(mapped))
        total += optax.sigmoid_binary_cross_entropy(logits, labels).mean()
    return total


def lost(params: Params, codes: Codes, batch: Batch) -> jax.Array:
    """Σ over both spaces of 5·|p·G·F − p| + (p·G·F·decoder − x)², means over all coordinates."""
    total = jnp.zeros(())
    for here, there in ((0, 1), (1, 0)):
        back = codes[here] @ params.mappers[here] @ params.mappers[there]
        total += CYCLE * jnp.mean(jnp.abs(back - codes[here]))
        total += RECONSTRUCTION * jnp.mean((back @ params.decoders[here] - batch[here]) ** 2)
    return total


def orthogonalised(updates: Any, params: Any) -> Any:
    """The updates, after which each mapper W takes a step of W ← W − β·(W·Wᵀ·W − W), β = 0.01.

    Source: Cisse et al., "Parseval Networks", arXiv 1704.08847.
    """

    def further(update: jax.Array, old: jax.Array) -> jax.Array:
        new = old + update
        return update - ORTHOGONALISATION * (new @ new.T @ new - new)

    mappers = jax.tree.map(further, updates.mappers, params.mappers)
    return updates._replace(mappers=mappers)


def references(given: Spaces) -> dict[str, float]:
    """Test errors of a random turn and of Procrustes on half of the pairs, plain and refined."""
    source, target, known, _, test = given
    row, column = np.nonzero(known.translations >= 0)
    pairs = source[known.words[row]], target[known.translations[row, column]]
    turns = {
        "no training": jax.random.orthogonal(jax.random.key(0), source.shape[1]),
        "supervised": words.procrustes(*pairs),
    }
    errors = {name: words.error(turn, source, target, test) for name, turn in turns.items()}
    for name, turn in turns.items():
        turn = words.refined(turn, source, target)
        errors[f"{name}, refined"] = words.error(turn, source, target, test)
    return {name: float(value) for name, value in errors.items()}


if __name__ == "__main__":
    for variant in VARIANTS:
        for name, value in references(spaces(variant)).items():
            print(f"{variant}, {name}: {100 * value:.1f} %")
