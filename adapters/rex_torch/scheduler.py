"""The base of both schedulers: steps, states, and conflicts over a parameter group."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from rex_core import WallClock
from rex_core.adapting import (
    ANY,
    NOT_NEGATIVE,
    Range,
    Value,
    checked_count,
    checked_schedule,
    checked_value,
    largest_peak,
    reading,
    shown,
    tried,
)
from rex_torch.groups import (
    Marks,
    content,
    copied,
    current_rates,
    defaults,
    origins,
    others_kept,
    own_first_rates,
    place,
)

Function = Callable[[Any, Any], Any]
One = Function | str | Mapping[str, Any]  # Itself, its name or its dictionary.
Given = One | Sequence[One | None] | None

_RANGES = {
    "lr": NOT_NEGATIVE,
    "momentum": Range(0, 1, "[)"),
    "beta2": Range(0, 1, "[)"),
    "weight_decay": NOT_NEGATIVE,
}
_STEPS = Range(1, integers=True)
_MARKS: WeakKeyDictionary[Optimizer, dict[str, Marks]] = WeakKeyDictionary()


def accepted(name: str) -> Range:
    """The values that a setting may have."""
    return _RANGES.get(name, ANY)


def checked_budget(total_steps: Any) -> int | WallClock:
    """The budget: the clock, or an int."""
    if isinstance(total_steps, WallClock):
        return total_steps
    return _STEPS.count("total_steps", total_steps)


def per_group(
    argument: str, schedules: Any, optimizer: Optimizer, budget: int | WallClock, name: str
) -> list[Function | None]:
    """For each parameter group a schedule of a setting, which accepts the budget, or None.

    Equal values become one object. Groups that share a schedule are then known by identity.
    """
    _, T = reading(budget, 0)
    count = len(optimizer.param_groups)
    if not is_list(schedules):
        schedules = [schedules] * count
    elif len(schedules) != count:
        raise ValueError(
            f"{argument} must be one schedule, or a sequence with one for each of the {count} "
            f"parameter groups; got {len(schedules)} (None leaves a group alone)"
        )
    found: list[Function | None] = []
    for each in schedules:
        schedule = None if each is None else checked_schedule(argument, each)
        same = [other for other in found if other is not None and _are_one(schedule, other)]
        if schedule is not None and not same:
            tried(argument, schedule, T, accepted(name))
            checked_value(argument, largest_peak(schedule), accepted(name))
        found.append(same[0] if same else schedule)
    if all(schedule is None for schedule in found):
        raise ValueError(f"{argument} must have a schedule for one of the groups; got {schedules}")
    return found


def _are_one(schedule: Any, other: Any) -> bool:
    """Whether two schedules are one: equal values, which cannot change, or the same function."""
    return schedule is other or (isinstance(schedule, Value) and bool(schedule == other))


def is_list(schedules: Any) -> bool:
    """Whether an argument has schedules for the groups, and not one for all of them."""
    return (
        isinstance(schedules, Sequence)
        and not isinstance(schedules, str)
        and not callable(schedules)
    )


def set_by_us(optimizer: Optimizer, name: str) -> set[int]:
    """The groups that still have the value that a scheduler of this library set last."""
    marks = _MARKS.get(optimizer, {}).get(name)
    return set() if marks is None else marks.kept(name, optimizer.param_groups)


class GroupScheduler(LRScheduler):
    """A scheduler that knows its parameter groups by identity, and the values that it has set.

    A subclass gives the rates of a step, sets all of its values, and goes over to other groups.
    """

    _budget: Any
    _names: Sequence[str] = ("lr",)
    _way = "A group of other values gets a schedule of its own, in a list"
    _doubt: str | None = None  # A warning for the first step, if no state is loaded before it.

    def __init__(self, optimizer: Optimizer, *lambdas: Any, last_epoch: int) -> None:
        checked_count("last_epoch", last_epoch, -1)
        self._marks = Marks(optimizer.param_groups)
        for name in self._names:
            _MARKS.setdefault(optimizer, {})[name] = self._marks
        initialise: Any = super().__init__  # Of LambdaLR, or LRScheduler without lambdas.
        initialise(optimizer, *lambdas, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Set the values for the next update, or for any other.

        A value that other code has set is overwritten, with one warning for each setting and group.
        A second scheduler beside this one, such as ReduceLROnPlateau, has no effect.

        Args:
            epoch: The number of updates before that one, >= 0; one more than now by default. It may
                lie between two updates. If the budget is in tokens, it is the number of tokens.

        Raises:
            ValueError: epoch or a value is out of range; a group was added with a value of its own,
                or while the schedules of the groups differ.
        """
        if epoch is not None:
            self._step_count += 1
            self._update_lr(epoch)
            return
        if self._step_count == 1:
            self._check_order()
        self._follow()
        self._check_alone()
        self._step_count += 1
        self._go_to(self.last_epoch + 1)

    def get_lr(self) -> list[float | Tensor]:
        """The learning rate of each group at ``last_epoch``."""
        groups, rates = self.optimizer.param_groups, self._rates(self.last_epoch)
        return [
            copied(group["lr"]) if rate is None else rate
            for group, rate in zip(groups, rates, strict=True)
        ]

    def get_last_lr(self) -> list[float | Tensor]:
        """The learning rate of each group, in force for the next update."""
        return current_rates(self.optimizer)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to the number of steps in a state. States of PyTorch's other schedulers have it too.

        A clock goes to the time in the state.

        Raises:
            ValueError: The state has no number of steps, "last_epoch", or no "clock" for a clock.
        """
        count = saved_place(state_dict)
        self._check_state(state_dict)
        with others_kept(self.optimizer, self._marks, self._names, state_dict):
            self._follow()
            self._load(without_clock(state_dict, self._budget))
            self._doubt = None
            self.last_epoch = count  # type: ignore[assignment]
            # Below 0 it waits for its turn in a SequentialLR, perhaps a nested one.
            if count >= 0:
                self._update_lr(count)

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        """Refuse a state before any of it is taken."""

    def _load(self, state_dict: dict[str, Any]) -> None:
        """Take the rest of a state, besides the number of steps."""

    def _rates(self, t: float) -> Sequence[float | Tensor | None]:
        """The rate of each group after t steps; None for those left alone."""
        raise NotImplementedError

    def _set(self, t: float) -> None:
        self._marks.put("lr", self._rates(t))

    def _take(self, places: Sequence[int | None]) -> None:
        """Go over to the optimizer's groups: old ones by their places, None for a new one."""
        raise NotImplementedError

    def _initial_step(self) -> None:
        # SequentialLR calls this too, after it has put the first rates back.
        self._step_count = 1
        self._marks.set.clear()
        self._doubt = None
        own_first_rates(self.optimizer)
        self._update_lr()

    def _update_lr(self, epoch: float | None = None) -> None:
        # SequentialLR calls this to start a scheduler when its turn comes.
        t: float = self.last_epoch + 1
        if epoch is not None:
            t = checked_place(epoch)
            self._doubt = None
            own_first_rates(self.optimizer)
        self._follow()
        self._go_to(t)

    def _go_to(self, t: float) -> None:
        """Set the values for the update after t others. The groups are the current ones."""
        self._set(t)
        self.last_epoch = t  # type: ignore[assignment]
        self._last_lr = current_rates(self.optimizer)

    def _follow(self) -> None:
        """Go over to the groups that the optimizer has now."""
        groups = self.optimizer.param_groups
        places = origins(self._marks.groups, groups)
        if places is not None:
            self._take(places)
            self._marks.move(groups, places)

    def _check_order(self) -> None:
        """Warn as PyTorch does, by the marks that its schedulers leave on the optimizer."""
        watched = hasattr(self.optimizer.step, "_wrapped_by_lr_sched")
        if watched and not getattr(self.optimizer, "_opt_called", False):
            warnings.warn(
                "scheduler.step() came before the first optimizer.step(): the first value of the "
                "schedule was skipped",
                UserWarning,
                stacklevel=3,
            )

    def _check_alone(self) -> None:
        if self._step_count == 1:
            if self._doubt is not None:
                warnings.warn(self._doubt, UserWarning, stacklevel=3)
                self._doubt = None
            if not getattr(self.optimizer, "_opt_called", False):
                return  # A SequentialLR is being made. It puts the first rates back.
        groups = self.optimizer.param_groups
        for name, index, found in self._marks.foreign():
            if self._step_count == 1 and name == "lr" and found == groups[index].get("initial_lr"):
                continue  # A SequentialLR was made after the run had begun: a resume.
            if (name, index) in self._marks.warned:
                continue
            if name == "lr" and bool(found == self.get_lr()[index]):
                continue  # Other code has set the rate of last_epoch, as torchtitan's resume does.
            self._marks.warned.add((name, index))
            warnings.warn(
                f"{name} of parameter group {index} is {shown(found)}, which this scheduler did "
                "not set, and is overwritten now. One scheduler sets a setting; two in turn go "
                "into a SequentialLR, a factor into the schedule (schedule * other), and a metric "
                f"decides through rex_core.Plateau. {self._way}",
                UserWarning,
                stacklevel=3,
            )


def checked_place(epoch: Any) -> float:
    """A place in the budget: an int or, between two steps, a float."""
    if isinstance(epoch, np.floating) or (isinstance(epoch, Tensor) and epoch.is_floating_point()):
        epoch = epoch.item()
    if isinstance(epoch, float):
        NOT_NEGATIVE.check("epoch", epoch)
        return int(epoch) if epoch.is_integer() else float(epoch)
    return checked_count("epoch", epoch, 0)


def saved_place(state_dict: Any) -> float:
    """The place in the budget from the state of a scheduler."""
    if not isinstance(state_dict, Mapping):
        raise ValueError(
            f"state_dict must be what state_dict() of a scheduler returned; got {shown(state_dict)}"
        )
    found = state_dict.get("last_epoch")
    if isinstance(found, float) and found >= 0:
        return checked_place(found)
    return checked_count("last_epoch in state_dict", found)


def with_clock(state: dict[str, Any], budget: int | WallClock) -> dict[str, Any]:
    """The state of a scheduler, with the state of its clock."""
    return state | {"clock": budget.state_dict()} if isinstance(budget, WallClock) else state


def without_clock(state: Mapping[str, Any], budget: int | WallClock) -> dict[str, Any]:
    """The state of a scheduler, without the state of its clock, which the clock loads."""
    if isinstance(budget, WallClock):
        if "clock" not in state:
            raise ValueError(
                "state_dict must have the 'clock' of a scheduler whose total_steps was a "
                "WallClock: without it, the time that was spent would be given again; got "
                f"{list(state)}"
            )
        budget.load_state_dict(state["clock"])
    return {key: found for key, found in state.items() if key != "clock"}


def of_all(schedules: Sequence[Any]) -> Any:
    """The one schedule of all groups, or None. A group added later gets it too."""
    first = schedules[0]
    return first if all(schedule is first for schedule in schedules) else None


def check_added(name: str, groups: int, schedules: Sequence[Any], way: str) -> None:
    """Refuse a group added later if the groups have different schedules."""
    if of_all(schedules) is None:
        raise ValueError(
            f"{name} must be one schedule for all parameter groups if groups are added later; got "
            f"one for each of {len(schedules)}, not all equal, and now {groups} groups. Make a new "
            f"scheduler: {way}"
        )


def check_wish(name: str, optimizer: Optimizer, places: Sequence[int | None], way: str) -> None:
    """Refuse a new group whose value is neither the others' nor the optimizer's default."""
    numbers = [float(content(name, group)) for group in optimizer.param_groups]
    usual = {number for number, i in zip(numbers, places, strict=True) if i is not None}
    usual_settings = defaults(optimizer)
    if place(name, usual_settings)[0] in usual_settings:
        usual.add(float(content(name, usual_settings)))
    for index, (number, origin) in enumerate(zip(numbers, places, strict=True)):
        if origin is None and number not in usual:
            raise ValueError(
                f"{name} of parameter group {index}, which was added, must be that of the others "
                f"or the optimizer's default for their schedule to set it; got {number}. Make a "
                f"new scheduler, with a schedule or None for each group: {way}"
            )
