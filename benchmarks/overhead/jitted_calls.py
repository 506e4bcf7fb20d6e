"""Jitted calls in JAX: a schedule's value alone, and many schedules as lanes of one call."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import optax
from rex_optax import as_schedule

from benchmarks.overhead.by_hand import rex_by_hand
from benchmarks.overhead.measure import Effort, Table, compare, in_turn, summarize
from rex_core import Schedule, bind, rex

CALLS = 500
COMPILATIONS = 5
LANES = 1, 64, 4096
STEPS = 10_000
PEAK = 0.1
END = 0.001
SCHEDULE = Schedule(peak_value=PEAK, end_value=END)

# Functions of the step and the budget, which is traced; the first is the baseline of the others.
FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "optax's cosine": lambda t, T: optax.cosine_decay_schedule(PEAK, STEPS, END / PEAK)(t),
    "a constant": lambda t, T: jnp.float32(PEAK),
    "REX written by hand": lambda t, T: PEAK * rex_by_hand(t, STEPS),
    "as_schedule": lambda t, T: as_schedule(SCHEDULE, STEPS)(t),
    "Schedule, T traced": SCHEDULE,
    "rex, T traced": rex,
}


def tables(effort: Effort) -> list[Table]:
    """Running apart from tracing and compiling."""
    t, T = jnp.int32(333), jnp.int32(STEPS)
    calls = {name: caller(function, t, T) for name, function in FUNCTIONS.items()}
    compiling = summarize(compile_times(effort, t, T))
    many = compare({f"{n} lane{'s'[: n > 1]}": lanes(n) for n in LANES}, CALLS // 5, effort)
    own = "each with its own peak, end, warmup and β"
    return [
        Table("One jitted call of a schedule.", "jitted", "µs", compare(calls, CALLS, effort)),
        Table("The same: tracing and compiling it.", "compiling", "ms", compiling),
        Table(f"One jitted call of many schedules, {own}.", "lanes", "µs", many),
    ]


def caller(function: Callable[..., Any], *args: Any) -> Callable[[], object]:
    """A call of the jitted function, which is compiled now."""
    compiled = jax.jit(lambda *args: function(*args))
    compiled(*args)
    return lambda: compiled(*args).block_until_ready()


def compile_times(effort: Effort, *args: Any) -> dict[str, list[float]]:
    """Milliseconds for each round, of a function that JAX has not seen before."""
    times: dict[str, list[float]] = {name: [] for name in FUNCTIONS}
    for name in in_turn(list(FUNCTIONS), effort.at_most(COMPILATIONS).rounds):
        began = perf_counter()
        jax.jit(lambda *args, f=FUNCTIONS[name]: f(*args)).lower(*args).compile()
        times[name].append((perf_counter() - began) * 1e3)
    return times


def lanes(count: int) -> Callable[[], object]:
    """A call of so many schedules, the values of all at one step."""

    def value(peak: Any, end: Any, warmup: Any, beta: Any, t: Any) -> Any:
        profile = bind(rex, beta=beta)
        schedule = Schedule(profile, peak_value=peak, end_value=end, warmup_steps=warmup)
        return schedule(t, STEPS)

    peaks = jnp.linspace(0.01, 1.0, count)
    warmups = jnp.arange(count, dtype=jnp.int32) % 100
    betas = jnp.linspace(0.1, 0.9, count)
    together = jax.vmap(value, in_axes=(0, 0, 0, 0, None))
    return caller(together, peaks, 0.1 * peaks, warmups, betas, jnp.int32(333))
