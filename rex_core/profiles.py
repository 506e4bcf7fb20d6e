"""The profiles: the curve of a schedule, from 1 at the start of the budget to its end.

A profile is a pure function ``(t, T, **params) -> factor``. T is the budget, and t the part of it
that is spent, in one unit (steps, samples, tokens, seconds). A function here is the formula of a
profile, with left = T - t and spent = t. `rex_core.door` makes the profile from it. All profiles
share these rules:

* Python numbers give a Python float. Arrays (NumPy, JAX, PyTorch, ...) give floats of that library,
  elementwise and broadcast over t, T and the numeric parameters. Any of them may be traced.
* The factor is 1 at t = 0. Below t = 0 it stays 1. Above t = T it stays as it is at T.
* Bad values raise `ValueError`: a T that is not positive, NaN, infinities, parameters out of range.
  Traced values are not checked. They never give NaN. A traced T that is no budget counts as spent.
* For integers up to 2^31 - 1 the error is bounded, down to the last steps, in the dtype of the
  result: 4 ulp for rex, linear, step and constant; 8 ulp for the others, up to power 3 of
  polynomial, γ = 10 of exponential and power 1 of cosine; 16 ulp for cosine up to power 3, and for
  k-decay up to power 1. Where exact values differ by less than the error, a computed value can be
  an ulp or a few above the value of the step before.
"""

import math
from collections.abc import Sequence
from typing import cast

from rex_core.arrays import Namespace, Number, Real, is_integer, is_number
from rex_core.boundary import Milestone, Milestones
from rex_core.door import profile
from rex_core.moment import Time, as_float, parts, where
from rex_core.powers import exp_of, fraction_left, raised
from rex_core.progress import nearest_integer, product, total
from rex_core.ranges import SHARE_OR_ALL, Range
from rex_core.table import Table, Values, looked_up

_POWER = Range(0, 1e30, "(]")
_K_DECAY = Range(1e-3, 1e3)
_SMALLER = 2.0**17
_RIGHT_ANGLE = math.pi / 2


@profile(beta=Range(-1e30, 1, "[)"))
def rex(left: Time, spent: Time, xp: Namespace, *, beta: Real = 0.5) -> Real:
    """REX, the reflected exponential: r / ((1 - β) + β·r), with r = (T - t)/T the fraction left.

    β = ½ is the paper's curve, β = 0 is linear. Several ports take β = 0.9. A larger β keeps the
    rate high for longer. Inverse-time decay, 1/(1 + k·t/T), has β = -k and the end 1/(1 + k).

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        beta: β, in [-1e30, 1); any shape that broadcasts with t.

    Returns:
        The factor, in [0, 1], from 1 at t = 0 to exactly 0 at t = T.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, beta is not in [-1e30, 1).

    >>> [round(rex(t, 100), 4) for t in (0, 50, 90, 99, 100)]
    [1.0, 0.6667, 0.1818, 0.0198, 0.0]
    >>> rex(50, 100, beta=0.9)
    0.9090909090909091

    Source: Chen, Wolfe, Kyrillidis, "REX: Revisiting Budgeted Training with an Improved Schedule",
    MLSys 2022, arXiv 2107.04197; the curve with β, Chen, Wolfe, Li, Kyrillidis, "Demon",
    arXiv 1910.04952, the formula of β_t divided by β₀.
    """
    return left / (left + (1.0 - beta) * spent)


@profile()
def linear(left: Time, spent: Time, xp: Namespace) -> Real:
    """Linear decay: r = (T - t)/T, the fraction left.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.

    Returns:
        The factor, in [0, 1], from 1 at t = 0 to exactly 0 at t = T.

    Raises:
        ValueError: t is not finite, or T is not a positive finite number.

    >>> [linear(t, 4) for t in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]

    Source: Li, Yumer, Ramanan, "Budgeted Training: Rethinking Deep Neural Network Training Under
    Resource Constraints", ICLR 2020, arXiv 1905.04753.
    """
    return left / (left + spent)


@profile(integers=True, power=_POWER, k=_K_DECAY)
def cosine(left: Time, spent: Time, xp: Namespace, *, power: Real = 1.0, k: Real = 1.0) -> Real:
    """Cosine decay: (½(1 + cos(π·t/T)))^power, computed as sin²(π/2·r)^power, with r = (T - t)/T.

    The sine keeps its digits near t = T, where 1 + cos has none left.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        power: The exponent, in (0, 1e30]; any shape that broadcasts with t. ½ is the half cosine,
            cos(π/2·t/T). The error is at most 8 ulp up to 1, and 16 ulp up to 3.
        k: The exponent of k-decay, in [1e-3, 1e3]: (t/T)^k takes the place of t/T. 1 is no k-decay.
            With another k the error is at most 16 ulp up to power 1.

    Returns:
        The factor, in [0, 1], from 1 at t = 0 to exactly 0 at t = T, with no rebound after it.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, a parameter is out of range.

    >>> [round(cosine(t, 4), 4) for t in range(6)]
    [1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017,
    arXiv 1608.03983, equation 5, without restarts; k, Zhang, Li, "k-decay: A New Method for
    Learning Rate Schedule", arXiv 2004.05909.
    """
    return raised(xp.sin(_RIGHT_ANGLE * fraction_left(left, spent, xp, k)), 2.0 * power, xp)


@profile(integers=True, gamma=Range(0, 1e30))
def exponential(left: Time, spent: Time, xp: Namespace, *, gamma: Real = 3.0) -> Real:
    """Exponential decay: exp(-γ·t/T). It ends at exp(-γ), not at 0.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        gamma: γ, in [0, 1e30]; any shape that broadcasts with t. The error is bounded up to 10.

    Returns:
        The factor, from 1 at t = 0 to exp(-γ) at t = T.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, gamma is not in [0, 1e30].

    >>> [round(exponential(t, 4), 4) for t in range(6)]
    [1.0, 0.4724, 0.2231, 0.1054, 0.0498, 0.0498]

    Source: arXiv 2107.04197 (REX), which runs γ = 3.
    """
    return exp_of(spent, left, xp, gamma)


@profile(integers=True, ratio=Range(1e-30, 1e30))
def geometric(left: Time, spent: Time, xp: Namespace, *, ratio: Real) -> Real:
    """Geometric change: ratio^(t/T). It ends at ratio. A ratio above 1 gives a rise.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        ratio: The factor at t = T, in [1e-30, 1e30]; any shape that broadcasts with t.

    Returns:
        The factor, from 1 at t = 0 to ratio at t = T.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, ratio is out of range.

    >>> [round(geometric(t, 4, ratio=16), 4) for t in range(6)]
    [1.0, 2.0, 4.0, 8.0, 16.0, 16.0]

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186 (the
    range test, there with a linear rise).
    """
    library = math if is_number(ratio) else xp
    logarithm = library.log(ratio)
    lacking = (ratio - library.exp(logarithm)) / ratio  # The digits that the logarithm lacks.
    return exp_of(spent, left, xp, -logarithm, -lacking)


@profile(integers=True, power=_POWER, k=_K_DECAY)
def polynomial(left: Time, spent: Time, xp: Namespace, *, power: Real = 2.0, k: Real = 1.0) -> Real:
    """Polynomial decay: r^power, with r = (T - t)/T the fraction left.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        power: The exponent, in (0, 1e30]; any shape that broadcasts with t. The error is
            bounded up to power 3, and grows with the power.
        k: The exponent of k-decay, in [1e-3, 1e3]: (t/T)^k takes the place of t/T. 1 is no k-decay.
            With another k the error is at most 16 ulp up to power 1.

    Returns:
        The factor, in [0, 1], from 1 at t = 0 to exactly 0 at t = T.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, a parameter is out of range.

    >>> [polynomial(t, 4) for t in range(6)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]

    Source: Chen et al., "DeepLab", arXiv 1606.00915 ("poly" with power 0.9); k,
    arXiv 2004.05909.
    """
    return raised(fraction_left(left, spent, xp, k), power, xp)


@profile()
def one_minus_sqrt(left: Time, spent: Time, xp: Namespace) -> Real:
    """The cooldown of warmup-stable-decay: 1 - √(t/T), computed as r / (1 + √(t/T)).

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.

    Returns:
        The factor, in [0, 1], from 1 at t = 0 to exactly 0 at t = T.

    Raises:
        ValueError: t is not finite, or T is not a positive finite number.

    >>> [round(one_minus_sqrt(t, 4), 4) for t in range(6)]
    [1.0, 0.5, 0.2929, 0.134, 0.0, 0.0]

    Source: Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
    Durations", NeurIPS 2024, arXiv 2405.18392.
    """
    # √0 has no slope. The added number is near float32's smallest, and below any rounding.
    whole = left + spent
    root = xp.sqrt(spent / whole + 2e-38)
    return left / whole / (1.0 + root)


@profile(timescale=Range(1e-30, 1e30))
def inverse_sqrt(left: Time, spent: Time, xp: Namespace, *, timescale: Real) -> Real:
    """Inverse square root decay: 1 / √(1 + t/timescale). T does not change it.

    In a `Schedule` with ``warmup_steps=timescale`` it is the decay of Noam and fairseq: √(timescale
    / step), with the step counted from the start of the run.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        timescale: In the unit of t, in [1e-30, 1e30]; any shape that broadcasts with t.

    Returns:
        The factor, in (0, 1], from 1 at t = 0 to 1 / √(1 + T/timescale) at t = T.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, timescale is out of range.

    >>> [round(inverse_sqrt(t, 800, timescale=100), 4) for t in (0, 300, 800, 900)]
    [1.0, 0.5, 0.3333, 0.3333]

    Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762, equation 3.
    """
    return 1.0 / xp.sqrt(1.0 + spent / timescale)


@profile()
def logarithmic(left: Time, spent: Time, xp: Namespace) -> Real:
    """Logarithmic decay: log(1 + T - t) / log(1 + T), with t and T in steps.

    As a ``warmup_profile`` it is the warmup of DeepSpeed. DeepSpeed's ``warmup_num_steps`` is
    ``warmup_steps + 1``.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.

    Returns:
        The factor, in [0, 1], from 1 at t = 0 to exactly 0 at t = T.

    Raises:
        ValueError: t is not finite, or T is not a positive finite number.

    >>> [round(logarithmic(t, 7), 4) for t in (0, 4, 6, 7)]
    [1.0, 0.6667, 0.3333, 0.0]

    Source: DeepSpeed's WarmupLR, ``warmup_type="log"``.
    """
    return xp.log1p(left) / xp.log1p(left + spent)


@profile(integers=True, lower=Range(-40, 40), upper=Range(-40, 40))
def tanh(left: Time, spent: Time, xp: Namespace, *, lower: Real = -7.0, upper: Real = 3.0) -> Real:
    """Hyperbolic tangent decay: ½(1 - tanh z), with z = lower + (upper - lower)·t/T.

    It starts a little below 1 and ends a little above 0.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        lower: z at t = 0, in [-40, 40]; any shape that broadcasts with t.
        upper: z at t = T, in [-40, 40]; any shape that broadcasts with t.

    Returns:
        The factor, in [0, 1].

    Raises:
        ValueError: t is not finite, T is not a positive finite number, a parameter is out of range.

    >>> [round(tanh(t, 10), 4) for t in (0, 5, 7, 9, 10)]
    [1.0, 0.982, 0.5, 0.018, 0.0025]

    Source: Hsueh, Li, Wu, "Stochastic Gradient Descent with Hyperbolic-Tangent Decay on
    Classification", WACV 2019, arXiv 1806.01593.
    """
    return 1.0 / (1.0 + exp_of(spent, left, xp, -2.0 * (upper - lower), start=2.0 * lower))


@profile(integers=True, milestones=Milestones(), factor=SHARE_OR_ALL)
def step(
    left: Time,
    spent: Time,
    xp: Namespace,
    *,
    milestones: Sequence[Milestone] = (0.5, 0.75),
    factor: Real = 0.1,
) -> Real:
    """Step decay: factor to the power of the number of milestones passed.

    The milestone at share p is passed at the first step t with t >= p·T. This step is exact.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        milestones: Increasing places: shares of the budget in (0, 1]; positive integers, steps from
            the start; negative integers, steps back from the end. 30-60-90 is (0.3, 0.6, 0.9).
        factor: The factor at each milestone, in [0, 1]; any shape that broadcasts with t.

    Returns:
        The factor, from 1 at t = 0 to factor^len(milestones).

    Raises:
        ValueError: t is not finite, T is not a positive finite number, milestones are not
            increasing places in the budget, factor is not in [0, 1].

    >>> [round(step(t, 8), 4) for t in range(9)]
    [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01, 0.01]

    Source: arXiv 2107.04197 (REX), which runs the defaults.
    """
    value = as_float(spent, xp) ** 0.0
    for passed, place in enumerate(milestones, start=1):
        value = where(spent >= place, 1.0 * factor**passed, value, xp)
    return value


@profile(integers=True, values=Table())
def interpolate(left: Time, spent: Time, xp: Namespace, *, values: Sequence[Number]) -> Real:
    """A curve that was measured or searched: piecewise linear through values at equal distances.

    With n values, value i stands at t = i·T/(n - 1).

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        values: Two or more known finite numbers, the first at t = 0 and the last at t = T; a list,
            a tuple or an array with one axis.

    Returns:
        The value: the first one at t = 0, the last one at t = T.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, values are not such numbers.

    >>> [interpolate(t, 8, values=(0.5, 1, 0)) for t in range(9)]
    [0.5, 0.625, 0.75, 0.875, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    table = cast(Values, values)  # From `Table.ready`.
    if is_integer(parts(left)[0], xp):
        # The place among the values, counted from the last one to keep the last digits.
        place = product(table.last, left, total(left, spent), xp)
        nearest, beyond = place.whole, place.part
    else:
        left = left / _SMALLER  # Exact, and no product below overflows.
        T = left + spent / _SMALLER
        passed = table.last * left
        nearest = nearest_integer(passed / T, xp)
        beyond = (passed - nearest * T) / T
    near = looked_up(table, nearest, beyond, xp)
    far = looked_up(table, nearest + where(beyond < 0, -1, 1, xp), beyond, xp)
    away = abs(beyond)
    return near * (1.0 - away) + far * away


@profile()
def constant(left: Time, spent: Time, xp: Namespace) -> Real:
    """No decay: 1 everywhere, the curve to compare with.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.

    Returns:
        1, in the shape and dtype that the other profiles would have.

    Raises:
        ValueError: t is not finite, or T is not a positive finite number.

    >>> constant(3, 4)
    1.0

    Source: arXiv 2107.04197 (REX), "no schedule".
    """
    return left**0.0
