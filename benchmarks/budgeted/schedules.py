"""The schedules that are compared: the learning rate, as a share of its peak, and the momentum.

They are rex_core's, as the paper runs them: OneCycle moves the momentum against the rate, Demon
lets it decay at a constant rate, the others leave it at 0.9.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from rex_core import (
    Plateau,
    Product,
    Schedule,
    at,
    bind,
    constant,
    cosine,
    delayed_linear,
    demon,
    every_fraction,
    every_step,
    exponential,
    falling_momentum,
    linear,
    one_cycle,
    rex,
    step_decay,
    warmup_stable_decay,
)

Function = Callable[..., Any]

_MOMENTUM = Schedule(constant, peak_value=0.9)


class Rule(NamedTuple):
    """What sets an update's rate and momentum (Adam's b1); a plateau scales the rate."""

    rate: Schedule | Product
    momentum: Schedule = _MOMENTUM
    plateau: Plateau | None = None


# Those of the paper that need no metric.
SCHEDULES: dict[str, Rule] = {
    "REX": Rule(Schedule(rex)),
    "linear": Rule(Schedule(linear)),
    "cosine": Rule(Schedule(cosine)),
    "step": Rule(step_decay()),
    "exponential": Rule(Schedule(exponential)),
    "OneCycle": Rule(*one_cycle()),
    "no schedule": Rule(Schedule(constant)),
}

# Those of the demo.
DEMO = SCHEDULES | {"falling momentum": Rule(*falling_momentum())}

# The plateau sees the validation metric once per epoch; the paper tunes its patience in multiples
# of 5 epochs, and here every schedule gets the same effort: its rate.
PATIENCE = 5

# Those of the study.
STUDY: dict[str, Rule] = SCHEDULES | {
    "plateau": Rule(Schedule(constant), plateau=Plateau(patience=PATIENCE)),
    "linear delayed 50 %": Rule(delayed_linear(delay=0.5)),
    "linear delayed 75 %": Rule(delayed_linear(delay=0.75)),
    "warmup-stable-decay": Rule(warmup_stable_decay()),
    "REX, β 0.9": Rule(Schedule(bind(rex, beta=0.9))),
    "Demon": Rule(Schedule(constant), demon()),
}

PROFILES: dict[str, Function] = {
    # "A tuned exponential", says the paper: the one that has fallen to step's 0.1 at 50 %.
    "step": bind(exponential, gamma=2 * math.log(10)),
    "linear": linear,
    "REX": rex,
}

SAMPLINGS: dict[str, Function] = {
    "50-75": bind(at, milestones=(0.5, 0.75)),
    "33-66": bind(at, milestones=(0.33, 0.66)),
    "25-50-75": bind(at, milestones=(0.25, 0.5, 0.75)),
    "every 10 %": bind(every_fraction, fraction=0.1),
    "every 5 %": bind(every_fraction, fraction=0.05),
    "every 1 %": bind(every_fraction, fraction=0.01),
    "every iteration": every_step,
}

# The paper's Table 2.
SAMPLED: dict[str, Rule] = {
    f"{profile} × {sampling}": Rule(Schedule(PROFILES[profile], SAMPLINGS[sampling]))
    for profile in PROFILES
    for sampling in SAMPLINGS
}

RULES = STUDY | SAMPLED
