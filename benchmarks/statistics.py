"""Paired differences: mean, standard error, interval, and significance among several."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95


class Difference(NamedTuple):
    """A mean difference over paired seeds.

    Args:
        mean: The mean of the differences.
        error: Its standard error.
        low, high: The ends of its interval of 95 % confidence, by Student's t.
        p: The two-sided p-value of no difference, of the paired t-test.
    """

    mean: float
    error: float
    low: float
    high: float
    p: float


def paired(values: ArrayLike, baseline: ArrayLike) -> Difference:
    """The mean of values - baseline, (seeds,) each, which stem from the same seeds.

    Seeds that all differ by the same amount have an error of 0, and p is 0, or 1 for no difference.
    """
    values, baseline = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    if values.shape != baseline.shape or values.ndim != 1 or len(values) < 2:
        raise ValueError(
            "values and baseline must be of the same two seeds or more; "
            f"got shapes {values.shape} and {baseline.shape}"
        )
    differences = values - baseline
    mean, error = float(differences.mean()), float(stats.sem(differences))
    if error == 0:
        return Difference(mean, 0.0, mean, mean, float(mean == 0))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, len(values) - 1))
    return Difference(mean, error, mean - half, mean + half, p)


def in_percent(values: ArrayLike, baseline: ArrayLike) -> Difference:
    """The same, in percent of the baseline's mean."""
    values, baseline = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    scale = 100 / baseline.mean()
    return paired(values * scale, baseline * scale)


def geometric_mean(differences: Sequence[Difference]) -> float:
    """The geometric mean of ratios that are given as differences in percent, likewise."""
    return 100 * float(np.expm1(np.mean([np.log1p(d.mean / 100) for d in differences])))


def holm(p: Sequence[float]) -> NDArray[np.float64]:
    """The p-values of a family, adjusted: at most α means significant with all of them tested.

    The i-th least of n, from i = 0, is multiplied by n - i; none is then below a lesser one's.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values)
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(stepped))
    return adjusted
