"""Budgets: epochs, samples and tokens, counted in updates; seconds, counted by a clock."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rex_core.arrays import shown
from rex_core.boundary import meant
from rex_core.ranges import COUNT, NOT_NEGATIVE, POSITIVE, check_truth

# The dividend and the divisor for each unit of a budget.
_SIZES = {
    "epochs": ("dataset_size", "batch_size"),
    "samples": ("samples", "batch_size"),
    "tokens": ("tokens", "tokens_per_step"),
}


def total_steps(
    *,
    epochs: Any = None,
    samples: Any = None,
    tokens: Any = None,
    dataset_size: Any = None,
    batch_size: Any = None,
    tokens_per_step: Any = None,
    accumulation: Any = 1,
    world_size: Any = 1,
    drop_last: bool = False,
) -> int:
    """The number of optimizer updates in a budget of epochs, samples or tokens.

    ::

        batches = ⌈dataset_size / (batch_size · world_size)⌉    rounded down with drop_last
        updates = ⌈epochs · ⌈batches / accumulation⌉⌉

    The last batch of an epoch may be smaller, and the last accumulation may have fewer batches. The
    update is made all the same, as in Lightning, Hugging Face's `Trainer` and accelerate. Other
    training loops need another call:

    * Keras accumulates across epochs. So does a loop that counts the batches of all epochs. Do not
      give the accumulation to total_steps: ``total_steps(...) // accumulation``.
    * A loop with ``if (i + 1) % accumulation == 0`` makes no update of an incomplete accumulation
      at the end of an epoch. Do not give the accumulation to total_steps: ``epochs *
      (total_steps(epochs=1, ...) // accumulation)``.
    * A `DistributedSampler` pads by default, under Lightning too. With it and ``DataLoader(...,
      drop_last=True)``, give ``dataset_size=len(sampler)`` and no world_size. accelerate, `Trainer`
      and a sampler with drop_last repeat no sample. They count as above.

    A budget of samples is one epoch of so many samples. A budget of tokens is one epoch of so many
    tokens, in batches of tokens_per_step.

    Args:
        epochs: The budget in passes over the dataset, > 0. It may be a fraction: 0.7 of an epoch of
            10 updates is 7. Needs dataset_size and batch_size.
        samples: The budget in samples, an integer >= 1, over all processes. Needs batch_size.
        tokens: The budget in tokens, an integer >= 1. Needs tokens_per_step. Of the other arguments
            only drop_last may be given.
        dataset_size: The samples of an epoch, over all processes, an integer >= 1.
        batch_size: The samples of one batch of one process, an integer >= 1.
        tokens_per_step: The tokens of one update, in all its batches and processes, an integer >=
            1.
        accumulation: The batches whose gradients one update adds up, an integer >= 1.
        world_size: The processes that share the samples of an epoch, an integer >= 1.
        drop_last: Whether a last batch that is not full on every process is left out.

    Returns:
        The number, an int >= 1: the total_steps of a schedule that is read once per update.

    Raises:
        ValueError: Not exactly one of epochs, samples and tokens is given. An argument that it
            needs is missing. An argument contradicts it. A value is out of range. The budget has no
            update.

    >>> total_steps(epochs=90, dataset_size=1_281_167, batch_size=32, world_size=8)
    450450
    >>> total_steps(epochs=3, dataset_size=1000, batch_size=32, accumulation=5)
    21
    >>> total_steps(tokens=300_000_000_000, tokens_per_step=2**19)
    572205
    """
    values = {
        "epochs": epochs,
        "samples": samples,
        "tokens": tokens,
        "dataset_size": dataset_size,
        "batch_size": batch_size,
        "tokens_per_step": tokens_per_step,
    }
    given = [name for name in _SIZES if values[name] is not None]
    if len(given) != 1:
        found = ", ".join(given) or None
        raise ValueError(f"epochs, samples or tokens must be given, exactly one; got {found}")
    (unit,) = given
    size_name, batch_name = _SIZES[unit]
    for name, value in values.items():
        needed = name in (unit, size_name, batch_name)
        if needed is (value is None):
            verb = "given" if needed else "left out"
            raise ValueError(f"{name} must be {verb} with {unit}; got {shown(value)}")
    check_truth("drop_last", drop_last)
    accumulation = COUNT.count("accumulation", accumulation)
    world_size = COUNT.count("world_size", world_size)
    if unit == "tokens":
        for name, count in (("accumulation", accumulation), ("world_size", world_size)):
            if count != 1:
                raise ValueError(
                    f"{name} must be left out with tokens: tokens_per_step counts all of an "
                    f"update; got {count}"
                )
    size = COUNT.count(size_name, values[size_name])
    batch = COUNT.count(batch_name, values[batch_name]) * world_size
    batches = size // batch if drop_last else -(-size // batch)
    if batches == 0:
        raise ValueError(f"{size_name} must be >= {batch}, a full batch, if drop_last; got {size}")
    updates: int = -(-batches // accumulation)
    if unit != "epochs":
        return updates
    return math.ceil(meant(POSITIVE.single("epochs", epochs)) * updates)


class WallClock:
    """A budget of seconds: the pair (t, T) of a schedule that runs on time.

    t is the time since the clock was made, without its pauses. T is the budget::

        clock = WallClock(8 * 3600)
        while clock.t < clock.T:
            rate = schedule(clock.t, clock.T)
            ...

    The time counts from the line that makes the clock, compilation included. To leave compilation
    out, make the clock later, or pause it. The clock follows `time.monotonic`: a change of the
    system's time does not affect it. If a device works asynchronously, wait for its results before
    you read t. Where an adapter calls the schedule from Python, a clock may take the place of
    total_steps.

    Save ``clock.state_dict()`` in a checkpoint. A clock that loads it goes on from there, and the
    time between does not count. A pickled clock does the same. A clock that goes back to an earlier
    checkpoint gets back the time since then.

    Args:
        seconds: T, finite and > 0.

    Attributes:
        t: Seconds spent, a float >= 0; beyond T once the time is up.
        T: The budget in seconds, a float.

    Raises:
        ValueError: seconds is out of range.

    >>> from rex_core import Schedule
    >>> clock = WallClock(3600)
    >>> clock.T, clock.t < 60
    (3600.0, True)
    >>> rate = Schedule(peak_value=0.1, warmup_steps=300)  # seconds, as t
    >>> clock.load_state_dict({"t": 3600})
    >>> rate(clock.t, clock.T)
    0.0
    """

    __slots__ = ("_T", "_reading")

    def __init__(self, seconds: Any) -> None:
        self._T = float(POSITIVE.single("seconds", seconds))
        # Seconds spent, and since when the clock runs (None in a pause). One tuple, for threads.
        self._reading: tuple[float, float | None] = 0.0, time.monotonic()

    @property
    def t(self) -> float:
        """Seconds spent."""
        spent, since = self._reading
        return spent if since is None else spent + time.monotonic() - since

    @property
    def T(self) -> float:
        """The budget in seconds."""
        return self._T

    def pause(self) -> None:
        """Stop the clock, unless it is stopped."""
        self._reading = self.t, None

    def resume(self) -> None:
        """Let the clock go on, unless it runs."""
        spent, since = self._reading
        if since is None:
            self._reading = spent, time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock for a while, as for validation: ``with clock.paused():``.

        A clock that was stopped before stays stopped.
        """
        running = self._is_running()
        self.pause()
        try:
            yield
        finally:
            if running:
                self.resume()

    def state_dict(self) -> dict[str, float]:
        """The time spent, ``{"t": seconds}``, for a checkpoint."""
        return {"t": self.t}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Set the time spent to the time in a state. T stays, and a stopped clock stays stopped.

        Raises:
            ValueError: The state has no such time.
        """
        t = state_dict.get("t") if isinstance(state_dict, Mapping) else None
        spent = float(NOT_NEGATIVE.single("state_dict['t']", t))
        self._reading = spent, time.monotonic() if self._is_running() else None

    def _is_running(self) -> bool:
        return self._reading[1] is not None

    def __getstate__(self) -> tuple[float, float, bool]:
        # The reading of the monotonic clock means nothing after a boot, or on another machine.
        return self._T, self.t, self._is_running()

    def __setstate__(self, state: tuple[float, float, bool]) -> None:
        self._T, spent, running = state
        self._reading = spent, time.monotonic() if running else None

    def __repr__(self) -> str:
        return f"<WallClock: {self.t:.6g} of {self.T:.6g} seconds>"
