"""The state of the explorer: a dictionary of plain JSON, and the curves that it shows."""

import json
import math
from typing import Any

import numpy as np

from rex_cli.pictures import points
from rex_cli.settings import Named, numbers, schedules, settings, truth
from rex_cli.snippets import TARGETS
from rex_core import Replan
from rex_core.adapting import LARGEST_STEP, POSITIVE, number
from rex_core.theory import best_peak, loss_bound

State = dict[str, Any]

FIRST: State = {
    "schedules": [{"profile": "rex", "peak_value": "0.1", "warmup_ratio": 0.05}],
    "T": "10000",
    "budgets": False,
    "replan": "none",
    "t0": 0.5,
    "T1": "20000",
    "for": "torch",
}
REPLANS = "none", "replan", "cooldown"
_BOUNDED = 1_000_000  # Up to this T the bound is computed.
_ADDED = 100_000  # So many values are added up.
_READERS = {"number": number, "numbers": numbers, "truth": truth}


def read_state(text: str | bytes) -> State:
    """The state in a link. Parts that it leaves out are as at first.

    Raises:
        ValueError: The text is no state.
    """
    given = json.loads(text)
    first: State = json.loads(json.dumps(FIRST))
    state = first | given if isinstance(given, dict) else {}
    fits = state.keys() == first.keys() and all(
        isinstance(state[name], int | float if isinstance(value, float) else type(value))
        for name, value in first.items()
    )
    rows = state["schedules"] if fits else []
    values = [each for row in rows for each in (row.values() if isinstance(row, dict) else [None])]
    if not rows or not all(isinstance(each, str | float | int) for each in values):
        raise ValueError(f"state must be like {json.dumps(FIRST)}; got {text!r:.200}")
    for name, known in (("replan", REPLANS), ("for", TARGETS)):
        if state[name] not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}; got {state[name]!r:.200}")
    if not 0 <= state["t0"] < 1:
        raise ValueError(f"t0 must be a share of T in [0, 1); got {state['t0']}")
    return state


def named(state: State) -> list[Named]:
    """The schedules of a state."""
    kinds = {each.name: each.kind for each in settings()}
    T = number(str(state["T"]))
    POSITIVE.check("T", T)
    made: list[Named] = []
    for chosen in state["schedules"]:
        given: dict[str, list[Any]] = {}
        for name, value in chosen.items():
            read = _READERS.get(kinds.get(name, ""))
            given[name] = [read(value) if read and isinstance(value, str) else value]
        (each,) = schedules([], given)
        made.append(each._replace(label=f"{len(made) + 1}: {each.label}", T=T))
    return made


def curves(state: State, found: list[Named]) -> list[Named]:
    """The curves of the schedules of a state, also under other budgets and after a replan."""
    drawn = []
    for each in found:
        drawn.append(each)
        if state["budgets"]:
            for part in (10, 100):
                drawn.append(each._replace(label=f"{each.label}, T/{part}", T=each.T // part))
        if state["replan"] != "none":
            T1 = number(str(state["T1"]))
            POSITIVE.check("T1", T1)
            t0 = each.T * state["t0"]
            t0 = int(t0) if isinstance(each.T, int) else t0
            if t0 >= T1:
                raise ValueError(f"T1 must be above t0 = {t0}; got {T1}")
            planned = Replan(each.schedule, t0, each.T, decay_now=state["replan"] == "cooldown")
            drawn.append(Named(f"{each.label}, {state['replan']} at {t0}", planned, T1))
    return drawn


def theory(found: list[Named]) -> str:
    """The best peaks and bounds of rates in convex theory, divided by the first one's."""
    rates = {i: each for i, each in enumerate(found, 1) if each.part == "lr"}
    if not rates or not isinstance(found[0].T, int) or found[0].T > _BOUNDED:
        return ""
    results = {}
    for i, (_, schedule, T, *_) in rates.items():
        peak = max(points(schedule, T)[1]) * best_peak(schedule, T)
        results[i] = np.array([peak, loss_bound(schedule, T)])
    first = min(results)
    lines = [f"Best peak and bound, relative to schedule {first}, by convex theory"]
    for i, result in results.items():
        peak, bound = result / results[first]
        lines.append(f"{i}: best peak {peak:.3g}, bound {bound:.4g}")
    return "\n".join(lines)


def added(each: Named, steps: list[float]) -> list[float]:
    """The sum of the values before each of some steps; of a long budget from some of its values."""
    if not isinstance(each.T, int) or each.T > LARGEST_STEP:
        return [math.nan] * len(steps)
    count = min(each.T, _ADDED)
    read = np.arange(count + 1) * each.T // count
    parts = each.schedule(read[:-1], each.T) * np.diff(read)
    found: list[float] = np.interp(steps, read, np.concatenate([[0.0], np.cumsum(parts)])).tolist()
    return found
