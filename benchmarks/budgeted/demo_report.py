"""What the demo measured, as text, as a figure and as JSON."""

import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter
from numpy.typing import NDArray

from benchmarks.budgeted.schedules import Rule
from benchmarks.budgeted.styles import STYLES
from benchmarks.budgeted.sweep import Results
from benchmarks.record import TRAINING, versions
from benchmarks.statistics import holm

BASELINE = "linear"


def text(results: Results) -> str:
    """What was done, the table of test errors, what is established, and what was compiled."""
    setting, seeds = results.setting, len(results.seeds)
    grid = ", ".join(f"{rate:g}" for rate in results.rates)
    lengths = ", ".join(map(str, results.updates))
    chosen = np.asarray(results.rates)[results.chosen].T
    at_edge = int(np.isin(results.chosen, (0, len(results.rates) - 1)).sum())
    budgets = [f"{percent:g} %" for percent in results.percents]
    return f"""
{setting.name}: SGD with momentum, batches of {setting.batch_size}, no weight decay.
Each budget is a run of its own, of {lengths} updates; 100 % are {setting.epochs} epochs.
For each schedule and budget the peak rate was chosen out of {grid},
by the mean error on the validation examples; the test examples served for this table alone.
With the same seed, all schedules and rates start from the same weights and see the same batches.

Test error in %: {BASELINE}'s mean of {seeds} seeds, and the others' difference to it in points,
± its standard error. A star marks a difference that is established, at 95 % for all together.

{_table(results.schedules, budgets, _differences(results))}

{_established(results)}

Chosen peak rates ({at_edge} of {chosen.size} at an edge of the grid)

{_table(results.schedules, budgets, [[f"{rate:g}" for rate in row] for row in chosen])}

compilations of the training program: {sum(results.compilations)} \
(for {len(budgets)} budgets, {sum(results.updates)} updates, {results.lanes} lanes)
counted budget by budget: {" ".join(map(str, results.compilations))}
time: {results.seconds:.0f} s"""


def established(results: Results) -> NDArray[np.bool_]:
    """Which differences to the baseline are real: (budgets, schedules).

    All of them are one family, of Holm's correction, whose chance of one false finding is 5 %.
    """
    found = results.against(BASELINE)
    p = [difference.p for row in found for difference in row]
    own = results.schedules.index(BASELINE)
    others = [i for i in range(len(p)) if i % len(results.schedules) != own]
    sure = np.zeros(len(p), bool)
    sure[others] = holm([p[i] for i in others]) < 0.05
    return sure.reshape(len(found), -1)


def _differences(results: Results) -> list[list[str]]:
    """The cells of the table, a row for each schedule."""
    sure = established(results)
    rows = []
    for i, name in enumerate(results.schedules):
        if name == BASELINE:
            rows.append([f"{100 * mean:.2f} " for mean in results.mean[:, i]])
            continue
        rows.append(
            [
                f"{100 * row[i].mean:+.2f} ± {100 * row[i].error:.2f}{'*' if sure[b, i] else ' '}"
                for b, row in enumerate(results.against(BASELINE))
            ]
        )
    return rows


def _established(results: Results) -> str:
    """The established differences, in words."""
    found, sure = results.against(BASELINE), established(results)
    lines = [f"Established, against {BASELINE}:"]
    for i, name in enumerate(results.schedules):
        parts = []
        for word, sign in (("less", -1), ("more", 1)):
            at = [
                f"{percent:g} %"
                for percent, row, own in zip(results.percents, found, sure, strict=True)
                if own[i] and sign * row[i].mean > 0
            ]
            parts += [f"{word} error at {', '.join(at)}"] if at else []
        lines += [f"  {name}: {'; '.join(parts)}"] if parts else []
    if len(lines) == 1:
        lines = [f"No difference to {BASELINE} is established."]
    rest = sure.size - len(results.percents) - int(sure.sum())
    return "\n".join([*lines, f"The other {rest} differences may be chance."])


def figure(results: Results, schedules: Mapping[str, Rule], path: Path) -> None:
    """Draw the schedules, and the difference to the baseline against the budget."""
    canvas = Figure(figsize=(11, 5), layout="constrained")
    left, right = canvas.subplots(1, 2)
    _draw_schedules(left, schedules)
    _draw_differences(right, results)
    canvas.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=8)
    canvas.savefig(path, dpi=150)


def record(results: Results, path: Path, command: str) -> None:
    """Write the numbers, and what is needed to get them again, as JSON."""
    chosen = np.asarray(results.rates)[results.chosen]
    found, sure = results.against(BASELINE), established(results)
    content = {
        "command": command,
        "setting": results.setting.name,
        "batch_size": results.setting.batch_size,
        "epochs": results.setting.epochs,
        "percents": results.percents,
        "updates": results.updates,
        "rates": results.rates,
        "seeds": results.seeds,
        "lanes": results.lanes,
        "compilations": results.compilations,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "versions": versions(TRAINING),
        "schedules": {
            name: {
                "chosen_rates": chosen[:, i].tolist(),
                "test_error_mean": _rounded(results.mean[:, i]),
                "test_error_sd": _rounded(results.deviation[:, i]),
                "difference_to_linear": _rounded([row[i].mean for row in found]),
                "its_standard_error": _rounded([row[i].error for row in found]),
                "established": sure[:, i].tolist(),
                "test_error_by_budget_and_seed": _rounded(results.errors[:, :, i]),
                "validation_error_mean_by_budget_and_rate": _rounded(
                    results.validation[:, :, :, i].mean(axis=1)
                ),
            }
            for i, name in enumerate(results.schedules)
        },
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _draw_schedules(axes: Axes, schedules: Mapping[str, Rule]) -> None:
    T = 1000
    t = np.arange(T + 1)
    for i, (name, rule) in enumerate(schedules.items()):
        rate = rule.rate(t, T)
        axes.plot(
            t / T, rate / rate.max(), markevery=(40 + 20 * i, 160), markersize=5, **STYLES[name]
        )
    axes.set(
        title="The schedules",
        xlabel="share of the budget spent, t / T",
        ylabel="learning rate / its highest",
        xlim=(0, 1),
        ylim=(0, 1.03),
    )
    axes.grid(alpha=0.3)


def _draw_differences(axes: Axes, results: Results) -> None:
    middle = (len(results.schedules) - 1) / 2
    found = results.against(BASELINE)
    for i, name in enumerate(results.schedules):
        mean, low = 100 * np.array([[row[i].mean, row[i].low] for row in found]).T
        axes.errorbar(
            # Side by side, or the bars would hide each other.
            np.asarray(results.percents) * 1.04 ** (i - middle),
            mean,
            mean - low,
            label=name,
            markersize=5,
            elinewidth=1,
            capsize=2,
            **STYLES[name],
        )
    axes.set(
        title=f"Difference to {BASELINE}, 95 % intervals of {len(results.seeds)} paired seeds",
        xlabel=f"budget (% of {results.setting.epochs} epochs)",
        ylabel=f"test error less {BASELINE}'s (points)",
        xscale="log",
    )
    axes.set_yscale("symlog", linthresh=1)
    axes.set_yticks([-1, -0.5, 0, 0.5, 1, 2, 5])
    axes.set_xticks(results.percents, [f"{percent:g}" for percent in results.percents])
    axes.yaxis.set_major_formatter(ScalarFormatter())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)


def _table(names: Iterable[str], columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lines of right-aligned cells under their headings."""
    lines = [["", *columns], *([name, *row] for name, row in zip(names, rows, strict=True))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    )


def _rounded(errors: Any) -> Any:
    return np.round(errors, 6).tolist()
