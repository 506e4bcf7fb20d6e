"""Every public call with bad input: a ValueError, of the argument, its range and its value."""

import contextlib
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rex_optax
import torch

from rex_core import (
    Join,
    Restarts,
    Schedule,
    at,
    bind,
    constant,
    cosine,
    delayed_linear,
    demon,
    every,
    every_fraction,
    every_step,
    exponential,
    falling_momentum,
    linear,
    one_cycle,
    one_minus_sqrt,
    polynomial,
    rex,
    step,
    step_decay,
    warmup_stable_decay,
)
from tests.core.cases import LARGEST, SCHEDULES, name

NAN, INF = math.nan, math.inf

FUNCTIONS = [
    *(rex, linear, cosine, exponential, polynomial, one_minus_sqrt, step, constant),
    every_step,
    bind(every, steps=3),
    bind(every_fraction, fraction=0.05),
    bind(at, milestones=(0.5,)),
    *SCHEDULES,
]

# No number at all, in whatever place a number is expected.
NO_NUMBERS = [
    *("3", "", None, [3], (3,), {}, 1j, True, object(), len),
    *(np.array([1j]), np.array(["3"]), np.array([True]), np.array([None])),
    *(np.datetime64("2020-01-01"), jnp.array([True]), jnp.array([1j])),
    *(torch.tensor([True]), torch.tensor([1j])),
]
NOT_FINITE = [
    *(NAN, INF, -INF, np.float64(NAN), np.float32(INF), np.float32(-INF), np.float16(INF)),
    *(np.array([1, NAN]), np.array([INF, 1], np.float32), np.array([[1.0], [-INF]])),
    *(jnp.array([1, NAN]), jnp.float32(INF), jnp.array([-INF, 1.0], jnp.bfloat16)),
    *(torch.tensor([1, NAN]), torch.tensor(INF), torch.tensor([-INF, 1], dtype=torch.float16)),
]
NOT_POSITIVE = [
    *(0, -1, 0.0, -0.5, -1e30, np.int64(0), np.array([10, 0]), np.array([-1.0, 10.0])),
    *(jnp.array([10, 0]), jnp.float32(-1), torch.tensor([10, 0]), torch.tensor(-0.5)),
]


def refused(call, argument, value):
    """The call raises ValueError("<argument> must be <range>; got <value>"), exactly that type."""
    with pytest.raises(ValueError, match=rf"(?s)^{argument} must be .+; got ") as error:
        call()
    assert type(error.value) is ValueError
    assert repr(value)[:190] in str(error.value)


@pytest.mark.parametrize("function", FUNCTIONS, ids=name)
def test_t_and_T(function):
    for value in [*NO_NUMBERS, *NOT_FINITE, *NOT_POSITIVE]:
        refused(lambda value=value: function(3, value), "T", value)
    for value in [*NO_NUMBERS, *NOT_FINITE]:
        refused(lambda value=value: function(value, 10), "t", value)


def test_raw_memory_is_no_number():
    raw = np.zeros(2, "V4")
    refused(lambda: rex(3, raw), "T", raw)
    refused(lambda: rex(raw, 10), "t", raw)
    refused(lambda: rex(3, 10, beta=raw), "beta", raw)
    refused(lambda: Schedule(peak_value=raw), "peak_value", raw)


@pytest.mark.parametrize("function", FUNCTIONS, ids=name)
def test_integers_beyond_floats(function):
    """They have a value or are refused: no other error comes out, OverflowError least of all."""
    for t, T in [(5, 10**400), (10**400, 10**401), (10**400, 10), (-(10**400), 10), (5, 10**308)]:
        with contextlib.suppress(ValueError):
            assert function(t, T) <= max(t, 1)


# The parameters of profiles and samplings: (function, parameter, what is out of range)
PARAMETERS = [
    (
        rex,
        "beta",
        [1, 1.0, 1.5, -1e31, 10**400, np.array([0.5, 1.0]), jnp.float32(1), torch.tensor(2.0)],
    ),
    (
        exponential,
        "gamma",
        [-1, -1e-9, 1e31, np.array([3.0, -1]), jnp.float32(-1), torch.tensor(-1.0)],
    ),
    (
        polynomial,
        "power",
        [0, 0.0, -2, 1e31, np.array([2.0, 0]), jnp.float32(0), torch.tensor(-1.0)],
    ),
    (step, "factor", [-0.1, -1, 1.1, np.array([0.1, -0.1]), jnp.float32(-1), torch.tensor(-1.0)]),
    (every, "steps", [0, -1, 1.5, 0.0, np.array([7, 0]), np.array(1.5), jnp.int32(0), 1e-9]),
    (every_fraction, "fraction", [0, 0.0, -0.1, 1.5, 1e-7, 2, np.array([0.5, 2]), jnp.float32(0)]),
]


@pytest.mark.parametrize(("function", "parameter", "values"), PARAMETERS, ids=name)
def test_parameters(function, parameter, values):
    for value in [*values, *NO_NUMBERS, *NOT_FINITE]:
        bad = {parameter: value}
        refused(lambda bad=bad: function(3, 10, **bad), parameter, value)
        refused(lambda bad=bad: bind(function, **bad), parameter, value)
    for value in values[:3]:
        bad = {parameter: value}
        refused(lambda bad=bad: function(np.array([3, 4]), 10, **bad), parameter, value)
        refused(lambda bad=bad: function(jnp.array([3, 4]), 10, **bad), parameter, value)
        refused(lambda bad=bad: function(torch.tensor([3, 4]), 10, **bad), parameter, value)
        # Only what is traced is not known: the parameter is.
        refused(lambda bad=bad: jax.jit(lambda t: function(t, 10, **bad))(3), parameter, value)


NO_FRACTIONS = [
    *(
        (),
        [],
        (0,),
        (-0.0,),
        (2**31 + 0.5,),
        (5, 4),
        (-4, -5),
        (0.5, 3, 0.4),
        (0.0, 0.5),
        (-0.5,),
        (1.5,),
        (0.5, 0.5),
        (0.75, 0.5),
        (0.5, NAN),
        (0.5, INF),
    ),
    *("abc", "", 0.5, 1, None, True, {0.5}, {0.5: 1}, range(1), [0.5] * 1001),
    *(("0.5",), (None,), (True,), ([0.5],), ({},), (1j,), (0.25, "0.5")),
    *((np.array([0.5]),), (jnp.array([0.5]),), (torch.tensor([0.25, 0.5]),)),
]


@pytest.mark.parametrize("value", NO_FRACTIONS, ids=name)
def test_fractions(value):
    for function, parameter in [(step, "milestones"), (at, "milestones")]:
        refused(lambda f=function, p=parameter: f(3, 10, **{p: value}), parameter, value)
        refused(lambda f=function, p=parameter: f(np.arange(3), 10, **{p: value}), parameter, value)
        with pytest.raises(ValueError, match=f"{parameter} must be "):
            bind(function, **{parameter: value})
    with pytest.raises(ValueError, match=r"^milestones must be .+; got ") as error:
        Join([rex, rex], value)
    assert type(error.value) is ValueError


def test_what_was_seen_before_changes_nothing():
    """Equal keys of a cache are not the same input: True == 1.0, and NumPy's 0.375 == 0.375."""

    def outcome(number):
        try:
            return at(3, 10, milestones=(number,))
        except ValueError:
            return ValueError

    numbers = [np.float64(0.375), np.float32(0.375), True, np.int64(1)]
    before = [outcome(number) for number in numbers]
    assert [outcome(number) for number in (0.375, 1.0, 1)] == [0, 0, 1]
    assert [outcome(number) for number in numbers] == before


VALUE_FIELDS = ("peak_value", "end_value", "init_value")
NEGATIVE = [-1, -1e-9, np.array([3, -1]), jnp.float32(-1), torch.tensor(-1.0)]
NO_SHARE = [1, 1.0, 1.5, -0.1, np.array([0.5, 1.0]), jnp.float32(1), torch.tensor(1.0)]


def test_numbers_of_a_schedule():
    for field, values in [
        *((field, []) for field in VALUE_FIELDS),
        ("warmup_steps", NEGATIVE),
        ("warmup_ratio", NO_SHARE),
        ("hold_ratio", NO_SHARE),
    ]:
        for value in [*values, *NO_NUMBERS, *NOT_FINITE]:
            refused(lambda field=field, value=value: Schedule(**{field: value}), field, value)
    for field in ("profile", "sampling", "warmup_profile"):
        for value in ("rexx", None, 0.5, [rex], np.array(1)):
            refused(lambda field=field, value=value: Schedule(**{field: value}), field, value)


def test_two_warmups():
    for steps, ratio in [(5, 0.1), (np.array([0, 5]), 0.1), (5, np.array([0, 0.1]))]:
        message = "^warmup_ratio must be 0 where warmup_steps is given; got .*warmup_steps="
        with pytest.raises(ValueError, match=message):
            Schedule(warmup_steps=steps, warmup_ratio=ratio)
    Schedule(warmup_steps=np.array([5, 0]), warmup_ratio=np.array([0, 0.1]))


@pytest.mark.parametrize("percent", range(1, 100))
def test_ratios_that_fill_the_budget(percent):
    """As decimals, however their binary sum is rounded."""
    with pytest.raises(ValueError, match=r"^warmup_ratio \+ hold_ratio must be below 1; got 0\."):
        Schedule(warmup_ratio=percent / 100, hold_ratio=(100 - percent) / 100)


# Schedules whose phases end at T or later, and the T.
FILLED = [
    (Schedule(warmup_steps=10), 10),
    (Schedule(warmup_steps=10), 9),
    (Schedule(warmup_steps=10.5), 10.5),
    (Schedule(warmup_steps=5, hold_ratio=0.5), 10),
    (Schedule(warmup_ratio=0.05), 1),
    (Schedule(warmup_ratio=0.5, hold_ratio=0.45), 3),
    (Schedule(hold_ratio=0.99), 10),
    (Schedule(warmup_steps=np.array([5, 20])), 20),
    (Schedule(warmup_steps=jnp.array([5, 20])), 20),
    (Schedule(warmup_ratio=np.array([0.05, 0.99])), 20),
    (Schedule(warmup_steps=10), np.array([20, 10])),
    (Schedule(warmup_steps=10), np.int64(10)),
    (Schedule(warmup_steps=LARGEST), LARGEST),
]


@pytest.mark.parametrize(("schedule", "T"), FILLED, ids=name)
def test_phases_that_fill_the_budget(schedule, T):
    message = "^(warmup_|hold_).* must end before T, .*; got an end at .* of T = "
    budget = jnp.array(T)
    calls = [
        lambda: schedule(3, T),
        lambda: schedule(np.array([3, 4]), T),
        lambda: schedule(jnp.array([3, 4]), T),
        lambda: schedule(3, budget),
        lambda: jax.jit(lambda t: schedule(t, T))(3),
        lambda: jax.jit(lambda t: schedule(t, budget))(jnp.array([3, 4])),
        lambda: jax.vmap(lambda t: schedule(t, T))(jnp.array([3, 4])),
        lambda: jax.grad(lambda p: Schedule(peak_value=p, warmup_steps=9)(3, 9))(1.0),
    ]
    if not isinstance(schedule.warmup_steps, jax.Array):
        calls += [lambda: schedule(torch.tensor(3), T), lambda: schedule(3, torch.tensor(T))]
    for call in calls:
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert type(error.value) is ValueError


def test_phases_that_fill_a_share():
    """The share of a Join or a cycle is known where T is."""
    for schedule in (
        Join([Schedule(warmup_steps=5), Schedule()], [0.5]),
        Join([Schedule(), Schedule(hold_ratio=0.99)], [0.5]),
        Restarts(Schedule(warmup_steps=5), 2),
    ):
        for call in (
            lambda s=schedule: s(7, 10),
            lambda s=schedule: s(7, np.array([30, 10])),
            lambda s=schedule: s(2, 10),
            lambda s=schedule: s(np.arange(10), 10),
            lambda s=schedule: s(jnp.arange(10), 10),
            lambda s=schedule: jax.jit(lambda t: s(t, 10))(3),
        ):
            with pytest.raises(ValueError, match=r"^(warmup|hold)_.* must end before T, .*; got"):
                call()


BEYOND = [2**31, 2**40, 10**30, np.int64(2**31), np.array([100, 2**40])]


@pytest.mark.parametrize("function", FUNCTIONS, ids=name)
def test_counts_beyond_int32_in_jax(function):
    for value in BEYOND:
        refused(lambda value=value: function(jnp.int32(3), value), "T", value)
        refused(lambda value=value: function(value, jnp.int32(10)), "t", value)
        refused(lambda value=value: jax.jit(lambda t: function(t, value))(3), "T", value)
        refused(lambda value=value: jax.jit(lambda T: function(value, T))(10), "t", value)


@pytest.mark.parametrize("function", FUNCTIONS, ids=name)
def test_counts_below_int32_in_jax(function):
    for value in [-(2**31) - 1, -(2**40), -(10**30), np.int64(-(2**40)), np.array([5, -(2**40)])]:
        refused(lambda value=value: function(value, jnp.int32(10)), "t", value)
        refused(lambda value=value: jax.jit(lambda T: function(value, T))(10), "t", value)


@pytest.mark.parametrize(
    "schedule",
    [
        bind(rex, beta=jnp.float32(0.5)),
        bind(exponential, gamma=jnp.float32(2)),
        bind(every, steps=jnp.int32(7)),
        Schedule(peak_value=jnp.float32(0.1)),
        Schedule(bind(rex, beta=jnp.float32(0.5))),
        Restarts(Schedule(), 2, peak_mult=jnp.float32(0.5)),
    ],
    ids=name,
)
def test_counts_beyond_int32_with_a_parameter_in_jax(schedule):
    refused(lambda: schedule(5, 2**40), "T", 2**40)
    refused(lambda: schedule(2**40, 100), "t", 2**40)


def test_parameters_beyond_int32_in_jax():
    refused(lambda: every(jnp.int32(3), 10, steps=2**31), "steps", 2**31)
    refused(lambda: every(jnp.int32(3), 10, steps=np.int64(2**40)), "steps", 2**40)
    schedule = Schedule(warmup_steps=np.array([3, 2**40]))
    with pytest.raises(ValueError, match=r"^warmup_.* must (be|end before) .*; got"):
        jax.jit(lambda t, T: schedule(t, T))(3, 10)


@pytest.mark.parametrize(
    "call",
    [
        lambda: rex(jnp.int32(3), torch.tensor(10)),
        lambda: linear(torch.tensor(3), jnp.int32(10)),
        lambda: rex(torch.tensor(3), 10, beta=jnp.float32(0.5)),
        lambda: every(jnp.int32(3), 10, steps=torch.tensor(5)),
        lambda: Schedule(peak_value=torch.tensor(0.5))(jnp.int32(3), 10),
        lambda: Schedule(peak_value=torch.tensor(0.5), end_value=jnp.float32(0.1))(3, 10),
        lambda: Join([Schedule(peak_value=torch.tensor(0.5)), rex], [0.5])(jnp.int32(3), 10),
        lambda: Restarts(Schedule(), 2, peak_mult=torch.tensor(0.5))(jnp.int32(3), 10),
    ],
)
def test_libraries_do_not_mix(call):
    with pytest.raises(ValueError, match=r"one library.*; got .*jax.*torch|got .*torch.*jax") as e:
        call()
    assert type(e.value) is ValueError


# (call, regex of the message)
MISUSE = [
    (lambda: bind("rexx"), "function must be .*'rexx'"),
    (lambda: bind(None), "function must be .*None"),
    (lambda: bind(bind(rex, beta=0.1), beta=0.2), r"function must be .*bind\(rex, beta=0.1\)"),
    (lambda: bind(max), "function must be .*max"),
    (
        lambda: bind(every),
        r"steps must be given, as in bind\(every, steps=...\): an integer >= 1; got none",
    ),
    (lambda: Schedule(lambda: 1.0), r"profile must be a function of \(t, T\); got <function"),
    (lambda: Schedule(lambda t, T, x: 1.0), r"profile must be a function of \(t, T\); got"),
    (lambda: Join([every, rex], [0.5]), "schedules must "),
    (lambda: Join([Schedule, rex], [0.5]), r"schedules must be a function of \(t, T\)"),
    (lambda: bind(rex, power=2), "power must be a parameter of rex, which takes beta; got 2"),
    (lambda: bind(constant, x=1), "x must be a parameter of constant, which takes none; got 1"),
    (lambda: bind(rex, t=1), "t must be a parameter of rex"),
    (lambda: bind(rex, T=1), "T must be a parameter of rex"),
    (lambda: bind(step, milestones=[0.7, 0.3]), "milestones must be .*0.7"),
    (lambda: Schedule(bind(every, steps=3)), r"profile must not be a sampling; got .*every"),
    (lambda: Schedule(sampling=cosine), "sampling must not be a profile; got cosine"),
    (lambda: Schedule(warmup_profile=every_step), "warmup_profile must not be a sampling; got"),
    (lambda: Schedule(sampling=every), "sampling must be bound to a value of steps: .*got every"),
    (lambda: Schedule(Schedule), "profile must be .*got .*Schedule"),
    (lambda: Join(rex, [0.5]), "schedules must be .*<function rex"),
    (lambda: Join([rex, 1.0], [0.5]), "schedules must be .*1.0"),
    (lambda: Join("ab", [0.5]), "schedules must be .*'ab'"),
    (lambda: Join([rex, rex], [0.3, 0.6]), r"milestones must be 1, .*\[0.3, 0.6\]"),
    (lambda: Join([rex, rex, rex], [0.3]), r"milestones must be 2, .*\[0.3\]"),
    (lambda: Join([rex, rex], [1.0]), r"milestones must be .*\(0, 1\).*1.0"),
    (lambda: Join([rex], []), r"schedules must be 2 to 1000 functions of \(t, T\); got \["),
    (lambda: Join([rex, rex], []), r"milestones must be .*\[\]"),
    (lambda: Schedule(rex, Schedule()), r"sampling must not be a profile; got Schedule\(\)"),
    (lambda: rex_optax.as_schedule(every_step, 10), "schedule must not be a sampling; got every_"),
    (lambda: rex_optax.BudgetedSchedule(rex, np.array([5, 6])), "total_steps must be one integer"),
    (lambda: Join([], []), r"schedules must be 2 to 1000 functions of \(t, T\); got \[\]"),
    (
        lambda: Restarts(rex, 2, peak_mult=0.5),
        "schedule must be a Schedule where peak_mult is not 1; got <function rex",
    ),
    (
        lambda: Restarts(Join([rex, rex], [0.5]), 2, peak_mult=2),
        "schedule must be a Schedule where peak_mult is not 1; got Join",
    ),
    (lambda: Restarts(None, 2), r"schedule must be a function of \(t, T\); got None"),
    *(
        (
            lambda n=n: Restarts(Schedule(), n),
            rf"cycles must be an integer in \[1, 100\]; got {n!r}",
        )
        for n in (0, -1, 101, 2.0, 1.5, "2", None, True, NAN)
    ),
    *(
        (
            lambda m=m: Restarts(Schedule(), 2, period_mult=m),
            rf"period_mult must be in \[0\.01, 100\]; got {re.escape(repr(m))}",
        )
        for m in (0, -1, 0.009, 101, NAN, INF, "2", None, True, [2])
    ),
    *(
        (
            lambda m=m: Restarts(Schedule(), 2, peak_mult=m),
            f"peak_mult must be a finite number > 0; got {re.escape(repr(m))}",
        )
        for m in (0, -1, NAN, INF, "2", None, True, [2], np.array([1.0, 0.0]))
    ),
    *(
        (lambda b=b: demon(b), rf"init_value must be in \[0, 1\); got {re.escape(repr(b))}")
        for b in (1, 1.0, -0.1, NAN, "0.9", None, [0.9], np.array([0.9, 1.0]))
    ),
    *(
        (lambda p=p: one_cycle(p), f"peak_value must be a finite number; got {re.escape(repr(p))}")
        for p in (NAN, INF, "0.1", None, [0.1], True)
    ),
    (lambda: falling_momentum(momentum=1.0), r"momentum must be in \[0, 1\); got 1.0"),
    (lambda: falling_momentum(beta=1.0), r"beta must be .*; got 1.0"),
    (lambda: falling_momentum("0.1"), "peak_value must be a finite number; got '0.1'"),
    (lambda: falling_momentum(warmup_ratio=1.0), r"warmup_ratio must be in \[0, 1\); got 1.0"),
    (lambda: one_cycle(warmup_ratio=1.0), r"warmup_ratio must be in \[0, 1\); got 1.0"),
    (lambda: one_cycle(init_value="0"), "init_value must be a finite number; got '0'"),
    (lambda: one_cycle(end_value=INF), "end_value must be a finite number; got inf"),
    (lambda: one_cycle(profile="cos"), "profile must be .*'cos'"),
    (lambda: one_cycle(max_momentum=NAN), "max_momentum must be a finite number; got nan"),
    (lambda: one_cycle(min_momentum="0"), "min_momentum must be a finite number; got '0'"),
    (lambda: warmup_stable_decay(NAN), "peak_value must be a finite number; got nan"),
    *(
        (
            lambda p=p: warmup_stable_decay(warmup_ratio=p),
            rf"warmup_ratio must be .*in \[0, 1\).*; got {re.escape(repr(p))}",
        )
        for p in (1, -0.1, NAN, "0.1", [0.1], np.array([0.1, 1.0]))
    ),
    *(
        (
            lambda p=p: warmup_stable_decay(decay_ratio=p),
            rf"decay_ratio must be .*in \(0, 1\].*; got {re.escape(repr(p))}",
        )
        for p in (0, 1.1, -0.1, NAN, "0.1", [0.1], np.array([0.1, 0.0]))
    ),
    (
        lambda: warmup_stable_decay(warmup_ratio=0.5, decay_ratio=0.6),
        r"warmup_ratio \+ decay_ratio must be at most 1; got 0.5 \+ 0.6",
    ),
    (lambda: step_decay("0.1"), "peak_value must be a finite number; got '0.1'"),
    (lambda: step_decay(milestones=(0.7, 0.3)), r"milestones must be .*\(0.7, 0.3\)"),
    (lambda: step_decay(milestones=0.5), "milestones must be .*0.5"),
    (lambda: step_decay(factor=-1), r"factor must be in \[0, 1\]; got -1"),
    (lambda: delayed_linear(None), "peak_value must be a finite number; got None"),
    *(
        (
            lambda p=p: delayed_linear(delay=p),
            rf"delay must be in \[0, 1\); got {re.escape(repr(p))}",
        )
        for p in (1, 1.0, -0.1, NAN, None, True)
    ),
    *(
        (
            lambda n=n, make=make: make(Schedule(), n),
            rf"total_steps must be an integer in \[1, 2147483647\]; got {re.escape(repr(n))}",
        )
        for n in (0, -1, 1.5, 2**31, 10**400, NAN, INF, "10", None, True, np.float64(INF), [10])
        for make in (rex_optax.as_schedule, rex_optax.BudgetedSchedule)
    ),
    *(
        (lambda s=s, make=make: make(s, 10), "schedule must be .*; got ")
        for s in (0.1, "rexx", None, [rex])
        for make in (rex_optax.as_schedule, rex_optax.BudgetedSchedule)
    ),
    *(
        (
            lambda make=make: make(Schedule(warmup_steps=10), 10),
            "warmup_.* must end before T, .*; got",
        )
        for make in (rex_optax.as_schedule, rex_optax.BudgetedSchedule)
    ),
]


@pytest.mark.parametrize(("call", "message"), [pytest.param(*case, id=case[1]) for case in MISUSE])
def test_misuse(call, message):
    with pytest.raises(ValueError, match=rf"(?s)^{message}") as error:
        call()
    assert type(error.value) is ValueError
