"""What both schedulers know of parameter groups, and of the schedules and budgets for them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor
from torch.optim import Optimizer

from rex_core import WallClock
from rex_core.adapting import (
    NOT_NEGATIVE,
    Range,
    checked_count,
    checked_schedule,
    checked_value,
    largest_peak,
    reading,
    shown,
    tried,
)

Function = Callable[[Any, Any], Any]

RANGES = {"momentum": Range(0, 1, "[)")}
_STEPS = Range(1, integers=True)


def value(schedule: Function, budget: int | WallClock, t: int) -> float:
    """The value after t steps."""
    return checked_value("schedule", schedule(*reading(budget, t)))


def check_optimizer(optimizer: Any) -> None:
    """Accept PyTorch's optimizers and subclasses of them."""
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer must be a torch.optim.Optimizer; got {shown(optimizer)}")


def checked_budget(total_steps: Any) -> int | WallClock:
    """The budget: the clock, or an int."""
    if isinstance(total_steps, WallClock):
        return total_steps
    return _STEPS.count("total_steps", total_steps)


def saved_count(state_dict: Any) -> int:
    """The number of steps in the state of a scheduler.

    Below 0 it waits for its turn in a SequentialLR, or in one within another.
    """
    if not isinstance(state_dict, Mapping):
        raise ValueError(
            f"state_dict must be what state_dict() of a scheduler returned; got {shown(state_dict)}"
        )
    return checked_count("last_epoch in state_dict", state_dict.get("last_epoch"))


def with_clock(state: dict[str, Any], budget: int | WallClock) -> dict[str, Any]:
    """The state of a scheduler, and with it that of its clock."""
    return state | {"clock": budget.state_dict()} if isinstance(budget, WallClock) else state


def without_clock(state: Mapping[str, Any], budget: int | WallClock) -> dict[str, Any]:
    """The state of a scheduler; what it has for a clock goes there."""
    if isinstance(budget, WallClock):
        if "clock" not in state:
            raise ValueError(
                "state_dict must have the 'clock' of a scheduler whose total_steps was a "
                "WallClock: without it, the time that was spent would be given again; got "
                f"{list(state)}"
            )
        budget.load_state_dict(state["clock"])
    return {key: content for key, content in state.items() if key != "clock"}


def per_group(
    name: str, schedules: Any, optimizer: Optimizer, budget: int | WallClock
) -> list[Function]:
    """A schedule for each parameter group, which has accepted the budget.

    Schedules that are equal become one object: what shares a schedule is then known by identity.
    """
    _, T = reading(budget, 0)
    count = len(optimizer.param_groups)
    if callable(schedules) or not isinstance(schedules, Sequence) or isinstance(schedules, str):
        schedules = [schedules] * count
    elif len(schedules) != count:
        raise ValueError(
            f"{name} must be one schedule, or a sequence with one for each of the {count} "
            f"parameter groups; got {len(schedules)}"
        )
    schedules = [checked_schedule(name, schedule) for schedule in schedules]
    accepted = RANGES.get(name, NOT_NEGATIVE)
    for schedule in schedules:
        tried(name, schedule, T, accepted)
        checked_value(name, largest_peak(schedule), accepted)
    return [schedules[schedules.index(schedule)] for schedule in schedules]


def shared(schedules: Sequence[Callable[..., Any]]) -> bool:
    """Whether all groups have the same schedule, which a group added later then gets too."""
    return all(schedule is schedules[0] for schedule in schedules)


def check_added(count: int, schedules: int) -> None:
    """Refuse a group added later where none of several schedules is meant for it."""
    if count != schedules:
        raise ValueError(
            "schedules must be one for all parameter groups if groups are added later; got one "
            f"for each of {schedules}, not all equal, and now {count} groups"
        )


def own_numbers(optimizer: Optimizer, key: str) -> None:
    """Give each group its own tensors, the optimizer's defaults theirs, and all plain floats.

    ``SGD(groups, lr=torch.tensor(0.1))`` puts one tensor everywhere: filled for one group it would
    change the others, and what a group added later starts from. A scalar of NumPy's would come
    back, times a factor, in a state that `torch.load` then does not read safely.
    """
    seen: set[int] = set()
    for settings in (*optimizer.param_groups, optimizer.defaults):
        content = settings.get(key)
        if isinstance(content, np.generic):
            settings[key] = content.item()
        parts = content if isinstance(content, tuple) else (content,)
        tensors = {id(part) for part in parts if isinstance(part, Tensor)}
        if seen & tensors:
            settings[key] = copied(content)
        seen |= tensors


def copied(content: Any) -> Any:
    """A setting of a group, in a copy that filling the group's tensors does not reach."""
    if isinstance(content, tuple):
        return tuple(map(copied, content))
    return content.clone() if isinstance(content, Tensor) else content


def put(group: dict[str, Any], key: str, number: Any) -> None:
    """Set a setting of a group, in place if it is a tensor; for momentum the first of "betas"."""
    try:
        content = group[key]
    except KeyError:
        key, content = "betas", group["betas"]
    if content.__class__ is float:  # The cheapest question.
        group[key] = number
    elif isinstance(content, Tensor):
        content.fill_(number.squeeze() if isinstance(number, Tensor) else number)
    elif not isinstance(content, tuple | list):
        group[key] = number
    elif isinstance(content[0], Tensor):
        content[0].fill_(number)
    else:
        group[key] = (number, *content[1:])


@contextmanager
def others_kept(
    optimizer: Optimizer, names: Iterable[str], state_dict: Mapping[str, Any], before: Any
) -> Iterator[None]:
    """Undo what happens within to settings that another scheduler has changed.

    They are those that differ from what the scheduler of the state, which says so, set last; if the
    optimizer has loaded a state, which replaces its list of groups, since it had the one before.
    Otherwise they are what this scheduler set when it was made, for a run that is going on.
    """
    theirs = []
    for name in () if optimizer.param_groups is before else names:
        lasts = state_dict.get(f"_last_{name}", ())
        for group, last in zip(optimizer.param_groups, lasts, strict=False):
            number = group[name] if name in group else group["betas"][0]
            if number != last:
                theirs.append((group, name, copied(number)))
    yield
    for group, name, number in theirs:
        put(group, name, number)


def current_rates(optimizer: Optimizer) -> list[float | Tensor]:
    """The learning rate of each group, in copies."""
    return [copied(group["lr"]) for group in optimizer.param_groups]
