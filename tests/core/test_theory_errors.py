"""What the functions of the theory refuse, and what they say then."""

import math

import numpy as np
import pytest
import torch

from rex_core import Schedule, bind, constant, linear, rex
from rex_core.theory import best_peak, loss_bound, refine, transfer_peak
from tests.core.test_theory import table


@pytest.mark.parametrize("schedule", [np.ones(3), 0.1, None, Schedule])
def test_a_schedule_is_a_function(schedule):
    with pytest.raises(ValueError, match=r"^schedule must be a function of \(t, T\); got "):
        loss_bound(schedule, 3)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ([1.0, np.nan, 1.0], "schedule must be finite and >= 0 at every step; got nan at t = 1"),
        ([1.0, 1.0, np.inf], "schedule must be finite and >= 0 at every step; got inf at t = 2"),
        ([-0.5, 1.0, 1.0], "schedule must be finite and >= 0 at every step; got -0.5 at t = 0"),
        ([1, 1, -1], "schedule must be finite and >= 0 at every step; got -1 at t = 2"),
        ([0.0, 0.0, 0.0], "schedule must be > 0 at some step of T = 3; got 0 at all of them"),
        ([1e-200] * 3, "schedule must give a bound that is a finite float > 0; got 0.0"),
        ([1e200] * 3, "schedule must give a bound that is a finite float > 0; got nan"),
        ([1.0, 1.0, 5e-324], "schedule must give a bound that is a finite float > 0; got inf"),
        ([1j] * 3, r"schedule must return an array of numbers, of the shape of t, \(3,\); got "),
        ([True] * 3, r"schedule must return an array of numbers, of the shape of t, \(3,\); got "),
        (["1"] * 3, r"schedule must return an array of numbers, of the shape of t, \(3,\); got "),
        ([[1.0]] * 3, r"schedule must return an array of numbers, of the shape of t, \(3,\); got "),
    ],
)
@pytest.mark.parametrize("function", [best_peak, loss_bound])
def test_rates_that_are_refused(function, rates, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        function(table(rates), 3)


@pytest.mark.parametrize(
    "function", [lambda t, T: max(0, 1 - t / T), lambda t, T: math.exp(-t / T)]
)
def test_a_schedule_of_single_steps(function):
    with pytest.raises(
        ValueError, match=r"^schedule must take an array of steps as t \(np\.maximum"
    ):
        best_peak(function, 3)
    with pytest.raises(ValueError, match=r"^target\[0\] must take an array of steps as t"):
        transfer_peak(1, (linear, 3), (function, 3))


def test_what_a_schedule_refuses_is_its_own_error():
    with pytest.raises(ValueError, match=r"^warmup_steps must end before T"):
        best_peak(Schedule(linear, warmup_steps=5), 3)


def test_a_schedule_of_arrays_is_many():
    with pytest.raises(ValueError, match=r"^schedule must have numbers and no arrays; got bind"):
        loss_bound(bind(rex, beta=np.linspace(0, 0.9, 5)), 5)
    with pytest.raises(ValueError, match=r"^target\[0\] must have numbers and no arrays; got "):
        transfer_peak(1, (rex, 5), (Schedule(rex, peak_value=np.ones(5)), 5))
    assert loss_bound(bind(rex, beta=np.array(0.5)), 5) == loss_bound(rex, 5)


def test_names_and_dictionaries_are_schedules_too():
    assert best_peak("rex", 100) == best_peak(rex, 100)
    spelled = {"profile": {"rex": {"beta": 0.9}}, "warmup_ratio": 0.1}
    meant = Schedule(bind(rex, beta=0.9), warmup_ratio=0.1)
    assert loss_bound(spelled, 100) == loss_bound(meant, 100)
    same = transfer_peak(1, (rex, 100), (meant, 50))
    assert transfer_peak(1, ("rex", 100), (spelled, 50)) == same
    with pytest.raises(ValueError, match=r"^schedule must be .*is cosine meant"):
        best_peak("cosin", 100)
    with pytest.raises(ValueError, match=r"^source\[0\] must be .*is cosine meant"):
        transfer_peak(1, ("cosin", 100), (rex, 100))


def test_a_number_is_no_array_of_rates():
    with pytest.raises(ValueError, match=r"^schedule must return an array .* \(3,\); got 1\.0$"):
        best_peak(lambda t, T: 1.0, 3)


@pytest.mark.parametrize("T", [0, -1, 2.5, math.nan, math.inf, True, "3", None, np.arange(1, 3)])
def test_budgets_that_are_refused(T):
    for function in (best_peak, loss_bound):
        with pytest.raises(ValueError, match=r"^T must be an integer >= 1"):
            function(linear, T)
    with pytest.raises(ValueError, match=r"^T must be an integer >= 2"):
        refine([1.0, 1.0], T)
    good, bad = (linear, 3), (linear, T)
    for name, pairs in {"source": (bad, good), "target": (good, bad)}.items():
        with pytest.raises(ValueError, match=rf"^{name}\[1\] must be an integer >= 1"):
            transfer_peak(1, *pairs)


def test_one_norm_has_no_profile():
    with pytest.raises(ValueError, match=r"^T must be an integer >= 2; got 1"):
        refine([1.0], 1)


@pytest.mark.parametrize(
    ("norms", "got"),
    [
        ([1.0, 2.0], r"got an array of float64 of the shape \(2,\)"),
        ([1.0] * 4, r"got an array of float64 of the shape \(4,\)"),
        ([[1.0]] * 3, r"got an array of float64 of the shape \(3, 1\)"),
        (1.0, r"got an array of float64 of the shape \(\)"),
        (["1"] * 3, "got an array of <U1"),
        ([True] * 3, "got an array of bool"),
        ([1j] * 3, "got an array of complex128"),
        ([[1.0], [1.0, 2.0], [1.0]], r"got \[\[1.0\], "),
        ({"norms": [1.0] * 3}, "got {'norms': "),
        ((1.0 for _ in range(3)), "got <generator object"),
        ([None, 1.0, 1.0], r"got \[None, 1.0, 1.0\]"),
        (torch.ones(3, device="meta"), r"got tensor\(\.\.\., device='meta'"),
        ([1.0, 0.0, 1.0], "got 0.0 at t = 1"),
        ([1.0, 1.0, -2.0], "got -2.0 at t = 2"),
        ([np.nan, 1.0, 1.0], "got nan at t = 0"),
        ([1.0, np.inf, 1.0], "got inf at t = 1"),
        ([1, 1, 0], "got 0 at t = 2"),
    ],
)
def test_norms_that_are_refused(norms, got):
    message = f"^gradient_norms must be an array of T = 3 finite numbers > 0; {got}"
    for function in (best_peak, loss_bound):
        with pytest.raises(ValueError, match=message):
            function(linear, 3, gradient_norms=norms)
    with pytest.raises(ValueError, match=message):
        refine(norms, 3)


def test_norms_with_a_skipped_step_say_what_to_do():
    norms = np.array([3.0, np.nan, 2.0, np.inf, 1.0])
    with pytest.raises(ValueError, match=r"at t = 1 \(a step .* skipped .*leave its norm out"):
        refine(norms, 5)
    left = norms[np.isfinite(norms)]
    assert refine(left, len(left), smoothing=0) == refine([3.0, 2.0, 1.0], 3, smoothing=0)
    with pytest.raises(ValueError, match=r"T = 5 finite numbers > 0; got .* the shape \(3,\)"):
        refine(left, 5)


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "1", None, True, [1.0]])
def test_positive_numbers(value):
    for function in (best_peak, loss_bound):
        with pytest.raises(ValueError, match=r"^distance must be a finite number > 0"):
            function(linear, 3, distance=value)
    with pytest.raises(ValueError, match=r"^peak must be a finite number > 0"):
        transfer_peak(value, (linear, 3), (linear, 3))


@pytest.mark.parametrize("value", [-1.1, 2, math.nan, "1", None, True])
def test_exponents_and_smoothing_that_are_refused(value):
    with pytest.raises(ValueError, match=r"^exponent must be in \[-1, 1\]"):
        transfer_peak(1, (linear, 3), (linear, 3), exponent=value)
    with pytest.raises(ValueError, match=r"^smoothing must be in \[0, 1\]"):
        refine([1.0] * 3, 3, smoothing=value)


@pytest.mark.parametrize("pair", [linear, 3, None, (linear,), (linear, 3, 3), "ab", {linear, 3}])
def test_pairs_that_are_refused(pair):
    with pytest.raises(ValueError, match=r"^source must be a pair \(schedule, T\); got "):
        transfer_peak(1, pair, (linear, 3))
    with pytest.raises(ValueError, match=r"^target must be a pair \(schedule, T\); got "):
        transfer_peak(1, (linear, 3), pair)


def test_a_schedule_that_is_refused_in_a_pair():
    with pytest.raises(ValueError, match=r"^source\[0\] must be > 0 at some step of T = 3"):
        transfer_peak(1, (lambda t, T: 0.0 * t, 3), (linear, 3))
    with pytest.raises(ValueError, match=r"^target\[0\] must be a function of \(t, T\); got 3"):
        transfer_peak(1, (linear, 3), (3, 3))


@pytest.mark.parametrize("norm", ["L2", "max", 2, None, ["l2"]])
def test_norms_of_another_kind(norm):
    with pytest.raises(ValueError, match=r"^norm must be 'l2' or 'l1'; got "):
        refine([1.0] * 3, 3, norm=norm)


def test_norms_too_far_apart_to_be_squared():
    with pytest.raises(ValueError, match=r"at most 1e150; got 1\.0 to 1e\+160$"):
        refine([1e160, 1.0, 1.0], 3)
    assert refine([1e150, 1.0, 1.0], 3, smoothing=0)(2, 2) == 0


def test_results_that_no_float_holds():
    with pytest.raises(ValueError, match=r"^distance must give a bound that is a finite float"):
        loss_bound(constant, 2, distance=1e308, gradient_norms=[10.0, 10.0])
    with pytest.raises(ValueError, match=r"^distance must give a best peak that is a finite float"):
        best_peak(constant, 2, distance=1e308, gradient_norms=[1e-3, 1e-3])
    with pytest.raises(ValueError, match=r"^peak must give a new peak that is a finite float"):
        transfer_peak(1e308, (linear, 1), (lambda t, T: 1e-3 + 0 * t, 1))
