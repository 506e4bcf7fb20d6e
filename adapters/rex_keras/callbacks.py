"""Schedules as callbacks, which set the optimizer's rate at each epoch or at each batch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from rex_core import WallClock
from rex_core.adapting import checked_value, reading
from rex_keras.schedules import check_budget, check_schedule


def learning_rate_scheduler(
    schedule: Callable[[Any, Any], Any], epochs: int | WallClock
) -> keras.callbacks.LearningRateScheduler:
    """A schedule read once per epoch: epoch -> schedule(epoch, epochs).

    The epoch is the one that ``fit`` counts, from ``initial_epoch`` on. A clock is read instead, if
    that is the budget, and ``fit`` ends with the epoch in which the time is up.

    Args:
        schedule: A `rex_core.Schedule`, or any function of (t, T).
        epochs: The budget in epochs, in [1, 2^31 - 1], or a `rex_core.WallClock`.

    Returns:
        A ``keras.callbacks.LearningRateScheduler``, for an optimizer whose learning_rate is a
        number; one that holds a schedule is refused when training begins, and one that the train
        step does not use when it has begun.

    Raises:
        ValueError: epochs is out of range, the schedule's phases fill it, a rate is out of range
            (some epochs are tried now), or the schedule is a pair, of rate and momentum: Keras
            cannot schedule momentum on every backend.

    >>> from rex_core import Schedule
    >>> callback = learning_rate_scheduler(Schedule(peak_value=0.1), epochs=30)
    """
    return _EpochScheduler(*_budget(schedule, "epochs", epochs))


class _Applied(keras.callbacks.Callback):
    """Refuse a model whose optimizer would not follow the rate that a callback sets."""

    def on_train_begin(self, logs: Any = None) -> None:
        _settable(self.model)
        # A loss scaler makes no update as long as its gradients are not finite.
        scaled = isinstance(self.model.optimizer, keras.optimizers.LossScaleOptimizer)
        self._batches: int | None = None if scaled else 0
        self._count: int | None = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._batches is None:
            return
        optimizer = self.model.optimizer
        optimizers = _optimizers(self.model)
        count = sum(int(each.iterations) for each in optimizers)
        if self._count not in (None, count):
            self._batches = None
        elif self._batches == max(each.gradient_accumulation_steps or 1 for each in optimizers):
            raise ValueError(
                "optimizer must be the one that the train step applies; got one in compile, "
                f"{optimizer.name}, that has made no update in {self._batches} batches"
            )
        else:
            self._batches, self._count = self._batches + 1, count


class BatchLearningRateScheduler(_Applied):
    """A schedule read at every batch: the rate is schedule(optimizer.iterations, total_steps).

    With a clock for a budget it is schedule(clock.t, clock.T), and ``fit`` ends with the batch in
    which the time is up. The time is not saved with the model: save ``clock.state_dict()`` beside
    it, and load that into the clock of the run that goes on.

    The optimizer counts its updates, gradient accumulation included, and saves the count with the
    model; the callback keeps none of its own. It therefore waits for each batch to be computed;
    `as_schedule`, part of the compiled step, does not. It needs an optimizer whose learning_rate is
    a number, and ``steps_per_execution=1``: Keras calls it once per execution. Training begins with
    a ValueError otherwise, or ends with one when it has begun if the train step uses another one.

    Args:
        schedule: A `rex_core.Schedule`, or any function of (t, T).
        total_steps: The budget in updates, in [1, 2^31 - 1], or a `rex_core.WallClock`.

    Raises:
        ValueError: total_steps is out of range, the schedule's phases fill it, a rate is out of
            range (some steps are tried now), or the schedule is a pair, of rate and momentum: Keras
            cannot schedule momentum on every backend.

    >>> from rex_core import Schedule
    >>> callback = BatchLearningRateScheduler(Schedule(peak_value=0.1), total_steps=1000)
    """

    def __init__(self, schedule: Callable[[Any, Any], Any], total_steps: int | WallClock) -> None:
        super().__init__()
        self.schedule, self.total_steps = _budget(schedule, "total_steps", total_steps)

    def on_train_begin(self, logs: Any = None) -> None:
        """Refuse what would not follow the schedule."""
        steps = self.model.steps_per_execution
        if steps != 1:
            raise ValueError(
                "steps_per_execution must be 1 for a rate that is set at every batch (as_schedule "
                f"takes any); got {steps}"
            )
        super().on_train_begin(logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate of the update that follows."""
        super().on_train_batch_begin(batch, logs)
        # On JAX the optimizer gets its state back, within an epoch, only by a look at self.model.
        for optimizer in _optimizers(self.model):
            count = int(optimizer.iterations)
            optimizer.learning_rate = _value(self.schedule, self.total_steps, count)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """End ``fit`` when the time is up."""
        if _is_up(self.total_steps):
            self.model.stop_training = True


class _EpochScheduler(_Applied, keras.callbacks.LearningRateScheduler):
    def __init__(self, schedule: Callable[[Any, Any], Any], epochs: int | WallClock) -> None:
        super().__init__(partial(_value, schedule, epochs))
        self.epochs = epochs

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        if _is_up(self.epochs):
            self.model.stop_training = True


def _budget(
    schedule: Any, name: str, budget: int | WallClock
) -> tuple[Callable[[Any, Any], Any], int | WallClock]:
    """The schedule, and the budget that it has accepted."""
    if isinstance(budget, WallClock):
        return check_schedule(schedule, budget.T), budget
    return check_budget(schedule, name, budget)


def _is_up(budget: int | WallClock) -> bool:
    return isinstance(budget, WallClock) and budget.t >= budget.T


def _optimizers(model: Any) -> list[Any]:
    """The optimizer, or those that a MultiOptimizer consists of."""
    return getattr(model.optimizer, "optimizers", [model.optimizer])


def _settable(model: Any) -> None:
    if model.optimizer is None:
        raise ValueError("optimizer must be given to compile, for a callback to set its rate")
    optimizers = _optimizers(model)
    if not optimizers:
        raise ValueError(
            "optimizer must know its optimizers when training begins; build the model and then "
            f"optimizer.build(model.trainable_variables); got none in {model.optimizer.name}"
        )
    for optimizer in optimizers:
        rate = optimizer.learning_rate
        if not isinstance(rate, keras.Variable):
            raise ValueError(
                "learning_rate of the optimizer must be a number for a callback to set; "
                f"got a schedule or a function in {optimizer.name}, which gives {float(rate)}"
            )


def _value(
    schedule: Callable[[Any, Any], Any], budget: int | WallClock, spent: int, previous: Any = None
) -> float:
    return checked_value("schedule", schedule(*reading(budget, spent)))
