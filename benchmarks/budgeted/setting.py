"""What is trained: the interface between a file in `settings` and the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

Params = Any  # a pytree of arrays
Batch = Any  # a pytree of arrays, one example per row


@dataclass(frozen=True)
class Setting:
    """A model, its data and its full budget.

    Args:
        name: What it is called in reports.
        train, validation, test: The examples; rates are chosen on validation, never on test.
        init: key -> params.
        loss: (params, batch) -> the mean loss, which is minimised.
        error: (params, examples) -> the mean error, in [0, 1], which is reported.
        batch_size: Examples of an update.
        epochs: The budget of 100 %.
    """

    name: str
    train: Batch
    validation: Batch
    test: Batch
    init: Callable[[jax.Array], Params]
    loss: Callable[[Params, Batch], jax.Array]
    error: Callable[[Params, Batch], jax.Array]
    batch_size: int
    epochs: int

    @property
    def size(self) -> int:
        """The number of training examples."""
        return len(jax.tree.leaves(self.train)[0])

    @property
    def steps_per_epoch(self) -> int:
        """Updates of an epoch; what does not fill a batch is left out."""
        return self.size // self.batch_size

    def updates(self, percent: float) -> int:
        """The budget T, in updates, at least one."""
        return max(1, round(percent / 100 * self.epochs * self.steps_per_epoch))
