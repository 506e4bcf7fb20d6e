"""The digits, trained with every schedule, peak and seed, and the norms of every gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray
from rex_optax import gradient_norms, record_gradient_norms
from scipy import stats

from benchmarks.budgeted.engine import programs
from benchmarks.budgeted.optimizers import OPTIMIZERS, Optimizer
from benchmarks.budgeted.schedules import Rule
from benchmarks.budgeted.setting import Setting
from rex_core import Schedule

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sweep:
    """What was measured at one budget.

    Args:
        schedules: The names of the schedules, all of the peak 1.
        peaks: The factors that they were trained with.
        loss: The loss on the training examples at the end, (seeds, peaks, schedules).
        validation, test: The errors at the end, likewise.
        norms: The norm of each gradient, float32, (seeds, peaks, schedules, T).
        distance: From the first weights to the last ones, (seeds, peaks, schedules).
    """

    schedules: tuple[str, ...]
    peaks: tuple[float, ...]
    loss: Floats
    validation: Floats
    test: Floats
    norms: Any
    distance: Floats

    @property
    def T(self) -> int:
        """The budget, in updates."""
        return int(self.norms.shape[-1])

    def best(self, schedule: str) -> int:
        """The place of the peak of least mean validation error, the middle one of equals."""
        means = np.round(self.validation.mean(axis=0)[:, self.place(schedule)], 7)
        equal = np.flatnonzero(means == means.min())
        return int(equal[len(equal) // 2])

    def tied(self, schedule: str) -> tuple[float, float]:
        """The least and the greatest peak that the seeds do not tell from the best.

        The mean validation error less that with the best peak, over paired seeds, is at most twice
        its standard error.
        """
        errors = self.validation[:, :, self.place(schedule)]
        more = errors - errors[:, [self.best(schedule)]]
        places = np.flatnonzero(more.mean(axis=0) <= 2 * stats.sem(more, axis=0))
        return self.peaks[places[0]], self.peaks[places[-1]]

    def place(self, schedule: str) -> int:
        """The place of a schedule in the arrays."""
        return self.schedules.index(schedule)

    def nearest(self, peak: float) -> int:
        """The place of the peak that is nearest, in logarithms."""
        return int(np.abs(np.log(np.array(self.peaks) / peak)).argmin())


def sweep(
    setting: Setting,
    optimizer: str,
    schedules: Mapping[str, Schedule],
    T: int,
    peaks: Sequence[float],
    seeds: int,
    norm: Any = "l2",
) -> Sweep:
    """Train with each schedule and peak, from the same weights and with the same batches."""

    def recording(rate: Any, momentum: Any) -> optax.GradientTransformation:
        return optax.chain(
            record_gradient_norms(T, norm=norm), OPTIMIZERS[optimizer].update(rate, momentum)
        )

    rules = [Rule(schedule) for schedule in schedules.values()]
    start, advance, validation, test = programs(setting, Optimizer(recording), rules)
    grid = np.repeat(np.reshape(peaks, (-1, 1)), len(schedules), axis=1)
    first = start(np.arange(seeds), grid)
    begin = jax.tree.map(jnp.copy, first.model.params)  # The other is given away.
    state = advance(first, T, T)
    shape = seeds, *grid.shape

    @jax.jit
    def losses(model: Any) -> jax.Array:
        key = jax.random.key(0)
        of = jax.vmap(lambda lane: setting.loss(lane, setting.train, key)[0])
        found: jax.Array = jax.lax.map(of, model)
        return found

    @jax.jit
    def distances(old: Any, new: Any) -> jax.Array:
        squares = [
            jnp.square(b - a).sum(axis=range(2, a.ndim))
            for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)
        ]
        distance: jax.Array = jnp.sqrt(jnp.sum(jnp.stack(squares), axis=0))
        return distance

    def array(values: Any, *more: int) -> Any:
        return np.asarray(values, np.float64).reshape(*shape, *more)

    return Sweep(
        schedules=tuple(schedules),
        peaks=tuple(map(float, peaks)),
        loss=array(losses(state.model)),
        validation=array(validation(state)),
        test=array(test(state)),
        norms=array(gradient_norms(state.trace), T).astype(np.float32),
        distance=array(distances(begin, state.model.params)),
    )
