"""Budgets that change in mid-run: `Replan` against its definition, in exact fractions."""

import math
import pickle
import weakref
from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import rex_optax  # noqa: F401  Registers the pytrees.
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import rex_core
from rex_core import (
    Join,
    Replan,
    Restarts,
    Schedule,
    at,
    bind,
    cosine,
    every,
    every_fraction,
    every_step,
    exponential,
    from_dict,
    linear,
    one_minus_sqrt,
    polynomial,
    rex,
    step,
    to_dict,
)
from tests.conformance import reference
from tests.conformance.backends import BACKENDS
from tests.core.cases import LARGEST, PLAIN, SCHEDULES, name


def moment(t, T, t0, T0):
    """t' of the definition."""
    return Fraction(t) if t <= t0 else T0 - Fraction((T0 - t0) * (T - t), T - t0)


CURVES = [
    ("rex", {}, 4),
    ("linear", {}, 4),
    ("cosine", {}, 8),
    ("exponential", {"gamma": 9.3}, 8),
    ("polynomial", {"power": 2.7}, 8),
    ("one_minus_sqrt", {}, 8),
    ("step", {"milestones": (0.3, 0.6, 0.9)}, 4),
]
# (t0, T0, T): longer, shorter, as before; short and at the end of int32; from the start.
PLANS = [
    (30, 100, 1000),
    (999, 1000, 2000),
    (10**5, 10**6, 10**6),
    (2**23, 2**24 + 3, LARGEST),
    (0, 100, LARGEST),
    (10, LARGEST, 10**6),
    (LARGEST // 2, LARGEST, LARGEST // 2 + 3),
    (5 * 10**7, 10**8, LARGEST),
]


def steps_of(t0, T):
    """The last 1000 steps, thinned, and some of every size before them; always as many."""
    last = [max(T - i, 0) for i in (*range(30), *range(31, 1001, 38))]
    return [*last, t0, t0 + 1, t0 // 2, *(t0 + (T - t0) * i // 40 for i in range(40))]


@pytest.mark.long
@pytest.mark.parametrize("backend", ["python", "numpy", "jax_jit", "jax_x64", "torch"])
@pytest.mark.parametrize(("curve", "params", "bound"), CURVES, ids=[c[0] for c in CURVES])
def test_as_many_digits_as_the_profile_has(curve, params, bound, backend):
    evaluate, dtype = BACKENDS[backend]
    profile = bind(getattr(rex_core, curve), **params)
    for t0, T0, T in PLANS:
        values = evaluate(Replan(profile, t0, T0), steps_of(t0, T), T)
        exact = []
        for t in steps_of(t0, T):
            read = moment(t, T, t0, T0)
            # Milestones are at whole steps.
            read = (
                math.floor(read)
                if curve == "step"
                else mpmath.mpf(read.numerator) / (read.denominator)
            )
            exact.append(getattr(reference, curve)(read, T0, **params))
        assert values.dtype == dtype
        assert np.max(reference.ulps(values, exact)) <= bound


SAMPLINGS = [
    bind(every, steps=7),
    bind(every_fraction, fraction=0.05),
    bind(every_fraction, fraction=1 / 3),
    bind(at, milestones=(0.3, 0.5, 1.0)),
]


@pytest.mark.long
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=name)
@pytest.mark.parametrize("backend", ["python", "numpy", "jax_jit", "torch"])
def test_phases_and_reads_keep_their_places_on_the_curve(sampling, backend):
    schedule = Schedule(
        linear, sampling, peak_value=0.5, init_value=0.25, warmup_steps=4, hold_ratio=0.1
    )

    def exact(t, T, t0, T0):
        read, start = moment(t, T, t0, T0), 4 + -(-T0 // 10)
        if read < 4:
            return 0.25 + 0.25 * read / 4
        if read < start:
            return Fraction(1, 2)
        last = sampling(math.floor(read) - start, T0 - start)
        return Fraction(T0 - start - last, 2 * (T0 - start))

    for t0, T0, T in [(2, 40, 100), (6, 40, 41), (20, 97, 60), (20, 97, 1000), (5, 1000, 99)]:
        steps = [*range(min(T, 100) + 1), *(T - i for i in range(40))][:140]
        steps += [0] * (140 - len(steps))
        values = BACKENDS[backend][0](Replan(schedule, t0, T0), steps, T)
        expected = [float(exact(t, T, t0, T0)) for t in steps]
        np.testing.assert_allclose(values, expected, rtol=8 * np.finfo(values.dtype).eps)


@st.composite
def plans(draw, longest=LARGEST):
    """(t0, T0, T), of every size."""
    T0 = draw(st.integers(2, 100) | st.integers(2, longest))
    t0 = draw(st.integers(0, T0 - 1))
    return t0, T0, draw(st.integers(t0 + 1, t0 + 100) | st.integers(t0 + 1, max(longest, t0 + 1)))


ANY = st.sampled_from([rex, *SCHEDULES])
LONG = plans().filter(lambda plan: plan[1] >= 100)


@given(ANY, LONG, st.data())
def test_until_t0_at_T_and_at_every_whole_step_it_is_the_old_plan(schedule, plan, data):
    t0, T0, T = plan
    replan = Replan(schedule, t0, T0)
    for t in (-1, t0, data.draw(st.integers(0, t0))):
        assert replan(t, T) == schedule(t, T0)
    for t in (T, T + 1):
        assert replan(t, T) == schedule(T0, T0)
    t = data.draw(st.integers(t0, T))
    read = moment(t, T, t0, T0)
    if read.denominator == 1:
        assert replan(t, T) == schedule(int(read), T0)


@given(ANY, LONG, st.data())
def test_the_same_budget_changes_no_bit(schedule, plan, data):
    t0, T0, _ = plan
    steps = data.draw(st.lists(st.integers(-2, T0 + 2), min_size=5, max_size=5))
    replan = Replan(schedule, t0, T0)
    assert [replan(t, T0) for t in steps] == [schedule(t, T0) for t in steps]
    for array in (np.array, torch.tensor):
        assert replan(array(steps), T0).tolist() == schedule(array(steps), T0).tolist()


FALLING = st.sampled_from(
    [
        rex,
        Schedule(one_minus_sqrt, warmup_steps=3, end_value=0.25),
        Schedule(polynomial, bind(every_fraction, fraction=0.05), hold_ratio=0.3),
        Schedule(exponential, bind(every, steps=5), init_value=1, warmup_ratio=0.3),
        Join([Schedule(cosine), Schedule(rex, peak_value=0)], [0.5]),
    ]
)


@given(FALLING, plans().filter(lambda plan: plan[0] >= 100), st.data())
def test_no_jump_and_no_rebound(schedule, plan, data):
    t0, T0, T = plan
    t0 = max(t0, T0 // 3 + 3)
    T = max(T, t0 + 1)
    steps = sorted([t0, *data.draw(st.lists(st.integers(t0, T), max_size=20)), T])
    for kind in (int, np.int64):
        values = [Replan(schedule, t0, T0)(kind(t), T) for t in steps]
        assert values[0] == schedule(kind(t0), T0)
        assert values[-1] == schedule(kind(T0), T0)
        assert np.all(np.diff(values) <= 3e-16)


JITTED = jax.jit(lambda t, T, t0, T0: Replan(linear, t0, T0)(t, T))
LINEAR = jax.jit(linear)
TWICE = jax.jit(lambda t, T, t0, T0, t1, T1: Replan(Replan(linear, t0, T0), t1, T1)(t, T))


@given(plans(), st.data())
@example((0, LARGEST, LARGEST), None)
@example((LARGEST - 2, LARGEST - 1, LARGEST), None)
@example((1, 2, LARGEST), None)
def test_everything_traced(plan, data):
    t0, T0, T = plan
    t = T - 1 if data is None else data.draw(st.integers(-3, T))
    exact = reference.linear(*_mpf(max(moment(t, T, t0, T0), 0)), T0)
    value = JITTED(*map(np.int32, (t, T, t0, T0)))
    assert value.dtype == np.float32
    assert reference.ulps(np.array([value]), [exact])[0] <= 4
    t, T0 = np.int32(min(t, T0)), np.int32(T0)
    assert JITTED(t, T0, np.int32(t0), T0) == LINEAR(t, T0)


def _mpf(fraction):
    return [mpmath.mpf(fraction.numerator) / fraction.denominator]


@given(plans(), st.data())
@example((0, LARGEST, 5), None)
def test_planned_again(plan, data):
    """As its definition nests, in Python and in float32: relative, so also in the last steps."""
    t0, T0, T1 = plan
    t1, T = (1, LARGEST) if data is None else (data.draw(st.integers(0, T1 - 1)), None)
    T = T or data.draw(st.integers(t1 + 1, max(t1 + 1, LARGEST)))
    t = T - 1 if data is None else data.draw(st.integers(0, T) | st.integers(max(T - 9, 0), T))
    between = moment(t, T, t1, T1)
    read = between if between <= t0 else T0 - Fraction(T0 - t0, T1 - t0) * (T1 - between)
    exact = reference.linear(*_mpf(read), T0)
    single = TWICE(*map(np.int32, (t, T, t0, T0, t1, T1)))
    assert reference.ulps(np.array([single]), [exact])[0] <= 6
    double = Replan(Replan(linear, t0, T0), t1, T1)(t, T)
    assert reference.ulps(np.array([double]), [exact])[0] <= 6


def test_planned_again_places_are_within_a_step():
    schedule = Schedule(step, warmup_ratio=0.1)
    twice = Replan(Replan(schedule, 7, 100), 31, 190)
    steps = np.arange(32, 401)
    reads = [moment(t, 400, 31, 190) for t in steps.tolist()]
    reads = [100 - Fraction(93 * (190 - between), 183) for between in reads]
    for values in (twice(steps, 400), jax.jit(twice)(steps, 400)):
        for level in (10 + 45, 10 + 68):  # Milestones at ½ and ¾ of 90, after the warmup of 10.
            value = schedule(level, 100)
            expected = next(t for t, read in zip(steps, reads, strict=True) if read >= level)
            assert abs(steps[np.flatnonzero(np.isclose(values, value))[0]] - expected) <= 1


def test_a_sweep_of_plans():
    """One program for budgets, moments of change and rates."""
    plans = [
        Replan(Schedule(peak_value=peak, warmup_steps=warmup), t0, T0)
        for peak, warmup, t0, T0 in [(0.1, 0, 10, 20), (0.3, 5, 3, 50), (1.0, 7, 20, 25)]
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.array(leaves), *plans)
    steps = np.arange(-2, 62)
    values = jax.jit(jax.vmap(lambda plan: plan(steps, 60)))(stacked)
    expected = [[plan(t, 60) for t in steps.tolist()] for plan in plans]
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.long
@pytest.mark.parametrize(
    "array", [np.array, jnp.array, torch.tensor], ids=["numpy", "jax", "torch"]
)
def test_arrays_of_plans(array):
    schedule = Schedule(rex, bind(every, steps=3), warmup_steps=3)
    plan = Replan(schedule, array([2, 10, 39]), array([40, 50, 60]))
    steps = array([[t] for t in range(101)])
    expected = [
        [Replan(schedule, t0, T0)(t, 100) for t0, T0 in [(2, 40), (10, 50), (39, 60)]]
        for t in range(101)
    ]
    np.testing.assert_allclose(plan(steps, 100), expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(plan(steps, array([100] * 3)), expected, rtol=1e-6, atol=1e-7)


def test_what_is_traced_and_no_budget_counts_as_spent():
    schedule = Schedule(one_minus_sqrt, peak_value=0.5, end_value=0.1, warmup_steps=2)
    plan = jax.jit(lambda t, T, t0, T0: Replan(schedule, t0, T0)(t, T))
    for T in (50, 49, 1, 0, -3, -LARGEST):
        assert plan(60, T, 50, 100) == plan(50, T, 50, 100) == np.float32(0.1)
    for T in (math.nan, math.inf, 0.0, -1.0, 50.0):
        assert plan(60.0, T, 50.0, 100.0) == np.float32(0.1)
    for t0, T0 in [(5, 5), (9, 5), (-3, 10), (5, 0), (5, -7), (LARGEST, LARGEST)]:
        assert np.all(
            np.isfinite(jax.vmap(plan, (0, None, None, None))(jnp.arange(99), 60, t0, T0))
        )
    assert np.isfinite(plan(20.0, 60.0, math.nan, 100.0))


def test_hours():
    """In floats, of 64 bits in Python; the places of phases are at their fraction of T0."""
    schedule = Schedule(warmup_ratio=0.25, end_value=0.01)
    plan = Replan(schedule, 0.5, 8.0)
    for T in (0.75, 4.0, 8.0, 100.5):
        for t in (0.0, 0.1, 0.5, 0.6, 0.7, T / 2, T):
            read = t if t <= 0.5 else 8 - 7.5 * (T - t) / (T - 0.5)
            assert plan(t, T) == pytest.approx(schedule(read, 8.0), rel=1e-13)
            assert plan(jnp.float32(t), T) == pytest.approx(schedule(read, 8.0), rel=1e-5)
    assert Replan(schedule, 2.5, 8)(3, 20) == pytest.approx(schedule(8 - 5.5 * 17 / 17.5, 8))


OWN = {
    "of a profile": (lambda t, T: linear(t, T) ** 2, "python numpy jax_jit torch"),
    "one less a quotient": (lambda t, T: 1 - t / T, "python numpy jax_jit torch"),
    "a difference": (lambda t, T: (T - t) / T, "python numpy jax_jit torch"),
    "every operator": (
        lambda t, T: -(abs(-t) ** 2 // 3) % 7 * 0.5 + (t >= T / 2) * (2.0 - t),
        "python numpy jax_jit torch",
    ),
    "math": (lambda t, T: math.exp(-t / T) + math.floor(t) / T, "python"),
    "numpy of numbers": (lambda t, T: float(np.sqrt(1 - t / T) + np.maximum(t, 3)), "python"),
    "numpy": (lambda t, T: np.cos(t) * np.where(t < 25, 1, t / T), "numpy"),
    "jax": (lambda t, T: jnp.cos(t / T) * jnp.where(t < 25, 1, 0.5), "jax_jit jax_vmap"),
    "jax of t": (lambda t, T: jnp.maximum(T - t, 0) + jax.nn.relu(t - 20), "jax_jit jax_vmap"),
    "jitted": (jax.jit(lambda t, T: 1 - t / T), "jax_jit jax_vmap"),
    "torch": (lambda t, T: torch.cos(t / T) * torch.clamp(T - t, min=7), "torch"),
    "torch's methods": (lambda t, T: t.sqrt().to(torch.float64) / T, "torch"),
}


@pytest.mark.long
@pytest.mark.parametrize(("function", "backends"), OWN.values(), ids=OWN)
def test_a_function_of_ones_own(function, backends):
    """It gets t' as a number or an array of its library, whatever it does with that."""
    steps, (t0, T0, T) = [*range(71)], (10, 40, 70)  # In halves: any float has them.
    for schedule in (
        function,
        Schedule(function, every_step, warmup_steps=4, warmup_profile=function),
        Join([function, Schedule(linear, function)], [0.5]),
    ):
        for backend in backends.split():
            evaluate, dtype = BACKENDS[backend]
            values = evaluate(Replan(schedule, t0, T0), steps, T)
            reads = np.array([moment(t, T, t0, T0) for t in steps], dtype)
            expected = evaluate(schedule, reads.tolist(), T0)
            np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize(
    "schedule",
    [
        cosine,
        Schedule(polynomial, warmup_steps=5, hold_ratio=0.2),
        Join([Schedule(one_minus_sqrt), linear], [0.5]),
        Restarts(Schedule(linear), 3),
    ],
    ids=name,
)
def test_several_plans_under_torch_compile(schedule, dynamic):
    """One after the other: what differs between two of them becomes a symbol there."""
    t = torch.arange(205)
    torch.compiler.reset()
    for T0 in (100, 150, 170):
        plan = Replan(schedule, 30, T0)
        compiled = torch.compile(plan, backend="eager", fullgraph=True, dynamic=dynamic)
        torch.testing.assert_close(compiled(t, 200), plan(t, 200), rtol=1e-6, atol=0)
    torch.compiler.reset()


@pytest.mark.parametrize("percent", range(1, 100, 7))
def test_no_jump_over_a_milestone_between_floats(percent):
    curve = bind(step, milestones=(percent / 100,))
    for T0 in (1.0, 90.0, 28800.0):
        t0 = percent / 100 * T0
        for T in (T0 * 1.5, t0 + 1):
            assert Replan(curve, t0, T0)(t0, T) == curve(t0, T0)
        for t in (t0, t0 / 2, T0 * 0.99):
            assert Replan(curve, t0 / 3, T0)(t, T0) == curve(t, T0)


def test_gradients():
    plan = Replan(Schedule(linear, warmup_steps=5), 10, 40)
    slope = jax.jit(jax.vmap(jax.grad(lambda t: plan(t, 100.0))))
    slopes = slope(jnp.array([2.0, 7.0, 20.0, 99.0, 100.5]))
    np.testing.assert_allclose(slopes, [1 / 5, -1 / 35, -30 / 90 / 35, -30 / 90 / 35, 0], rtol=1e-5)
    peak = jax.grad(lambda peak: Replan(Schedule(peak_value=peak), 10, 40)(55, 100))(0.3)
    assert peak == pytest.approx(rex(25, 40))


def test_as_a_value():
    plan = Replan(Replan(PLAIN, 10, 100), np.int64(20), 120.0)
    assert (plan.t0, plan.T0) == (20, 120)
    assert repr(plan) == f"Replan(Replan({PLAIN!r}, 10, 100), 20, 120)"
    for again in (pickle.loads(pickle.dumps(plan)), from_dict(to_dict(plan)), weakref.ref(plan)()):
        assert again == plan
        assert hash(again) == hash(plan)
        assert again(77, 130) == plan(77, 130)
    assert plan != Replan(Replan(PLAIN, 11, 100), 20, 120)
    with pytest.raises(AttributeError):
        plan.t0 = 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Replan("rexx", 1, 2), "schedule must be one of rex, linear"),
        (lambda: Replan(every, 1, 2), "schedule must not be a sampling; got every"),
        (lambda: Replan(rex, -1, 2), "t0 must be a finite number >= 0; got -1"),
        (lambda: Replan(rex, 1, 0), "T0 must be a finite number > 0; got 0"),
        (lambda: Replan(rex, math.nan, 2), "t0 must be a finite number >= 0; got nan"),
        (lambda: Replan(rex, 2, 2), "t0 must be below T0 = 2; got 2"),
        (lambda: Replan(rex, np.array([1, 3]), 2), "t0 must be below T0 = 2; got array"),
        (lambda: Replan(Schedule(warmup_steps=9), 2, 8)(3, 20), "must end before T"),
        (lambda: Replan(rex, 5, 10)(6, 5), "T must be above t0 = 5; got 5"),
        (lambda: Replan(rex, 5, 10)(np.arange(3), [4]), "T must be a finite number > 0"),
        (lambda: Replan(rex, 5, 10)(6, np.array([6, 4])), "T must be above t0 = 5; got array"),
        (lambda: Replan(rex, 5, 10)(math.inf, 7), "t must be a finite number; got inf"),
        (lambda: Replan(rex, 5, 2**31)(jnp.arange(3), 7), "T0 must be in .*int32; got 2147483648"),
        (lambda: jax.jit(lambda t: Replan(rex, 5, 10)(t, 5))(3), "T must be above t0 = 5; got 5"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_cycles_planned_in_one_of_them():
    restarts = Restarts(Schedule(linear, warmup_steps=2), 3, period_mult=2)
    plan = Replan(restarts, 10, 70)
    for T in (20, 70, 130):
        for t in range(10, T + 1):
            read = float(moment(t, T, 10, 70))
            start, length = next((s, n) for s, n in ((30, 40), (10, 20), (0, 10)) if read >= s)
            spent = read - start
            value = spent / 2 if spent < 2 else (length - spent) / (length - 2)
            assert plan(t, T) == pytest.approx(value, rel=1e-12, abs=1e-15)
