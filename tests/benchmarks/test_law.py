"""The study of the law: statistics with known answers, lanes, choice and resume."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.budgeted.engine import programs
from benchmarks.budgeted.optimizers import OPTIMIZERS
from benchmarks.budgeted.settings.digits import digits
from benchmarks.law.plans import CANDIDATES, PEERS, PLANS, RULE
from benchmarks.law.report import report
from benchmarks.law.results import Cell, of_stage
from benchmarks.law.run import Key, Plan, best_peak, least, read, run, second, short_list
from benchmarks.law.space import FAMILY, OTHERS, RIVALS, Point, space, stacked
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
