"""Budgets that change in mid-run, in Keras: the applied rates are the pure function's."""

import keras
import numpy as np
import pytest
from rex_keras import BatchLearningRateScheduler, as_schedule, learning_rate_scheduler

from rex_core import Join, Replan, Schedule, WallClock, linear, one_minus_sqrt

# Keras reads its variables in a way that NumPy deprecates, at every save for one.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BATCHES = 40
LABEL = np.full((1, 1), -9, "float32")  # Further down than the weights ever get.
RATE = Schedule(peak_value=0.1, end_value=0.001, init_value=0.01, warmup_steps=6)
HELD = Schedule(one_minus_sqrt, peak_value=0.3, warmup_ratio=0.1, hold_ratio=0.5)
CHANGES = {
    "longer": (20, [(8, 38)]),
    "shorter": (38, [(10, 25)]),
    "inside warmup": (30, [(3, 38)]),
    "inside hold": (20, [(6, 38)]),
    "twice": (12, [(7, 30), (20, 26)]),
    "twice in a row": (12, [(7, 38), (7, 20)]),
}


def probe(rate):
    """A model in which batch i moves weight i, and by the applied rate: its gradient is 1."""
    kernel = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((BATCHES,)), kernel])
    model.compile(keras.optimizers.SGD(rate), loss="mean_absolute_error")
    return model


def fit(model, start, end, callbacks=()):
    """Show the model its batches from start up to end."""
    if start < end:
        rows = np.eye(BATCHES, dtype="float32")[start:end]
        model.fit(
            ((row[None], LABEL) for row in rows),
            steps_per_epoch=end - start,
            callbacks=list(callbacks),
            verbose=0,
            shuffle=False,
        )


class InTheStep:
    """A schedule in the optimizer; a new one is assigned to it, and the model compiled again."""

    def __init__(self, schedule, T):
        self.model = probe(as_schedule(schedule, T))

    def change(self, schedule, T):
        self.model.optimizer.learning_rate = as_schedule(schedule, T)
        self.model.compile(self.model.optimizer, loss=self.model.loss)

    def fit(self, start, end):
        fit(self.model, start, end)

    fit_beyond = fit


class InACallback:
    """A callback for each call of `fit`."""

    def __init__(self, schedule, T):
        self.model = probe(0.5)
        self.change(schedule, T)

    def change(self, schedule, T):
        self.callback = BatchLearningRateScheduler(schedule, T)

    def fit(self, start, end):
        fit(self.model, start, end, [self.callback])

    def fit_beyond(self, start, end):
        with pytest.warns(UserWarning, match=f"the schedule ends at step {start}, "):
            self.fit(start, end)


@pytest.mark.long
@pytest.mark.parametrize("kind", [InTheStep, InACallback])
@pytest.mark.parametrize(
    ("schedule", "case"), [(RATE, c) for c in CHANGES] + [(HELD, "inside hold")]
)
@pytest.mark.parametrize("stretch", [True, False], ids=["stretched", "the same curve"])
def test_every_update_has_its_rate(schedule, case, stretch, kind):
    T, changes = CHANGES[case]
    run = kind(schedule, T)
    expected, start = [], 0
    for t0, following in changes:
        run.fit(start, t0)
        expected += [schedule(t, T) for t in range(start, t0)]
        if stretch:
            schedule = Replan(schedule, t0, T)
        start, T = t0, following
        run.change(schedule, T)
    run.fit(start, T)
    run.fit_beyond(T, T + 2)
    expected += [schedule(t, T) for t in range(start, T + 2)]
    applied = -run.model.get_weights()[0][: T + 2, 0]
    np.testing.assert_allclose(applied, expected, rtol=2e-6, atol=1e-8)
    assert int(run.model.optimizer.iterations) == T + 2


def test_a_saved_model_has_its_replan(tmp_path):
    run = InTheStep(RATE, 20)
    run.fit(0, 8)
    plan = Replan(RATE, 8, 20)
    run.change(plan, 38)
    run.fit(8, 13)
    run.model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    fit(loaded, 13, 38)
    applied = -loaded.get_weights()[0][8:38, 0]
    expected = [plan(t, 38) for t in range(8, 38)]
    np.testing.assert_allclose(applied, expected, rtol=2e-6, atol=1e-8)


def test_epochs():
    plan = Replan(RATE, 7, 10)
    model = probe(0.5)
    ones = np.ones((1, BATCHES), "float32")
    callbacks = learning_rate_scheduler(RATE, 10), learning_rate_scheduler(plan, 14)
    fits = [
        model.fit(ones, LABEL, epochs=end, initial_epoch=start, callbacks=[callback], verbose=0)
        for start, end, callback in [(0, 7, callbacks[0]), (7, 14, callbacks[1])]
    ]
    rates = [rate for fit in fits for rate in fit.history["learning_rate"]]
    expected = [RATE(t, 10) for t in range(7)] + [plan(t, 14) for t in range(7, 14)]
    np.testing.assert_allclose(rates, expected, rtol=2e-6)


def test_a_clock_is_given_more_time():
    clock = WallClock(7200)
    clock.pause()
    clock.load_state_dict({"t": 4500.0})
    rate = Join([Schedule(peak_value=0.1), Schedule(linear, peak_value=0.2)], [0.5])
    model = probe(0.5)
    fit(model, 0, 1, [BatchLearningRateScheduler(Replan(rate, 1800, 3600), clock)])
    assert -model.get_weights()[0][0, 0] == pytest.approx(0.2 * 2700 / 5400, rel=1e-6)
