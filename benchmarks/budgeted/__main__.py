"""The command line: ``python -m benchmarks.budgeted demo``."""

import argparse
from pathlib import Path

from benchmarks.budgeted.demo import demo

RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.budgeted", description=demo.__doc__)
    parser.add_argument("study", choices=["demo"], help="which study to run")
    parser.parse_args()
    demo(RESULTS)


if __name__ == "__main__":
    main()
