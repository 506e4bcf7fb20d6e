"""Norms that are computed apart, for the tests of the recorded ones."""

import numpy as np
import pytest

NORMS = {"l2": 2, "l1": 1}
T = 12

both = pytest.mark.parametrize("norm", NORMS)


def norm_of(arrays, norm):
    """The norm in float64, by NumPy."""
    numbers = np.concatenate([np.asarray(each, np.float64).ravel() for each in arrays])
    return np.linalg.norm(numbers, NORMS[norm])


def clipped(norms, most):
    return np.minimum(norms, most)
