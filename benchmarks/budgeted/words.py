"""Spaces of word vectors: how a text gives one, and how one is turned onto another.

A space is an array (words, dimensions) of vectors of length 1, the most frequent word first. A turn
is an orthogonal matrix (dimensions, dimensions): x @ turn is a vector of the other space.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

WINDOW = 5  # words on each side
SMOOTHING = 0.75  # of the frequencies of contexts
NEIGHBOURS = 10  # of the mean similarity in CSLS
FREQUENT = 2000  # words by which a turn is refined
ROUNDS = 5


class Gold(NamedTuple):
    """Words and all translations of each, by their rows in the two spaces.

    Fields:
        words: (n,).
        translations: (n, most translations); -1 fills the rows of words with fewer.
    """

    words: NDArray[np.int32]
    translations: NDArray[np.int32]


def space(text: str, words: int, dimensions: int) -> tuple[list[str], NDArray[np.float32]]:
    """The most frequent words of a text, and their vectors: PPMI, then a truncated SVD.

        PPMI = max(0, log(p(w, c) / (p(w)·p(c)^0.75 / Σ p^0.75)))  ≈  U·S·V,  vectors U·S

    for a word c within 5 words of w in a sentence. Vectors are scaled to length 1, centred, and
    scaled again.

    Source: Levy, Goldberg, Dagan, "Improving Distributional Similarity with Lessons Learned from
    Word Embeddings", TACL 2015.

    Args:
        text: One sentence a line, words separated by spaces.
        words: How many, at most.
        dimensions: Of a vector, fewer than the words.
    """
    sentences = [line.split() for line in text.splitlines()]
    counts = Counter(word for sentence in sentences for word in sentence)
    vocabulary = [word for word, _ in counts.most_common(words)]
    if not 1 <= dimensions < len(vocabulary):
        raise ValueError(
            f"dimensions must be in [1, {len(vocabulary) - 1}], below the words of the text; "
            f"got {dimensions}"
        )
    rows = {word: row for row, word in enumerate(vocabulary)}
    other = len(vocabulary)  # the row of all other words, and of what lies between sentences
    gap = WINDOW * [other]
    codes = np.asarray(
        [code for s in sentences for code in (*(rows.get(word, other) for word in s), *gap)]
    )
    pairs = sparse.csr_matrix((other + 1, other + 1))
    for distance in range(1, WINDOW + 1):
        left, right = codes[:-distance], codes[distance:]
        pairs += sparse.csr_matrix((np.ones(len(left)), (left, right)), shape=pairs.shape)
    pairs = pairs[:other, :other]
    pairs = (pairs + pairs.T).tocoo()
    of_word = pairs.sum(axis=1).A1
    contexts = of_word**SMOOTHING
    expected = of_word[pairs.row] * contexts[pairs.col] / contexts.sum()
    pairs.data = np.maximum(0, np.log(pairs.data / expected))
    found = TruncatedSVD(dimensions, algorithm="arpack", random_state=0).fit_transform(pairs)
    found = _unit(found)
    return vocabulary, np.asarray(_unit(found - found.mean(axis=0)), np.float32)


def gold(
    pairs: Iterable[tuple[str, str]], source: Sequence[str], target: Sequence[str]
) -> tuple[Gold, Gold, Gold]:
    """The pairs of words of the two vocabularies: half of the source words, and two quarters."""
    source_rows, target_rows = ({w: row for row, w in enumerate(side)} for side in (source, target))
    found: dict[int, list[int]] = {}
    for word, translation in pairs:
        if word in source_rows and translation in target_rows:
            found.setdefault(source_rows[word], []).append(target_rows[translation])
    if len(found) < 4:
        raise ValueError(
            f"pairs must have four source words or more; got {len(found)} in the spaces"
        )
    words = np.random.default_rng(0).permutation(sorted(found)).astype(np.int32)
    table = np.full((len(words), max(map(len, found.values()))), -1, np.int32)
    for row, word in enumerate(words):
        table[row, : len(found[word])] = found[word]
    ends = [len(words) // 2, len(words) * 3 // 4]
    first, second, third = map(Gold, np.split(words, ends), np.split(table, ends))
    return first, second, third


def procrustes(x: ArrayLike, y: ArrayLike, weights: ArrayLike = 1.0) -> jax.Array:
    """The orthogonal Q of least Σ w·‖x·Q − y‖² over pairs of rows: U·V of xᵀ·diag(w)·y = U·S·V.

    Source: Schönemann, "A generalized solution of the orthogonal Procrustes problem", 1966.
    """
    x, y, weights = map(jnp.asarray, (x, y, weights))
    u, _, v = jnp.linalg.svd((x * weights.reshape(-1, 1)).T @ y)
    return u @ v


def csls(x: ArrayLike, y: ArrayLike) -> jax.Array:
    """Cosines less how near each vector is to its 10 nearest of the other space, (len(x), len(y)).

        csls(x, y) = 2·cos(x, y) − r(x) − r(y)

    Source: Conneau et al., "Word Translation Without Parallel Data", arXiv 1710.04087.
    """
    cosines = jnp.asarray(x) @ jnp.asarray(y).T
    near_x, near_y = (
        jax.lax.top_k(side, min(NEIGHBOURS, side.shape[1]))[0].mean(axis=1)
        for side in (cosines, cosines.T)
    )
    return 2 * cosines - near_x[:, None] - near_y


def refined(turn: ArrayLike, source: ArrayLike, target: ArrayLike) -> jax.Array:
    """The turn after five rounds of Procrustes on the pairs that are each other's nearest.

    The 2000 most frequent words take part, and CSLS says what is near.
    """
    source, target = jnp.asarray(source)[:FREQUENT], jnp.asarray(target)[:FREQUENT]

    def better(_: Any, turn: jax.Array) -> jax.Array:
        scores = csls(source @ turn, target)
        there, back = scores.argmax(axis=1), scores.argmax(axis=0)
        mutual = back[there] == jnp.arange(len(source))
        return procrustes(source, target[there], mutual)

    found: jax.Array = jax.lax.fori_loop(0, ROUNDS, better, jnp.asarray(turn))
    return found


def error(turn: ArrayLike, source: ArrayLike, target: ArrayLike, pairs: Gold) -> jax.Array:
    """1 − precision at 1: the share of words whose nearest by CSLS is no translation of them."""
    nearest = csls(jnp.asarray(source) @ turn, target)[pairs.words].argmax(axis=1)
    return jnp.mean((nearest[:, None] != pairs.translations).all(axis=1))


def _unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
