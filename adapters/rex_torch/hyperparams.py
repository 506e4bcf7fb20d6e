"""Learning rate, momentum and weight decay, set from the step count."""

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from rex_core.budget import reading
from rex_torch.groups import (
    Function,
    check_added,
    check_optimizer,
    checked_budget,
    checked_count,
    current_rates,
    own_tensors,
    per_group,
    put,
    shared,
    with_clock,
    without_clock,
)

Given = Function | Sequence[Function] | None


class HyperparamScheduler(LRScheduler):
    """Schedules for any of the learning rate, the momentum and the weight decay of an optimizer.

    After n calls of ``step()`` each has the value ``schedule(n, total_steps)``, whatever the
    optimizer was made with. A setting that is a tensor stays that tensor, filled in place:
    ``torch.compile`` compiles an optimizer step again when a float changes, but not for that.

    Its state is the number of steps, ``{"last_epoch": n}``, without schedules or budget: after
    ``load_state_dict`` those given here hold, from the next update on. (Load the optimizer's state
    before it; that brings the old values.) If one schedule serves all groups, a group that
    ``optimizer.add_param_group`` adds follows it too, from the next ``step()``.

    Args:
        optimizer: The optimizer.
        total_steps: The budget in calls of ``step()``, an integer >= 1; or a `rex_core.WallClock`,
            which is read at each of them. The state then has the time that it shows, too.
        lr: A `rex_core.Schedule` of the learning rate, or any function of (t, T), with values >= 0;
            or a sequence of them, one for each parameter group.
        momentum: The same, with values in [0, 1), for "momentum" or, in groups that have none, the
            first of "betas".
        weight_decay: The same, with values >= 0, for "weight_decay".

    Raises:
        ValueError: Nothing to schedule; not one schedule per group; a value out of range;
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
        self._settings: list[tuple[str, Function, list[int] | None]] = []
        self._fixed = False
        given = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        for name, schedules in given.items():
            if schedules is not None:
                self._add(name, per_group(name, schedules, optimizer, self._budget), optimizer)
        if not self._settings:
            raise ValueError("one of lr, momentum, weight_decay must be a schedule; got None")
        super().__init__(optimizer)

    def step(self, epoch: int | None = None) -> None:
        """Set the values for the next update, or for any other.

        Args:
            epoch: The number of updates before it, an integer >= 0; one more than now by default.

        Raises:
            ValueError: epoch is out of range; a group was added and the schedules differ.
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
        """The number of steps: ``{"last_epoch": n}``; with a clock, its state as well."""
        return with_clock({"last_epoch": self.last_epoch}, self._budget)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to the number of steps in a state; one of PyTorch's other schedulers has it too.

        With a clock, that goes to the time in the state.

        Raises:
            ValueError: The state has no number of steps, "last_epoch", or no "clock" for a clock.
        """
        count = checked_count("last_epoch", state_dict.get("last_epoch"), -1)
        without_clock(state_dict, self._budget)
        self.last_epoch = count
        if self.last_epoch >= 0:  # Below, it waits for its turn in a SequentialLR.
            self._update_lr(self.last_epoch)

    def _add(self, name: str, schedules: list[Function], optimizer: Optimizer) -> None:
        key = name
        if name == "momentum" and not all("momentum" in group for group in optimizer.param_groups):
            key = "betas"
        if not all(key in group for group in optimizer.param_groups):
            raise ValueError(
                f"{name} must be None for {type(optimizer).__name__}, whose parameter groups do "
                f"not all have it; got {schedules[0]!r}"
            )
        own_tensors(optimizer, key)
        if shared(schedules):
            self._settings.append((key, schedules[0], None))
            return
        self._fixed = True
        chosen: dict[int, list[int]] = {}
        for index, schedule in enumerate(schedules):
            chosen.setdefault(id(schedule), []).append(index)
        self._settings += [(key, schedules[indices[0]], indices) for indices in chosen.values()]

    def _update_lr(self, epoch: int | None = None) -> None:
        # The name by which SequentialLR starts a scheduler whose turn it is.
        t = self.last_epoch + 1 if epoch is None else checked_count("epoch", epoch, 0)
        groups = self.optimizer.param_groups
        if self._fixed:
            check_added(len(groups), len(self.base_lrs))
        now, T = reading(self._budget, t)
        for key, schedule, chosen in self._settings:
            number = float(schedule(now, T))
            for group in groups if chosen is None else [groups[i] for i in chosen]:
                put(group, key, number)
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
