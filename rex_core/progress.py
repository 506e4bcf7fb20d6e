"""How much of a budget is spent: the arithmetic that every profile and every sampling shares.

Three rules make a schedule exact to its last step:

* integers are subtracted as integers, and only the difference becomes a float: near the end of a
  long run ``1 - t/T`` has no correct digit left in float32, ``(T - t) / T`` has all of them;
* a fraction of the budget is the short rational that its writer meant (0.7 is 7/10), so that the
  first step at or after it is found with integers alone, in int32 as in Python;
* values that are known are checked; values that a compiler is tracing cannot be, and are kept
  finite.
"""

import math
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

MAX_DENOMINATOR = 2**29  # Twice it, plus a carry, still fits int32.
MIN_FRACTION = 1e-6  # Down to here a float32 quotient finds the right read, give or take one.
GRID = 2**14
LARGEST = sys.float_info.max
NUMPY = (np.ndarray, np.generic)

DOUBLE = 2.0**-54  # Half the distance between neighbours just below 1.

_rationals: dict[Any, tuple[int, int]] = {}
_sequences: dict[tuple[Any, ...], list[tuple[int, int]]] = {}


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
        if sys.modules["torch"].compiler.is_compiling():
            return None
        try:
            value = value.detach().cpu()
            return (value.double() if value.is_floating_point() else value).numpy()
        except RuntimeError:  # torch.vmap, FakeTensor: there are no values to look at.
            return None
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(value, jax.core.Tracer):
        return None
    value = np.asarray(value)
    return value.astype(np.float32) if value.dtype.kind == "V" else value  # bfloat16


def check(name: str, value: Any, accepted: str, valid: Callable[[Any], Any]) -> None:
    """Raise the ValueError that names argument, accepted range and value, if the value is known."""
    if is_number(value):
        if -LARGEST <= value <= LARGEST and valid(value):
            return
    elif is_array(value):
        seen = known(value)
        if seen is None or (seen.dtype.kind in "iuf" and np.all(valid(seen))):
            return
    raise ValueError(f"{name} must be {accepted}; got {value!r}")


def finite(value: Any) -> Any:
    """Elementwise: neither NaN nor infinite."""
    return (value > -math.inf) & (value < math.inf)


def check_finite(name: str, value: Any) -> None:
    """Accept finite numbers and arrays of them."""
    check(name, value, "a finite number", finite)


def check_fraction(name: str, value: Any, smallest: float = 0.0) -> None:
    """Accept fractions of the budget."""
    check(name, value, f"in [{smallest:g}, 1]", lambda p: (p >= smallest) & (p <= 1))


def check_count(name: str, value: Any, xp: ModuleType) -> None:
    """Refuse a count that the library's default integers cannot hold (int32 in JAX)."""
    largest = xp.iinfo(default_dtypes(xp)["integral"]).max
    if (isinstance(value, int) and value > largest) or (
        isinstance(value, NUMPY) and value.dtype.kind in "iu" and np.any(value > largest)
    ):
        raise ValueError(f"{name} must be at most {largest} in {xp.__name__}; got {value!r}")


def default_dtypes(xp: ModuleType) -> Any:
    """The namespace's own choice of dtypes (JAX's depends on its x64 mode)."""
    return xp.__array_namespace_info__().default_dtypes()


def unify(t: Any, T: Any, *params: Any) -> tuple[Any, ...]:
    """Check t and T and bring them to one dtype of one library.

    Returns:
        (t, T, xp, *params): Python numbers, with `math`, if all are; else t and T as arrays, both
        of the default integer dtype or, if one of them is a float, both of that float dtype, but
        of 32 bits at least. NumPy's arrays among the params become the library's own.
    """
    check_finite("t", t)
    check("T", T, "a positive finite number", lambda T: (T > 0) & (math.inf > T))
    xp = namespace(t, T, *params)
    if xp is math:
        if isinstance(t, float) or isinstance(T, float):
            t, T = float(t), float(T)
        return t, T, xp, *params
    check_count("t", t, xp)
    check_count("T", T, xp)
    device = next((v.device for v in (t, T, *params) if is_torch(v)), None)
    t, T, *others = (
        xp.asarray(v, device=device) if isinstance(v, NUMPY) else v for v in (t, T, *params)
    )
    floats = [v.dtype for v in (t, T) if is_array(v) and xp.isdtype(v.dtype, "real floating")]
    if floats:
        dtype = xp.result_type(*floats)
        if xp.finfo(dtype).bits < 32:
            dtype = xp.float32
    else:
        kind = "real floating" if isinstance(t, float) or isinstance(T, float) else "integral"
        dtype = default_dtypes(xp)[kind]
    t, T = (
        xp.astype(v, dtype) if is_array(v) else xp.asarray(v, dtype=dtype, device=device)
        for v in (t, T)
    )
    return t, T, xp, *others


def measure(t: Any, T: Any, *params: Any) -> tuple[Any, ...]:
    """How much is left and how much is spent.

    Returns:
        (left, spent, total, xp, *params) with left + spent == total > 0 and neither of them
        negative: integers where t and T were integers. Where a traced T is no budget (zero,
        negative, NaN, infinite, too small to divide by) or a traced t is NaN, all is spent.
    """
    if (
        t.__class__ is int
        and T.__class__ is int
        and T > 0
        and (not params or all(map(is_number, params)))
    ):
        spent = 0 if t < 0 else T if t > T else t
        return T - spent, spent, T, math, *params
    t, T, xp, *others = unify(t, T, *params)
    if xp is math:
        spent = min(max(t, 0), T)
        return T - spent, spent, T, xp, *others
    smallest = 1.0
    if not is_integer(T, xp):
        info = xp.finfo(T.dtype)
        smallest = 4 * float(info.smallest_normal) / float(info.eps)
    budget = (smallest <= T) & xp.isfinite(T)
    T = where(budget, T, 1, xp)
    spent = where(budget & (t < T), where(t > 0, t, 0, xp), T, xp)
    return T - spent, spent, T, xp, *others


def is_integer(value: Any, xp: ModuleType) -> bool:
    """Whether a unified value counts whole steps."""
    return isinstance(value, int) if xp is math else bool(xp.isdtype(value.dtype, "integral"))


def as_float(value: Any, xp: ModuleType) -> Any:
    """A unified value in the dtype of the result."""
    if xp is not math and is_integer(value, xp):
        return xp.astype(value, default_dtypes(xp)["real floating"])
    return value


def quotient(part: Any, total: Any, xp: ModuleType) -> tuple[Any, Any]:
    """Part / total as coarse + fine, free of the rounding of part and total to floats.

    coarse is the nearest multiple of 2^-14, exact in any dtype; fine, at most 2^-15, comes from an
    exact difference of integers, none of them larger than 2^28 + total / 2.
    """
    ratio = as_float(part, xp) / as_float(total, xp)
    nearest = xp.floor(ratio * GRID + 0.5)
    coarse = nearest / GRID
    if not is_integer(part, xp):
        return coarse, ratio - coarse
    if xp is not math:
        nearest = xp.astype(nearest, part.dtype)
    rest = (part - nearest * (total // GRID)) * GRID - nearest * (total % GRID)
    return coarse, as_float(rest, xp) / as_float(total, xp) / GRID


def floor(value: Any, xp: ModuleType) -> Any:
    """The floor of a parameter, which may be a Python number among arrays."""
    return math.floor(value) if is_number(value) else xp.floor(value)


def where(condition: Any, a: Any, b: Any, xp: ModuleType) -> Any:
    """Elementwise choice, for Python numbers too, and NumPy's scalars, which stay scalars."""
    if xp is math:
        return a if condition else b
    chosen = xp.where(condition, a, b)
    return chosen[()] if isinstance(chosen, np.ndarray) else chosen


def rational(fraction: Any) -> tuple[int, int]:
    """The numerator and denominator that the writer of a fraction meant: 0.7 is 7/10."""
    pair = _rationals.get(fraction)
    if pair is None:
        pair = _rationals[fraction] = shortest(fraction, DOUBLE)
    return pair


def exactly(fraction: float) -> Fraction:
    """The fraction as its writer meant it, for exact sums of fractions."""
    return Fraction(*rational(fraction))


def shortest(fraction: Any, resolution: float) -> tuple[int, int]:
    """The fraction of smallest denominator, to a power of two, within the resolution of a float."""
    exact = Fraction(fraction)
    for bits in range(MAX_DENOMINATOR.bit_length()):
        short = exact.limit_denominator(2**bits)
        if abs(short - exact) <= resolution:
            break
    if exact and not short:
        short = Fraction(1, MAX_DENOMINATOR)
    return short.as_integer_ratio()


def rationals(fraction: Any) -> tuple[Any, Any] | None:
    """`rational`, elementwise for arrays; None for traced fractions, which are just floats."""
    if is_number(fraction) or isinstance(fraction, Fraction):
        return rational(fraction)
    seen = known(fraction)
    if seen is None:
        return None
    resolution = float(np.finfo(seen.dtype).eps) / 4 if seen.dtype.kind == "f" else 0.0
    pairs = [shortest(p, resolution) for p in np.ravel(seen).tolist()]
    numerators, denominators = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
    return numerators.reshape(seen.shape), denominators.reshape(seen.shape)


def ceil_share(n: Any, d: Any, T: Any, xp: ModuleType) -> Any:
    """⌈n·T/d⌉ for 0 <= n <= d <= 2^29, exact, no intermediate value beyond T's own dtype.

    With T = q·d + r this is n·q + ⌈n·r/d⌉; the product n·r is divided digit by digit, in the
    largest radix that cannot overflow.
    """
    if xp is math:
        return -(-n * T // d)
    largest = d if isinstance(d, int) else int(np.max(d))
    n, d = as_like(n, T, xp), as_like(d, T, xp)
    radix = int(xp.iinfo(T.dtype).max) // (2 * largest)
    digits = 1
    while radix**digits <= largest:
        digits += 1
    whole, rest = T // d, T % d
    quotient, remainder = 0, 0
    for place in reversed(range(digits)):
        value = remainder * radix + n // radix**place % radix * rest
        quotient, remainder = quotient * radix + value // d, value % d
    return n * whole + quotient + xp.astype(remainder > 0, T.dtype)


def boundary(fraction: Any, T: Any, xp: ModuleType) -> Any:
    """The first step t with t >= fraction·T (the point fraction·T itself, if T is a float).

    Exact for fractions that are known. A traced fraction has the digits of its dtype: in float32
    the boundary is off by at most T·2^-22 steps.
    """
    if T.__class__ is int and fraction.__class__ is float:
        return ceil_share(*rational(fraction), T, xp)
    pair = rationals(fraction) if is_integer(T, xp) else None
    if pair is not None:
        return ceil_share(*pair, T, xp)
    if not is_integer(T, xp):
        return as_like(fraction, T, xp) * T
    return xp.astype(xp.ceil(nudge(fraction * T, -2, xp)), T.dtype)


def boundaries(name: str, fractions: Any, T: Any, xp: ModuleType) -> list[Any]:
    """`boundary` of an increasing sequence of fractions, which are checked."""
    key = tuple(fractions) if isinstance(fractions, list | tuple) else ()
    try:
        pairs = _sequences.get(key)
    except TypeError:  # Arrays, traced or not, have no hash.
        key, pairs = (), None
    if pairs is None:
        numbers = all(is_number(p) or isinstance(p, Fraction) for p in key)
        if not key or not numbers or not _increasing([0, *key, 2]) or key[-1] > 1:
            raise ValueError(
                f"{name} must be a tuple of increasing known numbers in (0, 1]; got {fractions!r}"
            )
        pairs = _sequences[key] = [rational(p) for p in key]
    if is_integer(T, xp):
        return [ceil_share(n, d, T, xp) for n, d in pairs]
    return [n / d * T for n, d in pairs]


def _increasing(numbers: list[Any]) -> bool:
    return all(a < b for a, b in pairwise(numbers))


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
