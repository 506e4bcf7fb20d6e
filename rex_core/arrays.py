"""Numbers of every library: Python's, NumPy's, JAX's, PyTorch's, and those of the array API."""

import math
import sys
from fractions import Fraction
from typing import Any, TypeAlias

import array_api_compat
import numpy as np

Number: TypeAlias = float
Array: TypeAlias = Any  # An array of any library: no type is common to all of them.
Real: TypeAlias = Any  # A Number or an Array.
Namespace: TypeAlias = Any  # `math` for numbers; for arrays, their array API namespace.

NUMPY = (np.ndarray, np.generic)
MAX_FLOAT = sys.float_info.max
FLOAT64 = sys.float_info.min * 2.0**54, MAX_FLOAT
MAX_SHOWN = 500


def is_number(value: Any) -> bool:
    """Whether the value is a Python number (NumPy's scalars are arrays here)."""
    return isinstance(value, (int, float)) and not isinstance(value, (bool, np.generic))


def is_torch(value: Any) -> bool:
    """Whether the value is a PyTorch tensor.

    array_api_compat has this check too, but torch.compile traces it and warns of its caches.
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_array(value: Any) -> bool:
    """Whether the value belongs to an array library."""
    if is_number(value) or isinstance(value, (tuple, list, str)):
        return False
    return is_torch(value) or bool(array_api_compat.is_array_api_obj(value))


def python_number(value: Any) -> Any:
    """Python's int or float for a single number of these kinds; else the value."""
    if isinstance(value, (np.integer, np.float64)):
        return value.item()
    if value.__class__ is Fraction:
        return float(value)
    return standard(value) if is_number(value) else value


def standard(value: Any) -> Any:
    """The value in a dtype that every library knows.

    Rarer kinds are converted: NumPy's long doubles, other byte orders and bfloat16, PyTorch's
    unsigned integers, subclasses of Python's int, and fractions.
    """
    if value.__class__ is int or value.__class__ is float:
        return value
    if value.__class__ is Fraction:
        return float(value)
    if is_number(value):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, NUMPY):
        dtype = value.dtype
        if dtype.kind == "V" and dtype.type is not np.void:
            return value.astype(np.float32)
        if dtype.kind == "f" and dtype.itemsize > 8:
            with np.errstate(over="ignore"):  # A value that overflows is refused.
                return value.astype(np.float64)
        if not dtype.isnative:
            return value.astype(dtype.newbyteorder("="))
    elif is_torch(value) and str(value.dtype) in ("torch.uint16", "torch.uint32", "torch.uint64"):
        wide = value.long()
        if str(value.dtype) == "torch.uint64" and bool((wide < 0).any()):
            raise ValueError(f"an integer must be below 2^63 in PyTorch; got {shown(value)}")
        return wide
    return value


def whole_steps(value: Real) -> Real:
    """Known floats that are whole numbers, as integers; else the value."""
    value = python_number(value)
    if is_number(value):
        return int(value) if value % 1 == 0 else value
    seen = concrete(value)
    if seen is None or seen.dtype.kind != "f" or not np.all(seen % 1 == 0):
        return value
    xp = namespace(value)
    return xp.astype(value, default_dtypes(xp)["integral"])


def namespace(*values: Real) -> Namespace:
    """The array namespace of the values, or `math` if all of them are Python numbers.

    NumPy's arrays mix with those of one other library, as that library allows.
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


def concrete(value: Real) -> Any:
    """The value as a Python number or NumPy array; None while a compiler is tracing it."""
    if is_number(value) or isinstance(value, (*NUMPY, Fraction)):
        return standard(value)
    if is_torch(value):
        torch = sys.modules["torch"]
        if torch.compiler.is_compiling():
            return None
        try:
            value = value.detach().cpu()
            return (value.float() if value.dtype is torch.bfloat16 else value).numpy()
        except RuntimeError:  # torch.vmap and FakeTensor have no values to look at.
            return None
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(value, jax.core.Tracer):
        return None
    try:
        return standard(np.asarray(value))
    except (NotImplementedError, TypeError):
        return None


def everywhere(condition: Any) -> bool:
    """Whether a condition holds everywhere. torch.compile can trace it for Python's booleans."""
    return condition if isinstance(condition, bool) else bool(np.all(condition))


def default_dtypes(xp: Namespace) -> Any:
    """The namespace's own choice of dtypes (JAX's depends on its x64 mode)."""
    return xp.__array_namespace_info__().default_dtypes()


def limits(dtype: Any, xp: Namespace) -> tuple[Number, Number]:
    """The smallest budget that a dtype can divide by, and its largest number."""
    if xp.isdtype(dtype, "integral"):
        return 1, int(xp.iinfo(dtype).max)
    info = xp.finfo(dtype)
    return float(info.smallest_normal) * 2.0**54, float(info.max)


def check_limits(name: str, value: Real, least: Number, most: Number, dtype: Any) -> None:
    """Refuse known values that a dtype cannot hold."""
    seen = concrete(value)
    if seen is None or (not is_number(seen) and seen.size == 0):
        return
    low, high = (seen, seen) if is_number(seen) else (seen.min().item(), seen.max().item())
    if not least <= low <= high <= most:
        raise ValueError(
            f"{name} must be in [{least:.10g}, {most:.10g}] in {dtype}; got {shown(value)}"
        )


def is_integer(value: Real, xp: Namespace) -> bool:
    """Whether a value counts whole steps, by its dtype."""
    if is_number(value):
        return isinstance(value, int)
    if isinstance(value, NUMPY):
        return value.dtype.kind in "iu"
    return bool(xp.isdtype(value.dtype, "integral"))


def converted(value: Real, dtype: Any, device: Any, xp: Namespace) -> Array:
    """The value as an array of the namespace, of this dtype."""
    value = standard(value)
    if is_number(value) or isinstance(value, NUMPY):
        return xp.asarray(value, dtype=dtype, device=device)
    unsigned = not is_torch(value) and xp.isdtype(value.dtype, "unsigned integer")
    if unsigned and xp.isdtype(dtype, "integral"):
        largest = min(int(xp.iinfo(value.dtype).max), int(xp.iinfo(dtype).max))
        value = xp.minimum(value, xp.asarray(largest, dtype=value.dtype))
    return value if value.dtype == dtype else xp.astype(value, dtype)


def alike(value: Real, array: Array, xp: Namespace) -> Real:
    """The value in the dtype and library of an array. A Python number stays as it is."""
    if is_number(value):
        return value
    return converted(value, array.dtype, array.device if is_torch(array) else None, xp)


def widened(value: Real) -> Real:
    """The value in a dtype in which sums and differences of steps and shares do not wrap."""
    if is_number(value):
        return value
    value = standard(value)
    xp = namespace(value)
    if is_integer(value, xp):
        return xp.astype(value, default_dtypes(xp)["integral"])
    return value if xp.finfo(value.dtype).bits >= 32 else xp.astype(value, xp.float32)


def where(condition: Any, a: Real, b: Real, xp: Namespace) -> Real:
    """Elementwise choice, for Python numbers too. NumPy's scalars stay scalars."""
    if isinstance(condition, bool):
        return a if condition else b
    chosen = xp.where(condition, a, b)
    return chosen[()] if isinstance(chosen, np.ndarray) else chosen


def shown(value: Any) -> str:
    """The value as text for a message, shortened if it is long."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # Nested too deeply; an integer of very many digits.
        text = f"a {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"
