"""The overhead benchmark: small real runs of every table, and what their rows say."""

import pytest

from benchmarks.overhead import budgets
from benchmarks.overhead.measure import Bound, Effort, Row, in_turn, summarize
from benchmarks.overhead.network import TINY

QUICK = Effort(rounds=1, share=0.002)


def test_a_budget_in_the_program_is_compiled_and_one_outside_it_is_not():
    compilations, to_first, whole = budgets.tables(QUICK, TINY)
    assert [row.value for row in compilations.rows] == [6, 1, 1, 1]
    assert [row.met for row in compilations.rows] == [None, None, True, True]
    for first, all_of_it in zip(to_first.rows, whole.rows, strict=True):
        assert 0 < first.value < all_of_it.value


def test_rows_are_medians_of_the_ratios_of_each_round():
    baseline, other = summarize(
        {"a": [1.0, 2.0, 4.0], "b": [3.0, 4.0, 20.0]}, {"b": Bound(2.9), "a": Bound(2, of="value")}
    )
    assert baseline == Row("a", 2.0, bound=Bound(2, of="value"))
    assert (other.value, other.ratio, other.low, other.high) == (4.0, 3.0, 2.5, 4.0)
    assert (baseline.met, other.met) == (True, False)


@pytest.mark.parametrize(
    ("bound", "met"), [(Bound(1.5), True), (Bound(1.4), False), (Bound(8.9, of="value"), False)]
)
def test_bound(bound: Bound, met: bool):
    assert Row("a", value=9.0, ratio=1.5, low=1.0, high=2.0, bound=bound).met is met


def test_rounds_go_in_both_directions():
    assert in_turn(["a", "b"], 3) == ["a", "b", "b", "a", "a", "b"]
