"""What the tests of originals share: settings, a tolerance, an optimizer."""

import numpy as np
import torch

PEAK, END, INIT = 0.4, 0.01, 0.02
WARMUP, COOLDOWN = 10, 20
# Multiples of 40, so that shares are whole steps: one expression serves every budget.
BUDGETS = (80, 200, 1000)


def close(values, expected, roundings=1):
    """Assert that values are equal but for rounding in float64.

    Where an original subtracts a rounded ratio from 1, or adds a rounded cosine to 1, its error is
    that of 1, however small the result. A recursion rounds once more at every step.
    """
    expected = np.asarray(expected)
    assert expected.dtype == np.float64
    atol = 4 * 2.0**-52 * roundings * np.abs(expected).max()
    np.testing.assert_allclose(values, expected, rtol=8 * 2.0**-52, atol=atol)


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK, momentum=0.9)


def before_the_end(values):
    """Return the steps 0 to T - 1 alone, for originals that leave their curve at T."""
    return lambda T: values(T)[:T]
