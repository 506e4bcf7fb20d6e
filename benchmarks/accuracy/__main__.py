"""The command line: ``python -m benchmarks.accuracy``."""

import argparse

from benchmarks.accuracy.report import COMMAND, FIGURE, README, RESULTS, draw, insert, tables
from benchmarks.accuracy.study import DISTRIBUTIONS, study
from benchmarks.record import read, write


def main() -> None:
    argparse.ArgumentParser(
        prog=COMMAND, description="Errors of schedules and what they do where they go wrong."
    ).parse_args()
    write(RESULTS, COMMAND, DISTRIBUTIONS, study())
    content = read(RESULTS)
    print(tables(content))
    draw(content, FIGURE)
    insert(content, README)
    print(f"written: {RESULTS.name}, {FIGURE.name} and the tables of {README.name}")


if __name__ == "__main__":
    main()
