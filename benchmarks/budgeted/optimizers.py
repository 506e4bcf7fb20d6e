"""The optimizers: functions of the rate and the momentum of an update, which may both be traced."""

from collections.abc import Callable
from typing import Any

import optax

Optimizer = Callable[[Any, Any], optax.GradientTransformation]

OPTIMIZERS: dict[str, Optimizer] = {
    "SGDM": lambda rate, momentum: optax.sgd(rate, momentum),
    "Adam": lambda rate, momentum: optax.adam(rate, b1=momentum),
    "AdamW": lambda rate, momentum: optax.adamw(rate, b1=momentum, b2=0.99, weight_decay=0.1),
    "GD": lambda rate, momentum: optax.sgd(rate),
}

# Those whose second argument is ignored.
WITHOUT_MOMENTUM = {"GD"}
