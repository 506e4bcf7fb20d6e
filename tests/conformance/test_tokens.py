"""t and T as tokens: counts beyond 2^31, and beyond 2^63 in Python, against exact arithmetic."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch

import rex_core
from rex_core import Schedule, bind
from tests.conformance import reference
from tests.conformance.test_values import PROFILES, SAMPLINGS, name

# Of tokens there are trillions; the others are where a float64, an int64 or both no longer fit.
WIDE = [2**31, 3 * 10**11, 15 * 10**12 + 1, 2**53 + 1, 2**62 - 1, 2**63 - 1]
BEYOND = [2**63, 2**64 + 1, 10**21 + 7, 10**30 + 3]

SCHEDULES = [
    Schedule(peak_value=0.5, end_value=0.125, warmup_steps=10**9),
    Schedule(bind(rex_core.rex, beta=0.9), init_value=0.25, warmup_ratio=1 / 3),
    Schedule(rex_core.cosine, warmup_ratio=0.1, warmup_profile=rex_core.cosine),
    Schedule(rex_core.one_minus_sqrt, warmup_ratio=0.02, hold_ratio=0.78),
    Schedule(rex_core.linear, bind(rex_core.every_fraction, fraction=0.05), warmup_ratio=0.3),
    Schedule(rex_core.step, bind(rex_core.every, steps=2**20), peak_value=3, warmup_steps=12345),
]
# Peak and floor, their products and the sum are rounded as well.
ROUNDED = 8 + 4


def bound_of(case):
    function, params, *_ = case
    return bind(getattr(rex_core, function), **params)


def jax_x64(function):
    """Compiled once, for every budget."""
    compiled = jax.jit(function)

    def call(steps, T):
        with jax.enable_x64(True):
            return compiled(jnp.asarray(steps), T)

    return call


def backends(function):
    """How each library that has integers of 64 bits evaluates a function at some steps."""
    return {
        "numpy": lambda steps, T: function(np.array(steps), T),
        "numpy, T too": lambda steps, T: function(np.array(steps), np.int64(T)),
        "jax, x64": jax_x64(function),
        "torch": lambda steps, T: function(torch.tensor(steps), T),
        "torch, T too": lambda steps, T: function(torch.tensor(steps), torch.tensor(T)),
    }


def steps_of(T):
    """Around the ends of the budget and some of its fractions; as many for every T."""
    moments = [0, T, *(math.ceil(p * T) for p in map(Fraction, ("1/3", "1/2", "3/4", "0.3")))]
    near = [moment + offset for moment in moments for offset in (-1, 0, 1)]
    return [min(max(t, 0), T) for t in [*near, T - 1000, T - 10**6, T // 7, T // 97 * 96]]


def exact_value(function, t, T):
    base, params = getattr(function, "function", function), getattr(function, "params", {})
    return getattr(reference, base.__name__)(t, T, **params)


def exact_schedule(schedule, t, T):
    warmup_share = Fraction(schedule.warmup_ratio).limit_denominator(1000)
    hold_share = Fraction(schedule.hold_ratio).limit_denominator(1000)
    warmup = schedule.warmup_steps + math.ceil(warmup_share * T)
    start = schedule.warmup_steps + math.ceil((warmup_share + hold_share) * T)
    peak, floor = mpmath.mpf(schedule.peak_value), mpmath.mpf(schedule.end_value)
    if t < warmup:
        floor = mpmath.mpf(schedule.init_value)
        factor = exact_value(schedule.warmup_profile, warmup - t, warmup)
    else:
        t, T = max(t - start, 0), T - start
        factor = exact_value(schedule.profile, exact_value(schedule.sampling, t, T), T)
    return floor + (peak - floor) * factor


@pytest.mark.parametrize("case", PROFILES, ids=name)
def test_profiles_in_python(case):
    profile, bound = bound_of(case), case[-1]
    with mpmath.workdps(200):
        for T in WIDE + BEYOND:
            exact = [exact_value(profile, t, T) for t in steps_of(T)]
            values = [profile(t, T) for t in steps_of(T)]
            assert all(type(value) is float for value in values)
            assert np.max(reference.ulps(values, exact)) <= bound, T


@pytest.mark.parametrize("case", SAMPLINGS, ids=name)
def test_samplings_in_python(case):
    sampling = bound_of(case)
    for T in WIDE + BEYOND:
        reads = [sampling(t, T) for t in steps_of(T)]
        assert reads == [exact_value(sampling, t, T) for t in steps_of(T)]
        assert all(type(read) is int for read in reads)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_schedules_in_python(schedule):
    with mpmath.workdps(200):
        for T in WIDE + BEYOND:
            steps = steps_of(T)
            values = [schedule(t, T) for t in steps]
            exact = [exact_schedule(schedule, t, T) for t in steps]
            assert np.max(reference.ulps(values, exact)) <= ROUNDED, T


def test_joins_and_restarts_begin_at_exact_steps():
    join = rex_core.Join([Schedule(rex_core.constant), rex_core.step], [1 / 3])
    restarts = rex_core.Restarts(Schedule(rex_core.constant), 2, period_mult=2, peak_mult=0.5)
    begins = Schedule(rex_core.linear, hold_ratio=1 / 3)
    for T in WIDE + BEYOND:
        begin = -(-T // 3)
        steps = [begin - 1, begin, begin + 1]
        assert [restarts(t, T) for t in steps] == [1, 0.5, 0.5]
        milestone = begin + math.ceil(Fraction(T - begin, 2))
        assert [join(t, T) for t in (milestone - 1, milestone)] == [1, 0.1]
        assert begins(T - 1, T) == 1 / (T - begin)
        if T in WIDE:
            assert restarts(np.array(steps), T).tolist() == [1, 0.5, 0.5]
            assert join(torch.tensor([milestone - 1, milestone]), T).tolist() == [
                1,
                np.float32(0.1),
            ]


@pytest.mark.parametrize("T", BEYOND)
def test_beyond_64_bits_arrays_are_refused(T):
    for function in (rex_core.rex, rex_core.every_step, SCHEDULES[1]):
        for steps in (np.array([3]), np.int64(3), torch.tensor([3])):
            with pytest.raises(ValueError, match=rf"^T must be in \[1, 9\.\d+e\+18\] .* got {T}"):
                function(steps, T)
        with jax.enable_x64(True), pytest.raises(ValueError, match=rf"^T must be .* got {T}"):
            jax.jit(lambda t, function=function: function(t, T))(3)


@pytest.mark.long
def test_arrays_of_64_bits():
    """To the bounds in the dtype of the result: float32 in PyTorch, whatever the integers."""
    samplings = {name(case): bound_of(case) for case in SAMPLINGS}
    profiles = {name(case): bound_of(case) for case in PROFILES}
    schedules = {str(schedule): schedule for schedule in SCHEDULES}
    bounds = {name(case): case[-1] for case in PROFILES} | dict.fromkeys(schedules, ROUNDED)
    functions = samplings | profiles | schedules
    libraries = backends(lambda t, T: {key: f(t, T) for key, f in functions.items()})
    with mpmath.workdps(200):
        for T in WIDE:
            steps = steps_of(T)
            exact = {
                key: [(exact_schedule if key in schedules else exact_value)(f, t, T) for t in steps]
                for key, f in functions.items()
            }
            for library, evaluate in libraries.items():
                for key, values in evaluate(steps, T).items():
                    about = f"{key} in {library} at T = {T}"
                    if key in samplings:
                        assert values.tolist() == exact[key], about
                    else:
                        assert np.max(reference.ulps(values, exact[key])) <= bounds[key], about
