"""The setting `selftraining`, on a small language of its own, and the dictionary if it is there."""

import os
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from torchmetrics.functional.text import edit_distance as reference

from benchmarks.budgeted.edit_distance import edit_distance
from benchmarks.budgeted.engine import programs
from benchmarks.budgeted.optimizers import OPTIMIZERS
from benchmarks.budgeted.schedules import RULES
from benchmarks.budgeted.setting import Setting
from benchmarks.budgeted.settings import selftraining
from benchmarks.budgeted.settings.selftraining import (
    BLANK,
    BLANKED,
    DROPPED,
    LONGEST,
    SHUFFLED,
    Network,
    greedy,
    misspelled,
    pronunciation,
)

pytestmark = pytest.mark.long

RNG = np.random.default_rng(0)

# Every word of three or four letters out of four; a letter has one phoneme.
LANGUAGE = {
    "".join(word): tuple(letter.upper() for letter in word)
    for length in (3, 4)
    for word in product("abcd", repeat=length)
}
SIZES = 60, 120, 50, 50


def spelled(words: Any) -> list[str]:
    """The codes of each row as letters, 1 as a."""
    return ["".join(chr(96 + code) for code in word if code) for word in np.asarray(words)]


def weights(init: Any, *args: Any) -> Any:
    """Random parameters, larger than the first ones, so that outputs differ."""
    shapes = jax.eval_shape(init, jax.random.key(0), *args)
    return jax.tree.map(lambda leaf: RNG.normal(0, 0.3, leaf.shape).astype(leaf.dtype), shapes)


def padded(codes: Sequence[int], length: int) -> Any:
    return np.pad(np.asarray(codes, int), (0, length - len(codes)))


@pytest.mark.parametrize("symbols", [1, 2, 5])
def test_edit_distance_is_torchmetrics(symbols: int) -> None:
    codes = RNG.integers(1, symbols + 1, (2, 7, 7, 8))
    lengths = np.indices((7, 7))[..., None]  # Every pair of lengths from 0 to 6.
    found, expected = np.where(np.arange(8) < lengths, codes, 0).reshape(2, 49, 8)
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(edit_distance))(found, expected),
        reference(spelled(found), spelled(expected), reduction="none"),
    )


def test_the_network_has_the_published_size() -> None:
    letters = jnp.zeros((1, LONGEST), int)
    params = jax.eval_shape(Network(39).init, jax.random.key(0), letters, letters)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 156_216


@pytest.fixture(scope="module")
def network() -> tuple[Any, Any, Any]:
    """Logits and greedy decoding of a network, and words of 1 to 9 letters."""
    letters = np.stack([padded(RNG.integers(1, 27, n), LONGEST) for n in range(1, 10)])
    network = Network(5, dropout=0.5)
    params = weights(network.init, letters, letters)
    return (
        jax.jit(partial(network.apply, params)),
        jax.jit(partial(greedy, network, params)),
        letters,
    )


def test_greedy_decoding_takes_the_likeliest_after_each_other(network: Any) -> None:
    logits, decoded, letters = network
    found = decoded(letters)
    before = jnp.pad(found, ((0, 0), (1, 0)))[:, :-1]
    likeliest = logits(letters, before).argmax(axis=-1)
    ended = jnp.cumsum(before == 0, axis=1) > 1  # The first stands before the word.
    np.testing.assert_array_equal(found, jnp.where(ended, 0, likeliest))
    assert len(np.unique(found)) > 3
    assert 0 < ended.mean() < 1


def test_what_fills_the_end_is_no_letter(network: Any) -> None:
    logits, _, letters = network
    more, before = np.pad(letters, ((0, 0), (0, 5))), np.zeros_like(letters)
    np.testing.assert_allclose(logits(more, before), logits(letters, before), rtol=1e-4, atol=1e-5)


def test_noise_in_the_spelling() -> None:
    n = 4000
    lengths = RNG.integers(1, LONGEST + 1, n)
    # No letter twice in a word, so that each can be found again.
    letters = np.stack([padded(RNG.permutation(26)[:k] + 1, LONGEST) for k in lengths])
    phonemes, labelled = RNG.integers(0, 40, (n, LONGEST + 1)), np.arange(n) % 4 == 0
    batch = tuple(map(jnp.asarray, (letters.astype(np.uint8), phonemes, labelled)))
    found, *same = misspelled(batch, jax.random.key(0))
    assert found.dtype == jnp.uint8
    np.testing.assert_array_equal(same[0], phonemes)
    np.testing.assert_array_equal(same[1], labelled)
    noisy = np.asarray(found)
    np.testing.assert_array_equal(noisy[labelled], letters[labelled])

    kept = np.count_nonzero(noisy, axis=1)
    assert (kept >= 1).all()
    assert ((noisy > 0) == (np.arange(LONGEST) < kept[:, None])).all()
    turns = []
    for before, after in zip(letters[~labelled], noisy[~labelled], strict=True):
        seen = after[(after > 0) & (after != BLANK)]
        assert np.isin(seen, before).all()
        places = [int(np.flatnonzero(before == letter)[0]) for letter in seen]
        turns += [a - b for i, a in enumerate(places) for b in places[i + 1 :] if a > b]
    assert len(turns) > n / 4
    assert max(turns) == SHUFFLED - 1
    long = ~labelled & (lengths >= 5)  # Words of a letter or two cannot lose their share.
    assert 1 - kept[long].sum() / lengths[long].sum() == pytest.approx(DROPPED, abs=0.01)
    assert (noisy[long] == BLANK).sum() / kept[long].sum() == pytest.approx(BLANKED, abs=0.01)


@pytest.fixture(scope="module")
def noisy() -> Setting:
    """The student of a teacher that had few updates, for a language that needs no more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selftraining, "TEACHER_UPDATES", 150)
        return pronunciation(LANGUAGE, "noisy", SIZES)


def test_half_of_the_training_words_are_the_teachers(noisy: Setting) -> None:
    letters, phonemes, labelled = noisy.train
    assert labelled.mean() == 0.5
    supervised = pronunciation(LANGUAGE, "supervised", SIZES)
    ours, true, all_labelled = supervised.train
    assert all_labelled.all()
    known = dict(zip(spelled(ours), true.tolist(), strict=True))
    assert len(known) == 60
    for word, codes in zip(spelled(letters[labelled]), phonemes[labelled], strict=True):
        assert codes.tolist() == known[word]
    # The others are new, each once, and the teacher is mostly right: a to d are A to D.
    others = spelled(letters[~labelled])
    assert len(set(others)) == 120
    assert not known.keys() & set(others)
    right = np.pad(letters[~labelled], ((0, 0), (0, 1)))
    distances = jax.vmap(edit_distance)(jnp.asarray(phonemes[~labelled], int), right)
    assert distances.sum() / np.count_nonzero(right) < 0.3
    for part, size in ((noisy.validation, 50), (noisy.test, 50)):
        words = set(spelled(part[0]))
        assert len(words) == size
        assert not words & {*known, *others}


def test_a_student_learns_by_the_phoneme_error_rate(noisy: Setting) -> None:
    lanes = programs(noisy, OPTIMIZERS["Adam"], [RULES["linear"]])
    state = lanes.start([0], [[0.01]])
    before = lanes.test(state).item()
    state = lanes.advance(state, 100, 100)
    after = lanes.test(state).item()
    assert after < before / 2
    params = jax.tree.map(lambda leaf: leaf[0, 0], state.model.params)
    letters, phonemes = noisy.test
    found = jax.jit(partial(greedy, Network(4)))(params, letters.astype(int))
    distances = reference(spelled(found), spelled(phonemes), reduction="sum")
    assert after == pytest.approx(float(distances) / np.count_nonzero(phonemes))


def test_too_few_words_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must have 500 words .* 12 letters .*; got 320"):
        pronunciation(LANGUAGE, "supervised", (100, 200, 100, 100))
    words = LANGUAGE | {"aa": ("A",) * 13, "b" * 13: ("B",)}
    with pytest.raises(ValueError, match="got 320"):
        pronunciation(words, "supervised", (322, 0, 0, 0))


@pytest.mark.skipif(
    not Path(os.environ.get("REX_DATA", ""), "cmudict/cmudict.dict").is_file(),
    reason="REX_DATA must name a folder that has cmudict/cmudict.dict",
)
def test_words_of_the_dictionary() -> None:
    words = selftraining.cmudict()
    assert len(words) == 117_493
    assert len({phoneme for phonemes in words.values() for phoneme in phonemes}) == 39
    assert words["tomato"] == ("T", "AH", "M", "EY", "T", "OW")
    setting = selftraining.selftraining("supervised")
    assert [len(part[0]) for part in (setting.train, setting.validation, setting.test)] == [
        *(2000, 1000, 1500)
    ]
    assert setting.updates(100) == 2400
    parts = [set(spelled(part[0])) for part in (setting.train, setting.validation, setting.test)]
    assert len(set.union(*parts)) == 4500
    assert set.union(*parts) <= words.keys()
