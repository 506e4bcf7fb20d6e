"""The bound and what follows from it, against its definition in exact arithmetic."""

import math
import tracemalloc
from fractions import Fraction

import jax.numpy as jnp
import ml_dtypes
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils import clip_grad_norm_

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
from tests.core.test_median_filter import medians

BLOCKS = [1, 2, 3, 7, 1000]
EDGES = [theory.BLOCK + n for n in (-1, 0, 1)] + [2 * theory.BLOCK + n for n in (-1, 0, 1)]

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


@given(RATES, NORMS, st.sampled_from(BLOCKS))
def test_the_bound_is_its_definition(rates, norms, block):
    norms = norms[: len(rates)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theory, "BLOCK", block)
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


def of_clipping(length, dtype):
    """The norm that PyTorch's clipping returns."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=dtype))
    weight.grad = torch.full_like(weight, length)
    return clip_grad_norm_([weight], 1.0)


KINDS = {
    "NumPy's numbers in a tuple": lambda norms: tuple(np.float32(norms)),
    "NumPy, bfloat16": lambda norms: np.array(norms, ml_dtypes.bfloat16),
    "JAX": jnp.array,
    "JAX, bfloat16": lambda norms: jnp.array(norms, jnp.bfloat16),
    "JAX, in a list": lambda norms: [jnp.array(each) for each in norms],
    "PyTorch": torch.tensor,
    "PyTorch, bfloat16": lambda norms: torch.tensor(norms, dtype=torch.bfloat16),
    "PyTorch, in a list": lambda norms: [of_clipping(each, torch.float32) for each in norms],
    "PyTorch, bfloat16, in a list": lambda norms: [
        of_clipping(each, torch.bfloat16) for each in norms
    ],
    "PyTorch, with a gradient": lambda norms: torch.tensor(norms, requires_grad=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_norms_of_every_library(kind):
    norms = [3.0, 2.5, 4.0, 2.0, 1.0, 1.5]
    found = KINDS[kind](norms)
    assert best_peak(rex, 6, gradient_norms=found) == best_peak(rex, 6, gradient_norms=norms)
    assert refine(found, 6, smoothing=0.5) == refine(norms, 6, smoothing=0.5)


@pytest.mark.parametrize("number", [np.float32, np.float64, jnp.float32, torch.tensor])
def test_numbers_of_every_library(number):
    """Powers of 2, which all of them hold exactly; the results are Python's."""
    T = number(8.0)
    results = {
        "bound": (loss_bound(rex, T, distance=number(0.5)), loss_bound(rex, 8, distance=0.5)),
        "peak": (best_peak(rex, T, distance=number(0.5)), best_peak(rex, 8, distance=0.5)),
        "moved": (
            transfer_peak(number(0.5), (rex, T), (linear, 80), exponent=number(-0.5)),
            transfer_peak(0.5, (rex, 8), (linear, 80), exponent=-0.5),
        ),
        "curve": (
            refine(np.arange(1, 9), T, smoothing=number(0.5)),
            refine(np.arange(1, 9), 8, smoothing=0.5),
        ),
    }
    for found, expected in results.values():
        assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("with_norms", [False, True])
@pytest.mark.parametrize("T", [5, *EDGES, 3 * theory.BLOCK])
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
    # The peaks that schedules have themselves do not count; a factor around them does.
    scaled = Schedule(schedule, peak_value=0.2)
    for pair in ((linear, T), (scaled, T)), ((Schedule(linear, peak_value=3e-4), T), (scaled, T)):
        assert transfer_peak(1, *pair) == pytest.approx(
            transfer_peak(1, (linear, T), (schedule, T))
        )
    assert transfer_peak(1, (linear, T), (scaled * constant, T)) == pytest.approx(
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


@given(
    st.lists(st.floats(0.1, 10), min_size=2, max_size=70),
    st.sampled_from([0, 0.1, 0.35, 0.7, 1]),
    st.sampled_from(["l1", "l2"]),
)
def test_refined_values_against_their_definition(norms, smoothing, norm):
    T = len(norms)
    half = int(Fraction(str(smoothing)) * T / 2)
    smooth = [Fraction(each) for each in medians(np.array(norms), half)]
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
