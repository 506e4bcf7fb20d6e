"""Any number in the parameter groups of an optimizer, set from the step count."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from rex_core.adapting import checked_value, reading
from rex_torch.groups import (
    check_alike,
    check_optimizer,
    check_setting,
    copied,
    own_numbers,
    place,
    scaled,
)
from rex_torch.scheduler import (
    Function,
    Given,
    GroupScheduler,
    accepted,
    check_added,
    check_wish,
    checked_budget,
    is_list,
    per_group,
    with_clock,
)


class HyperparamScheduler(GroupScheduler):
    """Schedules for any numbers in the parameter groups of an optimizer, by their names.

    After n calls of ``step()`` each has the value ``schedule(n, total_steps)``, whatever the
    optimizer was made with. A tensor is filled in place. ``torch.compile`` compiles an optimizer
    step again when a float changes, but not when a tensor is filled.

    One schedule sets a setting of all groups. The groups must then have the same value. If they
    differ (no weight decay on biases, a lower rate in lower layers, a frozen group), give a list
    with a schedule for each group. None leaves a group alone: ``weight_decay=[schedule, None]``. A
    group's "lr_scale", timm's factor of a layer, multiplies its rate.

    A group that ``optimizer.add_param_group`` adds follows the schedule of all groups from the next
    ``step()``. It is an error if the groups have different schedules, or if the new group has a
    value of its own. Then make a new scheduler, with a list and ``last_epoch``.

    The state has the number of steps and the values set last. It has no schedules and no budget.
    After ``load_state_dict``, the schedules and the budget given here hold from the next update on.
    Load the optimizer's state first: it brings the old values. A setting that only the saved
    scheduler set stays at its old value, with a warning. Values of another scheduler, in a
    SequentialLR or a ChainedScheduler, hold until the next ``step()``.

    For a new budget in mid-run, make a new scheduler for the same optimizer. Take `rex_core.Replan`
    for values that do not jump. last_epoch says where the run is::

        t0 = scheduler.last_epoch
        lr = Replan(schedule, t0, T0)
        scheduler = HyperparamScheduler(optimizer, T, lr=lr, last_epoch=t0 - 1)

    A SequentialLR takes back the rate of a scheduler whose turn has not come. It takes back no
    other setting: the others have their first value from the beginning.

    Args:
        optimizer: The optimizer. Compile its ``step`` after the scheduler is made.
        total_steps: The budget in calls of ``step()``, an integer >= 1; or in another unit, if each
            call gets the count in that unit, as in ``step(tokens)``; or a `rex_core.WallClock`, to
            be read at each call. The state then has the clock's time too.
        lr: A `rex_core.Schedule` of the learning rate, or any function of (t, T), with values >= 0;
            or a sequence with one, or None, for each parameter group. A bare profile, such as
            "cosine", falls from a rate of 1; ``Schedule("cosine", peak_value=0.1)`` from 0.1.
        momentum: The same, with values in [0, 1), for "momentum" or, in a group without it, the
            first of "betas".
        beta2: The same, with values in [0, 1), for the second of "betas".
        weight_decay: The same, with values >= 0, for "weight_decay".
        last_epoch: As in PyTorch, to go on without a saved state: the number of calls of ``step()``
            so far, less one, an integer >= -1.
        **others: The same for other numbers of the groups by their keys, such as ``eps`` or SAM's
            ``rho``, with finite values.

    Raises:
        ValueError: No schedule is given. A list has not one per group. One schedule is given for
            groups that differ. A value is out of range: some steps between 0 and total_steps are
            tried now, the others at their step. total_steps is out of range, or phases fill it. A
            group has no such setting. The optimizer ignores lr.

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
        beta2: Given = None,
        weight_decay: Given = None,
        last_epoch: int = -1,
        **others: Given,
    ) -> None:
        check_optimizer(optimizer)
        self._budget = checked_budget(total_steps)
        given = {"lr": lr, "momentum": momentum, "beta2": beta2, "weight_decay": weight_decay}
        self._schedules: dict[str, list[Function | None]] = {}
        for name, schedules in (given | others).items():
            if schedules is not None:
                check_setting(name, optimizer)
                found = per_group(name, schedules, optimizer, self._budget, name)
                if not is_list(schedules):
                    check_alike(name, schedules, optimizer)
                self._schedules[name] = found
        if not self._schedules:
            raise ValueError(
                "one of beta2, lr, momentum, weight_decay must be a schedule, or another setting "
                "of the groups by its key; got None"
            )
        self._names = list(self._schedules)
        self._own_numbers(optimizer)
        own_numbers(optimizer, "initial_lr")
        without = [group for group in optimizer.param_groups if "initial_lr" not in group]
        for group in without:
            if "lr" not in group:
                kind = type(optimizer).__name__
                raise ValueError(
                    f"optimizer must have an lr in its parameter groups, which schedulers of "
                    f"PyTorch read; {kind} has none"
                )
            group["initial_lr"] = copied(group["lr"])
        super().__init__(optimizer, last_epoch=last_epoch)
        if "lr" not in self._schedules:  # A scheduler of the rate, made later, begins from lr.
            for group in without:
                del group["initial_lr"]

    def state_dict(self) -> dict[str, Any]:
        """The number of steps, "last_epoch", and the values set last, "_last_lr" and so on.

        With a clock, its state as well.
        """
        state: dict[str, Any] = {"last_epoch": self.last_epoch}
        state |= {f"_last_{name}": numbers for name, numbers in self._last.items()}
        return with_clock(state, self._budget)

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        """Warn of settings that only the saved scheduler set."""
        saved = {key.removeprefix("_last_") for key in state_dict if key.startswith("_last_")}
        others = sorted(saved - self._schedules.keys())
        if others:
            warnings.warn(
                f"{', '.join(others)} in state_dict was set by the saved scheduler, and this one "
                f"sets {', '.join(self._names)}: it stays where the optimizer's state left it. To "
                "go on with it, give its schedule here; to leave it alone, remove "
                f"{', '.join(f'_last_{name}' for name in others)} from state_dict",
                UserWarning,
                stacklevel=3,
            )

    def _rates(self, t: float) -> Sequence[float | None]:
        if "lr" not in self._schedules:
            return [None] * len(self.optimizer.param_groups)
        return self._numbers("lr", *reading(self._budget, t))

    def _set(self, t: float) -> None:
        now, T = reading(self._budget, t)  # One moment of a clock for all settings.
        values = {name: self._numbers(name, now, T) for name in self._names}
        for name, numbers in values.items():
            self._marks.put(name, numbers)
        self._last = values

    def _numbers(self, name: str, now: float, T: float) -> list[float | None]:
        """The number for each group."""
        numbers: list[float | None] = []
        asked = number = None  # Groups that share a schedule are usual. It is called once.
        for schedule in self._schedules[name]:
            if schedule is not asked:
                asked, number = schedule, None
                if schedule is not None:
                    number = checked_value(name, schedule(now, T), accepted(name))
            numbers.append(number)
        return scaled(self.optimizer.param_groups, numbers) if name == "lr" else numbers

    def _take(self, places: Sequence[int | None]) -> None:
        groups = self.optimizer.param_groups
        taken: dict[str, list[Function | None]] = {}
        for name, schedules in self._schedules.items():
            if None in places:
                way = f"HyperparamScheduler(..., {name}=[...], last_epoch={self.last_epoch - 1})"
                check_added(name, len(groups), schedules, way)
                check_setting(name, self.optimizer)
                check_wish(name, self.optimizer, places, way)
            taken[name] = [schedules[0] if i is None else schedules[i] for i in places]
        self._own_numbers(self.optimizer)
        self._schedules = taken

    def _own_numbers(self, optimizer: Optimizer) -> None:
        for name in self._names:
            for key in {place(name, group)[0] for group in optimizer.param_groups}:
                own_numbers(optimizer, key)
