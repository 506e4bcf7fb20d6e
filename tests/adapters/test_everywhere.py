"""One schedule, as each framework's optimizer has it; the table of docs/exact.md is made here."""

from pathlib import Path

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest
import rex_keras
import rex_optax
import rex_torch
import torch

from rex_core import Schedule

pytestmark = pytest.mark.long

PAGE = Path(__file__).parents[2] / "docs" / "exact.md"
T = 1000
STEPS = [0, 25, 50, 250, 500, 750, 990, 999, 1000]
SCHEDULE = Schedule(peak_value=0.1, end_value=0.001, warmup_ratio=0.05)


def python(t):
    return SCHEDULE(t, T)


def in_optax(t):
    optimizer = optax.inject_hyperparams(optax.sgd)(rex_optax.BudgetedSchedule(SCHEDULE, T))
    params = jnp.zeros(1)
    state = optimizer.init(params)
    counts = optax.tree_utils.tree_set(state.hyperparams_states, count=jnp.int32(t))
    state = state._replace(hyperparams_states=counts)
    _, state = jax.jit(optimizer.update)(jnp.ones(1), state, params)
    return state.hyperparams["learning_rate"]


def in_torch(t):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    scheduler = rex_torch.HyperparamScheduler(optimizer, T, lr=SCHEDULE)
    scheduler.step(t)
    return optimizer.param_groups[0]["lr"]


def in_keras(t):
    optimizer = keras.optimizers.SGD(rex_keras.as_schedule(SCHEDULE, T))
    optimizer.iterations.assign(t)
    return optimizer.learning_rate


COLUMNS = {"Python": python, "optax": in_optax, "PyTorch": in_torch, "Keras": in_keras}


# Keras on JAX warns so whenever it reads its own variables.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_one_schedule_has_one_value_everywhere():
    table = {name: [float(value(t)) for t in STEPS] for name, value in COLUMNS.items()}
    for name, values in table.items():
        # Peak and floor, their products and sum are rounded to float32 where the values are.
        np.testing.assert_allclose(values, table["Python"], rtol=6 * 2.0**-23, err_msg=name)
    lines = [f"    {'step':>4}" + "".join(f"{name:>13}" for name in table)]
    for t, *row in zip(STEPS, *table.values(), strict=True):
        lines.append(f"    {t:>4}" + "".join(f"{value:>13.8f}" for value in row))
    assert "\n".join(lines) in PAGE.read_text(encoding="utf-8"), "\n".join(lines)
