"""What a fit says where it disagrees with its schedule; on every backend, as test_rex_keras.py."""

import re
import warnings

import keras
import numpy as np
import pytest
from rex_keras import (
    BatchLearningRateScheduler,
    RateLogger,
    as_schedule,
    learning_rate_scheduler,
)

from rex_core import Plateau, Schedule, WallClock, to_dict

# Keras reads its variables in a way that NumPy deprecates, at every save for one.
# Keras 3.9 does not end its thread where a fit is interrupted.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*CallbackList:pytest.PytestUnraisableExceptionWarning"),
]

BACKEND = keras.backend.backend()
RATE = Schedule(peak_value=0.1, end_value=0.001, init_value=0.01, warmup_steps=3)
FALL = Schedule(peak_value=0.1, end_value=0.001)
RATES = [RATE(t, 12) for t in range(12)]


def probe(optimizer, **options):
    """A model whose weight falls by the applied rate: its gradient is 1."""
    kernel = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), kernel])
    model.compile(optimizer, loss="mean_absolute_error", **options)
    return model


class Weights(keras.callbacks.Callback):
    """The first weight at the end of each batch."""

    def on_train_begin(self, logs=None):
        self.weights = [self.model.get_weights()[0].flat[0]]

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(self.model.get_weights()[0].flat[0])


def fit(model, callbacks=(), *, batches=4, epochs=3, initial_epoch=0, **options):
    """The rates that were applied."""
    weights = Weights()
    model.fit(
        np.ones((batches, 1), "float32"),
        np.full((batches, 1), -99, "float32"),
        batch_size=1,
        epochs=epochs,
        initial_epoch=initial_epoch,
        callbacks=[*callbacks, weights],
        verbose=0,
        **options,
    )
    return -np.diff(weights.weights)


def assert_applied(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


def sgd(rate=0.5, **options):
    return keras.optimizers.SGD(rate, **options)


def said(caught):
    """The texts of the warnings, without Keras's own."""
    return [str(each.message) for each in caught if each.category is UserWarning]


def batchwise(T=12, **options):
    return BatchLearningRateScheduler(RATE, T, **options)


# A second fit.

SECOND = (
    "this fit goes from step 12 to 24; the schedule ends at step 12, and its last rate holds from "
    "there. The optimizer counts on from fit to fit. For a new run over the schedule pass "
    "first_step=12, or compile with a new optimizer; "
)


def test_a_second_fit_by_batch_says_that_the_schedule_is_over():
    model = probe(sgd())
    assert_applied(fit(model, [batchwise()]), RATES)
    with pytest.warns(UserWarning, match=re.escape(SECOND)):
        assert_applied(fit(model, [batchwise()]), [RATE(12, 12)] * 12)


def test_a_second_fit_within_the_step_says_so_to_the_logger():
    model = probe(sgd(as_schedule(RATE, 12)))
    assert_applied(fit(model, [RateLogger()]), RATES)
    with pytest.warns(UserWarning, match=re.escape(SECOND)):
        assert_applied(fit(model, [RateLogger()]), [RATE(12, 12)] * 12)


def test_a_second_fit_begins_the_schedule_again_where_it_is_told():
    model = probe(sgd())
    fit(model, [batchwise()])
    assert_applied(fit(model, [batchwise(first_step=12)]), RATES)
    model.optimizer.learning_rate = as_schedule(RATE, 12, first_step=24)
    model.compile(model.optimizer, loss=model.loss)
    assert_applied(fit(model, [RateLogger()]), RATES)
    model.compile(sgd(as_schedule(RATE, 12)), loss=model.loss)
    assert_applied(fit(model, [RateLogger()]), RATES)


def test_a_second_fit_by_epoch():
    """It counts its epochs from 0 again, or goes on from initial_epoch."""
    model = probe(sgd())
    callback = learning_rate_scheduler(RATE, 4)
    by_epoch = np.repeat([RATE(t, 4) for t in range(4)], 4)
    for _ in range(2):
        assert_applied(fit(model, [callback], epochs=4), by_epoch)
    with pytest.warns(UserWarning, match=r"from epoch 4 to 8; .* ends at epoch 4.*first_epoch=4"):
        assert_applied(fit(model, [callback], epochs=8, initial_epoch=4), [0.001] * 16)
    callback = learning_rate_scheduler(RATE, 4, first_epoch=4)
    assert_applied(fit(model, [callback], epochs=8, initial_epoch=4), by_epoch)


def test_a_fit_longer_than_its_schedule():
    with pytest.warns(UserWarning, match=r"from step 0 to 12; the schedule ends at step 10, "):
        fit(probe(sgd()), [batchwise(10)])
    with pytest.warns(UserWarning, match=r"from step 0 to 12; the schedule ends at step 10, "):
        fit(probe(sgd(as_schedule(RATE, 10))), [RateLogger()])
    with pytest.warns(UserWarning, match=r"from epoch 0 to 5; the schedule ends at epoch 4, "):
        fit(probe(sgd()), [learning_rate_scheduler(RATE, 4)], epochs=5)


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_a_fit_of_unknown_length_that_begins_beyond_the_schedule():
    model = probe(sgd())
    fit(model, [batchwise()])
    data = ((np.ones((1, 1)), np.full((1, 1), -99)) for _ in range(3))
    with pytest.warns(
        UserWarning, match="from step 12 to an unknown one; the schedule ends at step"
    ):
        model.fit(data, callbacks=[batchwise()], verbose=0, shuffle=False)


def test_a_fit_that_begins_before_its_schedule():
    with pytest.warns(UserWarning, match="begins at step 0, before first_step=12; until then"):
        fit(probe(sgd()), [batchwise(first_step=12)])
    with pytest.warns(UserWarning, match="begins at epoch 0, before first_epoch=3; until then"):
        fit(probe(sgd()), [learning_rate_scheduler(RATE, 9, first_epoch=3)])


def test_accumulated_batches_are_no_updates():
    model = probe(sgd(gradient_accumulation_steps=4))
    fit(model, [batchwise(4)], epochs=4)
    with pytest.warns(UserWarning, match="from step 4 to 8"):
        fit(model, [batchwise(4)], epochs=4)
    wrapped = keras.optimizers.LossScaleOptimizer(sgd(gradient_accumulation_steps=4))
    fit(probe(wrapped), [batchwise(4)], epochs=4)


@pytest.mark.parametrize("wrap", [lambda it: it, keras.optimizers.LossScaleOptimizer])
def test_two_counts_of_accumulated_batches_are_refused(wrap):
    rate = as_schedule(RATE, 12)
    model = probe(wrap(sgd(rate, gradient_accumulation_steps=4)))
    message = "gradient_accumulation_steps of as_schedule must be the optimizer's, 4 in .*; got 1"
    with pytest.raises(ValueError, match=message):
        fit(model, [RateLogger()])


def test_a_clock_that_is_up():
    clock = WallClock(1)
    clock.load_state_dict({"t": 2.0})
    make = BatchLearningRateScheduler, learning_rate_scheduler
    for callback in (each(FALL, clock) for each in make):
        with pytest.warns(UserWarning, match=r"WallClock: 2.* of 1 seconds> was up before this "):
            fit(probe(sgd()), [callback])


def test_a_fit_in_parts_says_nothing(tmp_path):
    """By initial_epoch, from a saved model, and with what BackupAndRestore brings."""
    model = probe(sgd())
    callbacks = [batchwise(), learning_rate_scheduler(FALL, 3)]
    for callback in callbacks:
        model.compile(sgd(), loss=model.loss)
        for epoch in range(3):
            fit(model, [callback], epochs=epoch + 1, initial_epoch=epoch)
    model = probe(sgd(as_schedule(RATE, 12)))
    fit(model, [RateLogger()], epochs=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_applied(fit(loaded, [RateLogger()], initial_epoch=2), RATES[8:])


class Interruption(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("make", [batchwise, lambda: learning_rate_scheduler(FALL, 3)])
@pytest.mark.parametrize("backup_first", [True, False])
def test_a_restored_fit_says_nothing(tmp_path, make, backup_first):
    def callbacks():
        both = [keras.callbacks.BackupAndRestore(tmp_path / "backup"), make()]
        return both if backup_first else both[::-1]

    with pytest.raises(KeyboardInterrupt):
        fit(probe(sgd()), [*callbacks(), Interruption()])
    expected = RATES[8:] if isinstance(make(), BatchLearningRateScheduler) else [FALL(2, 3)] * 4
    assert_applied(fit(probe(sgd()), callbacks()), expected)


MAKE = {
    "first_step": [
        lambda first: as_schedule(RATE, 12, first_step=first),
        lambda first: BatchLearningRateScheduler(RATE, 12, first_step=first),
    ],
    "first_epoch": [lambda first: learning_rate_scheduler(RATE, 12, first_epoch=first)],
}


@pytest.mark.parametrize(("name", "make"), [(n, m) for n, each in MAKE.items() for m in each])
@pytest.mark.parametrize("first", [-1, 2.5, 2**31, float("nan"), True, "9", None, [9]])
def test_a_first_step_is_an_integer(name, make, first):
    with pytest.raises(ValueError, match=rf"^{name} must be an integer in \[0, 2147483647\]; got "):
        make(first)


def test_a_clock_has_a_start_of_its_own():
    with pytest.raises(ValueError, match=r"^first_step must be 0 beside a WallClock; got 3"):
        batchwise(WallClock(9), first_step=3)
    with pytest.raises(ValueError, match=r"^first_epoch must be 0 beside a WallClock; got 3"):
        learning_rate_scheduler(RATE, WallClock(9), first_epoch=3)


def test_a_first_step_is_saved(tmp_path):
    rate = as_schedule(RATE, 12, first_step=12, gradient_accumulation_steps=2)
    config = rate.get_config()
    assert config == {
        "schedule": to_dict(RATE),
        "total_steps": 12,
        "gradient_accumulation_steps": 2,
        "first_step": 12,
    }
    assert rate.from_config(config).get_config() == config
    assert rate(2 * 17) == RATE(5, 12)
    model = probe(sgd(as_schedule(RATE, 12, first_step=4)))
    model.optimizer.iterations.assign(4)
    fit(model, epochs=1)
    model.save(tmp_path / "model.keras")
    assert_applied(fit(keras.models.load_model(tmp_path / "model.keras"), epochs=2), RATES[4:])


def test_a_config_from_before_there_was_a_first_step():
    config = as_schedule(RATE, 12).get_config()
    del config["first_step"]
    assert as_schedule(RATE, 12).from_config(config).first_step == 0


# A second controller.


class Assignment(keras.callbacks.Callback):
    """The user's own line, at the end of one batch."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            self.model.optimizer.learning_rate = 0.06


def plateau():
    return keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)


OTHERS = {
    "plateau": plateau,
    "assignment": Assignment,
    "keras's": lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.05),
    "ours by batch": lambda: BatchLearningRateScheduler(lambda t, T: 0.3, 12),
    "ours by epoch": lambda: learning_rate_scheduler(lambda t, T: 0.2, 3),
}
OURS = {"by batch": batchwise, "by epoch": lambda: learning_rate_scheduler(FALL, 3)}


@pytest.mark.parametrize("ours", OURS.values(), ids=OURS)
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("ours_first", [True, False])
def test_another_controller_of_the_rate_is_named(ours, other, ours_first):
    both = [ours(), other()]
    with pytest.warns(UserWarning, match=r"learning_rate of .* is .*, and .* had set ") as caught:
        fit(probe(sgd()), both if ours_first else both[::-1])
    assert "rex_core.Plateau" in said(caught)[0]
    assert len(said(caught)) <= sum("rex_keras" in type(each).__module__ for each in both)


def test_the_warning_has_both_rates():
    message = f"is 0.06, and the schedule had set {RATE(1, 12):.6g}: another"
    with pytest.warns(UserWarning, match=re.escape(message)) as caught:
        fit(probe(sgd()), [batchwise(), Assignment()])
    assert len(said(caught)) == 1


def test_the_next_fit_warns_again():
    callback = batchwise(24)
    model = probe(sgd())
    for _ in range(2):
        with pytest.warns(UserWarning, match="had set") as caught:
            fit(model, [callback, Assignment()])
        assert len(said(caught)) == 1


@pytest.mark.parametrize("anew", [False, True], ids=["one callback", "two"])
@pytest.mark.parametrize("ours", OURS.values(), ids=OURS)
def test_a_rate_between_fits_is_named(ours, anew):
    model = probe(sgd())
    callback = ours()
    fit(model, [callback], epochs=1)
    before = model.optimizer.learning_rate
    message = f"is 0.3, and the schedule had set {float(before):.6g}: another"
    model.optimizer.learning_rate = 0.3
    with pytest.warns(UserWarning, match=re.escape(message)) as caught:
        fit(model, [ours() if anew else callback], epochs=3, initial_epoch=1)
    assert len(said(caught)) == 1


def test_a_rate_of_another_fit_is_no_second_controller():
    model = probe(sgd())
    fit(model, [batchwise()], epochs=1)
    model.optimizer.learning_rate = 0.3
    fit(model, epochs=1)
    assert_applied(fit(model, [batchwise()], epochs=3, initial_epoch=2), RATES[8:])


def test_a_restored_rate_is_no_second_controller():
    model = probe(sgd())
    fit(model, [batchwise()], epochs=1)
    saved = [np.array(each) for each in model.optimizer.variables]
    fit(model, [batchwise()], epochs=2, initial_epoch=1)
    for each, value in zip(model.optimizer.variables, saved, strict=True):
        each.assign(value)
    assert_applied(fit(model, [batchwise()], epochs=3, initial_epoch=1), RATES[4:])


@pytest.mark.parametrize("floatx", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("ours", OURS.values(), ids=OURS)
def test_rounding_is_no_second_controller(floatx, ours):
    before = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        fit(probe(sgd()), [ours()])
    finally:
        keras.config.set_floatx(before)


@pytest.mark.parametrize("rate", [1e-7, 1e-30, 1e-42, 0.0])
def test_a_rate_near_zero_is_no_second_controller(rate):
    fit(probe(sgd()), [BatchLearningRateScheduler(lambda t, T: rate, 12)])


def test_a_schedule_in_the_step_cannot_be_overwritten():
    model = probe(sgd(as_schedule(RATE, 12)))
    with pytest.raises(TypeError, match="not settable"):
        fit(model, [plateau()])


class Best(keras.callbacks.Callback):
    """rex_core's plateau, fed with the loss."""

    def __init__(self):
        super().__init__()
        self.plateau = Plateau(factor=0.5, patience=0, threshold=1e9)
        self.state = self.plateau.init()

    def on_epoch_end(self, epoch, logs=None):
        self.state = self.plateau.update(self.state, logs["loss"])


@pytest.mark.parametrize("ours_first", [True, False])
def test_a_plateau_that_is_multiplied_in(ours_first):
    best = Best()
    both = [BatchLearningRateScheduler(lambda t, T: RATE(t, T) * best.state.scale, 12), best]
    scales = np.repeat([1, 0.5, 0.25], 4)
    rates = fit(probe(sgd()), both if ours_first else both[::-1])
    assert best.state.scale < 1
    assert_applied(rates, RATES * scales)


# Optimizers that differ, and the logs.

several = pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="this Keras has no MultiOptimizer"
)


def two_optimizers(rates, **options):
    """A model whose two layers have an optimizer each."""
    layers = [keras.layers.Dense(2, name="encoder"), keras.layers.Dense(1, name="head")]
    model = keras.Sequential([keras.Input((1,)), *layers])
    encoder, head = (sgd(rate, **options) for rate in rates)
    optimizer = keras.optimizers.MultiOptimizer(
        lambda variable: encoder if "encoder" in variable.path else head
    )
    model.compile(optimizer, loss="mean_absolute_error")
    optimizer.build(model.trainable_variables)
    return model


@several
@pytest.mark.parametrize("ours", OURS.values(), ids=OURS)
@pytest.mark.parametrize("rates", [(0.01, 0.1), (0.0, 0.1)])
@pytest.mark.parametrize("options", [{}, {"name": "same"}], ids=["", "of one name"])
def test_optimizers_that_differ_on_purpose_are_not_flattened(ours, rates, options):
    model = two_optimizers(rates, **options)
    with pytest.raises(ValueError, match=r"^learning_rate must be the same in all optimizers .*as"):
        fit(model, [ours()])
    assert [float(each.learning_rate) for each in model.optimizer.optimizers] == [
        np.float32(rate) for rate in rates
    ]


@several
def test_each_optimizer_has_a_schedule():
    model = two_optimizers([as_schedule(RATE, 12), as_schedule(Schedule(), 10)])
    with pytest.warns(UserWarning, match="the schedule ends at step 10") as caught:
        fit(model, [RateLogger()])
    assert len(said(caught)) == 1
    logged = [values[-1] for name, values in model.history.history.items() if "rate" in name]
    np.testing.assert_allclose(logged, [RATE(12, 12), 0], rtol=1e-6)


def test_the_logger_logs_what_is_in_force():
    for model, callbacks in (
        (probe(sgd(as_schedule(RATE, 12))), []),
        (probe(keras.optimizers.LossScaleOptimizer(sgd(as_schedule(RATE, 12)))), []),
        (probe(sgd(keras.optimizers.schedules.ExponentialDecay(0.1, 4, 0.5))), []),
        (probe(sgd(0.25)), []),
        (probe(sgd()), [batchwise()]),
    ):
        fit(model, [*callbacks, RateLogger()])
        rates = model.history.history["learning_rate"]
        assert len(rates) == 3
        assert rates[-1] == pytest.approx(float(model.optimizer.learning_rate))


def test_nothing_is_said_of_a_schedule_that_fits():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(probe(sgd(as_schedule(RATE, 12))), [RateLogger()])
        fit(probe(sgd()), [batchwise()])
        fit(probe(sgd()), [learning_rate_scheduler(FALL, 3)])


def test_an_optimizer_that_is_replaced_begins_the_schedule():
    model = probe(sgd())
    fit(model, [batchwise()])
    model.compile(sgd(), loss=model.loss)
    assert_applied(fit(model, [batchwise()]), RATES)
