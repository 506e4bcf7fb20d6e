"""rex_core's schedules for PyTorch: rate, momentum and weight decay of an optimizer."""

try:
    import torch as torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"rex_torch needs {error.name}: pip install 'rex-schedules[torch]'", name=error.name
    ) from error

from rex_torch.hyperparams import HyperparamScheduler
from rex_torch.lambda_lr import lambda_lr

__all__ = ["HyperparamScheduler", "lambda_lr"]
