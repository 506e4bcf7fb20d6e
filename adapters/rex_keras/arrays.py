"""TensorFlow's tensors in the form of the array API standard, for rex_core's formulas.

NumPy, JAX and PyTorch follow this standard. TensorFlow does not. This module is the namespace of
`Array`, a tensor with the standard's operators. A function that is not defined here is the function
of the same name in `keras.ops`. So the formulas stand once, in rex_core, and compile with the train
step.
"""

import operator
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import ops

float32 = "float32"
finfo = np.finfo
iinfo = np.iinfo
result_type = keras.backend.result_type


class Array:
    """A tensor of Keras's backend, with operators that promote and broadcast as NumPy's do."""

    __array_ufunc__ = None  # NumPy's operators leave the work to the ones here.

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    @property
    def dtype(self) -> str:
        """The name of the dtype."""
        return str(keras.backend.standardize_dtype(self.tensor.dtype))

    def __array_namespace__(self, *, api_version: str | None = None) -> ModuleType:
        return sys.modules[__name__]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """The values; a TypeError while a compiler is tracing them."""
        return np.array(ops.convert_to_numpy(self.tensor), dtype)

    def __bool__(self) -> bool:
        return bool(self.tensor)


def asarray(value: Any, dtype: str | None = None, device: None = None) -> Array:
    """A number or an array as an `Array`."""
    return Array(ops.convert_to_tensor(value, dtype))


def astype(array: Array, dtype: str) -> Array:
    """The array in another dtype."""
    return Array(ops.cast(array.tensor, dtype))


def isdtype(dtype: str, kind: str) -> bool:
    """Whether a dtype is of a kind of the standard's."""
    if kind == "unsigned integer":
        return dtype.startswith("uint")
    is_int, is_float = keras.backend.is_int_dtype, keras.backend.is_float_dtype
    return bool({"integral": is_int, "real floating": is_float}[kind](dtype))


def __array_namespace_info__() -> SimpleNamespace:
    dtypes = {"integral": keras.backend.standardize_dtype("int"), "real floating": _real()}
    return SimpleNamespace(default_dtypes=lambda: dtypes)


def _real() -> str:
    return str(result_type(keras.config.floatx(), float32))


def _quotient(a: Any, b: Any) -> Any:
    """The quotient. Of integers, Keras computes it in floatx, which may have 16 bits."""
    dtype = result_type(*(getattr(part, "dtype", type(part)) for part in (a, b)), _real())
    return ops.true_divide(ops.cast(a, dtype), ops.cast(b, dtype))


def __getattr__(name: str) -> Callable[..., Array]:
    if name.startswith("__"):  # Names that Python looks for in modules, such as __path__.
        raise AttributeError(name)
    return _lifted(getattr(ops, name))


def _lifted(function: Callable[..., Any]) -> Callable[..., Array]:
    def lifted(*args: Any) -> Array:
        return Array(function(*(arg.tensor if isinstance(arg, Array) else arg for arg in args)))

    return lifted


def _reflected(function: Callable[..., Any]) -> Callable[..., Array]:
    return lambda self, other: _lifted(function)(other, self)


_OPERATORS = {
    "add": ops.add,
    "sub": ops.subtract,
    "mul": ops.multiply,
    "truediv": _quotient,
    "floordiv": ops.floor_divide,
    "mod": ops.mod,
    "pow": ops.power,
    "and": ops.logical_and,
    "or": ops.logical_or,
    "xor": ops.logical_xor,
    "eq": ops.equal,
    "ne": ops.not_equal,
    "lt": ops.less,
    "le": ops.less_equal,
    "gt": ops.greater,
    "ge": ops.greater_equal,
    "neg": ops.negative,
    "abs": ops.abs,
    "invert": ops.logical_not,
}

for _name, _function in _OPERATORS.items():
    setattr(Array, f"__{_name}__", _lifted(_function))
    if hasattr(operator, f"i{_name}"):  # Only the binary operators that are no comparisons.
        setattr(Array, f"__r{_name}__", _reflected(_function))
