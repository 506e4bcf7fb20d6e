"""A fuzzer: random values of every kind, at random t and T, good and bad.

Set REX_FUZZ_EXAMPLES for a longer run; ``make fuzz`` does.
"""

import json
import math
import os
import pickle
import re
from functools import partial

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rex_core
from rex_core import (
    Clamp,
    Join,
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
    every_step,
    exponential,
    from_dict,
    geometric,
    interpolate,
    inverse_sqrt,
    linear,
    logarithmic,
    one_minus_sqrt,
    polynomial,
    rex,
    step,
    tanh,
    to_dict,
)

EXAMPLES = int(os.environ.get("REX_FUZZ_EXAMPLES", "200"))
LONG = EXAMPLES > 200
fuzzed = settings(
    max_examples=EXAMPLES,
    derandomize=not LONG,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

# Every error is one line about one argument. Several are named where they clash.
REFUSED = re.compile(
    r"^([\w.'\[\]]+( [\w+]+)*|the (depth|size) of nested values) must .+; got .*$", re.DOTALL
)


def tried(call):
    """What the call gives, or None if it refuses in the form of all refusals."""
    try:
        return call()
    except ValueError as error:
        refusal = error
    assert type(refusal) is ValueError
    assert REFUSED.match(str(refusal)), str(refusal)
    assert len(str(refusal)) < 3000
    return None


def number(low, high):
    return st.floats(low, high, allow_subnormal=False)


SHARES = st.integers(1, 99).map(lambda n: n / 100) | number(1e-6, 0.999) | st.just(1 / 3)
PLACES = SHARES | st.integers(1, 60) | st.integers(-60, -1)
MILESTONES = st.lists(PLACES, min_size=1, max_size=4, unique=True).map(
    lambda places: tuple(sorted(places, key=lambda p: (isinstance(p, int), p)))
)
POWERS = number(0.1, 6) | st.sampled_from([0.5, 1, 2, 1e-3, 1e6, 1e30])

# Those that fall from 1 to an end that is not below 0.
FALLING = st.one_of(
    st.sampled_from([rex, linear, cosine, exponential, polynomial, one_minus_sqrt]),
    st.sampled_from([logarithmic, step, constant]),
    st.builds(lambda b: bind(rex, beta=b), number(-1e30, 0.999) | number(-10, 0.999)),
    st.builds(lambda g: bind(exponential, gamma=g), number(0, 20) | number(0, 1e30)),
    st.builds(lambda p, k: bind(polynomial, power=p, k=k), POWERS, number(1e-3, 1e3)),
    st.builds(lambda p, k: bind(cosine, power=p, k=k), POWERS, number(1e-3, 1e3)),
    st.builds(lambda r: bind(geometric, ratio=r), number(1e-30, 1)),
    st.builds(lambda s: bind(inverse_sqrt, timescale=s), number(1e-30, 1e30) | number(1, 1e4)),
    st.builds(lambda m, f: bind(step, milestones=m, factor=f), MILESTONES, number(0, 1)),
    st.builds(
        lambda low, rise: bind(tanh, lower=low, upper=min(low + rise, 40)),
        number(-40, 40),
        number(0, 80),
    ),
    st.lists(number(0, 1), min_size=1, max_size=9).map(
        lambda values: bind(interpolate, values=(1.0, *sorted(values, reverse=True)))
    ),
)
RISING = st.one_of(
    st.builds(lambda r: bind(geometric, ratio=r), number(1, 1e30)),
    st.lists(number(-1e30, 1e30), min_size=2, max_size=9).map(
        lambda values: bind(interpolate, values=values)
    ),
)
SAMPLINGS = st.one_of(
    st.just(every_step),
    st.builds(lambda s: bind(every, steps=s), st.integers(1, 200) | st.integers(1, 10**12)),
    st.builds(lambda p: bind(every_fraction, fraction=p), SHARES),
    st.builds(lambda m: bind(at, milestones=m), MILESTONES),
)
STEPS = st.integers(0, 60) | number(0, 60) | st.integers(0, 10**6)
WARMUPS = st.one_of(
    st.just({}),
    STEPS.map(lambda n: {"warmup_steps": n}),
    SHARES.map(lambda p: {"warmup_ratio": p}),
)
HOLDS = st.one_of(
    st.just({}),
    STEPS.map(lambda n: {"hold_steps": n}),
    SHARES.map(lambda p: {"hold_ratio": p}),
    STEPS.map(lambda n: {"decay_steps": n}),
    SHARES.map(lambda p: {"decay_ratio": p}),
)


@st.composite
def schedules(draw, profiles, numbers):
    return tried(
        lambda: Schedule(
            draw(profiles),
            draw(SAMPLINGS),
            peak_value=draw(numbers),
            end_value=draw(numbers),
            init_value=draw(numbers),
            warmup_profile=draw(profiles),
            **draw(WARMUPS),
            **draw(HOLDS),
        )
    ) or Schedule(draw(profiles))


@st.composite
def compositions(draw, inner):
    """One value around others; where the settings are refused, a simpler one."""
    kind = draw(st.sampled_from([Join, Restarts, Replan, Product, Clamp]))
    value = draw(inner)
    if kind is Join:
        milestones = draw(MILESTONES)
        parts = [value, *(draw(inner) for _ in milestones)]
        local = draw(st.booleans())
        made = tried(lambda: Join(parts, milestones, local=local))
    elif kind is Restarts:
        cycles, ratio = draw(st.integers(1, 100)), draw(number(0.01, 100) | st.sampled_from([1, 2]))
        peak_mult = draw(st.just(1) | number(0.01, 2))
        made = tried(lambda: Restarts(value, cycles, period_mult=ratio, peak_mult=peak_mult))
    elif kind is Replan:
        t0, T0 = draw(STEPS), draw(st.integers(1, 200) | number(0.5, 200) | st.integers(1, 2**31))
        made = tried(lambda: Replan(value, t0, T0, decay_now=draw(st.booleans())))
    elif kind is Product:
        made = Product([value, draw(inner)])
    else:
        least, most = draw(st.none() | number(-1, 1)), draw(st.none() | number(-1, 1))
        made = tried(lambda: Clamp(value, least=least, most=most))
    return Clamp(value, least=-1e300) if made is None else made


def nested(profiles, numbers):
    """Values up to 3 deep, around bound profiles."""
    first = profiles | schedules(profiles, numbers)
    second = schedules(first, numbers) | compositions(first)
    return st.one_of(first, second, schedules(second, numbers), compositions(second))


VALUES = nested(FALLING | RISING, st.sampled_from([0, 1]) | number(-10, 10))
BUDGETS = st.integers(1, 300) | st.integers(1, 2**31 - 1) | number(0.5, 1e6)


@st.composite
def moments(draw):
    """(t, T) near its ends, inside, and outside."""
    T = draw(BUDGETS)
    t = draw(st.sampled_from([-1, 0, 1, T // 2, T - 1, T, T + 1, 10 * T]) | number(-10, 1.1 * T))
    return t, T


BAD = st.sampled_from(
    [
        *("3", "", None, [], [3], (), {}, True, 1j, object(), len, math.nan, math.inf, -math.inf),
        *(0, -1, 0.0, -0.5, 1e-320, 10**400, -(10**400), 2**63, 1e308, -1e308),
        *(np.float16(math.inf), np.array([]), np.array([None]), np.array(["3"]), np.array([1j])),
        *(np.datetime64("2020-01-01"), np.zeros(2, "V4"), np.array([True]), np.bool_(True)),
        *(np.int64(-5), np.array([3, math.nan]), np.uint64(2**64 - 1), np.longdouble("1e4000")),
    ]
)
KINDS = st.sampled_from(
    [
        *(np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64),
        *(np.float16, np.float32, np.float64, np.longdouble, ">i4", ">f8", np.array),
    ]
)


def of_kind(kind, value):
    """The value in a NumPy dtype, if that holds it."""
    if kind is np.array:
        return np.array([value, value])
    with np.errstate(all="ignore"):
        try:
            found = np.asarray(value).astype(kind)[()]
        except (OverflowError, ValueError):
            return value
    return found if np.isfinite(found) and found == value else value


@given(VALUES, moments(), KINDS, KINDS)
@fuzzed
def test_a_finite_float_or_a_refusal(value, moment, t_kind, T_kind):
    t, T = moment
    found = tried(lambda: value(t, T))
    if found is not None:
        assert type(found) is float
        assert math.isfinite(found)
    for times in [(of_kind(t_kind, t), T), (t, of_kind(T_kind, T))]:
        array = tried(lambda times=times: value(*times))
        if array is not None:
            assert np.all(np.isfinite(np.asarray(array, np.float64)))


@given(VALUES, moments(), BAD, BAD)
@fuzzed
def test_bad_times_are_refused(value, moment, bad, other):
    """Or have a value, where they are not that bad: an integer beyond every dtype, say."""
    t, T = moment
    for times in [(bad, T), (t, bad), (bad, other)]:
        found = tried(lambda times=times: value(*times))
        if found is not None:
            assert np.all(np.isfinite(np.asarray(found, np.float64)))


@given(nested(FALLING, number(0, 1)), moments())
@fuzzed
def test_between_the_bounds_of_its_parts(value, moment):
    """Of parts in [0, 1] that fall, nothing leaves [0, 1] but peaks that a Restarts raises."""
    found = tried(lambda: value(*moment))
    if found is not None:
        raised = re.search(r"peak_mult=[12](\.|\b)", repr(value)) or "most=-" in repr(value)
        low = -1e300 if "Clamp" in repr(value) else 0.0
        high = 1e300 if raised or "Clamp" in repr(value) else 1.0 + 1e-12
        assert low <= found <= high


@given(nested(FALLING, st.sampled_from([0.25, 0.5, 1.0])), moments(), number(0, 10), number(0, 1))
@fuzzed
def test_a_schedule_is_between_its_values(profile, moment, peak, share):
    assumed = Schedule(profile, peak_value=peak, end_value=share * peak)
    found = tried(lambda: assumed(*moment))
    factor = tried(lambda: profile(*moment))
    assert (found is None) == (factor is None)
    if found is not None and 0 <= factor <= 1:
        slack = 1e-12 * peak
        assert share * peak - slack <= found <= peak + slack


@given(VALUES, st.lists(moments(), min_size=1, max_size=5))
@fuzzed
def test_round_trips(value, times):
    written = json.dumps(to_dict(value), allow_nan=False)
    for again in (pickle.loads(pickle.dumps(value)), from_dict(json.loads(written))):
        assert again == value
        assert hash(again) == hash(value)
        for t, T in times:
            assert tried(partial(again, t, T)) == tried(partial(value, t, T))
    if not callable(getattr(value, "door", None)) and not hasattr(value, "__name__"):
        assert repr(eval(repr(value), vars(rex_core).copy())) == repr(value)


@given(VALUES, st.integers(1, 300) | st.integers(1, 2**31 - 1), st.data())
@fuzzed
def test_arrays_agree_with_numbers(value, T, data):
    """Integers: a boundary that two roundings of a float put on two sides is no fault."""
    near = st.sampled_from([-1, 0, 1, T // 3, T // 2, T - 1, T, T + 1])
    steps = data.draw(st.lists(near | st.integers(-5, T + 5), min_size=1, max_size=6))
    numbers = [tried(lambda t=t: value(t, T)) for t in steps]
    array = tried(lambda: value(np.array(steps), T))
    single = [tried(lambda t=t: value(np.int64(t), T)) for t in steps]
    if array is None or None in single:
        # An array is refused as a whole: of a Join, it reads the parts that are not in force.
        return
    assert None not in numbers
    # Far from 1, a product of many factors, or γ = 1e30, multiplies an ulp.
    scale = max(map(abs, numbers)) + 1e-300
    np.testing.assert_allclose(array, numbers, rtol=1e-9, atol=1e-12 * scale)
    np.testing.assert_allclose(single, numbers, rtol=1e-9, atol=1e-12 * scale)


@given(
    st.sampled_from(
        [
            rex,
            cosine,
            polynomial,
            exponential,
            geometric,
            inverse_sqrt,
            tanh,
            step,
            interpolate,
            every,
            every_fraction,
            at,
        ]
    ),
    st.data(),
)
@fuzzed
def test_bad_parameters_are_refused(function, data):
    parameter = data.draw(st.sampled_from(sorted(function.door.declared)))
    bad = data.draw(BAD)
    bound = tried(lambda: bind(function, **{parameter: bad}))
    called = tried(lambda: function(3, 10, **{parameter: bad}))
    if bound is not None and called is not None:
        found = tried(lambda: bound(3, 10))
        assert np.all(np.isfinite(np.asarray(found, np.float64)))


@given(
    st.sampled_from(["Schedule", "Join", "Restarts", "Replan", "Product", "Clamp", "Plateau"]),
    st.data(),
)
@fuzzed
def test_bad_fields_are_refused(kind, data):
    kinds = {
        "Schedule": lambda **fields: Schedule(**fields),
        "Join": lambda **fields: Join(**{"schedules": [rex, rex], "milestones": [0.5]} | fields),
        "Restarts": lambda **fields: Restarts(**{"schedule": Schedule(), "cycles": 3} | fields),
        "Replan": lambda **fields: Replan(**{"schedule": Schedule(), "t0": 3, "T0": 10} | fields),
        "Product": lambda **fields: Product(**{"schedules": [rex, rex]} | fields),
        "Clamp": lambda **fields: Clamp(**{"schedule": rex, "least": 0.1} | fields),
        "Plateau": lambda **fields: rex_core.Plateau(**fields),
    }
    field = data.draw(st.sampled_from(getattr(rex_core, kind).fields))
    bad = data.draw(BAD)
    made = tried(lambda: kinds[kind](**{field: bad}))
    if callable(made) and bad is not len:  # A function of another kind fails as it does.
        found = tried(lambda: made(5, 20))
        if found is not None:
            assert np.all(np.isfinite(np.asarray(found, np.float64)))
    if made is not None:
        assert made == pickle.loads(pickle.dumps(made))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | number(-2, 2) | st.sampled_from(
        ["rex", "linear", "Schedule", "Join", "demon", "one_cycle", "every", "x", ""]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["type", "function", "params", "preset", "version", "profile", "sampling", "rex",
             "beta", "schedules", "milestones", "schedule", "cycles", "peak_value", "t0", "T0",
             "least", "warmup_steps", "decay_ratio", "values"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN)
@fuzzed
def test_hostile_dictionaries_are_refused(data):
    made = tried(lambda: from_dict(data))
    if made is not None:
        assert from_dict(json.loads(json.dumps(to_dict(made)))) == made
