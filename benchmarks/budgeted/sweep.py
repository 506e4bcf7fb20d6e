"""A sweep: all rates as lanes, under every budget, and the best of them for each schedule.

For a small network that is the whole study; `study` is for the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.budgeted.compilations import compilations
from benchmarks.budgeted.engine import programs
from benchmarks.budgeted.optimizers import OPTIMIZERS
from benchmarks.budgeted.schedules import Rule
from benchmarks.budgeted.setting import Setting
from benchmarks.statistics import Difference, paired

Floats = NDArray[np.float64]

_CHUNK = 20  # updates between two moves of the progress bar


@dataclass(frozen=True)
class Results:
    """What a sweep measured.

    Args:
        setting: What was trained.
        schedules: Their names.
        percents: The budgets, in percent of the full one.
        updates: The same budgets, in updates.
        rates: The grid of peak rates.
        seeds: The seeds.
        validation, test: Errors in [0, 1], of shape (budgets, seeds, rates, schedules).
        compilations: How often the training program was compiled, during each budget.
        seconds: The time it all took.
    """

    setting: Setting
    schedules: tuple[str, ...]
    percents: tuple[float, ...]
    updates: tuple[int, ...]
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    validation: Floats
    test: Floats
    compilations: tuple[int, ...]
    seconds: float

    @property
    def lanes(self) -> int:
        """The networks that are trained at once."""
        return len(self.seeds) * len(self.rates) * len(self.schedules)

    @property
    def chosen(self) -> NDArray[np.intp]:
        """The rate of least mean validation error, the first of equals: (budgets, schedules)."""
        best: NDArray[np.intp] = np.argmin(_mean_over_seeds(self.validation), axis=1)
        return best

    @property
    def errors(self) -> Floats:
        """The test errors with the chosen rates: (budgets, seeds, schedules)."""
        index = self.chosen[:, None, None, :]
        return np.take_along_axis(self.test, index, axis=2)[:, :, 0]

    @property
    def mean(self) -> Floats:
        """The mean over the seeds of the test error: (budgets, schedules)."""
        return _mean_over_seeds(self.errors)

    @property
    def deviation(self) -> Floats:
        """Its sample standard deviation: (budgets, schedules)."""
        return np.asarray(np.std(self.errors, axis=1, ddof=1))

    def against(self, name: str) -> list[list[Difference]]:
        """The paired differences of the test error to a schedule's: [budget][schedule]."""
        baseline = self.errors[:, :, self.schedules.index(name)]
        return [
            [paired(errors, base) for errors in of.T]
            for of, base in zip(self.errors, baseline, strict=True)
        ]


def run(
    setting: Setting,
    schedules: Mapping[str, Rule],
    percents: Sequence[float],
    rates: Sequence[float],
    seeds: Sequence[int],
) -> Results:
    """Train with every schedule, rate and seed under every budget; show the progress."""
    began = perf_counter()
    start, advance, measure, measure_test = programs(
        setting, OPTIMIZERS["SGDM"], list(schedules.values())
    )
    peaks = np.repeat(np.reshape(rates, (-1, 1)), len(schedules), axis=1)
    budgets = [setting.updates(percent) for percent in percents]
    validation, test, compiled = [], [], []
    with tqdm(total=sum(budgets), unit=" updates", mininterval=0.5) as bar:
        for percent, T in zip(percents, budgets, strict=True):
            bar.set_description(f"budget {percent:g} %")
            state = start(np.asarray(seeds), peaks)
            with compilations() as names:
                for t in range(0, T, _CHUNK):
                    until = min(t + _CHUNK, T)
                    state = advance(state, T, until)
                    state.t.block_until_ready()
                    bar.update(until - t)
            compiled.append(len(names))
            validation.append(measure(state))
            test.append(measure_test(state))
    return Results(
        setting=setting,
        schedules=tuple(schedules),
        percents=tuple(percents),
        updates=tuple(budgets),
        rates=tuple(rates),
        seeds=tuple(seeds),
        validation=np.asarray(validation, dtype=np.float64),
        test=np.asarray(test, dtype=np.float64),
        compilations=tuple(compiled),
        seconds=perf_counter() - began,
    )


def _mean_over_seeds(errors: Floats) -> Floats:
    """The mean, less the last digits: summed in another order, equal errors must stay equal."""
    return np.asarray(np.round(np.mean(errors, axis=1), 7))
