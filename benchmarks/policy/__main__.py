"""The command line: ``python -m benchmarks.policy run`` or ``report``."""

import argparse
import math
import sys
from pathlib import Path

from benchmarks.policy.plans import BUDGETS, FAMILIES, SEEDS, SETTINGS
from benchmarks.record import RESULTS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policy")
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="train what is not yet in the file of results")
    running.add_argument("settings", nargs="*", default=list(SETTINGS), help="names of settings")
    running.add_argument("--families", nargs="+", choices=[*FAMILIES], default=[*FAMILIES])
    running.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS), help="in updates")
    running.add_argument("--seeds", type=int, default=SEEDS)
    running.add_argument("--minutes", type=float, default=math.inf, help="begin nothing more then")
    reporting = commands.add_parser("report", help="the tables of the results")
    for command in (running, reporting):
        command.add_argument("--results", type=Path, default=RESULTS / "policy.jsonl")
    arguments = parser.parse_args()
    if arguments.command == "report":
        from benchmarks.policy.report import report

        report(arguments.results)
        return
    from benchmarks.policy.run import run

    complete = run(
        arguments.results,
        arguments.settings,
        arguments.families,
        arguments.budgets,
        arguments.seeds,
        arguments.minutes,
    )
    print("all done" if complete else "not all done: the same command goes on from here")
    sys.exit(not complete)


if __name__ == "__main__":
    main()
