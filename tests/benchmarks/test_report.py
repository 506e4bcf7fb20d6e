"""The report: what it says of a fixed file of results."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import record
from benchmarks.budgeted import paper
from benchmarks.budgeted.cells import Cell, finite, results
from benchmarks.budgeted.report import (
    IN_PAPER,
    average_ranks,
    comparisons,
    places,
    report,
    shares,
    text,
    winner,
)
from benchmarks.budgeted.schedules import SAMPLED, STUDY
from benchmarks.record import RESULTS

VAE = Cell("vae_mnist", "Adam", "compare", 5.0, ("REX", "linear", "step"), (0.003,) * 3, (0, 1))
NUMBERS = [[139.0, 139.2, 150.0], [139.4, 139.8, None]]


def line(cell: Cell, test: Any, metric: str = "loss") -> dict[str, Any]:
    content: dict[str, Any] = {
        "cell": asdict(cell),
        "name": {"vae_mnist": "VAE on MNIST", "resnet20_cifar10": "ResNet"}[cell.setting],
        "data": "small copies" if cell.setting == "resnet20_cifar10" else "",
        "metric": metric,
        "updates": 100,
        "full_updates": 2000,
        "validation": test,
        "seconds": 1800.0,
        "machine": {"cpu": "a processor", "cores": 2, "system": "Linux", "device": "cpu"},
        "versions": {"python": "3.11"},
    }
    if cell.purpose == "compare":
        content |= {"test": test, "curve": {"t": [50, 100], "validation": [test[0], test[0]]}}
    return content


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "fixed.jsonl"
    for rate in (0.01, 0.003):
        tuning = replace(VAE, purpose="tune", percent=1.0, rates=(rate,) * 3, seeds=(1000, 1001))
        record.append(path, line(tuning, NUMBERS))
    record.append(path, line(VAE, NUMBERS))
    record.append(path, {"cell": asdict(replace(VAE, percent=50.0)), "error": "no memory"})
    every = replace(VAE, percent=10.0, schedules=IN_PAPER, rates=(0.003,) * 8)
    record.append(path, line(every, [[1.0, 2, 3, 4, 5, 6, 7, 8], [1.0, 2, 3, 4, 5, 6, 7, 8]]))
    more = replace(every, percent=25.0)
    record.append(path, line(more, [[3.0, 2, 1, 4, 5, 6, 7, 7], [3.0, 2, 1, 4, 5, 6, 7, 7]]))
    resnet = replace(VAE, setting="resnet20_cifar10", optimizer="SGDM", seeds=(0,))
    names = "REX × every iteration", "step × 50-75"
    sampled = replace(resnet, schedules=names, rates=(0.3, 0.1))
    record.append(path, line(sampled, [[0.12, 0.15]], "error"))
    return path


def page(path: Path) -> str:
    return text(list(results(path).values()), path.stem, {"ranks", "vae_mnist"})


def test_report_writes_page_and_figures(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = report(path)
    assert written.read_text(encoding="utf-8") == page(path)
    figures = sorted(file.name for file in path.parent.glob("*.png"))
    assert figures == ["fixed_ranks.png", "fixed_vae_mnist.png"]
    assert all((path.parent / name).read_bytes().startswith(b"\x89PNG") for name in figures)
    assert "2 figures" in capsys.readouterr().out


@pytest.mark.parametrize(
    "expected",
    [
        # Mean and sample standard deviation, the paper's number, the difference.
        "| REX | 0.003 | **139.20 ± 0.28** (139.05, +0.15) | **1.0000 ± 0.0000** (136.62, ",
        "| linear | 0.003 | 139.50 ± 0.42 (139.82, -0.32) |",
        "| step | 0.003 | diverged (142.19) |",
        "| best |  | 2 tied | REX | cosine |",
        "2 seeds; 100 % are 2000 updates.",
        "Rates chosen at 1 % on seeds 1000 to 1001 out of 0.01, 0.003; 8 of 8 at an edge of that.",
        "Data: small copies.",
        "| 50-75 | 15.00 (14.48, +0.52) |  |  |",
        "| every iteration |  |  | **12.00** (12.86, -0.86) |",
        "Best: at 5 % REX × every iteration.",
        "6 cells, 3.0 hours on\na processor, 2 cores.",
        "| REX | 50% | 100% | 70 % | 92 % |",
        "| cosine | 50% | 100% | 6 % | 64 % |",
        "| average rank | 10 % (1 cell) | 25 % (1 cell) |",
        "| no schedule | 7.00 | 7.50 |",
        "![Learning curves](fixed_vae_mnist.png)",
    ],
)
def test_page_says(expected: str, path: Path) -> None:
    assert expected in page(path)


def test_shares_and_ranks_need_all_schedules_of_a_cell(path: Path) -> None:
    rows = comparisons(results(path).values())
    count, of_name = shares(rows, IN_PAPER)
    assert count == 2  # not those at 5 %, which have three
    assert of_name["linear"] == (0, 1)
    assert of_name["step"] == (0, 0)
    ranks = average_ranks(rows, IN_PAPER)
    assert list(ranks) == [10, 25]
    assert ranks[25][1] | {"REX": 3, "cosine": 1, "plateau": 7.5} == ranks[25][1]
    assert shares(rows, tuple(STUDY)) == (0, {})


def test_ties_are_within_the_spread(path: Path) -> None:
    (row, *_) = comparisons(results(path).values())

    def rows(*values: tuple[float, ...]) -> Any:
        return [
            replace(row, schedule=name, values=v) for name, v in zip("abc", values, strict=False)
        ]

    assert winner(rows((1.0, 2.0), (3.0, 4.0))) == "a"
    assert winner(rows((1.0, 2.0), (1.5, 2.5), (5.0, 6.0))) == "2 tied"
    assert winner(rows((2.0,), (1.0,))) == "b"  # One seed has no spread ...
    assert winner(rows((2.0,), (2.0,))) == "2 tied"  # ... but may be equal.
    inf = float("inf")
    assert winner(rows((inf, 1.0), (inf, 1.0))) == "none"
    assert winner(rows((inf, 1.0), (1.0, 2.0))) == "b"
    assert places(rows((2.0,), (1.0,), (2.0,))) == {"a": 2, "b": 1, "c": 2}


def test_equal_errors_are_equal_however_they_were_summed(path: Path) -> None:
    cell = replace(VAE, setting="resnet20_cifar10", optimizer="SGDM", seeds=(0, 1, 2))
    counts = [(16, 15, 16), (16, 16, 17), (16, 17, 16)]
    errors = [[count / 540 for count in of_seed] for of_seed in counts]
    rows = comparisons([line(cell, finite(errors), "error") | {"cell": cell}])
    assert places(rows) == {"REX": 1, "linear": 1, "step": 3}


def test_the_result_of_most_seeds_counts(path: Path) -> None:
    few = replace(VAE, percent=10.0, schedules=("REX",), rates=(0.1,), seeds=(5,))
    record.append(path, line(few, [[0.5]]))
    rows = comparisons(results(path).values())
    (rex,) = (row for row in rows if row.schedule == "REX" and row.cell.percent == 10)
    assert rex.values == (1, 1)


def test_paper() -> None:
    assert paper.published("resnet20_cifar10", "SGDM", "REX", 1) == 27.94
    assert paper.published("resnet20_cifar10", "SGDM", "linear × every 5 %", 5) == 13.83
    assert paper.published("vae_mnist", "Adam", "no schedule", 100) == 134.66
    for missing in [("vae_mnist", "SGDM", "no schedule", 1), ("digits", "SGDM", "REX", 1)]:
        assert paper.published(*missing) is None
    assert paper.SAMPLED.keys() == SAMPLED.keys()
    # With its own sampling each profile is a schedule of the main table, at 75 and 300 epochs.
    main = paper.PUBLISHED["resnet20_cifar10", "SGDM"]["REX"]
    assert paper.SAMPLED["REX × every iteration"] == (main[1], main[3], main[5])


def test_no_results(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="results must have a cell that compares"):
        report(tmp_path / "none.jsonl")


def test_committed_page_is_that_of_the_committed_results() -> None:
    path = RESULTS / "budgeted.jsonl"
    lines = list(results(path).values())
    figures = {file.stem.removeprefix("budgeted_") for file in RESULTS.glob("budgeted_*.png")}
    assert path.with_suffix(".md").read_text(encoding="utf-8") == text(lines, "budgeted", figures)
    assert all(json.dumps(line["versions"]) for line in lines)
