"""A batch of `fit` in Keras, with the rate from different places."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from rex_keras import BatchLearningRateScheduler, as_schedule, learning_rate_scheduler

from benchmarks.overhead.measure import Effort, Table, compare
from rex_core import Schedule

BATCH, BATCHES = 32, 200
ROUNDS = 25
STEPS = 10_000_000
PEAK = 0.1
RATE = Schedule(peak_value=PEAK, end_value=0.001, warmup_steps=100)

# The rate of the optimizer, and the callbacks of fit; the first is the baseline of the others.
WAYS: dict[str, tuple[Any, list[Any]]] = {
    "a number, no callback": (PEAK, []),
    "a number, a callback that does nothing": (PEAK, [keras.callbacks.Callback()]),
    "Keras' cosine": (keras.optimizers.schedules.CosineDecay(PEAK, STEPS), []),
    "as_schedule": (as_schedule(RATE, STEPS), []),
    "Keras' LearningRateScheduler, per epoch": (
        PEAK,
        [keras.callbacks.LearningRateScheduler(lambda epoch, rate: RATE(epoch, STEPS))],
    ),
    "learning_rate_scheduler, per epoch": (PEAK, [learning_rate_scheduler(RATE, STEPS)]),
    "BatchLearningRateScheduler": (PEAK, [BatchLearningRateScheduler(RATE, STEPS)]),
}


def tables(effort: Effort) -> list[Table]:
    """An epoch of each in turn, divided by its batches."""
    batches = effort.of(BATCHES)
    rows = compare(
        {name: fit(rate, callbacks, batches) for name, (rate, callbacks) in WAYS.items()},
        1,
        effort.at_most(ROUNDS),
        per_second=1e6 / batches,
    )
    backend = keras.backend.backend()
    title = f"One batch of `fit` in Keras on {backend}, of a small network."
    return [Table(title, "fit", "µs", rows)]


def fit(rate: Any, callbacks: list[Any], batches: int) -> Callable[[], object]:
    """An epoch of training, of a model that is compiled now."""
    generator = np.random.default_rng(0)
    inputs = generator.random((batches * BATCH, 64), dtype=np.float32)
    labels = generator.integers(10, size=batches * BATCH)
    layers = [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss)

    def epoch() -> object:
        return model.fit(inputs, labels, batch_size=BATCH, callbacks=callbacks, verbose=0)

    epoch()
    return epoch
