"""The command line: ``python -m benchmarks.budgeted demo``, ``study`` or ``report``."""

import argparse
import math
import sys
from pathlib import Path

from benchmarks.budgeted.demo import demo
from benchmarks.budgeted.optimizers import OPTIMIZERS
from benchmarks.budgeted.schedules import RULES, SAMPLED, STUDY
from benchmarks.record import RESULTS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.budgeted")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help=demo.__doc__)

    studying = commands.add_parser("study", help="train what is not yet in the file of results")
    studying.add_argument("settings", nargs="+", help="files in settings/, or a variant")
    studying.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS)
    studying.add_argument("--schedules", nargs="+", choices=RULES, default=tuple(STUDY))
    studying.add_argument(
        "--samplings", action="store_true", help="profiles × samplings, not the schedules"
    )
    studying.add_argument("--percents", nargs="+", type=float, help="budgets; default: setting's")
    studying.add_argument("--seeds", type=int, default=3)
    studying.add_argument("--tuning-seeds", type=int, default=1)
    studying.add_argument("--engine", choices=["local", "ray"], default="local")
    studying.add_argument("--jobs", type=int, help="cells at a time; default: 1, Ray's cores")
    studying.add_argument("--minutes", type=float, default=math.inf, help="stop then, to go on")

    reporting = commands.add_parser("report", help="tables and figures of the results")
    for command in (studying, reporting):
        command.add_argument("--results", type=Path, default=RESULTS / "budgeted.jsonl")

    arguments = parser.parse_args()
    if arguments.command == "demo":
        demo(RESULTS)
    elif arguments.command == "report":
        from benchmarks.budgeted.report import report

        report(arguments.results)
    else:
        from benchmarks.budgeted.settings import variants
        from benchmarks.budgeted.study import study

        complete = study(
            [name for file in arguments.settings for name in variants(file)],
            arguments.results,
            optimizers=arguments.optimizers,
            schedules=tuple(SAMPLED) if arguments.samplings else tuple(arguments.schedules),
            percents=arguments.percents,
            seeds=arguments.seeds,
            tuning_seeds=arguments.tuning_seeds,
            engine=arguments.engine,
            jobs=arguments.jobs,
            minutes=arguments.minutes,
        )
        sys.exit(not complete)


if __name__ == "__main__":
    main()
