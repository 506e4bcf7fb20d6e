"""The study of policies: choices with known answers, what they cost, and a small real run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.budgeted.engine import programs
from benchmarks.budgeted.optimizers import OPTIMIZERS
from benchmarks.budgeted.settings import load
from benchmarks.policy.choice import Cell, Results, elsewhere, is_whole, oracle, outcome
from benchmarks.policy.plans import FAMILIES, LONG, PEAKS, POLICIES, SHORT, TRUNK, Policy, Rung
from benchmarks.policy.plans import peaks as grid
from benchmarks.policy.report import cells_of, report
from benchmarks.policy.run import Key, groups, read, run, updates_of
from benchmarks.record import RESULTS
from rex_core import Schedule, constant

pytestmark = pytest.mark.long

CELL = Cell("digits", "SGD", 400)


def results(*, setting: str = "digits", seeds: int = 2, **best: int) -> Results:
    """Bowls over the peaks for every schedule; ``best`` moves the best peak of one of them."""
    found: Results = {}
    for name, entry in FAMILIES["SGD"].items():
        bowl = 0.1 + 0.01 * np.abs(np.arange(PEAKS) - best.get(name.replace(" ", "_"), 3))
        values = np.tile(bowl, (seeds, 1))
        for share in entry.shares:
            kind = "validation" if share in SHORT else "test"
            key = Key(setting, "SGD", name, updates_of(CELL.budget, share))
            # Longer runs are better; the place of the best peak stays.
            found[key] = {kind: values * (2 - share)}
    return found


ROUND = (Rung(8, 1 / 40),)


def policy(*schedules: str, rungs: Any = ROUND, **more: Any) -> Policy:
    return Policy(schedules or ("cosine",), rungs, **more)


def test_the_best_peak_is_carried_over() -> None:
    found = results(cosine=3)
    assert outcome(policy(exponent=0.0), found, CELL) == pytest.approx(0.1 * 1.2)
    # From T/40 to 0.8·T the budget grows 32 times: 1.25 steps of 2 down, and 2.5 with -1/2.
    assert outcome(policy(exponent=-0.25), found, CELL) == pytest.approx(0.11 * 1.2)
    assert outcome(policy(exponent=-0.5), found, CELL) == pytest.approx(0.12 * 1.2)
    # The grid has an end.
    assert outcome(policy(exponent=-2.0), found, CELL) == pytest.approx(0.13 * 1.2)


def test_every_seed_chooses_for_itself() -> None:
    found = results(seeds=3)
    short = found[Key("digits", "SGD", "cosine", 10)]["validation"]
    short[1] = short[1, ::-1]  # This one takes the fifth for the best,
    short[2] = 0.5  # and of equal ones the first is taken.
    expected = 1.2 * (0.1 + 0.01 * np.array([0, 1, 3]))
    assert outcome(policy(exponent=0.0), found, CELL) == pytest.approx(expected)


def test_a_run_that_came_to_no_number_is_the_worst() -> None:
    found = results()
    found[Key("digits", "SGD", "cosine", 10)]["validation"][:, :5] = np.nan
    assert outcome(policy(exponent=0.0), found, CELL) == pytest.approx(1.2 * 0.12)


def test_four_peaks_are_every_second_one() -> None:
    found = results(cosine=2)  # of which the second and the fourth are next to it
    few = policy(rungs=(Rung(4, 1 / 20),), exponent=0.0)
    assert outcome(few, found, CELL) == pytest.approx(1.2 * 0.11)


def test_a_later_rung_has_the_last_word() -> None:
    found = results()
    short = found[Key("digits", "SGD", "cosine", 10)]["validation"]
    short[:] = 0.5
    short[:, [1, 6]] = 0.1, 0.2
    longer = found[Key("digits", "SGD", "cosine", 40)]["validation"]
    longer[:] = 0.0
    longer[:, [1, 6]] = 0.2, 0.1
    halving = policy(rungs=(Rung(8, 1 / 40), Rung(2, 1 / 10)), exponent=0.0)
    assert halving.share == 0.6
    assert outcome(halving, found, CELL) == pytest.approx(1.4 * 0.13)


def test_the_better_schedule_is_chosen() -> None:
    found = results()
    for share, kind in ((1 / 40, "validation"), (0.8, "test")):
        key = Key("digits", "SGD", "linear", updates_of(400, share))
        found[key] = {kind: found[key][kind] - 0.02}
    both = policy("cosine", "linear", exponent=0.0)
    assert outcome(both, found, CELL) == pytest.approx(1.2 * 0.1 - 0.02)


def test_without_a_search_the_peak_is_the_others() -> None:
    found = results() | results(setting="moons", cosine=5) | results(setting="other", cosine=6)
    assert elsewhere(found, CELL, "cosine") == round(5.5)
    assert outcome(policy(rungs=()), found, CELL) == pytest.approx(0.1 + 0.03)


@pytest.mark.parametrize(
    ("below", "best", "elsewhere", "chosen"),
    [
        (1, 3, 3, 3),  # One below the other settings' peak and two above it.
        (1, 0, 3, 2),
        (1, 7, 3, 5),
        (1, 7, 7, 7),
        (3, 7, 4, 4),  # None above it.
        (3, 0, 4, 1),
        (3, 7, 1, 3),  # The grid ends below.
    ],
)
def test_a_search_around_the_others_peak(
    below: int, best: int, elsewhere: int, chosen: int
) -> None:
    found = results(cosine=best) | results(setting="moons", cosine=elsewhere)
    around = policy(rungs=(Rung(4, 1 / 20),), exponent=0.0, below=below)
    assert outcome(around, found, CELL) == pytest.approx(1.2 * (0.1 + 0.01 * abs(chosen - best)))


def test_the_oracle_sees_the_tests_of_the_whole_budget() -> None:
    found = results(linear=5)
    found[Key("digits", "SGD", "linear", 400)]["test"] -= 0.01
    found[Key("digits", "SGD", "Schedule-Free", 400)]["test"] -= 0.05  # It is no schedule.
    assert oracle(found, CELL) == ("linear", 5)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_spends_the_whole_budget(name: str) -> None:
    one = POLICIES[name]
    spent = sum(rung.candidates * rung.share for rung in one.rungs)
    free = TRUNK - LONG[1] if one.trained else 0.0
    assert spent + one.share == pytest.approx(1 + free)
    for schedule in one.schedules:
        for family in FAMILIES.values():
            wanted = {rung.share for rung in one.rungs} | (set() if one.trained else {one.share})
            assert wanted <= {*family[schedule].shares}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_trunk_goes_on_from_the_short_run(family: str) -> None:
    short, long = (FAMILIES[family][name].rule.rate for name in ("warmup-stable-decay", "trunk"))
    T = 40_000
    until = round(0.8 * T / 40)
    t = np.arange(until)
    np.testing.assert_allclose(long(t, round(TRUNK * T)), short(t, T // 40), rtol=1e-3)
    assert long(until + 1, round(TRUNK * T)) == 1
    # What is trained twice for nothing is the cooldown of the short run, and its warmup's share.
    warm = 0.1 if family == "Adam" else 0.0
    assert (0.8 - warm) / 40 + 1e-12 >= TRUNK - 0.8


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "policy.jsonl"
    for setting in ("digits", "moons"):
        assert run(path, [setting], ["SGD"], budgets=[40], seeds=2)
    return path


def test_results_are_those_of_the_engine(trained: Path) -> None:
    found = read(trained)
    assert is_whole(found, Cell("digits", "SGD", 40))
    assert not is_whole(found, Cell("digits", "SGD", 50))
    assert cells_of(found) == [Cell("digits", "SGD", 40), Cell("moons", "SGD", 40)]
    values = found[Key("digits", "SGD", "Schedule-Free", 24)]["test"]
    assert values.shape == (2, PEAKS)
    free = FAMILIES["SGD"]["Schedule-Free"]
    assert free.rule.rate == Schedule(constant, init_value=0.1)
    lanes = programs(load("digits"), OPTIMIZERS[free.optimizer], [free.rule])
    state = lanes.advance(lanes.start([0, 1], grid(free.optimizer)[:, None]), 24, 24)
    np.testing.assert_allclose(values, np.asarray(lanes.test(state))[:, :, 0], atol=2e-3)


def test_what_is_done_is_not_trained_again(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "policy.jsonl"
    *rows, _ = trained.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(rows), encoding="utf-8")
    assert not run(path, ["moons"], ["SGD"], budgets=[40], seeds=2, minutes=0)
    assert run(path, ["moons"], ["SGD"], budgets=[40], seeds=2)
    added = path.read_text("utf-8").splitlines()[len(rows) :]
    assert sum('"schedules"' in line for line in added) == 1
    assert read(path).keys() == read(trained).keys()


def test_a_metric_that_a_line_has_not_is_trained(trained: Path, tmp_path: Path) -> None:
    """A budget of 40 has runs of 4 updates for validation; one of 5 would want their test."""
    path = tmp_path / "policy.jsonl"
    path.write_bytes(trained.read_bytes().replace(b'"test"', b'"validation"'))
    assert run(path, ["moons"], ["SGD"], budgets=[40], seeds=2)
    assert is_whole(read(path), Cell("moons", "SGD", 40))
    assert not is_whole(read(path), Cell("digits", "SGD", 40))


@pytest.mark.parametrize(
    ("budgets", "seeds", "message"),
    [
        ([400, 39], 2, "budgets must be at least 40 updates; got 39"),
        ([400], 1, "seeds must be at least 2, for a standard error; got 1"),
    ],
)
def test_what_cannot_be_run_is_refused(
    budgets: list[int], seeds: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "policy.jsonl", ["moons"], ["SGD"], budgets, seeds)
    assert not [*tmp_path.iterdir()]


def test_schedules_of_one_program_are_trained_for_the_same_shares() -> None:
    for family, entries in FAMILIES.items():
        for (optimizer, shares), names in groups(family).items():
            assert {(entries[name].optimizer, entries[name].shares) for name in names} == {
                (optimizer, shares)
            }


def test_the_report_has_every_policy(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "policy.jsonl"
    path.write_bytes(trained.read_bytes())
    text = report(path).read_text("utf-8")
    assert all(f"\n| {name} | " in text for name in POLICIES)
    assert "\n| digits, SGD | 40 | " in text
    with pytest.raises(ValueError, match="results must have a whole cell; got "):
        report(tmp_path / "none.jsonl")


def test_committed_page_is_that_of_the_committed_results(tmp_path: Path) -> None:
    path = tmp_path / "policy.jsonl"
    path.write_bytes((RESULTS / "policy.jsonl").read_bytes())
    assert report(path).read_text("utf-8") == (RESULTS / "policy.md").read_text("utf-8")
