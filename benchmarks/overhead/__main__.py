"""Print the tables."""

from benchmarks.overhead import python_calls, train_step
from benchmarks.overhead.measure import HEADER

if __name__ == "__main__":
    for module in (python_calls, train_step):
        print(f"{(module.__doc__ or '').strip()}\n{HEADER}")
        print(*module.run(), sep="\n", end="\n\n")
