"""How schedules are asked for their rates: as the training loops of their framework do it."""

import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Steps = NDArray[np.int64]
Rates = Callable[[Steps], NDArray[Any]]

BLOCK = 4096


def compiled(
    make: Callable[[int], Callable[[Any], Any]],
    double: bool,
    floats: Callable[[str], AbstractContextManager[None]] = lambda dtype: nullcontext(),
) -> Callable[[int], Rates]:
    """A function of the step count, jitted in float32 or float64: each count an int32 scalar."""
    import jax
    import jax.numpy as jnp

    def of(T: int) -> Rates:
        function = None

        def rates(steps: Steps) -> NDArray[Any]:
            nonlocal function
            # Always as many, so that a budget costs one compilation.
            blocks = np.resize(steps, (-(-len(steps) // BLOCK), BLOCK))
            with jax.enable_x64(double), floats("float64" if double else "float32"):
                if function is None:
                    function = jax.jit(jax.vmap(make(T)))
                values = [np.asarray(function(jnp.asarray(block, jnp.int32))) for block in blocks]
            return np.concatenate(values)[: len(steps)]

        return rates

    return of


def called(make: Callable[[int], Callable[[int], float]]) -> Callable[[int], Rates]:
    """A Python function of the step count, or what a scheduler calls for any step."""

    def of(T: int) -> Rates:
        function = make(T)
        return lambda steps: np.array([function(t) for t in steps.tolist()])

    return of


def stepped(make: Callable[[int], Any]) -> Callable[[int], Rates]:
    """A PyTorch scheduler, stepped after each update from the first to the last that is asked."""

    def of(T: int) -> Rates:
        seen: list[float] = []
        ahead = run(make(T))

        def rates(steps: Steps) -> NDArray[Any]:
            seen.extend(islice(ahead, max(0, int(steps.max()) + 1 - len(seen))))
            return np.array([seen[t] for t in steps.tolist()])

        return rates

    return of


def run(scheduler: Any) -> Iterator[float]:
    """The rates of one update after the other."""
    scheduler.optimizer.step()  # PyTorch warns of a scheduler that comes first.
    while True:
        yield rate(scheduler)
        scheduler.step()


def rate(scheduler: Any) -> float:
    """The rate that its optimizer has now."""
    return float(scheduler.optimizer.param_groups[0]["lr"])


def jumping(scheduler: Any) -> Callable[[int], float]:
    """`scheduler.step(t)`, which PyTorch deprecates, and which takes the closed form."""
    scheduler.optimizer.step()

    def jump(t: int) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            scheduler.step(t)
        return rate(scheduler)

    return jump


def optimizer() -> Any:
    """A PyTorch optimizer with a rate of 1."""
    import torch

    parameter = torch.nn.Parameter(torch.zeros(()))
    return torch.optim.SGD([parameter], lr=1.0, momentum=0.9)


def keras_on_jax() -> ModuleType:
    """Keras, if it runs on JAX."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    if keras.backend.backend() != "jax":
        raise ImportError("Keras is measured on JAX: set KERAS_BACKEND=jax")
    module: ModuleType = keras
    return module


@contextmanager
def keras_floats(dtype: str) -> Iterator[None]:
    """Keras with this default dtype."""
    keras = keras_on_jax()
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def timm_schedulers() -> ModuleType:
    """timm's schedulers alone: importing timm whole needs torchvision, and they do not."""
    if "timm" not in sys.modules:
        spec = importlib.util.find_spec("timm")
        if spec is None:
            raise ModuleNotFoundError("No module named 'timm'", name="timm")
        sys.modules["timm"] = importlib.util.module_from_spec(spec)  # Its path, and no more.
    import timm.scheduler

    # It says at T = 1 that it has no effect; what it does then is measured.
    logging.getLogger("timm").setLevel(logging.ERROR)
    module: ModuleType = timm.scheduler
    return module
