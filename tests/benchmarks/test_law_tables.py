"""The tables of the law, with known answers."""

from typing import Any

import numpy as np
import pytest

from benchmarks.law.dependence import (
    betas,
    by_lag,
    demons,
    families,
    peak_ratios,
    peaks,
    tuned_momentum,
)
from benchmarks.law.plans import DEMON, RULE
from benchmarks.law.results import Cell, difference
from benchmarks.law.space import RIVALS
from benchmarks.law.tables import by_cell, others, peers, peers_together, scoreboard

pytestmark = pytest.mark.long

RULE_POINT = RULE["SGD"]


def fine_results(**differences: float) -> Any:
    """A cell of forty seeds: linear at 0.2, and what is so much above it."""
    rng = np.random.default_rng(0)
    seeds = 0.2 + rng.normal(0, 0.05, 40)
    noise = {name: rng.normal(0, 0.001, 40) for name in differences}
    names = {"rule": str(RULE_POINT), "one_cycle": "OneCycle, warmup 0.3", "rex": "REX"}
    return {
        names.get(name, name): {
            "of_seeds": (seeds + gap + noise[name]).tolist(),
            "validation": [0.2 + gap],
        }
        for name, gap in ({"linear": 0.0} | differences).items()
        if name in differences
    }


def test_the_scoreboard_counts_what_intervals_leave_out() -> None:
    better = fine_results(linear=0.0, cosine=0.02, rex=0.0, one_cycle=0.1, rule=-0.02)
    worse = fine_results(linear=0.0, cosine=0.02, rex=0.0, one_cycle=0.1, rule=0.01)
    cells = {
        Cell("digits", "SGDM", 0.9, 10): better,
        Cell("digits", "SGDM", 0.9, 20): better,
        Cell("moons", "SGDM", 0.9, 10): worse,
    }
    _, rule, high, *_ = scoreboard(cells)
    assert rule[1:] == high[1:]
    assert rule[1].endswith("2 (2) better, 1 (1) worse of 3")
    assert rule[4].endswith("3 (3) better, 0 (0) worse of 3")
    found = difference(better[str(RULE_POINT)], better["linear"])
    assert found.mean == pytest.approx(-10, abs=1)
    assert found.low < found.mean < found.high < 0
    (row,) = [row for row in by_cell(cells) if row[:2] == ["moons, SGDM 0.9", "10"]]
    assert row[-1].startswith("**+")


def test_what_else_people_use_is_compared_with_its_best_warmup() -> None:
    names = {"1 − √, hold 0.8": 0.01, "1 − √, hold 0.7, warmup 0.1": -0.01}
    cells = {
        Cell("digits", "SGDM", 0.9, 10): fine_results(
            linear=0.0, cosine=0.01, rex=0.02, rule=-0.02, **names
        )
    }
    head, *rows = others(cells)
    table = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert not table["no schedule"]["against linear"]
    row = table["warmup-stable-decay"]
    assert float(row["against linear"].split()[0]) == pytest.approx(-5, abs=0.5)
    assert "1 (1) worse of 1" in row["against the rule"]


def test_peers_are_paired_with_the_schedules_of_their_family() -> None:
    sgd, adam = (Cell("digits", name, 0.9, 10) for name in ("SGDM", "Adam"))
    adams_rule = {str(RULE["Adam"]): fine_results(rule=-0.04)[str(RULE_POINT)]}
    fine = {
        sgd: fine_results(linear=0.0, rule=-0.02),
        adam: fine_results(linear=0.02) | adams_rule,
    }
    found = {
        sgd._replace(optimizer="Schedule-Free SGD"): fine_results(constant=-0.01),
        sgd._replace(optimizer="Schedule-Free Adam"): fine_results(constant=-0.03),
    }
    rows = {row[0]: row for row in peers(found, fine)[1:] if row[1] == "digits"}
    for peer, against in (("SGD", (-5, 5.6)), ("Adam", (-22.7, 6.3))):
        differences = [
            float(text.strip("*").split()[0]) for text in rows[f"Schedule-Free {peer}"][4:]
        ]
        assert differences == pytest.approx(against, abs=0.5)
    together = {row[0]: row[1:] for row in peers_together(found, fine)[1:]}
    assert together["Schedule-Free SGD"][0].endswith("1 (1) better, 0 (0) worse of 1")
    assert together["Schedule-Free SGD"][1].endswith("0 (0) better, 1 (1) worse of 1")
    assert together["Prodigy"] == ["", ""]


def test_the_best_beta_has_a_range() -> None:
    gaps = {"REX β -1.5": 0.02, "linear": 0.0, "rex": -0.0001, "REX β 0.85": 0.01}
    some = {Cell("digits", "SGDM", 0.9, 10): fine_results(**gaps)}
    whole = {Cell("digits", "SGDM", 0.9, 10): fine_results(**gaps, **{"REX β 0.95": 0.02})}
    assert betas(some) == [[""]]
    assert {row[2] for row in families(some)[1:]} == {"0 of 0"}
    row = next(row for row in families(whole) if row[:2] == ["-1.5", "SGD with momentum"])
    assert row[2] == "0 of 1"
    assert row[3].endswith("0 (0) better, 1 (1) worse of 1")
    theory = ["the least bound, norms 1", "0.95"]  # 0.94 of linear's bound.
    assert betas(whole) == [["", "10 updates"], ["digits, SGDM 0.9", "0.5 (0 to 0.5)"], theory]


def test_the_momentum_is_chosen_on_validation() -> None:
    cells = {
        Cell("digits", "SGDM", mu, 10): fine_results(linear=gap, rex=rex, rule=rule)
        for mu, gap, rex, rule in (
            (0.5, 0.03, 0.02, 0.0),
            (0.9, 0.01, 0.05, -0.01),
            (0.95, 0.04, 0.06, 0.02),
        )
    }
    _, row = tuned_momentum(cells)
    assert row[:3] == ["digits", "10", "0.5, 0.9, 0.95"]
    assert (row[4], row[6], row[8]) == ("0.9", "0.5", "0.9")
    assert float(row[5].split()[0]) == pytest.approx(100 * 0.01 / 0.21, abs=1.5)
    assert float(row[7].split()[0]) == pytest.approx(100 * -0.02 / 0.21, abs=1.5)


def test_demon_is_compared_with_the_rule_from_its_own_momentum() -> None:
    cells = {
        Cell("digits", "SGDM", mu, 10): fine_results(linear=0.0, rule=rule, **{str(DEMON): demon})
        for mu, rule, demon in ((0.8, 0.5, -0.02), (0.9, 0.0, 0.02))
    } | {Cell("moons", "SGDM", 0.9, 10): fine_results(linear=0.0, rule=0.0)}
    head, row = demons(cells)
    assert head == ["", "updates", "from 0.8", "from 0.9"]
    assert row[:2] == ["digits, SGDM", "10"]
    assert [float(text.split()[0]) for text in row[2:]] == pytest.approx([-10, 10], abs=1.5)


def test_cells_below_nine_tenths_have_a_row_of_their_own() -> None:
    gaps = {"linear": 0.0, "cosine": 0.02, "rex": 0.0, "one_cycle": 0.1}
    cells = {
        Cell("digits", "SGDM", mu, 10): fine_results(**gaps, rule=rule)
        for mu, rule in ((0.0, 0.1), (0.5, -0.02), (0.8, -0.02), (0.9, 0.1))
    }
    (row,) = [row for row in scoreboard(cells) if row[0] == "0 < μ < 0.9"]
    assert row[1].endswith("2 (2) better, 0 (0) worse of 2")


def peak_results(place: int, test: list[float | None]) -> Any:
    """A coarse result with its best peak, of 0.1, 0.2, 0.4, at a place."""
    validation = [0.5, 0.5, 0.5]
    validation[place] = 0.1
    return {"lowest": 0.1, "step": 2.0, "validation": validation, "test": test}


def test_a_wrong_peak_is_priced_within_a_family_of_optimizers() -> None:
    """The other family's rule is among the points of a cell, and no row of that family's."""
    rivals = {str(warmups[0]): peak_results(1, [0.11, 0.1, 0.12]) for warmups in RIVALS.values()}
    rules = {
        str(RULE["SGD"]): peak_results(1, [0.105, 0.1, 0.3]),
        str(RULE["Adam"]): peak_results(1, [0.13, 0.1, None]),
    }
    adams = rules | {str(RULE["Adam"]): peak_results(2, [0.2, 0.15, 0.1])}
    coarse = {
        Cell("digits", "SGDM", 0.9, 10): rivals | rules,
        Cell("digits", "SGDM", 0.5, 10): rivals | adams,  # Below 0.9 nothing is claimed.
        Cell("digits", "Adam", 0.9, 10): rivals | adams,
    }
    _, *rows = peaks(coarse)
    found = {(row[0], row[1]): row[2:] for row in rows}
    assert len(rows) == len(found) == 10
    assert found["SGD", str(RULE["SGD"])] == ["1", "+5 %", "+200 %"]
    assert found["SGD", "linear"] == found["Adam", "linear"] == ["1", "+10 %", "+20 %"]
    assert found["Adam", str(RULE["Adam"])] == ["1", "+50 %", "–"]


def test_the_ratio_of_peaks_is_that_of_each_family_and_budget() -> None:
    linear = peak_results(1, [0.1, 0.1, 0.1])
    higher, lower = peak_results(2, [0.1, 0.1, 0.1]), peak_results(0, [0.1, 0.1, 0.1])
    fine = {
        Cell("digits", "SGDM", 0.9, 10): {"linear": linear, str(RULE["SGD"]): lower},
        Cell("moons", "SGDM", 0.95, 10): {"linear": linear, str(RULE["SGD"]): lower},
        Cell("moons", "SGDM", 0.5, 10): {"linear": linear, str(RULE["SGD"]): higher},
        Cell("digits", "SGDM", 0.9, 20): {"linear": linear, str(RULE["SGD"]): linear},
        Cell("digits", "Adam", 0.9, 20): {"linear": linear, str(RULE["Adam"]): higher},
    }
    assert peak_ratios(fine) == [
        ["", "10 updates", "20 updates"],
        ["SGD", "× 0.50 of 2", "× 1.00 of 1"],
        ["Adam", "", "× 2.00 of 1"],
    ]


def test_the_gain_by_length_is_of_high_momenta_alone() -> None:
    def cell(optimizer: str, momentum: float, updates: int) -> Cell:
        return Cell("digits", optimizer, momentum, updates)

    half = fine_results(linear=0.0, rex=0.0, rule=-0.1)
    alike = fine_results(linear=0.0, rex=0.0, rule=0.0)
    adam = {**fine_results(linear=0.0, rex=0.1), str(RULE["Adam"]): half[str(RULE_POINT)]}
    found = {
        cell("SGDM", 0.9, 10): half,
        cell("SGDM", 0.95, 20): half,
        cell("SGDM", 0.5, 2): alike,
        cell("SGDM", 0.9, 40): alike,
        cell("Adam", 0.9, 40): adam,
    }
    head, *rows = by_lag(found)
    assert head[1:] == ["the rule, SGD", "REX, SGD", "the rule, Adam", "REX, Adam"]
    assert [row[0] for row in rows] == ["1", "4"]
    percents = [[cell.split()[0] for cell in row[1:]] for row in rows]
    assert rows[0][1].endswith("% of 2")
    assert percents[0][2:] == ["–", "–"]
    own, base = (np.mean(half[name]["of_seeds"]) for name in (str(RULE_POINT), "linear"))
    assert float(percents[0][0]) == pytest.approx(100 * (own / base - 1), abs=0.05)
    assert abs(float(percents[1][0])) < 1
    assert float(percents[1][2]) == pytest.approx(float(percents[0][0]), abs=0.05)
    assert float(percents[1][3]) > 40
