"""Schedules as tables of (t, value), and as values."""

import copy
import math
import pickle
import random
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import rex_core
from rex_core import (
    Join,
    Restarts,
    Schedule,
    at,
    bind,
    constant,
    cosine,
    every,
    every_fraction,
    exponential,
    linear,
    one_minus_sqrt,
    polynomial,
    rex,
    step,
)
from tests.core.cases import LARGEST, LIBRARIES, PLAIN, PROFILES, SCHEDULES, THIRD, name

E3 = math.exp(-3)

# name: (schedule, T, [(t, value), ...])
TABLES = {
    "rex": (Schedule(), 4, [(0, 1), (1, 6 / 7), (2, 2 / 3), (3, 0.4), (4, 0), (5, 0)]),
    "warmup_steps": (
        Schedule(linear, peak_value=0.5, warmup_steps=4),
        12,
        [
            (-1, 0),
            (0, 0),
            (1, 0.125),
            (2, 0.25),
            (4, 0.5),
            (8, 0.25),
            (11, 0.0625),
            (12, 0),
            (13, 0),
        ],
    ),
    "warmup_ratio is rounded up to a step": (
        Schedule(linear, warmup_ratio=0.25),
        10,
        [(0, 0), (1, 1 / 3), (2, 2 / 3), (3, 1), (5, 5 / 7), (9, 1 / 7), (10, 0)],
    ),
    "warmup_ratio is the decimal that was written": (
        Schedule(linear, warmup_ratio=0.7),
        10,
        [(0, 0), (6, 6 / 7), (7, 1), (8, 2 / 3), (10, 0)],
    ),
    "warmup in seconds": (
        Schedule(linear, warmup_ratio=0.25),
        10.0,
        [(0, 0), (1, 0.4), (2.5, 1), (5.5, 0.6), (10, 0)],
    ),
    "warmup_steps in seconds": (
        Schedule(linear, warmup_steps=2.5),
        10,
        [(0, 0), (1, 0.4), (2.5, 1), (5.5, 0.6), (10, 0)],
    ),
    "warmup_profile": (
        Schedule(linear, warmup_steps=4, warmup_profile=cosine),
        8,
        [(0, 0), (1, (1 - math.cos(math.pi / 4)) / 2), (2, 0.5), (4, 1), (6, 0.5), (8, 0)],
    ),
    "hold_ratio": (
        Schedule(linear, hold_ratio=0.5),
        10,
        [(-1, 1), (0, 1), (4, 1), (5, 1), (6, 0.8), (9, 0.2), (10, 0)],
    ),
    "hold_ratio is rounded up to a step": (
        Schedule(linear, hold_ratio=0.25),
        10,
        [(0, 1), (3, 1), (4, 6 / 7), (10, 0)],
    ),
    "warmup and hold": (
        Schedule(linear, warmup_ratio=0.2, hold_ratio=0.3, peak_value=2.0),
        10,
        [(0, 0), (1, 1), (2, 2), (4, 2), (5, 2), (6, 1.6), (10, 0)],
    ),
    "init_value": (
        Schedule(linear, peak_value=0.5, init_value=0.1, warmup_steps=4),
        8,
        [(-3, 0.1), (0, 0.1), (1, 0.2), (2, 0.3), (4, 0.5), (6, 0.25), (8, 0)],
    ),
    "init_value above the peak": (
        Schedule(linear, peak_value=0.1, init_value=0.5, warmup_steps=2),
        4,
        [(0, 0.5), (1, 0.3), (2, 0.1), (4, 0)],
    ),
    "init_value without warmup": (Schedule(linear, init_value=0.5), 4, [(-1, 1), (0, 1), (4, 0)]),
    "end_value": (
        Schedule(linear, end_value=0.2),
        10,
        [(0, 1), (5, 0.6), (10, 0.2), (11, 0.2)],
    ),
    "end_value above the peak": (
        Schedule(linear, peak_value=0.85, end_value=0.95),
        4,
        [(0, 0.85), (2, 0.9), (4, 0.95)],
    ),
    "end_value is where the profile is 0": (
        Schedule(exponential, peak_value=2.0, end_value=1.0),
        4,
        [(0, 2), (4, 1 + E3), (9, 1 + E3)],
    ),
    "sampling": (
        Schedule(linear, bind(every, steps=3)),
        10,
        [(0, 1), (2, 1), (3, 0.7), (5, 0.7), (6, 0.4), (9, 0.1), (10, 0.1), (99, 0.1)],
    ),
    "50-75": (
        Schedule(rex, bind(at, milestones=(0.5, 0.75))),
        8,
        [(0, 1), (3, 1), (4, 2 / 3), (5, 2 / 3), (6, 0.4), (8, 0.4)],
    ),
    "every 25 %": (
        Schedule(linear, bind(every_fraction, fraction=0.25)),
        10,
        [(2, 1), (3, 0.7), (4, 0.7), (5, 0.5), (7, 0.5), (8, 0.2), (9, 0.2), (10, 0)],
    ),
    "sampling begins after warmup and hold": (
        Schedule(linear, bind(at, milestones=(0.5,)), warmup_steps=2, hold_ratio=0.2),
        12,
        [(1, 0.5), (2, 1), (5, 1), (8, 1), (9, 3 / 7), (12, 3 / 7)],
    ),
    "warmup is not sampled": (
        Schedule(linear, bind(every, steps=4), warmup_steps=4),
        12,
        [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1), (7, 1), (8, 0.5), (11, 0.5), (12, 0)],
    ),
    "delayed linear, from settings": (
        Schedule(linear, peak_value=0.1, hold_ratio=0.5),
        8,
        [(0, 0.1), (4, 0.1), (6, 0.05), (8, 0)],
    ),
    "trapezoid, from settings": (
        Schedule(linear, peak_value=0.1, warmup_ratio=0.25, hold_ratio=0.5),
        8,
        [(0, 0), (1, 0.05), (2, 0.1), (6, 0.1), (7, 0.05), (8, 0)],
    ),
    "warmup-stable-decay, from settings": (
        Schedule(one_minus_sqrt, warmup_steps=1, hold_ratio=0.5),
        14,
        [(0, 0), (1, 1), (8, 1), (9, 1 - math.sqrt(1 / 6)), (14, 0)],
    ),
    "30-60-90, from settings": (
        Schedule(bind(step, milestones=(0.3, 0.6, 0.9)), peak_value=0.1),
        10,
        [(0, 0.1), (2, 0.1), (3, 0.01), (5, 0.01), (6, 0.001), (9, 0.0001), (10, 0.0001)],
    ),
    "any function of (t, T)": (
        Schedule(lambda t, T: 1 - (t / T) ** 2, warmup_steps=2),
        6,
        [(1, 0.5), (2, 1), (4, 0.75), (6, 0)],
    ),
    "join": (
        Join([Schedule(linear), Schedule(linear, peak_value=0.5)], [0.6]),
        10,
        [(-1, 1), (0, 1), (3, 0.5), (5, 1 / 6), (6, 0.5), (8, 0.25), (10, 0), (11, 0)],
    ),
    "join of warmups": (
        Join([Schedule(linear, warmup_steps=2), Schedule(linear, warmup_ratio=0.5)], [0.5]),
        8,
        [(0, 0), (1, 0.5), (2, 1), (3, 0.5), (4, 0), (5, 0.5), (6, 1), (7, 0.5), (8, 0)],
    ),
    "join of joins": (
        Join([linear, Join([linear, constant], [0.5])], [0.5]),
        8,
        [(0, 1), (2, 0.5), (4, 1), (5, 0.5), (6, 1), (8, 1)],
    ),
    "restarts": (
        Restarts(Schedule(linear), 2),
        8,
        [(-1, 1), (0, 1), (2, 0.5), (3, 0.25), (4, 1), (6, 0.5), (8, 0), (9, 0)],
    ),
    "period_mult": (
        Restarts(Schedule(linear), 2, period_mult=2),
        9,
        [(0, 1), (2, 1 / 3), (3, 1), (4, 5 / 6), (8, 1 / 6), (9, 0)],
    ),
    "peak_mult": (
        Restarts(Schedule(linear, end_value=0.1, init_value=0.2, warmup_steps=2), 2, peak_mult=0.5),
        12,
        [
            (0, 0.2),
            (1, 0.6),
            (2, 1),
            (4, 0.55),
            (6, 0.2),
            (7, 0.35),
            (8, 0.5),
            (10, 0.3),
            (12, 0.1),
        ],
    ),
    "restarts in a join": (
        Join([constant, Restarts(Schedule(linear), 2)], [0.5]),
        8,
        [(0, 1), (3, 1), (4, 1), (5, 0.5), (6, 1), (7, 0.5), (8, 0)],
    ),
}


@pytest.mark.parametrize(("schedule", "T", "table"), TABLES.values(), ids=TABLES)
def test_tables(schedule, T, table):
    steps, expected = zip(*table, strict=True)
    for t, value in table:
        assert schedule(t, T) == pytest.approx(value, rel=1e-14, abs=1e-15)
        assert type(schedule(t, T)) is float
    np.testing.assert_allclose(schedule(np.array(steps), T), expected, rtol=1e-14, atol=1e-15)
    values = schedule(torch.tensor(steps), T)
    np.testing.assert_allclose(np.asarray(values), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("profile", [p for p in PROFILES if p(1, 1) == 0], ids=name)
def test_peak_and_end_exactly(profile):
    draw = random.Random(0)
    function = jax.jit(
        lambda t, T, w, peak, end, init: Schedule(
            profile, peak_value=peak, end_value=end, init_value=init, warmup_steps=w
        )(t, T)
    )
    for _ in range(200):
        peak, end, init = (10 ** draw.uniform(-8, 3) for _ in range(3))
        T = int(2 ** draw.uniform(1, 31))
        w = draw.randrange(T)
        schedule = Schedule(
            profile, peak_value=peak, end_value=end, init_value=init, warmup_steps=w
        )
        assert schedule(w, T) == peak
        assert schedule(T, T) == schedule(T + 1, T) == end
        assert schedule(0, T) == (init if w else peak)
        values = schedule(np.array([w, T, LARGEST]), T)
        assert values.tolist() == [peak, end, end]
        numbers = np.float32([peak, end, init])
        values = function(jnp.array([w, T, LARGEST]), T, w, *numbers)
        assert values.tolist() == [numbers[0], numbers[1], numbers[1]]


def test_peak_exactly_after_a_hold():
    schedule = Schedule(cosine, peak_value=0.3, warmup_ratio=0.1, hold_ratio=0.7, end_value=0.1)
    for T in range(7, 200):
        warmup, start = math.ceil(Fraction(T, 10)), math.ceil(Fraction(8 * T, 10))
        assert {schedule(t, T) for t in range(warmup, start + 1)} == {0.3}
        assert schedule(start + 1, T) < 0.3


@pytest.mark.parametrize("profile", PROFILES, ids=name)
def test_warmup_is_a_decay_reversed_in_time(profile):
    for w in (1, 2, 7, 100):
        warmup = Schedule(warmup_profile=profile, init_value=0.1, peak_value=0.7, warmup_steps=w)
        decay = Schedule(profile, end_value=0.1, peak_value=0.7)
        assert [warmup(t, 1000) for t in range(w + 1)] == [decay(w - t, w) for t in range(w + 1)]


@pytest.mark.parametrize("profile", PROFILES, ids=name)
def test_the_budget_counts_everything(profile):
    """What is left after warmup and hold is a whole decay."""
    for T, w, hold in [(10, 3, 0.0), (10, 3, 0.5), (1000, 17, 0.3), (LARGEST, 10**6, 0.5)]:
        start = w + math.ceil(Fraction(str(hold)) * T)
        whole = Schedule(profile, warmup_steps=w, hold_ratio=hold)
        decay = Schedule(profile)
        for t in (start, start + 1, (start + T) // 2, T - 1, T, T + 5):
            assert whole(t, T) == decay(t - start, T - start)


def drop(t, T):
    """A profile that shows where it begins: 1 at its first step, 0 after it."""
    return 1.0 * (t <= 0)


@pytest.mark.parametrize(
    ("ratio", "meant"),
    [(0.7, "7/10"), (0.05, "1/20"), (THIRD, "1/3"), (0.1, "1/10"), (1e-6, "1/1000000")],
)
def test_phases_end_at_exact_steps(ratio, meant):
    """In Python, and in int32 up to its end, under jit with a traced T too."""
    warmup = Schedule(constant, warmup_profile=drop, warmup_ratio=ratio)
    hold = Schedule(drop, hold_ratio=ratio)
    jitted = jax.jit(lambda t, T: (warmup(t, T), hold(t, T)))
    for T in [*range(4, 300), 2**24 + 3, 10**9, 2**30 - 1, 2**30, 2**30 + 1, LARGEST - 1, LARGEST]:
        end = math.ceil(Fraction(meant) * T)
        steps = [end - 1, end, end + 1]
        expected = [0, 1, 1], [1, 1, 0]
        assert [warmup(t, T) for t in steps] == expected[0]
        assert [hold(t, T) for t in steps] == expected[1]
        values = jitted(np.array(steps, np.int32), np.int32(T))
        assert (values[0].tolist(), values[1].tolist()) == expected


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
def test_held_outside_the_budget(schedule):
    """Before 0 too, where a subtraction from the smallest integer would wrap around."""
    for T in (10, 99):
        for array, smallest in (("numpy", -(2**63)), ("jax", -(2**31)), ("torch", -(2**63))):
            before, first, last, after, late = schedule(
                LIBRARIES[array]([smallest, 0, T, T + 1, -1 - smallest]), T
            ).tolist()
            assert before == first
            assert last == after == late
        assert schedule(-(10**30), T) == schedule(-1, T) == schedule(0, T)
        assert schedule(10**30, T) == schedule(T, T)


def test_no_warmup_has_no_beginning_to_be_held():
    """Neither as a number nor in an array of warmups."""
    for warmup in (0, 0.0, np.array([0, 0]), jnp.array(0)):
        schedule = Schedule(linear, init_value=0.3, warmup_steps=warmup)
        assert np.all(np.asarray(schedule(-1, 10)) == 1)
        assert np.all(np.asarray(schedule(0, 10)) == 1)


def probe(number):
    """A schedule that tells who was asked, and for which t and T."""
    return lambda t, T: 1e6 * number + 1e3 * t + T


JOINS = [
    [Fraction(1, 2)],
    [Fraction(7, 10)],
    [Fraction(1, 3), Fraction(2, 3)],
    [Fraction(1, 20), Fraction(1, 10), Fraction(9, 10)],
    [Fraction(1, 100), Fraction(99, 100)],
]


def share_of(t, edges):
    """The last share with a step in it that began at t or before: its number, start and end."""
    shares = [(i, a, b) for i, (a, b) in enumerate(pairwise(edges)) if a < b]
    return [share for share in shares if share[1] <= max(t, 0)][-1]


@pytest.mark.parametrize("milestones", JOINS, ids=lambda places: "-".join(map(str, places)))
def test_join_calls_each_share_with_its_own_t_and_T(milestones):
    join = Join([probe(i) for i in range(len(milestones) + 1)], [float(p) for p in milestones])
    jitted = jax.jit(join)
    for T in [*range(1, 21), 99, 1000]:
        edges = [0, *(math.ceil(p * T) for p in milestones), T]
        steps = [-2, T - 1, T, T + 3, *range(21)]
        expected = []
        for t in steps:
            i, start, end = share_of(t, edges)
            expected.append(1e6 * i + 1e3 * (min(max(t, 0), T) - start) + (end - start))
        assert [join(t, T) for t in steps] == expected
        assert jitted(np.array(steps), T).tolist() == expected


def test_join_at_exact_steps_of_long_budgets():
    jitted = jax.jit(Join([drop, constant], [0.7]))
    for T in (10**9, 2**30 + 1, LARGEST):
        start = math.ceil(Fraction(7, 10) * T)
        assert jitted(np.array([start - 1, start]), T).tolist() == [0, 1]


@pytest.mark.long
@pytest.mark.parametrize("cycles", [1, 2, 3, 5])
@pytest.mark.parametrize("period_mult", [1, 2, 0.5, 1.1, 10])
@pytest.mark.parametrize("peak_mult", [1, 0.5])
def test_restarts_from_their_definition(cycles, period_mult, peak_mult):
    schedule = Schedule(linear, peak_value=0.8, end_value=0.03)
    restarts = Restarts(schedule, cycles, period_mult=period_mult, peak_mult=peak_mult)
    lengths = [Fraction(str(period_mult)) ** i for i in range(cycles)]
    shares = [sum(lengths[:i]) / sum(lengths) for i in range(cycles + 1)]
    for T in [*range(1, 21), 1000]:
        edges = [math.ceil(p * T) for p in shares]
        steps = [-2, T - 1, T, T + 3, *range(21)]
        expected = []
        for t in steps:
            i, start, end = share_of(t, edges)
            cycle = schedule.replace(peak_value=0.8 * peak_mult**i)
            expected.append(cycle(t - start, end - start))
        assert [restarts(t, T) for t in steps] == pytest.approx(expected, rel=1e-15)
        values = restarts(np.array(steps), T)
        np.testing.assert_allclose(values, expected, rtol=1e-15)


def test_restarts_in_int32():
    for restarts in (
        Restarts(Schedule(linear), 3, period_mult=2, peak_mult=0.5),
        # The first share is too small for the digits of the others.
        Restarts(Schedule(linear), 12, period_mult=10),
    ):
        jitted = jax.jit(restarts)
        for T in (1, 7, 1000, 10**6):
            steps = [0, T // 7, T // 3, T // 2, T - 1, T]
            expected = [restarts(t, T) for t in steps]
            np.testing.assert_allclose(jitted(np.array(steps), T), expected, rtol=1e-6)


VALUES = [
    bind(rex, beta=0.9),
    bind(rex, beta=-3),
    bind(step, milestones=[0.3, THIRD, 0.9], factor=0.3),
    bind(exponential, gamma=1e-7),
    bind(polynomial, power=2),
    bind(every, steps=391),
    bind(every_fraction, fraction=0.05),
    bind(at, milestones=(0.5, 0.75)),
    bind(constant),
    *SCHEDULES,
    Schedule(),
    Schedule(sampling=bind(every, steps=5), warmup_profile=cosine, warmup_steps=2),
    Schedule(bind(rex, beta=0.9), bind(at, milestones=[0.5]), peak_value=3e-4, end_value=-1),
    Join([rex, bind(rex, beta=0.9), Schedule(cosine)], [0.1, 0.5]),
    Join([Join([Schedule(), linear], [0.5]), Restarts(Schedule(linear), 2)], [THIRD]),
    Restarts(Schedule(peak_value=2), 4, period_mult=1.5, peak_mult=0.9),
]
POINTS = [(t, T) for T in (10, 97, 10**6) for t in (-1, 0, 1, T // 3, T - 1, T, T + 1)]


def values_of(function):
    return [function(t, T) for t, T in POINTS]


@pytest.mark.parametrize("value", VALUES, ids=name)
@pytest.mark.parametrize(
    "again",
    [
        pytest.param(copy.copy, id="copy"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        *(
            pytest.param(lambda v, p=p: pickle.loads(pickle.dumps(v, p)), id=f"pickle {p}")
            for p in range(2, pickle.HIGHEST_PROTOCOL + 1)
        ),
        pytest.param(lambda value: eval(repr(value), vars(rex_core).copy()), id="repr"),
    ],
)
def test_values_come_back_equal(value, again):
    other = again(value)
    assert type(other) is type(value)
    assert other == value
    assert hash(other) == hash(value)
    assert repr(other) == repr(value)
    assert values_of(other) == values_of(value)


def test_values_come_back_in_another_process():
    """Where hashes of strings and addresses of functions are others."""
    # An import of numpy and rex_core only: reading a schedule needs no framework.
    program = """
import pickle, sys
import rex_core
values, points, expected = pickle.load(sys.stdin.buffer)
for value, answers in zip(values, expected, strict=True):
    assert [value(t, T) for t, T in points] == answers, value
    fresh = eval(repr(value), vars(rex_core).copy())
    assert value == fresh and hash(value) == hash(fresh), value
sys.stdout.buffer.write(pickle.dumps(values))
"""
    data = pickle.dumps((VALUES, POINTS, [values_of(value) for value in VALUES]))
    process = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True)
    assert process.returncode == 0, process.stderr.decode()
    assert pickle.loads(process.stdout) == VALUES


def test_equality_tells_values_apart():
    distinct = [*VALUES, rex, linear, 1.0, None]
    for i, value in enumerate(distinct):
        assert [value == other for other in distinct] == [j == i for j in range(len(distinct))]
    assert len(set(VALUES)) == len(VALUES)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (bind(rex, beta=1 / 2), bind(rex, beta=0.5)),
        (bind(rex, beta=0), bind(rex, beta=0.0)),
        (bind(step, milestones=[0.5], factor=0.1), bind(step, factor=0.1, milestones=(0.5,))),
        (Schedule(), Schedule(rex, peak_value=1, end_value=0)),
        (Join([rex, linear], [0.5]), Join((rex, linear), (0.5,))),
        (Restarts(Schedule(), 2), Restarts(Schedule(), 2, period_mult=1.0, peak_mult=1.0)),
    ],
)
def test_equal_however_they_are_written(one, other):
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == repr(eval(repr(one), vars(rex_core).copy()))


def test_repr_leaves_defaults_out():
    assert repr(Schedule()) == "Schedule()"
    assert repr(bind(rex, beta=0.9)) == "bind(rex, beta=0.9)"
    assert repr(Schedule(bind(rex, beta=0.9), peak_value=0.1, warmup_steps=10)) == (
        "Schedule(bind(rex, beta=0.9), peak_value=0.1, warmup_steps=10)"
    )


@pytest.mark.parametrize("value", VALUES, ids=name)
def test_values_are_frozen(value):
    kept = copy.deepcopy(value)
    for attribute in [*value.fields, "new"]:
        with pytest.raises(AttributeError):
            setattr(value, attribute, 1)
        with pytest.raises(AttributeError):
            delattr(value, attribute)
    assert value == kept


def test_replace_checks_and_leaves_the_original():
    schedule = PLAIN.replace(peak_value=2.0, warmup_steps=0, warmup_ratio=0.1)
    assert schedule == Schedule(peak_value=2.0, end_value=0.1, init_value=0.2, warmup_ratio=0.1)
    assert values_of(schedule) == values_of(eval(repr(schedule), vars(rex_core).copy()))
    assert PLAIN.peak_value == 0.5
    with pytest.raises(ValueError, match="peak_value"):
        PLAIN.replace(peak_value=math.nan)
    with pytest.raises(ValueError, match="warmup_ratio"):
        PLAIN.replace(warmup_ratio=0.1)
    assert Restarts(Schedule(), 2).replace(cycles=3) == Restarts(Schedule(), 3)
    assert Restarts(Schedule(), 2).replace(cycles=3)(5, 9) == Restarts(Schedule(), 3)(5, 9)
    assert Join([rex, rex], [0.5]).replace(milestones=[0.3]) == Join([rex, rex], [0.3])


def test_bind_is_the_call():
    for t, T in POINTS:
        assert bind(rex, beta=0.9)(t, T) == rex(t, T, beta=0.9)
        assert bind(every, steps=3)(t, T) == every(t, T, steps=3)


def test_bind_of_a_users_function():
    def halving(t, T, *, every):
        return 0.5 ** (t // every)

    profile = bind(halving, every=3)
    assert [profile(t, 9) for t in range(7)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert profile == bind(halving, every=3) != bind(halving, every=4)
    with pytest.raises(ValueError, match="each must be a parameter of halving, which takes every"):
        bind(halving, each=3)


def test_arrays_are_refused_by_nobody_but_hash():
    """A stack of schedules is one schedule, evaluated like any other."""
    stack = Schedule(bind(rex, beta=np.array([0.0, 0.9])), peak_value=np.array([1.0, 2.0]))
    assert stack(50, 100).tolist() == [0.5, 2 * rex(50, 100, beta=0.9)]
    assert "array([0. , 0.9])" in repr(stack)
    copied = pickle.loads(pickle.dumps(stack))
    assert copied(50, 100).tolist() == stack(50, 100).tolist()


@pytest.mark.parametrize(
    ("warmup", "hold"),
    [("0.05", "0.75"), ("0.1", "0.7"), ("0.1", "0.2"), ("0.3", "0.3"), ("0.01", "0.98")],
)
def test_warmup_and_hold_end_at_their_exact_sum(warmup, hold):
    """Rounded up once, not each: a whole decay is left for as many budgets as can be."""
    shares = Fraction(warmup), Fraction(warmup) + Fraction(hold)
    schedule = Schedule(
        drop, warmup_profile=drop, warmup_ratio=float(warmup), hold_ratio=float(hold)
    )
    arrays = schedule.replace(warmup_ratio=np.array([float(warmup)]))
    for T in [*range(1, 300), 10**9, LARGEST]:
        end, start = (math.ceil(share * T) for share in shares)
        if start >= T:
            for refused in (schedule, arrays):
                with pytest.raises(
                    ValueError, match=f"must end before T, .*; got an end at .*{start}"
                ):
                    refused(0, T)
            continue
        steps = np.array([end - 1, end, start, start + 1])
        for values in ([schedule(int(t), T) for t in steps], arrays(steps, T).tolist()):
            assert values == [0 if end > 0 else 1, 1, 1, 0], T


def test_a_warmup_of_10_steps_and_one_of_10_point_0():
    schedule = Schedule(warmup_steps=10.0, peak_value=np.float64(0.1), hold_ratio=np.float64(0.5))
    assert schedule == Schedule(warmup_steps=10, peak_value=0.1, hold_ratio=0.5)
    assert repr(schedule) == "Schedule(peak_value=0.1, warmup_steps=10, hold_ratio=0.5)"


def test_pieces_of_a_join_are_read_within_their_share():
    """A function that has no value beyond its budget is as good as one that has."""

    def fragile(t, T):
        assert np.all((np.asarray(t) >= 0) & (np.asarray(t) <= T))
        return 1 - t / T

    join = Join([fragile, fragile, fragile], [0.25, 0.5])
    for t in (-3, 0, 4, 5, 10, 19, 20, 33):
        assert join(np.array([t]), 20) == join(t, 20)
