"""The names of parameters. The error for an unknown name has the one that was meant."""

from collections.abc import Iterable, Mapping
from typing import Any

from rex_core.arrays import is_number, shown

# Names of these parameters elsewhere.
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
    "power": ("exponent",),
    "factor": ("decay_factor",),
    "least": ("min",),
    "most": ("max",),
    "milestones": ("boundaries", "fractions"),
}
BUDGETS = "T", "total_steps", "max_steps", "num_training_steps", "epochs", "num_epochs"


def check_names(owner: str, given: Mapping[str, Any], accepted: Iterable[str]) -> None:
    """Refuse a name that is not accepted. The error says which one is meant."""
    accepted = list(accepted)
    for name, value in given.items():
        if name in accepted:
            continue
        if name in BUDGETS and "peak_value" in accepted:
            raise ValueError(
                f"{name} must be given at the call, schedule(t, T), or to an adapter: {owner} "
                f"serves every budget; got {shown(value)}"
            )
        for field, others in GUESSES.items():
            if name in others and field in accepted:
                if is_number(value) and 0 < value < 1:
                    field = field.replace("_steps", "_ratio")
                raise ValueError(f"{name} must be called {field} here; got {shown(value)}")
        raise ValueError(
            f"{name:.500} must be a parameter of {owner}, which takes "
            f"{', '.join(accepted) or 'none'}{nearest_name(name, accepted)}; got {shown(value)}"
        )


def nearest_name(name: Any, accepted: Iterable[str]) -> str:
    """The hint of a message, if a name is close to an accepted one."""
    import difflib  # Here, since only errors need it, and it takes a tenth of the import.

    nearest = difflib.get_close_matches(str(name), accepted, n=1)
    return f" (is {nearest[0]} meant?)" if nearest else ""
