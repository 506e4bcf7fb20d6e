"""The pictures of the report."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from benchmarks.budgeted.styles import STYLES
from benchmarks.law.dependence import plateau
from benchmarks.law.results import Cell, Results, difference, rival
from benchmarks.law.space import FAMILY, RIVALS

_RULE = {"color": "#000000", "marker": "D", "linewidth": 2.2}


def differences(fine: Results) -> Figure:
    """The difference to linear against the budget, a panel for each task."""
    picture = Figure(layout="constrained")
    for axes, cells in _panels(picture, list(fine)):
        lines = [(name, STYLES.get(name, {})) for name in RIVALS if name != "linear"]
        lines.append(("the rule", _RULE))
        for place, (name, style) in enumerate(lines):
            points = []
            for cell in cells:
                results = fine[cell]
                point = rival(results, name) if name in RIVALS else cell.rule
                if point in results:
                    d = difference(results[point], results[rival(results, "linear")])
                    points.append((cell.updates * 1.04 ** (place - 1.5), d.mean, d.high - d.mean))
            if points:
                x, y, bars = np.array(points).T
                axes.errorbar(x, y, bars, label=name, capsize=2, markersize=4, **style)
        axes.axhline(0, color="#7f7f7f", linewidth=1)
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, -50), min(top, 50))
    picture.supylabel("test metric against linear (%), 95 % interval")
    found = [axes.get_legend_handles_labels() for axes in picture.axes]
    handles, labels = max(found, key=lambda pair: len(pair[0]))
    picture.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=9)
    return picture


def betas(fine: Results) -> Figure:
    """REX's best β against the budget, a panel for each task; bars are what is as good."""
    picture = Figure(layout="constrained")
    places = {point.beta: place for place, point in enumerate(FAMILY)}
    have = [cell for cell, results in fine.items() if plateau(results)]
    for axes, cells in _panels(picture, have):
        x = [cell.updates for cell in cells]
        best, low, high = np.array(
            [[places[beta] for beta in plateau(fine[cell]) or ()] for cell in cells]
        ).T
        axes.vlines(x, low, high, color="#d55e00", linewidth=8, alpha=0.35)
        axes.plot(x, best, **STYLES["REX"])
        axes.set_yticks(range(len(places)), [f"{beta:g}" for beta in places])
        axes.set_ylim(-0.5, len(places) - 0.5)
    picture.supylabel("β of REX: the best, and what is within its 95 % interval")
    return picture


def _panels(picture: Figure, cells: list[Cell]) -> Iterator[tuple[Axes, list[Cell]]]:
    """A panel for each task, over its budgets."""
    tasks = [(task, list(of)) for task, of in groupby(sorted(cells), key=lambda cell: cell.task)]
    columns = max(1, min(4, len(tasks)))
    rows = max(1, -(-len(tasks) // columns))
    picture.set_size_inches(4 * columns, 3 * rows)
    for place, (task, of) in enumerate(tasks):
        axes = picture.add_subplot(rows, columns, place + 1)
        yield axes, of
        axes.set_xscale("log")
        axes.set_xticks(sorted({cell.updates for cell in of}))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(task, fontsize=10)
        axes.grid(alpha=0.3)
    picture.supxlabel("budget T (updates)")
