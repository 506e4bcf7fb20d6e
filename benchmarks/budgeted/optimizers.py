"""The optimizers, as functions of the rate and the momentum of an update; both may be traced."""

from collections.abc import Callable
from typing import Any, NamedTuple

import optax


def _trained(state: Any, params: Any) -> Any:
    return params


class Optimizer(NamedTuple):
    """How weights are trained, and which weights are measured.

    Args:
        update: (rate, momentum) -> the transformation of an update.
        measured: (its state, the weights that are trained) -> the weights that are measured.
    """

    update: Callable[[Any, Any], optax.GradientTransformation]
    measured: Callable[[Any, Any], Any] = _trained


OPTIMIZERS: dict[str, Optimizer] = {
    "SGDM": Optimizer(lambda rate, momentum: optax.sgd(rate, momentum)),
    "Adam": Optimizer(lambda rate, momentum: optax.adam(rate, b1=momentum)),
    "AdamW": Optimizer(
        lambda rate, momentum: optax.adamw(rate, b1=momentum, b2=0.99, weight_decay=0.1)
    ),
    "GD": Optimizer(lambda rate, momentum: optax.sgd(rate)),
    # Peers of schedules. Schedule-Free is measured at its average; its b1 is no momentum.
    "Schedule-Free SGD": Optimizer(
        lambda rate, momentum: optax.contrib.schedule_free_sgd(rate, b1=0.9),
        optax.contrib.schedule_free_eval_params,
    ),
    "Schedule-Free Adam": Optimizer(
        lambda rate, momentum: optax.contrib.schedule_free_adamw(rate, b1=0.9),
        optax.contrib.schedule_free_eval_params,
    ),
    "Prodigy": Optimizer(
        lambda rate, momentum: optax.contrib.prodigy(rate, betas=(momentum, 0.999))
    ),
}

# Those whose second argument is ignored.
WITHOUT_MOMENTUM = {"GD", "Schedule-Free SGD", "Schedule-Free Adam"}
