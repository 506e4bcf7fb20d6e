"""The profiles: which curve a schedule follows from 1, at the start of the budget, to its end.

Every profile is a pure function ``(t, T, **params) -> factor``. t is how much of the budget is
spent, T the whole budget, in one unit (steps, samples, tokens, seconds). All of them share these
rules:

* Python numbers in, a Python float out; arrays (NumPy, JAX, PyTorch, ...) in, that library's floats
  out, elementwise and broadcast over t, T and the numeric parameters; any of them may be traced.
* 1 at t = 0; outside [0, T] the value is held at the end it passed.
* Bad values raise `ValueError`: a T that is not positive, NaN, infinities, parameters out of range.
  Traced values cannot be checked; they never give NaN, and a T that is no budget counts as spent.
* Within 4 ulp (rex, linear, step, constant) or 8 ulp (the others; polynomial up to power 3,
  exponential up to γ = 10) of the exact value, in the dtype of the result, for integers up to
  2^31 - 1, the last steps included. So the value falls, or rises by an ulp where two steps differ
  by less than that.
"""

import math
from functools import partial
from typing import Any

from rex_core.progress import (
    as_float,
    blockwise,
    boundaries,
    check,
    check_fractions,
    completed,
    floats_if_exact,
    floor,
    is_long,
    less,
    measure,
    quotient,
    ratio,
    spend,
    unify,
    where,
)

_PAPER = 0.5
_QUARTER_TURN = math.pi / 2
_BEYOND = 2**1023  # Where integers have no float.


def rex(t: Any, T: Any, *, beta: Any = _PAPER) -> Any:
    """REX, the reflected exponential: r / ((1 - β) + β·r), with r = (T - t)/T the fraction left.

    β = ½ is the paper's curve, 0 is linear, 0.9 is what several ports call REX; the larger β, the
    longer the rate stays high; below 0 it falls early.

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
    if beta is _PAPER and t.__class__ is int is T.__class__ and 0 <= t < T:
        left: Any = T - t
        return 2 * left / (left + T)
    known = check("beta", beta, "in [-1e30, 1)", _below_one)
    if known and t.__class__ is int is T.__class__ and 0 <= t < T < _BEYOND:
        left, spent, xp = T - t, t, math
    elif is_long(t, T, beta):
        return blockwise(partial(rex, beta=beta), t, T)
    else:
        left, spent, xp, beta = measure(floats_if_exact(t, T), T, beta)
        left, spent = as_float(left, xp), as_float(spent, xp)
    rest = where(beta < 1, 1.0 - beta, 1e-30, xp) * spent
    rest += left
    return left / rest


def linear(t: Any, T: Any) -> Any:
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
    if t.__class__ is int and T.__class__ is int and 0 <= t < T < _BEYOND:
        return (T - t) / T
    left, spent, xp = measure(t, T)
    return ratio(left, spent, xp)


def cosine(t: Any, T: Any) -> Any:
    """Cosine decay: ½(1 + cos(π·t/T)), computed as sin²(π/2·r), which keeps its digits near t = T.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.

    Returns:
        The factor, in [0, 1], from 1 at t = 0 to exactly 0 at t = T, with no rebound after it.

    Raises:
        ValueError: t is not finite, or T is not a positive finite number.

    >>> [round(cosine(t, 4), 4) for t in range(6)]
    [1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017,
    arXiv 1608.03983, equation 5, without restarts.
    """
    if t.__class__ is int is T.__class__ and 0 <= t < T < _BEYOND:
        share, xp = (T - t) / T, math
    else:
        left, spent, xp = measure(t, T)
        coarse, fine = quotient(left, spent, xp)
        share = coarse + fine
    sine = xp.sin(_QUARTER_TURN * share)
    return sine * sine


def exponential(t: Any, T: Any, *, gamma: Any = 3.0) -> Any:
    """Exponential decay: exp(-γ·t/T). It ends at exp(-γ), not at 0.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        gamma: γ, in [0, 1e30]; any shape that broadcasts with t. The bound on the error holds up to
            γ = 10.

    Returns:
        The factor, from 1 at t = 0 to exp(-γ) at t = T.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, gamma is not in [0, 1e30].

    >>> [round(exponential(t, 4), 4) for t in range(6)]
    [1.0, 0.4724, 0.2231, 0.1054, 0.0498, 0.0498]

    Source: arXiv 2107.04197 (REX), which runs γ = 3.
    """
    check("gamma", gamma, "in [0, 1e30]", lambda g: (g >= 0) & (g <= 1e30))
    left, spent, xp, gamma = measure(t, T, gamma)
    coarse, fine = quotient(spent, left, xp)
    # An error of the exponent is a relative error of the result. whole·coarse is exact and the rest
    # of the exponent small; expm1, because XLA would merge a product of two exp into one of the
    # rounded sum. The rest is beyond 60 only where the factor is below exp(-100).
    whole = floor(gamma + 0.5, xp)
    rest = (whole - gamma) * coarse - gamma * fine
    factor = xp.exp(-whole * coarse)
    return factor + factor * xp.expm1(where(rest < 60, rest, 60.0, xp))


def polynomial(t: Any, T: Any, *, power: Any = 2.0) -> Any:
    """Polynomial decay: r^power, with r = (T - t)/T the fraction left.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        power: The exponent, in (0, 1e30]; any shape that broadcasts with t. The bound on the error
            holds up to power 3, and its errors grow with the power.

    Returns:
        The factor, in [0, 1], from 1 at t = 0 to exactly 0 at t = T.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, power is not in (0, 1e30].

    >>> [polynomial(t, 4) for t in range(6)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]

    Source: Chen et al., "DeepLab", arXiv 1606.00915 ("poly" with power 0.9).
    """
    check("power", power, "in (0, 1e30]", lambda p: (p > 0) & (p <= 1e30))
    left, spent, xp, power = measure(t, T, power)
    coarse, fine = quotient(left, spent, xp)
    base = where(less(0, left), coarse + fine, 1.0, xp)
    # A power that is no float32 would be rounded to one, and log(r) amplifies that.
    digits = power % 2.0**-16
    return where(less(0, left), base ** (power - digits) * base**digits, 0.0, xp)


def one_minus_sqrt(t: Any, T: Any) -> Any:
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
    left, spent, xp = measure(t, T)
    root = xp.sqrt(where(less(0, spent), ratio(spent, left, xp), 1.0, xp))
    return ratio(left, spent, xp) / (1.0 + where(less(0, spent), root, 0.0, xp))


def step(t: Any, T: Any, *, milestones: Any = (0.5, 0.75), factor: Any = 0.1) -> Any:
    """Step decay: factor to the power of the number of milestones passed.

    A milestone p is passed at the first step t with t >= p·T, found exactly.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        milestones: Increasing fractions of the budget, in (0, 1]; (0.3, 0.6, 0.9) is 30-60-90.
        factor: The factor at each milestone, in [0, 1]; any shape that broadcasts with t.

    Returns:
        The factor, from 1 at t = 0 to factor^len(milestones).

    Raises:
        ValueError: t is not finite, T is not a positive finite number, milestones are not
            increasing in (0, 1], factor is not in [0, 1].

    >>> [round(step(t, 8), 4) for t in range(9)]
    [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01, 0.01]

    Source: arXiv 2107.04197 (REX), which runs the defaults.
    """
    check("factor", factor, "in [0, 1]", lambda f: (f >= 0) & (f <= 1))
    check_fractions("milestones", milestones)
    t, T, xp, factor = unify(t, T, factor)
    t = completed(t, xp)
    _, spent, total = spend(t, T, xp)
    value = as_float(0 * spent, xp) + 1.0
    for passed, moment in enumerate(boundaries(milestones, total, t, xp), start=1):
        value = where(spent >= moment, 1.0 * factor**passed, value, xp)
    return value


def constant(t: Any, T: Any) -> Any:
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
    left, _, xp = measure(t, T)
    return 0 * as_float(left, xp) + 1.0


def _below_one(value: Any) -> Any:
    return (value >= -1e30) & (value < 1)


PROFILES = rex, linear, cosine, exponential, polynomial, one_minus_sqrt, step, constant
