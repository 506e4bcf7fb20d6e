"""A search space of schedules: suggested by a trial, and found again in its parameters."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from optuna.trial import BaseTrial, FixedTrial

from rex_core import Schedule, bind, rex
from rex_core.adapting import (
    POSITIVE,
    SHARE,
    SHARE_OR_ALL,
    Function,
    Range,
    checked_schedule,
    shown,
    tried,
)

Interval: TypeAlias = float | tuple[float, float]
Profiles: TypeAlias = Sequence[str] | Mapping[str, Any]

_RANGES = {
    "peak_value": POSITIVE,
    "warmup_ratio": SHARE,
    "beta": Range(-1e30, 1, "[)"),
    "end_ratio": SHARE_OR_ALL,
}
_LOGARITHMIC = "peak_value"
_BETA = 0.5


def suggest_schedule(
    trial: BaseTrial,
    T: float,
    *,
    peak_value: Interval,
    profiles: Profiles = ("rex", "linear", "cosine"),
    warmup_ratio: Interval = 0.0,
    beta: Interval = _BETA,
    end_ratio: Interval = 0.0,
    prefix: str = "",
) -> Schedule:
    """The schedule of a trial: one of several profiles, and numbers out of intervals.

    ::

        Schedule(
            profile,
            peak_value=peak_value,
            end_value=end_ratio·peak_value,
            warmup_ratio=warmup_ratio,
        )

    A number is fixed. A pair (low, high) is searched under the name of its argument. The peak is
    searched on a logarithmic scale. One of several profiles is searched under the name "profile". β
    is searched only in the trials of "rex". The parameters of a trial are floats and strings. Every
    storage takes them.

    A trial on a small budget is a complete schedule at its own T, never the first part of a longer
    one. Each rung of a pruner is a complete schedule too: a run from fresh weights, reported at its
    T. `optuna.pruners.SuccessiveHalvingPruner` and `optuna.pruners.HyperbandPruner` have these
    rungs with ``min_resource=100`` and ``reduction_factor=3``::

        schedule = suggest_schedule(trial, 900, ...)
        for T in (100, 300, 900):
            if trial.should_prune():
                raise optuna.TrialPruned
            loss = train(schedule, T)
            trial.report(loss, step=T)
        return loss

    Args:
        trial: The trial, of Optuna, or the one that OptunaSearch of Ray Tune gives to its space
            function. A finished trial gives the schedule that it had.
        T: The budget of a trial, the largest if it has several, > 0: an integer for steps. The
            schedules at both ends of the intervals are tried at this budget.
        peak_value: The peak, > 0: a number or a pair.
        profiles: The names of profiles; or {label: profile} for functions, values and dictionaries.
            The labels are then the parameters.
        warmup_ratio: The warmup as a share of T, in [0, 1): a number or a pair.
        beta: β of `rex_core.rex`, in [-1e30, 1): a number or a pair. A profile with its own β, as
            ``bind(rex, beta=0.9)``, keeps it. An error if no profile is "rex".
        end_ratio: The end as a share of the peak, in [0, 1]: a number or a pair.
        prefix: The beginning of the parameters' names, for a second schedule in the same trial.

    Returns:
        The schedule.

    Raises:
        ValueError: An argument is no trial or out of its range, or a schedule of the space is
            refused at T.

    >>> import optuna
    >>> trial = optuna.trial.FixedTrial({"profile": "rex", "peak_value": 0.1, "beta": 0.8})
    >>> suggest_schedule(trial, 1000, peak_value=(0.01, 1), beta=(0, 0.9), warmup_ratio=0.05)
    Schedule(bind(rex, beta=0.8), peak_value=0.1, warmup_ratio=0.05)

    Source: arXiv 2107.04197, where the peak is chosen for each schedule.
    """
    if not hasattr(trial, "suggest_float"):  # Ray Tune's has no class of Optuna's.
        raise ValueError(
            "trial must be a trial of Optuna (schedule_of takes its parameters, as the config of "
            f"Ray Tune); got {shown(trial)}"
        )
    numbers = {
        "peak_value": _interval("peak_value", peak_value),
        "warmup_ratio": _interval("warmup_ratio", warmup_ratio),
        "beta": _interval("beta", beta),
        "end_ratio": _interval("end_ratio", end_ratio),
    }
    curves = _curves(profiles)
    if numbers["beta"] != _BETA and rex not in curves.values():
        raise ValueError(
            f"beta must be left out if none of the profiles is 'rex': a profile with its own β, as "
            f"bind(rex, beta=0.9), keeps it; got {shown(beta)} and {shown(profiles)}"
        )
    T = POSITIVE.single("T", T)
    for end in (0, 1):
        for curve in curves.values():
            tried("each schedule of the space", _schedule(curve, _end(numbers, end)), T)

    labels = list(curves)
    label = trial.suggest_categorical(f"{prefix}profile", labels) if labels[1:] else labels[0]
    curve = curves[label]
    chosen = {
        name: trial.suggest_float(f"{prefix}{name}", *number, log=name == _LOGARITHMIC)
        for name, number in numbers.items()
        if isinstance(number, tuple) and (name != "beta" or curve is rex)
    }
    return _schedule(curve, {**_end(numbers, 0), **chosen})


def schedule_of(params: Mapping[str, Any], T: float, **space: Any) -> Schedule:
    """The schedule that `suggest_schedule` made for a trial, from the parameters of the trial.

    Args:
        params: The parameters, such as ``study.best_params``, ``trial.params`` or the config of a
            trainable of Ray Tune. Other parameters among them are ignored.
        T: The budget, as in `suggest_schedule`.
        space: The other arguments of `suggest_schedule`, as they were. Fixed numbers are not among
            the parameters.

    Returns:
        The schedule.

    Raises:
        ValueError: An argument is out of its range, or a parameter that was searched is missing.

    >>> space = {"profiles": ["rex", "linear"], "peak_value": (0.01, 1), "warmup_ratio": 0.05}
    >>> params = {"profile": "linear", "peak_value": 0.1, "batch_size": 64}
    >>> schedule_of(params, 1000, **space)
    Schedule(linear, peak_value=0.1, warmup_ratio=0.05)
    """
    if not isinstance(params, Mapping):
        raise ValueError(f"params must be a mapping of names to values; got {shown(params)}")
    return suggest_schedule(_Given(dict(params)), T, **space)


class _Given(FixedTrial):
    """A trial of given parameters, whose error names the one that is missing."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._given = params

    def suggest_float(self, name: str, *args: Any, **kwargs: Any) -> float:
        self._check(name)
        return super().suggest_float(name, *args, **kwargs)

    def suggest_categorical(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self._check(name)
        return super().suggest_categorical(name, *args, **kwargs)

    def _check(self, name: str) -> None:
        if name not in self._given:
            raise ValueError(
                "params must have each parameter that the space searches; "
                f"{name!r} is not found in {shown(self._given)}"
            )


def _interval(name: str, given: Any) -> float | tuple[float, float]:
    """A number of its range, or a pair of them with the lower one first."""
    accepted = _RANGES[name]
    if not isinstance(given, tuple | list):
        return float(accepted.single(name, given))
    if len(given) != 2:
        raise ValueError(f"{name} must be a number or a pair (low, high); got {shown(given)}")
    low, high = (float(accepted.single(f"{name}[{i}]", end)) for i, end in enumerate(given))
    if low > high:
        raise ValueError(f"{name} must be a pair (low, high) with low <= high; got {shown(given)}")
    return low, high


def _curves(profiles: Any) -> dict[str, Function]:
    """The profiles by their labels."""
    if isinstance(profiles, str) or not isinstance(profiles, Sequence | Mapping) or not profiles:
        raise ValueError(
            "profiles must be names of profiles in a list, or a dictionary {label: profile}; "
            f"got {shown(profiles)}"
        )
    for label in profiles:
        if not isinstance(label, str) or list(profiles).count(label) > 1:
            raise ValueError(
                "profiles must have different strings as names, as in {'found': profile}; "
                f"got {shown(label)}"
            )
    named = profiles if isinstance(profiles, Mapping) else {name: name for name in profiles}
    return {label: checked_schedule(f"profiles[{label!r}]", p) for label, p in named.items()}


def _end(numbers: Mapping[str, float | tuple[float, float]], end: int) -> dict[str, float]:
    """The numbers at one end of each interval, and the fixed numbers."""
    return {name: n[end] if isinstance(n, tuple) else n for name, n in numbers.items()}


def _schedule(curve: Function, numbers: Mapping[str, float]) -> Schedule:
    peak = numbers["peak_value"]
    return Schedule(
        bind(rex, beta=numbers["beta"]) if curve is rex else curve,
        peak_value=peak,
        end_value=numbers["end_ratio"] * peak,
        warmup_ratio=numbers["warmup_ratio"],
    )
