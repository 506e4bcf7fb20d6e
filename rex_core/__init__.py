"""Budget-aware schedules as pure functions of (t, T): a profile × a sampling, over a budget T.

After "REX: Revisiting Budgeted Training with an Improved Schedule", arXiv 2107.04197.
"""

from rex_core.budget import WallClock, total_steps
from rex_core.plateau import Plateau, PlateauState
from rex_core.presets import (
    delayed_linear,
    demon,
    one_cycle,
    step_decay,
    warmup_stable_decay,
)
from rex_core.profiles import (
    constant,
    cosine,
    exponential,
    linear,
    one_minus_sqrt,
    polynomial,
    rex,
    step,
)
from rex_core.replan import Replan
from rex_core.sampling import at, every, every_fraction, every_step
from rex_core.schedule import Join, Restarts, Schedule, bind
from rex_core.spec import from_dict, register, to_dict

__all__ = [
    "Join",
    "Plateau",
    "PlateauState",
    "Replan",
    "Restarts",
    "Schedule",
    "WallClock",
    "at",
    "bind",
    "constant",
    "cosine",
    "delayed_linear",
    "demon",
    "every",
    "every_fraction",
    "every_step",
    "exponential",
    "from_dict",
    "linear",
    "one_cycle",
    "one_minus_sqrt",
    "polynomial",
    "register",
    "rex",
    "step",
    "step_decay",
    "to_dict",
    "total_steps",
    "warmup_stable_decay",
]
