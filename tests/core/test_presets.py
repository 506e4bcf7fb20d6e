"""The named schedules against the formulas and tables of their papers."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from rex_core import (
    cosine,
    delayed_linear,
    demon,
    falling_momentum,
    from_dict,
    linear,
    one_cycle,
    step_decay,
    to_dict,
    warmup_stable_decay,
)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.95, 0.999])
def test_demon_is_its_formula(beta):
    """β_t = β₀·r / ((1-β₀) + β₀·r), the paper's equation, in exact arithmetic."""
    momentum = demon(beta)
    start = Fraction(beta)
    for T in (1, 7, 100, 10**6):
        for t in {0, 1, T // 3, T // 2, T - 1, T}:
            left = Fraction(T - t, T)
            exact = start * left / ((1 - start) + start * left)
            assert momentum(t, T) == pytest.approx(float(exact), rel=1e-15, abs=0)
            single = float(momentum(jnp.int32(t), T))
            assert single == pytest.approx(float(exact), rel=6e-7, abs=0)
        assert momentum(0, T) == beta
        assert momentum(T, T) == momentum(T + 1, T) == 0


def test_demon_of_several_momenta():
    assert demon() == demon(0.9)
    values = demon(np.array([0.5, 0.9]))(np.array([[0], [50], [100]]), 100)
    assert values.tolist() == [[demon(b)(t, 100) for b in (0.5, 0.9)] for t in (0, 50, 100)]


@pytest.mark.parametrize("peak", [1.0, 0.3])
def test_one_cycle_is_the_papers_triangle(peak):
    """Rate 0.1→1→0.1 and momentum 0.95→0.85→0.95, over two halves."""
    rate, momentum = one_cycle(peak)
    for t in range(-1, 102):
        up = 1 - abs(Fraction(min(max(t, 0), 100) - 50, 50))
        exact = Fraction(1, 10) + Fraction(9, 10) * up
        assert rate(t, 100) == pytest.approx(peak * float(exact), rel=1e-15)
        exact = Fraction(95, 100) - Fraction(1, 10) * up
        assert momentum(t, 100) == pytest.approx(float(exact), rel=1e-15)
    assert (rate(0, 100), rate(50, 100), rate(100, 100)) == (0.1 * peak, peak, 0.1 * peak)
    assert (momentum(0, 100), momentum(50, 100), momentum(100, 100)) == (0.95, 0.85, 0.95)


def test_one_cycle_of_an_odd_budget_peaks_once():
    rate, momentum = one_cycle()
    for T in (3, 7, 101, 999):
        peak = (T + 1) // 2
        assert rate(peak, T) == 1
        assert momentum(peak, T) == 0.85
        assert max(rate(t, T) for t in range(T + 1) if t != peak) < 1


@pytest.mark.parametrize(
    ("anneal", "profile"), [("cos", cosine), ("linear", linear)], ids=["cosine", "linear"]
)
@pytest.mark.parametrize(("total", "share"), [(100, 0.3), (50, 0.5), (1000, 0.05)])
def test_one_cycle_is_pytorchs_one_step_earlier(anneal, profile, total, share):
    """PyTorch peaks at share·T - 1 and ends at T - 1: it is ours of a budget of T - 1."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.4, total_steps=total, pct_start=share, anneal_strategy=anneal
    )
    theirs = []
    for _ in range(total - 1):
        theirs.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        scheduler.step()
    theirs.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))

    peak = round(share * total) - 1
    rate, momentum = one_cycle(
        0.4,
        init_value=0.4 / 25,
        end_value=0.4 / 25e4,
        warmup_ratio=peak / (total - 1),
        profile=profile,
    )
    ours = [(rate(t, total - 1), momentum(t, total - 1)) for t in range(total)]
    # PyTorch's cosine and its interpolation of the lowest rates are absolutely, not relatively
    # exact: 1 + cos cancels.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=3e-16)
    assert np.argmax(np.array(theirs)[:, 0]) == peak

    # By its documented settings, the peak is where the share of T says it is.
    documented, _ = one_cycle(
        0.4, init_value=0.4 / 25, end_value=0.4 / 25e4, warmup_ratio=share, profile=profile
    )
    assert documented(round(share * total), total) == 0.4
    assert documented(0, total) == pytest.approx(theirs[0][0], rel=1e-15)
    assert documented(total, total) == pytest.approx(theirs[-1][0], rel=1e-12)


@pytest.mark.parametrize("mu", [0.0, 0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_falling_momentum_is_its_formula(mu, beta):
    """The momentum is linear, and SGD's effective rate and Adam's rate are REX."""
    start, bend = Fraction(mu), Fraction(beta)
    summed = falling_momentum(0.3, momentum=mu, beta=beta)
    averaged = falling_momentum(0.3, momentum=mu, beta=beta, averaged=True)
    assert summed.momentum == averaged.momentum
    for T in (1, 7, 100, 10**6):
        for t in {0, 1, T // 3, T // 2, T - 1, T}:
            left = Fraction(T - t, T)
            curve = Fraction(0.3) * left / ((1 - bend) + bend * left)
            momentum = start * left
            assert summed.momentum(t, T) == pytest.approx(float(momentum), rel=1e-15)
            assert averaged.lr(t, T) == pytest.approx(float(curve), rel=1e-15)
            kept = curve * (1 - momentum) / (1 - start)
            assert summed.lr(t, T) == pytest.approx(float(kept), rel=3e-15)
        assert summed.lr(0, T) == averaged.lr(0, T) == 0.3
        assert summed.lr(T, T) == averaged.lr(T, T) == summed.momentum(T, T) == 0


def test_falling_momentum_warms_up_from_a_tenth():
    rate, momentum = falling_momentum(0.5, averaged=True, warmup_ratio=0.2)
    assert [rate(t, 100) for t in (0, 10, 20)] == [0.05, 0.275, 0.5]
    assert rate(60, 100) == pytest.approx(0.5 * 0.5 / (0.5 + 0.5 * 0.5))
    assert [momentum(t, 100) for t in (0, 50, 100)] == [0.9, 0.45, 0]


def test_falling_momentum_of_several_peaks_and_momenta():
    rate, momentum = falling_momentum(np.array([0.1, 0.2]), momentum=np.array([0.5, 0.9]))
    for i, (peak, mu) in enumerate(((0.1, 0.5), (0.2, 0.9))):
        pair = falling_momentum(peak, momentum=mu)
        assert [rate(30, 100)[i], momentum(30, 100)[i]] == [s(30, 100) for s in pair]


def test_falling_momentum_by_name():
    with pytest.raises(ValueError, match="averaged must be True or False; got 'False'"):
        falling_momentum(0.1, averaged="False")
    written = {"preset": "falling_momentum", "peak_value": 0.1, "averaged": True}
    pair = falling_momentum(0.1, averaged=True)
    assert from_dict(written) == pair
    assert from_dict(to_dict(pair)) == pair


TABLES = {
    "warmup_stable_decay": (
        warmup_stable_decay(0.1),
        1000,
        [
            *((0, 0), (25, 0.05), (50, 0.1), (799, 0.1), (800, 0.1)),
            *((850, 0.05), (950, 0.1 * (1 - math.sqrt(0.75))), (1000, 0)),
        ],
    ),
    "warmup_stable_decay without warmup": (
        warmup_stable_decay(warmup_ratio=0, decay_ratio=0.5, profile=linear, end_value=0.2),
        8,
        [(0, 1), (4, 1), (6, 0.6), (8, 0.2)],
    ),
    # 0.3 + 0.7 is the whole budget, whatever binary floats say; so is 1/3 + 2/3.
    "warmup_stable_decay without plateau": (
        warmup_stable_decay(warmup_ratio=0.3, decay_ratio=0.7, profile=linear),
        10,
        [(0, 0), (1, 1 / 3), (3, 1), (4, 6 / 7), (10, 0)],
    ),
    "warmup_stable_decay in thirds": (
        warmup_stable_decay(warmup_ratio=1 / 3, decay_ratio=1 / 3, profile=linear),
        9,
        [(0, 0), (1, 1 / 3), (3, 1), (6, 1), (7, 2 / 3), (9, 0)],
    ),
    "warmup_stable_decay is decay alone": (
        warmup_stable_decay(warmup_ratio=0, decay_ratio=1, profile=linear),
        4,
        [(0, 1), (1, 0.75), (4, 0)],
    ),
    "step_decay": (
        step_decay(0.1),
        8,
        [(0, 0.1), (3, 0.1), (4, 0.01), (5, 0.01), (6, 0.001), (8, 0.001), (9, 0.001)],
    ),
    "step_decay rounds its milestones up": (
        step_decay(0.1),
        10,
        [(4, 0.1), (5, 0.01), (7, 0.01), (8, 0.001)],
    ),
    "step_decay 30-60-90": (
        step_decay(1.0, milestones=(0.3, 0.6, 0.9), factor=0.2),
        10,
        [(2, 1), (3, 0.2), (5, 0.2), (6, 0.04), (8, 0.04), (9, 0.008), (10, 0.008)],
    ),
    "delayed_linear": (
        delayed_linear(0.1),
        100,
        [(0, 0.1), (50, 0.1), (51, 0.098), (75, 0.05), (99, 0.002), (100, 0)],
    ),
    "delayed_linear at once": (delayed_linear(delay=0), 4, [(0, 1), (1, 0.75), (4, 0)]),
    "delayed_linear by 70 %": (
        delayed_linear(delay=0.7, end_value=0.1),
        10,
        [(6, 1), (7, 1), (8, 0.7), (9, 0.4), (10, 0.1)],
    ),
}


@pytest.mark.parametrize(("schedule", "T", "table"), TABLES.values(), ids=TABLES)
def test_tables(schedule, T, table):
    for t, value in table:
        assert schedule(t, T) == pytest.approx(value, rel=2e-15, abs=1e-16)


PRESETS = [
    demon(),
    *one_cycle(0.3),
    *falling_momentum(0.3, warmup_ratio=0.1),
    warmup_stable_decay(),
    step_decay(),
    delayed_linear(),
]


@pytest.mark.parametrize("preset", PRESETS, ids=str)
def test_presets_are_values(preset):
    assert from_dict(to_dict(preset)) == preset
    np.testing.assert_allclose(
        jax.jit(preset)(np.arange(101), 100), [preset(t, 100) for t in range(101)], 1e-6, 1e-7
    )


LRS = (lambda p: one_cycle(p).lr), (lambda p: falling_momentum(p, momentum=0.5 * p).lr)


def test_peaks_may_be_traced():
    peaks = jnp.array([0.1, 1.0])
    for make in (demon, *LRS, warmup_stable_decay, step_decay, delayed_linear):
        swept = jax.vmap(lambda peak, make=make: make(peak)(jnp.int32(60), 100))(peaks * 0.9)
        expected = [make(0.9 * p)(60, 100) for p in (0.1, 1.0)]
        np.testing.assert_allclose(swept, expected, rtol=1e-6)
