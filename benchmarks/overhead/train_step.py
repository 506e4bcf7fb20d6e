"""One jitted training step in JAX, with the rate from different places."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from rex_optax import BudgetedSchedule, as_schedule

from benchmarks.overhead.by_hand import rex_by_hand
from benchmarks.overhead.measure import Bound, Effort, Row, Table, compare
from benchmarks.overhead.network import MEDIUM, TINY, Problem, finished, problem, train_step
from rex_core import Schedule

STEPS = 10_000
PEAK = 0.1
END = 0.001
SCHEDULE = Schedule(peak_value=PEAK, end_value=END)
COSINE = optax.cosine_decay_schedule(PEAK, STEPS, END / PEAK)


class Carrying(BudgetedSchedule):
    """Optax's cosine, of the count in the state of a BudgetedSchedule."""

    def __call__(self, state: Any, **extra_args: Any) -> Any:
        return COSINE(state.count)


# The first of each is what the others are compared with.
PLAIN: dict[str, Any] = {
    "sgd, optax's cosine": COSINE,
    "the same again": COSINE,
    "sgd, constant rate": PEAK,
    "sgd, REX written by hand": lambda count: PEAK * rex_by_hand(count, STEPS),
    "sgd, as_schedule": as_schedule(SCHEDULE, STEPS),
}
INJECTED: dict[str, Any] = {
    "inject_hyperparams, optax's cosine": COSINE,
    "the same again": COSINE,
    "inject_hyperparams, constant rate": jnp.float32(PEAK),
    "optax's cosine, BudgetedSchedule's state": Carrying(SCHEDULE, STEPS),
    "inject_hyperparams, BudgetedSchedule": BudgetedSchedule(SCHEDULE, STEPS),
}
BOUNDS = {"sgd, as_schedule": Bound(1.02), "inject_hyperparams, BudgetedSchedule": Bound(1.02)}
SIZES = {"tiny": (TINY, 10), "medium": (MEDIUM, 1)}
# Differences of a percent are in question, and single steps differ by ten.
MORE = 20


def tables(effort: Effort) -> list[Table]:
    """A table for each network: plain optimizers, then those with injected hyperparameters."""
    found = []
    for name, (size, calls) in SIZES.items():
        whole = problem(size)
        rows: list[Row] = []
        for make, rates in ((optax.sgd, PLAIN), (optax.inject_hyperparams(optax.sgd), INJECTED)):
            steppers = {key: stepper(whole, make(rate)) for key, rate in rates.items()}
            rows += compare(steppers, calls, effort.times(MORE), BOUNDS)
        title = f"One jitted training step of a {name} network: {size}."
        found.append(Table(title, f"{name} step", "µs", rows))
    return found


def stepper(problem: Problem, optimizer: optax.GradientTransformation) -> Callable[[], object]:
    """A function that takes the next step each time it is called."""
    step = train_step(problem.loss, optimizer)
    now = step(problem.params, optimizer.init(problem.params))

    def call() -> object:
        nonlocal now
        now = finished(step(*now))
        return now

    return call
