"""The whole core under jax.numpy_dtype_promotion("strict"), where no dtype becomes another one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rex_optax  # noqa: F401  Registers the pytrees.

from rex_core import (
    Clamp,
    Join,
    Plateau,
    Product,
    Replan,
    Restarts,
    Schedule,
    at,
    bind,
    constant,
    cosine,
    every,
    every_fraction,
    exponential,
    geometric,
    interpolate,
    inverse_sqrt,
    linear,
    logarithmic,
    polynomial,
    rex,
    step,
    tanh,
)
from tests.core.cases import PROFILES, SAMPLINGS, SCHEDULES, together

pytestmark = pytest.mark.long

COOLED = Schedule(cosine, warmup_steps=3, decay_steps=20, end_value=0.1)
NEW = [
    bind(geometric, ratio=16.0),
    bind(inverse_sqrt, timescale=30),
    logarithmic,
    tanh,
    bind(tanh, lower=-2.0, upper=2.0),
    bind(interpolate, values=(1.0, 0.5, 0.75, 0.0)),
    bind(cosine, power=2.7, k=1.5),
    bind(polynomial, power=0.9, k=0.5),
    bind(step, milestones=(10, 0.5, -5), factor=0.5),
    bind(at, milestones=(10, 0.5, -5)),
    Product([Schedule(constant, warmup_steps=4), linear]),
    Clamp(bind(inverse_sqrt, timescale=30), least=0.5, most=0.75),
    COOLED,
    Schedule(rex, bind(every, steps=3), warmup_ratio=0.1, decay_ratio=0.2, init_value=0.5),
    Schedule(linear, warmup_steps=2, hold_steps=40),
    Join([rex, cosine], [0.5], local=False),
    Join([constant, COOLED], [-50]),
    Restarts(constant, 2),
    Replan(Schedule(linear, decay_steps=10), 30, 60, decay_now=True),
    Replan(Replan(Clamp(COOLED, least=0.2), 5, 80), 40, 90, decay_now=True),
    Schedule(Restarts(cosine, 3), warmup_ratio=0.1),
    Schedule(Product([rex, Clamp(linear, most=0.5)]), bind(every_fraction, fraction=0.05)),
]
EVERYTHING = together([*PROFILES, *SAMPLINGS, *SCHEDULES, *NEW])
STEPS = [-3, 0, 1, 2, 9, 33, 50, 80, 95, 99, 100, 120]


def by_numbers(a, b, n, *only):
    """Every place of a number: a and b are floats, n is an integer."""
    makers = {
        "beta": lambda: bind(rex, beta=a),
        "gamma": lambda: bind(exponential, gamma=a),
        "ratio": lambda: bind(geometric, ratio=a),
        "cosine": lambda: bind(cosine, power=a, k=b),
        "polynomial": lambda: bind(polynomial, power=a, k=b),
        "integers": lambda: bind(polynomial, power=n),
        "timescale": lambda: bind(inverse_sqrt, timescale=n),
        "tanh": lambda: bind(tanh, lower=-a, upper=n),
        "factor": lambda: bind(step, factor=a),
        "steps": lambda: bind(every, steps=n),
        "fraction": lambda: bind(every_fraction, fraction=a),
        "values": lambda: Schedule(linear, peak_value=a, end_value=b, init_value=n, warmup_steps=n),
        "integer values": lambda: Schedule(linear, peak_value=n, end_value=n, warmup_steps=n),
        "ratios": lambda: Schedule(linear, warmup_ratio=b, hold_ratio=a),
        "hold": lambda: Schedule(rex, warmup_steps=n, hold_steps=n),
        "decay": lambda: Schedule(rex, warmup_ratio=b, decay_steps=n),
        "decay ratio": lambda: Schedule(rex, warmup_steps=n, decay_ratio=a),
        "peak_mult": lambda: Restarts(Schedule(peak_value=b), 3, peak_mult=a),
        "clamp": lambda: Clamp(linear, least=b, most=a),
        "clamp of integers": lambda: Clamp(Schedule(linear, peak_value=10), least=n),
        "replan": lambda: Replan(linear, n, 60),
        "replan of floats": lambda: Replan(linear, a, 60),
        "decay_now": lambda: Replan(Schedule(linear, decay_steps=n), n + 20, 60, decay_now=True),
        "join": lambda: Join([Schedule(linear, peak_value=a), bind(rex, beta=b)], [0.5]),
        "product": lambda: bind(rex, beta=a) * Schedule(linear, peak_value=n),
        "nested": lambda: Schedule(Replan(Schedule(bind(rex, beta=b), peak_value=a), n, 60)),
    }
    return {name: make() for name, make in makers.items() if name in only or not only}


def values_of(a, b, n, t, T):
    return {name: value(t, T) for name, value in by_numbers(a, b, n).items()}


def same(strict, relaxed):
    assert strict.keys() == relaxed.keys()
    for name, values in strict.items():
        assert values.dtype == relaxed[name].dtype, name
        np.testing.assert_array_equal(values, relaxed[name], err_msg=name)


TIMES = {
    "int32": (jnp.asarray(STEPS, jnp.int32), jnp.int32(100)),
    "float32": (jnp.asarray(STEPS, jnp.float32), jnp.float32(100)),
    "t int32, T float32": (jnp.asarray(STEPS, jnp.int32), jnp.float32(100)),
    "t float32, T int32": (jnp.asarray(STEPS, jnp.float32), jnp.int32(100)),
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_traced_times(times):
    relaxed = jax.jit(EVERYTHING)(*times)
    with jax.numpy_dtype_promotion("strict"):
        strict = jax.jit(EVERYTHING)(*times)
    same(strict, relaxed)


@pytest.mark.parametrize("T", [100, 100.0])
def test_traced_t_and_a_python_T(T):
    t = jnp.asarray(STEPS, jnp.int32)
    relaxed = jax.jit(lambda t: EVERYTHING(t, T))(t)
    with jax.numpy_dtype_promotion("strict"):
        strict = jax.jit(lambda t: EVERYTHING(t, T))(t)
    same(strict, relaxed)


def test_eager_and_small_dtypes():
    """No compiler: the values themselves are looked at."""
    for t, T in [
        (jnp.int32(33), 100),
        (jnp.uint8(33), jnp.int16(100)),
        (jnp.bfloat16(33), jnp.float32(100)),
        (np.arange(3), jnp.int32(100)),
    ]:
        functions = together([rex, *SAMPLINGS[1:3], *SCHEDULES[:2], *NEW[3:9]])
        relaxed = functions(t, T)
        with jax.numpy_dtype_promotion("strict"):
            same(functions(t, T), relaxed)


KINDS = {
    "float32 and int32": (jnp.float32, jnp.int32),
    "bfloat16 and uint8": (jnp.bfloat16, jnp.uint8),
    "NumPy": (np.float64, np.int16),
}


@pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("times", ["int32", "float32"])
def test_numbers_that_are_arrays(times, kinds):
    real, whole = kinds
    numbers = real(0.75), real(0.125), whole(7)
    relaxed = values_of(*numbers, *TIMES[times])
    with jax.numpy_dtype_promotion("strict"):
        same(values_of(*numbers, *TIMES[times]), relaxed)


@pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("times", ["int32", "float32"])
def test_numbers_that_are_traced(times, kinds):
    real, whole = kinds
    numbers = real(0.75), real(0.125), whole(7)
    relaxed = jax.jit(values_of)(*numbers, *TIMES[times])
    with jax.numpy_dtype_promotion("strict"):
        same(jax.jit(values_of)(*numbers, *TIMES[times]), relaxed)


def test_gradients():
    def total(a, b, t, T):
        values = values_of(a, b, 7, t, T)
        return sum(jnp.sum(jnp.asarray(value, jnp.float32)) for value in values.values())

    arguments = jnp.float32(0.75), jnp.float32(0.125), *TIMES["float32"]
    relaxed = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*arguments)
    with jax.numpy_dtype_promotion("strict"):
        strict = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*arguments)
    for one, other in zip(strict, relaxed, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.all(np.isfinite(one))


def test_values_as_arguments_of_a_compiled_function():
    schedules = [COOLED, *SCHEDULES[:3], *NEW[10:15]]
    call = jax.jit(lambda schedules, t, T: [schedule(t, T) for schedule in schedules])
    relaxed = call(schedules, *TIMES["int32"])
    with jax.numpy_dtype_promotion("strict"):
        strict = call(schedules, *TIMES["int32"])
    for one, other in zip(strict, relaxed, strict=True):
        np.testing.assert_array_equal(one, other)


PLATEAUS = [
    Plateau(patience=1, threshold=0.01),
    Plateau(mode="max", threshold_mode="abs", patience=0, cooldown=2, min_scale=0.25),
    Plateau(factor=jnp.float32(0.5), patience=jnp.int32(1), cooldown=jnp.uint8(1)),
    Plateau(factor=np.float64(0.5), patience=np.int16(1), min_scale=jnp.bfloat16(0.25)),
]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int32])
def test_plateau(dtype):
    def run(metrics):
        states = []
        for plateau in PLATEAUS:
            state = plateau.init(metrics[0])
            for metric in metrics:
                state = plateau.update(state, metric)
                states.append(state)
            states.append(plateau.update(plateau.init(), metrics[0]))
        return states

    metrics = [dtype(metric) for metric in (5, 3, 3, 4, 4, 4, 2)]
    relaxed, compiled = run(metrics), jax.jit(run)(metrics)
    with jax.numpy_dtype_promotion("strict"):
        strict, strictly_compiled = run(metrics), jax.jit(run)(metrics)
    assert strict == relaxed
    assert strictly_compiled == compiled == relaxed
