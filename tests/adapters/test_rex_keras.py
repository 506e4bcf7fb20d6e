"""rex_keras on the backend that KERAS_BACKEND names; test_rex_keras_backends.py runs the others."""

import json
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from keras import ops
from rex_keras import BatchLearningRateScheduler, as_schedule, learning_rate_scheduler
from rex_keras.arrays import Array
from sklearn.datasets import load_digits

from rex_core import (
    Join,
    Replan,
    Restarts,
    Schedule,
    WallClock,
    bind,
    constant,
    cosine,
    demon,
    every_fraction,
    every_step,
    exponential,
    linear,
    one_cycle,
    one_minus_sqrt,
    polynomial,
    register,
    rex,
    step,
    to_dict,
    warmup_stable_decay,
)

# Keras reads its variables in a way that NumPy deprecates, at every save for one.
# Keras 3.9 does not end its thread where a fit is interrupted.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*CallbackList:pytest.PytestUnraisableExceptionWarning"),
]
several = pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="this Keras has no MultiOptimizer"
)

BACKEND = keras.backend.backend()
LARGEST = 2**31 - 1
LABEL = np.full((1, 1), -9, "float32")  # Further down than the probe ever gets.
RATE = Schedule(peak_value=0.1, end_value=0.001, init_value=0.01, warmup_steps=3)
SCHEDULES = {
    "warmup": RATE,
    "rex": rex,
    "beta": Schedule(bind(rex, beta=0.9), bind(every_fraction, fraction=0.3)),
    "step": Schedule(bind(step, milestones=(0.3, 0.6, 0.9)), peak_value=0.3),
    "wsd": warmup_stable_decay(0.1, warmup_ratio=0.1),
    "polynomial": Schedule(polynomial, warmup_ratio=0.2, warmup_profile=cosine),
    "exponential": Schedule(exponential, hold_ratio=1 / 3),
    "constant": Schedule(constant, peak_value=0.2),
    "join": Join([Schedule(linear), Restarts(Schedule(cosine), 2, peak_mult=0.5)], [0.4]),
    "replan": Replan(Schedule(cosine, bind(every_fraction, fraction=0.3), warmup_steps=2), 5, 30),
    "replanned cycles": Replan(Restarts(Schedule(polynomial), 3), 4, 50),
}
# Keras itself refuses any other number on torch.
STEPS_PER_EXECUTION = [1] if BACKEND == "torch" else [1, 4, 5]


def compiled(function):
    """As the backend compiles a train step (torch runs it eagerly)."""
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    return function


def values(schedule, steps):
    """A Keras schedule at many steps at once, compiled."""
    return ops.convert_to_numpy(compiled(schedule)(ops.convert_to_tensor(np.array(steps), "int32")))


def assert_close(actual, exact, ulps=10):
    """Within as many float32 ulp; rex_core's bound, 8, and the product and sum with the floor."""
    actual, exact = np.asarray(actual), np.asarray(exact)
    assert np.all(np.abs(actual - exact) <= ulps * np.spacing(np.abs(exact).astype(np.float32)))


def probe(optimizer, batches=12, **options):
    """A model in which batch i moves weight i, and by the applied rate: its gradient is 1."""
    kernel = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((batches,)), kernel])
    model.compile(optimizer, loss="mean_absolute_error", **options)
    return model


def fit(model, callbacks=(), *, epochs=3, initial_epoch=0, start=0, repeat=1):
    """Show the model its remaining batches, each as often as gradients are accumulated."""
    batches = model.input_shape[1]
    rows = np.repeat(np.eye(batches, dtype="float32")[start:], repeat, axis=0)
    model.fit(
        ((row[None], LABEL) for row in rows),
        steps_per_epoch=len(rows) // (epochs - initial_epoch),
        epochs=epochs,
        initial_epoch=initial_epoch,
        callbacks=list(callbacks),
        verbose=0,
        shuffle=False,
    )
    return model


def applied(model):
    return -model.get_weights()[0][:, 0]


def updates(model):
    return int(model.optimizer.iterations)


def expected(schedule, T, steps=None):
    return [schedule(t, T) for t in (range(T) if steps is None else steps)]


def python(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("steps_per_execution", STEPS_PER_EXECUTION)
def test_the_optimizer_applies_the_schedule(steps_per_execution):
    model = probe(
        keras.optimizers.SGD(as_schedule(RATE, 12)), steps_per_execution=steps_per_execution
    )
    assert_close(applied(fit(model, epochs=1)), expected(RATE, 12))
    assert updates(model) == 12


@pytest.mark.long
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_conformance_at_every_step(schedule):
    """Also before the first and after the last, where the schedule holds its value."""
    for T in (10, 99):
        steps = range(-2, T + 4)
        assert_close(values(as_schedule(schedule, T), steps), expected(schedule, T, steps))


@pytest.mark.long
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("T", [10**6, 2**24 + 3, LARGEST])
def test_long_runs_keep_their_digits(schedule, T):
    """Down to the last step: the optimizer's count never becomes a float."""
    middle = [i * T // 40 for i in range(41)]
    steps = [*range(20), *middle, *(T - i for i in range(20))]
    assert_close(values(as_schedule(schedule, T), steps), expected(schedule, T, steps))


def test_the_applied_rate_keeps_its_digits_at_the_end_of_the_longest_run():
    rate = Schedule(peak_value=0.1)
    model = probe(keras.optimizers.SGD(as_schedule(rate, LARGEST)))
    model.optimizer.iterations.assign(LARGEST - 12)
    fit(model)
    assert_close(applied(model), expected(rate, LARGEST, range(LARGEST - 12, LARGEST)))
    assert updates(model) == LARGEST


@pytest.mark.long
def test_exactly_zero_at_the_end_and_never_negative():
    """For most of these budgets a float32 1 - t/T is not 0 at t = T."""
    for profile in (rex, linear, cosine, one_minus_sqrt):
        for T in (3, 5, 6, 7, 9, 25, 49, 99, 107, 197, 309):
            left = values(as_schedule(profile, T), [T - 1, T, T + 1, 2 * T])
            assert left[0] > 0
            assert left[1:].tolist() == [0, 0, 0]


def test_boundaries_are_exact():
    """The new value at the boundary, not one step later; 0.7 of 10 is step 7."""
    halves = as_schedule(Schedule(bind(step, milestones=(0.7,), factor=0.5)), 10)
    assert values(halves, range(10)).tolist() == [1] * 7 + [0.5] * 3


def test_the_rate_has_32_bits_where_keras_has_16():
    floatx = keras.config.floatx()
    keras.config.set_floatx("bfloat16")
    try:
        for name in ("warmup", "beta", "wsd", "polynomial"):
            rates = values(as_schedule(SCHEDULES[name], 99), range(99))
            assert rates.dtype == np.float32
            assert_close(rates, expected(SCHEDULES[name], 99))
    finally:
        keras.config.set_floatx(floatx)


def test_python_numbers_in_python_float_out():
    schedule = as_schedule(RATE, 20)
    assert [schedule(t) for t in range(21)] == expected(RATE, 20, range(21))
    assert type(schedule(3)) is float


def test_gradient_accumulation():
    """Keras asks for a rate at each batch; t counts updates all the same."""
    rate = as_schedule(RATE, 12, gradient_accumulation_steps=3)
    model = probe(keras.optimizers.SGD(rate, gradient_accumulation_steps=3))
    assert_close(applied(fit(model, repeat=3)), expected(RATE, 12), ulps=12)
    assert updates(model) == 12
    model = probe(keras.optimizers.SGD(0.5, gradient_accumulation_steps=3))
    fit(model, [BatchLearningRateScheduler(RATE, 12)], repeat=3)
    assert_close(applied(model), expected(RATE, 12), ulps=12)


@pytest.mark.parametrize("wrap", [lambda o: o, keras.optimizers.LossScaleOptimizer])
def test_a_callback_sets_the_rate_of_each_batch(wrap):
    model = probe(wrap(keras.optimizers.SGD(0.5)))
    fit(model, [BatchLearningRateScheduler(RATE, 12)])
    assert_close(applied(model), expected(RATE, 12))


def test_a_callback_sets_the_rate_of_each_epoch():
    model = fit(probe(keras.optimizers.SGD(0.5)), [learning_rate_scheduler(RATE, 4)], epochs=4)
    assert_close(applied(model), np.repeat(expected(RATE, 4), 3))


def test_callbacks_resume():
    """By the epoch that `fit` counts, and by the updates that the optimizer has made."""
    for callback in (learning_rate_scheduler(RATE, 6), BatchLearningRateScheduler(RATE, 12)):
        whole = fit(probe(keras.optimizers.SGD(0.5)), [callback], epochs=6)
        model = probe(keras.optimizers.SGD(0.5))
        model.optimizer.iterations.assign(4)
        fit(model, [callback], epochs=6, initial_epoch=2, start=4)
        np.testing.assert_array_equal(applied(model)[:4], 0)
        np.testing.assert_array_equal(applied(model)[4:], applied(whole)[4:])


class Interruption(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("backup_first", [True, False])
def test_backup_and_restore(tmp_path, backup_first):
    """An interrupted run goes on where it stopped, in whatever order the callbacks stand."""

    def callbacks():
        both = [
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
            BatchLearningRateScheduler(RATE, 12),
        ]
        return both if backup_first else both[::-1]

    with pytest.raises(KeyboardInterrupt):
        fit(probe(keras.optimizers.SGD(0.5)), [*callbacks(), Interruption()])
    model = probe(keras.optimizers.SGD(0.5))
    fit(model, callbacks(), epochs=3, initial_epoch=2, start=8)
    assert_close(applied(model), expected(RATE, 12))


@several
def test_several_optimizers():
    optimizers = [keras.optimizers.SGD(0.5), keras.optimizers.SGD(0.5)]
    model = probe(keras.optimizers.MultiOptimizer(lambda variable: optimizers[1]))
    model.optimizer.build(model.trainable_variables)
    fit(model, [BatchLearningRateScheduler(RATE, 12)])
    assert_close(applied(model), expected(RATE, 12))


def digits():
    images, labels = load_digits(return_X_y=True)
    return (images[:640] / 16).astype("float32"), labels[:640].astype("int32")


def network(optimizer):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((64,)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss, metrics=["accuracy"])
    return model


def train(model, epochs, callbacks=(), initial_epoch=0):
    options = {"batch_size": 64, "shuffle": False, "verbose": 0}
    return model.fit(
        *digits(),
        epochs=epochs,
        initial_epoch=initial_epoch,
        callbacks=list(callbacks),
        **options,
    ).history


@pytest.mark.long
def test_a_network_learns_the_same_by_schedule_and_by_callback():
    one = network(keras.optimizers.SGD(as_schedule(Schedule(peak_value=0.3), 80), momentum=0.9))
    two = network(keras.optimizers.SGD(0.5, momentum=0.9))
    train(two, 8, [BatchLearningRateScheduler(Schedule(peak_value=0.3), 80)])
    assert train(one, 8)["accuracy"][-1] > 0.9
    for weights, same in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(weights, same, rtol=1e-3, atol=1e-5)


GO_ON = """
import runpy
import sys
import keras
import rex_keras

test = runpy.run_path(sys.argv[1])
model = keras.models.load_model(sys.argv[2])
test["train"](model, 4, initial_epoch=2)
model.save(sys.argv[2])
"""


@pytest.mark.long
def test_a_saved_model_goes_on_in_a_new_process(tmp_path):
    """Loaded in safe mode, at the right step: the uninterrupted run, bit for bit."""
    whole, half = (network(keras.optimizers.Adam(as_schedule(RATE, 40))) for _ in range(2))
    train(whole, 4)
    train(half, 2)
    half.save(tmp_path / "model.keras")
    python(GO_ON, __file__, tmp_path / "model.keras")
    resumed = keras.models.load_model(tmp_path / "model.keras")
    assert updates(resumed) == 40
    assert resumed.optimizer.learning_rate == np.float32(RATE.end_value)
    for weights, same in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, same)


def test_a_resumed_run_takes_a_longer_budget(tmp_path):
    """After compiling again; a compiled train step keeps the schedule it has seen."""
    model = probe(keras.optimizers.SGD(as_schedule(RATE, 6)))
    model.fit(np.eye(12)[:3], np.full((3, 1), -9.0), batch_size=1, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        each.optimizer.learning_rate = as_schedule(RATE, 12)
        each.compile(each.optimizer, loss=each.loss)
        fit(each, start=3)
        assert_close(applied(each), [*expected(RATE, 6)[:3], *expected(RATE, 12)[3:]])


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_serialisation(schedule):
    written = keras.optimizers.schedules.serialize(as_schedule(schedule, 99))
    read = keras.optimizers.schedules.deserialize(json.loads(json.dumps(written)))
    assert written["registered_name"] == "rex_keras>BudgetedSchedule"
    assert type(read) is type(as_schedule(schedule, 99))
    assert read.get_config() == as_schedule(schedule, 99).get_config()
    assert read.schedule == schedule


def test_serialisation_keeps_the_accumulation():
    config = as_schedule(RATE, 12, gradient_accumulation_steps=3).get_config()
    assert config == {
        "schedule": to_dict(RATE),
        "total_steps": 12,
        "gradient_accumulation_steps": 3,
        "first_step": 0,
    }
    assert as_schedule(RATE, 12).from_config(config)(35) == RATE(11, 12)


def test_data_names_functions_and_imports_nothing():
    config = as_schedule(RATE, 12).get_config()
    config["schedule"]["profile"] = {"function": "os.system"}
    with pytest.raises(ValueError, match=r"function must be one of rex, .*; got 'os.system'"):
        as_schedule(RATE, 12).from_config(config)


class Times(keras.callbacks.Callback):
    """When batches began, before their rate was set, and that rate."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.times, self.rates = clock, [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.times.append(self.clock.t)

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


@pytest.mark.long
def test_a_run_of_one_second():
    """Stopped half-way and begun again, with what it had left."""
    rate = Schedule(linear, peak_value=0.3, end_value=0.001)
    model = network(keras.optimizers.SGD(0.5, momentum=0.9))
    untrained, _ = model.evaluate(*digits(), verbose=0)
    train(model, 1)  # Compiled, for free.
    state = {"t": 0}
    for T in (0.5, 1):
        clock = WallClock(T)
        clock.load_state_dict(state)
        count, times = updates(model), Times(clock)
        before = time.monotonic()
        left = T - clock.t
        train(model, 10**6, [times, BatchLearningRateScheduler(rate, clock)])
        assert time.monotonic() - before >= left
        # Between a look at the clock and the next batch the time can be up, too.
        assert [state["t"], *times.times][-2] < T <= clock.t
        assert updates(model) == count + len(times.rates)
        for value, first, last in zip(
            times.rates, times.times, [*times.times[1:], clock.t], strict=True
        ):
            assert rate(last, T) * (1 - 1e-6) <= value <= rate(first, T) * (1 + 1e-6)
        state = clock.state_dict()
    assert model.evaluate(*digits(), verbose=0)[0] < untrained


@pytest.mark.long
def test_a_run_of_epochs_ends_on_time():
    model = network(keras.optimizers.SGD(0.5))
    train(model, 1)
    clock = WallClock(1)
    callback = learning_rate_scheduler(Schedule(linear, peak_value=0.25), clock)
    rates = train(model, 10**6, [callback])["learning_rate"]
    assert clock.t >= 1
    assert 0.25 > rates[0] >= rates[-1] >= 0
    assert len(rates) == 1 or rates[0] > rates[-1]  # On a slow machine an epoch takes all.
    assert rates == sorted(rates, reverse=True)


def test_a_clock_is_no_budget_of_a_compiled_schedule():
    with pytest.raises(ValueError, match=r"total_steps must be an integer .* got <WallClock"):
        as_schedule(RATE, WallClock(60))


@pytest.mark.parametrize("config", [{}, None, {"schedule": to_dict(RATE), "total_steps": 3}])
def test_a_config_has_what_was_written(config):
    names = "gradient_accumulation_steps, schedule, total_steps"
    with pytest.raises(ValueError, match=f"^config must have {names}; got "):
        as_schedule(RATE, 12).from_config(config)


MAKE = {
    "as_schedule": (as_schedule, "total_steps"),
    "BatchLearningRateScheduler": (BatchLearningRateScheduler, "total_steps"),
    "learning_rate_scheduler": (learning_rate_scheduler, "epochs"),
}


@pytest.mark.parametrize(("make", "name"), MAKE.values(), ids=MAKE)
@pytest.mark.parametrize(
    "budget", [0, -1, 2.5, 2**31, float("nan"), True, "9", None, [9], np.array([9, 9])]
)
def test_a_budget_is_a_positive_integer(make, name, budget):
    with pytest.raises(ValueError, match=rf"^{name} must be an integer in \[1, 2147483647\]; got "):
        make(RATE, budget)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX traces Python functions so")
@pytest.mark.parametrize(("make", "name"), MAKE.values(), ids=MAKE)
def test_a_traced_budget_is_refused(make, name):
    import jax

    with pytest.raises(ValueError, match=rf"^{name} must be an integer in .*, and known; got "):
        jax.jit(lambda T: make(RATE, T))(9)


@pytest.mark.parametrize("make", [as_schedule, BatchLearningRateScheduler])
@pytest.mark.parametrize("budget", [12.0, np.int64(12), np.array(12)])
def test_integers_of_other_types_are_budgets(make, budget):
    total_steps = make(RATE, budget).total_steps
    assert (total_steps, type(total_steps)) == (12, int)


@pytest.mark.parametrize(("make", "name"), MAKE.values(), ids=MAKE)
@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (one_cycle(0.1), r"one function of \(t, T\), for the rate: .* momentum"),
        (RATE(0, 9), r"a function of \(t, T\); got 0.01"),
        (lambda t: 0.1, r"a function of \(t, T\); got <function"),
        (Schedule, r"a function of \(t, T\); got <class"),
        (Schedule(warmup_steps=9), "must end before T, .*; got an end at 9 of T = 9"),
        (Schedule(peak_value=np.array([0.1, 0.2])), "one number at a step; got array"),
        (every_step, "must not be a sampling; got every_step"),
        (Schedule(end_value=-1.0), r"must be a finite number >= 0; got -0\."),
        (Join([Schedule(end_value=-0.5), Schedule()], [0.7]), r"a finite number >= 0; got -0\."),
        (lambda t, T: None if t else 0.1, "must be a finite number >= 0; got None"),
        (lambda t, T: float("nan") if t > 3 else 0.1, "must be a finite number >= 0; got nan"),
        (lambda t, T: "x", "must be a finite number >= 0; got 'x'"),
    ],
)
def test_what_is_no_schedule_of_the_budget_is_refused(make, name, schedule, message):
    with pytest.raises(ValueError, match=message):
        make(schedule, 9)


@register
def cut_off(t, T):
    """Of Python numbers only."""
    if t.__class__ is not int:
        raise ValueError("no tensors here")
    return 0.5


def test_a_function_of_numbers_only_is_refused_before_training():
    with pytest.raises(ValueError, match="no tensors here"):
        as_schedule(cut_off, 9)


def test_what_does_not_take_the_tensors_of_the_backend_is_refused_before_training():
    name = "jax.numpy" if BACKEND == "torch" else "torch"
    other = pytest.importorskip(name, reason=f"{name} is not installed beside {BACKEND}")
    with pytest.raises(ValueError, match="must be arrays of one library"):
        as_schedule(Schedule(peak_value=other.asarray(0.1)), 9)


def test_a_rate_out_of_range_that_was_not_tried_ends_training():
    T = 1_000_003
    callback = BatchLearningRateScheduler(lambda t, T: -0.5 if t == 5 else 0.1, T)
    model = probe(keras.optimizers.SGD(0.5))
    with pytest.raises(ValueError, match=r"each value of schedule must be .*; got -0\.5"):
        fit(model, [callback])
    assert updates(model) == 5


SETTINGS = {
    "Adam's beta_1": lambda it: keras.optimizers.Adam(0.1, beta_1=it),
    "Nadam's beta_1": lambda it: keras.optimizers.Nadam(0.1, beta_1=it),
    "Lion's beta_1": lambda it: keras.optimizers.Lion(0.1, beta_1=it),
    "RMSprop's momentum": lambda it: keras.optimizers.RMSprop(0.1, momentum=it),
    "AdamW's weight_decay": lambda it: keras.optimizers.AdamW(0.1, weight_decay=it),
    "EMA's momentum": lambda it: keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=it),
    "a norm": lambda it: keras.optimizers.SGD(0.1, clipnorm=it),
    "a scale": lambda it: keras.optimizers.SGD(0.1, loss_scale_factor=it),
}


@pytest.mark.parametrize("make", SETTINGS.values(), ids=SETTINGS)
def test_only_the_rate_can_have_a_schedule(make):
    with pytest.raises(ValueError, match=r"only learning_rate can have a schedule: .* got one of"):
        fit(probe(make(as_schedule(demon(), 12))))


def test_what_could_not_be_saved_is_refused_before_training():
    with pytest.raises(ValueError, match=r"a function must be registered, .* to be written"):
        as_schedule(Schedule(lambda t, T: 0.5), 9)


@pytest.mark.parametrize("steps", [0, 1.5, None])
def test_accumulation_is_a_positive_integer(steps):
    with pytest.raises(ValueError, match=r"^gradient_accumulation_steps must be an integer in "):
        as_schedule(RATE, 9, gradient_accumulation_steps=steps)


@pytest.mark.parametrize(
    "callback", [BatchLearningRateScheduler(RATE, 12), learning_rate_scheduler(RATE, 9)]
)
@pytest.mark.parametrize("rate", [as_schedule(RATE, 12), lambda: 0.1])
def test_a_callback_refuses_an_optimizer_that_holds_a_schedule(callback, rate):
    model = probe(keras.optimizers.SGD(rate))
    with pytest.raises(ValueError, match="learning_rate of the optimizer must be a number"):
        fit(model, [callback])
    assert updates(model) == 0


BOTH = {
    "per batch": lambda: BatchLearningRateScheduler(RATE, 12),
    "per epoch": lambda: learning_rate_scheduler(RATE, 12),
}


class Unused(keras.Sequential):
    """A model with a train step of its own, which does not use the optimizer that it got."""

    def train_step(self, *args):
        logs = {"loss": keras.ops.zeros(())}
        return (logs, *args[:1]) if BACKEND == "jax" else logs


@pytest.mark.parametrize("make", BOTH.values(), ids=BOTH)
@pytest.mark.parametrize("steps", [None, 3])
def test_a_callback_refuses_an_optimizer_that_is_not_applied(make, steps):
    model = Unused([keras.Input((12,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.5, gradient_accumulation_steps=steps)
    model.compile(optimizer, loss="mean_absolute_error")
    with pytest.raises(ValueError, match=rf"train step applies; .* in {steps or 1} batches"):
        fit(model, [make()])


@pytest.mark.parametrize("make", BOTH.values(), ids=BOTH)
def test_a_loss_scale_that_is_too_large_at_first_is_no_error(make):
    """The wrapper finds one in the first batches, without an update."""
    inner = keras.optimizers.SGD(0.5)
    model = probe(keras.optimizers.LossScaleOptimizer(inner, initial_scale=3e38))
    rows = 10 * np.eye(12, dtype="float32")
    model.fit(rows, np.repeat(LABEL, 12, 0), batch_size=1, callbacks=[make()], verbose=0)
    assert int(inner.iterations) == 8


@pytest.mark.parametrize("make", BOTH.values(), ids=BOTH)
def test_a_callback_refuses_a_model_without_an_optimizer(make):
    callback = make()
    callback.set_model(probe(None))
    with pytest.raises(ValueError, match=r"^optimizer must be given to compile"):
        callback.on_train_begin()


@pytest.mark.skipif(BACKEND == "torch", reason="Keras on torch has no steps_per_execution")
def test_a_callback_per_batch_refuses_several_steps_per_execution():
    model = probe(keras.optimizers.SGD(0.5), steps_per_execution=4)
    with pytest.raises(ValueError, match=r"^steps_per_execution must be 1 .*as_schedule.*; got 4"):
        fit(model, [BatchLearningRateScheduler(RATE, 12)])
    assert updates(model) == 0


@several
def test_a_callback_refuses_optimizers_that_are_not_there_yet():
    optimizer = keras.optimizers.MultiOptimizer(lambda variable: keras.optimizers.SGD(0.5))
    callback = BatchLearningRateScheduler(RATE, 12)
    callback.set_model(probe(optimizer))
    with pytest.raises(ValueError, match=r"^optimizer must know its optimizers"):
        callback.on_train_begin()


OPERATIONS = {
    "arithmetic": lambda t, xp: (1 - t / 7) * (t + 0.5) - 2 * (-t),
    "integers": lambda t, xp: (t // 3) * 10 + t % 3 + 100 // (1 + abs(t)),
    "powers": lambda t, xp: (1 + t * t) ** 0.5 + 2.0 ** (t / 9),
    "comparisons": lambda t, xp: xp.where((t >= 2) & (t != 3) | (t < -3), t, 9),
    "choices": lambda t, xp: xp.where(~(t > 2) ^ (t == 1), 1.5, xp.exp(t / 9)),
    "of NumPy's": lambda t, xp: np.float64(3) * t + np.float32(1) / (1 + t * t),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_arrays_calculate_as_numpy_does(operation):
    steps = np.arange(-5, 6)
    array = Array(ops.convert_to_tensor(steps))
    actual = operation(array, array.__array_namespace__())
    np.testing.assert_allclose(np.asarray(actual), operation(steps, np), rtol=1e-6)


@pytest.mark.skipif(BACKEND == "torch", reason="Keras runs torch without tracing")
def test_an_array_that_is_traced_has_no_truth():
    with pytest.raises(Exception, match=r"[Tt]rac|symbolic"):
        compiled(lambda t: 1 if Array(t) > 3 else 2)(ops.convert_to_tensor(5))


def test_the_module_of_arrays_is_no_package():
    assert not hasattr(sys.modules[Array.__module__], "__path__")


def test_without_keras_the_extra_is_named():
    code = "import sys; sys.modules['keras'] = None; import rex_keras"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "pip install 'rex-schedules[keras]'" in run.stderr


@pytest.mark.long
@pytest.mark.parametrize("version", ["2.15.0", "3.0.5", "3.8.0"])
def test_an_older_keras_is_refused_with_both_versions(version):
    code = f"import keras; keras.__version__ = '{version}'; import rex_keras"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert f"ImportError: rex_keras needs keras>=3.9; found {version}: pip install" in run.stderr
