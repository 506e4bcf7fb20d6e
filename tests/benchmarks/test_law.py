"""The study of the law: statistics with known answers, lanes, choice and resume."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.budgeted.engine import programs
from benchmarks.budgeted.optimizers import OPTIMIZERS
from benchmarks.budgeted.settings.digits import digits
from benchmarks.law.dependence import (
    betas,
    by_lag,
    families,
    peak_ratios,
    peaks,
    tuned_momentum,
)
from benchmarks.law.plans import CANDIDATES, PEERS, PLANS, RULE
from benchmarks.law.report import report
from benchmarks.law.results import Cell, difference, of_stage
from benchmarks.law.run import Key, Plan, best_peak, least, read, run, second, short_list
from benchmarks.law.space import FAMILY, OTHERS, RIVALS, Point, space, stacked
from benchmarks.law.tables import by_cell, others, peers, peers_together, scoreboard
from benchmarks.record import RESULTS
from benchmarks.statistics import holm, paired
from rex_core import falling_momentum, warmup_stable_decay

pytestmark = pytest.mark.long

RULE_POINT = RULE["SGD"]
SGDM = (*(point for rival in RIVALS.values() for point in rival), RULE_POINT)
PLAN = Plan(
    "digits", {"SGDM": {0.9: 0.1}}, (3, 5), peaks=3, seeds={"coarse": 2, "fine": 3}, points=SGDM
)


def test_paired_differences_are_numpys_and_scipys() -> None:
    rng = np.random.default_rng(0)
    baseline = rng.normal(size=100)
    values = baseline + rng.normal(0.3, 0.5, size=100)
    found = paired(values, baseline)
    differences = values - baseline
    assert found.mean == pytest.approx(differences.mean(), rel=1e-14)
    assert found.error == pytest.approx(np.std(differences, ddof=1) / 10, rel=1e-14)
    test = stats.ttest_rel(values, baseline)
    interval = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert found.p == pytest.approx(test.pvalue, rel=1e-10)


def test_pairing_takes_out_what_the_seeds_share() -> None:
    shared = np.random.default_rng(1).normal(0, 100, size=50)
    noise = np.random.default_rng(2).normal(0, 1, size=50)
    found = paired(shared + 1 + noise, shared)
    assert found.error == pytest.approx(1 / np.sqrt(50), rel=0.3)
    assert found.low < 1 < found.high
    assert found.p < 1e-6


def test_differences_that_are_all_the_same() -> None:
    assert paired([1.5, 2.5], [1.0, 2.0]) == (0.5, 0, 0.5, 0.5, 0)
    assert paired([1.0, 2.0], [1.0, 2.0]) == (0, 0, 0, 0, 1)


@pytest.mark.parametrize(("values", "baseline"), [([1.0], [2.0]), ([1.0, 2.0], [1.0, 2.0, 3.0])])
def test_seeds_that_are_not_paired_are_refused(values: list[float], baseline: list[float]) -> None:
    with pytest.raises(ValueError, match="must be of the same two seeds or more; got shapes"):
        paired(values, baseline)


def test_holm_by_hand() -> None:
    """Least first: 0.005·4, 0.01·3, then 0.03·2, and 0.04·1 may not be below that."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert holm([0.02]).tolist() == [0.02]


def test_holm_keeps_the_rate_of_false_findings() -> None:
    """Of families of ten true hypotheses, one in twenty has a finding; unadjusted, 40 %."""
    p = np.random.default_rng(0).uniform(size=(4000, 10))
    adjusted = np.array([holm(family) for family in p])
    assert np.mean(p.min(axis=1) <= 0.05) > 0.35
    assert np.mean(adjusted.min(axis=1) <= 0.05) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("optimizer", ["SGDM", "Adam"])
@pytest.mark.parametrize("updates", [7, 10, 100])
def test_stacked_rules_have_the_values_of_each(optimizer: str, updates: int) -> None:
    points = space(0.9, optimizer)
    rules = [point.rule(0.9, updates) for point in points]
    together, places = stacked(rules)
    assert len(together) < 10 < len(rules)
    for t in range(updates + 1):
        each = np.array([[schedule(t, updates) for schedule in rule[:2]] for rule in rules])
        pairs = [np.broadcast_arrays(*(s(t, updates) for s in rule[:2])) for rule in together]
        found = np.concatenate([np.stack(pair, axis=-1) for pair in pairs])
        np.testing.assert_allclose(found, each[places], rtol=1e-12, atol=1e-15)


def test_stacked_rules_train_as_each() -> None:
    points = [Point(warmup=0.1), *SGDM[-3:], Point("cosine", warmup=0.3)]
    rules = [point.rule(0.9, 6) for point in points]
    together, places = stacked(rules)
    rates = np.geomspace(0.1, 0.4, len(rules))[None]
    found = []
    for some, at in ((rules, rates), (together, rates[:, places])):
        lanes = programs(digits(), OPTIMIZERS["SGDM"], some)
        found.append(np.asarray(lanes.validation(lanes.advance(lanes.start([0], at), 6, 6))))
    np.testing.assert_allclose(found[0][:, :, places], found[1], atol=3 / 360)


def test_points_have_names_of_their_own() -> None:
    points = {*space(0.9, "Adam"), *space(0.0, "SGDM"), *space(0.95, "SGDM")}
    assert len({str(point) for point in points}) == len(points)


def test_the_rule_is_the_preset() -> None:
    presets = {
        "SGD": falling_momentum(momentum=0.95),
        "Adam": falling_momentum(momentum=0.95, averaged=True, warmup_ratio=0.1),
    }
    for family, pair in presets.items():
        for which, schedule in enumerate(pair):
            rule = RULE[family].rule(0.95, 70)[which]
            for t in range(71):
                assert rule(t, 70) == pytest.approx(schedule(t, 70), rel=1e-14)


def test_what_else_people_use_is_what_it_is_called() -> None:
    flat, tenth, stable = (points[1].rule(0.9, 100).rate for points in OTHERS.values())
    preset = warmup_stable_decay(warmup_ratio=0.1, decay_ratio=0.2)
    for t in range(101):
        rise = min(1, 0.1 + 0.9 * t / 10)
        assert flat(t, 100) == pytest.approx(rise)
        assert tenth(t, 100) == pytest.approx(min(rise, 0.1 + 0.9 * (100 - t) / 90))
        assert stable(t, 100) == pytest.approx(rise if t < 10 else preset(t, 100))


def test_the_momentum_falls_when_and_as_far_as_it_is_named() -> None:
    T = 1000
    for name, steps in (("landing", 25), ("long landing", 100), ("to 0", 1000)):
        momentum = Point(momentum=name).rule(0.9, T).momentum
        assert momentum(T - steps, T) == 0.9
        assert momentum(T - steps / 2, T) == pytest.approx(0.45)
        assert momentum(T, T) == 0
    effective = Point(beta=0.5).rule(0.9, T).rate
    for name, steps in (("long landing, kept", 100), ("to 0, kept", 1000)):
        rate, momentum = Point(beta=0.5, momentum=name).rule(0.9, T)[:2]
        for t in (0, 500, 900, 950, 999):
            assert momentum(t, T) == pytest.approx(0.9 * min(1, (T - t) / steps))
            assert rate(t, T) * 0.1 / (1 - momentum(t, T)) == pytest.approx(effective(t, T))
    for name, steps in (("late demon", 25), ("demon", 1000)):
        momentum = Point(momentum=name).rule(0.9, T).momentum
        assert momentum(T - steps, T) == 0.9
        # Demon's horizon 1 / (1 - m) falls linearly, from 10 to 1.
        assert 1 / (1 - momentum(T - steps / 2, T)) == pytest.approx(5.5)
    rate, momentum = Point(momentum="matched").rule(0.9, T)[:2]
    plain, _ = Point().rule(0.9, T)[:2]
    for t in (0, 975, 980, 990, 999):
        assert rate(t, T) == pytest.approx(plain(t, T) * 0.1 / (1 - momentum(t, T)))
    # A run that is shorter than the landing is all landing.
    assert Point(momentum="landing").rule(0.9, 10).momentum(5, 10) == 0.45


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("law") / "law.jsonl"
    assert run([PLAN], path, candidates=[RULE_POINT])
    return path


def test_results_have_all_points_and_the_short_list(trained: Path) -> None:
    found = read(trained)
    for updates in PLAN.budgets:
        coarse = {p: found["digits", "SGDM", 0.9, updates, "coarse", str(p)] for p in SGDM}
        fine = {k.point: v for k, v in found.items() if k[3:5] == (updates, "fine")}
        listed = short_list(coarse, [RULE_POINT])
        assert set(fine) == set(map(str, listed))
        assert {*listed} == {*SGDM, *(point for point in FAMILY if point in coarse)}
        for point in listed:
            result = fine[str(point)]
            assert len(result["of_seeds"]) == 3
            assert result["step"] == pytest.approx(2**0.5, rel=1e-4)
            # The five peaks are around the best of the coarse pass.
            assert result["lowest"] * 2 == pytest.approx(best_peak(coarse[point]), rel=1e-4)
            at = int(np.argmin(result["validation"]))
            assert np.mean(result["of_seeds"]) == pytest.approx(result["test"][at], rel=2e-4)


def test_results_are_those_of_the_engine(trained: Path) -> None:
    point = RULE_POINT
    result = read(trained)[Key("digits", "SGDM", 0.9, 5, "fine", str(point))]
    peaks = result["lowest"] * result["step"] ** np.arange(5)
    lanes = programs(digits(), OPTIMIZERS["SGDM"], [point.rule(0.9, 5)])
    state = lanes.advance(lanes.start(np.arange(3), peaks[:, None]), 5, 5)
    validation = np.asarray(lanes.validation(state))[:, :, 0].mean(axis=0)
    np.testing.assert_allclose(result["validation"], validation, atol=2 / 360)


def test_what_is_done_is_not_trained_again(trained: Path, tmp_path: Path) -> None:
    text = trained.read_text(encoding="utf-8")
    path = tmp_path / "law.jsonl"
    rows = [json.loads(line) for line in text.splitlines()]
    # A run that was stopped before the last group of results.
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:-1]), encoding="utf-8")
    before = read(path)
    assert run([PLAN], path, candidates=[RULE_POINT])
    added = [json.loads(line) for line in path.read_text("utf-8").splitlines()][len(rows) - 1 :]
    assert [row for row in added if "points" in row] == rows[-1:]
    assert read(path).items() >= before.items()
    assert read(path) == read(trained)


def test_a_line_that_was_cut_off_is_left_out(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "law.jsonl"
    path.write_bytes(trained.read_bytes() + b'{"setting": "dig')
    assert read(path) == read(trained)
    assert run([PLAN], path, candidates=[RULE_POINT])  # It appends what it runs on.
    assert read(path) == read(trained)
    assert "machine" in json.loads(path.read_text("utf-8").splitlines()[-1])


def test_a_deadline_begins_nothing(tmp_path: Path) -> None:
    path = tmp_path / "law.jsonl"
    assert not run([PLAN], path, candidates=(), minutes=0)
    assert not read(path)


def test_a_peak_that_came_to_no_number_is_not_chosen() -> None:
    result = {"lowest": 0.1, "step": 2.0, "validation": [0.3, 0.2, None]}
    assert best_peak(result) == 0.2


@pytest.mark.parametrize(
    ("validation", "place"),
    [
        ([0.2, 0.3, 0.21], 2),
        ([0.21, 0.3, 0.2], 0),
        ([0.21, 0.3, 0.2, 0.3, 0.209], 4),  # The lower of two.
        ([0.2, 0.3, 0.23], None),  # Worse by more than a tenth.
        ([0.2, 0.21, 0.3], None),  # Beside the best.
        ([0.2, 0.3, 0.21, 0.205], 3),  # The slope to it is no minimum.
        ([0.2, None, 0.21], 2),
        ([0.2, 0.3, None], None),
        ([None, None, None], None),
    ],
)
def test_a_second_minimum_is_apart_and_nearly_as_low(
    validation: list[float | None], place: int | None
) -> None:
    assert second({"validation": validation}) == place


def test_the_better_of_two_minima_counts(trained: Path, tmp_path: Path) -> None:
    # Results that have two minima for the rule, a factor of 4 apart.
    path = tmp_path / "law.jsonl"
    rows = [json.loads(line) for line in trained.read_text("utf-8").splitlines()]
    rows = [row for row in rows if row.get("stage") != "second"]
    for row in rows:
        if row.get("stage") == "coarse" and row["updates"] == 5:
            for name, result in row["points"].items():
                result["validation"] = [0.2, 0.5, 0.21 if name == str(RULE_POINT) else 0.5]
            lowest = result["lowest"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run([PLAN], path, candidates=[RULE_POINT], budgets=[5], stages=["second"])
    found = read(path)
    around = {key.point: value for key, value in found.items() if key.stage == "second"}
    assert set(around) == {str(RULE_POINT)}
    other = around[str(RULE_POINT)]
    assert other["lowest"] * 2 == pytest.approx(lowest * 4, rel=1e-4)
    key = Key("digits", "SGDM", 0.9, 5, "fine", str(RULE_POINT))
    counted = of_stage(found, "fine")[Cell(*key[:4])][key.point]
    assert counted["of_seeds"] == min(found[key], other, key=least)["of_seeds"]


def test_the_report_says_what_the_results_are(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "law.jsonl"
    path.write_bytes(trained.read_bytes())
    page = report(path)
    for picture in ("law.png", "law_betas.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    text = page.read_text(encoding="utf-8")
    found = read(path)
    for updates in PLAN.budgets:
        of = {k.point: v for k, v in found.items() if k[3:5] == (updates, "fine")}
        linear = min((of[str(point)] for point in RIVALS["linear"]), key=least)
        baseline = np.array(linear["of_seeds"])
        rule = np.array(of[str(RULE_POINT)]["of_seeds"])
        mean = 100 * (rule - baseline).mean() / baseline.mean()
        error = 100 * np.std(rule - baseline, ddof=1) / np.sqrt(3) / baseline.mean()
        row = next(
            r for r in text.splitlines() if r.startswith(f"| digits, SGDM 0.9 | {updates} |")
        )
        assert f"{mean:+.1f} ± {error:.1f}" in row


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


def test_the_plans_have_what_they_compare() -> None:
    for plan in PLANS:
        for optimizer, momenta in plan.optimizers.items():
            for momentum in momenta:
                points = plan.coarse(optimizer, momentum)
                if optimizer in PEERS:
                    assert set(points) == set(PEERS[optimizer])
                    continue
                assert {p for rival in RIVALS.values() for p in rival} <= set(points)
                if plan.points is None and momentum > 0 and optimizer == "SGDM":
                    assert set(CANDIDATES) <= set(points)


def test_committed_page_is_that_of_the_committed_results(tmp_path: Path) -> None:
    path = tmp_path / "law.jsonl"
    path.write_bytes((RESULTS / "law.jsonl").read_bytes())
    assert report(path).read_text("utf-8") == (RESULTS / "law.md").read_text("utf-8")
