"""How much of a budget is left and spent: every profile and every sampling starts from this.

Integers are subtracted as integers. Only the difference becomes a float. Near the end of a long
run, ``1 - t/T`` has no correct digit in float32, and ``(T - t) / T`` has all of them.
"""

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from rex_core.arrays import (
    FLOAT64,
    MAX_FLOAT,
    NUMPY,
    Array,
    Namespace,
    Real,
    check_limits,
    converted,
    default_dtypes,
    is_array,
    is_integer,
    is_number,
    is_torch,
    limits,
    namespace,
    python_number,
    standard,
)
from rex_core.moment import Moment, Time, as_float, clamp, minus, parts, where
from rex_core.ranges import ANY, POSITIVE

GRID = 2**14
EXACT_STEPS = 2**39  # Up to this, steps times a coarse share of `quotient` are exact.
BLOCK = 2**14  # So many values, with those computed from them, stay in a core's cache.

Params = Mapping[str, Real]


def unify(
    t: Time, T: Real, params: Params | None = None, others: Iterable[Array] = ()
) -> tuple[Time, Real, Namespace, dict[str, Real]]:
    """Check t and T and bring them to one kind of number, of one library.

    Both become integers. If one of them is a float, both become floats of 32 bits or more. A T that
    was a Python number stays one, so that it is known even under a compiler. A traced T that is no
    budget (zero, negative, NaN, infinite, too small to divide by) becomes 0.

    Args:
        t: How much of the budget is spent, perhaps a `Moment`.
        T: The budget.
        params: Numbers by their names.
        others: More arrays, which help to find the library.

    Returns:
        (t, T, xp, params). If all of them are Python numbers, xp is `math`. Otherwise t is an array
        of xp, and arrays among the params become floats of xp, in the dtype of the result. A
        `Moment` stays one, unless T is a float.
    """
    params = {} if params is None else params
    if t.__class__ is Moment:
        whole, T, xp, values = unify(t.whole, T, params, others)
        part = t.part if xp is math else as_float(0 * whole, xp) + t.part
        is_moment = is_integer(whole, xp)
        return Moment(whole, part) if is_moment else whole + part, T, xp, values
    ANY.check("t", t)
    POSITIVE.check("T", T)
    t, T = standard(t), standard(T)
    values = {name: standard(value) for name, value in params.items()}
    xp = namespace(t, T, *values.values(), *others)
    if xp is math:
        if isinstance(t, float) or isinstance(T, float):
            t, T = float(t), float(T)
            check_limits("T", T, *FLOAT64, "float64")
        return t, T, xp, values
    dtype = _common_dtype(t, T, xp)
    least, most = limits(dtype, xp)
    if is_number(t) or t.dtype != dtype:
        check_limits("t", t, -most, most, dtype)
    check_limits("T", T, least, most, dtype)
    device = next((v.device for v in (t, T, *values.values(), *others) if is_torch(v)), None)
    t = converted(t, dtype, device, xp)
    if is_number(T):
        T = T if xp.isdtype(dtype, "integral") else float(T)
    else:
        T = converted(T, dtype, device, xp)
        T = where((least <= T) & (most >= T), T, 0, xp)
    real = default_dtypes(xp)["real floating"] if xp.isdtype(dtype, "integral") else dtype
    for name, value in values.items():
        if is_array(value):
            values[name] = converted(value, real, device, xp)
        else:
            largest = float(xp.finfo(real).max)
            check_limits(name, value, -largest, largest, real)
    return t, T, xp, values


def _common_dtype(t: Real, T: Real, xp: Namespace) -> Any:
    dtypes = [
        xp.asarray(np.empty(0, v.dtype)).dtype if isinstance(v, NUMPY) else v.dtype
        for v in (t, T)
        if not is_number(v)
    ]
    floats = [dtype for dtype in dtypes if xp.isdtype(dtype, "real floating")]
    if floats:
        dtype = max(floats, key=lambda each: xp.finfo(each).bits)
        return dtype if xp.finfo(dtype).bits >= 32 else xp.float32
    kind = "real floating" if isinstance(t, float) or isinstance(T, float) else "integral"
    return default_dtypes(xp)[kind]


def measure(
    t: Time, T: Real, params: Params | None = None, others: Iterable[Array] = ()
) -> tuple[Time, Time, Real, Namespace, dict[str, Real]]:
    """How much is left and how much is spent.

    Returns:
        (left, spent, T, xp, params) with left + spent = T > 0. left and spent are not negative.
        They are integers where t and T were integers, and a `Moment` each where t was one. A T that
        was a Python number stays one.
    """
    t, T, xp, values = unify(t, T, params, others)
    return *split(t, T, xp), xp, values


def split(t: Time, T: Real, xp: Namespace) -> tuple[Time, Time, Real]:
    """(left, spent, budget) of a unified t and T.

    Where a traced T is no budget, all of a budget of 1 is spent. Where a traced t is NaN, all of T
    is spent.
    """
    if is_number(T):
        spent = clamp(t, T, xp)
        return minus(T, spent, xp), spent, T
    budget = where(T > 0, T, 1, xp)
    spent = where(T > 0, clamp(t, T, xp), budget, xp)
    return minus(budget, spent, xp), spent, budget


def total(left: Time, spent: Time) -> Real:
    """The budget, left + spent. It is a whole number of steps if both are moments."""
    return parts(left)[0] + parts(spent)[0]


def goes_in_blocks(t: Any, *others: Any) -> bool:
    """Whether t is an array of NumPy's for `blockwise`, and the others are single numbers."""
    if t.__class__ is not np.ndarray or t.ndim == 0 or t.size == 0:
        return False
    return all(not is_array(python_number(value)) for value in others)


def floats_are_exact(t: Array, T: Real) -> bool:
    """Whether floats hold the steps of a NumPy array as exactly as integers do."""
    if T.__class__ is int:
        return (t.dtype.kind in "iu" or t.dtype == np.float64) and 0 < T <= EXACT_STEPS
    return t.dtype == np.float64 and T.__class__ is float and FLOAT64[0] <= T <= MAX_FLOAT


def blockwise(function: Callable[[Array], Array], t: Array) -> Array:
    """An elementwise function of t, block after block, in little more memory than its result.

    Without blocks, each operation would read and write all values in slow memory. A t that is not
    contiguous is copied.
    """
    if t.size <= BLOCK:
        return function(t)
    steps = t.reshape(-1)
    first = function(steps[:BLOCK])
    values = np.empty(steps.shape, first.dtype)
    values[:BLOCK] = first
    for start in range(BLOCK, steps.size, BLOCK):
        values[start : start + BLOCK] = function(steps[start : start + BLOCK])
    return values.reshape(t.shape)


def spent_of_block(block: Array, T: Real) -> Array:
    """How much is spent in a block of an array, as floats."""
    if block.dtype.kind == "f" and not abs(block).max() <= MAX_FLOAT:
        ANY.check("t", block)
    return block.astype(np.float64).clip(0.0, T)


def ratio(part: Time, rest: Time, xp: Namespace) -> Real:
    """Part / (part + rest), exactly 1 where the rest is 0.

    It is not computed as part / total. Where the total is one number for many parts, XLA multiplies
    by its reciprocal. total / total is then 0.99999994.
    """
    part = as_float(part, xp)
    return part / (part + as_float(rest, xp))


def quotient(part: Time, rest: Time, xp: Namespace) -> tuple[Real, Real]:
    """`ratio` as coarse + fine, free of the rounding of part and rest to floats.

    coarse is the nearest multiple of 2^-14, exact in any dtype. fine is at most 2^-15. It comes
    from an exact difference of integers, none of them above 2^28 + (part + rest) / 2. If part is a
    `Moment`, fine has the digits of the moment's own part too.
    """
    whole = total(part, rest)
    nearest = nearest_integer(as_float(part, xp) / as_float(whole, xp) * GRID, xp)
    coarse, (part, excess) = nearest / GRID, parts(part)
    if not is_integer(part, xp):
        return coarse, (part - coarse * whole) / whole  # Exact up to EXACT_STEPS.
    nearest = int(nearest) if xp is math else xp.astype(nearest, part.dtype)
    beyond = (part - nearest * (whole // GRID)) * GRID - nearest * (whole % GRID)
    return coarse, (as_float(beyond, xp) + excess * GRID) / as_float(whole, xp) / GRID


def share(part: Time, rest: Time, xp: Namespace) -> Real:
    """`ratio`, rounded once from integers."""
    if xp is math and part.__class__ is not Moment:
        return part / (part + rest)
    if xp is math or not is_integer(parts(part)[0], xp):
        return ratio(part, rest, xp)
    coarse, fine = quotient(part, rest, xp)
    return coarse + fine


def product(a: Time, b: Time, whole: Real, xp: Namespace) -> Moment:
    """a·b/whole for 0 <= b <= whole, steps or moments. Only its part is rounded.

    Two products may wrap around in the dtype of the integers. Their difference is right all the
    same, since it is at most `whole`. No other value can overflow. The products are functions of
    xp, since NumPy warns of operators that wrap around.
    """
    (a_whole, a_part), (b_whole, b_part) = parts(a), parts(b)
    if xp is math:
        nearest = (a_whole * b_whole + whole // 2) // whole
        remainder = a_whole * b_whole - nearest * whole
    else:
        coarse, fine = quotient(b_whole, whole - b_whole, xp)
        factor = xp.astype(coarse * GRID, b_whole.dtype)
        low = a_whole % GRID * factor
        rest = as_float(low % GRID, xp) / GRID + as_float(a_whole, xp) * fine
        nearest = a_whole // GRID * factor + low // GRID
        nearest = nearest + xp.astype(xp.round(rest), b_whole.dtype)
        remainder = xp.subtract(xp.multiply(b_whole, a_whole), xp.multiply(nearest, whole))
    part = as_float(remainder, xp) / as_float(whole, xp)
    if Moment in (a.__class__, b.__class__):
        moved = as_float(a_whole, xp) * b_part + a_part * as_float(b, xp)
        part = part + moved / as_float(whole, xp)
    more = nearest_integer(part, xp)
    steps = int(more) if xp is math else xp.astype(more, nearest.dtype)
    return Moment(nearest + steps, part - more)


def floor(value: Real, xp: Namespace) -> Real:
    """The floor of a number, or of an array."""
    return value // 1 if is_number(value) else xp.floor(value)


def nearest_integer(value: Real, xp: Namespace) -> Real:
    """The nearest integer, as a float."""
    return (value + 0.5) // 1 if is_number(value) else xp.round(value)


def nudge(value: Real, ulps: int, xp: Namespace) -> Real:
    """A rounded product, moved by some ulp: one just beside an integer then counts as it."""
    epsilon = sys.float_info.epsilon if xp is math else float(xp.finfo(value.dtype).eps)
    return value * (1 + ulps * epsilon)
