"""The report: tables and a picture, from the file of results alone."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from benchmarks import record
from benchmarks.budgeted.styles import STYLES
from benchmarks.law.plans import CANDIDATES, RULE
from benchmarks.law.run import Key, best_peak, chosen, least, read
from benchmarks.law.space import RIVALS, Point, space
from benchmarks.law.statistics import Difference, holm, paired

Table = list[list[str]]


class Cell(NamedTuple):
    """A setting, an optimizer with its momentum, and a budget in updates."""

    setting: str
    optimizer: str
    momentum: float
    updates: int

    @property
    def task(self) -> str:
        return f"{self.setting}, {self.optimizer} {self.momentum:g}"

    @property
    def family(self) -> str:
        """Whether momentum is a sum of gradients or an average."""
        return "Adam" if self.optimizer.startswith("Adam") else "SGD"

    @property
    def rule(self) -> str:
        """The point of the rule."""
        return str(RULE[self.family])


Results = dict[Cell, dict[str, Any]]


def report(path: Path) -> Path:
    """Write the page and the picture beside the file of results, with the same name."""
    found = read(path)
    coarse, fine = (_of_stage(found, stage) for stage in ("coarse", "fine"))
    if not fine:
        raise ValueError(f"results must have some of the fine pass; got {path} with none")
    picture = path.with_suffix(".png")
    figure(fine).savefig(picture, dpi=150)
    text = _TEXT.format(
        networks=_networks(found),
        machine=_machine(path),
        coarse=len(coarse),
        fine=len(fine),
        picture=picture.name,
        rivals=_markdown(scoreboard(fine)),
        leaving_out=_markdown(leaving_out(fine)),
        cells=_markdown(by_cell(fine)),
        tuned=_markdown(tuned_momentum(fine)),
        lag=_markdown(by_lag(fine)),
        momenta=_markdown(marginal(coarse, "momentum")),
        betas=_markdown(marginal(coarse, "beta")),
        warmups=_markdown(marginal(coarse, "warmup")),
        peaks=_markdown(peaks(coarse)),
        peaks_by_budget=_markdown(peaks_by_budget(fine)),
        best=_markdown(best_points(coarse)),
    )
    page = path.with_suffix(".md")
    page.write_text(text, encoding="utf-8")
    print(f"written: {page} and {picture}")
    return page


def difference(cell: dict[str, Any], point: str, other: str) -> Difference:
    """The paired difference of the test metric, in percent of the other's mean."""
    values, baseline = (_seeds(cell[name]) for name in (point, other))
    scale = 100 / baseline.mean()
    return paired(values * scale, baseline * scale)


def rival(cell: dict[str, Any], name: str) -> str:
    """The rival's point in a cell: of those that are there, the one of least validation metric."""
    points = (str(point) for point in RIVALS[name] if str(point) in cell)
    return min(points, key=lambda point: least(cell[point]))


def scoreboard(fine: Results, points: Sequence[Point] = CANDIDATES) -> Table:
    """The rule, then each candidate, against each rival over all cells that have both."""
    moving = {cell: results for cell, results in fine.items() if cell.momentum > 0}
    rows = []
    for title, least_momentum in (("**the rule**", 0.0), ("**the rule, μ ≥ 0.9**", 0.9)):
        cells = {c: results for c, results in moving.items() if c.momentum >= least_momentum}
        rows.append([title, *(_versus(cells, _rules(cells), name) for name in RIVALS)])
    for family in RULE:
        cells = {cell: results for cell, results in moving.items() if cell.family == family}
        for point in points:
            chosen_points = {cell: str(point) for cell in cells}
            texts = [_versus(cells, chosen_points, name) for name in RIVALS]
            rows.append([f"{family}: {point}", *texts])
    return [["point", *(f"against {name}" for name in RIVALS)], *(row for row in rows if row[1])]


def _rules(cells: Iterable[Cell]) -> dict[Cell, str]:
    return {cell: cell.rule for cell in cells}


def leaving_out(fine: Results) -> Table:
    """For each setting the candidates that are best in the mean of the others, tested on it."""
    rows = [["left out", "best of the others", *(f"against {name}" for name in RIVALS)]]
    moving = {cell: results for cell, results in fine.items() if cell.momentum > 0}
    tested: dict[Cell, str] = {}
    for setting in dict.fromkeys(cell.setting for cell in moving):
        for family in RULE:
            of_family = [cell for cell in moving if cell.family == family]
            others = [cell for cell in of_family if cell.setting != setting]
            held = {cell: moving[cell] for cell in of_family if cell.setting == setting}
            if not others or not held:
                continue
            best = str(min(CANDIDATES, key=lambda point: _score(moving, others, str(point))))
            points = dict.fromkeys(held, best)
            tested |= points
            texts = [_versus(held, points, name) for name in RIVALS]
            rows.append([f"{setting}, {family}", best, *texts])
    held = {cell: moving[cell] for cell in tested}
    if held:
        rows.append(["**all**", "", *(_versus(held, tested, name) for name in RIVALS)])
    return rows


def _score(fine: Results, cells: Sequence[Cell], point: str) -> float:
    """The mean over settings, then cells, of the log ratio to the mean of the rivals."""
    ratios: dict[str, list[float]] = {}
    for cell in cells:
        if point in fine[cell]:
            base = np.mean([np.log(_mean(fine[cell], rival(fine[cell], name))) for name in RIVALS])
            ratios.setdefault(cell.setting, []).append(np.log(_mean(fine[cell], point)) - base)
    if len(ratios) < len({cell.setting for cell in cells}):
        return np.inf
    return float(np.mean([np.mean(values) for values in ratios.values()]))


def _versus(fine: Results, points: dict[Cell, str], name: str) -> str:
    cells = [cell for cell in fine if points[cell] in fine[cell]]
    if not cells:
        return ""
    found = [difference(fine[c], points[c], rival(fine[c], name)) for c in cells]
    ratios = [1 + d.mean / 100 for d in found]
    adjusted = holm([d.p for d in found])
    counts = []
    for sign, word in ((-1, "better"), (1, "worse")):
        own = sum(sign * d.mean > 0 and d.p < 0.05 for d in found)
        sure = sum(sign * d.mean > 0 and p < 0.05 for d, p in zip(found, adjusted, strict=True))
        counts.append(f"{own} ({sure}) {word}")
    mean = 100 * (float(np.exp(np.mean(np.log(ratios)))) - 1)
    return f"{mean:+.1f} %: {', '.join(counts)} of {len(cells)}"


def by_cell(fine: Results) -> Table:
    """For each cell linear's metric, and the rivals and the rule as differences to it."""
    names = [*RIVALS][1:]
    rows = [["cell", "updates", "linear", *names, "the rule"]]
    for cell, results in sorted(fine.items()):
        linear = rival(results, "linear")
        values = _seeds(results[linear])
        row = [
            cell.task,
            str(cell.updates),
            f"{values.mean():.4g}{_marks(results[linear], linear)}",
        ]
        points = [*(rival(results, name) for name in names), cell.rule]
        have = [point for point in points if point in results and point != linear]
        found = {point: difference(results, point, linear) for point in have}
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
        values, baseline = (_seeds(fine[cell][point]) for cell, point in (rule, linear))
        common = min(len(values), len(baseline))  # Both count from the same first seed.
        values, baseline = values[:common], baseline[:common]
        scale = 100 / baseline.mean()
        found = paired(values * scale, baseline * scale)
        difference_text = f"{found.mean:+.1f} ± {found.error:.1f}"
        row = [setting, str(updates), f"{baseline.mean():.4g}", f"{linear[0].momentum:g}"]
        rows.append([*row, difference_text, f"{rule[0].momentum:g}"])
    return rows


def by_lag(fine: Results) -> Table:
    """The rule and REX against linear, by T·(1 − μ): the run in lengths of momentum's average."""
    groups: dict[float, list[Cell]] = {}
    for cell in fine:
        if cell.family == "SGD" and cell.momentum > 0:
            lengths = cell.updates * (1 - cell.momentum)
            groups.setdefault(2.0 ** round(float(np.log2(lengths))), []).append(cell)
    rows = [["T·(1 − μ), about", "cells", "the rule", "REX"]]
    for lengths, cells in sorted(groups.items()):
        row = [f"{lengths:g}", str(len(cells))]
        for point in (lambda cell: cell.rule, lambda cell: rival(fine[cell], "REX")):
            logs = [
                np.log(_mean(fine[c], point(c)) / _mean(fine[c], rival(fine[c], "linear")))
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
            points = [p for p in points if p.fall == "rex" and p.hold == 0]
            if axis == "beta":
                points = [p for p in points if (p.momentum == "constant") == group]
                if not group and cell.momentum == 0:
                    continue
            best = min(least(coarse[cell][str(p)]) for p in points)
            for value in dict.fromkeys(getattr(p, axis) for p in points):
                own = min(least(coarse[cell][str(p)]) for p in points if getattr(p, axis) == value)
                name = _axis_name(axis, value, group, cell)
                rows.setdefault(name, {}).setdefault(cell.updates, []).append(np.log(own / best))
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
        best = results[order[0]]
        near = sum(least(results[name]) <= 1.03 * least(best) for name in order)
        row = [cell.task, str(cell.updates), order[0], f"{best_peak(best):.3g}"]
        rows.append([*row, str(near), str(len(order))])
    return rows


def figure(fine: Results) -> Figure:
    """The difference to linear against the budget, a panel for each setting and optimizer."""
    tasks = [(task, list(of)) for task, of in groupby(sorted(fine), key=lambda cell: cell.task)]
    columns = min(4, len(tasks))
    rows = -(-len(tasks) // columns)
    picture = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    axes = picture.subplots(rows, columns, squeeze=False).ravel()
    for ax, (task, cells) in zip(axes, tasks, strict=False):
        lines = [(name, STYLES.get(name, {})) for name in RIVALS if name != "linear"]
        lines.append(("the rule", {"color": "#000000", "marker": "D", "linewidth": 2.2}))
        for place, (name, style) in enumerate(lines):
            points = []
            for cell in cells:
                point = rival(fine[cell], name) if name in RIVALS else cell.rule
                if point in fine[cell]:
                    d = difference(fine[cell], point, rival(fine[cell], "linear"))
                    points.append((cell.updates * 1.04 ** (place - 1.5), d.mean, d.high - d.mean))
            if points:
                x, y, bars = np.array(points).T
                ax.errorbar(x, y, bars, label=name, capsize=2, markersize=4, **style)
        ax.axhline(0, color="#7f7f7f", linewidth=1)
        bottom, top = ax.get_ylim()
        ax.set_ylim(max(bottom, -50), min(top, 50))
        ax.set_xscale("log")
        ax.set_xticks(sorted({cell.updates for cell in cells}))
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_title(task, fontsize=10)
        ax.grid(alpha=0.3)
    for ax in axes[len(tasks) :]:
        ax.set_visible(False)
    picture.supxlabel("budget T (updates)")
    picture.supylabel("test metric against linear (%), 95 % interval")
    handles, labels = max((ax.get_legend_handles_labels() for ax in axes), key=lambda h: len(h[0]))
    picture.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=9)
    return picture


def _of_stage(found: dict[Key, Any], stage: str) -> Results:
    cells: Results = {}
    for key, result in found.items():
        if key.stage == stage:
            cell = Cell(key.setting, key.optimizer, key.momentum, key.updates)
            cells.setdefault(cell, {})[key.point] = result
    return cells


def _has_space(cell: Cell, results: dict[str, Any]) -> bool:
    return all(str(point) in results for point in space(cell.momentum, cell.optimizer))


def _seeds(result: Any) -> Any:
    return np.array([np.nan if v is None else v for v in result["of_seeds"]], dtype=np.float64)


def _mean(cell: dict[str, Any], point: str) -> float:
    return float(_seeds(cell[point]).mean())


def _marks(result: Any, point: str) -> str:
    """The warmup of a rival, and ° for a peak at an edge of its grid."""
    _, found, share = point.partition("warmup ")
    edge = chosen(result) in (0, len(result["validation"]) - 1)
    return f" ({share})" * bool(found) + "°" * edge


def _percent(logs: Iterable[float] | None) -> str:
    return "" if logs is None else f"{100 * (np.exp(np.mean(list(logs))) - 1):+.1f}"


def _networks(found: dict[Key, Any]) -> str:
    count = sum(result["seeds"] * len(result["test"]) for result in found.values())
    return f"{count:,}".replace(",", " ")


def _machine(path: Path) -> str:
    rows = record.lines(path)
    runs = [row for row in rows if "machine" in row]
    machines = {f"{r['machine']['cpu']}, {r['machine']['cores']} cores" for r in runs}
    versions = {f"{k} {v}" for r in runs for k, v in r["versions"].items()}
    return f"{'; '.join(sorted(machines))}, with {', '.join(sorted(versions))}"


def _markdown(table: Table) -> str:
    head, *rows = table
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


_TEXT = """# Which schedule, how high, for how many updates: what came out

Made by `python -m benchmarks.law report` from the results of `python -m benchmarks.law run`:
{networks} networks on {machine}.

Every number is of test examples. Each point of the space (warmup × fall × momentum) is trained at
peaks in steps of 2 on a few seeds ({coarse} cells). A short list is then trained on other seeds at
five peaks in steps of √2 around the best of each ({fine} cells). Both passes choose by validation
examples, and a rival brings the warmup that did best for it. With the same seed all start from the
same weights and see the same batches, so differences are paired: mean ± standard error, in percent
of the metric that they are differences to. "Better" and "worse" mean that the 95 % interval of
Student's t leaves out 0; in brackets, or in bold, what remains so after Holm's correction. The peak
that is chosen is taken as given: its choice adds no uncertainty to the intervals. A warmup is the
share of T in brackets; it begins at a tenth of the peak. ° marks a peak at an edge of the five.

**The rule** is the preset `falling_momentum`: momentum falls linearly from μ to 0 over the run, and
the effective rate is REX. For SGD that is `falling_momentum(peak, momentum=μ)`, for Adam
`falling_momentum(peak, averaged=True, warmup_ratio=0.1)`. "Kept" is the factor that keeps SGD's
effective rate where it would fall with the momentum.

![Difference to linear against the budget, for each setting and optimizer]({picture})

The picture is cut at ±50 %.

## Against the rivals

The mean is geometric, over the cells with momentum. Of the candidates one point serves all budgets.

{rivals}

## A rule from the other settings

For each setting and family of optimizers the candidate is chosen that did best in the mean of the
other settings, and then compared on the one that was left out.

{leaving_out}

## Each cell

Linear's metric, and differences to it.

{cells}

## Another constant momentum

SGD on each setting and budget with the momentum chosen by validation too, out of those that were
run: linear with its best constant momentum, and the rule with the best μ to fall from.

{tuned}

## What the gain depends on

SGD with a momentum μ, over all settings: percent against linear with the same μ (geometric mean).

{lag}

## One axis at a time

From the coarse pass: the least validation metric that a value allows with the best of everything
else, in percent above the best of the whole space; geometric mean over the cells with that budget.
A few percent are noise of eight seeds.

{momenta}

{warmups}

β of REX, 0 being linear, where the momentum is constant and where it moves:

{betas}

## Peaks

Medians over the cells of the coarse pass: how much the test metric rises where the peak is half or
twice the best, and the best peak against linear's without warmup (geometric mean).

{peaks}

The best peak of the fine pass at each budget; SGD's divided by 1 − μ, which is the effective rate:

{peaks_by_budget}

## The best point of each cell

From the coarse pass, with the number of points whose validation metric is within 3 % of it.

{best}
"""
