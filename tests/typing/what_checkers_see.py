"""What a type checker sees of the public names: numbers give a float, arrays an array.

`tests/test_types.py` runs mypy and pyright over this file. Nothing imports it.
"""

from typing import Any, assert_type

import jax
import numpy as np
import torch

from rex_core import (
    Clamp,
    Join,
    OneCycle,
    Pair,
    Product,
    Replan,
    Restarts,
    Schedule,
    bind,
    cosine,
    every,
    every_fraction,
    falling_momentum,
    interpolate,
    linear,
    one_cycle,
    register,
    rex,
    step,
    total_steps,
    warmup_stable_decay,
)

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


def profiles(steps: np.ndarray[Any, Any], count: jax.Array, moment: torch.Tensor) -> None:
    assert_type(rex(1, 10), float)
    assert_type(rex(1, 10, beta=0.9), float)
    assert_type(linear(0.5, 8.0), float)
    assert_type(step(1, 10, milestones=(0.5, -2)), float)
    assert_type(interpolate(1, 10, values=[1.0, 0.0]), float)
    assert_type(rex(steps, 10), Floats)
    assert_type(rex(3, steps), Floats)
    assert_type(rex(np.int64(3), 10), np.floating[Any])
    assert_type(rex(count, 10), jax.Array)
    assert_type(rex(3, count), jax.Array)
    assert_type(cosine(moment, moment), torch.Tensor)
    assert_type(every(7, 10, steps=5), float)
    assert_type(every_fraction(count, 10, fraction=0.05), jax.Array)


def values(steps: np.ndarray[Any, Any], count: jax.Array, moment: torch.Tensor) -> None:
    schedule = Schedule(rex, peak_value=0.1, warmup_ratio=0.05)
    assert_type(schedule(1, 10), float)
    assert_type(schedule(steps, 10), Floats)
    assert_type(schedule(3, steps), Floats)
    assert_type(schedule(np.int64(3), 10), np.floating[Any])
    assert_type(schedule(count, 10), jax.Array)
    assert_type(schedule(3, count), jax.Array)
    assert_type(schedule(moment, 10), torch.Tensor)
    assert_type(bind(rex, beta=0.9)(1, 10), float)
    assert_type(Join([schedule, linear], [0.5])(1, 10), float)
    assert_type(Join((schedule, "cosine"), (-2000,))(count, 10), jax.Array)
    assert_type(Restarts(schedule, 3)(1, 10), float)
    assert_type(schedule * linear, Product)
    assert_type(Product([schedule, linear])(1, 10), float)
    assert_type(Clamp(schedule, least=0.1)(1, 10), float)
    assert_type(Replan(schedule, 3, 10)(1, 20), float)
    assert_type(schedule.replace(peak_value=0.3), Schedule)
    assert_type(warmup_stable_decay(decay_steps=100), Schedule)
    assert_type(one_cycle(0.1), OneCycle)
    assert_type(falling_momentum(0.1), Pair)
    lr, momentum = one_cycle(0.1)
    assert_type(lr, Schedule)
    assert_type(momentum, Schedule)
    assert_type(total_steps(epochs=3, dataset_size=1000, batch_size=32), int)


@register
def half(t: float, T: float, *, share: float = 0.5) -> float:
    return share


def registered_functions_keep_their_type() -> None:
    assert_type(half(1, 10, share=0.25), float)
