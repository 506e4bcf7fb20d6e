"""Measure, print the tables, and write them, the numbers and the figure."""

from benchmarks.accuracy.report import COMMAND, FIGURE, README, RESULTS, draw, insert, tables
from benchmarks.accuracy.study import DISTRIBUTIONS, study
from benchmarks.record import read, write

if __name__ == "__main__":
    write(RESULTS, COMMAND, DISTRIBUTIONS, study())
    content = read(RESULTS)
    print(tables(content))
    draw(content, FIGURE)
    insert(content, README)
    print(f"written: {RESULTS.name}, {FIGURE.name} and the tables of {README.name}")
