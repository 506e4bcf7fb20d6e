"""The bound and what follows from it, against its definition in exact arithmetic."""

import math
import tracemalloc
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rex_core import (
    Schedule,
    bind,
    constant,
    cosine,
    linear,
    one_minus_sqrt,
    polynomial,
    rex,
    theory,
)
from rex_core.theory import best_peak, loss_bound, refine, transfer_peak

CHUNKS = [1, 2, 3, 7, 1000]
EDGES = [theory.CHUNK + n for n in (-1, 0, 1)] + [2 * theory.CHUNK + n for n in (-1, 0, 1)]

# Against linear's at T = 10_000: γ*, the least bound.
SHAPES = [
    (rex, 0.808, 1.009),
    (bind(rex, beta=0.9), 0.559, 1.082),
    (cosine, 0.971, 1.030),
    (one_minus_sqrt, 1.490, 1.007),
    (polynomial, 1.415, 1.060),
    (Schedule(linear, hold_ratio=0.5), 0.656, 1.016),
    (Schedule(linear, hold_ratio=0.75), 0.538, 1.062),
    (Schedule(linear, hold_ratio=0.8), 0.514, 1.080),
    (constant, 0.305, 1.642),
]


def table(rates):
    """A schedule of any budget that has these rates at the steps from 0 on."""
    rates = np.asarray(rates)
    return lambda t, T: rates[t]


def definition(rates, norms):
    """γ* and the least bound, by the definition, with the sums in exact arithmetic."""
    w = [Fraction(rate) for rate in rates]
    while w[-1] == 0:
        w.pop()
    energies = [(rate * Fraction(norm)) ** 2 for rate, norm in zip(w, norms, strict=False)]
    S = [sum(w[k:]) for k in range(len(w))]
    Q = [sum(energies[k:]) for k in range(len(w))]
    A = 1 / (2 * S[0])
    B = Q[0] / (2 * S[0])
    B += sum(w[k] / S[k + 1] * (Q[k] / S[k]) for k in range(len(w) - 1)) / 2
    return math.sqrt(A / B), 2 * math.sqrt(A * B)


RATES = st.lists(st.just(0.0) | st.floats(1e-3, 1e3), min_size=1, max_size=30).filter(any)
NORMS = st.lists(st.floats(1e-3, 1e3), min_size=30, max_size=30)


@given(RATES, NORMS, st.sampled_from(CHUNKS))
def test_the_bound_is_its_definition(rates, norms, chunk):
    norms = norms[: len(rates)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theory, "CHUNK", chunk)
        for given_norms in (norms, None):
            peak, bound = definition(rates, given_norms or [1] * len(rates))
            found = {"gradient_norms": given_norms}
            assert best_peak(table(rates), len(rates), **found) == pytest.approx(peak, rel=1e-13)
            assert loss_bound(table(rates), len(rates), **found) == pytest.approx(bound, rel=1e-13)


def harmonic(n):
    with mpmath.workdps(30):
        return float(mpmath.harmonic(n))


@pytest.mark.parametrize("T", [1, 2, 3, 10, 1000, *EDGES, 10**6])
def test_closed_forms(T):
    """Constant: S_0 = T, B = (1 + H)/2. Linear: S_0 = (T + 1)/2, B = 1 - 1/(2·T) + H/T."""
    H = harmonic(T - 1)
    assert best_peak(constant, T) == pytest.approx(1 / math.sqrt(T * (1 + H)), rel=1e-13)
    assert loss_bound(constant, T) == pytest.approx(math.sqrt((1 + H) / T), rel=1e-13)
    B = 1 - 1 / (2 * T) + H / T
    assert best_peak(linear, T) == pytest.approx(1 / math.sqrt((T + 1) * B), rel=1e-13)
    assert loss_bound(linear, T) == pytest.approx(2 * math.sqrt(B / (T + 1)), rel=1e-13)


@pytest.mark.parametrize(("schedule", "peak", "bound"), SHAPES)
def test_shapes_against_linear(schedule, peak, bound):
    T = 10_000
    assert round(best_peak(schedule, T) / best_peak(linear, T), 3) == peak
    assert round(loss_bound(schedule, T) / loss_bound(linear, T), 3) == bound


@pytest.mark.parametrize("schedule", [linear, *(shape[0] for shape in SHAPES[:-1])])
def test_curves_that_end_at_0_go_with_the_square_root_of_the_budget(schedule):
    ratio = best_peak(schedule, 100_000) / best_peak(schedule, 10_000)
    assert ratio == pytest.approx(0.316, abs=1e-3)


@pytest.mark.parametrize("T", [10, *EDGES])
def test_units(T):
    norms = np.linspace(3, 1, T) ** 2
    peak = best_peak(rex, T, gradient_norms=norms)
    bound = loss_bound(rex, T, gradient_norms=norms)
    half = Schedule(rex, peak_value=0.5)
    close = pytest.approx
    assert best_peak(half, T, gradient_norms=norms) == close(2 * peak, rel=1e-13)
    assert loss_bound(half, T, gradient_norms=norms) == close(bound, rel=1e-13)
    assert best_peak(rex, T, gradient_norms=norms, distance=3) == close(3 * peak, rel=1e-13)
    assert loss_bound(rex, T, gradient_norms=norms, distance=3) == close(3 * bound, rel=1e-13)
    assert best_peak(rex, T, gradient_norms=4 * norms) == close(peak / 4, rel=1e-13)
    assert loss_bound(rex, T, gradient_norms=4 * norms) == close(4 * bound, rel=1e-13)
    assert best_peak(rex, T, gradient_norms=np.ones(T)) == best_peak(rex, T)


@pytest.mark.parametrize("dtype", ["float16", "float32", "longdouble", "int8", "uint64", "list"])
def test_norms_and_rates_of_every_kind(dtype):
    T = 50
    norms = np.arange(1, T + 1)
    given_norms = norms.tolist() if dtype == "list" else norms.astype(dtype)
    rates = norms[::-1] if dtype == "list" else given_norms[::-1]
    expected = best_peak(table(norms[::-1]), T, gradient_norms=norms.astype(float))
    assert best_peak(table(rates), T, gradient_norms=given_norms) == expected
    assert refine(given_norms, T) == refine(norms.astype(float), T)


@pytest.mark.parametrize("with_norms", [False, True])
@pytest.mark.parametrize("T", [5, *EDGES, 3 * theory.CHUNK])
def test_steps_after_the_last_rate_count_for_nothing(T, with_norms):
    used = 5
    rates = np.zeros(T)
    rates[:used] = [0.0, 1.0, 3.0, 0.0, 2.0]
    norms = np.linspace(1, 2, T) if with_norms else np.ones(T)
    peak, bound = definition(rates[:used], norms[:used])
    found = {"gradient_norms": norms if with_norms else None}
    assert best_peak(table(rates), T, **found) == pytest.approx(peak, rel=1e-14)
    assert loss_bound(table(rates), T, **found) == pytest.approx(bound, rel=1e-14)


@pytest.mark.parametrize("T", [1, *EDGES])
def test_a_schedule_sees_every_step_once_as_an_int64_array(T):
    seen = []

    def schedule(t, total):
        assert (t.dtype, total, type(total)) == (np.int64, T, int)
        seen.append(t)
        return np.ones(t.shape)

    best_peak(schedule, T)
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(T))


def test_memory_does_not_grow_with_the_budget():
    def most(T):
        tracemalloc.start()
        best_peak(linear, T)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(10**5)
    once = most(10**6)
    assert once < 8 * 10**6 / 2  # Half of one array of all rates.
    assert most(2 * 10**6) < 1.1 * once


@pytest.mark.parametrize("schedule", [linear, constant, rex, Schedule(rex, warmup_ratio=0.1)])
def test_the_exponent_alone_moves_a_peak_to_another_budget_of_linear(schedule):
    assert transfer_peak(0.1, (schedule, 70), (schedule, 70)) == pytest.approx(0.1)
    moved = transfer_peak(0.1, (linear, 100), (linear, 1600), exponent=-0.5)
    assert moved == pytest.approx(0.025)
    assert transfer_peak(0.1, (linear, 100), (linear, 1600)) == pytest.approx(0.05)
    assert transfer_peak(0.1, (linear, 100), (linear, 1600), exponent=0) == pytest.approx(0.1)


@pytest.mark.parametrize(("schedule", "peak", "bound"), SHAPES)
def test_transfer_between_shapes(schedule, peak, bound):
    T = 10_000
    assert round(transfer_peak(1, (linear, T), (schedule, T)), 3) == peak
    there = transfer_peak(0.3, (schedule, 100), (cosine, 2000), exponent=-0.3)
    assert transfer_peak(there, (cosine, 2000), (schedule, 100), exponent=-0.3) == pytest.approx(
        0.3
    )
    scaled = Schedule(schedule, peak_value=0.2)
    assert transfer_peak(1, (linear, T), (scaled, T)) == pytest.approx(
        5 * transfer_peak(1, (linear, T), (schedule, T))
    )


def test_transfer_with_minus_a_half_is_the_theory():
    cooldown = Schedule(linear, hold_ratio=0.8)
    theory_ratio = best_peak(cooldown, 80_000) / best_peak(rex, 20_000)
    found = transfer_peak(1, (rex, 20_000), (cooldown, 80_000), exponent=-0.5)
    assert found == pytest.approx(theory_ratio, rel=1e-3)


def test_transfer_takes_each_shape_at_its_own_budget():
    """300 steps of warmup do not fit into the other budget, and need not."""
    counted, share = Schedule(linear, warmup_steps=300), Schedule(linear, warmup_ratio=0.3)
    for source, target in [((counted, 1000), (linear, 100)), ((linear, 100), (counted, 1000))]:
        same = [(share, T) if s is counted else (s, T) for s, T in (source, target)]
        assert transfer_peak(1, source, target) == pytest.approx(transfer_peak(1, *same))


def medians(values, reach):
    padded = np.pad(values, reach, mode="reflect")
    return np.array([np.median(padded[i : i + 2 * reach + 1]) for i in range(len(values))])


@given(
    st.lists(st.integers(1, 9) | st.floats(0.1, 10), min_size=2, max_size=70),
    st.floats(0, 1),
)
def test_the_median_filter_against_its_definition(values, smoothing):
    values = np.array(values, float)
    reach = int(smoothing * len(values) / 2)
    assert np.array_equal(theory._medians(values, reach), medians(values, reach))


@given(
    st.lists(st.floats(0.1, 10), min_size=2, max_size=70),
    st.sampled_from([0, 0.1, 0.35, 1]),
    st.sampled_from(["l1", "l2"]),
)
def test_refined_values_against_their_definition(norms, smoothing, norm):
    T = len(norms)
    smooth = [Fraction(each) for each in medians(np.array(norms), int(smoothing * T / 2))]
    weights = [1 / each ** {"l1": 1, "l2": 2}[norm] for each in smooth]
    rates = [weights[t] * sum(weights[t + 1 :]) for t in range(T)]
    expected = [float(rate / max(rates)) for rate in rates]
    profile = refine(norms, T, norm=norm, smoothing=smoothing)
    values = [profile(i, T - 1) for i in range(T)]
    assert values == pytest.approx(expected, rel=1e-13)
    assert max(values) == 1
    assert values[-1] == 0


@pytest.mark.parametrize("T", [2, 3, 50, 1000, 1001, 1002, 4321])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_flat_norms_give_linear(T, norm):
    profile = refine(np.full(T, 0.3), T, norm=norm)
    t = np.arange(0, 12_346)
    np.testing.assert_allclose(profile(t, 12_345), linear(t, 12_345), rtol=0, atol=1e-14)


@pytest.mark.parametrize("T", [500, 20_000])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_norms_that_fall_early_give_a_warmup(T, norm):
    t = np.arange(T)
    rates = refine(1 + 3 * np.exp(-30 * t / T), T, norm=norm, smoothing=0.02)(t, T)
    top = int(np.argmax(rates))
    assert 0.05 * T < top < 0.3 * T
    assert rates[0] < 0.5
    assert (np.diff(rates[t > 0.02 * T][: top // 2]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_norms_that_fall_give_a_plateau_and_norms_that_rise_an_early_fall(norm):
    t, T = np.arange(200, 1000), 1000
    falling = refine(np.linspace(2, 1, T), T, norm=norm)(t, T)
    rising = refine(np.linspace(1, 2, T), T, norm=norm)(t, T)
    assert (falling > linear(t, T)).all()
    assert (rising < linear(t, T)).all()


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("power", [-1, -0.3, 0.3, 1])
def test_a_refined_profile_has_a_lower_bound_for_its_norms(power, norm):
    T = 2000
    norms = np.linspace(1, 5, T) ** power
    refined = refine(norms, T, norm=norm)
    for other in (linear, rex, cosine, refine(norms[::-1], T, norm=norm)):
        assert loss_bound(refined, T, gradient_norms=norms) < loss_bound(
            other, T, gradient_norms=norms
        )


@pytest.mark.parametrize("T", [1001, 1002, 1700, 2000, 2001, 100_001])
def test_long_runs_are_thinned_to_points_of_the_same_curve(T):
    norms = np.linspace(1, 3, T)
    profile = refine(norms, T, norm="l1", smoothing=0)
    assert len(profile.params["values"]) == 1001
    weights = 1 / norms
    rates = weights * (np.cumsum(weights[::-1])[::-1] - weights)
    places = np.arange(1001) * (T - 1) / 1000
    expected = np.interp(places, np.arange(T), rates) / rates.max()
    np.testing.assert_allclose(profile.params["values"], expected, rtol=1e-9, atol=1e-12)


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
        transfer_peak(1e308, (linear, 1), (Schedule(linear, peak_value=1e-3), 1))
