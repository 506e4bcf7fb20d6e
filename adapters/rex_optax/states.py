"""New budgets and counts in the state of an optimizer: in mid-run, on resume, for a new phase."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

from rex_core.adapting import (
    LARGEST_STEP,
    STEPS,
    Moment,
    Range,
    check_truth,
    clamp,
    concrete,
    everywhere,
    less,
    minus,
    shown,
    where,
)
from rex_optax.gradient_norms import GradientNormsState
from rex_optax.schedules import BudgetedState, number, phases, place
from rex_optax.trees import Path, changed, is_variable, leaves, like, rebuilt, value_of

_COUNT = Range(0, LARGEST_STEP, integers=True)
_MOST_SHOWN = 3
_SCHEDULES = (
    GradientNormsState,
    BudgetedState,
    optax.ScaleByScheduleState,
    optax.contrib.ReduceLROnPlateauState,
)
_NODES = (*_SCHEDULES, optax.InjectStatefulHyperparamsState, optax.MultiStepsState)


def replan(opt_state: Any, total_steps: Any, *, t: Any = None, decay_now: bool = False) -> Any:
    """Change the budget in mid-run, without a jump in any rate and without a new compilation.

    From now on, the rest of the curve of each `BudgetedSchedule` is stretched or compressed to end
    at the new budget. The rule is that of `rex_core.Replan`, with t0 = t::

        schedule(t, total_steps)                  before
        Replan(schedule, t0, T0)(t, total_steps)  from now on

    With decay_now the rest of a hold is skipped, and the decay starts at t0::

        Replan(schedule, t0, T0, decay_now=True)(t, total_steps)  from now on

    The budget can be changed any number of times. The state has the place on the curve, and does
    not grow. Every BudgetedSchedule in the tree gets the new budget. To change one optimizer only,
    pass its part of the state. The Variables of an ``nnx.Optimizer`` are set in place, and stay the
    same objects.

    An `as_schedule` in the same chain keeps its old budget, silently: it is in the code, and not in
    the state. Use a BudgetedSchedule in its place.

    Args:
        opt_state: The state of an optimizer, or any tree with the states of BudgetedSchedules: a
            ``TrainState``, an ``nnx.Optimizer`` or its ``opt_state``.
        total_steps: The new budget, the steps so far included: an integer in [1, 2^31 - 1] above t.
            It may be traced. If a traced one is not above t, all is spent.
        t: How much is spent, an integer in [0, 2^31 - 1]; the count of updates by default. If
            ``update`` gets another t, as in ``update(..., t=tokens // 1000)``, give the same here.
        decay_now: Whether the decay starts at t. Only for a `rex_core.Schedule` of plain numbers,
            or a `Clamp` or `Replan` of one. It has no effect once the decay has begun.

    Returns:
        The state. The compiled train step takes it as it took the old one. If the state is made of
        Variables, opt_state itself.

    Raises:
        ValueError: t or total_steps is out of range, or total_steps is not above t. The old budget
            is spent, so that no curve is left to stretch. opt_state has no state of a
            `BudgetedSchedule`. decay_now is set in a warmup, or for a schedule of another kind.
            Traced numbers are not checked.

    >>> import optax
    >>> from rex_core import Schedule
    >>> from rex_optax import BudgetedSchedule
    >>> schedule = BudgetedSchedule(Schedule(peak_value=0.1), 1000)
    >>> opt_state = optax.inject_hyperparams(optax.sgd)(schedule).init(0.0)
    >>> opt_state = replan(opt_state, 2000)
    >>> optax.tree_utils.tree_get(opt_state, "total_steps")
    Array(2000, dtype=int32)
    """
    STEPS.check("total_steps", total_steps)
    if t is not None:
        _COUNT.check("t", t)
    check_truth("decay_now", decay_now)
    total_steps = number(total_steps)  # One array in several states would be donated twice.
    values = {}
    for path, state in _budgeted(opt_state, "opt_state").items():
        plan = _plan(state, total_steps, state.count if t is None else t, decay_now)
        values[(*path, "total_steps")] = like(state.total_steps, total_steps)
        values[(*path, "plan")] = like(state.plan, plan)
    return changed(opt_state, values)


def resume(opt_state: Any, fresh: Any) -> Any:
    """A restored state with the budgets of the code that runs now.

    The budget in a restored state beats the budget in the code. A finished run of 1000 steps that
    goes on with ``BudgetedSchedule(schedule, 2000)`` would train at the end value, 0 by default.
    After `resume` the run goes on along the curve of the code::

        schedule(count, total_steps)  with the count restored, and total_steps of the code

    The rate may jump. For the rest of the old curve over a new budget, use `replan` on the restored
    state instead. A replan of the run before is forgotten. If the count is not below the budget of
    the code, the run is finished, and the rate stays at the end value.

    Counts and moments stay as they were restored. Numbers that ``optax.inject_hyperparams`` keeps,
    such as a constant weight decay, stay too. The budget of `as_schedule` is not in the state: it
    is always the code's.

    Args:
        opt_state: The restored state, of arrays of JAX or NumPy; a ``TrainState``, an
            ``nnx.Optimizer`` or its ``opt_state``; or the dictionaries and lists of a checkpoint
            that is restored without a target.
        fresh: The state of ``tx.init(params)`` in today's code; or a ``TrainState`` or
            ``nnx.Optimizer`` that holds it.

    Returns:
        The state, in the structure of fresh. The Variables of an ``nnx.Optimizer`` are set in
        place, and opt_state itself is returned.

    Raises:
        ValueError: The two differ in structure or in shapes; fresh has counts other than 0, or no
            state of a `BudgetedSchedule`.

    >>> import optax
    >>> from rex_core import Schedule
    >>> from rex_optax import BudgetedSchedule
    >>> sgd = optax.inject_hyperparams(optax.sgd)
    >>> restored = sgd(BudgetedSchedule(Schedule(peak_value=0.1), 1000)).init(0.0)
    >>> fresh = sgd(BudgetedSchedule(Schedule(peak_value=0.1), 2000)).init(0.0)
    >>> optax.tree_utils.tree_get(resume(restored, fresh), "total_steps")
    Array(2000, dtype=int32)
    """
    named = _matched(opt_state, fresh)
    budgets = _budgeted(fresh, "fresh")
    fields = [name for name in BudgetedState._fields if name != "count"]
    return _renewed(opt_state, fresh, [p for p in named if p[:-1] in budgets and p[-1] in fields])


def restart(opt_state: Any, fresh: Any) -> Any:
    """A new phase of training: schedules start again, and the optimizer keeps its moments.

    Every schedule runs as in fresh::

        schedule(0, total_steps), schedule(1, total_steps), ...  with total_steps of fresh

    These parts come from fresh:

    * the counts and budgets of schedules, those of `as_schedule` included;
    * all hyperparameters of ``optax.inject_hyperparams``, constants included;
    * the state of ``optax.contrib.reduce_on_plateau``, and the gradient_step of
      ``optax.MultiSteps``;
    * the record of `record_gradient_norms`, an empty one.

    All else stays, such as moments and accumulated gradients. Adam's own count stays with its
    moments, since it corrects their bias. At 0 again, it would make the first update up to ten
    times as large. Prodigy and D-adaptation have one count for this correction and for their
    schedule, and keep it. Wrap them in ``optax.inject_hyperparams``. The step of a ``TrainState``
    or ``nnx.Optimizer`` stays.

    Args:
        opt_state: The state at the end of the phase before, as in `resume`.
        fresh: The state of ``tx.init(params)`` for the new phase; or a ``TrainState`` or
            ``nnx.Optimizer`` that holds it.

    Returns:
        The state, in the structure of fresh. The Variables of an ``nnx.Optimizer`` are set in
        place, and opt_state itself is returned.

    Raises:
        ValueError: The two differ in structure or in shapes; fresh has counts other than 0, or no
            schedule.

    >>> import optax
    >>> from rex_core import Schedule
    >>> from rex_optax import as_schedule
    >>> optimizer = optax.adam(as_schedule(Schedule(peak_value=0.1), 1000))
    >>> fresh = optimizer.init(0.0)
    >>> _, opt_state = optimizer.update(1.0, fresh)
    >>> restarted = restart(opt_state, fresh)
    >>> int(restarted[1].count), float(restarted[0].mu) > 0
    (0, True)
    """
    named = _matched(opt_state, fresh)
    of_phase = leaves(_of_phase(_inner(fresh)))
    if not any(of_phase.values()):
        raise ValueError(
            "fresh must have the state of a schedule, of optax.inject_hyperparams or "
            f"optax.scale_by_schedule; got a {type(fresh).__name__} without one"
        )
    return _renewed(opt_state, fresh, [path for path in named if of_phase[path]])


def _budgeted(tree: Any, name: str) -> dict[Path, BudgetedState]:
    """The arrays of each BudgetedState in a tree, by its path."""
    named = leaves(_inner(tree)) if name == "fresh" else leaves(tree)
    found = {}
    for parent in [path[:-1] for path in named if path[-1:] == ("total_steps",)]:
        fields = [named.get((*parent, field)) for field in BudgetedState._fields]
        if all(field is not None for field in fields):
            found[parent] = BudgetedState(*map(value_of, fields))
    if not found:
        raise ValueError(
            f"{name} must have the state of a BudgetedSchedule, which optax.inject_hyperparams "
            f"keeps; got a {type(tree).__name__} without one"
        )
    return found


def _plan(state: BudgetedState, total_steps: Any, t: Any, decay_now: bool) -> jax.Array:
    """The plan of a state whose budget becomes total_steps when t is spent."""
    for name, value in (("t", t), ("total_steps", total_steps)):
        if not _fits(np.shape(value), np.shape(state.total_steps)):
            raise ValueError(
                f"{name} must be of a shape that broadcasts to {np.shape(state.total_steps)}, that "
                f"of the budgets in the state; got {shown(value)}"
            )
    spent, before, after = map(concrete, (t, state.total_steps, total_steps))
    if spent is not None and after is not None and not everywhere(after > spent):
        raise ValueError(
            f"total_steps must be above t = {spent}, what is spent; got {shown(total_steps)}"
        )
    if spent is not None and before is not None and not everywhere(before > spent):
        raise ValueError(
            "the old total_steps must be above t, or nothing of the curve is left to stretch "
            "(resume gives the state the budget of the code, restart starts a new phase); "
            f"got {before}, and t = {spent}"
        )
    moment, T0 = place(state, t)
    left = minus(T0, moment, jnp)
    if decay_now:
        left = _left_of_decay(state, moment, T0, left)
    part = jax.lax.bitcast_convert_type(jnp.float32(left.part), jnp.int32)
    return jnp.stack(jnp.broadcast_arrays(t, T0, left.whole, part), axis=-1)


def _left_of_decay(state: BudgetedState, moment: Moment, T0: Any, left: Moment) -> Moment:
    """The rest of the curve of T0 steps, from a moment on, without the rest of a hold."""
    known = concrete(state.phases)
    if known is not None and not everywhere(known[..., 3] > 0):
        raise ValueError(
            "schedule must be a Schedule, or a Clamp or Replan of one, for decay_now, of plain "
            "numbers; got the state of another"
        )
    warmup, decay = phases(state, T0)
    early = concrete(less(moment, warmup))
    if early is not None and not everywhere(~early):
        raise ValueError(
            f"t0 must not be in the warmup, which ends at {concrete(warmup.whole)} of T0 = "
            f"{concrete(T0)}, for decay_now; got {concrete(moment.whole)}"
        )
    skipped = less(moment, decay) & (state.phases[..., 0, 3] > 0)
    found: Moment = clamp(where(skipped, minus(T0, decay, jnp), left, jnp), T0, jnp)
    return found


def _fits(shape: tuple[int, ...], into: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, into) == into
    except ValueError:
        return False


def _inner(tree: Any) -> Any:
    """The optimizer's state in a TrainState or an nnx.Optimizer; else the tree."""
    return getattr(tree, "opt_state", tree)


def _matched(opt_state: Any, fresh: Any) -> dict[Path, Any]:
    """The leaves of opt_state. A ValueError names the differences from fresh."""
    old, new = leaves(_inner(opt_state)), leaves(_inner(fresh))
    differences = [f"{_text(path)} is in opt_state alone" for path in old if path not in new]
    differences += [f"{_text(path)} is in fresh alone" for path in new if path not in old]
    for path in new:
        shapes = [np.shape(value_of(tree[path])) for tree in (old, new) if path in tree]
        if len({*shapes}) > 1:
            differences.append(f"{_text(path)} has shape {shapes[0]}, and {shapes[1]} in fresh")
    if differences:
        more = len(differences) - _MOST_SHOWN
        raise ValueError(
            f"opt_state must have the structure of fresh: {'; '.join(differences[:_MOST_SHOWN])}"
            + (f"; and {more} more" if more > 0 else "")
        )
    for path, leaf in new.items():
        if isinstance(value_of(leaf), jax.ShapeDtypeStruct):
            raise ValueError(f"fresh must have arrays; got {shown(leaf)} for {_text(path)}")
        count = concrete(value_of(leaf)) if path[-1:] == ("count",) else None
        if count is not None and not everywhere(count == 0):
            raise ValueError(
                "fresh must be the state of tx.init, with counts of 0, and comes second; "
                f"got {count} for {_text(path)}"
            )
    return old


def _text(path: Path) -> str:
    return "/".join(path)


def _renewed(opt_state: Any, fresh: Any, paths: Iterable[Path]) -> Any:
    """The state with the values of fresh at some paths."""
    old, new = leaves(_inner(opt_state)), leaves(_inner(fresh))
    values = {path: like(old[path], new[path]) for path in paths}
    if any(map(is_variable, old.values())):
        changed(_inner(opt_state), values)
        return opt_state
    inner = rebuilt(_inner(fresh), old | values)
    if _inner(opt_state) is opt_state:
        return inner
    return dataclasses.replace(opt_state, opt_state=inner)


def _of_phase(tree: Any) -> Any:
    """A tree of truth values: whether each leaf belongs to a phase of training."""

    def every(node: Any, value: bool) -> Any:
        return jax.tree.map(lambda _: value, node, is_leaf=is_variable)

    def marked(node: Any) -> Any:
        if isinstance(node, optax.InjectStatefulHyperparamsState):
            return every(node, True)._replace(inner_state=_of_phase(node.inner_state))
        if isinstance(node, optax.MultiStepsState):
            inner = _of_phase(node.inner_opt_state)
            return every(node, False)._replace(gradient_step=True, inner_opt_state=inner)
        return every(node, isinstance(node, _SCHEDULES))

    def stops(node: Any) -> bool:
        return is_variable(node) or isinstance(node, _NODES)

    return jax.tree.map(marked, tree, is_leaf=stops)
