"""The command line: ``python -m benchmarks.theory``."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks import record
from benchmarks.budgeted.settings.digits import digits
from benchmarks.overhead.measure import Effort
from benchmarks.theory import claims, cost
from benchmarks.theory.report import PAGE, insert
from benchmarks.theory.sweep import sweep

COMMAND = "python -m benchmarks.theory"
PACKAGES = "rex-schedules", "numpy", "jax", "jaxlib", "optax", "flax", "torch", "scikit-learn"
BUDGETS = 70, 350, 1400
SEEDS = 40
# Steps of √2.
PEAKS: dict[str, tuple[float, ...]] = {
    "SGDM": tuple(0.05 * 2 ** (k / 2) for k in range(12)),
    "Adam": tuple(0.001 * 2 ** (k / 2) for k in range(14)),
}
NORMS = {"SGDM": "l2", "Adam": "l1"}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="What the theory says, beside what is measured on the digits."
    )
    parser.add_argument(
        "parts", nargs="*", choices=["sweeps", "cost"], help="what to measure anew; default: all"
    )
    parts = parser.parse_args().parts or ["sweeps", "cost"]
    path = record.RESULTS / "theory.json"
    results = record.read(path) if len(parts) == 1 and path.exists() else {}
    if "sweeps" in parts:
        results |= {"seeds": SEEDS, "peaks": PEAKS, **measure(BUDGETS, PEAKS, SEEDS)}
    if "cost" in parts:
        rows = cost.rows(Effort())
        results["cost"] = {name: [asdict(row) for row in group] for name, group in rows.items()}
        results["lengths"] = cost.lengths()
    about = {"command", "machine", "versions"}
    results = {key: found for key, found in results.items() if key not in about}
    record.write(path, COMMAND, PACKAGES, results)
    insert(record.read(path), PAGE)
    print(f"written: {path.name} and the tables of {PAGE.name}")


def measure(
    budgets: Sequence[int], peaks: Mapping[str, Sequence[float]], seeds: int
) -> dict[str, Any]:
    """The tables of `claims`."""
    setting = digits()
    found: dict[str, Any] = {"shapes": [], "with norms": [], "refined": []}
    for optimizer, norm in NORMS.items():
        linear = {"linear": claims.SCHEDULES["linear"]}
        sweeps = []
        for T in budgets:
            print(f"{optimizer}, {T} updates", flush=True)
            schedules = claims.SCHEDULES if optimizer == "SGDM" else linear
            old = sweep(setting, optimizer, schedules, T, peaks[optimizer], seeds, norm)
            profile = claims.refined(old, norm)
            refined = {claims.REFINED: profile}
            new = sweep(setting, optimizer, refined, T, peaks[optimizer], seeds, norm)
            found["refined"].append(claims.refinement(old, new, optimizer, norm, profile))
            sweeps.append(old)
        if optimizer == "SGDM":
            found["shapes"] = [row for each in sweeps for row in claims.shapes(each)]
            found["with norms"] = [claims.with_norms(each) for each in sweeps]
            found["budgets"] = claims.budgets(sweeps)
    return found


if __name__ == "__main__":
    main()
