"""Schedules as callbacks, which set the optimizer's rate at each epoch or at each batch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from rex_core import WallClock
from rex_core.adapting import checked_value, reading
from rex_keras.fits import (
    PerFit,
    SetRates,
    Span,
    accumulation,
    check_settable,
    latest,
    optimizers,
    updates,
)
from rex_keras.schedules import (
    BudgetedSchedule,
    check_accumulation,
    check_budget,
    check_schedule,
    schedule_of,
)


def learning_rate_scheduler(
    schedule: Callable[[Any, Any], Any], epochs: int | WallClock, *, first_epoch: int = 0
) -> keras.callbacks.LearningRateScheduler:
    """A schedule read once per epoch: epoch -> schedule(epoch - first_epoch, epochs).

    ``fit`` counts the epochs, from ``initial_epoch`` on. A second ``fit`` without an initial_epoch
    begins the schedule again. If the budget is a clock, the schedule reads the clock instead, and
    ``fit`` ends with the epoch in which the time is up.

    The schedule overwrites the number that compile got. A UserWarning says if a ``fit`` leaves the
    epochs of the schedule, or if another callback or an assignment has set the rate, within a fit
    or between two. A warmup from 0 has rate 0 for the whole first epoch.

    Args:
        schedule: A `rex_core.Schedule`, or any function of (t, T).
        epochs: The budget in epochs, in [1, 2^31 - 1], or a `rex_core.WallClock`.
        first_epoch: The epoch, as ``fit`` counts, at which the schedule begins, >= 0; 0 for a
            clock.

    Returns:
        A ``keras.callbacks.LearningRateScheduler``, for an optimizer whose learning_rate is a
        number. When training begins, it refuses an optimizer with a schedule, and a MultiOptimizer
        whose rates differ, with a ValueError. Later it refuses an optimizer that the train step
        does not use.

    Raises:
        ValueError: epochs or first_epoch is out of range. The schedule's phases fill epochs. A rate
            is out of range, at some epochs that are tried now. The schedule is a pair of rate and
            momentum: Keras cannot schedule momentum on every backend.

    >>> from rex_core import Schedule
    >>> callback = learning_rate_scheduler(Schedule(peak_value=0.1), epochs=30)
    """
    schedule, epochs = _budget(schedule, "epochs", epochs)
    return _EpochScheduler(schedule, Span("epoch", epochs, first_epoch))


class _Applied(PerFit):
    """Refuse a model whose optimizer would not follow the rate that a callback sets."""

    def on_train_begin(self, logs: Any = None) -> None:
        """Refuse optimizers whose rate cannot be set."""
        super().on_train_begin(logs)
        check_settable(self.model)
        self._rates = SetRates()
        # A loss scaler makes no update as long as its gradients are not finite.
        scaled = isinstance(self.model.optimizer, keras.optimizers.LossScaleOptimizer)
        self._batches: int | None = None if scaled else 0
        self._count: int | None = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._batches is None:
            return
        count = sum(int(each.iterations) for each in optimizers(self.model))
        if self._count not in (None, count):
            self._batches = None
        elif self._batches == max(map(accumulation, optimizers(self.model))):
            raise ValueError(
                "optimizer must be the one that the train step applies; got one in compile, "
                f"{self.model.optimizer.name}, that has made no update in {self._batches} batches"
            )
        else:
            self._batches, self._count = self._batches + 1, count

    def on_first_epoch(self, epoch: int, params: dict[str, Any]) -> None:
        """Compare the rate with the one that the last fit left."""
        self._rates.begin(optimizers(self.model))

    def on_train_end(self, logs: Any = None) -> None:
        """Keep the rate for the next fit."""
        super().on_train_end(logs)
        self._rates.end(optimizers(self.model))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare the rate with the one that was set."""
        super().on_epoch_end(epoch, logs)
        self._rates.check(optimizers(self.model))


class BatchLearningRateScheduler(_Applied):
    """A schedule read at every batch, at the optimizer's count of updates.

    The rate is ``schedule(optimizer.iterations - first_step, total_steps)``. With a clock for a
    budget it is ``schedule(clock.t, clock.T)``, and ``fit`` ends with the batch in which the time
    is up. The time is not saved with the model. Save ``clock.state_dict()`` beside the model, and
    load it into the clock of the run that goes on.

    The optimizer counts its updates, gradient accumulation included. The count is saved with the
    model. The callback has no count of its own. A second ``fit`` therefore goes on in the schedule,
    and beyond its end. Pass first_step to begin a new schedule. The schedule overwrites the number
    that compile got. A UserWarning says if a ``fit`` leaves the steps of the schedule, or if
    another callback or an assignment has set the rate, within a fit or between two.

    The callback waits for each batch to be computed. `as_schedule` is part of the compiled step,
    and does not wait. The callback needs an optimizer whose learning_rate is a number, one number
    for all of a MultiOptimizer. It needs ``steps_per_execution=1``, since Keras calls it once per
    execution. Training begins with a ValueError otherwise. If the train step uses another
    optimizer, the ValueError comes after the first batches.

    Args:
        schedule: A `rex_core.Schedule`, or any function of (t, T).
        total_steps: The budget in updates, in [1, 2^31 - 1], or a `rex_core.WallClock`.
        first_step: The update, as the optimizer counts, at which the schedule begins, >= 0:
            ``int(model.optimizer.iterations)`` for a trained model; 0 for a clock.

    Raises:
        ValueError: total_steps or first_step is out of range. The schedule's phases fill
            total_steps. A rate is out of range, at some steps that are tried now. The schedule is a
            pair of rate and momentum: Keras cannot schedule momentum on every backend.

    >>> from rex_core import Schedule
    >>> callback = BatchLearningRateScheduler(Schedule(peak_value=0.1), total_steps=1000)
    """

    def __init__(
        self,
        schedule: Callable[[Any, Any], Any],
        total_steps: int | WallClock,
        *,
        first_step: int = 0,
    ) -> None:
        super().__init__()
        self.schedule, self.total_steps = _budget(schedule, "total_steps", total_steps)
        self._span = Span("step", self.total_steps, first_step)
        self.first_step = self._span.first

    def on_train_begin(self, logs: Any = None) -> None:
        """Refuse what would not follow the schedule."""
        steps = self.model.steps_per_execution
        if steps != 1:
            raise ValueError(
                "steps_per_execution must be 1 for a rate that is set at every batch (as_schedule "
                f"takes any); got {steps}"
            )
        super().on_train_begin(logs)

    def on_first_epoch(self, epoch: int, params: dict[str, Any]) -> None:
        """Compare the updates of the fit with the schedule's."""
        super().on_first_epoch(epoch, params)
        self._span.check(*updates(latest(self.model), epoch, params))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate of the update that follows."""
        super().on_train_batch_begin(batch, logs)
        # On JAX, within an epoch, only reading self.model gives the optimizer its state back.
        each = optimizers(self.model)
        self._rates.check(each)
        for optimizer in each:
            rate = _value(self.schedule, self._span, int(optimizer.iterations))
            optimizer.learning_rate = rate
            self._rates.add(optimizer, rate)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """End ``fit`` when the time is up."""
        if self._span.is_up():
            self.model.stop_training = True


class RateLogger(PerFit):
    """The rate in the logs of each epoch, and a check of `as_schedule` beside the fit.

    The logs get ``learning_rate``, the rate of the update that would follow the epoch, whatever
    sets it. Keras itself logs only the rate of its LearningRateScheduler. Each optimizer of a
    MultiOptimizer gets an entry of its own, ``learning_rate_`` and the name.

    A schedule in a compiled train step cannot warn. For an optimizer with an `as_schedule`, this
    callback does. It gives a UserWarning if a ``fit`` leaves the steps of the schedule, as a second
    ``fit`` does. It raises a ValueError if the optimizer and the schedule disagree on
    gradient_accumulation_steps.

    >>> callback = RateLogger()
    """

    def on_first_epoch(self, epoch: int, params: dict[str, Any]) -> None:
        """Compare the updates of the fit with the schedule's."""
        for optimizer in optimizers(self.model):
            schedule = schedule_of(optimizer)
            if isinstance(schedule, BudgetedSchedule):
                check_accumulation(schedule, optimizer)
                span = Span("step", schedule.total_steps, schedule.first_step)
                span.check(*updates(optimizer, epoch, params))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log the rate."""
        each = optimizers(self.model)
        for optimizer in each if logs is not None else ():
            name = "learning_rate" if len(each) == 1 else f"learning_rate_{optimizer.name}"
            logs[name] = float(optimizer.learning_rate)


class _EpochScheduler(_Applied, keras.callbacks.LearningRateScheduler):
    def __init__(self, schedule: Callable[[Any, Any], Any], span: Span) -> None:
        super().__init__(partial(_value, schedule, span))
        self.epochs, self.first_epoch, self._span = span.budget, span.first, span

    def on_first_epoch(self, epoch: int, params: dict[str, Any]) -> None:
        super().on_first_epoch(epoch, params)
        self._span.check(epoch, params.get("epochs"))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._rates.check(optimizers(self.model))
        super().on_epoch_begin(epoch, logs)
        for optimizer in optimizers(self.model):
            self._rates.add(optimizer, float(optimizer.learning_rate))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        if self._span.is_up():
            self.model.stop_training = True


def _budget(
    schedule: Any, name: str, budget: int | WallClock
) -> tuple[Callable[[Any, Any], Any], int | WallClock]:
    """The schedule, and the budget that it has accepted."""
    if isinstance(budget, WallClock):
        return check_schedule(schedule, budget.T), budget
    return check_budget(schedule, name, budget)


def _value(
    schedule: Callable[[Any, Any], Any], span: Span, count: int, previous: Any = None
) -> float:
    return checked_value("schedule", schedule(*reading(span.budget, count - span.first)))
