"""rex_core's schedules for Keras 3, on JAX, PyTorch and TensorFlow."""

try:
    import keras as keras
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"rex_keras needs {error.name}: pip install 'rex-schedules[keras]', and for Keras one of "
        "jax, torch and tensorflow, named by the environment variable KERAS_BACKEND",
        name=error.name,
    ) from error

if tuple(map(int, keras.__version__.split(".")[:2])) < (3, 9):
    raise ImportError(
        f"rex_keras needs keras>=3.9; found {keras.__version__}: "
        "pip install --upgrade 'rex-schedules[keras]'",
        name="keras",
    )

from rex_keras.callbacks import BatchLearningRateScheduler, RateLogger, learning_rate_scheduler
from rex_keras.schedules import as_schedule

__all__ = [
    "BatchLearningRateScheduler",
    "RateLogger",
    "as_schedule",
    "learning_rate_scheduler",
]
