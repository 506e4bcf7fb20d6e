"""The command line: ``python -m benchmarks.overhead``."""

import argparse
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from benchmarks import record
from benchmarks.overhead.measure import Effort, Table
from benchmarks.overhead.report import COMMAND, draw, insert, markdown, plain

# On an accelerator only what is jitted for it, and without the packages that the rest asks for.
JITTED = "jitted_calls", "train_step", "budgets"
ALL = "python_calls", "numpy_values", "imports", "torch_step", "keras_fit", *JITTED
PACKAGES = (
    *("rex-schedules", "numpy", "jax", "jaxlib", "optax", "flax"),
    *("torch", "keras", "fvcore"),
)
README = Path(record.__file__).parent / "README.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description="What a schedule costs.")
    parser.add_argument(
        "--accelerator",
        action="store_true",
        help="measure what is jitted on the accelerator that JAX has, in a file of its own",
    )
    if not parser.parse_args().accelerator:
        tables = measure(ALL, Effort())
        write(tables, record.RESULTS, "overhead", COMMAND)
        insert(tables, README)
        print(f"written: the tables of {README.name}")
        return
    import jax

    platform = jax.default_backend()
    if platform == "cpu":
        sys.exit("--accelerator needs a GPU or TPU that JAX can use; here it has only the CPU")
    tables = measure(JITTED, Effort())
    write(tables, record.RESULTS, f"overhead_{platform}", f"{COMMAND} --accelerator")


def measure(modules: Iterable[str], effort: Effort) -> list[Table]:
    """The tables of modules of this package, printed as they come.

    All modules are imported first: what is not installed is told before the time is spent.
    """
    found = []
    for module in [import_module(f"benchmarks.overhead.{name}") for name in modules]:
        tables = module.tables(effort)
        print(markdown(tables), end="\n\n", flush=True)
        found += tables
    return found


def write(tables: list[Table], folder: Path, name: str, command: str) -> None:
    """The numbers, and the figure of what was promised."""
    record.write(folder / f"{name}.json", command, PACKAGES, {"tables": plain(tables)})
    draw(tables, folder / f"{name}.png")
    print(f"written: {name}.json and {name}.png")


if __name__ == "__main__":
    main()
