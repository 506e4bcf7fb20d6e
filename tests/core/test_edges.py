"""Edges that a reader of the core has found: each case is one of a kind."""

import warnings
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
    every_fraction,
    from_dict,
    interpolate,
    inverse_sqrt,
    linear,
    noam,
    one_cycle,
    range_test,
    rex,
    step,
    to_dict,
)


@pytest.mark.parametrize(
    "make",
    [
        lambda share: Schedule(linear, warmup_ratio=share),
        lambda share: Schedule(linear, hold_ratio=share),
        lambda share: Schedule(linear, decay_ratio=share),
        lambda share: bind(every_fraction, fraction=share),
    ],
)
def test_equal_values_compute_the_same(make):
    """A short float of NumPy's is the decimal that was meant, before and after a dictionary."""
    value = make(np.float32(0.1))
    assert value == make(0.1) == from_dict(to_dict(value))
    assert [value(t, 10) for t in range(11)] == [make(0.1)(t, 10) for t in range(11)]


@pytest.mark.parametrize(
    "value",
    [
        bind(interpolate, values=[float(i) for i in range(100_000)]),
        Join([Schedule(peak_value=1 + i) for i in range(1000)], [i / 1000 for i in range(1, 1000)]),
    ],
    ids=["a table", "a join"],
)
def test_what_is_written_is_read(value):
    assert from_dict(to_dict(value)) == value


def test_a_table_in_one_compiled_graph():
    profile = bind(interpolate, values=(1.0, 0.7, 0.0))
    compiled = torch.compile(lambda t, T: profile(t, T), fullgraph=True, backend="eager")
    t, T = torch.arange(11), torch.tensor(10)
    torch.testing.assert_close(compiled(t, T), profile(t, T))


def test_the_smallest_timescale_is_a_normal_float():
    assert inverse_sqrt(jnp.int32(0), 10, timescale=1e-30) == 1
    assert inverse_sqrt(jnp.int32(1), 10, timescale=1e-30) > 0
    with pytest.raises(ValueError, match=r"timescale must be in \[1e-30, 1e30\]; got 1e-40"):
        inverse_sqrt(0, 10, timescale=1e-40)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(Schedule(linear, hold_steps=50), warmup_steps=10),
        Schedule(Restarts(Schedule(linear, hold_ratio=0.5), 2), warmup_steps=10),
    ],
)
def test_decay_now_finds_a_hold_however_deep(schedule):
    with pytest.raises(ValueError, match="schedule must have no hold within its profile"):
        Replan(schedule, 30, 100, decay_now=True)(35, 40)


def test_an_array_that_is_changed_changes_no_value():
    ratios = np.array([0.1, 0.2])
    schedule = Schedule(linear, warmup_ratio=ratios)
    before, values = hash(schedule), schedule(3, 10)
    ratios[:] = 0.5
    assert hash(schedule) == before
    np.testing.assert_array_equal(schedule(3, 10), values)


def test_a_subclass_is_its_own():
    class Mine(Schedule):
        def __call__(self, t, T):
            return 99.0

    assert Mine()(1, 10) == 99
    assert Schedule()(0, 10) == 1

    namesake = type("Schedule", (Schedule,), {})
    assert namesake()(5, 10) == Schedule()(5, 10)
    assert type(from_dict({"profile": "cosine"})) is Schedule
    assert from_dict(to_dict(Schedule())) == Schedule()


@pytest.mark.parametrize("name", ["Timed", "Bound", "Value"])
def test_bases_are_no_kinds(name):
    with pytest.raises(ValueError, match=f"^type must be one of .*got '{name}'"):
        from_dict({"type": name})


@pytest.mark.parametrize(
    "value",
    [Clamp(rex, least=1), Clamp(lambda t, T: 2, most=3), (lambda t, T: 2) * Schedule(constant)],
)
def test_numbers_give_a_float(value):
    assert type(value(3, 8)) is float


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(Schedule(linear, warmup_steps=90), warmup_steps=50),
        Schedule(bind(step, milestones=(60,)), warmup_steps=50),
        Schedule(linear, warmup_steps=50, warmup_profile=Schedule(linear, warmup_steps=60)),
    ],
)
def test_what_a_part_refuses_is_refused_at_the_first_call(schedule):
    with pytest.raises(ValueError, match="must"):
        schedule(0, 100)


def test_strict_promotion_of_presets_and_phases():
    with jax.numpy_dtype_promotion("strict"):
        assert one_cycle(jnp.int32(1)).lr(50, 100) == 1
        assert range_test(jnp.float32(0.5), jnp.int32(1))(4, 4) == 1
        schedule = jax.jit(
            lambda steps: Schedule(linear, warmup_steps=steps, hold_steps=jnp.float32(2))(5, 10)
        )
        assert schedule(jnp.int32(3)) == 1


def test_integers_that_pytorch_cannot_hold():
    with pytest.raises(ValueError, match=r"must be below 2\^63"):
        rex(torch.tensor(2**63 + 5, dtype=torch.uint64), 10)
    assert rex(torch.tensor(5, dtype=torch.uint64), 10) == rex(5, 10)


def test_large_peaks_in_cycles():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Restarts(Schedule(peak_value=1e200), 2)(0, 10) == 1e200


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schedule(warmup_ratio=0.1)(1, 1), r"where t goes from 0 to 1, T is 1\.0"),
        (lambda: noam(warmup_steps=0), r"^warmup_steps must be"),
        (lambda: range_test(1e-20, 1e20), r"^high / low must be"),
        (lambda: Schedule("rex", beta=0.9), r"bind\(rex, beta=\.\.\.\)"),
        (lambda: Schedule(warmup=0.1), "must be called warmup_ratio here"),
        (lambda: Schedule(warmup=10), "must be called warmup_steps here"),
        (lambda: Schedule("cosin"), r"\(is cosine meant\?\)"),
        (
            lambda: from_dict({"preset": "warmup_stable_deca"}),
            r"\(is warmup_stable_decay meant\?\)",
        ),
        (lambda: bind(bind(rex, beta=0.9), beta=0.8), "bind all parameters at once"),
    ],
)
def test_messages(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_product_of_three_is_one():
    a, b, c = Schedule(constant, warmup_steps=2), Schedule(cosine), Schedule(linear)
    assert a * b * c == a * (b * c) == Product((a, b, c))


# What mutants of the core have shown to be untested.


def test_the_first_step_after_a_hold_of_a_long_array():
    schedule = Schedule(bind(interpolate, values=(0.5, 1, 0)), hold_ratio=0.5)
    assert schedule(np.arange(20_001), 20_000)[10_000] == schedule(10_000, 20_000) == 0.5


def test_long_arrays_of_floats_have_phases_between_steps():
    schedule, t = Schedule(linear, warmup_ratio=0.30001), np.arange(40_000) / 2
    found = schedule(t, 20_000)[12_000:12_005]
    np.testing.assert_array_equal(found, [schedule(float(x), 20_000) for x in t[12_000:12_005]])


def test_a_later_cycle_that_is_too_short_is_refused_at_once():
    with pytest.raises(ValueError, match=r"^warmup_steps must end before T, .*; got"):
        Restarts(Schedule(linear, warmup_steps=8), 3, period_mult=0.5)(0, 20)


def test_bounds_that_are_equal():
    assert Clamp(linear, least=0.5, most=0.5)(1, 4) == 0.5


def test_a_traced_warmup_and_decay_now():
    def cooled(warmup):
        schedule = Schedule(linear, warmup_steps=warmup, hold_ratio=0.5)
        return Replan(schedule, 40, 100, decay_now=True)(60, 120)

    assert jax.jit(cooled)(10) == cooled(10) == 0.75


KINDS = float, np.float64, jnp.float32, torch.tensor


@pytest.mark.parametrize("number", KINDS)
def test_decay_now_between_whole_numbers(number):
    """A budget of 1.0 is one hour as well as one step."""
    shares = Replan(Schedule(linear, hold_ratio=0.5), 0.125, 1.0, decay_now=True)
    for t in (0.125, 0.126, 1.5):
        assert float(shares(number(t), 2.0)) == pytest.approx((2 - t) / 1.875, rel=1e-6)
    hours = Replan(Schedule(linear, hold_steps=4, warmup_steps=1), 2.5, 7.0, decay_now=True)
    for plan in (hours, Replan(hours, 3.0, 9.0, decay_now=True)):
        for t in (3.0, 6.125, 8.875):
            assert float(plan(number(t), 9.0)) == pytest.approx((9 - t) / 6.5, rel=1e-5)


@pytest.mark.parametrize("number", KINDS)
def test_a_phase_of_whole_steps_in_a_budget_of_floats(number):
    """Milestones within a warmup of 1 lie between steps if t and T are floats."""
    profile = bind(step, milestones=(0.5,))
    for phase in ({"warmup_steps": 1}, {"warmup_ratio": 0.25}):
        rise = Schedule(linear, warmup_profile=profile, **phase)
        values = [float(rise(number(t), 4.0)) for t in (0.1, 0.375, 0.625, 1.0)]
        assert values == pytest.approx([0.1, 0.1, 1.0, 1.0])
    fall = Schedule(profile, decay_steps=1)
    values = [float(fall(number(t), 4.0)) for t in (3.0, 3.375, 3.625, 4.0)]
    assert values == pytest.approx([1.0, 1.0, 0.1, 0.1])


def test_cycles_of_several_budgets():
    """Each budget has the cycles of its own schedule, and no others."""
    many = Restarts(Schedule(warmup_steps=np.array([2, 50])), 2)
    one = [Restarts(Schedule(warmup_steps=w), 2)(5, T) for w, T in ((2, 10), (50, 200))]
    np.testing.assert_array_equal(many(5, np.array([10, 200])), one)
    with pytest.raises(ValueError, match=r"^warmup_steps must end before T, the budget or"):
        many(5, np.array([10, 60]))


def test_a_fraction_is_a_budget():
    for schedule in (rex, Schedule(warmup_ratio=0.1), Restarts(Schedule(), 2), Replan(rex, 1, 9)):
        assert schedule(Fraction(99, 2), Fraction(100)) == schedule(49.5, 100.0)


def test_the_longest_table():
    assert interpolate(0, 2, values=[1.0] * 100_000) == 1
    with pytest.raises(ValueError, match="2 to 100000 known finite numbers"):
        interpolate(0, 2, values=[1.0] * 100_001)


def test_the_size_of_data_is_bounded():
    with pytest.raises(ValueError, match="at most 40000 dictionaries and lists; got 4000"):
        from_dict({"type": "Join", "schedules": [{}] * 40_001, "milestones": [0.5]})
    with pytest.raises(ValueError, match="data must have lists of at most 100000 items; got 10000"):
        from_dict({"function": "interpolate", "params": {"values": [1.0] * 10**7}})
