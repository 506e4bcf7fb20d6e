"""A schedule and a budget as an optax schedule, stateless or stateful."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rex_core.adapting import (
    LARGEST_STEP,
    STEPS,
    Moment,
    Place,
    checked_schedule,
    concrete,
    is_integer,
    phase_places,
    product,
    shown,
    stretched,
    taking_moments,
    unify,
    where,
)


def as_schedule(schedule: Callable[[Any, Any], Any], total_steps: Any) -> optax.Schedule:
    """A schedule over a fixed budget as an optax schedule: count -> schedule(count, total_steps).

    Args:
        schedule: A `rex_core.Schedule`, or any function of (t, T). A bare profile, such as "rex",
            falls from 1. That is a factor for ``optax.scale_by_schedule``, and hardly a rate:
            ``Schedule("rex", peak_value=0.1)`` is one.
        total_steps: The budget in optimizer updates, in [1, 2^31 - 1]; may be traced.

    Returns:
        A function of the step count, for ``optax.sgd(...)``, ``optax.scale_by_schedule``,
        ``optax.inject_hyperparams`` and inside ``optax.MultiSteps``. For counts that are arrays,
        its values are float32 arrays. In JAX's x64 mode they are float64, unless the
        hyperparam_dtype of inject_hyperparams says otherwise. It pickles. A first value of exactly
        0 makes ``optax.contrib.prodigy`` and D-adaptation NaN: see `BudgetedSchedule`.

    Raises:
        ValueError: total_steps is out of range, or the schedule's phases fill it; the schedule is
            no function of (t, T).

    >>> import optax
    >>> from rex_core import Schedule
    >>> optimizer = optax.sgd(as_schedule(Schedule(peak_value=0.1), total_steps=1000), momentum=0.9)
    """
    return partial(_value, *_checked(schedule, total_steps))


class BudgetedState(NamedTuple):
    """The state of a `BudgetedSchedule`, int32.

    Attributes:
        count: The number of updates so far, a scalar.
        total_steps: The budget, a scalar.
        plan: Four numbers of the last `replan`, or zeros. They are the count at the replan, the
            budget of the curve, the rest of the curve in whole steps, and the fraction of a step
            beside these, as the bits of a float32.
        phases: Five numbers for the end of the warmup, and five for the start of the decay, or
            zeros if the schedule has no phases. They are whole steps; the fraction of a step beside
            these, as the bits of a float32; numerator and denominator of a share of the budget; and
            1 if the share is rounded up to a step.
    """

    count: jax.Array  # type: ignore[assignment]  # optax's name; tuple.count has it too.
    total_steps: jax.Array
    plan: jax.Array  # One array: each costs a compiled step more than the arithmetic.
    phases: jax.Array


@dataclass(frozen=True)
class BudgetedSchedule(optax.schedules.StatefulSchedule):
    """A schedule whose budget is part of the optimizer's state, for ``optax.inject_hyperparams``.

    **The budget in a restored state beats the budget in the code.** A finished run that is resumed
    with more steps in the code trains at rate 0 (at the end_value). `resume` gives a restored state
    the budget of the code. `restart` begins a new phase.

    The budget is checkpointed with the state and can be changed there, for learning rate, momentum,
    b1 and weight decay alike, without a new compilation::

        opt_state = replan(opt_state, 2000)
        opt_state = optax.tree_utils.tree_set(opt_state, total_steps=jnp.int32(2000))

    `replan` stretches the rest of the curve. Setting total_steps takes the same curve over another
    budget, and the rate may jump: from now on it is ``schedule(count, total_steps)``. After a
    replan, setting total_steps changes the budget of that replan: the rate is then
    ``Replan(schedule, t0, T0)(count, total_steps)``.

    Extra arguments ``t=`` and ``T=`` of ``update`` replace the two counters for that update. They
    may have any unit: tokens, or the seconds of a `rex_core.WallClock`, ``t=clock.t, T=clock.T``.
    With ``T=``, a replan in the state has no effect. To replan such a run, make a new schedule,
    ``BudgetedSchedule(Replan(schedule, t0, T0), ...)``. It takes the state of the old one.

    Four things to know about optax:

    * ``tree_set(opt_state, learning_rate=...)`` overwrites the state of a scheduled rate; the next
      update refuses it with a ValueError. A rate that is made as a number can be set.
    * ``opt_state.hyperparams["learning_rate"]`` shows the rate of the last update. Setting it has
      no effect on a scheduled rate: the next update overwrites it.
    * A first rate of exactly 0, as in a warmup from 0, makes ``optax.contrib.prodigy`` and
      ``dadapt_adamw`` NaN for good. Give `Schedule` an init_value above 0. Prodigy also has
      ``safeguard_warmup=True``.
    * ``inject_hyperparams`` makes an array of every number. Adafactor needs two numbers as they
      are: ``inject_hyperparams(optax.adafactor, static_args=("min_dim_size_to_factor",
      "dtype_momentum"))``.

    Args:
        schedule: A `rex_core.Schedule`, or any function of (t, T). A function that is not this
            library's is traced with a float count too, since a `replan` may put the count between
            two steps. The count is kept in [0, total_steps].
        total_steps: The budget in optimizer updates at the start, in [1, 2^31 - 1].

    Raises:
        ValueError: total_steps is out of range, or the schedule's phases fill it. The schedule is
            no function of (t, T). At an update: the state is no `BudgetedState` any more, or its
            total_steps is no integer or out of range.

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
        schedule, total_steps = _checked(self.schedule, self.total_steps)
        if np.ndim(total_steps) != 0:
            raise ValueError(f"total_steps must be one integer; got {shown(total_steps)}")
        try:
            jax.eval_shape(lambda t: schedule(t, total_steps), 0.5)
        except (TypeError, IndexError) as error:
            raise ValueError(
                "schedule must take a t between two steps, where a replan may put it (jnp.floor(t) "
                f"is a whole one; as_schedule has no replan); got {shown(self.schedule)}"
            ) from error
        object.__setattr__(self, "schedule", schedule)
        object.__setattr__(self, "total_steps", total_steps)

    def init(self) -> BudgetedState:
        """The state before the first update."""
        zero = jnp.zeros([], jnp.int32)
        total_steps = jnp.asarray(self.total_steps, jnp.int32)
        phases = jnp.asarray(_phases(self.schedule))
        return BudgetedState(zero, total_steps, jnp.zeros(4, jnp.int32), phases)

    def update(self, state: BudgetedState, **extra_args: Any) -> BudgetedState:
        """The state after one more update."""
        del extra_args
        count = jnp.asarray(optax.safe_increment(state.count))
        return state._replace(count=count, phases=jnp.asarray(_phases(self.schedule)))

    def __call__(
        self, state: BudgetedState, *, t: Any = None, T: Any = None, **extra_args: Any
    ) -> jax.Array:
        """The value for the next update."""
        del extra_args
        _check_state(state)
        t = state.count if t is None else t
        t, T = place(state, t) if T is None else (t, T)
        # The dtype is not weak: inject_hyperparams casts weak ones to that of bfloat16 params.
        return jnp.asarray(taking_moments(self.schedule)(t, T), jnp.result_type(float))


def place(state: BudgetedState, t: Any) -> tuple[Any, Any]:
    """The place on the curve when t is spent: the t and T of the schedule."""
    t, T, xp, _ = unify(t, jnp.asarray(state.total_steps))
    t0, T0, left, bits = (state.plan[..., i] for i in range(4))
    planned = T0 > 0
    T0 = jnp.where(planned, T0, state.total_steps)
    left = jnp.where(planned, left, state.total_steps)
    part = jax.lax.bitcast_convert_type(bits, jnp.float32)
    later = stretched(t, T, t0, Moment(left, part), T0, xp)
    # Without a plan, integers give t itself. Floats might be off by a rounding error.
    return later if is_integer(t, xp) else jnp.where(planned, later, t), T0


def phases(state: BudgetedState, T: Any) -> tuple[Moment, Moment]:
    """Where the warmup ends and the decay starts, in a budget of T steps of the curve."""
    steps, bits, n, d, whole = (state.phases[..., i] for i in range(5))
    share = product(jnp.expand_dims(T, -1), n, jnp.maximum(d, 1), jnp)
    share = where(whole > 0, share.whole + (share.part > 0), share, jnp)
    part = share.part + jax.lax.bitcast_convert_type(bits, jnp.float32)
    more = jnp.round(part)
    found = steps + share.whole + more.astype(jnp.int32), part - more
    warmup, decay = (Moment(*(each[..., i] for each in found)) for i in range(2))
    return warmup, decay


def _phases(schedule: Any) -> Any:
    """`phase_places` in the form of a state."""
    places = phase_places(schedule)
    if places is None or max(abs(each.steps) for each in places) > LARGEST_STEP:
        return np.zeros((2, 5), np.int32)
    return np.array([_numbers(each) for each in places], np.int32)


def _numbers(place: Place) -> tuple[int, ...]:
    steps, share = round(place.steps), place.share.limit_denominator(LARGEST_STEP)
    part = int(np.float32(place.steps - steps).view(np.int32))
    return steps, part, share.numerator, share.denominator, int(place.whole)


def _check_state(state: Any) -> None:
    """Refuse other values in place of a state, or of a number in it. At trace time too."""
    if not isinstance(state, BudgetedState):
        raise ValueError(
            "state must be the BudgetedState that optax.inject_hyperparams keeps: "
            "tree_set(opt_state, learning_rate=...) overwrites that of a scheduled learning_rate, "
            "and the same for others (set total_steps, or make the optimizer with a number); where "
            f"optax expects a function of the count, use as_schedule; got {shown(state)}"
        )
    for name in ("count", "total_steps"):
        number = getattr(state, name)
        if not jnp.issubdtype(jnp.result_type(number), jnp.integer):
            raise ValueError(
                f"{name} of the state must be an integer, as in tree_set(opt_state, "
                f"{name}=jnp.int32(2000)); got {shown(number)}"
            )
    if concrete(state.total_steps) is not None:
        STEPS.check("total_steps of the state", concrete(state.total_steps))


def _value(schedule: Callable[[Any, Any], Any], total_steps: Any, count: Any) -> Any:
    return schedule(count, total_steps)


def _checked(schedule: Any, total_steps: Any) -> tuple[Callable[[Any, Any], Any], Any]:
    """The schedule and the budget, checked. One known number becomes an int."""
    schedule = checked_schedule("schedule", schedule)
    STEPS.check("total_steps", total_steps)
    total_steps = number(total_steps)
    if concrete(total_steps) is not None:
        try:
            schedule(0, total_steps)
        except TypeError as error:
            raise ValueError(
                "schedule must be a function of (t, T), and no schedule of optax; "
                f"got {shown(schedule)}"
            ) from error
    return schedule, total_steps


def number(value: Any) -> Any:
    """An int for one known number; else the value."""
    seen = concrete(value)
    return value if seen is None or np.ndim(seen) != 0 else int(seen)
