"""Levenshtein's distance of two sequences, which can be jitted and vmapped."""

import jax
import jax.numpy as jnp


def edit_distance(found: jax.Array, expected: jax.Array) -> jax.Array:
    """The least number of insertions, deletions and substitutions from one to the other.

        D[i, j] = min(D[i−1, j] + 1, D[i, j−1] + 1, D[i−1, j−1] + (found[i] ≠ expected[j]))

    A row of D is made at once: with best[k] for what comes from the row above, the insertions are
    D[i, j] = min over k ≤ j of best[k] + j − k.

    Args:
        found, expected: Codes of 1 and more, of shapes (m,) and (n,); zeros fill the end.

    Returns:
        An integer in [0, max(m, n)].

    >>> int(edit_distance(jnp.array([1, 2, 3, 0]), jnp.array([2, 4, 3, 5])))
    3
    """
    columns = jnp.arange(len(expected) + 1)

    def row(above: jax.Array, symbol: jax.Array) -> tuple[jax.Array, None]:
        best = (above + 1).at[1:].min(above[:-1] + (expected != symbol))
        new = jax.lax.cummin(best - columns) + columns
        return jnp.where(symbol > 0, new, above), None

    last, _ = jax.lax.scan(row, columns, found)
    distance: jax.Array = last[jnp.count_nonzero(expected)]
    return distance
