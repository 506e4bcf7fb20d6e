"""The command line: ``python -m benchmarks.overhead``."""

from benchmarks.overhead import budgets, python_calls, torch_step, train_step
from benchmarks.overhead.measure import Effort
from benchmarks.overhead.report import markdown

MODULES = python_calls, torch_step, train_step, budgets

if __name__ == "__main__":
    for module in MODULES:
        print(markdown(module.tables(Effort())), end="\n\n", flush=True)
