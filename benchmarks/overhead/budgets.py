"""Six budgets of one training program: a budget within the program, or as an argument of it."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rex_optax import BudgetedSchedule, as_schedule

from benchmarks.budgeted.compilations import compilations
from benchmarks.overhead.measure import Bound, Effort, Table, in_turn, summarize
from benchmarks.overhead.network import (
    DEEP,
    Params,
    Problem,
    Size,
    Step,
    finished,
    problem,
    train_step,
)
from rex_core import Schedule

PERCENTS = 1, 5, 10, 25, 50, 100
UPDATES = 2000
PEAK, MOMENTUM = 0.1, 0.9
ROUNDS = 3

# From a budget to the state in which its training begins, and its step.
Start = Callable[[int], tuple[Any, Step]]


class Spent(NamedTuple):
    """What the training of several budgets took."""

    compiled: int
    to_first: float
    seconds: float


def cosine_of_optax(problem: Problem) -> Start:
    """A program for each budget."""

    def start(T: int) -> tuple[Any, Step]:
        optimizer = optax.sgd(optax.cosine_decay_schedule(PEAK, T), MOMENTUM)
        return optimizer.init(problem.params), train_step(problem.loss, optimizer)

    return start


def cosine_outside(problem: Problem, rates: Callable[[optax.Schedule], Iterator[Any]]) -> Start:
    """One program, which is given the rate of each update."""
    optimizer = optax.inject_hyperparams(optax.sgd)(jnp.float32(PEAK), momentum=MOMENTUM)
    step = train_step(problem.loss, optimizer)

    def start(T: int) -> tuple[Any, Step]:
        following = rates(optax.cosine_decay_schedule(PEAK, T))

        def update(params: Params, state: Any) -> tuple[Params, Any]:
            state.hyperparams["learning_rate"] = next(following)
            return step(params, state)

        return optimizer.init(problem.params), update

    return start


def called(schedule: optax.Schedule) -> Iterator[Any]:
    """The rates, each when it is asked for."""
    return map(schedule, itertools.count())


def worked_out(schedule: optax.Schedule) -> Iterator[Any]:
    """All rates at once; as many for each budget, since JAX compiles for a new length."""
    return iter(np.asarray(schedule(jnp.arange(UPDATES))))


def argument(problem: Problem) -> Start:
    """One program, which has the budget as an argument."""

    def optimizer(T: Any) -> optax.GradientTransformation:
        return optax.sgd(as_schedule(Schedule(peak_value=PEAK), T), MOMENTUM)

    @jax.jit
    def train_step_of(T: Any, params: Params, state: Any) -> tuple[Params, Any]:
        return train_step(problem.loss, optimizer(T))(params, state)

    def start(T: int) -> tuple[Any, Step]:
        return optimizer(T).init(problem.params), partial(train_step_of, T)

    return start


def in_state(problem: Problem) -> Start:
    """One program; the budget is in the optimizer's state."""
    rate = BudgetedSchedule(Schedule(peak_value=PEAK), UPDATES)
    optimizer = optax.inject_hyperparams(optax.sgd)(rate, momentum=MOMENTUM)
    step = train_step(problem.loss, optimizer)

    def start(T: int) -> tuple[Any, Step]:
        state = optimizer.init(problem.params)
        return optax.tree_utils.tree_set(state, total_steps=jnp.int32(T)), step

    return start


WAYS: dict[str, Callable[[Problem], Start]] = {
    "optax's cosine, a program for each budget": cosine_of_optax,
    "optax's cosine, called before each update": partial(cosine_outside, rates=called),
    "the same, compiled": partial(cosine_outside, rates=lambda s: called(jax.jit(s))),
    "optax's cosine, all rates worked out before": partial(cosine_outside, rates=worked_out),
    "as_schedule, T an argument of the program": argument,
    "BudgetedSchedule, T in the state": in_state,
}
ONE = {name: Bound(1, of="value") for name in list(WAYS)[4:]}


def tables(effort: Effort, size: Size = DEEP) -> list[Table]:
    """How many compilations, how long until the first updates are done, and how long in all."""
    whole = problem(size)
    budgets = [max(1, effort.of(UPDATES) * percent // 100) for percent in PERCENTS]
    spent: dict[str, list[Spent]] = {name: [] for name in WAYS}
    for name in in_turn(list(WAYS), effort.at_most(ROUNDS).rounds):
        spent[name].append(train(whole.params, WAYS[name](whole), budgets))
    updates = f"{', '.join(map(str, budgets))} updates"
    compiled, to_first, seconds = (
        {name: [getattr(each, field) for each in of] for name, of in spent.items()}
        for field in Spent._fields
    )
    return [
        Table(
            f"Budgets of {updates}: compilations of the training program.",
            "six budgets",
            "compilations",
            summarize(compiled, ONE),
        ),
        Table(
            "The same: the time until the first update of each is done, for tracing and compiling.",
            "six budgets",
            "s",
            summarize(to_first),
        ),
        Table("The same: the total time.", "six budgets", "s", summarize(seconds)),
    ]


def train(params: Params, start: Start, budgets: Sequence[int]) -> Spent:
    """Train under one budget after the other."""
    to_first = 0.0
    began = perf_counter()
    with compilations() as names:
        for T in budgets:
            before = perf_counter()
            state, step = start(T)
            now = finished(step(params, state))
            to_first += perf_counter() - before
            for _ in range(T - 1):
                now = step(*now)
            finished(now)
    compiled = sum("train_step" in name for name in names)
    return Spent(compiled, to_first, perf_counter() - began)
