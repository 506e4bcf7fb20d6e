"""The bounds in ulp, up to the longest budgets and down to the last steps."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rex_core
from tests.conformance import reference
from tests.conformance.backends import BACKENDS
from tests.conformance.test_values import PROFILES, fits, name

pytestmark = pytest.mark.long

LARGEST = 2**31 - 1
BUDGETS = [1, 2, 3, 5, 7, 10, 100, 10**4, 10**6, 2**24 + 3, 10**8, LARGEST]
ENDING_AT_ZERO = [
    case for case in PROFILES if float(getattr(reference, case[0])(9, 9, **case[1])) == 0
]


def budgets_and_steps(seed):
    """The budgets, and random ones of every size; their last 1000 steps, and random ones.

    Of those there are as many at every distance from the start and from the end.
    """
    draw = random.Random(seed)
    for T in [*BUDGETS, *(int(2 ** draw.uniform(0, 31)) for _ in range(8))]:
        last = [max(T - left, 0) for left in range(1001)]  # As many for every T: compiled once.
        spread = [draw.randint(0, T) for _ in range(150)]
        early = [int(T ** draw.random()) for _ in range(150)]
        late = [T - int(T ** draw.random()) for _ in range(150)]
        yield T, [*last, *spread, *early, *late]


@pytest.mark.parametrize("case", PROFILES, ids=name)
def test_bounds(case):
    function, params, bound = case
    profile = rex_core.bind(getattr(rex_core, function), **params)
    for T, steps in budgets_and_steps(name(case)):
        if not fits(case, T):
            continue
        exact = [getattr(reference, function)(t, T, **params) for t in steps]
        near = reference.two_floats(exact)
        for backend in ("python", "numpy", "jax_jit", "jax_x64", "torch"):
            values = BACKENDS[backend][0](profile, steps, T)
            worst = np.max(reference.ulps_of_two_floats(values, *near))
            assert worst <= bound, f"{worst} ulp in {backend} at T = {T}"


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("case", ENDING_AT_ZERO, ids=name)
def test_exactly_zero_at_the_end_and_one_at_the_start(case, x64):
    function, params, _ = case
    profile = jax.jit(rex_core.bind(getattr(rex_core, function), **params))
    with jax.enable_x64(x64):
        budgets = jnp.concatenate([jnp.arange(1, 3001), jnp.array([10**8, LARGEST - 1, LARGEST])])
        assert np.all(np.asarray(profile(budgets, budgets)) == 0)
        last = np.asarray(profile(budgets - 1, budgets))
        exact = [getattr(reference, function)(T - 1, T, **params) for T in budgets.tolist()]
        smallest = float(np.finfo(last.dtype).tiny)
        assert all(value > 0 or e < smallest for value, e in zip(last, exact, strict=True))
        assert np.all(np.asarray(profile(0 * budgets, budgets)) == 1)
