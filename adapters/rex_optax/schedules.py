"""A schedule and a budget as what optax calls a schedule, stateless or stateful."""

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
    Range,
    checked_schedule,
    concrete,
    everywhere,
    is_integer,
    minus,
    shown,
    stretched,
    taking_moments,
    unify,
)

_COUNT = Range(0, LARGEST_STEP, integers=True)


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
    return partial(_value, *_checked(schedule, total_steps))


class BudgetedState(NamedTuple):
    """The state of a `BudgetedSchedule`, int32.

    Attributes:
        count: The number of updates so far, a scalar.
        total_steps: The budget, a scalar.
        plan: Of the last `replan`: the count then; the budget that the curve was planned for; what
            was left of that, to the nearest step; and what that is off by, the bits of a float32.
            Four zeros before the first one.
    """

    count: jax.Array  # type: ignore[assignment]  # optax's name; tuple.count has it too.
    total_steps: jax.Array
    plan: jax.Array  # In one array, since each costs a compiled step more than the arithmetic.


@dataclass(frozen=True)
class BudgetedSchedule(optax.schedules.StatefulSchedule):
    """A schedule whose budget is part of the optimizer's state, for ``optax.inject_hyperparams``.

    The budget is checkpointed with the state and can be changed there, for learning rate, momentum,
    b1 and weight decay alike, without a new compilation::

        opt_state = replan(opt_state, 2000)
        opt_state = optax.tree_utils.tree_set(opt_state, total_steps=jnp.int32(2000))

    `replan` stretches the rest of the curve. To set total_steps means the same curve over another
    budget, ``schedule(count, total_steps)`` from now on; or after a replan, that this had been to
    the budget that is set: ``Replan(schedule, t0, T0)(count, total_steps)``. The rate may jump.

    Extra arguments ``t=`` and ``T=`` of ``update`` take the place of the two counters, in any unit,
    for that update: tokens, or the seconds of a `rex_core.WallClock`, ``t=clock.t, T=clock.T``. For
    a budget that is told by ``T=``, the state has no replan: that is a schedule of its own,
    ``BudgetedSchedule(Replan(schedule, t0, T0), ...)``, which takes the state of the one before.

    Args:
        schedule: A `rex_core.Schedule`, or any function of (t, T). One that is not this library's
            is traced for a count of floats too, for what a `replan` puts between two steps; the
            count is kept in [0, total_steps].
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
        return BudgetedState(zero, total_steps, jnp.zeros(4, jnp.int32))

    def update(self, state: BudgetedState, **extra_args: Any) -> BudgetedState:
        """The state after one more update."""
        del extra_args
        return state._replace(count=jnp.asarray(optax.safe_increment(state.count)))

    def __call__(
        self, state: BudgetedState, *, t: Any = None, T: Any = None, **extra_args: Any
    ) -> jax.Array:
        """The value for the next update."""
        del extra_args
        if not isinstance(state, BudgetedState):
            raise ValueError(
                "state must be the BudgetedState that optax.inject_hyperparams keeps; where optax "
                f"expects a function of the count, use as_schedule; got {shown(state)}"
            )
        t = state.count if t is None else t
        t, T = _place(state, t) if T is None else (t, T)
        # A dtype of its own: inject_hyperparams casts a weak one to that of bfloat16 params.
        return jnp.asarray(taking_moments(self.schedule)(t, T), jnp.result_type(float))


def replan(opt_state: Any, total_steps: Any, *, t: Any = None) -> Any:
    """Change the budget in mid-run, without a jump in any rate and without a new compilation.

    From now on the rest of the curve of each `BudgetedSchedule` is stretched, or compressed, over
    what the new budget leaves, by the rule of `rex_core.Replan`, with t0 = t::

        schedule(t, total_steps)                  before
        Replan(schedule, t0, T0)(t, total_steps)  from now on

    The budget can be changed any number of times: the state has the place on the curve, and does
    not grow. Every BudgetedSchedule in the tree gets the new budget; for those of one optimizer
    only, pass the part of the state that is its own.

    Args:
        opt_state: The state of an optimizer, or any tree with the states of BudgetedSchedules.
        total_steps: The new budget, what is spent so far included: an integer in [1, 2^31 - 1]
            above t. May be traced: if it is not above t then, all is spent.
        t: How much is spent: the count of updates by default. Where these are told otherwise, as in
            ``update(..., t=tokens // 1000)``, the same here; an integer in [0, 2^31 - 1].

    Returns:
        The state, which says so; the compiled train step takes it as it took the old one.

    Raises:
        ValueError: t or total_steps is out of range, or total_steps not above t; the old budget is
            spent, and no curve left to stretch; no `BudgetedSchedule` has a state in opt_state.

    >>> import optax
    >>> from rex_core import Schedule
    >>> schedule = BudgetedSchedule(Schedule(peak_value=0.1), 1000)
    >>> opt_state = optax.inject_hyperparams(optax.sgd)(schedule).init(0.0)
    >>> opt_state = replan(opt_state, 2000)
    >>> optax.tree_utils.tree_get(opt_state, "total_steps")
    Array(2000, dtype=int32)
    """
    STEPS.check("total_steps", total_steps)
    if t is not None:
        _COUNT.check("t", t)
    total_steps = _number(total_steps)  # One array in several states would be donated twice.

    def replanned(state: Any) -> Any:
        if not _is_state(state):
            return state
        t0 = state.count if t is None else t
        for name, value in (("t", t0), ("total_steps", total_steps)):
            if not _fits(np.shape(value), state.total_steps.shape):
                raise ValueError(
                    f"{name} must be of a shape that broadcasts to {state.total_steps.shape}, that "
                    f"of the budgets in the state; got {shown(value)}"
                )
        spent, before, after = map(concrete, (t0, state.total_steps, total_steps))
        if spent is not None and after is not None and not everywhere(after > spent):
            raise ValueError(
                f"total_steps must be above t = {spent}, what is spent; got {shown(total_steps)}"
            )
        if spent is not None and before is not None and not everywhere(before > spent):
            raise ValueError(
                "the old total_steps must be above t, or nothing of the curve is left to stretch; "
                f"got {before}, and t = {spent}"
            )
        place, T0 = _place(state, t0)
        left = minus(T0, place, jnp)
        part = jax.lax.bitcast_convert_type(jnp.float32(left.part), jnp.int32)
        plan = jnp.stack(jnp.broadcast_arrays(t0, T0, left.whole, part), axis=-1)
        # Like the old ones to the compiler: of their dtypes, on their devices.
        return state._replace(
            total_steps=jnp.full_like(state.total_steps, total_steps),
            plan=jnp.full_like(state.plan, plan),
        )

    if not any(map(_is_state, jax.tree.leaves(opt_state, is_leaf=_is_state))):
        raise ValueError(
            "opt_state must have the state of a BudgetedSchedule, which optax.inject_hyperparams "
            f"keeps; got a {type(opt_state).__name__} without one"
        )
    return jax.tree.map(replanned, opt_state, is_leaf=_is_state)


def _is_state(node: Any) -> bool:
    return isinstance(node, BudgetedState)


def _place(state: BudgetedState, t: Any) -> tuple[Any, Any]:
    """The place on the curve, as t and T of the schedule, when t is spent."""
    t, T, xp, _ = unify(t, jnp.asarray(state.total_steps))
    t0, T0, left, bits = (state.plan[..., i] for i in range(4))
    planned = T0 > 0
    T0 = jnp.where(planned, T0, state.total_steps)
    left = jnp.where(planned, left, state.total_steps)
    part = jax.lax.bitcast_convert_type(bits, jnp.float32)
    place = stretched(t, T, t0, Moment(left, part), T0, xp)
    # Without a plan the integers give t itself, floats might be off by a rounding.
    return place if is_integer(t, xp) else jnp.where(planned, place, t), T0


def _fits(shape: tuple[int, ...], into: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, into) == into
    except ValueError:
        return False


def _value(schedule: Callable[[Any, Any], Any], total_steps: Any, count: Any) -> Any:
    return schedule(count, total_steps)


def _checked(schedule: Any, total_steps: Any) -> tuple[Callable[[Any, Any], Any], Any]:
    """The schedule, and the budget, an int if it is one known number that the schedule accepts."""
    schedule = checked_schedule("schedule", schedule)
    STEPS.check("total_steps", total_steps)
    total_steps = _number(total_steps)
    if concrete(total_steps) is not None:
        schedule(0, total_steps)
    return schedule, total_steps


def _number(value: Any) -> Any:
    """An int for one known number; else the value."""
    seen = concrete(value)
    return value if seen is None or np.ndim(seen) != 0 else int(seen)
