"""The tables of the report, each from the results alone."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from benchmarks.law.plans import CANDIDATES, PEERS, RULE
from benchmarks.law.results import Cell, Result, Results, best, difference, mean, rival
from benchmarks.law.run import best_peak, chosen, least
from benchmarks.law.space import FAMILY, OTHERS, RIVALS, Point, space
from benchmarks.statistics import holm
from rex_core import Schedule, bind, loss_bound, rex

Table = list[list[str]]

LONG = 30  # From that T·(1 − μ) on, a run is long for its momentum.


def scoreboard(fine: Results, points: Sequence[Point] = CANDIDATES) -> Table:
    """The rule, then each candidate, against each rival over all cells that have both."""
    moving = {cell: results for cell, results in fine.items() if cell.momentum > 0}
    rows = []
    kinds: dict[str, Callable[[Cell], bool]] = {
        "the rule": lambda cell: True,
        "the rule, μ ≥ 0.9": lambda cell: cell.momentum >= 0.9,
        f"the rule, μ ≥ 0.9, T·(1 − μ) < {LONG}": lambda cell: (
            cell.momentum >= 0.9 and cell.lengths < LONG
        ),
        f"the rule, μ ≥ 0.9, T·(1 − μ) ≥ {LONG}": lambda cell: (
            cell.momentum >= 0.9 and cell.lengths >= LONG
        ),
    }
    for title, fits in kinds.items():
        cells = {cell: results for cell, results in moving.items() if fits(cell)}
        rules = {cell: cell.rule for cell in cells}
        rows.append([f"**{title}**", *(_against(cells, rules, name) for name in RIVALS)])
    for family in RULE:
        cells = {cell: results for cell, results in moving.items() if cell.family == family}
        for point in points:
            texts = [_against(cells, dict.fromkeys(cells, str(point)), name) for name in RIVALS]
            rows.append([f"{family}: {point}", *texts])
    return [["point", *(f"against {name}" for name in RIVALS)], *(row for row in rows if row[1])]


def others(fine: Results) -> Table:
    """What else people use, each with its best warmup, against three rivals and the rule."""
    names = "linear", "cosine", "REX"
    rows = [["schedule", *(f"against {name}" for name in names), "against the rule"]]
    for other in OTHERS:
        pairs = [(results, best(results, other), cell) for cell, results in fine.items()]
        have = [(results, point, cell) for results, point, cell in pairs if point]
        row = [versus([(r[point], r[rival(r, name)]) for r, point, _ in have]) for name in names]
        row.append(versus([(r[point], r[c.rule]) for r, point, c in have if c.rule in r]))
        rows.append([other, *row])
    return rows


def peers(found: Results, fine: Results) -> Table:
    """Optimizers that compete with schedules, against linear and the rule with the same seeds.

    Schedule-Free SGD is compared with SGD of momentum 0.9, what is left with Adam.
    """
    rows = [["peer", "setting", "updates", "its metric", "against linear", "against the rule"]]
    for peer in PEERS:
        sums: list[list[tuple[Result, Result]]] = [[], []]
        for cell in sorted(found):
            base = "SGDM" if cell.optimizer.endswith("SGD") else "Adam"
            same = Cell(cell.setting, base, cell.momentum, cell.updates)
            if cell.optimizer != peer or same not in fine:
                continue
            own = min(found[cell].values(), key=least)
            row = [peer, cell.setting, str(cell.updates), f"{mean(own):.4g}"]
            for place, point in enumerate((rival(fine[same], "linear"), same.rule)):
                sums[place].append((own, fine[same][point]))
                d = difference(*sums[place][-1])
                text = f"{d.mean:+.1f} ± {d.error:.1f}"
                row.append(f"**{text}**" if d.p < 0.05 else text)
            rows.append(row)
        rows.append([f"**{peer}**", "all", "", "", *map(versus, sums)])
    return rows


def leaving_out(fine: Results) -> Table:
    """For each setting the candidates that are best in the mean of the others, tested on it."""
    rows = [["left out", "best of the others", *(f"against {name}" for name in RIVALS)]]
    moving = {cell: results for cell, results in fine.items() if cell.momentum > 0}
    tested: dict[Cell, str] = {}
    for setting in dict.fromkeys(cell.setting for cell in moving):
        for family in RULE:
            of_family = [cell for cell in moving if cell.family == family]
            apart = [cell for cell in of_family if cell.setting != setting]
            held = {cell: moving[cell] for cell in of_family if cell.setting == setting}
            if not apart or not held:
                continue
            known = [str(p) for p in CANDIDATES if any(str(p) in moving[cell] for cell in apart)]
            # On cells that have all of them, or easy cells would make a candidate look good.
            whole = [cell for cell in apart if moving[cell].keys() >= {*known}]
            if not whole:
                continue
            point = min(known, key=lambda name: _score(moving, whole, name))
            tested |= dict.fromkeys(held, point)
            texts = [_against(held, tested, name) for name in RIVALS]
            rows.append([f"{setting}, {family}", point, *texts])
    held = {cell: moving[cell] for cell in tested}
    if held:
        rows.append(["**all**", "", *(_against(held, tested, name) for name in RIVALS)])
    return rows


def _score(fine: Results, cells: Sequence[Cell], point: str) -> float:
    """The mean over settings, then cells, of the log ratio to the mean of the rivals."""
    ratios: dict[str, list[float]] = {}
    for cell in cells:
        results = fine[cell]
        base = np.mean([np.log(mean(results[rival(results, name)])) for name in RIVALS])
        ratios.setdefault(cell.setting, []).append(np.log(mean(results[point])) - base)
    return float(np.mean([np.mean(values) for values in ratios.values()]))


def _against(fine: Results, points: dict[Cell, str], name: str) -> str:
    have = [(points[cell], results) for cell, results in fine.items() if points[cell] in results]
    return versus([(results[point], results[rival(results, name)]) for point, results in have])


def versus(pairs: Sequence[tuple[Result, Result]]) -> str:
    """The geometric mean of the ratios, and the cells that are better and worse."""
    if not pairs:
        return ""
    found = [difference(result, other) for result, other in pairs]
    adjusted = holm([d.p for d in found])
    counts = []
    for sign, word in ((-1, "better"), (1, "worse")):
        own = sum(sign * d.mean > 0 and d.p < 0.05 for d in found)
        sure = sum(sign * d.mean > 0 and p < 0.05 for d, p in zip(found, adjusted, strict=True))
        counts.append(f"{own} ({sure}) {word}")
    percent = _percent([np.log1p(d.mean / 100) for d in found])
    return f"{percent} %: {', '.join(counts)} of {len(found)}"


def by_cell(fine: Results) -> Table:
    """For each cell linear's metric, and the rivals and the rule as differences to it."""
    names = [*RIVALS][1:]
    rows = [["cell", "updates", "linear", *names, "the rule"]]
    for cell, results in sorted(fine.items()):
        linear = rival(results, "linear")
        row = [cell.task, str(cell.updates)]
        row.append(f"{mean(results[linear]):.4g}{_marks(results[linear], linear)}")
        points = [*(rival(results, name) for name in names), cell.rule]
        have = [point for point in points if point in results]
        found = {point: difference(results[point], results[linear]) for point in have}
        adjusted = dict(zip(have, holm([found[point].p for point in have]), strict=True))
        for point in points:
            if point not in found:
                row.append("–")
                continue
            d = found[point]
            text = f"{d.mean:+.1f} ± {d.error:.1f}"
            row.append(f"**{text}**" if adjusted[point] < 0.05 else text)
            row[-1] += _marks(results[point], point)
        rows.append(row)
    return rows


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
    """Linear and the rule, each at the momentum of least validation metric."""
    rows = [["setting", "updates", "linear", "at momentum", "the rule", "from μ"]]
    groups: dict[tuple[str, int], list[Cell]] = {}
    for cell in sorted(fine):
        if cell.optimizer == "SGDM":
            groups.setdefault((cell.setting, cell.updates), []).append(cell)
    for (setting, updates), cells in groups.items():
        moving = [cell for cell in cells if cell.rule in fine[cell]]
        if len(moving) < 2:
            continue
        linear, rule = (
            min(((cell, point(cell)) for cell in some), key=lambda at: least(fine[at[0]][at[1]]))
            for some, point in (
                (cells, lambda cell: rival(fine[cell], "linear")),
                (moving, lambda cell: cell.rule),
            )
        )
        own, base = (fine[cell][point] for cell, point in (rule, linear))
        d = difference(own, base)
        row = [setting, str(updates), f"{mean(base):.4g}", f"{linear[0].momentum:g}"]
        rows.append([*row, f"{d.mean:+.1f} ± {d.error:.1f}", f"{rule[0].momentum:g}"])
    return rows


def by_lag(fine: Results) -> Table:
    """The rule and REX against linear, by T·(1 − μ): the run in lengths of momentum's average."""
    groups: dict[float, list[Cell]] = {}
    for cell in fine:
        if cell.family == "SGD" and cell.momentum > 0:
            groups.setdefault(2.0 ** round(float(np.log2(cell.lengths))), []).append(cell)
    rows = [["T·(1 − μ), about", "cells", "the rule", "REX"]]
    for lengths, cells in sorted(groups.items()):
        row = [f"{lengths:g}", str(len(cells))]
        for point in (lambda cell: cell.rule, lambda cell: rival(fine[cell], "REX")):
            logs = [
                np.log(mean(fine[c][point(c)]) / mean(fine[c][rival(fine[c], "linear")]))
                for c in cells
                if point(c) in fine[c]
            ]
            row.append(_percent(logs) if logs else "–")
        rows.append(row)
    return rows


def marginal(coarse: Results, axis: str) -> Table:
    """For each value of one axis the best that the others can add, against the best of all.

    The metric is validation's, at the best of the other axes and peaks, in percent above the best
    of all of the space, geometric mean over the cells of that budget.
    """
    cells = [cell for cell in coarse if len(coarse[cell]) >= len(space(0.0, "SGDM"))]
    cells = [cell for cell in cells if _has_space(cell, coarse[cell])]
    budgets = sorted({cell.updates for cell in cells})
    rows: dict[str, dict[int, list[float]]] = {}
    for cell in cells:
        for group in (True, False) if axis == "beta" else (True,):
            points = [p for p in space(cell.momentum, cell.optimizer) if str(p) in coarse[cell]]
            points = [p for p in points if p.fall == "rex" and p.hold == p.end == 0]
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


def _axis_name(axis: str, value: Any, constant: bool, cell: Cell) -> str:
    if axis == "beta":
        if not constant:
            return f"β {value:g}, momentum moves"
        kind = cell.optimizer.rstrip("W") if cell.optimizer != "SGDM" else f"SGDM {cell.momentum:g}"
        return f"β {value:g}, constant, {kind}"
    return f"warmup {value:g}" if axis == "warmup" else str(value)


def peaks(coarse: Results) -> Table:
    """Best peaks, and the loss when the peak is half or twice as high, for rivals and the rule."""
    points = [*(RIVALS[name][0] for name in RIVALS), *RULE.values()]
    rows = [["point", "peak at ½", "peak × 2", "best peak against linear's"]]
    for point in points:
        changes: dict[int, list[float]] = {-1: [], 1: []}
        ratios = []
        for results in coarse.values():
            if str(point) not in results or "linear" not in results:
                continue
            result = results[str(point)]
            at = chosen(result)
            ratios.append(np.log(best_peak(result) / best_peak(results["linear"])))
            for side, values in changes.items():
                if 0 <= at + side < len(result["test"]):
                    value = result["test"][at + side]
                    values.append(np.inf if value is None else value / result["test"][at] - 1)
        if not ratios:
            continue
        medians = (f"{100 * np.median(v):+.0f} %" if v else "–" for v in changes.values())
        rows.append([str(point), *medians])
        rows[-1].append(f"× {np.exp(np.mean(ratios)):.2f}")
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


def _has_space(cell: Cell, results: dict[str, Any]) -> bool:
    return all(str(point) in results for point in space(cell.momentum, cell.optimizer))


def _marks(result: Any, point: str) -> str:
    """The warmup of a rival, and ° for a peak at an edge of its grid."""
    _, found, share = point.partition("warmup ")
    edge = chosen(result) in (0, len(result["validation"]) - 1)
    return f" ({share})" * bool(found) + "°" * edge


def _percent(logs: Iterable[float] | None) -> str:
    return "" if logs is None else f"{100 * (np.exp(np.mean(list(logs))) - 1):+.1f}"


def markdown(table: Table) -> str:
    """The table with its first row as the head, its first column to the left."""
    head, *rows = table
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)
