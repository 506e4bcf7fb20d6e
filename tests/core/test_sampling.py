"""Reads at exactly the steps that fractions of T mean, in Python and in int32."""

import math
import random
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rex_core
from rex_core import at, bind, every, every_fraction, every_step
from tests.core.cases import LARGEST, LIBRARIES, SAMPLINGS, THIRD, name

EDGES = [LARGEST, LARGEST - 1, 2**30 - 1, 2**30, 2**30 + 1, 2**24 + 3, 10**9]

# What the writer of a fraction meant.
FRACTIONS = [
    *((float(text), Fraction(text)) for text in ("0.7", "0.05", "0.01", "0.1", "0.3", "0.123456")),
    *(
        (float(text), Fraction(text))
        for text in ("1e-6", "0.0001", "0.999999", "1", "0.14", "0.57")
    ),
    *((n / d, Fraction(n, d)) for n, d in [(1, 3), (2, 3), (1, 7), (5, 7), (355, 1130), (1, 49)]),
]
SEQUENCES = [
    ((0.5, 0.75), (Fraction(1, 2), Fraction(3, 4))),
    ((1 / 3, 2 / 3), (Fraction(1, 3), Fraction(2, 3))),
    ((0.25, 0.5, 0.75), (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))),
    ((0.3, 0.6, 0.9), (Fraction(3, 10), Fraction(6, 10), Fraction(9, 10))),
    (
        (0.07, 0.55, 0.58, 1.0),
        (Fraction(7, 100), Fraction(55, 100), Fraction(58, 100), Fraction(1)),
    ),
    *(((p,), (meant,)) for p, meant in FRACTIONS[::2]),
]


def budgets():
    draw = random.Random(0)
    spread = [int(2 ** draw.uniform(11, 31)) for _ in range(40)]
    return np.array([*range(1, 3001), *EDGES, *spread])[:, None]


def around(moments, T):
    """Every step before, at and after a moment, with the T it belongs to."""
    t = np.stack([moments - 1, moments, moments + 1]).clip(max=LARGEST)
    t, T = np.broadcast_arrays(t, T)
    return t.ravel(), T.ravel()


def share(n, d, T):
    """⌈n·T/d⌉, in int64, where the largest of these products has room."""
    return -(-n * T // d)


def check_exact(sampling, t, T, expected, python):
    """In int32 under jit, in NumPy's int64, and (every so many points) in Python's integers."""
    assert np.array_equal(jax.jit(sampling)(t.astype(np.int32), T.astype(np.int32)), expected)
    assert np.array_equal(sampling(t, T), expected)
    points = slice(None, None, max(1, len(t) // python))
    scalars = list(map(sampling, t[points].tolist(), T[points].tolist()))
    assert scalars == expected[points].tolist()


@pytest.mark.parametrize(("fraction", "meant"), FRACTIONS, ids=name)
def test_every_fraction_is_exact(fraction, meant):
    n, d = meant.as_integer_ratio()
    T = budgets()
    if d // n <= 100:
        reads = np.arange(d // n + 1)[None]
    else:
        reads = np.random.default_rng(0).integers(0, d // n, (len(T), 60), endpoint=True)
        reads[:, :3] = 0, 1, d // n
    t, T = around(share(reads * n, d, T), T)
    passed = t.clip(0, T) * d // (n * T)
    expected = np.where(t < 0, t, share(passed * n, d, T))
    check_exact(bind(every_fraction, fraction=fraction), t, T, expected, python=8_000)


@pytest.mark.parametrize(("milestones", "meant"), SEQUENCES, ids=name)
def test_at_is_exact(milestones, meant):
    T = budgets()
    moments = np.concatenate([0 * T, *(share(p.numerator, p.denominator, T) for p in meant)], 1)
    t, T = around(moments, T)
    expected = np.minimum(t, 0)
    for p in meant:
        moment = share(p.numerator, p.denominator, T)
        expected = np.where(t >= moment, moment, expected)
    check_exact(bind(at, milestones=milestones), t, T, expected, python=10_000)


@pytest.mark.parametrize(
    ("fraction", "meant"), [pair for pair in FRACTIONS if pair[0] >= 0.01], ids=str
)
def test_every_fraction_from_its_definition(fraction, meant):
    """The last ⌈k·p·T⌉ <= t with k·p <= 1, word for word."""
    for T in (1, 2, 3, 7, 10, 29, 100):
        moments = {math.ceil(k * meant * T) for k in range(math.floor(1 / meant) + 1)}
        for t in range(T + 3):
            expected = max(moment for moment in moments if moment <= t)
            assert every_fraction(t, T, fraction=fraction) == expected


@pytest.mark.parametrize(
    ("text", "T"),
    [
        *((f"0.{digits:07d}", T) for digits in (1, 1234567, 9999999) for T in (10**7, 10**9)),
        # What is below 2^-26 counts as 2^-26: smaller than a step of any T up to there.
        ("1e-10", 2**26),
    ],
)
def test_many_decimals(text, T):
    moment = math.ceil(Fraction(text) * T)
    for t in (moment - 1, moment):
        expected = moment if t == moment else 0
        assert at(t, T, milestones=(float(text),)) == expected
        assert at(jnp.int32(t), T, milestones=(float(text),)) == expected


@pytest.mark.parametrize(
    "fraction", [2.0**-26, 3 * 2.0**-26, 1 - 2.0**-26, 0.5 + 2.0**-26, 2.0**-25]
)
def test_binary_fractions_with_the_largest_denominator(fraction):
    for T in (1, 3, 10**6, *EDGES):
        moment = math.ceil(Fraction(fraction) * T)
        for t in (moment - 1, moment):
            expected = moment if t == moment else 0
            assert at(t, T, milestones=(fraction,)) == expected
            assert at(jnp.int32(t), T, milestones=(fraction,)) == expected


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 97, 10**6, LARGEST])
def test_every(steps):
    T = budgets()
    t, T = around(np.concatenate([0 * T, 1 + 0 * T, T // 2, T // steps * steps, T], 1), T)
    expected = np.where(t < 0, t, t.clip(0, T) // steps * steps)
    check_exact(bind(every, steps=steps), t, T, expected, python=8_000)


def test_every_step():
    for t in (-5, 0, 3, 10, 12):
        assert every_step(t, 10) == t
    steps = np.arange(-3, 15)
    assert np.array_equal(jax.jit(every_step)(steps, 10), steps)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=name)
@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_agree_with_python(sampling, library):
    array = LIBRARIES[library]
    for T in (1, 7, 10, 99, 1000):
        steps = [-T, -1, 1, T - 1, T + 1, 3 * T, *(i * T // 60 for i in range(61))]
        reads = sampling(array(steps), T)
        assert isinstance(reads, type(array(steps)))
        assert reads.tolist() == [sampling(t, T) for t in steps]


@pytest.mark.parametrize("sampling", SAMPLINGS[1:], ids=name)
@pytest.mark.parametrize("T", [1, 2, 3, 10, 99, 1000, LARGEST // 2])
def test_held_after_the_budget_and_untouched_before_it(sampling, T):
    for after in (T + 1, 2 * T, 10**30):
        assert sampling(after, T) == sampling(T, T)
    for after in (T + 0.5, 2.0 * T, 1e30):
        assert sampling(after, T) == sampling(float(T), T)
    for before in (-1, -T, -0.5, -1e30):
        assert sampling(before, T) == before
    for t in (0, T // 3, T // 2, T - 1, T):
        assert sampling(t, T) <= t
        assert sampling(t + 0.5, T) <= t + 0.5


# The moments themselves, not the steps on or after them, wherever t or T is a float.
SECONDS = [
    (bind(every_fraction, fraction=0.25), [0, 2.5, 5, 7.5, 10]),
    (bind(every_fraction, fraction=0.4), [0, 4, 8]),
    (bind(every_fraction, fraction=1), [0, 10]),
    (bind(at, milestones=(0.25, 0.75)), [0, 2.5, 7.5]),
    (bind(at, milestones=(0.125, 1.0)), [0, 1.25, 10]),
    (bind(every, steps=4), [0, 4, 8]),
]


@pytest.mark.parametrize(("sampling", "moments"), SECONDS, ids=name)
@pytest.mark.parametrize("T", [10, 10.0], ids=["T=10", "T=10.0"])
@pytest.mark.parametrize("library", ["python", *LIBRARIES])
def test_floats_are_read_at_the_moment_itself(sampling, moments, T, library):
    array = LIBRARIES.get(library, lambda value, dtype: value)
    for before in range(-2, 24):
        t = before / 2 + 0.25
        read = sampling(array(t, dtype="float32"), T)
        assert read == max([moment for moment in moments if moment <= t], default=t)


@pytest.mark.parametrize(("sampling", "moments"), SECONDS, ids=name)
def test_a_float_budget_is_enough(sampling, moments):
    for t in range(12):
        read = max(moment for moment in moments if moment <= t)
        assert sampling(t, 10.0) == read
        assert sampling(np.int64(t), 10.0) == read
        assert sampling(np.arange(12), np.float64(10.0))[t] == read


@pytest.mark.long
@pytest.mark.parametrize("library", LIBRARIES)
def test_parameters_may_be_arrays(library):
    array = LIBRARIES[library]
    t, T = np.arange(-1, 25)[:, None, None], np.array([1, 10, 23])[:, None]
    for sampling, parameter, values in [
        (every, "steps", [1, 4, 9]),
        (every_fraction, "fraction", [0.05, THIRD, 0.7]),
    ]:
        expected = [
            [[sampling(int(s), int(b), **{parameter: v}) for v in values] for b in T.ravel()]
            for s in t.ravel()
        ]
        for params in (np.array(values), array(values)):  # NumPy's mix with the library's.
            reads = sampling(array(t), array(T), **{parameter: params})
            assert isinstance(reads, type(array(t)))
            assert reads.tolist() == expected
            assert sampling(24, 23, **{parameter: params}).tolist() == expected[-1][-1]


@pytest.mark.parametrize(
    "params", [np.array([0.05, THIRD]), jnp.array([0.05, THIRD])], ids=["numpy", "jax"]
)
def test_known_arrays_of_fractions_stay_exact_under_jit(params):
    T = 10**9 + 7
    reads = jax.jit(lambda t: every_fraction(t, T, fraction=params))(jnp.int32(T - 1))
    assert reads.tolist() == [every_fraction(T - 1, T, fraction=p) for p in (0.05, THIRD)]


def test_steps_under_vmap():
    t = np.arange(100)
    steps = np.array([1, 3, 10, 64])
    reads = jax.vmap(lambda s: every(t, 90, steps=s))(steps)
    assert reads.tolist() == [[every(s, 90, steps=n) for s in t.tolist()] for n in steps.tolist()]
    assert jax.jit(every)(t, 90, steps=7).tolist() == [every(s, 90, steps=7) for s in t.tolist()]


def test_whole_float_steps_are_a_count():
    """`steps=1e3` is an integer: a float32 detour would lose steps beyond 2^24."""
    t, T = 2**24 + 3, 2**30
    assert every(jnp.int32(t), T, steps=10.0) == every(t, T, steps=10) == t - t % 10


def test_traced_fractions_have_the_digits_of_float32():
    """Off by at most a step and T·2^-21, as `every_fraction` says, and never after t."""
    draw = np.random.default_rng(0)
    sampling = jax.jit(lambda t, T, p: every_fraction(t, T, fraction=p))
    for fraction, meant in FRACTIONS[:5]:
        n, d = meant.as_integer_ratio()
        T = np.array([100, 3000, 10**6, LARGEST])[:, None]
        slack = 1 + (T >> 21)
        moment = share(draw.integers(0, d // n, (4, 50)) * n, d, T)
        # In the middle of the way to the next moment, where no rounding can mistake the read.
        t = moment + n * T // (2 * d)
        reads = np.asarray(sampling(t, T, fraction), dtype=np.int64)
        assert np.all(reads <= t)
        clear = n * T // (2 * d) > slack
        assert np.all(np.abs(reads - moment) <= np.where(clear, slack, LARGEST))


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=name)
def test_public(sampling):
    function = getattr(sampling, "function", sampling)
    assert getattr(rex_core, function.__name__) is function
