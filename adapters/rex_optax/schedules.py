"""A schedule and a budget as what optax calls a schedule, stateless or stateful."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rex_core.progress import check, known
from rex_core.sampling import SAMPLINGS
from rex_core.schedule import check_function

_LARGEST = 2**31 - 1


def as_schedule(schedule: Callable[[Any, Any], Any], total_steps: Any) -> optax.Schedule:
    """A schedule over a fixed budget as an optax schedule: count -> schedule(count, total_steps).

    Args:
        schedule: A `rex_core.Schedule`, or any function of (t, T).
        total_steps: The budget in optimizer updates, in [1, 2^31 - 1]; may be traced.

    Returns:
        A function of the step count, for ``optax.sgd(...)``, ``optax.scale_by_schedule``,
        ``optax.inject_hyperparams`` and inside ``optax.MultiSteps``. Its values are float32 arrays
        (float64 in JAX's x64 mode, unless inject_hyperparams' hyperparam_dtype says otherwise) for
        counts that are arrays. It pickles.

    Raises:
        ValueError: total_steps is out of range, or the schedule's phases fill it.

    >>> import optax
    >>> from rex_core import Schedule
    >>> optimizer = optax.sgd(as_schedule(Schedule(peak_value=0.1), total_steps=1000), momentum=0.9)
    """
    return partial(_value, schedule, _checked(schedule, total_steps))


class BudgetedState(NamedTuple):
    """The state of a `BudgetedSchedule`: two int32 scalars.

    Attributes:
        count: The number of updates so far.
        total_steps: The budget.
    """

    count: jax.Array  # type: ignore[assignment]  # optax's name; tuple.count has it too.
    total_steps: jax.Array


@dataclass(frozen=True)
class BudgetedSchedule(optax.schedules.StatefulSchedule):
    """A schedule whose budget is part of the optimizer's state, for ``optax.inject_hyperparams``.

    The budget is checkpointed with the state and can be changed there, for learning rate, momentum,
    b1 and weight decay alike, without a new compilation::

        optax.tree_utils.tree_set(opt_state, total_steps=jnp.int32(2000))

    Extra arguments ``t=`` and ``T=`` of ``update`` take the place of the two counters, in any unit,
    for that update: tokens, or the seconds of a `rex_core.WallClock`, ``t=clock.t, T=clock.T``.

    Args:
        schedule: A `rex_core.Schedule`, or any function of (t, T).
        total_steps: The budget in optimizer updates at the start, in [1, 2^31 - 1].

    Raises:
        ValueError: total_steps is out of range, or the schedule's phases fill it.

    >>> import optax
    >>> from rex_core import Schedule, demon
    >>> optimizer = optax.inject_hyperparams(optax.sgd)(
    ...     learning_rate=BudgetedSchedule(Schedule(peak_value=0.1), 1000),
    ...     momentum=BudgetedSchedule(demon(0.9), 1000),
    ... )
    """

    schedule: Callable[[Any, Any], Any]
    total_steps: Any

    def __post_init__(self) -> None:
        total_steps = _checked(self.schedule, self.total_steps)
        if np.ndim(total_steps) != 0:
            raise ValueError(f"total_steps must be one integer; got {total_steps!r}")
        object.__setattr__(self, "total_steps", total_steps)

    def init(self) -> BudgetedState:
        """The state before the first update."""
        return BudgetedState(jnp.zeros([], jnp.int32), jnp.asarray(self.total_steps, jnp.int32))

    def update(self, state: BudgetedState, **extra_args: Any) -> BudgetedState:
        """The state after one more update."""
        del extra_args
        return BudgetedState(jnp.asarray(optax.safe_increment(state.count)), state.total_steps)

    def __call__(
        self, state: BudgetedState, *, t: Any = None, T: Any = None, **extra_args: Any
    ) -> jax.Array:
        """The value for the next update."""
        del extra_args
        if not isinstance(state, BudgetedState):
            raise ValueError(
                "state must be the BudgetedState that optax.inject_hyperparams keeps; where optax "
                f"expects a function of the count, use as_schedule; got {state!r}"
            )
        t = state.count if t is None else t
        T = state.total_steps if T is None else T
        # A dtype of its own: inject_hyperparams casts a weak one to that of bfloat16 params.
        return jnp.asarray(_value(self.schedule, T, t), jnp.result_type(float))


def _value(schedule: Callable[[Any, Any], Any], total_steps: Any, count: Any) -> Any:
    return schedule(count, total_steps)


def _checked(schedule: Callable[[Any, Any], Any], total_steps: Any) -> Any:
    """The budget, an int if it is one known number, once the schedule has accepted it."""
    check_function("schedule", schedule, others=SAMPLINGS)
    check(
        "total_steps",
        total_steps,
        f"an integer in [1, {_LARGEST}]",
        lambda T: (T >= 1) & (T <= _LARGEST) & (T % 1 == 0),
    )
    seen = known(total_steps)
    if seen is None:
        return total_steps
    if np.ndim(seen) == 0:
        total_steps = int(seen)
    schedule(0, total_steps)
    return total_steps
