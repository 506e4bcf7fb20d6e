"""The errors of a `Schedule` for wrong settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from rex_core.arrays import shown
from rex_core.functions import FUNCTIONS, door_of
from rex_core.names import check_names


def check_settings(
    owner: str, fields: Sequence[str], args: Sequence[Any], params: Mapping[str, Any]
) -> None:
    """Refuse names that are no settings. The error has the right form, if it is known."""
    functions = [*args[:2], params.get("profile"), params.get("sampling")]
    functions = [FUNCTIONS.get(f, f) if isinstance(f, str) else f for f in functions]
    for door in filter(None, map(door_of, functions)):
        for name, value in params.items():
            if name in door.declared and name not in fields:
                raise ValueError(
                    f"{name} must be bound to the function whose parameter it is, "
                    f"bind({door.name}, {name}=...); got {shown(value)}"
                )
    check_names(owner, params, fields)


def no_decay(given: Sequence[str], warmup: Any, start: Any, T: Any) -> ValueError:
    """The error for phases that leave no decay. given has the names of their settings."""
    decay = [name for name in given if name.startswith("decay")]
    if decay:
        rest = [name for name in given if name not in decay]
        return ValueError(
            f"{decay[0]} must {f'leave room for {rest[0]} in' if rest else 'be at most'} T, the "
            "budget or its share in a Join or Restarts; got an end of warmup at "
            f"{shown(warmup)} and a start of decay at {shown(start)} of T = {shown(T)}"
        )
    one = " (one whole step; where t goes from 0 to 1, T is 1.0)"
    return ValueError(
        f"{' + '.join(given)} must end before T, the budget or its share in a Join or "
        f"Restarts; got an end at {shown(start)} of T = {shown(T)}"
        f"{one if T.__class__ is int and T == 1 else ''}"
    )
