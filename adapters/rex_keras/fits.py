"""The checks of a call of `fit`: its optimizers, its length, and who else sets the rate."""

import math
import warnings
from typing import Any
from weakref import WeakKeyDictionary

import keras

from rex_core import WallClock
from rex_core.adapting import LARGEST_STEP, Range

FIRST = Range(0, LARGEST_STEP, integers=True)


class PerFit(keras.callbacks.Callback):
    """A callback with a hook for the first epoch of a fit, when saved states are restored."""

    def on_train_begin(self, logs: Any = None) -> None:
        """Wait for the first epoch."""
        super().on_train_begin(logs)
        self._begun = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Check the fit, in its first epoch."""
        if not self._begun:
            self._begun = True
            self.on_first_epoch(epoch, self.params or {})
        super().on_epoch_begin(epoch, logs)

    def on_first_epoch(self, epoch: int, params: dict[str, Any]) -> None:
        """Check the fit. params has its length."""


class Span:
    """Where a schedule's budget lies in the count of updates or epochs that Keras keeps."""

    def __init__(self, unit: str, budget: int | WallClock, first: Any = 0) -> None:
        self.unit, self.budget = unit, budget
        self.first = FIRST.count(f"first_{unit}", first)
        if self.first and isinstance(budget, WallClock):
            raise ValueError(f"first_{unit} must be 0 beside a WallClock; got {first}")

    def is_up(self) -> bool:
        """Whether the budget is a clock whose time is up."""
        return isinstance(self.budget, WallClock) and self.budget.t >= self.budget.T

    def check(self, begin: int, end: int | None) -> None:
        """Warn of a fit from one count to another (None: unknown) that leaves the budget."""
        if isinstance(self.budget, WallClock):
            if self.is_up():
                warn(
                    f"the time of {self.budget} was up before this fit, which ends at once; a new "
                    "run takes a new WallClock"
                )
            return
        last = self.first + self.budget
        if begin < self.first:
            warn(
                f"this fit begins at {self.unit} {begin}, before first_{self.unit}={self.first}; "
                "until then the schedule is read at negative t, where it has its first rate"
            )
        elif begin >= last or (end is not None and end > last):
            until = "an unknown one" if end is None else end
            warn(
                f"this fit goes from {self.unit} {begin} to {until}; the schedule ends at "
                f"{self.unit} {last}, and its last rate holds from there. "
                f"{_WAYS[self.unit].format(begin=begin)}"
            )


_WAYS = {
    "step": (
        "The optimizer counts on from fit to fit. For a new run over the schedule pass "
        "first_step={begin}, or compile with a new optimizer; for a longer run pass more "
        "total_steps, with rex_core.Replan if the rate must not jump"
    ),
    "epoch": (
        "For a new run over the schedule pass first_epoch={begin}; for a longer run pass more "
        "epochs, with rex_core.Replan if the rate must not jump"
    ),
}


# The rate that a callback set last for an optimizer, and the count of updates when its fit ended.
_LAST: WeakKeyDictionary[Any, tuple[float, int]] = WeakKeyDictionary()


class SetRates:
    """The rates that a callback has set in a fit, to compare with those found later."""

    def __init__(self) -> None:
        self._rates: dict[int, float] = {}
        self._warned = False

    def add(self, optimizer: Any, rate: float) -> None:
        """Remember a rate."""
        self._rates[id(optimizer)] = rate

    def begin(self, optimizers: list[Any]) -> None:
        """Warn of a rate that was assigned since the last fit."""
        for optimizer in optimizers:
            rate, count = _LAST.get(optimizer, (0.0, None))
            # Another count is another fit's, or a saved one's, with a rate of its own.
            if count == int(optimizer.iterations):
                self.add(optimizer, rate)
        self.check(optimizers)

    def end(self, optimizers: list[Any]) -> None:
        """Keep the rates for the next fit."""
        for optimizer in optimizers:
            if id(optimizer) in self._rates:
                _LAST[optimizer] = self._rates[id(optimizer)], int(optimizer.iterations)

    def check(self, optimizers: list[Any]) -> None:
        """Warn, once, of a rate that other code has set."""
        for optimizer in optimizers:
            rate = self._rates.get(id(optimizer))
            if rate is None or self._warned:
                return
            found = optimizer.learning_rate
            if not _same(float(found), rate, found.dtype):
                self._warned = True
                warn(
                    f"learning_rate of {optimizer.name} is {float(found):.6g}, and the schedule "
                    f"had set {rate:.6g}: another callback or an assignment sets it too, and the "
                    "schedule overwrites that at its next step. One schedule is to set the rate; "
                    "instead of ReduceLROnPlateau multiply it by the scale of rex_core.Plateau"
                )


def warn(message: str) -> None:
    """A UserWarning."""
    warnings.warn(message, UserWarning, stacklevel=3)


def optimizers(model: Any) -> list[Any]:
    """The optimizer, or those that a MultiOptimizer consists of."""
    return getattr(model.optimizer, "optimizers", [model.optimizer])


def latest(model: Any) -> Any:
    """The optimizer that has made the most updates."""
    return max(optimizers(model), key=lambda optimizer: int(optimizer.iterations))


def accumulation(optimizer: Any) -> int:
    """How many batches make an update."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return inner.gradient_accumulation_steps or 1


def updates(optimizer: Any, epoch: int, params: dict[str, Any]) -> tuple[int, int | None]:
    """The counts of updates at the beginning and the end of a fit."""
    begin = int(optimizer.iterations)
    steps, epochs = params.get("steps"), params.get("epochs")
    if steps is None or epochs is None:
        return begin, None
    return begin, begin + steps * (epochs - epoch) // accumulation(optimizer)


def check_settable(model: Any) -> None:
    """Refuse a model whose optimizers have no rate, or no common one, that can be set."""
    if model.optimizer is None:
        raise ValueError("optimizer must be given to compile, for a callback to set its rate")
    if not optimizers(model):
        raise ValueError(
            "optimizer must know its optimizers when training begins; build the model and then "
            f"optimizer.build(model.trainable_variables); got none in {model.optimizer.name}"
        )
    rates = [_settable(optimizer) for optimizer in optimizers(model)]
    if len(set(rates)) > 1:
        raise ValueError(
            "learning_rate must be the same in all optimizers for one schedule to set it; give "
            f"each optimizer an as_schedule of its own; got {rates}"
        )


def _settable(optimizer: Any) -> float:
    rate = optimizer.learning_rate
    if not isinstance(rate, keras.Variable):
        raise ValueError(
            "learning_rate of the optimizer must be a number for a callback to set; "
            f"got a schedule or a function in {optimizer.name}, which gives {float(rate)}"
        )
    return float(rate)


# The unit roundoff of a variable's dtype, and the distance of its numbers near 0.
_PRECISION = {"bfloat16": (2.0**-8, 2.0**-126), "float16": (2.0**-11, 2.0**-24)}


def _same(found: float, rate: float, dtype: str) -> bool:
    """Whether it is the rate, rounded to a variable of that dtype."""
    relative, least = _PRECISION.get(dtype, (2.0**-24, 2.0**-126))
    return math.isclose(found, rate, rel_tol=2 * relative, abs_tol=least)
