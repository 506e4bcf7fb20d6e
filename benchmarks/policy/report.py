"""The report: how far each policy is from the oracle, and from cosine with its peak tuned."""

from collections.abc import Sequence
from pathlib import Path

from scipy.stats import sem

from benchmarks import record
from benchmarks.law.tables import Table, markdown
from benchmarks.policy.choice import Cell, Results, is_whole, oracle, outcome
from benchmarks.policy.choice import test as metric
from benchmarks.policy.plans import FAMILIES, PEAKS, POLICIES, peaks
from benchmarks.policy.run import read
from benchmarks.statistics import Difference, geometric_mean, in_percent

USUAL = "cosine: 8 peaks at T/40"


def report(path: Path) -> Path:
    """Write the page beside the file of results, with the same name."""
    found = read(path)
    cells = cells_of(found)
    if not cells:
        raise ValueError(f"results must have a whole cell; got {path} with none")
    page = path.with_suffix(".md")
    text = _TEXT.format(
        about=record.about(path),
        cells=len(cells),
        seeds=len(metric(found, cells[0], "linear", 1.0)),
        peaks=PEAKS,
        policies=markdown(policies(found, cells)),
        oracles=markdown(oracles(found, cells)),
    )
    page.write_text(text, encoding="utf-8")
    print(f"written: {page}")
    return page


def cells_of(found: Results) -> list[Cell]:
    """The cells whose results are complete, and which another setting has too."""
    whole = []
    for setting, family in sorted({(key.setting, key.family) for key in found}):
        budgets = {key.updates for key in found if key[:2] == (setting, family)}
        whole += [
            Cell(setting, family, budget)
            for budget in sorted(budgets)
            if is_whole(found, Cell(setting, family, budget))
        ]
    settings = {cell[1:]: {c.setting for c in whole if c[1:] == cell[1:]} for cell in whole}
    return [cell for cell in whole if len(settings[cell[1:]]) > 1]


def policies(found: Results, cells: Sequence[Cell]) -> Table:
    """For each policy its regret against the oracle, and its difference to the usual one."""
    budgets = sorted({cell.budget for cell in cells})
    columns = *(f"regret at {T}" for T in budgets), "regret", "within", "against cosine, tuned"
    rows = []
    for name, policy in POLICIES.items():
        regrets, gains = [], []
        within = 0
        for cell in cells:
            values = outcome(policy, found, cell)
            schedule, place = oracle(found, cell)
            best = metric(found, cell, schedule, 1.0)[:, place]
            within += bool(values.mean() <= best.mean() + sem(best))
            regrets.append(in_percent(values, best))
            gains.append(in_percent(values, outcome(POLICIES[USUAL], found, cell)))
        row = [name, f"{100 * (1 - policy.share) if policy.rungs else 0:.0f} %"]
        for budget in budgets:
            of = [d for d, cell in zip(regrets, cells, strict=True) if cell.budget == budget]
            row.append(_mean(of))
        better, worse = sum(d.high < 0 for d in gains), sum(d.low > 0 for d in gains)
        row += [_mean(regrets), f"{within} of {len(cells)}"]
        row.append(f"{_mean(gains)}: {better} better, {worse} worse")
        rows.append((geometric_mean(regrets), row))
    rows.sort(key=lambda pair: pair[0])
    return [["policy", "spent on choosing", *columns], *(row for _, row in rows)]


def oracles(found: Results, cells: Sequence[Cell]) -> Table:
    """What the oracle chose, and what it came to."""
    rows = [["cell", "budget", "schedule", "peak", "test metric"]]
    for cell in cells:
        schedule, place = oracle(found, cell)
        values = metric(found, cell, schedule, 1.0)[:, place]
        peak = peaks(FAMILIES[cell.family][schedule].optimizer)[place]
        row = [f"{cell.setting}, {cell.family}", str(cell.budget), schedule]
        row.append(f"{peak:.3g}{'°' if place in (0, PEAKS - 1) else ''}")
        rows.append([*row, f"{values.mean():.4g} ± {sem(values):.2g}"])
    return rows


def _mean(differences: Sequence[Difference]) -> str:
    return f"{geometric_mean(differences):+.1f} %"


_TEXT = """# What to do with a whole budget: what came out

Made by `python -m benchmarks.policy report` from the results of `python -m benchmarks.policy run`:
{about}.

A policy has a whole budget of T updates. It spends a share on short runs, each a complete schedule,
chooses a schedule and a peak by their validation metric, and trains once on what is left. The
oracle has looked at the test metric of every schedule but Schedule-Free, at every peak, each
trained on all of T. A regret is what a policy's test metric is above the oracle's, in percent, as a
geometric mean over {cells} cells. Each cell has {seeds} seeds; each of them chooses for itself. One
seed that diverges weighs much in such a mean. "Within" counts the cells where a policy's mean is at
most one standard error of the oracle's mean above it.

The grid has {peaks} peaks in steps of 2. Four peaks are every second one. The best peak is carried
over with the exponent −¼ of `transfer_peak`, rounded to the grid, which is one step down; −½ is two
steps. Warmup-stable-decay keeps its peak, since it goes on from the constant part of the short run
that was chosen, which so costs nothing. The peak of "no search" is the mean of what was best in the
other settings, by the test metric of full runs: a peak that somebody has tuned well. The rule is
`falling_momentum`. The schedules for Adam have a warmup of a tenth. "Around" means neighbours on
the grid, the second of which is carried over to that peak. "Up to" means that the last of them is.
Two settings are one network on the digits, in float32 and in bfloat16, which makes the peak of the
other settings a good one for them.

{policies}

Better and worse count cells whose 95 % interval leaves out 0, against `cosine: 8 peaks at T/40`.

## The oracle

° marks a peak at an edge of the grid.

{oracles}
"""
