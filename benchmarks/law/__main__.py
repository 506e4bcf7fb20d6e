"""The command line: ``python -m benchmarks.law run`` or ``report``."""

import argparse
import math
import sys
from pathlib import Path

from benchmarks.record import RESULTS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.law")
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="train what is not yet in the file of results")
    running.add_argument("settings", nargs="*", help="names in plans.PLANS; default: all")
    running.add_argument("--budgets", nargs="+", type=int, help="in updates; default: the plan's")
    running.add_argument("--stages", nargs="+", choices=["coarse", "fine", "second"])
    running.add_argument("--minutes", type=float, default=math.inf, help="begin nothing more then")
    reporting = commands.add_parser("report", help="the tables and the picture of the results")
    for command in (running, reporting):
        command.add_argument("--results", type=Path, default=RESULTS / "law.jsonl")
    arguments = parser.parse_args()
    if arguments.command == "report":
        from benchmarks.law.report import report

        report(arguments.results)
        return

    from benchmarks.law.plans import CANDIDATES, PLANS
    from benchmarks.law.run import STAGES, run

    names = list(dict.fromkeys(plan.setting for plan in PLANS))
    unknown = [name for name in arguments.settings if name not in names]
    if unknown:
        parser.error(f"settings must be among {', '.join(names)}; got {', '.join(unknown)}")
    complete = run(
        [plan for plan in PLANS if plan.setting in (arguments.settings or names)],
        arguments.results,
        candidates=CANDIDATES,
        budgets=arguments.budgets,
        stages=arguments.stages or STAGES,
        minutes=arguments.minutes,
    )
    print("all done" if complete else "not all done: the same command goes on from here")
    sys.exit(not complete)


if __name__ == "__main__":
    main()
