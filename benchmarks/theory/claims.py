"""Tables of what the theory says beside what was measured: plain dictionaries."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.theory.sweep import Floats, Sweep
from rex_core import (
    Schedule,
    best_peak,
    bind,
    constant,
    cosine,
    delayed_linear,
    linear,
    loss_bound,
    one_minus_sqrt,
    refine,
    rex,
    transfer_peak,
)

SCHEDULES = {
    "linear": Schedule(linear),
    "REX": Schedule(rex),
    "REX, β 0.9": Schedule(bind(rex, beta=0.9)),
    "cosine": Schedule(cosine),
    "1 − √": Schedule(one_minus_sqrt),
    "linear delayed 75 %": delayed_linear(delay=0.75),
    "constant": Schedule(constant),
}
REFINED = "refined"
EXPONENTS = (-0.5, -0.25, 0.0)
MOMENTUM = 0.9  # Of the sweeps: the steps are 1/(1 − 0.9) times as long as the rate says.
POINTS = 11

Row = dict[str, Any]


def shapes(sweep: Sweep) -> list[Row]:
    """At one budget: the peak of each schedule from the tuned one of linear, and the bound."""
    source = SCHEDULES["linear"], sweep.T
    tuned = sweep.peaks[sweep.best("linear")]
    least = _least_loss(sweep, "linear")
    rows = []
    for name in sweep.schedules:
        target = SCHEDULES[name], sweep.T
        guess = transfer_peak(tuned, source, target)
        rows.append(
            {
                "T": sweep.T,
                "schedule": name,
                "theory's ratio": best_peak(*target) / best_peak(*source),
                "measured ratio": sweep.peaks[sweep.best(name)] / tuned,
                "peak": sweep.peaks[sweep.best(name)],
                "tied": sweep.tied(name),
                "suggested": guess,
                "error": float(_errors(sweep, name, sweep.best(name)).mean()),
                "cost of the suggestion": _cost(sweep, name, guess),
                "cost of linear's peak": _cost(sweep, name, tuned),
                "theory's loss": loss_bound(*target) / loss_bound(*source),
                "measured loss": _least_loss(sweep, name) / least,
            }
        )
    return rows


def budgets(sweeps: Sequence[Sweep]) -> list[Row]:
    """From the peak that is tuned at the shortest budget to those of the longer ones."""
    first = sweeps[0]
    rows = []
    for sweep in sweeps[1:]:
        for old, new in (("linear", "linear"), ("cosine", "REX")):
            source, target = (SCHEDULES[old], first.T), (SCHEDULES[new], sweep.T)
            tuned = first.peaks[first.best(old)]
            for exponent in EXPONENTS:
                guess = transfer_peak(tuned, source, target, exponent=exponent)
                rows.append(
                    {
                        "source": old,
                        "target": new,
                        "T": (first.T, sweep.T),
                        "tuned": tuned,
                        "exponent": exponent,
                        "suggested": guess,
                        "peak": sweep.peaks[sweep.best(new)],
                        "tied": sweep.tied(new),
                        "cost of the suggestion": _cost(sweep, new, guess),
                    }
                )
    return rows


def with_norms(sweep: Sweep) -> Row:
    """The peak of linear from the norms and the distance of its best runs, and no grid."""
    place, lane = sweep.best("linear"), sweep.place("linear")
    peaks = [
        (1 - MOMENTUM) * best_peak(SCHEDULES["linear"], sweep.T, gradient_norms=n, distance=d)
        for n, d in zip(sweep.norms[:, place, lane], sweep.distance[:, place, lane], strict=True)
    ]
    return {
        "T": sweep.T,
        "suggested": float(np.median(peaks)),
        "peak": sweep.peaks[place],
        "tied": sweep.tied("linear"),
        "distance": float(np.median(sweep.distance[:, place, lane])),
    }


def refined(sweep: Sweep, norm: Any) -> Schedule:
    """The profile of one run, that of the first seed with linear's best peak."""
    norms = sweep.norms[0, sweep.best("linear"), sweep.place("linear")]
    return Schedule(refine(norms, sweep.T, norm=norm))


def refinement(old: Sweep, new: Sweep, optimizer: str, norm: str, profile: Schedule) -> Row:
    """Linear beside the refined profile, each with its own best peak."""
    place, again = old.best("linear"), new.best(REFINED)
    norms = old.norms[0, place, old.place("linear")]
    error, own = _errors(old, "linear", place), _errors(new, REFINED, again)
    return {
        "optimizer": optimizer,
        "norm": norm,
        "T": old.T,
        "norms at the start and the end": [
            float(np.median(norms[: old.T // 10])),
            float(np.median(norms[-(old.T // 10) :])),
        ],
        "profile": [round(profile(t, POINTS - 1), 4) for t in range(POINTS)],
        "linear's peak": old.peaks[place],
        "peak": new.peaks[again],
        "linear's error": float(error.mean()),
        "error": float(own.mean()),
        "more error": _with_spread(own - error),
        "theory's loss": loss_bound(profile, old.T, gradient_norms=norms)
        / loss_bound(SCHEDULES["linear"], old.T, gradient_norms=norms),
        "measured loss": _least_loss(new, REFINED) / _least_loss(old, "linear"),
    }


def _errors(sweep: Sweep, name: str, place: int) -> Floats:
    return sweep.test[:, place, sweep.place(name)]


def _cost(sweep: Sweep, name: str, peak: float) -> dict[str, float]:
    """The test error with the nearest peak of the grid, less that with the best one."""
    best = _errors(sweep, name, sweep.best(name))
    return _with_spread(_errors(sweep, name, sweep.nearest(peak)) - best)


def _with_spread(differences: Floats) -> dict[str, float]:
    """The mean over paired seeds, and twice its standard error."""
    error = float(stats.sem(differences))
    return {"mean": float(differences.mean()), "twice the standard error": 2 * error}


def _least_loss(sweep: Sweep, name: str) -> float:
    """The mean loss on the training examples, with the peak that makes it least."""
    return float(sweep.loss.mean(axis=0)[:, sweep.place(name)].min())
