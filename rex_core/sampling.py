"""The samplings: how often a schedule reads its profile.

Every sampling is a pure function ``(t, T, **params) -> t'``, the moment at which the profile was
last read: t' <= t, and the value read there is held until the next read. Any sampling goes with any
profile. After the budget the last read within it stays; before it, nothing has been read: t' = t.

A read at a fraction p of the budget happens at the first step t with t >= p·T, computed exactly for
integers: 0.7 of 10 is step 7, whatever binary floats say. (If t or T is a float, it happens at p·T
itself.) p is the ratio of smallest denominator that rounds to the float given, 1/3 included; beyond
eight decimals or a denominator of 2^27, it is the nearest such ratio.
"""

import math
from typing import Any

from rex_core.moment import Moment
from rex_core.progress import (
    MIN_FRACTION,
    as_float,
    as_like,
    boundaries,
    boundary,
    ceil_share,
    check,
    check_fractions,
    check_range,
    clamp,
    completed,
    floor,
    is_integer,
    is_number,
    limits,
    nudge,
    rationals,
    spend,
    unify,
    where,
)


def every_step(t: Any, T: Any) -> Any:
    """Read at every step: t' = t.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.

    Returns:
        t.

    Raises:
        ValueError: t is not finite, or T is not a positive finite number.

    >>> every_step(7, 10)
    7

    Source: arXiv 2107.04197 (REX) ("every iteration").
    """
    t, T, xp = unify(t, T)
    return t if t.__class__ is Moment else where(t == t, t, T, xp)


def every(t: Any, T: Any, *, steps: Any) -> Any:
    """Read every so many steps: t' = steps·⌊t/steps⌋.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        steps: The distance between two reads, an integer >= 1, in the unit of t (the steps of an
            epoch, to read once per epoch); any shape that broadcasts with t.

    Returns:
        The moment of the last read. If steps does not divide T, the end of the profile is never
        read.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, steps is not an integer >=
            1.

    >>> [every(t, 10, steps=4) for t in range(11)]
    [0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8]

    Source: the usual decay per epoch; arXiv 2107.04197 (REX).
    """
    check("steps", steps, "an integer >= 1", lambda s: (s >= 1) & (s % 1 == 0))
    t, T, xp, count = unify(t, T, steps)
    t = completed(t, xp)
    _, spent, _ = spend(t, T, xp)
    if xp is not math:
        check_range("steps", steps, *limits(t.dtype, xp), t.dtype)
    if is_integer(spent, xp):
        count = int(count) if is_number(count) else xp.astype(count, t.dtype)
    read = spent - spent % count
    return where(t < read, t, read, xp)


def every_fraction(t: Any, T: Any, *, fraction: Any) -> Any:
    """Read every so large a fraction of the budget: t' is the last ⌈k·fraction·T⌉ <= t, k integer.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        fraction: The distance between two reads, in [1e-6, 1]; 0.05 reads every 5 %, 1/3 three
            times; any shape that broadcasts with t. A traced fraction is a float and no more: its
            reads are off by up to a step and T·2^-21 in float32.

    Returns:
        The moment of the last read.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, fraction is out of range.

    >>> [every_fraction(t, 10, fraction=0.25) for t in range(11)]
    [0, 0, 0, 3, 3, 5, 5, 5, 8, 8, 10]

    Source: arXiv 2107.04197 (REX), Table 2 (every 10 %, 5 %, 1 %).
    """
    accepted = f"in [{MIN_FRACTION:g}, 1]"
    check("fraction", fraction, accepted, lambda p: (p >= MIN_FRACTION) & (p <= 1))
    meant = rationals(fraction)
    t, T, xp, fraction = unify(t, T, fraction)
    t = completed(t, xp)
    _, spent, total = spend(t, T, xp)
    if meant is not None and isinstance(spent, int):
        n, d = meant
        read = ceil_share(spent * d // (n * total) * n, d, total, t, xp)
        return where(t < read, t, read, xp)
    progress = as_float(spent, xp) / as_float(total, xp)
    if meant is None or not is_integer(spent, xp):
        reads = floor(nudge(progress / fraction, 4, xp), xp)
        exact = None if meant is None else (reads * as_like(meant[0], t, xp), meant[1])
        read = boundary(reads * fraction, exact, total, t, xp)
        return where(t < read, t, read, xp)
    n, d = meant
    n, last = as_like(n, t, xp), as_like(d // n, t, xp)
    # A quotient of floats is off by one read at most: of three, take the last that has happened.
    reads = xp.astype(xp.floor(progress / fraction), t.dtype)
    read = 0 * t
    for guess in (reads - 1, reads, reads + 1):
        guess = clamp(guess, last, xp)
        moment = ceil_share(guess * n, d, total, t, xp)
        read = where(moment <= spent, moment, read, xp)
    return where(t < read, t, read, xp)


def at(t: Any, T: Any, *, fractions: Any) -> Any:
    """Read at the start and at the given fractions of the budget.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        fractions: Increasing fractions of the budget, in (0, 1]: (0.5, 0.75) is the paper's 50-75.

    Returns:
        The moment of the last read.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, fractions are not increasing
            in (0, 1].

    >>> [at(t, 10, fractions=(1 / 3, 0.7)) for t in range(11)]
    [0, 0, 0, 0, 4, 4, 4, 7, 7, 7, 7]

    Source: arXiv 2107.04197 (REX), Table 2 (50-75, 33-66, 25-50-75).
    """
    check_fractions("fractions", fractions)
    t, T, xp = unify(t, T)
    t = completed(t, xp)
    _, spent, total = spend(t, T, xp)
    read = spent * 0
    for moment in boundaries(fractions, total, t, xp):
        read = where(spent >= moment, moment, read, xp)
    return where(t < read, t, read, xp)


SAMPLINGS = every_step, every, every_fraction, at
