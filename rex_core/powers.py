"""Powers and exponentials of a share of the budget, to their last digits."""

from rex_core.arrays import Namespace, Real, is_number
from rex_core.moment import Time, where
from rex_core.progress import nearest_integer, quotient, share


def fraction_left(left: Time, spent: Time, xp: Namespace, k: Real) -> Real:
    """R = left/T, or 1 - (t/T)^k with k-decay."""
    if k.__class__ is float and k == 1.0:
        return share(left, spent, xp)
    rest = share(left, spent, xp)
    # The smaller of the two shares gives log(t/T) its digits.
    gone = share(spent, left, xp)
    few = xp.log1p(-where(rest < 0.25, rest, 0.0, xp))
    many = xp.log(where((rest >= 0.25) & (gone > 0), gone, 1.0, xp))
    return where(gone > 0, -xp.expm1(k * (few + many)), 1.0, xp)


def raised(base: Real, power: Real, xp: Namespace) -> Real:
    """base^power for a base in [0, 1]."""
    if (power.__class__ is float or is_number(power)) and power == 2:
        return base * base
    some = where(base > 0, base, 1.0, xp)
    # A power may be rounded to float32, and log(r) amplifies the error.
    digits = power % 2.0**-16
    return where(base > 0, some ** (power - digits) * some**digits, 0.0, xp)


def exp_of(
    part: Time, rest: Time, xp: Namespace, gamma: Real, more: Real = 0.0, start: Real = 0.0
) -> Real:
    """exp(start - (γ + more)·part/(part + rest)). `more` has digits that γ lacks."""
    # An error of the exponent is a relative error of the result: 5 ulp for an exponent of 3.
    if is_number(gamma) and abs(gamma) <= 3 and more == start == 0:
        return xp.exp(-gamma * share(part, rest, xp))
    coarse, fine = quotient(part, rest, xp)
    # first - whole·coarse is exact, and the rest of the exponent is small. The rest takes expm1,
    # since XLA would merge a product of two exp into one exp of the rounded sum.
    whole, first = nearest_integer(gamma, xp), nearest_integer(start, xp)
    small = (start - first) + ((whole - gamma - more) * coarse - gamma * fine)
    if not (is_number(gamma) and abs(gamma) < 2**20):
        # Beyond 60 only where the factor is below exp(-100).
        small = where(small < 60, small, 60.0, xp)
    factor = xp.exp(first - whole * coarse)
    return factor + factor * xp.expm1(small)
