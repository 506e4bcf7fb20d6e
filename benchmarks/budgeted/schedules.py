"""The schedules that are compared: the learning rate, as a share of its peak, and the momentum.

They are rex_core's, as the paper runs them: OneCycle moves the momentum against the rate, the
others leave it at 0.9.
"""

from rex_core import Schedule, constant, cosine, exponential, linear, one_cycle, rex, step_decay

Pair = tuple[Schedule, Schedule]

_MOMENTUM = Schedule(constant, peak_value=0.9)

SCHEDULES: dict[str, Pair] = {
    "REX": (Schedule(rex), _MOMENTUM),
    "linear": (Schedule(linear), _MOMENTUM),
    "cosine": (Schedule(cosine), _MOMENTUM),
    "step": (step_decay(), _MOMENTUM),
    "exponential": (Schedule(exponential), _MOMENTUM),
    "OneCycle": one_cycle(),
    "no schedule": (Schedule(constant), _MOMENTUM),
}
