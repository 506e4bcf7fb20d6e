"""rex_core's schedules for optax and JAX.

Importing this package also registers pytrees: `rex_core.Schedule`, `Join`, `Restarts`, `Replan`,
`Product`, `Clamp`, `Pair` and bound functions. Their numbers are leaves.
"""

try:
    import jax as jax
    import optax as optax
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"rex_optax needs {error.name}: pip install 'rex-schedules[jax]'", name=error.name
    ) from error

from rex_optax import pytrees as pytrees
from rex_optax.gradient_norms import GradientNormsState, gradient_norms, record_gradient_norms
from rex_optax.rounding import (
    KahanState,
    StochasticRoundingState,
    kahan_summation,
    stochastic_rounding,
)
from rex_optax.schedules import BudgetedSchedule, BudgetedState, as_schedule
from rex_optax.states import replan, restart, resume

__all__ = [
    "BudgetedSchedule",
    "BudgetedState",
    "GradientNormsState",
    "KahanState",
    "StochasticRoundingState",
    "as_schedule",
    "gradient_norms",
    "kahan_summation",
    "record_gradient_norms",
    "replan",
    "restart",
    "resume",
    "stochastic_rounding",
]
