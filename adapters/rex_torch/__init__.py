"""rex_core's schedules for PyTorch: any number in the parameter groups of an optimizer."""

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"rex_torch needs {error.name}: pip install 'rex-schedules[torch]'", name=error.name
    ) from error

from rex_core.adapting import pickled
from rex_torch.by_name import get_rex_schedule_with_warmup, schedule_lr
from rex_torch.gradient_norms import GradientNorms
from rex_torch.hyperparams import HyperparamScheduler
from rex_torch.lambda_lr import lambda_lr

__all__ = [
    "GradientNorms",
    "HyperparamScheduler",
    "get_rex_schedule_with_warmup",
    "lambda_lr",
    "schedule_lr",
]

# So a checkpoint with a schedule among its hyperparameters loads with weights_only=True.
torch.serialization.add_safe_globals([*pickled()])
