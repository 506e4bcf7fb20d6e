"""One table of cases, every backend, the values from mpmath."""

import math
from functools import partial

import mpmath
import numpy as np
import pytest

import rex_core
from tests.conformance import reference
from tests.conformance.backends import BACKENDS

THIRD = 1 / 3
LONG = tuple(1 / (1 + i) for i in range(501))

PROFILES = [
    ("rex", {}, 4),
    ("rex", {"beta": 0.9}, 4),
    ("rex", {"beta": 0.1}, 4),
    ("rex", {"beta": 0.0}, 4),
    ("rex", {"beta": -3.0}, 4),
    ("rex", {"beta": 0.99}, 4),
    ("linear", {}, 4),
    ("cosine", {}, 8),
    ("exponential", {}, 8),
    ("exponential", {"gamma": 0.0}, 8),
    ("exponential", {"gamma": 0.7}, 8),
    ("exponential", {"gamma": 9.3}, 8),
    ("polynomial", {}, 8),
    ("polynomial", {"power": 3.0}, 8),
    ("polynomial", {"power": 2.7}, 8),
    ("polynomial", {"power": 0.9}, 8),
    ("polynomial", {"power": 1}, 8),
    ("one_minus_sqrt", {}, 8),
    ("step", {}, 4),
    ("step", {"milestones": (0.3, 0.6, 0.9), "factor": 0.3}, 4),
    ("step", {"milestones": (THIRD, 2 * THIRD, 1.0)}, 4),
    ("constant", {}, 4),
    ("step", {"milestones": (2, -1), "factor": 0.3}, 4),
    ("step", {"milestones": (3, 0.5, -4)}, 4),
    ("cosine", {"power": 0.5}, 8),
    ("cosine", {"power": 2.0}, 16),
    ("cosine", {"power": 2.7}, 16),
    ("cosine", {"power": 3.0}, 16),
    ("geometric", {"ratio": 0.01}, 8),
    ("geometric", {"ratio": 1e-4}, 8),
    ("geometric", {"ratio": 1e-30}, 8),
    ("geometric", {"ratio": 16}, 8),
    ("geometric", {"ratio": 1e30}, 8),
    ("inverse_sqrt", {"timescale": 100}, 8),
    ("inverse_sqrt", {"timescale": 0.7}, 8),
    ("logarithmic", {}, 8),
    ("interpolate", {"values": (1.0, 0.7, 0.9, 0.3, 0.0)}, 8),
    ("interpolate", {"values": (0.2, 1, 0.1)}, 8),
    ("interpolate", {"values": LONG}, 8),
    ("tanh", {}, 8),
    ("tanh", {"lower": -3.0, "upper": 3.0}, 8),
    ("tanh", {"lower": -6.0, "upper": 6.0}, 8),
    # (t/T)^k is rounded before it is subtracted from 1, and its power or sine adds its own errors.
    ("cosine", {"k": 2.0}, 16),
    ("cosine", {"k": 0.5}, 16),
    ("polynomial", {"power": 1.0, "k": 2.0}, 16),
    ("polynomial", {"power": 0.9, "k": 0.5}, 16),
]

SAMPLINGS = [
    ("every_step", {}),
    ("every", {"steps": 1}),
    ("every", {"steps": 7}),
    ("every_fraction", {"fraction": 0.05}),
    ("every_fraction", {"fraction": 0.3}),
    ("every_fraction", {"fraction": THIRD}),
    ("every_fraction", {"fraction": 1.0}),
    ("at", {"milestones": (0.5, 0.75)}),
    ("at", {"milestones": (THIRD, 2 * THIRD)}),
    ("at", {"milestones": (0.25, 0.5, 0.75, 1.0)}),
    ("at", {"milestones": (2, -1)}),
    ("at", {"milestones": (3, 0.5, -4)}),
]

LONG_TO_RUN = "jax_jit", "jax_vmap", "jax_x64", "numpy_scalars"
LANES = [
    pytest.param(backend, marks=pytest.mark.long if backend in LONG_TO_RUN else ())
    for backend in BACKENDS
]
PAIRS = list(zip(PROFILES[::2], SAMPLINGS, strict=False))
BUDGETS = [1, 2, 3, 5, 7, 10, 99, 100, 1000]


def name(case):
    return "-".join([case[0], *(f"{key}={value}"[:50] for key, value in case[1].items())])


def fits(case, T):
    """Whether milestones of the case are increasing places in a budget."""
    steps = [math.ceil(place) for place in reference.places(case[1].get("milestones", ()), T)]
    return steps == sorted(steps) and all(0 < step <= T for step in steps)


def steps_of(T):
    """As many for every budget, so that a jitted function is compiled once."""
    return [-5, -1, 1, T - 1, T + 1, 2 * T, *(i * T // 40 for i in range(41))]


@pytest.mark.parametrize("backend", LANES)
@pytest.mark.parametrize("case", PROFILES, ids=name)
def test_profiles(case, backend):
    function, params, bound = case
    profile = rex_core.bind(getattr(rex_core, function), **params)
    evaluate, dtype = BACKENDS[backend]
    for T in filter(partial(fits, case), BUDGETS):
        values = evaluate(profile, steps_of(T), T)
        exact = [getattr(reference, function)(t, T, **params) for t in steps_of(T)]
        assert values.dtype == dtype
        assert np.max(reference.ulps(values, exact)) <= bound


@pytest.mark.parametrize("backend", LANES)
@pytest.mark.parametrize("case", SAMPLINGS, ids=name)
def test_samplings(case, backend):
    function, params = case
    sampling = rex_core.bind(getattr(rex_core, function), **params)
    for T in filter(partial(fits, case), BUDGETS):
        reads = BACKENDS[backend][0](sampling, steps_of(T), T)
        exact = [getattr(reference, function)(t, T, **params) for t in steps_of(T)]
        assert reads.dtype.kind == "i"
        assert reads.tolist() == exact


@pytest.mark.parametrize("backend", LANES)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-with-".join(map(name, pair)))
def test_schedules(pair, backend):
    """A profile with a sampling, between warmup and floor."""
    (curve, curve_params, bound), (reads, reads_params) = pair

    def decays(T):
        return all(fits(case, T - 4 - -(-T // 10)) for case in pair)

    schedule = rex_core.Schedule(
        rex_core.bind(getattr(rex_core, curve), **curve_params),
        rex_core.bind(getattr(rex_core, reads), **reads_params),
        peak_value=0.3,
        end_value=0.01,
        init_value=0.05,
        warmup_steps=4,
        hold_ratio=0.1,
    )

    def exact(t, T):
        hold = -(-T // 10)
        if t < 4:
            return mpmath.mpf(0.05) + (mpmath.mpf(0.3) - 0.05) * max(t, 0) / 4
        spent, budget = t - 4 - hold, T - 4 - hold
        read = getattr(reference, reads)(spent, budget, **reads_params)
        factor = getattr(reference, curve)(read, budget, **curve_params)
        return mpmath.mpf(0.01) + (mpmath.mpf(0.3) - 0.01) * factor

    evaluate, dtype = BACKENDS[backend]
    for T in filter(decays, (6, 7, 10, 99, 1000)):
        values = evaluate(schedule, steps_of(T), T)
        assert values.dtype == dtype
        # The peak and the floor in the result's dtype, their product and sum: 2 ulp more.
        assert np.max(reference.ulps(values, [exact(t, T) for t in steps_of(T)])) <= bound + 2
