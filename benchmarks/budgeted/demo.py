"""The demo: a small network on the digits, six budgets, eight schedules, in about a minute."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.budgeted.demo_report import figure, record, text
from benchmarks.budgeted.schedules import DEMO
from benchmarks.budgeted.settings.digits import digits
from benchmarks.budgeted.sweep import Results, run

PERCENTS = (1, 2, 5, 10, 25, 50)
RATES = (1.6, 0.8, 0.4, 0.2, 0.1, 0.05)
SEEDS = tuple(range(30))


def demo(
    folder: Path,
    percents: Sequence[float] = PERCENTS,
    rates: Sequence[float] = RATES,
    seeds: Sequence[int] = SEEDS,
) -> Results:
    """Compare the schedules on scikit-learn's digits under six budgets: a table and a figure."""
    networks = len(percents) * len(DEMO) * len(rates) * len(seeds)
    print(
        f"A budget is how long you can train. This trains {networks} small networks on images of\n"
        f"digits: {len(DEMO)} schedules under {len(percents)} budgets, each with {len(rates)} "
        f"peak rates and {len(seeds)} seeds.",
        flush=True,
    )
    results = run(digits(), DEMO, percents, rates, seeds)
    print(text(results))
    folder.mkdir(parents=True, exist_ok=True)
    figure(results, DEMO, folder / "budgeted_demo.png")
    record(results, folder / "budgeted_demo.json", "python -m benchmarks.budgeted demo")
    print(
        f"written: {folder / 'budgeted_demo.png'} and .json\n\n"
        "Next: docs/study.md says what this shows, and what it does not. docs/index.md says how\n"
        "to use a schedule in your own training. examples/ has programs to start from."
    )
    return results
