"""Small and odd dtypes of t, T and every number: the value is that of the Python number."""

import enum
import math

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch

from rex_core import (
    Clamp,
    Join,
    Plateau,
    Replan,
    Restarts,
    Schedule,
    bind,
    constant,
    cosine,
    every,
    every_fraction,
    exponential,
    geometric,
    inverse_sqrt,
    linear,
    logarithmic,
    polynomial,
    rex,
    step,
    tanh,
    total_steps,
)
from tests.core.cases import LARGEST, PROFILES, SAMPLINGS, SCHEDULES, name

pytestmark = pytest.mark.long

T = 1000
STEPS = [0, 37, 100, 499, 500, 750, 999, 1000]
INTEGERS = ["uint8", "int8", "int16", "uint16", "uint32"]
FLOATS = ["float16", "bfloat16"]
DTYPES = INTEGERS + FLOATS


def of_numpy(values, dtype):
    return np.asarray(values).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


LIBRARIES = {
    "numpy": of_numpy,
    "jax": lambda values, dtype: jnp.asarray(of_numpy(values, dtype)),
    "torch": lambda values, dtype: torch.tensor(values, dtype=getattr(torch, dtype)),
}
# NumPy's rarer dtypes, which no other library has.
ODD = [np.longdouble, *(f"{order}{kind}" for order in "<>" for kind in ("i2", "i4", "f4", "f8"))]

# (a function of (t, T) by one number, a whole number for it that an int8 holds, and another one
# that float16 and bfloat16 hold).
PARAMETERS = {
    "beta": (lambda x: bind(rex, beta=x), 0, 0.75),
    "cosine power": (lambda x: bind(cosine, power=x), 3, 0.5),
    "cosine k": (lambda x: bind(cosine, k=x), 2, 1.5),
    "gamma": (lambda x: bind(exponential, gamma=x), 3, 1.5),
    "ratio": (lambda x: bind(geometric, ratio=x), 16, 0.25),
    "polynomial power": (lambda x: bind(polynomial, power=x), 3, 1.5),
    "polynomial k": (lambda x: bind(polynomial, k=x), 2, 1.5),
    "timescale": (lambda x: bind(inverse_sqrt, timescale=x), 100, 0.5),
    "lower": (lambda x: bind(tanh, lower=x, upper=3), 1, -2.5),
    "upper": (lambda x: bind(tanh, lower=-3, upper=x), 1, 2.5),
    "factor": (lambda x: bind(step, factor=x), 1, 0.25),
    "steps": (lambda x: Schedule(linear, bind(every, steps=x)), 100, 100.0),
    "fraction": (lambda x: Schedule(linear, bind(every_fraction, fraction=x)), 1, 0.125),
    "peak_value": (lambda x: Schedule(linear, peak_value=x, end_value=0.5), 100, 1.5),
    "end_value": (lambda x: Schedule(linear, end_value=x), 100, 0.5),
    "init_value": (lambda x: Schedule(linear, init_value=x, warmup_steps=200), 100, 0.5),
    "warmup_steps": (lambda x: Schedule(linear, warmup_steps=x), 100, 2.5),
    "warmup_ratio": (lambda x: Schedule(linear, warmup_ratio=x), 0, 0.125),
    "hold_steps": (lambda x: Schedule(linear, hold_steps=x), 100, 100.0),
    "warmup and hold": (lambda x: Schedule(linear, warmup_steps=x, hold_steps=x), 100, 100.0),
    "hold_ratio": (lambda x: Schedule(linear, hold_ratio=x), 0, 0.125),
    "decay_steps": (lambda x: Schedule(linear, decay_steps=x), 100, 2.5),
    "decay_ratio": (lambda x: Schedule(linear, decay_ratio=x), 1, 0.125),
    "least": (lambda x: Clamp(Schedule(linear, peak_value=120), least=x), 100, 0.5),
    "most": (lambda x: Clamp(Schedule(linear, peak_value=120), most=x), 100, 0.5),
    "t0": (lambda x: Replan(linear, x, 400), 100, 2.5),
    "T0": (lambda x: Replan(linear, 50, x), 100, 100.0),
    "t0 of decay_now": (
        lambda x: Replan(Schedule(linear, decay_steps=20), x, 200, decay_now=True),
        100,
        100.0,
    ),
    "peak_mult": (lambda x: Restarts(Schedule(linear), 9, peak_mult=x), 3, 0.5),
    "in a Join": (lambda x: Join([Schedule(linear, warmup_steps=x), rex], [0.5]), 100, 2.5),
}


def close(value, expected, eps=2.0**-23):
    """Equal to the digits of float32, the least that comes out of small dtypes."""
    value = np.asarray(value)
    assert value.dtype in (np.float32, np.float64, np.int32, np.int64)
    np.testing.assert_allclose(value.astype(np.float64), expected, 40 * eps, 4 * eps)


@pytest.fixture(params=LIBRARIES)
def array(request):
    return LIBRARIES[request.param]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parameter", PARAMETERS)
def test_parameters(parameter, dtype, array):
    make, whole, part = PARAMETERS[parameter]
    number = whole if dtype in INTEGERS else part
    plain, odd = make(number), make(array(number, dtype))
    for t in (37, 500, 500.0, 999):
        close(odd(t, T), plain(t, T))
    expected = [plain(t, T) for t in STEPS]
    close(odd(np.array(STEPS), T), expected)
    close(odd(array(STEPS, "int32"), T), expected)
    expected = [plain(float(t), T) for t in STEPS]
    close(odd(array(STEPS, "float32"), array(T, "int32")), expected)
    several = make(array([number, number], dtype))  # An array of numbers, too.
    close(several(array([[500], [999]], "int32"), T), [[plain(t, T)] * 2 for t in (500, 999)])


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_parameters_of_other_byte_orders_and_long_doubles(parameter):
    make, whole, part = PARAMETERS[parameter]
    for dtype in ODD:
        number = whole if np.dtype(dtype).kind == "i" else part
        plain, odd = make(number), make(np.array(number, dtype))
        expected = [plain(t, T) for t in STEPS]
        close(odd(500, T), plain(500, T))
        for make_array in LIBRARIES.values():
            close(odd(make_array(STEPS, "int32"), T), expected)


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_traced_parameters_of_small_dtypes(parameter):
    make, whole, part = PARAMETERS[parameter]
    dtypes = ["uint8", "bfloat16"]
    numbers = [jnp.asarray(whole, "uint8"), jnp.asarray(part, "bfloat16")]
    if parameter in ("warmup_ratio", "hold_ratio", "fraction", "decay_ratio"):
        # The boundary of a traced share is off by up to a step, whatever its dtype.
        dtypes, numbers = ["uint8"], numbers[:1]
    values = jax.jit(lambda t, numbers: [make(x)(t, T) for x in numbers])(np.array(STEPS), numbers)
    for value, dtype in zip(values, dtypes, strict=True):
        plain = make(whole if dtype == "uint8" else part)
        close(value, [plain(t, T) for t in STEPS])


NEW = [
    bind(geometric, ratio=16.0),
    bind(inverse_sqrt, timescale=100),
    logarithmic,
    tanh,
    bind(cosine, k=1.5),
    Clamp(rex, least=0.25),
    Schedule(rex, decay_steps=20) * rex,
]
SHORT = {"uint8": (90, 200), "int8": (90, 120), "float16": (90, 200), "bfloat16": (90, 200)}


@pytest.mark.parametrize("function", [*PROFILES, *SAMPLINGS, *SCHEDULES, *NEW], ids=name)
def test_t_and_T(function):
    for library, make_array in LIBRARIES.items():
        for dtype in ("uint8", "int16", "bfloat16") if library == "jax" else DTYPES:
            t, budget = SHORT.get(dtype, (500, 1000))
            whole = int if dtype in INTEGERS else float
            expected = function(whole(t), whole(budget))
            close(function(make_array(t, dtype), make_array(budget, dtype)), expected)
            close(function(make_array([t, t], dtype), budget), [expected] * 2)
            close(function(t, make_array([budget], dtype)), [expected])
            # A budget far beyond the dtype of t.
            expected = function(whole(t), whole(100_000))
            close(function(make_array([t], dtype), 100_000), [expected])
            close(function(make_array(t, dtype), make_array(100_000, "int32")), expected)


@pytest.mark.parametrize("dtype", ODD)
@pytest.mark.parametrize("function", [rex, *SAMPLINGS, *SCHEDULES, *NEW], ids=name)
def test_t_and_T_of_other_byte_orders_and_long_doubles(function, dtype):
    whole = int if np.dtype(dtype).kind == "i" else float
    expected = function(whole(500), whole(1000))
    t, budget = np.array([500], dtype), np.array(1000, dtype)
    close(function(t, 1000), [expected])
    close(function(500, budget), expected)
    close(function(t, budget), [expected])
    for make_array in LIBRARIES.values():
        close(function(t, make_array(1000, "int32")), [expected])
        close(function(make_array([500], "int32"), budget), [expected])


@pytest.mark.parametrize("library", ["jax", "torch"])
def test_unsigned_budgets_with_a_float(library):
    for dtype in ("uint8", "uint16", "uint32"):
        budget = LIBRARIES[library](100, dtype)
        close(linear(0.5, budget), 0.995)
        close(linear(LIBRARIES[library](0.5, "float32"), budget), 0.995)
        close(Schedule(linear, warmup_steps=budget)(150.5, 200), 0.495)
    if library == "jax":
        close(jax.jit(linear)(0.5, jnp.uint32(100)), 0.995)


def test_uint32_beyond_int32():
    """A traced one counts as the largest int32; a known one is refused, as Python's is."""
    for array in (jnp.asarray, lambda value: torch.tensor(int(value), dtype=torch.uint32)):
        budget = array(np.uint32(2**32 - 1))
        if array is jnp.asarray:
            with pytest.raises(ValueError, match=r"^T must be in \[1, 2147483647\] in int32; got"):
                linear(jnp.int32(5), budget)
            assert jax.jit(linear)(jnp.int32(0), budget) == 1
            assert jax.jit(linear)(jnp.int32(LARGEST), budget) == 0
        else:
            assert linear(2**32 - 2, budget) == pytest.approx(2.0**-32, rel=1e-6)
    assert linear(2**32 - 2, np.uint32(2**32 - 1)) == 1 / (2**32 - 1)


class Budget(enum.IntEnum):
    SHORT = 1000


@pytest.mark.parametrize("function", [rex, *SAMPLINGS, *SCHEDULES, *NEW], ids=name)
def test_an_IntEnum(function):
    expected = function(500, 1000)
    assert function(500, Budget.SHORT) == expected
    close(function(np.array([500]), Budget.SHORT), [expected])
    close(function(jnp.int32(500), Budget.SHORT), expected)
    close(jax.jit(lambda t: function(t, Budget.SHORT))(500), expected)
    close(function(torch.tensor(500), Budget.SHORT), expected)
    assert function(Budget.SHORT, 2000) == function(1000, 2000)


def test_an_IntEnum_as_a_number_of_a_value():
    for value, plain in [
        (Schedule(warmup_steps=Budget.SHORT), Schedule(warmup_steps=1000)),
        (Schedule(peak_value=Budget.SHORT), Schedule(peak_value=1000)),
        (Replan(linear, 5, Budget.SHORT), Replan(linear, 5, 1000)),
        (bind(every, steps=Budget.SHORT), bind(every, steps=1000)),
        (Join([rex, rex], [Budget.SHORT]), Join([rex, rex], [1000])),
    ]:
        assert value == plain
        assert repr(value) == repr(plain)
    assert total_steps(samples=Budget.SHORT, batch_size=32) == 32


@pytest.mark.parametrize("function", [*PROFILES, *SAMPLINGS, *SCHEDULES], ids=name)
def test_budgets_beyond_int64_with_an_array(function):
    """No int64 holds T - t, so no array of integers has such a budget."""
    for T in (2**63, 2**63 + 1, 2**64, 10**300):
        for t in (np.array([0, 1, 5]), np.arange(20_000), np.int64(5), np.array([5], np.int32)):
            with pytest.raises(ValueError, match=r"^T must be in \[1, 9.22\d+e\+18\] in int64"):
                function(t, T)
    assert np.all(np.isfinite(function(np.array([0, 1, 5]), 2**63 - 1)))


VALUES = {
    "peak_value": lambda x: Schedule(linear, peak_value=x),
    "end_value": lambda x: Schedule(linear, end_value=x),
    "init_value": lambda x: Schedule(linear, init_value=x, warmup_steps=3),
    "least": lambda x: Clamp(linear, least=x),
    "most": lambda x: Clamp(linear, most=x),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_beyond_float32(name):
    """A ValueError with arrays of float32, not inf; a value in Python and in float64."""
    schedule = VALUES[name](1e39)
    assert math.isfinite(schedule(1, 10))
    assert np.all(np.isfinite(schedule(np.array([1, 5]), 10)))
    for t in (jnp.int32(1), jnp.arange(5), torch.arange(5), np.array([1, 5], np.float32)):
        with pytest.raises(ValueError, match=rf"^{name} must be in .* in .*float32; got 1e\+39"):
            schedule(t, 10)
    with pytest.raises(ValueError, match=rf"^{name} must be"):
        jax.jit(schedule)(1, 10)
    for nested in (Join([schedule, linear], [0.5]), Replan(schedule, 2, 5), schedule * linear):
        with pytest.raises(ValueError, match=rf"^{name} must be"):
            nested(jnp.arange(5), 10)


METRICS = [0.9, 0.5, 0.5, 0.6, 0.55, 0.5, 0.4, 0.45]


@pytest.mark.parametrize("dtype", [*FLOATS, "float32", np.longdouble, ">f4", ">f8"])
def test_plateau(dtype):
    plateau = Plateau(factor=0.5, patience=1, threshold=0.01)
    makers = LIBRARIES.values() if dtype in DTYPES else [of_numpy]
    for make_array in makers:
        state, expected = plateau.init(), plateau.init()
        for metric in METRICS:
            rounded = make_array(metric, dtype)
            state = plateau.update(state, rounded)
            expected = plateau.update(expected, float(rounded))
            assert state == expected
    single = np.array(0.5, ml_dtypes.bfloat16)[()]  # A scalar is no array.
    assert plateau.update(plateau.init(), single) == plateau.update(plateau.init(), 0.5)
    assert plateau.init(single) == plateau.init()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_counts_of_a_plateau(dtype, array):
    plateau = Plateau(factor=0.5, patience=array(2, dtype), cooldown=array(100, dtype))
    plain = Plateau(factor=0.5, patience=2, cooldown=100)
    state, expected = plateau.init(), plain.init()
    for _ in range(300):
        state, expected = plateau.update(state, 1.0), plain.update(expected, 1.0)
    assert state == expected


ARGUMENTS = [
    {"epochs": 100_000, "dataset_size": 1_281_167, "batch_size": 32},
    {"samples": 2_000_000_000, "batch_size": 7, "accumulation": 3, "world_size": 100_000},
    {"tokens": 2_000_000_011, "tokens_per_step": 524_288},
]


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize(
    "integer",
    [
        *(np.int32, np.int64, np.uint32, np.array, jnp.int32, jnp.uint32, torch.tensor),
        lambda x: torch.tensor(x, dtype=torch.int32),
        lambda x: torch.tensor(x, dtype=torch.uint32),
        lambda x: np.array(x, ">i4"),
    ],
)
def test_total_steps(arguments, integer):
    exact = total_steps(**arguments)
    for key in arguments:
        found = total_steps(**{**arguments, key: integer(arguments[key])})
        assert found == exact
        assert type(found) is int
    assert total_steps(**{key: integer(value) for key, value in arguments.items()}) == exact


def test_total_steps_of_many_epochs():
    assert total_steps(epochs=np.int32(100_000), dataset_size=1_281_167, batch_size=32) == (
        100_000 * 40037
    )
    for epochs in (np.float32(0.5), np.float16(0.5), jnp.bfloat16(0.5), torch.tensor(0.5)):
        assert total_steps(epochs=epochs, dataset_size=10, batch_size=1) == 5
    for seven_tenths in (np.float32(0.7), jnp.float32(0.7), torch.tensor(0.7)):
        assert total_steps(epochs=seven_tenths, dataset_size=10, batch_size=1) == 7


def test_restarts_whose_peaks_leave_their_range():
    for peak_mult in (32768, np.array(32768), torch.tensor(32768)):
        with pytest.raises(ValueError, match=r"^peak_mult must keep each of 98 peaks finite; got"):
            Restarts(Schedule(), 98, peak_mult=peak_mult)
    below = Schedule(peak_value=1.0, end_value=0.3)
    for peak_mult in (0.5, np.float16(0.5), np.array([0.9, 0.5]), jnp.bfloat16(0.5)):
        with pytest.raises(ValueError, match=r"^peak_mult must keep .* side of end_value = 0.3"):
            Restarts(below, 3, peak_mult=peak_mult)
    rising = Schedule(constant, peak_value=0.1, end_value=0.3)
    with pytest.raises(ValueError, match=r"^peak_mult must keep"):
        Restarts(rising, 3, peak_mult=2)
    assert Restarts(below, 3, peak_mult=0.6)(0, 9) == 1
    assert Restarts(rising, 2, peak_mult=2)(0, 9) == 0.1


@pytest.mark.parametrize(
    "phases",
    [
        {"warmup_ratio": 1 / 3, "hold_steps": 1.5},
        {"warmup_ratio": 1 / 3, "decay_steps": 1.5},
        {"warmup_steps": 1.5, "hold_ratio": 1 / 3},
        {"warmup_steps": 1.5, "decay_ratio": 1 / 3},
    ],
)
def test_a_part_of_a_step_makes_floats_of_t_and_T(phases):
    """Then a share ends at p·T itself: for Python's integers as for arrays."""
    schedule = Schedule(linear, init_value=0.5, **phases)
    for t in range(6):
        exact = schedule(float(t), 5.0)
        assert schedule(t, 5) == exact
        close(schedule(np.array([t]), 5), [exact])
        close(schedule(jnp.int32(t), 5), exact)
        close(schedule(torch.tensor(t), 5), exact)
