"""The names that people try first for a schedule's settings, and what to write instead."""

from collections.abc import Mapping, Sequence
from typing import Any

from rex_core.arrays import is_number, shown
from rex_core.functions import FUNCTIONS, door_of
from rex_core.ranges import check_names

# What people call these settings elsewhere.
GUESSES = {
    "peak_value": (
        "lr",
        "peak",
        "peak_lr",
        "max_lr",
        "lr_max",
        "learning_rate",
        "base_lr",
        "eta_max",
    ),
    "end_value": ("end", "floor", "end_lr", "min_lr", "lr_min", "final_lr", "eta_min"),
    "init_value": ("init_lr", "warmup_init_lr", "warmup_start_lr", "start_lr", "warmup_lr"),
    "warmup_steps": ("warmup", "num_warmup_steps", "warmup_iters", "warmup_t"),
    "warmup_ratio": ("warmup_frac", "warmup_fraction", "pct_start"),
    "hold_steps": ("hold", "stable_steps", "num_stable_steps"),
    "decay_steps": ("decay", "cooldown_steps", "num_decay_steps"),
    "decay_ratio": ("cooldown_ratio", "decay_frac", "decay_fraction", "cooldown"),
    "profile": ("curve", "schedule", "shape", "decay_type", "anneal_strategy"),
}


def check_settings(
    owner: str, fields: Sequence[str], args: Sequence[Any], params: Mapping[str, Any]
) -> None:
    """Refuse names that are no settings, with the right form where it is known."""
    functions = [*args[:2], params.get("profile"), params.get("sampling")]
    functions = [FUNCTIONS.get(f, f) if isinstance(f, str) else f for f in functions]
    doors = [door for door in map(door_of, functions) if door is not None]
    for name, value in params.items():
        if name in fields:
            continue
        for field, others in GUESSES.items():
            if name in others:
                if is_number(value) and 0 < value < 1:
                    field = field.replace("_steps", "_ratio")
                raise ValueError(f"{name} must be called {field} here; got {shown(value)}")
        for door in doors:
            if name in door.declared:
                raise ValueError(
                    f"{name} must be bound to the function whose parameter it is, "
                    f"bind({door.name}, {name}=...); got {shown(value)}"
                )
    check_names(owner, params, fields)


def no_decay(given: Sequence[str], warmup: Any, start: Any, T: Any) -> ValueError:
    """The error of phases, given by these settings, that leave no decay."""
    decay = [name for name in given if name.startswith("decay")]
    if decay:
        rest = [name for name in given if name not in decay] or ["the budget"]
        return ValueError(
            f"{decay[0]} must leave room for {rest[0]} in T, the budget or its share in a Join "
            f"or Restarts; got an end of warmup at {shown(warmup)} and a start of decay at "
            f"{shown(start)} of T = {shown(T)}"
        )
    one = " (one whole step; where t goes from 0 to 1, T is 1.0)"
    return ValueError(
        f"{' + '.join(given)} must end before T, the budget or its share in a Join or "
        f"Restarts; got an end at {shown(start)} of T = {shown(T)}"
        f"{one if T.__class__ is int and T == 1 else ''}"
    )
