"""Values within values, on every backend; and moments between steps handed to users' functions."""

import json
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from rex_core import (
    Clamp,
    Join,
    Product,
    Replan,
    Restarts,
    Schedule,
    bind,
    constant,
    cosine,
    every,
    every_fraction,
    from_dict,
    inverse_sqrt,
    linear,
    one_minus_sqrt,
    rex,
    tanh,
    to_dict,
)
from rex_core.moment import Moment
from tests.core.cases import LARGEST, name, together

# Each kind as the profile of a Schedule, as its warmup, and within itself.
INNER = {
    "Schedule": Schedule(cosine, peak_value=0.9, end_value=0.2, warmup_ratio=0.1),
    "held": Schedule(linear, decay_steps=5),
    "Join": Join([Schedule(linear, end_value=0.5), cosine], [0.4]),
    "steps": Join([constant, Schedule(linear, peak_value=0.5)], [-10]),
    "global": Join([constant, bind(inverse_sqrt, timescale=5)], [0.5], local=False),
    "Restarts": Restarts(Schedule(cosine, end_value=0.05), 3, period_mult=2, peak_mult=0.5),
    "of a profile": Restarts(rex, 4),
    "Product": Product([Schedule(constant, warmup_steps=4), bind(inverse_sqrt, timescale=9)]),
    "Clamp": Clamp(bind(rex, beta=-3.0), least=0.1, most=0.75),
    "Replan": Replan(Schedule(one_minus_sqrt, warmup_ratio=0.1), 10, 40),
    "decay_now": Replan(Schedule(rex, decay_steps=5), 10, 40, decay_now=True),
    "sampled": Schedule(linear, bind(every, steps=7)),
}
OUTER = {
    "plain": Schedule,
    "settings": lambda v: Schedule(v, peak_value=2.0, end_value=0.25, warmup_steps=8),
    "hold": lambda v: Schedule(v, warmup_ratio=0.05, hold_ratio=0.1),
    "decay": lambda v: Schedule(v, decay_steps=50),
    "read": lambda v: Schedule(v, bind(every_fraction, fraction=0.05), warmup_steps=3),
    "warmup": lambda v: Schedule(cosine, warmup_profile=v, warmup_steps=45, init_value=0.5),
    "Join": lambda v: Join([v, Schedule(v, peak_value=3.0)], [0.5]),
    "Restarts": lambda v: Restarts(v, 2),
    "restarts of it": lambda v: Restarts(Schedule(v), 2, peak_mult=0.5),
    "Product": lambda v: Product([v, linear]),
    "Clamp": lambda v: Clamp(v, least=0.3),
    "Replan": lambda v: Replan(v, 30, 150),
}
# `decay_now` of 30 steps or fewer, as those of a Join, is over: its t0 must be below each T.
NESTED = {
    f"{outer} of {inner}": make(value)
    for outer, make in OUTER.items()
    for inner, value in INNER.items()
}
T = 100
STEPS = [*range(-2, 103, 3), 44, 45, 46, 49, 50, 51, 97, 98, 99, 100]
ALL = together(NESTED.values())
# What a compiler gets: it takes its time for each.
CASES = [*NESTED.values()]
FEW = together(CASES[:: len(INNER) + 1] + CASES[6 : -len(INNER) : len(INNER) + 1])
EXPECTED = {name(value): [value(t, T) for t in STEPS] for value in NESTED.values()}


def check(found, dtype, eps):
    """Relative to the largest value: a product of differences has no more digits than those."""
    for case, values in found.items():
        values = np.asarray(values)
        assert values.dtype == dtype, case
        np.testing.assert_allclose(values, EXPECTED[case], 30 * eps, 30 * eps, err_msg=case)


def test_numpy():
    check(ALL(np.array(STEPS), T), np.float64, 2.0**-52)
    check(ALL(np.array(STEPS), np.array(T)), np.float64, 2.0**-52)
    floats = ALL(np.array(STEPS, np.float64), float(T))
    # At whole steps, but for shares of T that are none.
    assert all(np.all(np.isfinite(values)) for values in floats.values())


def test_long_arrays():
    steps = np.resize(STEPS, 10_000)
    for case, values in ALL(steps, T).items():
        expected = np.resize(EXPECTED[case], 10_000)
        np.testing.assert_allclose(values, expected, 1e-14, 1e-14, err_msg=case)


@pytest.mark.long
def test_jax():
    steps, budget = jnp.asarray(STEPS, jnp.int32), jnp.int32(T)
    check(jax.jit(FEW)(steps, budget), np.float32, 2.0**-23)


@pytest.mark.long
def test_jax_x64():
    with jax.enable_x64(True):
        check(jax.jit(FEW)(jnp.asarray(STEPS), jnp.asarray(T)), np.float64, 2.0**-52)


def test_torch():
    check(ALL(torch.tensor(STEPS), T), np.float32, 2.0**-23)
    check(ALL(torch.tensor(STEPS), torch.tensor(T)), np.float32, 2.0**-23)


COMPILED = ["settings of Restarts", "hold of Join", "Replan of Clamp"]


@pytest.mark.long
def test_torch_compile():
    function = torch.compile(
        together([NESTED[case] for case in COMPILED]), fullgraph=True, backend="aot_eager"
    )
    found = function(torch.tensor(STEPS), torch.tensor(T))
    for case, values in found.items():
        np.testing.assert_allclose(values, EXPECTED[case], 4e-6, 4e-6, err_msg=case)


def test_json():
    for case, value in NESTED.items():
        again = from_dict(json.loads(json.dumps(to_dict(value), allow_nan=False)))
        assert again == value, case
        assert [again(t, T) for t in STEPS] == EXPECTED[name(value)]


@pytest.mark.parametrize(("t0", "T0", "T1"), [(50, 100, 150), (98, 100, 200), (60, 100, 80)])
def test_replanned(t0, T0, T1):
    """The values planned up to t0; then those of the moment that the definition names."""
    for case, value in NESTED.items():
        replan = Replan(value, t0, T0)
        for t in (0, t0 // 2, t0):
            assert replan(t, T1) == value(t, T0), case
        assert replan(T1, T1) == value(T0, T0), case
        for t in range(t0 + 1, T1):
            moment = T0 - Fraction((T0 - t0) * (T1 - t), T1 - t0)
            if moment.denominator == 1:
                assert replan(t, T1) == pytest.approx(value(int(moment), T0), rel=1e-13), case
    arrays = together([Replan(value, t0, T0) for value in NESTED.values()])
    steps = [*range(0, T1 + 1, 7), t0 - 1, t0, t0 + 1, T1 - 1, T1]
    for value, found in zip(NESTED.values(), arrays(np.array(steps), T1).values(), strict=True):
        expected = [Replan(value, t0, T0)(t, T1) for t in steps]
        np.testing.assert_allclose(found, expected, 1e-13, 1e-13, err_msg=name(value))


NOT_1_AT_0 = [
    tanh,
    bind(tanh, lower=-0.5, upper=2.0),
    Schedule(linear, peak_value=0.5),
    Schedule(linear, warmup_ratio=0.5),
    bind("interpolate", values=(0.25, 1.0, 0.0)),
]


@pytest.mark.parametrize("profile", NOT_1_AT_0, ids=name)
def test_a_hold_is_at_the_peak(profile):
    """Whatever the profile is at its start: `peak_value`, on every backend."""
    for schedule in (
        Schedule(profile, peak_value=2.0, hold_ratio=0.5),
        Schedule(profile, peak_value=2.0, warmup_steps=10, hold_steps=40),
        Schedule(profile, peak_value=2.0, decay_steps=50),
    ):
        for t in (11, 30, 49):
            assert schedule(t, T) == 2.0
            assert schedule(float(t), T) == 2.0
            assert schedule(np.array([t]), T) == 2.0
            assert jax.jit(schedule)(t, T) == 2.0
            assert schedule(torch.tensor(t), T) == 2.0
            assert Replan(schedule, t, T)(t, 300) == 2.0
            assert Replan(schedule, 0, T)(3 * t - 1, 3 * T) == 2.0
        start, between = schedule(50, T), 2.0 * profile(0, 50)
        for value in (
            start,
            schedule(np.array([50]), T)[0],
            float(jax.jit(schedule)(50, T)),
            float(schedule(torch.tensor(50), T)),
        ):
            assert value == pytest.approx(between, rel=1e-6)


# Users' functions, which know nothing of moments.


def floored(t, T):
    """Another value at a whole step than just beside it."""
    return 1.0 - (t // 1) / T + 0.5 * ((t % 1) > 0)


def kinds_seen(seen):
    def profile(t, T):
        seen.append(t)
        return 1.0 - t / T

    return profile


def test_users_functions_get_whole_steps_as_they_are():
    """In arrays too, where some steps of a stretched plan are whole, and others are not."""
    replan = Replan(floored, 10, 20)
    steps = [*range(41)]
    expected = []
    for t in steps:
        moment = Fraction(t) if t <= 10 else 20 - Fraction(10 * (40 - t), 30)
        expected.append(1 - math.floor(moment) / 20 + 0.5 * (moment.denominator > 1))
    assert [replan(t, 40) for t in steps] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(replan(np.array(steps), 40), expected, 1e-12)
    np.testing.assert_allclose(jax.jit(replan)(np.array(steps), 40), expected, 1e-6, 1e-6)
    np.testing.assert_allclose(replan(torch.tensor(steps), 40), expected, 1e-6, 1e-6)


@pytest.mark.long
@pytest.mark.parametrize(
    "wrap",
    [
        lambda f: f,
        lambda f: Schedule(f),
        lambda f: Join([f, f], [0.5], local=False),
        lambda f: Product([f, constant]),
        lambda f: Clamp(f, most=5),
        lambda f: Restarts(f, 1),
    ],
    ids=["itself", "Schedule", "Join", "Product", "Clamp", "Restarts"],
)
def test_users_functions_within_values(wrap):
    """At a late whole step of a long plan a float32 would be another step."""
    t0, T0 = 2**24 + 1, 2**25 + 2
    replan = Replan(wrap(lambda t, T: 1.0 * (t == 2**25 + 1) + 0.0 * (t / T)), t0, T0)
    late = 2 * T0 - t0 - 2  # Of a plan stretched twice: t' = T0 - 1.
    budget = 2 * T0 - t0
    assert replan(late, budget) == 1
    assert replan(late - 1, budget) == 0
    for array in (np.array, jnp.array, torch.tensor):
        assert replan(array([late - 4, late, late + 2]), budget).tolist() == [0, 1, 0]
    assert jax.jit(replan)(late, budget) == 1


def test_users_functions_see_no_moment():
    seen = []
    replan = Replan(kinds_seen(seen), 10, 20)
    for t in range(31):
        replan(t, 30)
    assert {type(t) for t in seen} == {int, float}
    assert all(t % 1 for t in seen if isinstance(t, float))
    seen.clear()
    replan(np.arange(31), 30)
    assert {t.dtype.kind for t in seen} == {"i", "f"}
    assert not any(isinstance(t, Moment) for t in seen)


@jax.jit
def held(t, T, hold):
    return Schedule(linear, peak_value=2.0, hold_steps=hold)(t, T)


@jax.jit
def decayed(t, T, decay):
    return Schedule(linear, peak_value=2.0, end_value=0.5, decay_steps=decay, warmup_steps=2)(t, T)


def test_a_traced_hold_ends_with_the_budget():
    """Phases that leave no decay cannot be refused there: the end value holds from T on."""
    for T in (10, 10.0):
        for hold in (10, 11, 1000):
            assert [float(held(t, T, hold)) for t in (0, 5, 9)] == [2, 2, 2]
            assert [float(held(t, T, hold)) for t in (10, 11, 2000)] == [0, 0, 0]
        assert [float(held(t, T, 8)) for t in (7, 8, 9, 10, 11)] == [2, 2, 1, 0, 0]
        assert [float(decayed(t, T, 4)) for t in (2, 6, 8, 10, 11)] == [2, 2, 1.25, 0.5, 0.5]
    ratio = jax.jit(lambda t, T, hold: Schedule(linear, hold_ratio=hold)(t, T))
    assert [float(ratio(t, 10, 1.0)) for t in (0, 9, 10, 11)] == [1, 1, 0, 0]
    big = jnp.int32(LARGEST)
    assert [float(held(t, big, big)) for t in (0, LARGEST - 1, LARGEST)] == [2, 2, 0]


LATE = Schedule(warmup_steps=9)


@pytest.mark.parametrize(
    "inner",
    [
        LATE,
        Clamp(LATE, least=0.1),
        LATE * linear,
        Join([LATE, linear], [0.5]),
        Restarts(LATE, 2),
        Schedule(Clamp(LATE, least=0.1)),
        Schedule(Restarts(Clamp(LATE, least=0.1), 2), warmup_ratio=0.1),
    ],
    ids=repr,
)
def test_a_cycle_too_short_for_what_is_nested_is_refused_at_once(inner):
    """Cycles of 23, 11 and 6 steps: the warmup of 9 does not fit into the last one."""
    with pytest.raises(ValueError, match="warmup_steps must end before T"):
        Restarts(inner, 3, period_mult=0.5)(0, 40)
    with pytest.raises(ValueError, match="warmup_steps must end before T"):
        jax.jit(lambda t: Restarts(inner, 3, period_mult=0.5)(t, 40))(0)
