"""The rules that all profiles share; their values are the concern of tests/conformance."""

import tracemalloc
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from rex_core import (
    Schedule,
    bind,
    every_fraction,
    exponential,
    linear,
    polynomial,
    rex,
    step,
)
from tests.core.cases import (
    LARGEST,
    LIBRARIES,
    PROFILES,
    SAMPLINGS,
    SCHEDULES,
    THIRD,
    name,
    together,
)

CLOSE_TO_ONE = bind(rex, beta=1 - 2.0**-53)  # No float32, and 1 - beta a small one.

# Each numeric parameter, with values of it.
PARAMETERS = [
    (rex, "beta", [-3.0, 0.0, 0.5, 0.9]),
    (exponential, "gamma", [0.0, 0.7, 3.0, 9.3]),
    (polynomial, "power", [0.5, 1.0, 2.0, 2.7]),
    (step, "factor", [0.0, 0.1, 0.5, 1.0]),
]


def exact_zero_at_the_end(profile):
    return profile(1, 1) == 0


@pytest.mark.parametrize("profile", PROFILES, ids=name)
def test_held_outside_the_budget(profile):
    for T in (1, 3, 10, 10.0, 0.5, LARGEST):
        for array in (lambda value: value, *LIBRARIES.values()):
            first, last = profile(array(0), T), profile(array(T), T)
            assert first == 1
            for before in (-1, -LARGEST, -0.5, -1e30):
                assert profile(array(before), T) == first
            for after in (LARGEST, T + 0.5, 1e30):
                assert profile(array(after), T) == last


@pytest.mark.parametrize("profile", PROFILES, ids=name)
def test_held_at_the_ends_of_every_integer(profile):
    """Nothing wraps around, whatever is subtracted from the smallest integer."""
    for array, bits in (("numpy", 64), ("jax", 32), ("torch", 64)):
        smallest, largest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        steps = LIBRARIES[array]([smallest, smallest + 1, 0, 10, largest - 1, largest])
        values = profile(steps, 10).tolist()
        assert values[:3] == [1, 1, 1]
        assert values[3] == values[4] == values[5]


@pytest.mark.parametrize("profile", PROFILES, ids=name)
def test_falls_and_stays_in_range(profile):
    """In Python and NumPy exactly; no step of these budgets is smaller than an ulp."""
    for T in (*range(1, 101), 997, 4096, 10_000):
        values = [profile(t, T) for t in range(T + 1)]
        assert values[0] == 1
        assert all(a >= b for a, b in pairwise(values))
        assert values[-1] >= 0
    values = profile(np.arange(10**6 + 1), 10**6)
    assert np.all(np.diff(values) <= 0)
    assert values[0] == 1
    assert values[-1] >= 0


@pytest.mark.parametrize("profile", PROFILES, ids=name)
def test_falls_in_float32_too(profile):
    """Steps of long budgets differ by less than an ulp, and rounding may lift the later one.

    Never by more than 1 ulp, but for a steep exponential: its two factors round independently.
    """
    jitted = jax.jit(profile)
    slack = 2 if name(profile) == "bind(exponential, gamma=9.3)" else 1
    draw = np.random.default_rng(0)
    for T in (10**5, 10**8, 2**30 + 1, LARGEST):
        near = np.arange(100_000)
        t = np.sort(np.concatenate([near, T - near, draw.integers(0, T, 100_000)]))
        values = np.asarray(jitted(t, T))
        assert values.dtype == np.float32
        assert np.all(np.diff(values) <= slack * np.spacing(values[:-1]))
        assert np.all((values >= 0) & (values <= 1))


@pytest.mark.long
def test_ends_exactly_in_a_vector_of_steps():
    """XLA may divide by a T that is one for all steps once, and multiply: T · (1/T) is not 1."""
    for evaluate in (jax.jit(together(PROFILES)), together(PROFILES)):
        for T in range(1, 200):
            for case, values in evaluate(np.array([0, -1, T, T + 1]), T).items():
                assert values[0] == values[1] == 1, (case, T)
                assert values[2] == values[3], (case, T)


@pytest.mark.long
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("profile", PROFILES, ids=name)
def test_t_and_T_broadcast(profile, library):
    array = LIBRARIES[library]
    t, T = np.array([[-1], [3], [9]]), np.array([7, 10, 12])
    expected = np.array([[profile(int(s), int(b)) for b in T] for s in t[:, 0]])
    tolerance = {"numpy": 1e-15}.get(library, 1e-6)
    for steps, budgets, values in [
        *((array(t), array(T), expected), (array(t), T, expected), (t, array(T), expected)),
        *((3, array(T), expected[1]), (array(t[:, 0]), 10, expected[:, 1])),
    ]:
        result = profile(steps, budgets)
        assert isinstance(result, type(array(T)))
        np.testing.assert_allclose(np.asarray(result), values, rtol=tolerance)


@pytest.mark.long
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("function", "parameter", "choices"), PARAMETERS, ids=name)
def test_parameters_broadcast(function, parameter, choices, library):
    """As arrays of the library and of NumPy, against t and T as arrays and as Python numbers."""
    array = LIBRARIES[library]
    t, T = np.array([-1, 3, 9, 10])[:, None, None], np.array([7, 10])[:, None]
    expected = np.array(
        [
            [[function(int(s), int(b), **{parameter: p}) for p in choices] for b in T.ravel()]
            for s in t.ravel()
        ]
    )
    # 0.1, 0.7, 0.9, 2.7 and 9.3 are others in float32, and a steep curve shows it.
    close = {"rtol": 1e-5, "atol": 1e-6}
    for params in (array(choices, dtype="float32"), np.array(choices, dtype="float32")):
        values = function(array(t), array(T), **{parameter: params})
        assert isinstance(values, type(array(t)))
        np.testing.assert_allclose(np.asarray(values), expected, **close)
        values = function(3, 10, **{parameter: params})
        assert isinstance(values, type(params))
        np.testing.assert_allclose(np.asarray(values), expected[1, 1], **close)


def test_integer_parameters_are_numbers_too():
    for function, parameter, value in [
        (rex, "beta", 0),
        (exponential, "gamma", 2),
        (polynomial, "power", 3),
        (step, "factor", 0),
        (step, "factor", 1),
    ]:
        for t in (0, 4, 6, 10):
            expected = function(t, 10, **{parameter: float(value)})
            result = function(t, 10, **{parameter: value})
            assert result == expected
            assert type(result) is float
            for library in LIBRARIES.values():
                result = function(library(t), 10, **{parameter: library(value)})
                assert result.dtype == linear(library(t), 10).dtype
                np.testing.assert_allclose(float(result), expected, rtol=1e-6)


@pytest.mark.parametrize("profile", PROFILES, ids=name)
def test_python_numbers_give_python_floats(profile):
    for t, T in [(3, 10), (3.0, 10), (3, 10.0), (-1, 10), (12, 10), (0, 1), (1, 1), (0.5, 0.7)]:
        assert type(profile(t, T)) is float


@pytest.mark.parametrize("profile", [*PROFILES[::3], *SCHEDULES], ids=name)
def test_dtypes(profile):
    for dtype in ("float32", "float64"):
        for t, T in [(3, 10), ([3], [[10]])]:
            both = profile(np.asarray(t, dtype), np.asarray(T, dtype))
            assert both.dtype == profile(np.asarray(t, dtype), 10).dtype == dtype
            assert profile(3, np.asarray(T, dtype)).dtype == dtype
    assert profile(np.float32(3), np.int64(10)).dtype == np.float32
    assert profile(np.float32(3), np.float64(10)).dtype == np.float64
    assert profile(np.int32(3), 10).dtype == profile(np.int8(3), np.uint64(10)).dtype == np.float64
    assert profile(np.int64(3), 10.5).dtype == np.float64
    for dtype in (torch.float32, torch.float64):
        assert profile(torch.tensor(3, dtype=dtype), 10).dtype == dtype
        assert profile(torch.tensor(3, dtype=dtype), torch.tensor(10)).dtype == dtype
    assert profile(torch.tensor(3), 10).dtype == torch.float32
    assert profile(jnp.int32(3), jnp.uint8(10)).dtype == jnp.float32
    # A float64 budget of NumPy's is a float32 in JAX, not a reason to warn.
    assert profile(jnp.int32(3), np.float64(10)).dtype == jnp.float32


@pytest.mark.long
def test_jax_results_are_strongly_typed():
    """A weakly typed rate would take on the dtype of bfloat16 parameters."""
    functions = together([*PROFILES, *SCHEDULES])
    for values in (
        jax.jit(functions)(3, 10),
        jax.jit(functions)(3.0, 10),
        jax.jit(lambda t: functions(t, 10))(3),
        functions(jnp.asarray(3), 10),
    ):
        assert [case for case, value in values.items() if value.weak_type] == []


@pytest.mark.parametrize(("function", "parameter", "choices"), PARAMETERS, ids=name)
def test_jax_results_are_strongly_typed_for_weak_parameters(function, parameter, choices):
    for value in (choices[1], int(choices[1])):
        result = jax.jit(lambda p: function(5, 10, **{parameter: p}))(value)
        assert result.dtype == jnp.float32
        assert not result.weak_type
        assert not function(jnp.int32(5), 10, **{parameter: jnp.asarray(value)}).weak_type
        assert not function(5, 10, **{parameter: jnp.asarray(value)}).weak_type


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8", "int64"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_small_integers_do_not_wrap(library, dtype):
    array = LIBRARIES[library]
    if library == "jax" and dtype == "int64":
        dtype = "int32"  # JAX has no other without its x64 mode.
    T = min(np.iinfo(dtype).max, 10**6)
    functions = [*PROFILES[::3], *SAMPLINGS[1:], SCHEDULES[1], bind(every_fraction, fraction=0.001)]
    steps = [0, 1, T // 2, T - 1, T]
    for function in functions:
        expected = [function(t, T) for t in steps]
        values = function(array(steps, dtype=dtype), array(T, dtype=dtype))
        np.testing.assert_allclose(np.asarray(values), expected, rtol=2e-6, atol=1e-7)
        # T does not fit the dtype of t.
        values = function(array(steps[:2], dtype=dtype), 10**6)
        expected = [function(t, 10**6) for t in steps[:2]]
        np.testing.assert_allclose(np.asarray(values), expected, rtol=2e-6, atol=1e-7)


NASTY_INTS = [0, 1, -1, 2, 5, 100, -100, 2**24 + 1, LARGEST, LARGEST - 1, -LARGEST, -LARGEST - 1]
NASTY_FLOATS = [
    *(0.0, -0.0, 1.0, -1.0, 0.5, 5.0, 1e5, -1e5, 3e38, -3e38),
    *(np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-40, 1e-38, 1e-30, 1e-23, 1e-20, 1e20, 1e30),
]


def nasty_pairs():
    for numbers, others in [
        (np.array(NASTY_INTS, np.int32), np.array(NASTY_INTS, np.int32)),
        (np.array(NASTY_FLOATS, np.float32), np.array(NASTY_FLOATS, np.float32)),
        (np.array(NASTY_INTS, np.int32), np.array(NASTY_FLOATS, np.float32)),
        (np.array(NASTY_FLOATS, np.float32), np.array(NASTY_INTS, np.int32)),
    ]:
        yield np.repeat(numbers, len(others)), np.tile(others, len(numbers))


@pytest.mark.long
@pytest.mark.parametrize(
    "functions", [[*PROFILES, CLOSE_TO_ONE], SCHEDULES], ids=["profiles", "schedules"]
)
def test_no_traced_t_or_T_gives_nan(functions):
    compiled = jax.jit(together(functions))
    for t, T in nasty_pairs():
        for case, values in compiled(t, T).items():
            wrong = ~((values >= 0) & (values <= 1))
            assert not np.any(wrong), (case, t[wrong], T[wrong])


@pytest.mark.long
def test_no_traced_t_or_T_gives_a_later_moment():
    compiled = jax.jit(together(SAMPLINGS[1:]))
    for t, T in nasty_pairs():
        for case, reads in compiled(t, T).items():
            # XLA takes what is below 1e-38 for 0.
            later = reads > t.astype(reads.dtype) + reads.dtype.type(1e-38)
            assert not np.any(later), (case, t[later], T[later])


@pytest.mark.parametrize("profile", PROFILES, ids=name)
def test_huge_and_tiny_known_budgets(profile):
    for T in (1e-290, 1e-30, 1e30, 1e300, 10**300):
        assert profile(0, T) == profile(-T, T) == 1
        assert profile(T, T) == profile(1, 1)
        assert profile(T / 4, T) == pytest.approx(profile(0.25, 1.0), rel=1e-14)
    for T in (1e-290, 1e300):
        assert profile(np.float64(T / 4), T) == pytest.approx(profile(0.25, 1.0), rel=1e-14)


@pytest.mark.parametrize("profile", PROFILES, ids=name)
def test_budgets_too_small_to_divide_by(profile):
    for t, T in [(0.0, 5e-324), (5e-324, 5e-324), (0, 1e-300), (0, np.float64(1e-300))]:
        with pytest.raises(ValueError, match=r"T must be in \[4\.0.*e-292, .*float64; got "):
            profile(t, T)
    for T in (jnp.float32(1e-30), torch.tensor(1e-30), np.float32(1e-30)):
        with pytest.raises(ValueError, match=r"T must be in \[2\.1.*e-22, .*float32; got "):
            profile(0, T)


@pytest.mark.parametrize(
    ("function", "parameter", "value", "backends"),
    [
        (rex, "beta", -1e30, 3),
        (rex, "beta", 1 - 2.0**-53, 3),
        (exponential, "gamma", 1e9, 3),
        (exponential, "gamma", 1e30, 3),
        (polynomial, "power", 1e-30, 3),
        (polynomial, "power", 1e30, 3),
        (step, "factor", 1e-30, 3),
    ],
    ids=name,
)
def test_extreme_parameters(function, parameter, value, backends):
    """What is accepted has a value, and no warning on the way to it."""
    profile = bind(function, **{parameter: value})
    for T in (10, 1000, 100_000):
        t = np.linspace(0, T, 101).astype(int)
        for evaluate in (
            lambda t, T: np.array([profile(s, T) for s in t.tolist()]),
            profile,
            jax.jit(profile),
        )[:backends]:
            values = np.asarray(evaluate(t, T))
            assert np.all((values >= 0) & (values <= 1))
            assert np.all(np.diff(values) <= np.spacing(values[:-1]))


@pytest.mark.long
@pytest.mark.parametrize(
    "functions",
    [PROFILES, SAMPLINGS[1:], SCHEDULES[:4], SCHEDULES[5:6], SCHEDULES[6:7]],
    ids=["profiles", "samplings", "schedules", "join", "restarts"],
)
def test_torch_compile(functions):
    """The code that is generated is left out: it is PyTorch's, and slow."""
    torch.compiler.reset()
    compiled = torch.compile(together(functions), fullgraph=True, backend="eager")
    t = torch.tensor([[-1], [0], [3], [7], [99], [101]])
    for T in (torch.tensor([10, 100, 12345]), torch.tensor([11, 99, 12])):
        values, expected = compiled(t, T), together(functions)(t, T)
        assert all(torch.equal(values[case], expected[case]) for case in expected)
    torch.compiler.reset()


@pytest.mark.parametrize("function", [*PROFILES, *SAMPLINGS[1:], *SCHEDULES], ids=name)
def test_torch_vmap(function):
    t, T = torch.arange(-2, 14), torch.tensor([8, 10, 100])
    rows = torch.vmap(lambda budget: torch.vmap(lambda step: function(step, budget))(t))(T)
    assert torch.allclose(rows, function(t, T[:, None]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("function", [*PROFILES[::3], *SCHEDULES[::3]], ids=name)
def test_half_precision(function):
    """Steps of 16 bits are steps like others, and the value has 32: 2049 is no float16."""
    expected = [function(float(t), 16.0) for t in range(17)]
    t = np.arange(17, dtype=np.float16)
    for steps in (
        t,
        jnp.asarray(t, jnp.bfloat16),
        torch.asarray(t),
        torch.asarray(t).to(torch.bfloat16),
    ):
        values = function(steps, steps[-1])
        assert str(values.dtype).endswith("float32")
        np.testing.assert_allclose(np.asarray(values), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("profile", PROFILES, ids=name)
def test_numpy_equals_python(profile):
    """NumPy may round a sine, an exponential or a power another way."""
    for T in (7, 1000, LARGEST):
        t = [0, 1, T // 3, T // 2, T - 1, T]
        values = profile(np.array(t), T).tolist()
        assert values == pytest.approx([profile(s, T) for s in t], rel=4e-16, abs=0)
        assert exact_zero_at_the_end(profile) == (values[-1] == 0)


def test_schedules_of_third_fractions_are_read_alike():
    """One case through every library, at the steps where thirds of T are rounded up."""
    schedule = Schedule(bind(step, milestones=(THIRD, 2 * THIRD)))
    t = np.arange(41)
    for T in range(3, 41):
        expected = 0.1 ** ((3 * t >= T) + 1.0 * (3 * t >= 2 * T))
        for array in LIBRARIES.values():
            np.testing.assert_allclose(np.asarray(schedule(array(t), T)), expected, rtol=1e-6)


LONG = np.arange(-50, 2**18)


@pytest.mark.long
@pytest.mark.parametrize(
    "function",
    [
        rex,
        bind(rex, beta=0.9),
        Schedule(step, bind(every_fraction, fraction=0.1), end_value=0.01, warmup_ratio=0.1),
    ],
)
@pytest.mark.parametrize(
    "t",
    [LONG, LONG[::-3], LONG.reshape(-1, 2), LONG.astype(np.int32), LONG / 3, np.float32(LONG / 3)],
    ids=["whole", "strided", "shaped", "int32", "float64", "float32"],
)
@pytest.mark.parametrize(
    "T", [2**17 + 3, 2.0**17 + 0.5, np.int64(2**17), np.float64(2**17)], ids=lambda T: repr(T)
)
def test_long_arrays_have_the_values_of_their_parts(t, T, function):
    values = function(t, T)
    parts = [function(part, T) for part in np.array_split(t.reshape(-1), 200)]
    assert (values.shape, values.dtype) == (t.shape, parts[0].dtype)
    np.testing.assert_array_equal(values.reshape(-1), np.concatenate(parts))


def test_long_arrays_go_to_a_function_of_ones_own_as_they_are():
    share = np.linspace(0, 0.9, 40_000)
    t = np.arange(80_000).reshape(2, -1)
    for profile in (lambda t, T: 0.5, lambda t, T: rex(t, T, beta=share)):
        assert np.all(Schedule(profile)(t, 80_000) == profile(t, 80_000))


def test_long_arrays_are_checked_to_the_end():
    t = LONG / 3
    t[-1] = np.nan
    with pytest.raises(ValueError, match="t must be a finite number; got"):
        rex(t, 100)


@pytest.mark.parametrize("kind", [np.int64, np.float64])
@pytest.mark.parametrize(
    "function", [rex, Schedule(exponential, end_value=0.1, warmup_ratio=0.1, hold_ratio=0.1)]
)
def test_long_arrays_take_little_more_memory_than_their_values(function, kind):
    t = np.arange(2**20, dtype=kind)
    tracemalloc.start()
    try:
        values = function(t, 2**20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * values.nbytes
