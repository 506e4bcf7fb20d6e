"""rex_core's schedules for Optuna: which curve, and which numbers, as a search space."""

try:
    import optuna as optuna
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"rex_optuna needs {error.name}: pip install 'rex-schedules[optuna]'", name=error.name
    ) from error

from rex_optuna.search import schedule_of, suggest_schedule

__all__ = ["schedule_of", "suggest_schedule"]
