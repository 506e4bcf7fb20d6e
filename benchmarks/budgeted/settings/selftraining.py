"""Noisy self-training, words to phonemes: a GRU encoder and decoder with attention, by Adam.

A teacher learns from labelled words. It labels the others by greedy decoding. A student learns from
both: half of its examples are the labelled words, repeated. The variants are

    supervised   no student: the labelled words alone, with dropout, as the teacher has it
    plain        a student without noise
    dropout      a student with dropout
    noisy        a student with dropout, and with noise in the spelling of the teacher's words

The budget is the student's. The teacher has a rate and a budget of its own. It is trained whenever
the setting is loaded, in about 20 seconds.

The paper's student learns from the teacher's words, and in a second run from the labelled ones.
Here a batch has both, so that one schedule spans the budget. All seeds have the same teacher. There
is one round, no beam and no smoothing of labels.

Source: He, Gu, Shen, Ranzato, "Revisiting Self-Training for Neural Sequence Generation", arXiv
1909.13788. The noise is that of the authors' code, with letters for its words.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.budgeted.data import cmudict
from benchmarks.budgeted.edit_distance import edit_distance
from benchmarks.budgeted.engine import programs
from benchmarks.budgeted.optimizers import OPTIMIZERS
from benchmarks.budgeted.schedules import RULES
from benchmarks.budgeted.setting import Batch, Model, Setting, as_it_is, rows

SIZES = 2000, 12_000, 1000, 1500  # words: labelled, unlabelled, validation, test
LONGEST = 12  # letters of a word, and phonemes
BLANK = 27  # a letter that is hidden; a to z are 1 to 26, and zeros fill the end

EMBEDDING = 32
WIDTH = 88
DROPOUT = 0.2
DROPPED, BLANKED = 0.2, 0.2  # shares of the letters
SHUFFLED = 3.0  # places: a letter moves by fewer

BATCH = 50
UPDATES = 2400  # of 100 %
TEACHER_RATE, TEACHER_UPDATES, TEACHER_SEED = 0.01, 720, 2000


class Network(nn.Module):
    """An encoder of letters, in both directions, and a decoder that attends to it.

    Phonemes have codes from 1. The code 0 stands before the first of a word and after its last.
    """

    phonemes: int
    dropout: float = 0.0

    def setup(self) -> None:
        self.letters = nn.Embed(BLANK + 1, EMBEDDING)
        self.sounds = nn.Embed(self.phonemes + 1, EMBEDDING)
        directions = nn.RNN(nn.GRUCell(WIDTH)), nn.RNN(nn.GRUCell(WIDTH))
        self.encoder = nn.Bidirectional(*directions, return_carry=True)
        self.bridge = nn.Dense(WIDTH)
        self.decoder = nn.RNN(nn.GRUCell(WIDTH), return_carry=True)
        self.query = nn.Dense(2 * WIDTH, use_bias=False)
        self.hidden = nn.Dense(WIDTH)
        self.logits = nn.Dense(self.phonemes + 1)
        self.drop = nn.Dropout(self.dropout)

    def __call__(self, letters: jax.Array, before: jax.Array, train: bool = False) -> jax.Array:
        """Letters (n, l) and the codes before each phoneme (n, p) to its logits (n, p, codes)."""
        state, memory = self.encode(letters, train)
        return self.decode(state, before, memory, letters > 0, train)[1]

    def encode(self, letters: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """The decoder's first state (n, WIDTH), and the memory (n, l, 2·WIDTH)."""
        embedded = self.drop(self.letters(letters), deterministic=not train)
        ends, memory = self.encoder(embedded, seq_lengths=jnp.count_nonzero(letters, axis=1))
        state = nn.tanh(self.bridge(jnp.concatenate(ends, axis=-1)))
        return state, self.drop(memory, deterministic=not train)

    def decode(
        self,
        state: jax.Array,
        before: jax.Array,
        memory: jax.Array,
        mask: jax.Array,
        train: bool = False,
    ) -> tuple[jax.Array, jax.Array]:
        """The next state, and the logits; the mask is of the memory, (n, l)."""
        embedded = self.drop(self.sounds(before), deterministic=not train)
        state, states = self.decoder(embedded, initial_carry=state)
        query, keys = self.query(states)[:, :, None], memory[:, :, None]  # One head.
        attended = nn.dot_product_attention(query, keys, keys, mask=mask[:, None, None])
        hidden = nn.tanh(self.hidden(jnp.concatenate([states, attended[:, :, 0]], axis=-1)))
        return state, self.logits(self.drop(hidden, deterministic=not train))


def greedy(network: Network, params: Any, letters: jax.Array) -> jax.Array:
    """The likeliest phoneme after each other, from letters (n, l): codes (n, LONGEST)."""
    apply: Any = partial(network.apply, params)
    state, memory = apply(letters, method="encode")

    def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], jax.Array]:
        state, before = carry
        state, logits = apply(state, before[:, None], memory, letters > 0, method="decode")
        after = jnp.argmax(logits[:, 0], axis=-1)
        return (state, after), after

    first = jnp.zeros(len(letters), int)
    _, steps = jax.lax.scan(step, (state, first), length=LONGEST)
    codes = steps.T
    return codes * jnp.cumprod(codes > 0, axis=1)  # What follows the end of a word is no part.


def misspelled(batch: Batch, key: jax.Array) -> Batch:
    """The teacher's words with letters shuffled, dropped and blanked; the labelled as they are."""
    letters, phonemes, labelled = batch
    moved_key, dropped_key, blanked_key = jax.random.split(key, 3)
    places = jnp.arange(letters.shape[1])
    moved = places + jax.random.uniform(moved_key, letters.shape, maxval=SHUFFLED)
    luck = jnp.where(letters > 0, jax.random.uniform(dropped_key, letters.shape), -1)
    least = jnp.minimum(DROPPED, luck.max(axis=1, keepdims=True))  # A letter at least is kept.
    order = jnp.argsort(jnp.where(luck >= least, moved, jnp.inf), axis=1)
    blanked = jax.random.bernoulli(blanked_key, BLANKED, letters.shape)
    noisy = jnp.where(luck >= least, jnp.where(blanked, BLANK, letters), 0)
    noisy = jnp.take_along_axis(noisy, order, axis=1)
    return jnp.where(labelled[:, None], letters, noisy), phonemes, labelled


# The dropout and the augmentation of each.
STUDENTS: dict[str, tuple[float, Any]] = {
    "plain": (0.0, as_it_is),
    "dropout": (DROPOUT, as_it_is),
    "noisy": (DROPOUT, misspelled),
}
VARIANTS = ("supervised", *STUDENTS)


def selftraining(variant: str) -> Setting:
    """Of CMUdict's 117 493 words of a to z, 114 565 are short enough; 16 500 of them are drawn."""
    return pronunciation(cmudict(), variant)


def pronunciation(
    dictionary: Mapping[str, Sequence[str]], variant: str, sizes: Sequence[int] = SIZES
) -> Setting:
    """The same, of any words of a to z and their phonemes.

    The metric is the phoneme error rate: the edit distances of what greedy decoding finds, summed
    over all words, divided by the number of their phonemes.

    Args:
        dictionary: The phonemes of each word; words that are too long are left out.
        variant: One of VARIANTS.
        sizes: How many words are labelled, are unlabelled, are for validation, are for the test.
    """
    letters, phonemes, count = _codes(dictionary)
    if len(letters) < sum(sizes):
        raise ValueError(
            f"dictionary must have {sum(sizes)} words of up to {LONGEST} letters and phonemes; "
            f"got {len(letters)}"
        )
    order = np.random.default_rng(0).permutation(len(letters))
    labelled, unlabelled, validation, test, _ = (
        (letters[part], phonemes[part]) for part in np.split(order, np.cumsum(sizes))
    )

    def setting(train: Batch, dropout: float, augment: Any) -> Setting:
        network = Network(count, dropout)
        return Setting(
            name=f"words to phonemes, {variant}",
            train=train,
            validation=validation,
            test=test,
            **_functions(network),
            batch_size=BATCH,
            epochs=UPDATES * BATCH // rows(train),
            rates={"Adam": (0.1, 0.03, 0.01, 0.003, 0.001, 3e-4)},
            percents=(5, 10, 25, 50, 100),
            tuned_at=25,  # Peaks that suit fewer updates are too high for more.
            augment=augment,
            lanes_at_once=1 if jax.default_backend() == "cpu" else None,
        )

    supervised = setting((*labelled, np.ones(len(labelled[0]), bool)), DROPOUT, as_it_is)
    if variant == "supervised":
        return supervised
    taught = unlabelled[0], _labels(supervised, count, unlabelled[0])
    train = (
        np.concatenate([np.resize(ours, its.shape), its])
        for ours, its in zip(labelled, taught, strict=True)
    )
    known = np.repeat([True, False], len(taught[0]))
    return setting((*train, known), *STUDENTS[variant])


def _functions(network: Network) -> dict[str, Any]:
    """The init, the loss and the metric of the network."""

    def init(key: jax.Array) -> Model:
        letters, before = jnp.zeros((2, 1, LONGEST), int)
        return Model(network.init(key, letters, before))

    def loss(model: Model, batch: Batch, key: jax.Array) -> tuple[jax.Array, None]:
        letters, phonemes = (column.astype(int) for column in batch[:2])
        before = jnp.pad(phonemes, ((0, 0), (1, 0)))[:, :-1]
        logits: Any = network.apply(
            model.params, letters, before, train=True, rngs={"dropout": key}
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, phonemes)
        return losses.mean(where=before + phonemes > 0), None  # A word's own, and its end.

    def metric(model: Model, examples: Batch, key: jax.Array) -> jax.Array:
        letters, phonemes = (column.astype(int) for column in examples)
        distances = jax.vmap(edit_distance)(greedy(network, model.params, letters), phonemes)
        return distances.sum() / jnp.count_nonzero(phonemes)

    return {"init": init, "loss": loss, "metric": metric}


def _labels(supervised: Setting, phonemes: int, letters: Any) -> Any:
    """What a teacher says of those words, in the form of what is known."""
    teacher = programs(supervised, OPTIMIZERS["Adam"], [RULES["linear"]])
    state = teacher.start(np.array([TEACHER_SEED]), np.array([[TEACHER_RATE]]))
    state = teacher.advance(state, TEACHER_UPDATES, TEACHER_UPDATES)
    params = jax.tree.map(lambda leaf: leaf[0, 0], state.model.params)
    found = jax.jit(greedy, static_argnums=0)(Network(phonemes), params, letters.astype(int))
    return np.pad(found, ((0, 0), (0, 1))).astype(np.uint8)


def _codes(dictionary: Mapping[str, Sequence[str]]) -> tuple[Any, Any, int]:
    """Letters (n, LONGEST), phonemes (n, LONGEST + 1), which end with a 0, and how many there are.

    Words are in the order of the alphabet.
    """
    alphabet = sorted({phoneme for sounds in dictionary.values() for phoneme in sounds})
    code = {phoneme: i for i, phoneme in enumerate(alphabet, start=1)}
    words = sorted(
        word
        for word, sounds in dictionary.items()
        if len(word) <= LONGEST and len(sounds) <= LONGEST
    )
    letters = np.zeros((len(words), LONGEST), np.uint8)
    phonemes = np.zeros((len(words), LONGEST + 1), np.uint8)
    for i, word in enumerate(words):
        letters[i, : len(word)] = [ord(letter) - ord("a") + 1 for letter in word]
        phonemes[i, : len(dictionary[word])] = [code[sound] for sound in dictionary[word]]
    return letters, phonemes, len(alphabet)
