"""A schedule and a budget as a learning-rate schedule of Keras."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import keras
from keras import ops

from rex_core import Pair, from_dict, to_dict
from rex_core.adapting import STEPS, checked_schedule, shown, tried
from rex_keras.arrays import Array
from rex_keras.fits import FIRST, accumulation


def as_schedule(
    schedule: Callable[[Any, Any], Any],
    total_steps: int,
    *,
    gradient_accumulation_steps: int = 1,
    first_step: int = 0,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """A schedule as one of Keras's: step -> schedule(step - first_step, total_steps).

    The optimizer counts on from fit to fit. A second ``fit`` of a trained model runs beyond
    total_steps, at the last rate: end_value, 0 by default. The compiled train step cannot say so.
    The callback `RateLogger` does. For a new run over the schedule, pass
    ``first_step=int(model.optimizer.iterations)``, or compile with a new optimizer.

    The train step computes the rate from the optimizer's own count of batches, for any
    ``steps_per_execution``. On JAX and TensorFlow, the rate is compiled with the step. The count is
    saved with the model. A model that is loaded where rex_keras is imported goes on at the right
    step. For a new budget, assign a new schedule to ``optimizer.learning_rate`` and compile the
    model again. A train step that was compiled before keeps the old schedule.

    Only the rate can have a schedule: momentum is a constant of the compiled train step.

    Args:
        schedule: A `rex_core.Schedule`, or any value or registered function of (t, T) that
            `rex_core.to_dict` can write, as saving the model does. A bare profile, such as "rex",
            falls from a rate of 1; ``Schedule("rex", peak_value=0.1)`` from 0.1.
        total_steps: The budget in updates, in [1, 2^31 - 1].
        gradient_accumulation_steps: The argument of the optimizer with this name, >= 1. Keras reads
            the rate at every batch, and so many batches make one update.
        first_step: The update, as the optimizer counts, at which the schedule begins, >= 0.

    Returns:
        A ``keras.optimizers.schedules.LearningRateSchedule``, for the learning_rate of any
        optimizer. Called with a tensor it gives a tensor of at least float32, with a Python number
        a Python float.

    Raises:
        ValueError: A number is out of range. A rate is out of range, at some steps that are tried
            now: a compiled train step cannot check the others. The schedule's phases fill
            total_steps. The schedule cannot be written, does not take the backend's tensors, or is
            a pair of rate and momentum.

    >>> import keras
    >>> from rex_core import Schedule
    >>> rate = as_schedule(Schedule(peak_value=0.1), total_steps=1000)
    >>> optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    >>> rate(500) == Schedule(peak_value=0.1)(500, 1000)
    True
    """
    return BudgetedSchedule(schedule, total_steps, gradient_accumulation_steps, first_step)


@keras.saving.register_keras_serializable(package="rex_keras")
class BudgetedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The class of `as_schedule`, under its name in saved models."""

    def __init__(
        self,
        schedule: Callable[[Any, Any], Any],
        total_steps: int,
        gradient_accumulation_steps: int = 1,
        first_step: int = 0,
    ) -> None:
        self.schedule, self.total_steps = check_budget(schedule, "total_steps", total_steps)
        self.gradient_accumulation_steps = STEPS.count(
            "gradient_accumulation_steps", gradient_accumulation_steps
        )
        self.first_step = FIRST.count("first_step", first_step)
        # Errors come now, and not at the first step or checkpoint of a run.
        to_dict(self.schedule)
        self(ops.convert_to_tensor(0, "int32"))

    def __call__(self, step: Any) -> Any:
        """The rate for the update that follows so many batches."""
        if isinstance(step, keras.Variable):
            step = ops.convert_to_tensor(step)
        if self.gradient_accumulation_steps > 1:
            step = step // self.gradient_accumulation_steps
        step = step - self.first_step
        if keras.backend.backend() == "tensorflow" and ops.is_tensor(step):
            return self.schedule(Array(step), self.total_steps).tensor
        return self.schedule(step, self.total_steps)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError(
            "only learning_rate can have a schedule: Keras makes a constant of every other setting "
            f"of an optimizer; got one of {shown(self.schedule)}"
        )

    # Optimizers do these with their other settings, before or in the first train step.
    __float__ = __array__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain JSON types."""
        return {
            "schedule": to_dict(self.schedule),
            "total_steps": self.total_steps,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "first_step": self.first_step,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "BudgetedSchedule":
        """The schedule of a config. Names are looked up; nothing is imported or evaluated."""
        names = {"schedule", "total_steps", "gradient_accumulation_steps"}
        if not isinstance(config, Mapping) or set(config) - {"first_step"} != names:
            raise ValueError(f"config must have {', '.join(sorted(names))}; got {shown(config)}")
        return cls(**{**config, "schedule": from_dict(config["schedule"])})


def schedule_of(optimizer: Any) -> Any:
    """The `as_schedule` that an optimizer holds, from its config; None for any other rate."""
    written = getattr(optimizer, "inner_optimizer", optimizer).get_config()["learning_rate"]
    name = keras.saving.get_registered_name(BudgetedSchedule)
    if isinstance(written, Mapping) and written.get("registered_name") == name:
        return keras.optimizers.schedules.deserialize(written)
    return None


def check_accumulation(schedule: BudgetedSchedule, optimizer: Any) -> None:
    """Refuse an optimizer whose updates the schedule would miscount."""
    if schedule.gradient_accumulation_steps != accumulation(optimizer):
        raise ValueError(
            "gradient_accumulation_steps of as_schedule must be the optimizer's, "
            f"{accumulation(optimizer)} in {optimizer.name}; got "
            f"{schedule.gradient_accumulation_steps}"
        )


def check_budget(schedule: Any, name: str, budget: Any) -> tuple[Callable[[Any, Any], Any], int]:
    """The schedule, and the budget as a Python int, which the schedule has accepted."""
    total = STEPS.count(name, budget)
    return check_schedule(schedule, total), total


def check_schedule(schedule: Any, T: float) -> Callable[[Any, Any], Any]:
    """Accept functions of (t, T) that give one number, and accept the budget."""
    if isinstance(schedule, Pair | tuple):
        raise ValueError(
            "schedule must be one function of (t, T), for the rate: Keras cannot schedule momentum "
            f"on every backend; got {shown(schedule)}"
        )
    checked = checked_schedule("schedule", schedule)
    tried("schedule", checked, T)
    return checked
