"""Print the tables."""

from benchmarks.overhead import python_calls, train_step
from benchmarks.overhead.measure import HEADER

MODULES = [python_calls, train_step]
try:
    from benchmarks.overhead import torch_step
except ModuleNotFoundError as error:
    print(f"{error}\n")
else:
    MODULES.append(torch_step)

if __name__ == "__main__":
    for module in MODULES:
        print(f"{(module.__doc__ or '').strip()}\n{HEADER}")
        print(*module.run(), sep="\n", end="\n\n")
