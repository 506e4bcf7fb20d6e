"""The benchmark of the theory: a small real run of every table, and what its page says."""

import re

import numpy as np
import pytest

from benchmarks import record
from benchmarks.budgeted.settings.digits import digits
from benchmarks.overhead.measure import Effort
from benchmarks.overhead.network import Size
from benchmarks.theory import __main__ as command
from benchmarks.theory import claims, cost
from benchmarks.theory.claims import EXPONENTS
from benchmarks.theory.report import PAGE, insert, tables
from benchmarks.theory.sweep import sweep
from rex_core import Schedule, linear

pytestmark = pytest.mark.long

RESULTS = record.RESULTS / "theory.json"
SMALL = Size(width=8, depth=1, batch=2)
SHORT = 20, 30


def test_a_sweep_records_what_it_trains():
    names = {"linear": Schedule(linear), "again": Schedule(linear)}
    found = sweep(digits(), "SGDM", names, 30, (0.001, 0.1, 0.3), 2)
    assert found.T == 30
    assert found.norms.shape == (2, 3, 2, 30)
    assert (found.norms > 0).all()
    assert np.array_equal(found.norms[:, :, 0], found.norms[:, :, 1])
    assert (np.diff(found.distance, axis=1) > 0).all()
    assert (found.loss[:, 1:] < found.loss[:, :1]).all()
    assert found.nearest(0.29) == 2
    assert found.best("linear") > 0


def test_every_table_is_measured_and_printed(monkeypatch):
    few = {name: claims.SCHEDULES[name] for name in ("linear", "REX", "cosine")}
    monkeypatch.setattr(claims, "SCHEDULES", few)
    monkeypatch.setattr(command, "NORMS", {"SGDM": "l1"})
    results = command.measure(SHORT, {"SGDM": (0.1, 0.3, 0.9)}, 2)
    assert len(results["shapes"]) == len(few) * len(SHORT)
    assert len(results["budgets"]) == 2 * len(EXPONENTS)
    assert len(results["refined"]) == len(SHORT)
    for row in results["shapes"]:
        least, most = row["tied"]
        assert least <= row["peak"] <= most
        if row["schedule"] == "linear":
            assert row["theory's ratio"] == row["measured ratio"] == row["measured loss"] == 1
            assert row["cost of the suggestion"]["mean"] == 0
    for row in results["refined"]:
        assert row["theory's loss"] <= 1.01  # Of its own norms, but for the filter.
        assert max(row["profile"]) <= 1
    found = tables(results | {"cost": {}, "lengths": []})
    assert found["budgets"].count("\n") == 1 + 2 * len(EXPONENTS)


def test_the_cost_is_measured(monkeypatch):
    monkeypatch.setattr(cost, "SIZES", {"small": (SMALL, 2)})
    clipped = {"clipped": cost.JAX["clipped"]}
    monkeypatch.setattr(cost, "JAX", clipped)
    groups = cost.rows(Effort(rounds=1, share=0.1))
    names = ["JAX, small, clipped", "PyTorch, small, Adam", "PyTorch, small, clipped"]
    assert list(groups) == names
    for rows in groups.values():
        assert rows[0].baseline
        assert all(row.value > 0 for row in rows)


def test_time_and_memory_of_long_runs():
    """40 bytes a norm at the most, by which 10^7 of them take 0.4 GB."""
    short, long = cost.lengths((10**5, 4 * 10**5))
    for name in ("refine", "best_peak"):
        assert long[f"{name}, MB"] < 40 * long["T"] / 1e6
        assert long[f"{name}, s"] < 20 * short[f"{name}, s"]


def test_the_page_has_the_tables_of_the_results(tmp_path):
    results = record.read(RESULTS)
    copied = tmp_path / PAGE.name
    text = PAGE.read_text(encoding="utf-8")
    copied.write_text(re.sub(r"-->\n\|.*?\n<!-- end", "-->\n<!-- end", text, flags=re.DOTALL))
    assert "\n| linear | 1.00 |" not in copied.read_text(encoding="utf-8")
    insert(results, copied)
    assert copied.read_text(encoding="utf-8") == text
    assert {name for name in tables(results) if f"<!-- {name} -->" in text} >= {
        "bounds",
        "budgets",
        "cost",
        "lengths",
        "refined",
    }
    assert sorted({row["T"] for row in results["shapes"]}) == list(command.BUDGETS)
    assert results["peaks"] == {
        name: pytest.approx(list(grid)) for name, grid in command.PEAKS.items()
    }
