"""The schedule that a metric drives: lower the rate when the metric has stopped improving."""

import math
import sys
from typing import Any, Literal, NamedTuple

from rex_core.arrays import (
    NUMPY,
    Namespace,
    Real,
    default_dtypes,
    is_array,
    is_number,
    is_torch,
    namespace,
    shown,
    standard,
    where,
)
from rex_core.ranges import NOT_NEGATIVE, SHARE_OR_ALL, Range
from rex_core.values import Value

_LARGEST = 2**31 - 1
_COUNT = Range(0, _LARGEST, integers=True)
_RANGES = {
    "factor": Range(0, 1, "()"),
    "threshold": NOT_NEGATIVE,
    "min_scale": SHARE_OR_ALL,
    "patience": _COUNT,
    "cooldown": _COUNT,
}
_WORDS = {"threshold_mode": ("rel", "abs"), "mode": ("min", "max")}


class PlateauState(NamedTuple):
    """What a `Plateau` remembers between two metrics; a pytree, of Python numbers or of arrays.

    Save ``state._asdict()`` in a checkpoint, and go on with ``PlateauState(**saved)``.

    Attributes:
        scale: The factor to multiply the rate with, from 1 down to min_scale.
        best: The metric to beat; infinite before the first one.
        bad_count: How many metrics in a row have not beaten it.
        cooldown_left: How many of the next metrics are not counted if bad.
    """

    scale: Any
    best: Any
    bad_count: Any
    cooldown_left: Any


class Plateau(Value, kind=True):
    """Decay on plateau: the scale of the rate falls when a metric has stopped improving.

    A metric is better than the best so far where::

                              mode="min"                          mode="max"
        threshold_mode="rel"  metric < best · (1 - threshold)     metric > best · (1 + threshold)
        threshold_mode="abs"  metric < best - threshold           metric > best + threshold

    Other metrics are bad. After more than ``patience`` bad metrics in a row, the scale becomes
    max(scale · factor, min_scale). The next ``cooldown`` metrics are then not counted if bad. NaN
    is never better. Update once per evaluation, and multiply any rate with ``state.scale``.

    ``torch.optim.lr_scheduler.ReduceLROnPlateau`` takes the same decisions. Three things differ:

    * The floor here is a share of the rate. PyTorch's ``min_lr`` is that share times the rate.
    * Every reduction counts here, as with ``eps=0``. PyTorch ignores reductions below 1e-8 by
      default.
    * The dtype here is the metric's, with 32 bits or more. PyTorch takes float64. A float32 metric
      within a rounding error of the threshold can fall on its other side.

    Below zero, "rel" is misleading, here as in PyTorch: a metric that stays, or gets slightly
    worse, is "better". Choose "abs" for metrics that can be negative.
    ``optax.contrib.reduce_on_plateau`` reduces one metric sooner at the same patience.

    Args:
        factor: The factor of the scale at a reduction, in (0, 1); any shape.
        patience: How many bad metrics in a row are tolerated, an integer >= 0; any shape.
        threshold: The least improvement, >= 0; any shape. In "rel" it is useful below 1.
        threshold_mode: "rel", a share of the best metric, or "abs", in the metric's unit.
        mode: "min" for metrics that should fall, "max" for those that should rise.
        cooldown: How many metrics after a reduction are not counted, an integer >= 0; any shape.
        min_scale: The smallest scale, in [0, 1]; any shape.

    Raises:
        ValueError: A value is out of range.

    >>> plateau = Plateau(factor=0.1, patience=1)
    >>> state = plateau.init()
    >>> for loss in (3.0, 2.0, 2.0, 2.0, 1.9, 2.1, 2.2):
    ...     state = plateau.update(state, loss)
    ...     print(loss, round(state.scale, 4))
    3.0 1.0
    2.0 1.0
    2.0 1.0
    2.0 0.1
    1.9 0.1
    2.1 0.1
    2.2 0.01

    Source: "decay on plateau" of arXiv 2107.04197 (REX), which tunes patience in
    multiples of 5 epochs.
    """

    factor: Real
    patience: Real
    threshold: Real
    threshold_mode: Literal["rel", "abs"]
    mode: Literal["min", "max"]
    cooldown: Real
    min_scale: Real

    def __init__(
        self,
        *,
        factor: Real = 0.1,
        patience: Real = 10,
        threshold: Real = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        mode: Literal["min", "max"] = "min",
        cooldown: Real = 0,
        min_scale: Real = 0.0,
    ) -> None:
        fields: dict[str, Any] = {
            "factor": factor,
            "patience": patience,
            "threshold": threshold,
            "threshold_mode": threshold_mode,
            "mode": mode,
            "cooldown": cooldown,
            "min_scale": min_scale,
        }
        for name, accepted in _RANGES.items():
            accepted.check(name, fields[name])
            if accepted is _COUNT and not _is_integral(fields[name]):
                raise ValueError(f"{name} must be {accepted}; got {shown(fields[name])}")
            fields[name] = accepted.stored(fields[name])
        for name, words in _WORDS.items():
            if not isinstance(fields[name], str) or fields[name] not in words:
                raise ValueError(
                    f"{name} must be one of {', '.join(words)}; got {shown(fields[name])}"
                )
        self._set(**fields)

    def init(self, like: Any = 0.0) -> PlateauState:
        """The state before the first metric.

        Args:
            like: A value of the kind, dtype and shape of the metrics. With an array, the state has
                arrays from the start, and a jitted step compiles once. By default the state has
                Python numbers. The first update turns them into the metric's kind.

        Returns:
            The state; its scale is 1.

        Raises:
            ValueError: like is not a real number or an array of them.

        >>> Plateau().init()
        PlateauState(scale=1.0, best=inf, bad_count=0, cooldown_left=0)
        """
        like = _checked("like", like)
        state = PlateauState(1.0, math.inf if self.mode == "min" else -math.inf, 0, 0)
        xp = namespace(like)
        if xp is math:
            return state
        real, integral = _dtypes(xp, like)
        dtypes = real, real, integral, integral
        return PlateauState(
            *(xp.full_like(like, v, dtype=d) for v, d in zip(state, dtypes, strict=True))
        )

    def update(self, state: PlateauState, metric: Any) -> PlateauState:
        """The state after one more metric.

        Args:
            state: What `init` or the last update returned.
            metric: The metric: a number, NaN and infinities included, or an array. Each element of
                an array has a plateau of its own. The metric may be traced.

        Returns:
            The new state. It has Python numbers if state and metric have. Otherwise it has arrays
            of the metric's library, and floats in the widest dtype of metric and state, with 32
            bits or more. A tensor's graph is not kept. Its device is not waited for.

        Raises:
            ValueError: The state is no PlateauState, or not of real numbers and counts; the metric
                is no real number or array of them.

        >>> plateau = Plateau(factor=0.5, patience=0)
        >>> plateau.update(plateau.update(plateau.init(), 1.0), math.nan)
        PlateauState(scale=0.5, best=1.0, bad_count=0, cooldown_left=0)
        """
        if not isinstance(state, PlateauState):
            raise ValueError(
                "state must be the PlateauState that init or update returned, or made of its "
                f"fields, PlateauState(**fields); got {shown(state)}"
            )
        metric = _checked("metric", metric)
        best, scale = _checked("state.best", state.best), _checked("state.scale", state.scale)
        reals = metric, best, scale, self.threshold, self.factor, self.min_scale
        bad_count = _checked_count("state.bad_count", state.bad_count)
        cooldown_left = _checked_count("state.cooldown_left", state.cooldown_left)
        counts = bad_count, cooldown_left, self.patience, self.cooldown
        reals, counts, xp = _unify(reals, counts)
        metric, best, scale, threshold, factor, min_scale = reals
        bad_count, cooldown_left, patience, cooldown = counts

        slack = threshold if self.mode == "min" else -threshold
        target = best * (1.0 - slack) if self.threshold_mode == "rel" else best - slack
        better = metric < target if self.mode == "min" else metric > target
        cooling = cooldown_left > 0
        bad_count = where(better | cooling, 0, bad_count + 1, xp)
        reduce = bad_count > patience
        lower = scale * factor
        return PlateauState(
            scale=where(reduce, where(lower > min_scale, lower, min_scale, xp), scale, xp),
            best=where(better, metric, best, xp),
            bad_count=where(reduce, 0, bad_count, xp),
            cooldown_left=where(reduce, cooldown, where(cooling, cooldown_left - 1, 0, xp), xp),
        )


def _checked(name: str, metric: Any) -> Any:
    """The metric as a Python float, or as an array without a graph of PyTorch's."""
    number = _plain(metric)
    if is_number(number) and (isinstance(number, float) or abs(number) <= sys.float_info.max):
        return float(number)
    if not is_number(number) and is_array(number):
        kinds = ("integral", "real floating")
        if namespace(number).isdtype(number.dtype, kinds):
            return number.detach() if is_torch(number) else number
    raise ValueError(
        f"{name} must be a real number, NaN and infinities included, or an array of them; "
        f"got {shown(metric)}"
    )


def _checked_count(name: str, count: Any) -> Any:
    """The count, checked. Of an array only the dtype is checked: its values would be waited for."""
    count = _plain(count)
    if is_number(count):
        valid = isinstance(count, int) and 0 <= count <= _LARGEST
    else:
        valid = is_array(count) and namespace(count).isdtype(count.dtype, "integral")
    if not valid:
        raise ValueError(
            f"{name} must be an integer in [0, {_LARGEST}], or an array of them; got {shown(count)}"
        )
    return count


def _plain(value: Any) -> Any:
    """NumPy's single numbers, such as a mean, as Python's: a checkpoint should hold these."""
    value = standard(value)
    single = isinstance(value, NUMPY) and value.ndim == 0 and value.dtype.kind in "iuf"
    return value.item() if single else value


def _is_integral(value: Real) -> bool:
    if is_number(value):
        return isinstance(value, int)
    return bool(namespace(value).isdtype(value.dtype, "integral"))


def _unify(
    reals: tuple[Any, ...], counts: tuple[Any, ...]
) -> tuple[tuple[Any, ...], tuple[Any, ...], Namespace]:
    """The numbers as they are if all are Python's; else arrays of one library, floats and counts.

    The first two of the reals, metric and best, decide the width of the floats.
    """
    reals, counts = tuple(map(_plain, reals)), tuple(map(_plain, counts))
    xp = namespace(*reals, *counts)
    if xp is math:
        return reals, counts, xp
    device = next((value.device for value in reals + counts if is_torch(value)), None)

    def as_array(value: Any, dtype: Any = None) -> Any:
        if is_number(value):  # Unlike asarray, full does not make a GPU wait for a copy.
            return xp.full((), value, dtype=dtype, device=device)
        return xp.asarray(value, dtype=dtype, device=device)

    real, integral = _dtypes(xp, *(as_array(value) for value in reals[:2] if is_array(value)))
    return (
        tuple(as_array(value, real) for value in reals),
        tuple(as_array(value, integral) for value in counts),
        xp,
    )


def _dtypes(xp: Namespace, *arrays: Any) -> tuple[Any, Any]:
    """The dtypes of metrics and of counts."""
    defaults = default_dtypes(xp)
    floats = [array for array in arrays if xp.isdtype(array.dtype, "real floating")]
    # JAX's weak arrays were Python numbers: a scan makes them from the first state.
    floats = [array for array in floats if not getattr(array, "weak_type", False)] or floats
    widths = {xp.finfo(array.dtype).bits: array.dtype for array in floats}
    real = widths[max(widths)] if widths else defaults["real floating"]
    return real if xp.finfo(real).bits >= 32 else xp.float32, defaults["integral"]
