"""What holds for every profile, sampling and schedule, drawn at random."""

import json
import pickle
from fractions import Fraction

import jax
import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

import rex_core
from rex_core import (
    Join,
    Replan,
    Restarts,
    Schedule,
    at,
    bind,
    constant,
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
from tests.core.cases import LARGEST

# Decimals and rationals, as people write them: (the float, what it means).
PERCENTS = st.integers(1, 99).map(lambda n: Fraction(n, 100))
DECIMALS = st.integers(1, 10**6 - 1).map(lambda n: Fraction(n, 10**6))
RATIONALS = st.integers(2, 1000).flatmap(
    lambda d: st.integers(1, d - 1).map(lambda n: Fraction(n, d))
)
FRACTIONS = PERCENTS | DECIMALS | RATIONALS
INCREASING = st.lists(FRACTIONS, min_size=1, max_size=4, unique=True).map(sorted)
BUDGETS = st.integers(1, 100) | st.integers(1, LARGEST)


def number(low, high):
    return st.floats(low, high, allow_subnormal=False)


def floats(fractions):
    return tuple(float(p) for p in fractions)


PROFILES = st.one_of(
    st.sampled_from([rex, linear, cosine, exponential, polynomial, one_minus_sqrt, step, constant]),
    st.builds(lambda b: bind(rex, beta=b), number(-100, 0.999)),
    st.builds(lambda g: bind(exponential, gamma=g), number(0, 20)),
    st.builds(lambda p: bind(polynomial, power=p), number(0.1, 5)),
    st.builds(
        lambda m, f: bind(step, milestones=floats(m), factor=f), INCREASING, number(0.0, 1.0)
    ),
)
SAMPLINGS = st.one_of(
    st.just(every_step),
    st.builds(lambda s: bind(every, steps=s), st.integers(1, 1000)),
    st.builds(lambda p: bind(every_fraction, fraction=float(p)), FRACTIONS),
    st.builds(lambda ps: bind(at, milestones=floats(ps)), INCREASING),
)
# Of 100 steps or more, at least one is left for the decay.
SCHEDULES = st.one_of(
    st.builds(
        lambda ratio, **settings: Schedule(warmup_ratio=ratio, **settings),
        st.integers(0, 45).map(lambda n: n / 100),
        profile=PROFILES,
        sampling=SAMPLINGS,
        warmup_profile=PROFILES,
        peak_value=number(-10, 10),
        end_value=number(-10, 10),
        init_value=number(-10, 10),
        hold_ratio=st.integers(0, 45).map(lambda n: n / 100),
    ),
    st.builds(
        Schedule,
        PROFILES,
        SAMPLINGS,
        peak_value=number(-10, 10),
        warmup_steps=st.integers(0, 40) | number(1, 40),
        hold_ratio=st.sampled_from([0.0, 0.1, 0.5]),
    ),
)
LONG = st.integers(100, 1000) | st.integers(100, LARGEST)
SETTINGS = Schedule(warmup_ratio=0.1), Schedule(cosine, hold_ratio=0.5, peak_value=2), rex
PARTS = st.sampled_from(SETTINGS) | PROFILES
JOINS = INCREASING.flatmap(
    lambda fractions: st.builds(
        lambda parts: Join(parts, floats(fractions)),
        st.lists(PARTS, min_size=len(fractions) + 1, max_size=len(fractions) + 1),
    )
)
RESTARTS = st.builds(
    Restarts,
    st.builds(Schedule, PROFILES, SAMPLINGS, peak_value=number(0.1, 10)),
    st.integers(1, 5),
    period_mult=st.sampled_from([1, 2, 1.5, 0.5]),
    peak_mult=number(0.1, 2),
)
# Of the budgets that are tried, T among them, none is over at t0.
REPLANS = st.builds(
    Replan, PROFILES | SCHEDULES | JOINS | RESTARTS, st.integers(0, 99), st.integers(100, 1000)
)
VALUES = st.one_of(PROFILES, SAMPLINGS, SCHEDULES, JOINS, RESTARTS, REPLANS)


def ordered(times):
    return st.lists(times, min_size=2, max_size=30).map(sorted)


@given(PROFILES, BUDGETS, st.data())
def test_profiles_fall_from_1_and_stay_in_range(profile, T, data):
    """An ulp of 1 at most up, where two steps are closer than the digits of their values."""
    steps = data.draw(ordered(st.integers(-5, T + 5)))
    for values in ([profile(t, T) for t in steps], profile(np.array(steps), T)):
        values = np.array([profile(0, T), *values, profile(T, T)])
        assert values[0] == 1
        assert np.all((values >= 0) & (values <= 1))
        assert np.all(np.diff(values) <= 3e-16)


@given(SCHEDULES, LONG, st.data())
def test_schedules_stay_between_their_values(schedule, T, data):
    steps = data.draw(ordered(st.integers(-5, T + 5)))
    numbers = schedule.peak_value, schedule.end_value
    if schedule.warmup_steps or schedule.warmup_ratio:
        numbers += (schedule.init_value,)
    slack = 1e-15 * max(map(abs, numbers))
    for values in ([schedule(t, T) for t in steps], schedule(np.array(steps), T)):
        assert np.all(np.array(values) >= min(numbers) - slack)
        assert np.all(np.array(values) <= max(numbers) + slack)


@given(PROFILES, SAMPLINGS, number(0, 10), number(0, 1), st.integers(0, 50), LONG, st.data())
def test_a_decay_falls_and_a_warmup_rises(profile, sampling, peak, share, warmup, T, data):
    schedule = Schedule(
        profile, sampling, peak_value=peak, end_value=share * peak, warmup_steps=warmup
    )
    rising = [schedule(t, T) for t in range(-1, warmup + 1)]
    steps = data.draw(ordered(st.integers(warmup, T + 5)))
    falling = [schedule(t, T) for t in steps]
    assert np.all(np.diff(rising) >= -3e-16 * peak)
    assert np.all(np.diff(falling) <= 3e-16 * peak)


@given(FRACTIONS, BUDGETS, st.data())
def test_every_fraction_reads_at_its_boundaries(p, T, data):
    """t' <= t, and is ⌈k·p·T⌉ for the last k that fits."""
    t = data.draw(st.integers(0, T) | st.integers(0, int(1 / p)).map(lambda k: int(k * p * T)))
    k = Fraction(t) // (p * T)
    expected = -(-k * p * T // 1)
    assert expected <= t < -(-(k + 1) * p * T // 1)
    for steps in (t, np.int64(t), np.array([t])):
        assert every_fraction(steps, T, fraction=float(p)) == expected


@given(INCREASING, BUDGETS, st.data())
def test_at_reads_at_its_boundaries(fractions, T, data):
    moments = [0, *(-(-p * T // 1) for p in fractions)]
    near = st.sampled_from(moments).flatmap(lambda m: st.integers(max(0, m - 1), min(T, m + 1)))
    t = data.draw(st.integers(0, T) | near)
    expected = max(moment for moment in moments if moment <= t)
    for steps in (t, np.int64(t), np.array([t])):
        assert at(steps, T, milestones=floats(fractions)) == expected


@given(SAMPLINGS, BUDGETS, st.data())
def test_reads_are_held(sampling, T, data):
    """t' never falls, is never later than t, and reading what was read changes nothing."""
    steps = data.draw(ordered(st.integers(0, T)))
    reads = [sampling(t, T) for t in steps]
    assert all(read <= t for read, t in zip(reads, steps, strict=True))
    assert reads == sorted(reads)
    assert [sampling(read, T) for read in reads] == reads
    assert sampling is every_step or sampling(2 * T + 1, T) == sampling(T, T)
    assert sampling(np.array(steps), T).tolist() == reads


@given(VALUES, LONG, st.data())
def test_a_vector_is_the_map_of_its_scalars(value, T, data):
    """NumPy may round a sine, an exponential or a power another way than Python."""
    assume(not isinstance(outcome(value, 0, T), str))
    assume(not isinstance(outcome(value, 0, T + 1), str))
    steps = data.draw(ordered(st.integers(-5, T + 5)))
    scalars = [value(t, T) for t in steps]
    np.testing.assert_allclose(value(np.array(steps), T), scalars, rtol=1e-14, atol=1e-15)
    columns = value(np.array(steps)[:, None], np.array([T, T + 1]))
    np.testing.assert_allclose(columns[:, 0], scalars, rtol=1e-14, atol=1e-15)


@jax.jit
def sweep(t, T, beta, peak, end, init, warmup):
    return Schedule(
        bind(rex, beta=beta),
        bind(every, steps=3),
        peak_value=peak,
        end_value=end,
        init_value=init,
        warmup_steps=warmup,
    )(t, T)


SINGLES = st.floats(2.0**-10, 8, width=32)


@given(
    st.floats(-8, 0.875, width=32), SINGLES, SINGLES, SINGLES, st.integers(0, 60), LONG, st.data()
)
def test_float32_is_as_exact_as_promised(beta, peak, end, init, warmup, T, data):
    """4 ulp of the factor, and 3 roundings from there to the value, of positive terms.

    From a peak down, that is: 1 - factor, the share of the end, has only the digits of 1.
    """
    peak, end, init = max(peak, end, init), min(peak, end), min(peak, init)
    steps = data.draw(st.lists(st.integers(-5, T), min_size=8, max_size=8))
    values = sweep(np.array(steps, np.int32), np.int32(T), beta, peak, end, init, warmup)
    schedule = Schedule(
        bind(rex, beta=beta),
        bind(every, steps=3),
        peak_value=peak,
        end_value=end,
        init_value=init,
        warmup_steps=warmup,
    )
    exact = np.array([schedule(t, T) for t in steps])
    assert values.dtype == np.float32
    assert np.all(np.abs(np.asarray(values) - exact) <= 7 * np.spacing(exact.astype(np.float32)))


def outcome(value, t=30, T=100):
    try:
        return value(t, T)
    except ValueError as error:  # A share of the budget too short for a warmup.
        return str(error)


@given(VALUES)
def test_values_survive_pickle_json_and_repr(value):
    written = getattr(value, "__name__", None) or repr(value)  # Unbound functions have a name.
    for again in (
        pickle.loads(pickle.dumps(value)),
        from_dict(json.loads(json.dumps(to_dict(value)))),
        eval(written, vars(rex_core).copy()),
    ):
        assert again == value
        assert hash(again) == hash(value)
        assert outcome(again) == outcome(value)


@given(VALUES, VALUES)
def test_equality_is_that_of_the_written_form(one, other):
    same = to_dict(one) == to_dict(other)
    assert (one == other) == same
    if same:
        assert hash(one) == hash(other)
    assert one == one
