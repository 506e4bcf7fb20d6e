"""What is trained: the interface between a file in `settings` and the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.budgeted.optimizers import OPTIMIZERS

Params = Any  # a pytree of arrays
Batch = Any  # a pytree of arrays, one example per row


class Model(NamedTuple):
    """What is trained, and what a forward pass leaves behind: batch norm's averages, say."""

    params: Params
    stats: Any = None


def classification(network: Any) -> dict[str, Any]:
    """The loss and the metric of a network of flax that gives logits: cross-entropy, and error."""

    def logits(model: Model, x: Any) -> jax.Array:
        found = network.apply(model.params, x)
        assert isinstance(found, jax.Array)  # apply may return a pair, for other arguments
        return found

    def loss(model: Model, batch: Batch, key: jax.Array) -> tuple[jax.Array, None]:
        x, y = batch
        losses = optax.softmax_cross_entropy_with_integer_labels(logits(model, x), y)
        return losses.mean(), None

    def error(model: Model, examples: Batch, key: jax.Array) -> jax.Array:
        x, y = examples
        return jnp.mean(jnp.argmax(logits(model, x), axis=-1) != y)

    return {"loss": loss, "metric": error}


def as_it_is(batch: Batch, key: jax.Array) -> Batch:
    """No augmentation."""
    return batch


_AS_IT_IS = optax.identity()


@dataclass(frozen=True)
class Setting:
    """A model, its data and its full budget.

    Args:
        name: What it is called in reports.
        train, validation, test: The examples; rates are chosen on validation, never on test.
        init: key -> Model.
        loss: (model, batch, key) -> the mean loss, which is minimised, and the new stats.
        metric: (model, examples, key) -> what is reported, a mean; less is better.
        batch_size: Examples of an update.
        epochs: The budget of 100 %.
        metric_name: What the metric is: an error, of which 1 is 100 %, or a loss.
        rates: The grid of peak rates of each optimizer that the setting is trained with.
        percents: The budgets of a study, in percent of the full one.
        tuned_at: The budget on which a study chooses the rates, in percent.
        augment: (batch, key) -> batch, before each update; lanes of one seed share the result.
        finish: What happens to an update last, as a link of the optimizer's chain; it is given
            the extra argument ``key``.
        lanes_at_once: How many lanes are trained at the same time, where all of them would be
            slower or too large.
        evaluation_batch: Examples that the metric is given at once, where all of them are too
            many; it divides the number of validation and of test examples.
        data: Where the examples are from, if that is not said by the name.
    """

    name: str
    train: Batch
    validation: Batch
    test: Batch
    init: Callable[[jax.Array], Model]
    loss: Callable[[Model, Batch, jax.Array], tuple[jax.Array, Any]]
    metric: Callable[[Model, Batch, jax.Array], jax.Array]
    batch_size: int
    epochs: int
    metric_name: Literal["error", "loss"] = "error"
    rates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    percents: tuple[float, ...] = (1, 5, 10, 25, 50, 100)
    tuned_at: float = 10
    augment: Callable[[Batch, jax.Array], Batch] = as_it_is
    finish: optax.GradientTransformation = _AS_IT_IS
    lanes_at_once: int | None = None
    evaluation_batch: int | None = None
    data: str = ""

    def __post_init__(self) -> None:
        for optimizer in self.rates:
            if optimizer not in OPTIMIZERS:
                raise ValueError(
                    f"rates must be for optimizers of {', '.join(OPTIMIZERS)}; got {optimizer!r}"
                )
        if not 1 <= self.batch_size <= self.size:
            raise ValueError(
                f"batch_size must be in [1, {self.size}], the training examples; "
                f"got {self.batch_size}"
            )
        for name in ("validation", "test"):
            count = rows(getattr(self, name))
            if self.evaluation_batch is not None and count % self.evaluation_batch:
                raise ValueError(
                    f"evaluation_batch must divide the {count} {name} examples; "
                    f"got {self.evaluation_batch}"
                )

    @property
    def size(self) -> int:
        """The number of training examples."""
        return rows(self.train)

    @property
    def steps_per_epoch(self) -> int:
        """Updates of an epoch; what does not fill a batch is left out."""
        return self.size // self.batch_size

    def updates(self, percent: float) -> int:
        """The budget T, in updates, at least one."""
        return max(1, round(percent / 100 * self.epochs * self.steps_per_epoch))


def rows(examples: Batch) -> int:
    """The number of examples."""
    return len(jax.tree.leaves(examples)[0])
