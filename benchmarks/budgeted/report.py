"""The report of the study, from its file of results alone: a page of tables, and its figures."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from benchmarks.budgeted import paper
from benchmarks.budgeted.cells import Cell, Line, results
from benchmarks.budgeted.schedules import PATIENCE, PROFILES, SAMPLED, SAMPLINGS, SCHEDULES, STUDY
from benchmarks.budgeted.styles import STYLES

# Those of the paper's main tables, in which shares and ranks can be set beside its own.
IN_PAPER = (*SCHEDULES, "plateau")


@dataclass(frozen=True)
class Row:
    """One schedule in one cell.

    Args:
        line: The line of results that it is from.
        schedule: Its name.
        rate: Its peak rate.
        values: The test metric of each seed, errors in %; infinite where a run came to no number.
        curve: The mean validation metric at the line's points, likewise.
    """

    line: Line
    schedule: str
    rate: float
    values: tuple[float, ...]
    curve: tuple[float, ...]

    @property
    def cell(self) -> Cell:
        cell: Cell = self.line["cell"]
        return cell

    @property
    def task(self) -> tuple[str, str]:
        return self.cell.setting, self.cell.optimizer

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def score(self) -> float:
        """The mean as it is compared: equal errors stay equal, however they were cut and summed."""
        return round(self.mean, 3) if self.line["metric"] == "error" else self.mean

    @property
    def sd(self) -> float:
        """The sample standard deviation over the seeds; NaN for one seed, or without a mean."""
        if len(self.values) < 2 or not math.isfinite(self.mean):
            return math.nan
        return float(np.std(self.values, ddof=1))

    def __str__(self) -> str:
        if not math.isfinite(self.mean):
            return "diverged"
        digits = 4 if self.line["metric"] == "loss" and self.mean < 10 else 2
        spread = "" if math.isnan(self.sd) else f" ± {self.sd:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}"


Rows = Sequence[Row]


def report(path: Path) -> Path:
    """Write the page beside the file of results, with the same name, and its figures."""
    lines = results(path)
    rows = comparisons(lines.values())
    if not rows:
        raise ValueError(f"results must have a cell that compares schedules; got none in {path}")
    figures = {"ranks": _rank_figure(rows)}
    for setting, of_setting in groupby(rows, key=lambda row: row.cell.setting):
        figures[setting] = _curve_figure([row for row in of_setting if row.schedule in STUDY])
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    for name, figure in drawn.items():
        figure.savefig(path.with_name(f"{path.stem}_{name}.png"), dpi=80)
    page = path.with_suffix(".md")
    page.write_text(text(list(lines.values()), path.stem, drawn), encoding="utf-8")
    print(f"written: {page} and {len(drawn)} figures beside it")
    return page


def comparisons(lines: Iterable[Line]) -> Rows:
    """One row for each task, budget and schedule, in this order: the one of most seeds."""
    rows: dict[tuple[Any, ...], Row] = {}
    for line in lines:
        cell: Cell = line["cell"]
        if cell.purpose != "compare":
            continue
        factor = 100 if line["metric"] == "error" else 1
        test = _numbers(line["test"]) * factor
        curves = _numbers(line["curve"]["validation"]) * factor
        for i, (name, rate) in enumerate(zip(cell.schedules, cell.rates, strict=True)):
            row = Row(line, name, rate, tuple(test[:, i]), tuple(curves[:, i]))
            key = *row.task, cell.percent, name
            if key not in rows or len(rows[key].values) <= len(row.values):
                rows[key] = row
    return [rows[key] for key in sorted(rows, key=lambda key: (key[:3], _place(key[3])))]


def text(lines: Sequence[Line], stem: str, figures: Collection[str]) -> str:
    """The page, in Markdown, with those figures."""
    rows = comparisons(lines)
    parts = [_introduction(lines), _summary(rows)]
    if "ranks" in figures:
        parts.append(f"![Average rank against budget]({stem}_ranks.png)")
    for setting, of_setting in groupby(rows, key=lambda row: row.cell.setting):
        several = list(of_setting)
        data = several[0].line["data"]
        parts.append(f"## {several[0].line['name']}" + (f"\n\nData: {data}." if data else ""))
        if setting in figures:
            parts.append(f"![Learning curves]({stem}_{setting}.png)")
        for _, of_task in groupby(several, key=lambda row: row.task):
            task = list(of_task)
            parts.append(_how(task, lines))
            if schedules := [row for row in task if row.schedule in STUDY]:
                parts.append(_schedules_table(schedules))
            if sampled := [row for row in task if row.schedule in SAMPLED]:
                parts.append(_samplings_table(sampled))
    return "\n\n".join(parts) + "\n"


def winner(rows: Rows) -> str:
    """The schedule of least mean, or how many are tied.

    Tied are the best and all whose means differ from its mean by less than the seeds' spread: the
    root mean square of the two standard deviations.
    """
    best, *others = sorted(rows, key=lambda row: row.score)
    if not math.isfinite(best.score):
        return "none"
    ties = [
        row.schedule
        for row in others
        if row.score == best.score or row.score - best.score < math.hypot(best.sd, row.sd) / 2**0.5
    ]
    return f"{1 + len(ties)} tied" if ties else best.schedule


def _winners(rows: Rows) -> dict[float, str]:
    """The winner of each budget."""
    percents = sorted({row.cell.percent for row in rows})
    return {p: winner([row for row in rows if row.cell.percent == p]) for p in percents}


def places(rows: Rows) -> dict[str, int]:
    """The place of each schedule of one cell by its mean, from 1; equal means share the better."""
    return {row.schedule: 1 + sum(other.score < row.score for other in rows) for row in rows}


def shares(rows: Rows, names: Sequence[str]) -> tuple[int, dict[str, tuple[float, float]]]:
    """In how many cells all the names were, and the shares of first and of first three places."""
    cells = _complete_cells(rows, names)
    placed = [places(cell) for cell in cells]
    return len(cells), {
        name: (
            sum(place[name] <= 1 for place in placed) / len(placed),
            sum(place[name] <= 3 for place in placed) / len(placed),
        )
        for name in names
        if placed
    }


def average_ranks(rows: Rows, names: Sequence[str]) -> dict[float, tuple[int, dict[str, float]]]:
    """By budget: the number of cells with all the names, and the mean rank of each name there."""
    by_percent: dict[float, list[Rows]] = {}
    for cell in _complete_cells(rows, names):
        by_percent.setdefault(cell[0].cell.percent, []).append(cell)
    return {
        percent: (
            len(cells),
            {name: float(np.mean([_rank(name, cell) for cell in cells])) for name in names},
        )
        for percent, cells in sorted(by_percent.items())
    }


def _rank(name: str, cell: Rows) -> float:
    """The place, where equal means share the mean of their places."""
    (score,) = (row.score for row in cell if row.schedule == name)
    less = sum(row.score < score for row in cell)
    equal = sum(row.score == score for row in cell)
    return less + (equal + 1) / 2


def _complete_cells(rows: Rows, names: Sequence[str]) -> list[Rows]:
    """The rows of each task and budget with those names, if it has all of them."""
    cells: list[Rows] = []
    for _, of_cell in groupby(rows, key=lambda row: (row.task, row.cell.percent)):
        among = [row for row in of_cell if row.schedule in names]
        if len(among) == len(names):
            cells.append(among)
    return cells


def _introduction(lines: Sequence[Line]) -> str:
    hours = sum(line["seconds"] for line in lines) / 3600
    machines = sorted({_machine(line) for line in lines})
    versions = sorted({f"{n} {v}" for line in lines for n, v in line["versions"].items()})
    return f"""# Budgeted training: what came out

Made by `python -m benchmarks.budgeted report`, from the results of
`python -m benchmarks.budgeted study`: {len(lines)} cells, {hours:.1f} hours on
{"; ".join(machines)}.
Versions: {", ".join(versions)}.

Every budget is a run of its own. For each setting, optimizer and schedule one peak rate was chosen
out of the same grid, at one budget, on seeds that serve for nothing else, by the mean on
validation examples; the numbers below are of test examples, mean ± sample standard deviation over
the seeds. With the same seed all schedules start from the same weights and see the same batches.
"Tied" are the best and those whose means differ from its mean by less than the spread of the seeds.
The plateau sees the validation metric after each epoch, with a patience of {PATIENCE} epochs under
every budget: under one of no more epochs, to choose rates or to compare, it is no schedule.
Where the paper (arXiv 2107.04197) has the cell, its number and our difference to it follow."""


def _summary(rows: Rows) -> str:
    parts = ["## Which schedule?"]
    everything = [name for name in STUDY if name != "Demon"]  # which no plain descent can have
    for title, names in (
        ("the paper's schedules", IN_PAPER),
        ("all schedules but Demon", everything),
    ):
        count, of_name = shares(rows, names)
        if not count:
            continue
        ordered = sorted(of_name.items(), key=lambda item: item[1], reverse=True)
        lines = [
            [name, f"{first:.0%}", f"{three:.0%}", *_paper_share(name)]
            for name, (first, three) in ordered
        ]
        parts.append(
            f"Among {title}, in the {count} cells (setting × optimizer × budget) that have all of "
            "them (those that share a place all have it; the paper's shares are of its own "
            "settings, step and plateau together):"
        )
        heads = ["schedule", "first", "in the first three", "paper: first", "first three"]
        parts.append(_markdown(heads, lines))
    ranks = average_ranks(rows, IN_PAPER)
    if ranks:
        heads = ["average rank", *(f"{p:g} % ({_count(n, 'cell')})" for p, (n, _) in ranks.items())]
        parts.append(
            _markdown(
                heads,
                [[name, *(f"{r[name]:.2f}" for _, r in ranks.values())] for name in IN_PAPER],
            )
        )
    return "\n\n".join(parts)


def _how(task: Rows, lines: Sequence[Line]) -> str:
    setting, optimizer = task[0].task
    tuning = [
        line["cell"]
        for line in lines
        if (line["cell"].setting, line["cell"].optimizer) == (setting, optimizer)
        and line["cell"].purpose == "tune"
    ]
    unit = "error in %" if task[0].line["metric"] == "error" else "loss"
    about = (
        f"### {optimizer}\n\nTest {unit}; {_count(len(task[0].values), 'seed')}; "
        f"100 % are {task[0].line['full_updates']} updates."
    )
    if not tuning:
        return about
    grid = sorted({rate for cell in tuning for rate in cell.rates}, reverse=True)
    chosen = {row.schedule: row.rate for row in task}
    edge = sum(rate in (grid[0], grid[-1]) for rate in chosen.values())
    return (
        f"{about} Rates chosen at {_list({cell.percent for cell in tuning})} % on "
        f"{_range({seed for cell in tuning for seed in cell.seeds})} out of {_list(grid)}; "
        f"{edge} of {len(chosen)} at an edge of that."
    )


def _schedules_table(rows: Rows) -> str:
    percents = sorted({row.cell.percent for row in rows})
    of = {(row.schedule, row.cell.percent): row for row in rows}
    body = []
    for name in sorted({row.schedule for row in rows}, key=_place):
        found = [of.get((name, percent)) for percent in percents]
        rates = sorted({row.rate for row in found if row}, reverse=True)
        entries = [_entry(row, rows) if row else "" for row in found]
        body.append([name, ", ".join(f"{rate:g}" for rate in rates), *entries])
    return _markdown(
        ["schedule", "rate", *(f"{percent:g} %" for percent in percents)],
        [*body, ["best", "", *_winners(rows).values()]],
    )


def _samplings_table(rows: Rows) -> str:
    percents = sorted({row.cell.percent for row in rows})
    of = {(row.schedule, row.cell.percent): row for row in rows}

    def entry(name: str, percent: float) -> str:
        row = of.get((name, percent))
        return _entry(row, rows) if row else ""

    table = _markdown(
        ["sampling", *(f"{profile}, {p:g} %" for profile in PROFILES for p in percents)],
        [
            [sampling]
            + [entry(f"{profile} × {sampling}", p) for profile in PROFILES for p in percents]
            for sampling in SAMPLINGS
        ],
    )
    best = "; ".join(f"at {percent:g} % {name}" for percent, name in _winners(rows).items())
    return f"Profile × sampling:\n\n{table}\n\nBest: {best}."


def _entry(row: Row, rows: Rows) -> str:
    """The numbers, bold where they are the best of the budget, and the paper's."""
    least = min(other.score for other in rows if other.cell.percent == row.cell.percent)
    own = f"**{row}**" if row.score == least else str(row)
    theirs = paper.published(*row.task, row.schedule, row.cell.percent)
    if theirs is None:
        return own
    difference = f", {row.mean - theirs:+.2f}" if math.isfinite(row.mean) else ""
    return f"{own} ({theirs:.2f}{difference})"


def _paper_share(name: str) -> list[str]:
    if name not in paper.SHARES:
        return ["", ""]
    return [f"{share} %" for share in paper.SHARES[name]]


def _rank_figure(rows: Rows) -> Figure | None:
    """The paper's Figure 1: the average rank of each schedule against the budget."""
    ranks = average_ranks(rows, IN_PAPER)
    if not ranks:
        return None
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for name in IN_PAPER:
        values = [of_name[name] for _, of_name in ranks.values()]
        axes.plot(range(len(ranks)), values, label=name, markersize=5, **STYLES[name])
    axes.set_xticks(
        range(len(ranks)), [f"{p:g} %\n({_count(n, 'cell')})" for p, (n, _) in ranks.items()]
    )
    axes.invert_yaxis()
    axes.set(
        title="Average rank of the schedules, 1 is best",
        xlabel="budget, in % of the full one (settings × optimizers with all schedules)",
        ylabel="average rank",
    )
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _curve_figure(rows: Rows) -> Figure | None:
    """Validation metric against the share of the budget: optimizers below each other."""
    if not rows:
        return None
    percents = sorted({row.cell.percent for row in rows})
    optimizers = sorted({row.cell.optimizer for row in rows})
    size = 1 + 2.6 * len(percents), 1.6 + 2.6 * len(optimizers)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(optimizers), len(percents), squeeze=False, sharex=True)
    for across, optimizer in zip(grid, optimizers, strict=True):
        for axes, percent in zip(across, percents, strict=True):
            here = [
                row
                for row in rows
                if (row.cell.optimizer, row.cell.percent) == (optimizer, percent)
            ]
            _draw_curves(axes, here)
            axes.set_title(f"{optimizer}, {percent:g} %")
            axes.set_xlabel("share of the budget spent")
        across[0].set_ylabel(_label(rows[0].line))
    entries: dict[str, Any] = {}
    for axes in grid.flat:
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.suptitle(f"{rows[0].line['name']}: learning curves, means over the seeds")
    figure.legend(
        entries.values(), entries.keys(), loc="outside lower center", ncols=2 * len(percents)
    )
    return figure


def _draw_curves(axes: Axes, rows: Rows) -> None:
    for row in rows:
        share = np.asarray(row.line["curve"]["t"]) / row.line["updates"]
        style = STYLES.get(row.schedule, {"color": "#d0d0d0", "zorder": 1, "linewidth": 1})
        label = row.schedule if row.schedule in STYLES else "the others"
        axes.plot(share, _drawable(row.curve), label=label, markersize=3, **style)
    if any(value > 0 for row in rows for value in _drawable(row.curve)):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)


def _drawable(curve: Sequence[float]) -> Any:
    """The curve without what is infinite, or zero on a logarithmic axis."""
    values = np.asarray(curve)
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _label(line: Line) -> str:
    return "validation error (%)" if line["metric"] == "error" else "validation loss"


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in sorted(values, reverse=True))


def _range(seeds: Collection[int]) -> str:
    first, last = min(seeds), max(seeds)
    return f"seed {first}" if first == last else f"seeds {first} to {last}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _machine(line: Line) -> str:
    about = line["machine"]
    device = "" if about["device"] == "cpu" else f", {about['device']}"
    return f"{about['cpu']}, {about['cores']} cores{device}"


def _numbers(values: Any) -> Any:
    """Lists with None as an array with infinities."""
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isnan(array), math.inf, array)


def _place(name: str) -> int:
    return [*STUDY, *SAMPLED].index(name)


def _markdown(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("--:" for _ in heads[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rule, *body))
