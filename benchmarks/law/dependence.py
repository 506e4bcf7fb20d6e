"""The tables of what the rule and the best fall depend on."""

from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np

from benchmarks.law.plans import DEMON, RULE
from benchmarks.law.results import Cell, Result, Results, difference, mean, rival
from benchmarks.law.run import best_peak, chosen, least
from benchmarks.law.space import FAMILY, RIVALS, WARMUPS, space
from benchmarks.law.tables import Table, versus
from benchmarks.statistics import geometric_mean
from rex_core import Schedule, bind, loss_bound, rex


def betas(fine: Results) -> Table:
    """REX's best β in each cell, and the range of those that are as good within the interval."""
    budgets = sorted({cell.updates for cell, results in fine.items() if plateau(results)})
    rows = [["", *(f"{T} updates" for T in budgets)]]
    for task, of in groupby(sorted(fine), key=lambda cell: cell.task):
        found = {cell.updates: plateau(fine[cell]) for cell in of}
        if any(found.values()):
            rows.append([task])
            for updates in budgets:
                three = found.get(updates)
                rows[-1].append("{:g} ({:g} to {:g})".format(*three) if three else "")
    if budgets:
        rows.append(["the least bound, norms 1", *(f"{_least_bound(T):g}" for T in budgets)])
    return rows


def _least_bound(updates: int) -> float:
    """The β of the family whose convex bound is least, for gradients of norm 1."""
    betas = [point.beta for point in FAMILY]
    return min(betas, key=lambda b: loss_bound(Schedule(bind(rex, beta=b)), updates))


def families(fine: Results) -> Table:
    """Each β of REX against linear, and how often it is as good as the best of the family."""
    kinds: dict[str, Callable[[Cell], bool]] = {
        "Adam": lambda cell: cell.family == "Adam",
        "SGD without momentum": lambda cell: cell.family == "SGD" and cell.momentum == 0,
        "SGD with momentum": lambda cell: cell.family == "SGD" and cell.momentum > 0,
        "**all**": lambda cell: True,
    }
    found = {cell: of for cell, results in fine.items() if (of := _family(results))}
    rows = [["β", "optimizer", "as good as the best", "against linear"]]
    for point in FAMILY:
        for kind, fits in kinds.items():
            cells = [of for cell, of in found.items() if fits(cell)]
            good = sum(point.beta in _as_good(of) for of in cells)
            against = versus([(of[point.beta], of[0.0]) for of in cells])
            rows.append([f"{point.beta:g}", kind, f"{good} of {len(cells)}", against])
    return rows


def plateau(results: dict[str, Result]) -> tuple[float, float, float] | None:
    """REX's best β by validation, then the least and the greatest that is as good.

    Without results of the whole family there is none.
    """
    of = _family(results)
    if of is None:
        return None
    near = _as_good(of)
    return _top(of), min(near), max(near)


def _family(results: dict[str, Result]) -> dict[float, Result] | None:
    """REX's results by β, if all are there."""
    of = {point.beta: results[str(point)] for point in FAMILY if str(point) in results}
    return of if len(of) == len(FAMILY) else None


def _as_good(of: dict[float, Result]) -> list[float]:
    """The β whose difference to the best one has 0 in its 95 % interval, or is below."""
    top = of[_top(of)]
    return [beta for beta, result in of.items() if difference(result, top).low <= 0]


def _top(of: dict[float, Result]) -> float:
    return min(of, key=lambda beta: least(of[beta]))


def tuned_momentum(fine: Results) -> Table:
    """Linear, REX and the rule, each at the momentum of least validation metric."""
    rows = [["setting", "updates", "momenta", "linear", "at", "REX", "at", "the rule", "from μ"]]
    groups: dict[tuple[str, int], list[Cell]] = {}
    for cell in sorted(fine):
        if cell.optimizer == "SGDM":
            groups.setdefault((cell.setting, cell.updates), []).append(cell)
    for (setting, updates), cells in groups.items():
        moving = [cell for cell in cells if cell.rule in fine[cell]]
        if len(moving) < 2:
            continue
        cell, base = _at_best_momentum(fine, cells, lambda cell: rival(fine[cell], "linear"))
        row = [setting, str(updates), ", ".join(f"{cell.momentum:g}" for cell in cells)]
        row += [f"{mean(base):.4g}", f"{cell.momentum:g}"]
        for some, point in (
            (cells, lambda cell: rival(fine[cell], "REX")),
            (moving, lambda cell: cell.rule),
        ):
            cell, own = _at_best_momentum(fine, some, point)
            d = difference(own, base)
            row += [f"{d.mean:+.1f} ± {d.error:.1f}", f"{cell.momentum:g}"]
        rows.append(row)
    return rows


def demons(fine: Results) -> Table:
    """Demon on REX from each momentum, against the rule from 0.9."""
    demon = {cell: results[str(DEMON)] for cell, results in fine.items() if str(DEMON) in results}
    momenta = sorted({cell.momentum for cell in demon})
    rows = [["", "updates", *(f"from {momentum:g}" for momentum in momenta)]]
    for base in sorted(fine):
        own = [demon.get(base._replace(momentum=momentum)) for momentum in momenta]
        if base.momentum == 0.9 and base.rule in fine[base] and len([*filter(None, own)]) > 1:
            found = [difference(each, fine[base][base.rule]) if each else None for each in own]
            texts = [f"{d.mean:+.1f} ± {d.error:.1f}" if d else "" for d in found]
            rows.append([f"{base.setting}, {base.optimizer}", str(base.updates), *texts])
    return rows


def _at_best_momentum(
    fine: Results, cells: list[Cell], point: Callable[[Cell], str]
) -> tuple[Cell, Result]:
    found = ((cell, fine[cell][point(cell)]) for cell in cells)
    return min(found, key=lambda pair: least(pair[1]))


def by_lag(fine: Results) -> Table:
    """The rule and REX against linear, by T·(1 − μ): the run in lengths of momentum's average."""
    groups: dict[float, list[Cell]] = {}
    for cell in fine:
        if cell.momentum >= 0.9 and cell.rule in fine[cell]:
            groups.setdefault(2.0 ** round(float(np.log2(cell.lengths))), []).append(cell)
    rows = [["T·(1 − μ), about", "the rule, SGD", "REX, SGD", "the rule, Adam", "REX, Adam"]]
    for lengths, cells in sorted(groups.items()):
        row = [f"{lengths:g}"]
        for family in RULE:
            of = [cell for cell in cells if cell.family == family]
            for point in (lambda cell: cell.rule, lambda cell: rival(fine[cell], "REX")):
                found = [
                    difference(fine[cell][point(cell)], fine[cell][rival(fine[cell], "linear")])
                    for cell in of
                ]
                row.append(f"{geometric_mean(found):+.1f} % of {len(of)}" if of else "–")
        rows.append(row)
    return rows


def marginal(coarse: Results, axis: str) -> Table:
    """For each value of one axis the best that the others can add, against the best of all.

    The metric is validation's, at the best of the other axes and peaks, in percent above the best
    of all of the space, geometric mean over the cells of that budget.
    """
    cells = [
        cell
        for cell, results in coarse.items()
        if results.keys() >= {*map(str, space(cell.momentum, cell.optimizer))}
    ]
    budgets = sorted({cell.updates for cell in cells})
    rows: dict[str, dict[int, list[float]]] = {}
    for cell in cells:
        for group in (True, False) if axis == "beta" else (True,):
            points = [
                p
                for p in space(cell.momentum, cell.optimizer)
                if p.fall == "rex" and p.hold == p.end == 0
            ]
            if axis == "beta":
                points = [p for p in points if (p.momentum == "constant") == group]
                if not group and cell.momentum == 0:
                    continue
            top = min(least(coarse[cell][str(p)]) for p in points)
            for value in dict.fromkeys(getattr(p, axis) for p in points):
                own = min(least(coarse[cell][str(p)]) for p in points if getattr(p, axis) == value)
                name = _axis_name(axis, value, group, cell)
                rows.setdefault(name, {}).setdefault(cell.updates, []).append(np.log(own / top))
    head = [axis, *(f"{T} updates" for T in budgets)]
    return [head, *([n, *(_percent(rows[n].get(T)) for T in budgets)] for n in sorted(rows))]


def _percent(logs: list[float] | None) -> str:
    return "" if logs is None else f"{100 * np.expm1(np.mean(logs)):+.1f}"


def _axis_name(axis: str, value: Any, constant: bool, cell: Cell) -> str:
    if axis == "beta":
        if not constant:
            return f"β {value:g}, momentum moves"
        kind = cell.optimizer.rstrip("W") if cell.optimizer != "SGDM" else f"SGDM {cell.momentum:g}"
        return f"β {value:g}, constant, {kind}"
    return f"warmup {value:g}" if axis == "warmup" else str(value)


def warmups(fine: Results) -> Table:
    """Linear, cosine and REX with a warmup against themselves without, for each optimizer."""
    shares = WARMUPS[1:]
    rows = [["optimizer", "schedule", *(f"warmup {share:g}" for share in shares)]]
    for family in RULE:
        cells = [of for cell, of in fine.items() if cell.family == family]
        for name in ("linear", "cosine", "REX"):
            plain, *warm = map(str, RIVALS[name])
            pairs = ([(of[w], of[plain]) for of in cells if {w, plain} <= of.keys()] for w in warm)
            rows.append([family, name, *map(versus, pairs)])
    return rows


def peaks(coarse: Results) -> Table:
    """The loss when the peak is half or twice as high, for rivals and the rule in the same cells.

    A change that came to no number counts as infinite.
    """
    rows = [["optimizer", "point", "cells", "peak at ½", "peak × 2"]]
    for family, rule in RULE.items():
        points = [str(rule), *(str(plain) for plain, *_ in RIVALS.values())]
        have = [
            results
            for cell, results in coarse.items()
            if cell.family == family and cell.momentum >= 0.9 and results.keys() >= {*points}
        ]
        for point in points if have else ():
            changes = (_changes([of[point] for of in have], side) for side in (-1, 1))
            medians = (f"{100 * np.median(v):+.0f} %" if v else "–" for v in changes)
            rows.append([family, point, str(len(have)), *medians])
    return rows


def _changes(results: list[Result], side: int) -> list[float]:
    """How much the test metric rises at the peak beside the best one."""
    values = []
    for result in results:
        at = chosen(result)
        if 0 <= at + side < len(result["test"]):
            value = result["test"][at + side]
            values.append(np.inf if value is None else value / result["test"][at] - 1)
    return values


def peak_ratios(fine: Results) -> Table:
    """The rule's best peak against plain linear's with the same momentum, at each budget."""
    found: dict[str, dict[int, list[float]]] = {family: {} for family in RULE}
    for cell, results in fine.items():
        if cell.momentum >= 0.9 and results.keys() >= {cell.rule, "linear"}:
            ratio = best_peak(results[cell.rule]) / best_peak(results["linear"])
            found[cell.family].setdefault(cell.updates, []).append(np.log(ratio))
    budgets = sorted({updates for of in found.values() for updates in of})
    rows = [["", *(f"{T} updates" for T in budgets)]]
    for family, of in found.items():
        rows.append([family])
        for logs in (of.get(T) for T in budgets):
            rows[-1].append(f"× {np.exp(np.mean(logs)):.2f} of {len(logs)}" if logs else "")
    return rows


def peaks_by_budget(fine: Results) -> Table:
    """The best peak of the rule and of linear, divided by 1 - μ for SGD, at each budget."""
    budgets = sorted({cell.updates for cell in fine})
    rows = [["", *(f"{T} updates" for T in budgets)]]
    for task, of in groupby(sorted(fine), key=lambda cell: cell.task):
        cells = {cell.updates: cell for cell in of if cell.rule in fine[cell]}
        for name in ("the rule", "linear") if cells else ():
            row = [f"{task}, {name}"]
            for updates in budgets:
                cell = cells.get(updates)
                if cell is None:
                    row.append("")
                    continue
                point = cell.rule if name == "the rule" else rival(fine[cell], name)
                length = 1 - cell.momentum if cell.family == "SGD" else 1.0
                row.append(f"{best_peak(fine[cell][point]) / length:.2g}")
            rows.append(row)
    return rows


def best_points(coarse: Results) -> Table:
    """The point of least validation metric in each cell, and what else is within 3 % of it."""
    rows = [["cell", "updates", "best point", "peak", "within 3 %", "of"]]
    for cell, results in sorted(coarse.items()):
        order = sorted(results, key=lambda name: least(results[name]))
        top = results[order[0]]
        near = sum(least(results[name]) <= 1.03 * least(top) for name in order)
        row = [cell.task, str(cell.updates), order[0], f"{best_peak(top):.3g}"]
        rows.append([*row, str(near), str(len(order))])
    return rows
