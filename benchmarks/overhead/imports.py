"""What it takes to import rex_core and the adapters, after what they need."""

import os
import subprocess
import sys

from benchmarks.overhead.measure import Bound, Effort, Row, Table, in_turn, summarize

ROUNDS = 5
FIRST = {"rex_core": "numpy", "rex_optax": "jax, optax", "rex_torch": "torch", "rex_keras": "keras"}
PROGRAM = """
import sys
from importlib import import_module
from time import perf_counter

for group in sys.argv[1:]:
    began = perf_counter()
    for name in group.split(", "):
        import_module(name)
    print((perf_counter() - began) * 1e3)
"""


def tables(effort: Effort) -> list[Table]:
    """New processes, one for each package and round; the first, which may write caches, is left."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in FIRST}
    for name in FIRST:
        milliseconds(name)
    for name in in_turn(list(FIRST), effort.at_most(ROUNDS).rounds):
        times[name].append(milliseconds(name))
    limit = {"rex_core, after that": Bound(15, of="value")}
    rows: list[Row] = []
    for name, first in FIRST.items():
        before, own = zip(*times[name], strict=True)
        rows += summarize({first: before, f"{name}, after that": own}, limit)
    title = "One import. The import of an adapter includes rex_core's."
    return [Table(title, "import", "ms", rows)]


def milliseconds(name: str) -> tuple[float, float]:
    """The import of what a package needs, and then of the package, in a process of their own."""
    command = [sys.executable, "-c", PROGRAM, FIRST[name], name]
    # With the caches that an installed package has, also where this checkout is to have none.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    shown = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
    before, own = map(float, shown.split())
    return before, own
