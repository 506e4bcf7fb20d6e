"""Theory: a bound on the loss of a schedule, its best peak, and a curve from gradient norms.

The bound holds for convex functions. Measurements on neural networks agree with the direction of
its effects, and not with their size. All results here are starting points for a small grid.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from rex_core.arrays import concrete, is_array, shown
from rex_core.boundary import meant
from rex_core.functions import Bound, bind
from rex_core.median_filter import median_filter
from rex_core.profiles import interpolate, linear
from rex_core.progress import BLOCK
from rex_core.ranges import COUNT, POSITIVE, Range
from rex_core.schedule import Schedule
from rex_core.spec import checked_function
from rex_core.values import Value

if TYPE_CHECKING:
    import numpy.typing as npt

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Curve: TypeAlias = Callable[[np.ndarray[Any, np.dtype[np.int64]], int], Array]
Given: TypeAlias = Curve | str | Mapping[str, Any]
Norm: TypeAlias = Literal["l2", "l1"]

MAX_VALUES = 1001

_EXPONENT = Range(-1, 1)
_SMOOTHING = Range(0, 1)
_POWERS = {"l2": 2, "l1": 1}


def loss_bound(
    schedule: Given,
    T: int,
    *,
    gradient_norms: "npt.ArrayLike | None" = None,
    distance: float = 1.0,
) -> float:
    """The least bound on the loss after T steps, which the schedule has at its best peak.

    With rates γ·w_t at the steps t = 0 … T-1, gradient norms G_t, a distance D, S_k = Σ_{i>=k} w_i
    and Q_k = Σ_{i>=k} w_i²·G_i²::

        A = D²/(2·S_0)
        B = Q_0/(2·S_0) + ½·Σ_{k<T-1} (w_k/S_{k+1})·(Q_k/S_k)
        f(x) - f(x*) <= A/γ + γ·B, at least 2·√(A·B), at γ* = √(A/B)

    The theorem assumes a convex f and steps of plain (stochastic) subgradient descent. x is the
    point where the last step with a rate above 0 reads its gradient; later steps count for nothing.
    Without gradient_norms and distance only ratios of two bounds have a meaning. At T = 10_000 the
    bounds of REX (β = ½), cosine and a constant rate are 1.009, 1.030 and 1.642 times linear's.
    Differences of some percent say nothing about neural networks.

    Args:
        schedule: The rates: a `rex_core.Schedule`, a profile or its name, or any function of (t, T)
            that takes an int64 NumPy array for t and returns an array of its shape, finite and
            >= 0, and > 0 at some step.
        T: The number of steps, an integer >= 1. Time grows with T, memory does not.
        gradient_norms: G_t of the steps 0 … T-1, shape (T,), finite and > 0; 1 by default.
        distance: D, the distance from the first point to the minimum, > 0, in the unit of the
            parameters.

    Returns:
        The bound, in the unit of the loss.

    Raises:
        ValueError: An argument is out of its range, or the bound is out of a float's range.

    >>> from rex_core import constant, linear
    >>> round(loss_bound(linear, 10_000), 4)
    0.02
    >>> round(loss_bound(constant, 10_000) / loss_bound(linear, 10_000), 3)
    1.642

    Source: Defazio, Cutkosky, Mehta, Mishchenko, "Optimal Linear Decay Learning Rate Schedules and
    Further Refinements", arXiv 2310.07831, theorem 10; for large models, Schaipp, Hägele, Taylor,
    Simsekli, Bach, "The Surprising Agreement Between Convex Optimization Theory and Learning-Rate
    Scheduling for Large Model Training", arXiv 2501.18965.
    """
    distance = float(POSITIVE.single("distance", distance))
    total, spread = _sums(schedule, COUNT.count("T", T), gradient_norms)
    return _finite("distance", "bound", distance * math.sqrt(2 * spread / total))


def best_peak(
    schedule: Given,
    T: int,
    *,
    gradient_norms: "npt.ArrayLike | None" = None,
    distance: float = 1.0,
) -> float:
    """The factor for all rates of a schedule at which the bound of `loss_bound` is least.

    ::

        γ* = √(A/B)

    A schedule that has the peak 1 has its best peak at γ*. T → 10·T multiplies γ* by 0.316, which
    is 1/√10, for curves that end at 0. Ratios of two results need no distance. `transfer_peak` says
    how far measurements agree.

    Args:
        schedule: The rates, as `loss_bound` takes them.
        T: The number of steps, an integer >= 1.
        gradient_norms: The norms of the steps 0 … T-1, shape (T,), finite and > 0; 1 by default.
        distance: The distance from the first point to the minimum, > 0.

    Returns:
        γ*, > 0.

    Raises:
        ValueError: An argument is out of its range, or γ* is out of a float's range.

    >>> from rex_core import linear, rex
    >>> round(best_peak(rex, 10_000) / best_peak(linear, 10_000), 3)
    0.808
    >>> round(best_peak(linear, 100_000) / best_peak(linear, 10_000), 3)
    0.316

    Source: arXiv 2310.07831, theorem 10, minimized over γ.
    """
    distance = float(POSITIVE.single("distance", distance))
    total, spread = _sums(schedule, COUNT.count("T", T), gradient_norms)
    return _finite("distance", "best peak", distance / (math.sqrt(2 * total) * math.sqrt(spread)))


def transfer_peak(
    peak: float,
    source: tuple[Given, int],
    target: tuple[Given, int],
    *,
    exponent: float = -0.25,
) -> float:
    """A first guess of the peak for one schedule and budget, from the tuned peak of another.

    With γ* of `best_peak`, and linear decay as the measure of a shape at each budget::

        shape(w, T) = γ*(w, T)/γ*(linear, T)
        peak · shape(w₂, T₂)/shape(w₁, T₁) · (T₂/T₁)^exponent

    The result is a starting point for a small grid, and no prediction: try twice and half of it
    too. With the exponent -½ it is the theory's ratio γ*(w₂, T₂)/γ*(w₁, T₁), up to terms that fade
    as T grows.

    * The exponent is measured. Theory has -½ for curves that end at 0. Published runs of a language
      model with 124 M parameters want -0.24 to -0.27. arXiv 2409.19913 reports about -⅓. On the
      digits of this project's study the best peak is flat from about 100 updates on, since a limit
      of stability holds it: 0 fits there. The default lies between these. After a search on T/40
      it did better than 0 in the mean of fifteen cells, though not in each (``python -m
      benchmarks.policy``).
    * Shapes move the peak less than the bound says. This project's study has ten pairs of setting
      and optimizer. There the best peaks against linear's have these geometric means, with the
      bound's in parentheses: REX 0.94 (0.81), REX β = 0.9 0.87 (0.56), cosine 0.95 (0.97), delayed
      linear 75 % 0.82 (0.54), warmup-stable-decay 0.95 (0.51), a constant rate 0.51 (0.31). At one
      budget the best peak mostly lies between the old peak and the result. On the digits it does
      not at 70 updates, where shapes move the peak as the bound says or more; at 1400 updates they
      do not move it (``python -m benchmarks.theory``).
    * The bound knows no momentum. It does not tell the peak of `falling_momentum` from that of a
      rate with a constant momentum.

    Args:
        peak: The best peak for the source, > 0: its peak_value, whatever the source has itself. If
            the source is no `Schedule`, the factor of its rates.
        source: The pair (schedule, T) that the peak was tuned for, each as `best_peak` takes it.
        target: The pair (schedule, T) to find a peak for.
        exponent: How the peak moves with the budget, in [-1, 1]; 0 for not at all.

    Returns:
        The peak for the target, > 0, likewise.

    Raises:
        ValueError: An argument is out of its range, or the result is out of a float's range.

    >>> from rex_core import linear, rex
    >>> round(transfer_peak(0.1, (linear, 10_000), (rex, 10_000)), 4)
    0.0808
    >>> round(transfer_peak(0.1, (linear, 10_000), (linear, 160_000)), 4)
    0.05

    Source: arXiv 2310.07831, theorem 10, for the shape; Bjorck, Benhaim, Chaudhary, Wei, Song,
    "Scaling Optimal LR Across Token Horizons", arXiv 2409.19913, for the exponent.
    """
    peak = float(POSITIVE.single("peak", peak))
    exponent = float(_EXPONENT.single("exponent", exponent))
    old, old_T = _shape("source", source)
    new, new_T = _shape("target", target)
    return _finite("peak", "new peak", peak * (new / old) * (new_T / old_T) ** exponent)


def refine(
    gradient_norms: "npt.ArrayLike",
    T: int,
    *,
    norm: Norm = "l2",
    smoothing: float = 0.1,
) -> Bound:
    """The profile that is best, by the bound, for the gradient norms of one full run.

    With G_t the norms after a median filter of width 2·⌊smoothing·T/2⌋ + 1, reflected at the ends::

        w_t = G_t⁻² for l2, G_t⁻¹ for l1
        rate_t = w_t·Σ_{p>t} w_p, divided by its maximum

    Steps with small gradients get large rates. Flat norms give linear decay. Norms that fall early
    give a warmup, norms that fall all the time a longer plateau, and norms that rise an early fall.
    Norms that fall towards 0 give a rate that rises until the last steps: look at the curve before
    a run with it. The theorem assumes a convex function. On scikit-learn's digits, where norms fall
    to a half and less, the result was 0.2 to 1.7 points of test error worse than linear decay with
    SGD, and tied with it with Adam (``python -m benchmarks.theory``).

    The rates stand at equal distances of t/T, the first at t = 0 and the last, 0, at t = T. Runs of
    more than 1001 steps are thinned to 1001 values, read at equal distances between the rates. The
    result fits every budget, like any profile. Time grows as T·log T, and memory as T. 10⁷ norms
    take 3 s of one core and 0.33 GB (``python -m benchmarks.theory cost``).

    `rex_optax.record_gradient_norms` and `rex_torch.GradientNorms` record norms in this form. The
    gradient is the one that the rate multiplies: after accumulation, unscaling and clipping. Where
    every step is clipped the norms are flat, and the result is linear decay.

    A norm that is NaN, infinite or 0 is refused. NaN and infinity come from steps that were
    skipped, as under a GradScaler. They are no updates, so leave them out::

        norms = norms[np.isfinite(norms)]
        refine(norms, len(norms))

    Args:
        gradient_norms: The norm of the gradient at each step of a run, shape (T,), finite and > 0.
            Of a log of every n-th norm, T is the length of the log: only t/T matters. The same
            holds for a run that stopped early.
        T: The number of norms, an integer >= 2. It says that no norm is missing: another length
            is an error.
        norm: What the norms are: "l2", for SGD, or "l1", for Adam.
        smoothing: The width of the filter as a share of T, in [0, 1]; 0 for no filter.

    Returns:
        ``bind(interpolate, values=...)``, with the maximum 1 and the last value 0.

    Raises:
        ValueError: An argument is out of its range.

    >>> import numpy as np
    >>> refine(np.ones(5), 5)
    bind(interpolate, values=(1.0, 0.75, 0.5, 0.25, 0.0))
    >>> falling = refine([2.0, 1.5, 1.0, 1.0, 1.0, 1.0], 6, smoothing=0)
    >>> [round(falling(t, 5), 2) for t in range(6)]
    [0.37, 0.59, 1.0, 0.67, 0.33, 0.0]

    Source: arXiv 2310.07831, the refinement of schedules for SGD and for Adam.
    """
    T = Range(2, integers=True).count("T", T)
    power = _POWERS[checked_norm(norm)]
    smoothing = float(_SMOOTHING.single("smoothing", smoothing))
    norms = _norms(gradient_norms, T)
    least, most = float(norms.min()), float(norms.max())
    if least < most * 1e-150:  # Their weights would underflow.
        raise ValueError(
            f"gradient_norms must differ by factors of at most 1e150; got {least} to {most}"
        )
    smooth = median_filter(norms, int(meant(smoothing) * T / 2)).astype(np.float64)
    weights = (smooth.min() / smooth) ** power
    rates = weights * np.append(np.cumsum(weights[:0:-1])[::-1], 0.0)
    places = np.linspace(0, T - 1, min(T, MAX_VALUES))
    left = places.astype(int)
    right = np.minimum(left + 1, T - 1)
    values = rates[left] + (places - left) * (rates[right] - rates[left])
    return bind(interpolate, values=tuple((values / values.max()).tolist()))


def checked_norm(norm: Any) -> Norm:
    """The name of a norm, if `refine` knows it."""
    if not isinstance(norm, str) or norm not in _POWERS:
        raise ValueError(f"norm must be 'l2' or 'l1'; got {shown(norm)}")
    return cast(Norm, norm)


def _sums(
    schedule: Given, T: int, gradient_norms: "npt.ArrayLike | None", name: str = "schedule"
) -> tuple[float, float]:
    """S_0 and B of the bound, summed block by block from the last step to the first."""
    function = checked_function(name, schedule)
    if isinstance(function, Value) and any(np.ndim(array) for array in function._arrays):
        raise ValueError(f"{name} must have numbers and no arrays; got {shown(function)}")
    norms = None if gradient_norms is None else _norms(gradient_norms, T)
    total = squares = terms = 0.0
    for stop in range(T, 0, -BLOCK):
        start = max(stop - BLOCK, 0)
        rates = _rates(function, start, stop, T, name)
        if total == 0:
            rates = np.trim_zeros(rates, "b")  # After the last rate above 0 nothing moves.
            if not rates.size:
                continue
        with np.errstate(all="ignore"):  # What overflows is refused below.
            steps = rates if norms is None else rates * norms[start : start + rates.size]
            energies = np.square(steps)[::-1]
            rates = rates[::-1]
            S = total + np.cumsum(rates)
            Q = squares + np.cumsum(energies)
            # No step follows the last one: its term is 0.
            following = np.concatenate([[total or math.inf], S[:-1]])
            terms += float(np.sum(rates / following * (Q / S)))
            # Pairwise sums go on to the next block: those of cumsum round at every step.
            total += float(np.sum(rates))
            squares += float(np.sum(energies))
    if total == 0:
        raise ValueError(f"{name} must be > 0 at some step of T = {T}; got 0 at all of them")
    return total, _finite(name, "bound", squares / (2 * total) + terms / 2)


def _rates(schedule: Curve, start: int, stop: int, T: int, name: str) -> Floats:
    """The checked values of a schedule at the steps from start to stop."""
    steps = np.arange(start, stop, dtype=np.int64)
    values = _called(schedule, steps, T, name)
    rates = np.asarray(values)
    if rates.shape != steps.shape or rates.dtype.kind not in "iuf":
        raise ValueError(
            f"{name} must return an array of numbers, of the shape of t, {steps.shape}; "
            f"got {shown(values)}"
        )
    wrong = ~((rates >= 0) & (rates < math.inf))
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(
            f"{name} must be finite and >= 0 at every step; got {rates[at]} at t = {start + at}"
        )
    return rates.astype(np.float64, copy=False)


def _called(schedule: Curve, steps: Any, T: int, name: str) -> Array:
    """The values of a schedule. One that takes single steps, and no array of them, is refused."""
    try:
        return schedule(steps, T)
    except (TypeError, ValueError) as error:
        try:
            schedule(int(steps[0]), T)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise error from None
        raise ValueError(
            f"{name} must take an array of steps as t (np.maximum for max, np.where for if); "
            f"got a function of single steps, {shown(schedule)}"
        ) from error


def _norms(gradient_norms: "npt.ArrayLike", T: int) -> Array:
    """The norms as an array that has been checked, in its own dtype."""
    accepted = f"gradient_norms must be an array of T = {T} finite numbers > 0"
    given: Any = gradient_norms
    if isinstance(given, list | tuple):  # As the tensors that a clipping returns.
        given = [concrete(each) if is_array(each) else each for each in given]
    try:
        norms = concrete(given) if is_array(given) else np.asarray(given)
    except (TypeError, ValueError):  # Rows of different lengths.
        norms = None
    if norms is None or norms.dtype == object:
        raise ValueError(f"{accepted}; got {shown(gradient_norms)}")
    if norms.shape != (T,) or norms.dtype.kind not in "iuf":
        raise ValueError(f"{accepted}; got an array of {norms.dtype} of the shape {norms.shape}")
    # Least and greatest need no array of T booleans.
    if not (norms.min() > 0 and norms.max() < math.inf):
        at = int(np.argmin((norms > 0) & (norms < math.inf)))
        raise ValueError(
            f"{accepted}; got {norms[at]} at t = {at} (a step that was skipped is no update: leave "
            "its norm out, and give T the number of the others)"
        )
    return norms


def _shape(name: str, pair: tuple[Given, int]) -> tuple[float, int]:
    """The best peak of a (schedule, T) against linear's, and T."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"{name} must be a pair (schedule, T); got {shown(pair)}")
    T = COUNT.count(f"{name}[1]", pair[1])
    schedule = checked_function(f"{name}[0]", pair[0])
    total, spread = _sums(schedule, T, None, f"{name}[0]")
    reference, least_spread = _sums(linear, T, None)
    scale = schedule.peak_value if isinstance(schedule, Schedule) else 1.0
    return scale * math.sqrt(reference / total * (least_spread / spread)), T


def _finite(name: str, result: str, value: float) -> float:
    """A result that neither underflowed nor overflowed; name is the argument at fault."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must give a {result} that is a finite float > 0; got {value}")
    return value
