"""The overhead benchmark: small real runs of every table, and what its files say."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import record
from benchmarks.overhead import __main__ as command
from benchmarks.overhead import (
    budgets,
    imports,
    jitted_calls,
    keras_fit,
    numpy_values,
    python_calls,
    torch_step,
    train_step,
)
from benchmarks.overhead.measure import Bound, Effort, Row, Table, in_turn, summarize
from benchmarks.overhead.network import Size
from benchmarks.overhead.report import BEGIN, END, insert, markdown, plain, read
from rex_core.functions import PROFILES

pytestmark = pytest.mark.long

QUICK = Effort(rounds=1, share=0.002)
SMALL = Size(width=8, depth=1, batch=2)
RESULTS = record.RESULTS / "overhead.json"


# Keras's own variables and NumPy 2 do not agree on it.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("module", [python_calls, numpy_values, torch_step, keras_fit, train_step])
def test_tables_are_measured(module, monkeypatch):
    monkeypatch.setattr(train_step, "SIZES", {"small": (SMALL, 2)})
    for table in module.tables(QUICK):
        assert table.rows[0].baseline
        assert all(row.value > 0 and row.low <= row.ratio <= row.high for row in table.rows)
        assert sum(row.bound is not None for row in table.rows) > 0 or module is keras_fit


def test_jitted_calls_are_measured():
    calls, compiling, lanes = jitted_calls.tables(QUICK)
    assert [row.name for row in calls.rows] == [row.name for row in compiling.rows]
    assert [row.name for row in lanes.rows] == ["1 lane", "64 lanes", "4096 lanes"]


def test_imports_are_measured(monkeypatch):
    monkeypatch.setattr(imports, "FIRST", {"rex_core": "numpy", "rex_optax": "jax, optax"})
    (table,) = imports.tables(QUICK)
    assert [row.baseline for row in table.rows] == [True, False, True, False]
    assert [row.bound for row in table.rows] == [None, Bound(15, of="value"), None, None]


def test_memory_of_ten_million_values():
    *_, memory = numpy_values.tables(Effort(rounds=1))
    by_hand, schedule, *pairs = memory.rows
    assert by_hand.value == pytest.approx(3, rel=0.01)
    assert 1 < schedule.value < 1.1
    assert len(pairs) == 3 * len(PROFILES)
    for in_place, profile in zip(pairs[::3], pairs[2::3], strict=True):
        assert 1 < in_place.value < 1.1
        assert profile.bound == Bound(1.1, of="value")
        assert profile.met, profile.name


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.__name__)
def test_formulas_by_hand_are_those_of_the_profiles(profile):
    """Also where blocks end; rounding differs, most where 1 - √(t/T) has few digits left."""
    for t in (np.arange(100), np.arange(2**16 + 3)):
        by_hand, _, own = numpy_values.pair(profile.__name__, t, len(t)).values()
        np.testing.assert_allclose(by_hand(), own(), rtol=1e-9)


def test_a_budget_in_the_program_is_compiled_and_one_outside_it_is_not():
    compilations, to_first, whole = budgets.tables(QUICK, SMALL)
    assert [row.value for row in compilations.rows] == [6, 1, 1, 1, 1, 1]
    assert [row.met for row in compilations.rows] == [None, None, None, None, True, True]
    for first, all_of_it in zip(to_first.rows, whole.rows, strict=True):
        assert 0 < first.value < all_of_it.value


def test_rows_are_medians_of_the_ratios_of_each_round():
    rounds = {"a": [1.0, 2.0, 4.0], "b": [3.0, 4.0, 20.0]}
    baseline, other = summarize(rounds, {"a": Bound(2, of="value"), "b": Bound(2.9)})
    assert baseline == Row("a", 2, 1, 1, 1, 3, baseline=True, bound=Bound(2, of="value"))
    assert other == Row("b", 4, 3, 2.5, 4, 3, baseline=False, bound=Bound(2.9))
    assert (baseline.met, other.met) == (True, False)


def test_each_comes_once_a_round_and_after_every_other_one_alike():
    order = in_turn("abcd", 1000)
    assert all(sorted(order[i : i + 4]) == list("abcd") for i in range(0, 4000, 4))
    pairs = Counter(pairwise(order))
    same = {pair: count for pair, count in pairs.items() if pair[0] == pair[1]}
    for alike in (same, pairs.keys() - same.keys()):
        counts = [pairs[pair] for pair in alike]
        assert len(counts) in (4, 12)
        assert max(counts) < 1.5 * min(counts)


TABLES = [
    Table(
        title="Two calls.",
        short="call",
        unit="µs",
        rows=[
            Row("one", 1234.5, 1.0, 1.0, 1.0, 9, baseline=True),
            Row("the other", 0.5, 0.000406, 0.0004, 0.00041, 9, bound=Bound(0.01)),
            Row("a third", 6, 0.02, 0.01, 0.03, 9, bound=Bound(5, of="value")),
        ],
    )
]


def test_markdown():
    assert markdown(TABLES) == (
        """\
Two calls.

|           |    µs |    ratio |          middle half | bound             |
| --------- | ----: | -------: | -------------------: | ----------------- |
| one       |  1234 | baseline |                      |                   |
| the other | 0.500 | 0.000406 | 0.000400 to 0.000410 | ratio ≤ 0.01: met |
| a third   |     6 |   0.0200 |     0.0100 to 0.0300 | µs ≤ 5: not met   |"""
    )


def test_tables_go_to_json_and_back():
    assert read(json.loads(json.dumps({"tables": plain(TABLES)}))) == TABLES


def test_tables_take_the_place_of_those_before(tmp_path: Path):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    insert(TABLES, page)
    insert(TABLES, page)
    text = f"before\n{BEGIN}\n\n{markdown(TABLES)}\n\n{END}\nafter\n"
    assert page.read_text(encoding="utf-8") == text
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match=r"README\.md must have the lines"):
        insert(TABLES, page)


def test_the_readme_has_the_tables_of_the_results():
    text = command.README.read_text(encoding="utf-8")
    assert f"{BEGIN}\n\n{markdown(read(record.read(RESULTS)))}\n\n{END}" in text


def test_results_name_every_promise():
    promised = [row for table in read(record.read(RESULTS)) for row in table.rows if row.bound]
    limits = {(row.bound.most, row.bound.of) for row in promised}
    bounds = 2.3, 4.2, 20, 60, 1, 0.01, 1.6, 3, 1.25, 0.5, 1.02
    ratios = {(most, "ratio") for most in bounds}
    assert limits == ratios | {(15, "value"), (1, "value"), (1.1, "value")}


def test_write(tmp_path: Path):
    command.write(TABLES, tmp_path, "overhead_gpu", "a command")
    content = record.read(tmp_path / "overhead_gpu.json")
    assert read(content) == TABLES
    assert content["command"] == "a command"
    assert content["versions"]["jax"] == jax.__version__
    assert (tmp_path / "overhead_gpu.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only without an accelerator")
def test_accelerator_is_asked_for_and_missing(monkeypatch):
    monkeypatch.setattr("sys.argv", ["overhead", "--accelerator"])
    with pytest.raises(SystemExit, match="needs a GPU or TPU that JAX can use"):
        command.main()
