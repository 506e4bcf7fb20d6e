"""Learning rate, momentum and weight decay, set from the step count."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from rex_core.adapting import NOT_NEGATIVE, checked_count, checked_value, reading, shown
from rex_torch.groups import (
    RANGES,
    Function,
    check_added,
    check_optimizer,
    checked_budget,
    current_rates,
    others_kept,
    own_numbers,
    per_group,
    put,
    saved_count,
    shared,
    with_clock,
    without_clock,
)

Given = Function | Sequence[Function] | None


@dataclass(slots=True)
class _Setting:
    """What follows a schedule: a setting of all groups, or of those chosen."""

    name: str
    schedule: Function
    chosen: list[int] | None = None
    last: float = math.nan


class HyperparamScheduler(LRScheduler):
    """Schedules for any of the learning rate, the momentum and the weight decay of an optimizer.

    After n calls of ``step()`` each has the value ``schedule(n, total_steps)``, whatever the
    optimizer was made with. A setting that is a tensor stays that tensor, filled in place:
    ``torch.compile`` compiles an optimizer step again when a float changes, but not for that.

    Its state is the number of steps and the values set last, without schedules or budget: after
    ``load_state_dict`` those given here hold, from the next update on. (Load the optimizer's state
    before it; that brings the old values. Where those are another scheduler's, in a SequentialLR or
    a ChainedScheduler, they hold until the next ``step()``.) If equal schedules serve all groups, a
    group that ``optimizer.add_param_group`` adds follows them too, from the next ``step()``.

    For a new budget in mid-run, make a new scheduler for the same optimizer, with `rex_core.Replan`
    for values that do not jump, and load the old one's state, or ``step`` to its number of steps::

        t0 = scheduler.last_epoch
        scheduler = HyperparamScheduler(optimizer, T, lr=Replan(schedule, t0, T0))
        scheduler.step(t0)

    A SequentialLR takes back the rate, and only the rate, of a scheduler whose turn has not come:
    its momentum and weight decay have their first value from the beginning.

    Args:
        optimizer: The optimizer.
        total_steps: The budget in calls of ``step()``, an integer >= 1, or in any unit that each of
            them is told the count of, as in ``step(tokens)``; or a `rex_core.WallClock`, which is
            read at each of them. The state then has the time that it shows, too.
        lr: A `rex_core.Schedule` of the learning rate, or any function of (t, T), with values >= 0;
            or a sequence of them, one for each parameter group.
        momentum: The same, with values in [0, 1), for "momentum" or, in a group that has none, the
            first of "betas".
        weight_decay: The same, with values >= 0, for "weight_decay".

    Raises:
        ValueError: Nothing to schedule; not one schedule per group; a value out of range (what is
            not seen now, at some steps between 0 and total_steps, is an error at its step);
            total_steps out of range, or filled by phases; groups without such a setting.

    >>> import torch
    >>> from rex_core import one_cycle
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(3))], lr=0.1, momentum=0.9)
    >>> lr, momentum = one_cycle(peak_value=0.3)
    >>> scheduler = HyperparamScheduler(optimizer, total_steps=1000, lr=lr, momentum=momentum)
    >>> scheduler.step(500)
    >>> optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]
    (0.3, 0.85)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: Any,
        *,
        lr: Given = None,
        momentum: Given = None,
        weight_decay: Given = None,
    ) -> None:
        check_optimizer(optimizer)
        self._budget = checked_budget(total_steps)
        self._settings: list[_Setting] = []
        self._fixed = False
        given = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        for name, schedules in given.items():
            if schedules is not None:
                self._add(name, per_group(name, schedules, optimizer, self._budget), optimizer)
        if not self._settings:
            raise ValueError("one of lr, momentum, weight_decay must be a schedule; got None")
        super().__init__(optimizer)
        self._groups = optimizer.param_groups

    def step(self, epoch: int | None = None) -> None:
        """Set the values for the next update, or for any other.

        Args:
            epoch: The number of updates before it, an integer >= 0; one more than now by default.
                Or that of tokens, if the budget is one of tokens.

        Raises:
            ValueError: epoch or a value is out of range; a group was added and the schedules
                differ.
        """
        if self._step_count == 1 and epoch is None:
            self._check_order()
        self._step_count += 1
        self._update_lr(epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The learning rate of each group."""
        return current_rates(self.optimizer)

    def get_last_lr(self) -> list[float | Tensor]:
        """The learning rate of each group, in force for the next update."""
        return self.get_lr()

    def state_dict(self) -> dict[str, Any]:
        """The number of steps, "last_epoch", and the values set last, "_last_lr" and so on.

        With a clock, its state as well.
        """
        state: dict[str, Any] = {"last_epoch": self.last_epoch}
        count = len(self.optimizer.param_groups)
        for setting in self._settings:
            last = state.setdefault(f"_last_{setting.name}", [None] * count)
            for index in range(count) if setting.chosen is None else setting.chosen:
                last[index] = setting.last
        return with_clock(state, self._budget)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to the number of steps in a state; one of PyTorch's other schedulers has it too.

        With a clock, that goes to the time in the state.

        Raises:
            ValueError: The state has no number of steps, "last_epoch", or no "clock" for a clock.
        """
        count = saved_count(state_dict)
        without_clock(state_dict, self._budget)
        self.last_epoch = count
        if self.last_epoch >= 0:
            names = {setting.name for setting in self._settings}
            with others_kept(self.optimizer, names, state_dict, self._groups):
                self._update_lr(self.last_epoch)

    def _add(self, name: str, schedules: list[Function], optimizer: Optimizer) -> None:
        names = {"momentum", "betas"} if name == "momentum" else {name}
        if any(names.isdisjoint(group) for group in optimizer.param_groups):
            raise ValueError(
                f"{name} must be None for {type(optimizer).__name__}, whose parameter groups do "
                f"not all have it; got {shown(schedules[0])}"
            )
        for key in names:
            own_numbers(optimizer, key)
        if name == "lr":
            own_numbers(optimizer, "initial_lr")
        if shared(schedules):
            self._settings.append(_Setting(name, schedules[0]))
            return
        self._fixed = True
        chosen: dict[int, list[int]] = {}
        for index, schedule in enumerate(schedules):
            chosen.setdefault(id(schedule), []).append(index)
        for indices in chosen.values():
            self._settings.append(_Setting(name, schedules[indices[0]], indices))

    def _update_lr(self, epoch: int | None = None) -> None:
        # The name by which SequentialLR starts a scheduler whose turn it is.
        t = self.last_epoch + 1 if epoch is None else checked_count("epoch", epoch, 0)
        groups = self.optimizer.param_groups
        if self._fixed:
            check_added(len(groups), len(self.base_lrs))
        budget = self._budget
        now, T = (t, budget) if isinstance(budget, int) else reading(budget, t)
        for setting in self._settings:
            name, chosen = setting.name, setting.chosen
            setting.last = number = checked_value(
                name, setting.schedule(now, T), RANGES.get(name, NOT_NEGATIVE)
            )
            for group in groups if chosen is None else [groups[i] for i in chosen]:
                put(group, name, number)
        self.last_epoch = t

    def _check_order(self) -> None:
        """PyTorch's own warning, from the marks that its schedulers leave on the optimizer."""
        watched = hasattr(self.optimizer.step, "_wrapped_by_lr_sched")
        if watched and not getattr(self.optimizer, "_opt_called", False):
            warnings.warn(
                "scheduler.step() came before the first optimizer.step(): the first value of the "
                "schedule was skipped",
                UserWarning,
                stacklevel=3,
            )
