"""How much of a budget is spent: the arithmetic that every profile and every sampling shares.

Three rules make a schedule exact to its last step:

* integers are subtracted as integers, and only the difference becomes a float: near the end of a
  long run ``1 - t/T`` has no correct digit left in float32, ``(T - t) / T`` has all of them;
* a fraction of the budget is the short decimal or ratio that its writer meant (0.7 is 7/10), so
  that the first step at or after it is found with integers alone, in int32 as in Python;
* values that are known are checked; values that a compiler is tracing cannot be, and are kept
  finite.
"""

import math
import operator
import sys
from collections.abc import Callable
from fractions import Fraction
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from rex_core.moment import Moment

MAX_DENOMINATOR = 2**27  # Two such ratios are never within one rounding of a double.
MIN_FRACTION = 1e-6  # Down to here a float32 quotient finds the right read, give or take one.
GRID = 2**14
MAX_FLOAT = sys.float_info.max
NUMPY = (np.ndarray, np.generic)
BLOCK = 2**15  # So many values, and what is worked out from them, stay in a core's cache.

FLOAT64 = sys.float_info.min * 2.0**54, MAX_FLOAT

# What is known from the start, the milestones of `step`, torch.compile need not work out.
_rationals: dict[Any, tuple[int, int]] = {0.5: (1, 2), 0.75: (3, 4)}


def is_number(value: Any) -> bool:
    """Whether the value is a Python number (NumPy's scalars are arrays here)."""
    return isinstance(value, (int, float)) and not isinstance(value, (bool, np.generic))


def is_torch(value: Any) -> bool:
    """Whether the value is a PyTorch tensor.

    array_api_compat could tell, but torch.compile, which follows every call, warns of its caches.
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_array(value: Any) -> bool:
    """Whether the value belongs to an array library."""
    if is_number(value):
        return False
    return is_torch(value) or bool(array_api_compat.is_array_api_obj(value))


def plain(value: Any) -> Any:
    """NumPy's integers and float64 scalars as the Python numbers that they are; else the value."""
    return value.item() if isinstance(value, np.integer | np.float64) else value


def whole(value: Any) -> Any:
    """Known floats that are whole numbers as the integers that they are; else the value."""
    seen = known(value)
    if is_number(value):
        return int(value) if value % 1 == 0 else value
    if seen is None or seen.dtype.kind != "f" or not np.all(seen % 1 == 0):
        return value
    xp = namespace(value)
    return xp.astype(value, default_dtypes(xp)["integral"])


def namespace(*values: Any) -> ModuleType:
    """The array namespace of the values, or `math` if all of them are Python numbers.

    NumPy's arrays mix with those of any one other library, as they do there.
    """
    arrays = [value for value in values if not is_number(value)]
    if not arrays:
        return math
    foreign = [array for array in arrays if not isinstance(array, NUMPY)]
    if foreign and all(map(is_torch, foreign)):
        import array_api_compat.torch as xp

        return xp
    try:
        return array_api_compat.array_namespace(*(foreign or arrays))
    except TypeError:
        kinds = ", ".join(sorted({type(array).__module__.partition(".")[0] for array in foreign}))
        raise ValueError(
            f"t, T and parameters must be arrays of one library, and NumPy's; got {kinds}"
        ) from None


def known(value: Any) -> Any:
    """The value as a Python number or NumPy array; None while a compiler is tracing it."""
    if is_number(value) or isinstance(value, NUMPY):
        return value
    if is_torch(value):
        torch = sys.modules["torch"]
        if torch.compiler.is_compiling():
            return None
        try:
            value = value.detach().cpu()
            return (value.float() if value.dtype is torch.bfloat16 else value).numpy()
        except RuntimeError:  # torch.vmap, FakeTensor: there are no values to look at.
            return None
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(value, jax.core.Tracer):
        return None
    try:
        value = np.asarray(value)
    except (NotImplementedError, TypeError):
        return None
    return value.astype(np.float32) if value.dtype.kind == "V" else value  # bfloat16


def holds(condition: Any) -> bool:
    """Whether a condition holds everywhere; torch.compile follows it for Python's booleans."""
    return condition if isinstance(condition, bool) else bool(np.all(condition))


def check(name: str, value: Any, accepted: str, valid: Callable[[Any], Any]) -> bool:
    """Raise the ValueError that names argument, accepted range and value, if the value is known.

    Returns:
        Whether the value is a Python number.
    """
    if value.__class__ is float or is_number(value):
        if -MAX_FLOAT <= value <= MAX_FLOAT and valid(value):
            return True
    elif is_array(value):
        seen = known(value)
        if seen is None:
            return False
        if seen.dtype.kind in "iuf" and np.all(np.isfinite(seen)) and np.all(valid(wide(seen))):
            return False
    raise ValueError(f"{name} must be {accepted}; got {value!r}")


def known_number(name: str, value: Any, accepted: str, valid: Callable[[Any], Any]) -> Any:
    """`check` of a single number that has to be known: Python's or NumPy's, whatever holds it."""
    check(name, value, accepted, lambda v: np.ndim(v) == 0 and valid(v))
    seen = known(value)
    if seen is None:
        raise ValueError(f"{name} must be {accepted}, and known; got {value!r}")
    return seen[()] if isinstance(seen, np.ndarray) else seen


def wide(seen: Any) -> Any:
    """Short floats as float64, which holds every bound that they are compared with."""
    return seen.astype(np.float64) if seen.dtype.itemsize < 8 and seen.dtype.kind == "f" else seen


def anything(value: Any) -> bool:
    """Accept every finite number."""
    del value
    return True


def positive(value: Any) -> Any:
    """Elementwise: above 0."""
    return value > 0


def not_negative(value: Any) -> Any:
    """Elementwise: 0 or above."""
    return value >= 0


def proper(value: Any) -> Any:
    """Elementwise: in [0, 1)."""
    return (value >= 0) & (value < 1)


def check_range(name: str, value: Any, least: Any, most: Any, dtype: Any) -> None:
    """Refuse known values that a dtype cannot hold."""
    seen = known(value)
    if seen is None or (not is_number(seen) and seen.size == 0):
        return
    low, high = (seen, seen) if is_number(seen) else (seen.min().item(), seen.max().item())
    if not least <= low <= high <= most:
        raise ValueError(f"{name} must be in [{least:.10g}, {most:.10g}] in {dtype}; got {value!r}")


def default_dtypes(xp: ModuleType) -> Any:
    """The namespace's own choice of dtypes (JAX's depends on its x64 mode)."""
    return xp.__array_namespace_info__().default_dtypes()


def limits(dtype: Any, xp: ModuleType) -> tuple[Any, Any]:
    """The smallest budget that a dtype can divide by, and its largest number."""
    if xp.isdtype(dtype, "integral"):
        return 1, int(xp.iinfo(dtype).max)
    info = xp.finfo(dtype)
    return float(info.smallest_normal) * 2.0**54, float(info.max)


def unify(t: Any, T: Any, *params: Any) -> tuple[Any, ...]:
    """Check t and T and bring them to one kind of number, of one library.

    Both become integers or, if one of them is a float, floats, of 32 bits at least. A T that was a
    Python number stays one, so that what follows from it is known even under a compiler. A traced T
    that is no budget (zero, negative, NaN, infinite, too small to divide by) becomes 0.

    Returns:
        (t, T, xp, *params), with `math` for xp if all of them are Python numbers; else t is an
        array, and NumPy's arrays among T and the params have become the library's own. A `Moment`
        stays one, unless T is a float.
    """
    whole = t.__class__ is int and T.__class__ is int
    if whole and 0 < T < MAX_FLOAT > abs(t) and (not params or all(map(is_number, params))):
        return t, T, math, *params
    if t.__class__ is Moment:
        whole, T, xp, *others = unify(t.whole, T, *params)
        part = t.part if xp is math else as_float(0 * whole, xp) + t.part
        return Moment(whole, part) if is_integer(whole, xp) else whole + part, T, xp, *others
    check("t", t, "a finite number", anything)
    check("T", T, "a positive finite number", positive)
    xp = namespace(t, T, *params)
    if xp is math:
        if isinstance(t, float) or isinstance(T, float):
            t, T = float(t), float(T)
            check_range("T", T, *FLOAT64, "float64")
        return t, T, xp, *params
    dtype = _common_dtype(t, T, xp)
    least, most = limits(dtype, xp)
    if is_number(t) or t.dtype != dtype:
        check_range("t", t, -most, most, dtype)
    check_range("T", T, least, most, dtype)
    device = next((v.device for v in (t, T, *params) if is_torch(v)), None)

    def convert(value: Any) -> Any:
        if is_number(value) or isinstance(value, NUMPY):
            return xp.asarray(value, dtype=dtype, device=device)
        if not is_torch(value) and xp.isdtype(value.dtype, "unsigned integer"):
            value = xp.minimum(value, min(int(xp.iinfo(value.dtype).max), int(most)))
        return xp.astype(value, dtype)

    others = [xp.asarray(v, device=device) if isinstance(v, NUMPY) else v for v in params]
    if is_number(T):
        return convert(t), T if xp.isdtype(dtype, "integral") else float(T), xp, *others
    T = convert(T)
    return convert(t), where((least <= T) & (most >= T), T, 0, xp), xp, *others


def _common_dtype(t: Any, T: Any, xp: ModuleType) -> Any:
    dtypes = [
        xp.asarray(np.empty(0, v.dtype)).dtype if isinstance(v, NUMPY) else v.dtype
        for v in (t, T)
        if not is_number(v)
    ]
    floats = [dtype for dtype in dtypes if xp.isdtype(dtype, "real floating")]
    if floats:
        dtype = xp.result_type(*floats)
        return dtype if xp.finfo(dtype).bits >= 32 else xp.float32
    kind = "real floating" if isinstance(t, float) or isinstance(T, float) else "integral"
    return default_dtypes(xp)[kind]


def is_long(t: Any, *others: Any) -> bool:
    """Whether t is an array of NumPy's for `blockwise`, and the others are single numbers."""
    return t.__class__ is np.ndarray and t.size > BLOCK and all(is_number(plain(v)) for v in others)


def blockwise(function: Callable[[Any, Any], Any], t: Any, T: Any) -> Any:
    """An elementwise function(t, T), block after block, in little more memory than its result.

    In one go, each operation would read and write all of the values where memory is slow. (A t that
    is not contiguous is copied.)
    """
    steps = t.reshape(-1)
    first = function(steps[:BLOCK], T)
    values = np.empty(steps.shape, first.dtype)
    values[:BLOCK] = first
    for start in range(BLOCK, steps.size, BLOCK):
        values[start : start + BLOCK] = function(steps[start : start + BLOCK], T)
    return values.reshape(t.shape)


def measure(t: Any, T: Any, *params: Any) -> tuple[Any, ...]:
    """How much is left and how much is spent.

    Returns:
        (left, spent, xp, *params) with left + spent > 0, the budget, and neither of them negative:
        integers where t and T were integers, and each a `Moment` where t was one.
    """
    if t.__class__ is np.ndarray and _is_ready(t, T) and all(map(is_number, params)):
        return T - t, t, namespace(t), *params
    t, T, xp, *others = unify(t, T, *params)
    return *spend(t, T, xp)[:2], xp, *others


def _is_ready(t: Any, T: Any) -> bool:
    """Whether in an array of NumPy's there is nothing to convert, to clamp or to refuse."""
    if t.ndim == 0 or t.size == 0:
        return False
    if t.dtype == np.int64:
        fits = T.__class__ is int and 0 < T < 2**63
    else:
        fits = t.dtype == np.float64 and is_number(T) and FLOAT64[0] <= T <= MAX_FLOAT
    return fits and bool(t.min() >= 0) and bool(t.max() <= T)


def spend(t: Any, T: Any, xp: ModuleType) -> tuple[Any, Any, Any]:
    """How much is left, how much is spent, and the budget, of a unified t and T.

    Where a traced T is no budget, or a traced t is NaN, all is spent.
    """
    if is_number(T):
        spent = clamp(t, T, xp)
        return minus(T, spent, xp), spent, T
    budget = where(T > 0, T, 1, xp)
    spent = where(T > 0, clamp(t, T, xp), budget, xp)
    return minus(budget, spent, xp), spent, budget


def clamp(t: Any, T: Any, xp: ModuleType) -> Any:
    """A unified t, kept in [0, T]."""
    if xp is math:
        return type(T)(0) if less(t, 0) else T if less(T, t) else t
    return where(less(t, T), where(less(0, t), t, 0, xp), T, xp)


def less(a: Any, b: Any) -> Any:
    """Whether a < b, of unified values or moments.

    This and `minus` are no operators of `Moment`: torch.compile does not find those where the other
    operand is a tensor or one of its symbols.
    """
    if Moment not in (a.__class__, b.__class__):
        return a < b
    (a, a_part), (b, b_part) = parts(a), parts(b)
    return a - b < b_part - a_part


def minus(a: Any, b: Any, xp: ModuleType) -> Any:
    """A - b, of unified values or moments; a float if one of them is."""
    if Moment not in (a.__class__, b.__class__):
        return a - b
    (a, a_part), (b, b_part) = parts(a), parts(b)
    whole, part = a - b, a_part - b_part
    return Moment(whole, part) if is_integer(whole, xp) else whole + part


def completed(t: Any, xp: ModuleType) -> Any:
    """The last whole step of a `Moment`, which is all that a boundary needs to know; else t."""
    if t.__class__ is not Moment:
        return t
    early = t.part < 0
    return t.whole - (early if xp is math else xp.astype(early, t.whole.dtype))


def is_integer(value: Any, xp: ModuleType) -> bool:
    """Whether a unified value counts whole steps."""
    if is_number(value):
        return isinstance(value, int)
    if isinstance(value, NUMPY):
        return value.dtype.kind in "iu"
    return bool(xp.isdtype(value.dtype, "integral"))


def as_float(value: Any, xp: ModuleType) -> Any:
    """A unified value in the dtype of the result."""
    if value.__class__ is Moment:
        return as_float(value.whole, xp) + value.part
    if isinstance(value, NUMPY):
        return value.astype(np.float64) if value.dtype.kind in "iu" else value
    if xp is not math and not is_number(value) and is_integer(value, xp):
        return xp.astype(value, default_dtypes(xp)["real floating"])
    return value


def floats_if_exact(t: Any, T: Any) -> Any:
    """NumPy's integers as floats, where those hold T and so all steps up to it; else t as it is."""
    if t.__class__ is np.ndarray and t.dtype.kind in "iu" and T.__class__ is int and T <= 2**53:
        return t.astype(np.float64)
    return t


def ratio(part: Any, rest: Any, xp: ModuleType) -> Any:
    """Part / (part + rest), exactly 1 where the rest is 0.

    Not part / total: where the total is one number for many parts, XLA multiplies by its
    reciprocal, which makes 0.99999994 of total / total.
    """
    part = as_float(part, xp)
    return part / (part + as_float(rest, xp))


def quotient(part: Any, rest: Any, xp: ModuleType) -> tuple[Any, Any]:
    """`ratio` as coarse + fine, free of the rounding of part and rest to floats.

    coarse is the nearest multiple of 2^-14, exact in any dtype; fine, at most 2^-15, comes from an
    exact difference of integers, none of them larger than 2^28 + (part + rest) / 2. Of a `Moment`
    and what is left after it, fine has the part's digits too.
    """
    rounded = ratio(part, rest, xp)
    excess = 0
    if part.__class__ is Moment:
        part, rest, excess = part.whole, rest.whole, part.part * GRID
    nearest = floor(rounded * GRID + 0.5, xp)
    coarse = nearest / GRID
    if not is_integer(part, xp):
        return coarse, rounded - coarse
    nearest = int(nearest) if is_number(part) else xp.astype(nearest, part.dtype)
    total = part + rest
    beyond = (part - nearest * (total // GRID)) * GRID - nearest * (total % GRID)
    return coarse, (as_float(beyond, xp) + excess) / as_float(total, xp) / GRID


def floor(value: Any, xp: ModuleType) -> Any:
    """The floor of a parameter, which may be a Python number among arrays."""
    return value // 1 if is_number(value) else xp.floor(value)


def where(condition: Any, a: Any, b: Any, xp: ModuleType) -> Any:
    """Elementwise choice, for Python numbers too, and NumPy's scalars, which stay scalars."""
    if isinstance(condition, bool):
        return a if condition else b
    if Moment in (a.__class__, b.__class__):
        (a, a_part), (b, b_part) = parts(a), parts(b)
        return Moment(where(condition, a, b, xp), where(condition, a_part, b_part, xp))
    chosen = xp.where(condition, a, b)
    return chosen[()] if isinstance(chosen, np.ndarray) else chosen


def parts(value: Any) -> tuple[Any, Any]:
    """The whole and the part of a `Moment`, or of a whole step."""
    return (value.whole, value.part) if value.__class__ is Moment else (value, 0.0)


def rational(fraction: float) -> tuple[int, int]:
    """The numerator and denominator that the writer of a fraction meant: 0.7 is 7/10.

    That is the ratio of smallest denominator that rounds to the fraction; if that is beyond 2^27,
    the nearest ratio above 0 with a denominator up to 2^27.
    """
    pair = _rationals.get(fraction)
    if pair is None:
        pair = _rationals[float(fraction)] = shortest(fraction).as_integer_ratio()
    return pair


def shortest(fraction: Any) -> Fraction:
    """`rational`, of any kind of number, and not remembered."""
    inexact = isinstance(fraction, float | np.floating)
    exact = simple = Fraction(float(fraction) if inexact else fraction)
    if inexact:
        half = Fraction(float(np.spacing(abs(fraction)))) / 2
        simple = _simplest(exact - half, exact + half)
    if simple.denominator > MAX_DENOMINATOR:
        simple = exact.limit_denominator(MAX_DENOMINATOR) or Fraction(1, MAX_DENOMINATOR)
    return simple


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of smallest denominator in [low, high], by their continued fractions."""
    whole = math.ceil(low)
    if whole <= high:
        return Fraction(whole)
    return whole - 1 + 1 / _simplest(1 / (high - whole + 1), 1 / (low - whole + 1))


def rationals(fraction: Any) -> tuple[Any, Any] | None:
    """`rational`, elementwise for arrays; None for traced fractions, which are just floats."""
    if is_number(fraction):
        return rational(fraction)
    if isinstance(fraction, Fraction):
        return shortest(fraction).as_integer_ratio()
    seen = known(fraction)
    if seen is None:
        return None
    pairs = [shortest(p).as_integer_ratio() for p in seen.reshape(-1)]
    numerators, denominators = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
    return numerators.reshape(seen.shape), denominators.reshape(seen.shape)


def ceiling(n: int, d: int, T: int) -> int:
    """⌈n·T/d⌉ of Python's integers, which have no end."""
    return (n * T + d - 1) // d


def ceil_share(n: Any, d: Any, T: Any, like: Any, xp: ModuleType) -> Any:
    """⌈n·T/d⌉ for 0 <= n <= d <= 2^27, exact, no intermediate value beyond the dtype of `like`.

    With T = q·d + r this is n·q + ⌈n·r/d⌉; the product n·r is divided digit by digit, in the
    largest radix that cannot overflow.
    """
    if isinstance(n, int) and isinstance(d, int) and isinstance(T, int):
        return ceiling(n, d, T)
    largest = d if isinstance(d, int) else int(np.max(d, initial=1))
    n, d = as_like(n, like, xp), as_like(d, like, xp)
    radix = (int(xp.iinfo(like.dtype).max) // largest + 1) // 2
    digits = 1
    while radix**digits <= largest:
        digits += 1
    whole, rest = T // d, T % d
    quotient, remainder = 0, 0
    for place in reversed(range(digits)):
        value = remainder * radix + n // radix**place % radix * rest
        quotient, remainder = quotient * radix + value // d, value % d
    return n * whole + quotient + xp.astype(remainder > 0, like.dtype)


def boundary(
    fraction: Any, meant: tuple[Any, Any] | None, T: Any, like: Any, xp: ModuleType
) -> Any:
    """The first step t with t >= fraction·T (the point fraction·T itself, if T is a float).

    Exact for fractions that are known: `meant` is what `rationals` made of one. A traced fraction
    has the digits of its dtype: in float32 the boundary is off by up to one step and T·2^-21.
    """
    if meant is not None:
        n, d = meant
        if is_integer(T, xp):
            return ceil_share(n, d, T, like, xp)
        return as_like(n, like, xp) * T / as_like(d, like, xp)
    point = fraction * as_float(T, xp)
    if not is_integer(T, xp):
        return point
    return xp.astype(xp.ceil(nudge(point, -2, xp)), default_dtypes(xp)["integral"])


def boundaries(fractions: Any, T: Any, like: Any, xp: ModuleType) -> list[Any]:
    """`boundary` of each of a sequence of known fractions."""
    return [boundary(p, rational(p), T, like, xp) for p in fractions]


def check_fractions(name: str, fractions: Any) -> None:
    """Accept increasing sequences of known fractions."""
    if isinstance(fractions, (list, tuple)) and fractions:
        numbers = all(isinstance(p, (int, float)) and p is not True for p in fractions)
        if numbers and fractions[-1] <= 1 and all(map(operator.lt, (0, *fractions), fractions)):
            return
    raise ValueError(
        f"{name} must be a tuple of increasing known numbers in (0, 1]; got {fractions!r}"
    )


def nudge(value: Any, ulps: int, xp: ModuleType) -> Any:
    """A rounded product, moved by some ulp: a hair beside an integer is that integer."""
    epsilon = sys.float_info.epsilon if xp is math else xp.finfo(value.dtype).eps
    return value * (1 + ulps * epsilon)


def as_like(value: Any, like: Any, xp: ModuleType) -> Any:
    """One of NumPy's arrays as another one is; anything else as it is."""
    if isinstance(value, NUMPY):
        device = like.device if is_torch(like) else None
        return xp.asarray(value, dtype=like.dtype, device=device)
    return value
