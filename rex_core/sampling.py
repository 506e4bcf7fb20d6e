"""The samplings: how often a schedule reads its profile.

A sampling is a pure function ``(t, T, **params) -> t'``. The profile was last read at the moment
t' <= t. The value read there holds until the next read. Any sampling goes with any profile. After
the budget the last read within it holds. Before the budget nothing has been read, and t' = t.

A read at a share p of the budget happens at the first step t with t >= p·T. For integers this step
is exact: 0.7 of 10 is step 7, whatever binary floats say. If t or T is a float, the read happens at
p·T itself. A float stands for the ratio of smallest denominator that rounds to it, 1/3 included.
This is exact up to a denominator of 2^26, and so for seven decimals. Beyond, the nearest ratio with
a denominator up to 2^26 is taken.
"""

import math
from collections.abc import Sequence

from rex_core.arrays import Namespace, Real, alike, check_limits, is_integer, limits
from rex_core.boundary import Milestone, Milestones, Share, ceil_share
from rex_core.door import sampling
from rex_core.moment import as_float, clamp, where
from rex_core.progress import floor, nudge
from rex_core.ranges import COUNT


@sampling(always=True)
def every_step(spent: Real, T: Real, xp: Namespace) -> Real:
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
    return spent


@sampling(steps=COUNT)
def every(spent: Real, T: Real, xp: Namespace, *, steps: Real) -> Real:
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
    if xp is not math:
        check_limits("steps", steps, *limits(spent.dtype, xp), spent.dtype)
        steps = alike(steps, spent, xp)
    if steps.__class__ is float and is_integer(spent, xp):
        steps = int(steps)
    return spent - spent % steps


@sampling(fraction=Share())
def every_fraction(spent: Real, T: Real, xp: Namespace, *, fraction: Real) -> Real:
    """Read at multiples of a fraction of T: t' is the last ⌈k·fraction·T⌉ <= t, with k an integer.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        fraction: The distance between two reads, in [1e-6, 1]; 0.05 reads every 5 %, 1/3 three
            times; any shape that broadcasts with t. A traced fraction has the digits of a float:
            its reads are off by up to one step and T·2^-21 in float32.

    Returns:
        The moment of the last read.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, fraction is out of range.

    >>> [every_fraction(t, 10, fraction=0.25) for t in range(11)]
    [0, 0, 0, 3, 3, 5, 5, 5, 8, 8, 10]

    Source: arXiv 2107.04197 (REX), Table 2 (every 10 %, 5 %, 1 %).
    """
    if spent.__class__ is int and fraction.ratio is not None and xp is math:
        n, d = fraction.ratio
        return -(-(spent * d // (n * T) * n) * T // d)
    progress = as_float(spent, xp) / as_float(T, xp)
    if fraction.ratio is None or not is_integer(spent, xp):
        size = fraction.share if xp is math else alike(fraction.share, progress, xp)
        reads = floor(nudge(progress / size, 4, xp), xp)
        return fraction.times(reads, xp).at(T, spent, xp)
    n, d = fraction.ratio
    n, last = alike(n, spent, xp), alike(d // n, spent, xp)
    size = alike(fraction.share, progress, xp)
    # A quotient of floats is off by one read at most: the last of three that has happened is right.
    reads = xp.astype(xp.floor(progress / size), spent.dtype)
    read = 0 * spent
    for guess in (reads - 1, reads, reads + 1):
        guess = clamp(guess, last, xp)
        moment = ceil_share(guess * n, d, T, spent, xp)
        read = where(moment <= spent, moment, read, xp)
    return read


@sampling(milestones=Milestones())
def at(spent: Real, T: Real, xp: Namespace, *, milestones: Sequence[Milestone]) -> Real:
    """Read at the start and at the milestones p: t' is the last ⌈p·T⌉ <= t, or 0 before them.

    Args:
        t: How much of the budget is spent; any shape.
        T: The budget, > 0, in the unit of t; any shape that broadcasts with t.
        milestones: Increasing places: shares of the budget in (0, 1]; positive integers, steps from
            the start; negative integers, steps back from the end. (0.5, 0.75) is the paper's 50-75.

    Returns:
        The moment of the last read.

    Raises:
        ValueError: t is not finite, T is not a positive finite number, milestones are not
            increasing places in the budget.

    >>> [at(t, 10, milestones=(1 / 3, 0.7)) for t in range(11)]
    [0, 0, 0, 0, 4, 4, 4, 7, 7, 7, 7]

    Source: arXiv 2107.04197 (REX), Table 2 (50-75, 33-66, 25-50-75).
    """
    read = 0 * spent
    for place in milestones:
        read = where(spent >= place, place, read, xp)
    return read
