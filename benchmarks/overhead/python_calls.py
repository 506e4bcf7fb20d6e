"""Calls on Python's integers, un-jitted where the peer is a library of arrays."""

from collections.abc import Callable

import keras
import optax
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
)
from rex_keras import as_schedule

from benchmarks.overhead.by_hand import (
    rex_as_printed,
    rex_by_hand,
    rex_checked_by_hand,
    rex_with_beta_by_hand,
)
from benchmarks.overhead.measure import Bound, Effort, Row, Table, compare_statements
from rex_core import Replan, Schedule, bind, cosine, every_fraction, rex

CALLS = 20_000
EAGER_CALLS = 200
t, T = 333, 1000
PEAK, END, WARMUP = 0.1, 0.001, 50

STEPS = Schedule(peak_value=PEAK, end_value=END, warmup_steps=WARMUP)
RATIO = Schedule(peak_value=PEAK, end_value=END, warmup_ratio=WARMUP / T)
EVERY_20TH = Schedule(bind(rex, beta=0.9), bind(every_fraction, fraction=0.05), peak_value=PEAK)
EVERY_20TH_READ = bind(every_fraction, fraction=0.05)
REPLANNED = Replan(STEPS, 100, T // 2)  # t is in the rest of the curve, between its whole steps.
COSINE = Schedule(cosine, peak_value=PEAK, end_value=END)
COSINE_STEPS = STEPS.replace(profile=cosine)
COSINE_RATIO = RATIO.replace(profile=cosine)
OF_FVCORE = CompositeParamScheduler(
    [LinearParamScheduler(0.0, PEAK), CosineParamScheduler(PEAK, END)],
    lengths=[WARMUP / T, 1 - WARMUP / T],
    interval_scaling=["rescaled", "rescaled"],
)
OF_OPTAX = optax.cosine_decay_schedule(PEAK, T, END / PEAK)
OF_KERAS = keras.optimizers.schedules.CosineDecay(PEAK, T, END / PEAK)

Calls = dict[str, tuple[str, Callable[..., object]]]

# In each, the first is what the others are compared with. fvcore's schedules take t/T.
BY_HAND: Calls = {
    "REX written by hand": ("f(t, T)", rex_by_hand),
    "the same with 1 − t/T twice, as printed": ("f(t, T)", rex_as_printed),
    "the same with its parameter β": ("f(t, T)", rex_with_beta_by_hand),
    "the same, if t and T are integers in range": ("f(t, T)", rex_checked_by_hand),
    "rex(t, T)": ("f(t, T)", rex),
    "Schedule(rex), warmup_steps, end_value": ("f(t, T)", STEPS),
    "every_fraction, bound to 5 %": ("f(t, T)", EVERY_20TH_READ),
    "Replan of that schedule": ("f(t, T)", REPLANNED),
    "Schedule(bind(rex, beta=0.9)), every 5 %": ("f(t, T)", EVERY_20TH),
}
BY_HAND_BOUNDS = {
    "rex(t, T)": Bound(2.3),
    "Schedule(rex), warmup_steps, end_value": Bound(4.2),
    "every_fraction, bound to 5 %": Bound(20),
    "Replan of that schedule": Bound(60),
}
COMPOSED: Calls = {
    "fvcore's composite: linear, cosine": ("f(t / T)", OF_FVCORE),
    "Schedule(cosine), warmup_steps, end_value": ("f(t, T)", COSINE_STEPS),
    "Schedule(cosine), warmup_ratio, end_value": ("f(t, T)", COSINE_RATIO),
    "Schedule(rex), warmup_steps, end_value": ("f(t, T)", STEPS),
    "Schedule(rex), warmup_ratio, end_value": ("f(t, T)", RATIO),
}
EAGER_OPTAX: Calls = {
    "optax's cosine": ("f(t)", OF_OPTAX),
    "Schedule(rex), warmup_ratio, end_value": ("f(t, T)", RATIO),
    "Schedule(cosine), end_value": ("f(t, T)", COSINE),
}
EAGER_KERAS: Calls = {
    f"Keras' cosine on {keras.backend.backend()}": ("f(t)", OF_KERAS),
    "rex_keras.as_schedule of the next": ("f(t)", as_schedule(RATIO, T)),
    "Schedule(rex), warmup_ratio, end_value": ("f(t, T)", RATIO),
    "Schedule(cosine), end_value": ("f(t, T)", COSINE),
}


def tables(effort: Effort) -> list[Table]:
    """Against functions written by hand, fvcore, optax and Keras."""
    composed = {name: Bound(1.0) for name in COMPOSED if name.startswith("Schedule")}
    eager = {name: Bound(0.01) for name in EAGER_OPTAX if name.startswith("Schedule")}
    by_hand = _rows(BY_HAND, CALLS, effort, BY_HAND_BOUNDS)
    of_fvcore = _rows(COMPOSED, CALLS, effort, composed)
    of_optax = _rows(EAGER_OPTAX, EAGER_CALLS, effort, eager)
    of_keras = _rows(EAGER_KERAS, EAGER_CALLS, effort, eager)
    title = "One call with Python's integers"
    return [
        Table(f"{title}.", "Python call", "µs", by_hand + of_fvcore),
        Table(f"{title}, against optax un-jitted.", "against optax", "µs", of_optax),
        Table(f"{title}, against Keras un-jitted.", "against Keras", "µs", of_keras),
    ]


def _rows(calls: Calls, number: int, effort: Effort, bounds: dict[str, Bound]) -> list[Row]:
    statements = {
        name: (text, {"f": function, "t": t, "T": T}) for name, (text, function) in calls.items()
    }
    return compare_statements(statements, number, effort, bounds)
