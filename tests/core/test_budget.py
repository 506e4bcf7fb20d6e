"""total_steps and WallClock by themselves; tests/conformance counts what the frameworks execute."""

import copy
import json
import pickle
import subprocess
import sys
import time
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rex_core import Schedule, WallClock, linear, to_dict, total_steps

EPOCHS = {"epochs": 2, "dataset_size": 10, "batch_size": 4}


@pytest.mark.parametrize(
    ("budget", "updates"),
    [
        (EPOCHS, 6),
        (EPOCHS | {"drop_last": True}, 4),
        (EPOCHS | {"accumulation": 2}, 4),
        (EPOCHS | {"accumulation": 100}, 2),
        (EPOCHS | {"world_size": 2}, 4),
        (EPOCHS | {"world_size": 2, "drop_last": True}, 2),
        (EPOCHS | {"world_size": 3, "accumulation": 2}, 2),
        (EPOCHS | {"epochs": 0.5}, 2),
        (EPOCHS | {"epochs": 1e-6}, 1),
        ({"epochs": 0.07, "dataset_size": 100, "batch_size": 1}, 7),
        ({"epochs": np.float32(0.07), "dataset_size": 100, "batch_size": 1}, 7),
        ({"epochs": 1 / 3, "dataset_size": 9, "batch_size": 1}, 3),
        ({"epochs": 1e6, "dataset_size": 1e6, "batch_size": 1}, 10**12),
        ({"samples": 10, "batch_size": 4}, 3),
        ({"samples": 10, "batch_size": 4, "drop_last": True}, 2),
        (
            {"samples": 10**30 + 1, "batch_size": 10, "accumulation": 10, "world_size": 10},
            10**27 + 1,
        ),
        ({"tokens": 2**40 + 1, "tokens_per_step": 2**20}, 2**20 + 1),
        ({"tokens": 2**40 + 1, "tokens_per_step": 2**20, "drop_last": True}, 2**20),
        ({"tokens": np.int64(9), "tokens_per_step": np.array(2)}, 5),
    ],
)
def test_total_steps(budget, updates):
    found = total_steps(**budget)
    assert (found, type(found)) == (updates, int)


COUNTS = st.integers(1, 50)


@given(st.fractions(Fraction(1, 100), 100, max_denominator=100), COUNTS, COUNTS, COUNTS, COUNTS)
def test_an_epoch_is_so_many_samples_and_epochs_are_exact(epochs, size, batch, n, world):
    how = {"batch_size": batch, "accumulation": n, "world_size": world}
    one = total_steps(samples=size, **how)
    assert one == len(range(0, size, batch * n * world))
    assert total_steps(epochs=float(epochs), dataset_size=size, **how) == ceil(epochs * one)
    assert total_steps(tokens=size, tokens_per_step=batch) == total_steps(
        samples=size, batch_size=batch
    )


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({}, "epochs, samples or tokens must be given, exactly one; got None"),
        ({"dataset_size": 9, "batch_size": 1}, "must be given, exactly one; got None"),
        (EPOCHS | {"samples": 9}, "must be given, exactly one; got epochs, samples"),
        ({"epochs": 2, "batch_size": 4}, "dataset_size must be given with epochs; got None"),
        ({"epochs": 2, "dataset_size": 4}, "batch_size must be given with epochs; got None"),
        ({"samples": 2}, "batch_size must be given with samples; got None"),
        ({"tokens": 2}, "tokens_per_step must be given with tokens; got None"),
        ({"tokens": 2, "batch_size": 2}, "batch_size must be left out with tokens; got 2"),
        (
            {"samples": 9, "batch_size": 4, "dataset_size": 5},
            "dataset_size must be left out with samples; got 5",
        ),
        (
            EPOCHS | {"tokens_per_step": 5},
            "tokens_per_step must be left out with epochs; got 5",
        ),
        (
            {"tokens": 9, "tokens_per_step": 2, "accumulation": 4},
            "accumulation must be left out with tokens: tokens_per_step counts .* got 4",
        ),
        (
            {"tokens": 9, "tokens_per_step": 2, "world_size": 8},
            "world_size must be left out with tokens: tokens_per_step counts .* got 8",
        ),
        (EPOCHS | {"epochs": 0}, r"epochs must be a finite number > 0; got 0"),
        (EPOCHS | {"epochs": float("nan")}, r"epochs must be a finite number > 0; got nan"),
        (EPOCHS | {"epochs": True}, r"epochs must be a finite number > 0; got True"),
        (EPOCHS | {"epochs": np.array([1, 2])}, r"epochs must be a finite number > 0; got array"),
        (EPOCHS | {"dataset_size": 0}, "dataset_size must be an integer >= 1; got 0"),
        (EPOCHS | {"batch_size": 2.5}, "batch_size must be an integer >= 1; got 2.5"),
        (EPOCHS | {"batch_size": "4"}, "batch_size must be an integer >= 1; got '4'"),
        (EPOCHS | {"accumulation": -1}, "accumulation must be an integer >= 1; got -1"),
        (EPOCHS | {"accumulation": None}, "accumulation must be an integer >= 1; got None"),
        (EPOCHS | {"world_size": float("inf")}, "world_size must be an integer >= 1; got inf"),
        (EPOCHS | {"drop_last": 1}, "drop_last must be True or False; got 1"),
        (
            EPOCHS | {"world_size": 3, "drop_last": True},
            "dataset_size must be >= 12, a full batch, if drop_last; got 10",
        ),
        (
            {"tokens": 9, "tokens_per_step": 10, "drop_last": True},
            "tokens must be >= 10, a full batch, if drop_last; got 9",
        ),
    ],
)
def test_total_steps_refuses(budget, message):
    with pytest.raises(ValueError, match=message):
        total_steps(**budget)


def test_arguments_are_named():
    with pytest.raises(TypeError):
        total_steps(10)


def test_a_clock_spends_the_time_that_passes():
    before = time.monotonic()
    clock = WallClock(3600)
    time.sleep(0.05)
    assert 0.05 <= clock.t <= time.monotonic() - before
    assert (clock.T, type(clock.T), type(clock.t)) == (3600.0, float, float)


def test_a_paused_clock_stands():
    clock = WallClock(3600)
    clock.pause()
    stopped = clock.t
    clock.pause()
    time.sleep(0.02)
    assert clock.t == stopped
    before = time.monotonic()
    clock.resume()
    clock.resume()
    time.sleep(0.02)
    assert stopped + 0.02 <= clock.t <= stopped + time.monotonic() - before


def test_paused_for_validation():
    clock = WallClock(3600)
    with clock.paused():
        stopped = clock.t
        with clock.paused():
            time.sleep(0.02)
        assert clock.t == stopped
    time.sleep(0.02)
    assert clock.t >= stopped + 0.02
    with pytest.raises(KeyError), clock.paused():
        raise KeyError
    running = clock.t
    time.sleep(0.02)
    assert clock.t >= running + 0.02
    clock.pause()
    with clock.paused():
        pass
    stopped = clock.t
    time.sleep(0.02)
    assert clock.t == stopped


def test_a_clock_goes_on_from_a_state():
    state = json.loads(json.dumps(WallClock(10).state_dict() | {"t": 7.5}))
    clock = WallClock(20)
    time.sleep(0.05)  # What came before the load is replaced.
    before = time.monotonic()
    clock.load_state_dict(state)
    time.sleep(0.02)
    assert 7.52 <= clock.t <= 7.5 + time.monotonic() - before
    assert clock.T == 20
    with clock.paused():
        clock.load_state_dict({"t": 3})
        time.sleep(0.02)
        assert clock.t == 3
        assert clock.state_dict() == {"t": 3.0}
    time.sleep(0.02)
    assert clock.t >= 3.02


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_copy_goes_on_by_itself(copied):
    clock = WallClock(10)
    clock.load_state_dict({"t": 4})
    other = copied(clock)
    clock.load_state_dict({"t": 0})
    time.sleep(0.02)
    assert 4.02 <= other.t < 10 == other.T
    other.pause()
    stopped = copied(other)
    time.sleep(0.02)
    assert stopped.t == other.t


STEP_BACK = """
import sys
import time
from rex_core import WallClock

clock = WallClock(10)
readings = []
for jump in (0, -1e9, 1e9, -1e9):
    time.time = lambda: jump
    time.time_ns = lambda: int(jump * 1e9)
    readings.append(clock.t)
    clock.pause()
    clock.resume()
    clock.load_state_dict(clock.state_dict())
readings.append(clock.t)
assert readings == sorted(readings) and readings[-1] < 10, readings
"""


def test_the_system_time_is_not_asked():
    """Set back or forward by decades in the child process, it moves no clock there."""
    run = subprocess.run([sys.executable, "-c", STEP_BACK], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_schedule_runs_on_time():
    clock = WallClock(0.2)
    clock.pause()
    rate = Schedule(linear, end_value=0.1, warmup_steps=0.1)
    values = []
    for t in (0, 0.05, 0.1, 0.15, 0.2, 5):
        clock.load_state_dict({"t": t})
        values.append(rate(clock.t, clock.T))
    assert values == pytest.approx([0, 0.5, 1, 0.55, 0.1, 0.1])
    assert values[-2:] == [0.1, 0.1]


@pytest.mark.parametrize(
    "seconds", [0, -1, float("nan"), float("inf"), "60", None, True, [60], np.array([6, 6])]
)
def test_seconds(seconds):
    with pytest.raises(ValueError, match=r"^seconds must be a finite number > 0; got "):
        WallClock(seconds)


def test_seconds_of_other_types():
    for seconds in (np.float32(2), np.int64(2), np.array(2.0)):
        assert (WallClock(seconds).T, type(WallClock(seconds).T)) == (2.0, float)


@pytest.mark.parametrize(
    "state", [{}, {"t": -1}, {"t": float("nan")}, {"t": "3"}, {"T": 3}, None, 3]
)
def test_a_state_that_is_none(state):
    clock = WallClock(10)
    clock.load_state_dict({"t": 4})
    with pytest.raises(ValueError, match=r"^state_dict\['t'\] must be a finite number >= 0; got "):
        clock.load_state_dict(state)
    assert clock.t >= 4


def test_a_clock_is_no_value():
    clock = WallClock(10)
    assert clock != WallClock(10)
    assert repr(clock).startswith("<WallClock: ")
    with pytest.raises(ValueError, match=r"must be registered, .* to be written; got <WallClock"):
        to_dict(clock)
    with pytest.raises(AttributeError):
        clock.T = 20
