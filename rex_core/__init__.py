"""Budget-aware schedules as pure functions of (t, T): a profile × a sampling, over a budget T.

After "REX: Revisiting Budgeted Training with an Improved Schedule", arXiv 2107.04197.
"""

from rex_core.budget import WallClock, total_steps
from rex_core.compose import Clamp, Join, Product, Restarts
from rex_core.functions import bind
from rex_core.plateau import Plateau, PlateauState
from rex_core.presets import (
    OneCycle,
    Pair,
    delayed_linear,
    demon,
    falling_momentum,
    noam,
    one_cycle,
    range_test,
    step_decay,
    warmup_stable_decay,
)
from rex_core.profiles import (
    constant,
    cosine,
    exponential,
    geometric,
    interpolate,
    inverse_sqrt,
    linear,
    logarithmic,
    one_minus_sqrt,
    polynomial,
    rex,
    step,
    tanh,
)
from rex_core.replan import Replan
from rex_core.sampling import at, every, every_fraction, every_step
from rex_core.schedule import Schedule
from rex_core.spec import from_dict, register, to_dict
from rex_core.theory import best_peak, loss_bound, refine, transfer_peak

__version__ = "0.1.0"

__all__ = [
    "Clamp",
    "Join",
    "OneCycle",
    "Pair",
    "Plateau",
    "PlateauState",
    "Product",
    "Replan",
    "Restarts",
    "Schedule",
    "WallClock",
    "at",
    "best_peak",
    "bind",
    "constant",
    "cosine",
    "delayed_linear",
    "demon",
    "every",
    "every_fraction",
    "every_step",
    "exponential",
    "falling_momentum",
    "from_dict",
    "geometric",
    "interpolate",
    "inverse_sqrt",
    "linear",
    "logarithmic",
    "loss_bound",
    "noam",
    "one_cycle",
    "one_minus_sqrt",
    "polynomial",
    "range_test",
    "refine",
    "register",
    "rex",
    "step",
    "step_decay",
    "tanh",
    "to_dict",
    "total_steps",
    "transfer_peak",
    "warmup_stable_decay",
]
