"""How each backend evaluates a function of (t, T) at integer steps: {name: (evaluate, dtype)}."""

import jax
import jax.numpy as jnp
import numpy as np
import torch


def python(function, steps, T):
    values = [function(t, T) for t in steps]
    assert all(type(value) in (int, float) for value in values)
    return np.array(values)


def numpy(function, steps, T):
    return library(np.ndarray, function(np.array(steps), T))


def numpy_scalars(function, steps, T):
    return np.array(
        [library(np.ndarray | np.generic, function(np.int64(t), np.int64(T))) for t in steps]
    )


def jax_eager(function, steps, T):
    return library(jax.Array, function(jnp.array(steps), T))


def jax_jit(function, steps, T):
    return library(jax.Array, jax.jit(function)(jnp.array(steps), T))


def jax_vmap(function, steps, T):
    budgets = jnp.full(len(steps), T)
    return library(jax.Array, jax.vmap(jax.jit(function))(jnp.array(steps), budgets))


def jax_x64(function, steps, T):
    with jax.enable_x64(True):
        return jax_jit(function, steps, T)


def torch_tensors(function, steps, T):
    return library(torch.Tensor, function(torch.tensor(steps), torch.tensor(T)))


def torch_float64(function, steps, T):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return torch_tensors(function, steps, T)
    finally:
        torch.set_default_dtype(before)


def library(kind, values):
    assert isinstance(values, kind)
    return np.asarray(values)


BACKENDS = {
    "python": (python, np.float64),
    "numpy": (numpy, np.float64),
    "numpy_scalars": (numpy_scalars, np.float64),
    "jax_eager": (jax_eager, np.float32),
    "jax_jit": (jax_jit, np.float32),
    "jax_vmap": (jax_vmap, np.float32),
    "jax_x64": (jax_x64, np.float64),
    "torch": (torch_tensors, np.float32),
    "torch_float64": (torch_float64, np.float64),
}
