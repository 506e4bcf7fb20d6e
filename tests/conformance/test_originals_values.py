"""What holds for the expression of every original: dictionaries, pickles, backends, Replan."""

import json
import pickle

import numpy as np
import pytest

from rex_core import Replan, from_dict, to_dict
from tests.conformance.backends import BACKENDS
from tests.conformance.originals import close
from tests.conformance.test_originals import FORMULAS
from tests.conformance.test_originals_jax import JAX
from tests.conformance.test_originals_torch import TORCH
from tests.conformance.test_originals_trainers import TRAINERS

pytestmark = pytest.mark.long

EXPRESSIONS = {name: ours for name, (ours, _) in (FORMULAS | JAX | TORCH | TRAINERS).items()}
every = pytest.mark.parametrize("value", EXPRESSIONS.values(), ids=EXPRESSIONS)


@every
def test_dictionaries_and_pickles(value):
    assert from_dict(json.loads(json.dumps(to_dict(value)))) == value
    assert pickle.loads(pickle.dumps(value)) == value


@every
def test_backends(value):
    T = 200
    steps = [*range(T + 5)]
    exact = np.array([value(t, T) for t in steps])
    for name, (evaluate, dtype) in BACKENDS.items():
        values = evaluate(value, steps, T)
        assert values.dtype == dtype, name
        # A curve has 8 ulp; a second curve and the sum with a floor add to that. Where a floor is
        # subtracted, the error is that of what it is subtracted from.
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(
            values, exact, 16 * eps, 2 * eps * abs(exact).max(), err_msg=name
        )


@every
def test_replan(value):
    """The old plan until t0; then its rest, twice as fast, half as fast, or with any stretch."""
    t0, T0 = 120, 200
    ours = Replan(value, t0, T0)
    for T in (130, 160, 200, 280, 317):
        assert [ours(t, T) for t in range(t0 + 1)] == [value(t, T0) for t in range(t0 + 1)]
        assert ours(T, T) == value(T0, T0)
    rest = [value(t, T0) for t in range(t0, T0 + 1)]
    close([ours(t, 160) for t in range(t0, 161)], rest[::2])
    close([ours(t, 280) for t in range(t0, 281, 2)], rest)
