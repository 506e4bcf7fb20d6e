"""First guesses of names and numbers: what they mean is done, or said."""

import math
from fractions import Fraction

import numpy as np
import pytest

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
    every_fraction,
    from_dict,
    inverse_sqrt,
    linear,
    noam,
    one_cycle,
    register,
    step,
    warmup_stable_decay,
)


def one(t, T):
    """A function of one's own that returns an integer."""
    return 1


@pytest.mark.parametrize(
    "schedule",
    [
        Clamp(linear, least=np.int64(1)),
        Clamp(linear, most=np.uint8(0)),
        Product([one, one]),
        Join([one, one], [0.5]),
        Restarts(one, 2),
        Replan(one, 1, 50),
    ],
)
def test_numbers_give_a_float(schedule):
    assert type(schedule(10, 100)) is float


def test_a_floor_of_the_decay_alone():
    floor = Clamp(bind(inverse_sqrt, timescale=10), least=0.4)
    schedule = Schedule(floor, peak_value=0.1, warmup_steps=10)
    assert schedule(0, 1000) == 0.0
    assert schedule(1000, 1000) == pytest.approx(0.04)


@pytest.mark.parametrize("warmup_steps", [0.05, 2.5, 0])
def test_noam_counts_whole_steps(warmup_steps):
    with pytest.raises(ValueError, match=r"warmup_steps must be an integer in \[1, 1e30\]"):
        noam(0.1, warmup_steps=warmup_steps)


def test_fractions_are_shares():
    assert Schedule(warmup_ratio=Fraction(1, 3)) == Schedule(warmup_ratio=1 / 3)
    assert Schedule(decay_ratio=Fraction(1, 3)) == Schedule(decay_ratio=1 / 3)
    assert bind(every_fraction, fraction=Fraction(1, 7)) == bind(every_fraction, fraction=1 / 7)
    assert linear(Fraction(1, 2), 1.0) == 0.5


def test_milestones_in_arrays():
    assert bind(step, milestones=np.array([0.5, 0.75])) == bind(step, milestones=(0.5, 0.75))
    assert bind(at, milestones=(np.float32(0.7),)) == bind(at, milestones=(0.7,))
    assert bind(at, milestones=np.array([7, 9])) == bind(at, milestones=(7, 9))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: from_dict({"lr": 3e-4}), "lr must be called peak_value here"),
        (lambda: from_dict({"peak_vlaue": 0.1}), r"\(is peak_value meant\?\)"),
        (lambda: from_dict({"warmup": 0.1}), "warmup must be called warmup_ratio here"),
        (lambda: Schedule("cosine", total_steps=1000), "total_steps must be given at the call"),
        (lambda: Schedule("cosine", T=1000), "T must be given at the call"),
        (lambda: Schedule("noam"), "noam is a preset: call rex_core.noam"),
        (lambda: one_cycle(max_lr=0.1), "max_lr must be called peak_value here"),
        (lambda: warmup_stable_decay(cooldown=0.2), "cooldown must be called decay_ratio here"),
        (lambda: bind("polynomial", exponent=2), "exponent must be called power here"),
        (lambda: Clamp(linear, min=0.1), "min must be called least here"),
        (lambda: Join([linear, linear], boundaries=[0.5]), "boundaries must be called milestones"),
        (lambda: Schedule(decay_steps=10)(5, 9), "decay_steps must be at most T"),
        (lambda: Schedule() * 0.1, r"give peak_value, as in Schedule\(..., peak_value=0.1\)"),
        (lambda: 2 * Schedule(), "schedules are multiplied by schedules"),
        (lambda: register(lambda t, T: 1.0), "be given for a lambda"),
        (lambda: Schedule(math.sin), r"profile must be a function of \(t, T\)"),
    ],
)
def test_errors_say_what_is_meant(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_call_without_a_budget_names_the_class():
    with pytest.raises(TypeError, match=r"Schedule.__call__\(\) missing 1 required"):
        Schedule(constant)(5)
