"""The tables that compare: the rule, its candidates and peers against the rivals."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.law.plans import AFTERWARDS, CANDIDATES, PEERS, RULE
from benchmarks.law.results import Cell, Result, Results, difference, mean, rival
from benchmarks.law.run import chosen, least
from benchmarks.law.space import OTHERS, RIVALS
from benchmarks.statistics import geometric_mean, holm

Table = list[list[str]]

LONG = 30  # From that T·(1 − μ) on, a run is long for its momentum.


KINDS: dict[str, Callable[[Cell], bool]] = {
    "all": lambda cell: True,
    "μ ≥ 0.9": lambda cell: cell.momentum >= 0.9,
    f"μ ≥ 0.9, T·(1 − μ) < {LONG}": lambda cell: cell.momentum >= 0.9 and cell.lengths < LONG,
    f"μ ≥ 0.9, T·(1 − μ) ≥ {LONG}": lambda cell: cell.momentum >= 0.9 and cell.lengths >= LONG,
    "μ ≥ 0.9, on digits": lambda cell: cell.momentum >= 0.9 and cell.data == "digits",
    "μ ≥ 0.9, on moons": lambda cell: cell.momentum >= 0.9 and cell.data == "moons",
    "μ ≥ 0.9, on other data": lambda cell: (
        cell.momentum >= 0.9 and cell.data not in ("digits", "moons")
    ),
    "μ ≥ 0.9, run after the rule was fixed": lambda cell: (
        cell.momentum >= 0.9 and cell.setting.startswith(AFTERWARDS)
    ),
    "0 < μ < 0.9": lambda cell: 0 < cell.momentum < 0.9,
}


def scoreboard(fine: Results) -> Table:
    """The rule against each rival, over several kinds of cells."""
    rows = [["cells", *(f"against {name}" for name in RIVALS)]]
    moving = _moving(fine)
    for title, fits in KINDS.items():
        rules = {cell: cell.rule for cell in moving if fits(cell)}
        rows.append([title, *(_against(moving, rules, name) for name in RIVALS)])
    return [row for row in rows if row[1]]


def candidates(fine: Results) -> Table:
    """Each candidate against each rival, over all cells that have both, and against the rule."""
    rows = [["point", *(f"against {name}" for name in RIVALS), "against the rule"]]
    for family in RULE:
        cells = {cell: of for cell, of in _moving(fine).items() if cell.family == family}
        for point in map(str, CANDIDATES):
            texts = [_against(cells, dict.fromkeys(cells, point), name) for name in RIVALS]
            both = [of for cell, of in cells.items() if point in of and cell.rule in of]
            rule = (
                ""
                if point == str(RULE[family])
                else versus([(of[point], of[str(RULE[family])]) for of in both])
            )
            rows.append([f"{family}: {point}", *texts, rule])
    return [row for row in rows if row[1]]


def _moving(fine: Results) -> Results:
    """The cells with momentum."""
    return {cell: results for cell, results in fine.items() if cell.momentum > 0}


def others(fine: Results) -> Table:
    """What else people use, each with its best warmup, against three rivals and the rule."""
    names = "linear", "cosine", "REX"
    rows = [["schedule", *(f"against {name}" for name in names), "against the rule"]]
    for other, points in OTHERS.items():
        own = {
            cell: rival(results, other)
            for cell, results in fine.items()
            if any(str(point) in results for point in points)
        }
        row = [_against(fine, own, name) for name in names]
        both = [(fine[cell], cell, point) for cell, point in own.items() if cell.rule in fine[cell]]
        rows.append([other, *row, versus([(of[point], of[cell.rule]) for of, cell, point in both])])
    return rows


def peers(found: Results, fine: Results) -> Table:
    """Optimizers that compete with schedules, against linear and the rule with the same seeds."""
    rows = [["peer", "setting", "updates", "its metric", "against linear", "against the rule"]]
    for cell, own, others in _of_peers(found, fine):
        row = [cell.optimizer, cell.setting, str(cell.updates), f"{mean(own):.4g}"]
        for d in (difference(own, other) for other in others):
            text = f"{d.mean:+.1f} ± {d.error:.1f}"
            row.append(f"**{text}**" if d.p < 0.05 else text)
        rows.append(row)
    return rows


def peers_together(found: Results, fine: Results) -> Table:
    """The same for each peer over all cells."""
    rows = [["peer", "against linear", "against the rule"]]
    for peer in PEERS:
        of = [(own, others) for cell, own, others in _of_peers(found, fine) if cell[1] == peer]
        rows.append([peer, *(versus([(own, others[i]) for own, others in of]) for i in range(2))])
    return rows


def _of_peers(found: Results, fine: Results) -> Iterator[tuple[Cell, Result, tuple[Result, ...]]]:
    """A peer's cell, its best result there, and linear's and the rule's.

    Schedule-Free SGD is compared with SGD of momentum 0.9, what is left with Adam.
    """
    for peer in PEERS:
        for cell in sorted(cell for cell in found if cell.optimizer == peer):
            base = "SGDM" if peer.endswith("SGD") else "Adam"
            same = cell._replace(optimizer=base)
            if same in fine:
                points = rival(fine[same], "linear"), same.rule
                own = min(found[cell].values(), key=least)
                yield cell, own, tuple(fine[same][point] for point in points)


def leaving_out(fine: Results) -> Table:
    """For each setting the candidates that are best in the mean of the others, tested on it."""
    rows = [["left out", "best of the others", *(f"against {name}" for name in RIVALS)]]
    moving = _moving(fine)
    tested: dict[Cell, str] = {}
    for setting in dict.fromkeys(cell.setting for cell in moving):
        for family in RULE:
            of_family = [cell for cell in moving if cell.family == family]
            apart = [cell for cell in of_family if cell.setting != setting]
            held = [cell for cell in of_family if cell.setting == setting]
            if not apart or not held:
                continue
            known = [str(p) for p in CANDIDATES if any(str(p) in moving[cell] for cell in apart)]
            # On cells that have all of them, or easy cells would make a candidate look good.
            whole = [cell for cell in apart if moving[cell].keys() >= {*known}]
            if not whole:
                continue
            point = min(known, key=lambda name: _score(moving, whole, name))
            tested |= dict.fromkeys(held, point)
            texts = [_against(moving, dict.fromkeys(held, point), name) for name in RIVALS]
            rows.append([f"{setting}, {family}", point, *texts])
    if tested:
        rows.append(["**all**", "", *(_against(moving, tested, name) for name in RIVALS)])
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
    """Points of cells against a rival, where they have been run."""
    have = [(fine[cell], point) for cell, point in points.items() if point in fine[cell]]
    return versus([(results[point], results[rival(results, name)]) for results, point in have])


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
    return f"{geometric_mean(found):+.1f} %: {', '.join(counts)} of {len(found)}"


def by_cell(fine: Results) -> Table:
    """For each cell linear's metric, and the rivals and the rule as differences to it.

    Bold is what is left of the whole table after Holm's correction.
    """
    names = [*RIVALS][1:]
    rows = [["cell", "updates", "linear", *names, "the rule"]]
    points = {
        cell: [*(rival(results, name) for name in names), cell.rule]
        for cell, results in sorted(fine.items())
    }
    found = {
        (cell, point): difference(fine[cell][point], fine[cell][rival(fine[cell], "linear")])
        for cell, of in points.items()
        for point in of
        if point in fine[cell]
    }
    adjusted = dict(zip(found, holm([d.p for d in found.values()]), strict=True))
    for cell, of in points.items():
        linear = rival(fine[cell], "linear")
        metric = f"{mean(fine[cell][linear]):.4g}{_marks(fine[cell][linear], linear)}"
        row = [cell.task, str(cell.updates), metric]
        for point in of:
            if (cell, point) not in found:
                row.append("–")
                continue
            d = found[cell, point]
            text = f"{d.mean:+.1f} ± {d.error:.1f}"
            text = f"**{text}**" if adjusted[cell, point] < 0.05 else text
            row.append(text + _marks(fine[cell][point], point))
        rows.append(row)
    return rows


def _marks(result: Any, point: str) -> str:
    """The warmup of a rival, and ° for a peak at an edge of its grid."""
    _, found, share = point.partition("warmup ")
    edge = chosen(result) in (0, len(result["validation"]) - 1)
    return f" ({share})" * bool(found) + "°" * edge


def markdown(table: Table) -> str:
    """The table with its first row as the head, its first column to the left."""
    head, *rows = table
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)
