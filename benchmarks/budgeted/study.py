"""The study: choose the rates, train the cells of every budget, on one machine or a Ray cluster."""

import math
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Literal

import joblib
from tqdm import tqdm

from benchmarks.budgeted.cells import (
    Cell,
    append_failure,
    best_rates,
    failures,
    read,
    results,
    run,
    updates_done,
)
from benchmarks.budgeted.optimizers import OPTIMIZERS, WITHOUT_MOMENTUM
from benchmarks.budgeted.schedules import STUDY
from benchmarks.budgeted.settings import load

Engine = Literal["local", "ray"]

# Apart from the seeds that are compared, which begin at 0.
FIRST_TUNING_SEED = 1000

_LOG_EVERY = 60  # seconds between two states of the progress bar in what is no terminal


def study(
    settings: Sequence[str],
    path: Path,
    *,
    optimizers: Sequence[str] | None = None,
    schedules: Sequence[str] = tuple(STUDY),
    percents: Sequence[float] | None = None,
    seeds: int = 3,
    tuning_seeds: int = 1,
    engine: Engine = "local",
    jobs: int | None = None,
    minutes: float = math.inf,
) -> bool:
    """Train what is not yet in the file of results.

    Args:
        settings: Names that `settings.load` knows.
        path: The file of results, which is appended to.
        optimizers: Names, or None for those of each setting.
        schedules: Names in `schedules.RULES`.
        percents: The budgets, or None for those of each setting.
        seeds: How many seeds are compared.
        tuning_seeds: How many others the rates are chosen on.
        engine: Processes on this machine, or a Ray cluster: the one that Ray finds (RAY_ADDRESS,
            or one running here), or a new one on this machine.
        jobs: Cells at the same time, -1 for one per core; 1 by default, and -1 with Ray.
        minutes: When to stop; the next run goes on from there.

    Returns:
        Whether all is done.
    """
    path = path.absolute()  # The processes of a cluster may run in other folders.
    deadline = time.time() + 60 * minutes
    tuning: dict[tuple[str, str], list[Cell]] = {}
    budgets: dict[str, Sequence[float]] = {}
    updates: dict[tuple[str, float], int] = {}
    broken: dict[str, str] = {}
    for name in settings:
        try:
            setting = load(name)
            if not setting.rates:
                raise ValueError(f"rates must be for some of {', '.join(OPTIMIZERS)}; got none")
        except Exception:  # Whatever it is, it is reported, and the other settings go on.
            broken[name] = traceback.format_exc()
            continue
        budgets[name] = [float(percent) for percent in percents or setting.percents]
        for percent in (*budgets[name], float(setting.tuned_at)):
            updates[name, percent] = setting.updates(percent)
        for optimizer, grid in setting.rates.items():
            if optimizers is not None and optimizer not in optimizers:
                continue
            names = tuple(s for s in schedules if _applies(s, optimizer))
            tuning[name, optimizer] = [
                Cell(
                    setting=name,
                    optimizer=optimizer,
                    purpose="tune",
                    percent=float(setting.tuned_at),
                    schedules=names,
                    rates=len(names) * (float(rate),),
                    seeds=tuple(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + tuning_seeds)),
                )
                for rate in grid
            ]

    def train(title: str, cells: Sequence[Cell]) -> None:
        done = results(path)
        left = [cell for cell in cells if cell not in done]
        if left:
            work = {cell: cell.lanes * updates[cell.setting, cell.percent] for cell in left}
            with _progress(title, work, path):
                _run(left, path, deadline, engine, jobs)

    train("choosing rates", list(chain.from_iterable(tuning.values())))
    done = results(path)
    comparing = []
    for (name, optimizer), cells in tuning.items():
        # All rates or none: every schedule is given the same effort.
        if all(cell in done for cell in cells):
            rates = best_rates(done[cell] for cell in cells)
            comparing += [
                Cell(
                    setting=name,
                    optimizer=optimizer,
                    purpose="compare",
                    percent=percent,
                    schedules=tuple(rates),
                    rates=tuple(rates.values()),
                    seeds=tuple(range(seeds)),
                )
                for percent in budgets[name]
            ]
    train("comparing", comparing)

    wanted = {*chain.from_iterable(tuning.values()), *comparing}
    left = wanted - results(path).keys()
    failed = broken | {str(cell): why for cell, why in failures(path).items() if cell in left}
    for what, why in failed.items():
        print(f"failed: {what}\n{why}", file=sys.stderr)
    untuned = len(comparing) < sum(len(budgets[name]) for name, _ in tuning)
    complete = not (left or broken or untuned)
    print("all done" if complete else "not all done: the same command goes on from here")
    return complete


def _applies(schedule: str, optimizer: str) -> bool:
    """Without momentum a constant rate with a schedule of it is no schedule."""
    return not (schedule == "Demon" and optimizer in WITHOUT_MOMENTUM)


def _run(
    cells: Sequence[Cell], path: Path, deadline: float, engine: Engine, jobs: int | None
) -> None:
    if engine == "ray":
        from ray.util.joblib import register_ray

        register_ray()
    backend = "ray" if engine == "ray" else "loky"
    count = jobs if jobs is not None else -1 if engine == "ray" else 1

    def together(some: Iterable[Cell]) -> None:
        tasks = (joblib.delayed(run)(cell, path, deadline) for cell in some)
        joblib.Parallel(batch_size=1, pre_dispatch="all")(tasks)

    before = _size(path)
    with joblib.parallel_config(backend, n_jobs=count):
        try:
            together(cells)
        except Exception:  # A worker was killed, and joblib gave up the cells of the others.
            traceback.print_exc()
            for cell in cells:
                if all(line["cell"] != cell for line in read(path, before)):
                    try:
                        together([cell])
                    except Exception:  # It is the one that its worker is killed by.
                        append_failure(path, cell)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _progress(title: str, work: Mapping[Cell, int], path: Path) -> Iterator[None]:
    """A bar in updates × lanes, which follows the files of the cells, whoever writes them."""
    over = threading.Event()
    terminal = sys.stderr.isatty()
    before = _size(path)

    def look() -> tuple[int, str]:
        done = {cell: cell.lanes * updates_done(path, cell) for cell in work}
        # Only then: a cell has its line before it loses its count.
        ended = {line["cell"] for line in read(path, before)} & work.keys()
        done |= {cell: work[cell] for cell in ended}
        return sum(done.values()), f"{len(ended)} of {len(work)} cells"

    def follow() -> None:
        waiting = True
        while waiting:
            waiting = not over.wait(1)
            done, cells = look()
            bar.initial = min(bar.initial, done)  # A killed run had done more than it had saved.
            bar.set_postfix_str(cells, refresh=False)
            # An update by 0 would end the time over which the next one is averaged.
            if done != bar.n:
                bar.update(done - bar.n)
            elif terminal:
                bar.refresh()

    with tqdm(
        desc=title,
        initial=look()[0],
        total=sum(work.values()),
        unit=" updates",
        unit_scale=True,
        miniters=0,
        mininterval=0 if terminal else _LOG_EVERY,
    ) as bar:
        follower = threading.Thread(target=follow)
        follower.start()
        try:
            yield
        finally:
            over.set()
            follower.join()
