"""A schedule and a budget as PyTorch's LambdaLR."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from rex_core.adapting import checked_count, concrete, largest_peak, shown
from rex_torch.groups import (
    Function,
    check_added,
    check_optimizer,
    checked_budget,
    copied,
    current_rates,
    others_kept,
    own_numbers,
    per_group,
    put,
    saved_count,
    shared,
    value,
    with_clock,
    without_clock,
)


def lambda_lr(
    optimizer: Optimizer,
    schedule: Function | Sequence[Function],
    total_steps: Any,
    *,
    absolute: bool = False,
    last_epoch: int = -1,
) -> LambdaLR:
    """A schedule as the learning rate of an optimizer: a `LambdaLR`, to be stepped once an update.

    After n calls of ``step()``, with lr₀ the rate that the group was given::

        lr = lr₀ · schedule(n, total_steps)
        lr = schedule(n, total_steps)        if absolute

    Its state has the number of steps, lr₀ and the rate set last, but neither schedule nor budget:
    after ``load_state_dict`` those given here hold, from the next update on. (Load the optimizer's
    state before it; that brings the old rate. Where that is another scheduler's, in a SequentialLR
    or a ChainedScheduler, it holds until the next ``step()``.) If equal schedules serve all groups,
    a group that ``optimizer.add_param_group`` adds follows them too, from the next ``step()``.

    For a new budget in mid-run, make a new scheduler for the same optimizer, with `rex_core.Replan`
    for a rate that does not jump, and load the old one's state, or give last_epoch::

        t0 = scheduler.last_epoch
        scheduler = lambda_lr(optimizer, Replan(schedule, t0, T0), T, last_epoch=t0 - 1)

    Args:
        optimizer: The optimizer. A rate that is a tensor stays that tensor, filled in place.
        schedule: A `rex_core.Schedule`, or any function of (t, T), with values >= 0; or a sequence
            of them, one for each parameter group.
        total_steps: The budget in calls of ``step()``, an integer >= 1; or a `rex_core.WallClock`,
            which is read at each of them. The state then has the time that it shows, too.
        absolute: Whether a schedule gives the rate, not a factor of the one that the group has.
        last_epoch: As in PyTorch, to go on without a saved state: the number of calls of ``step()``
            so far, less one, an integer >= -1.

    Returns:
        The scheduler. It pickles, and its state loads with ``weights_only=True``.

    Raises:
        ValueError: A schedule that is not absolute has another peak_value than 1; not one schedule
            per group; a value out of range (what is not seen now, at some steps between 0 and
            total_steps, is an error at its step); total_steps out of range, or filled by phases;
            last_epoch out of range, or >= 0 for groups without an "initial_lr".

    >>> import torch
    >>> from rex_core import Schedule
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(3))], lr=0.1)
    >>> scheduler = lambda_lr(optimizer, Schedule(warmup_ratio=0.05), total_steps=1000)
    """
    check_optimizer(optimizer)
    budget = checked_budget(total_steps)
    schedules = per_group("schedule", schedule, optimizer, budget)
    for each in schedules:
        if not absolute and concrete(largest_peak(each)) != 1:
            raise ValueError(
                "schedule.peak_value must be 1 unless absolute=True: LambdaLR multiplies the lr of "
                "each group with the schedule, and a rate given to both is squared (lr²); got "
                f"{shown(largest_peak(each))}"
            )
    checked_count("last_epoch", last_epoch, -1)
    if last_epoch >= 0 and any("initial_lr" not in group for group in optimizer.param_groups):
        raise ValueError(
            "last_epoch must be -1 if a group has no 'initial_lr', which the optimizer's saved "
            f"state brings; got {last_epoch!r}"
        )
    for key in ("lr", "initial_lr"):
        own_numbers(optimizer, key)
    # One object for one schedule, and a partial: LambdaLR saves the attributes of other callables,
    # and on load would bring the old budget back.
    lambdas = {id(each): partial(value, each, budget) for each in schedules}
    kind = _Rates if absolute else _Factors
    return kind(optimizer, [lambdas[id(each)] for each in schedules], last_epoch)


class _Factors(LambdaLR):
    """A LambdaLR whose budget holds from when it is loaded, and that takes groups added later."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int) -> None:
        super().__init__(optimizer, lr_lambda, last_epoch)
        self._groups = optimizer.param_groups

    def get_lr(self) -> list[float | Tensor]:
        if len(self.base_lrs) != len(self.optimizer.param_groups):
            self._take_added()
        return self._rates()

    def get_last_lr(self) -> list[float | Tensor]:
        return current_rates(self.optimizer)

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict() | {"_last_lr": [float(rate) for rate in self._last_lr]}
        del state["_groups"]
        return with_clock(state, self._budget)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        saved_count(state_dict)
        self._check_groups(state_dict)
        self._take_added()
        super().load_state_dict(without_clock(state_dict, self._budget))
        if self.last_epoch >= 0:
            with others_kept(self.optimizer, ["lr"], state_dict, self._groups):
                self._update_lr(self.last_epoch)

    def _check_groups(self, state_dict: dict[str, Any]) -> None:
        count = len(self.optimizer.param_groups)
        for name in ("base_lrs", "lr_lambdas"):
            content = state_dict.get(name)
            if not isinstance(content, list) or not 1 <= len(content) <= count:
                raise ValueError(
                    f"{name} in state_dict must be a list with one for each of the {count} "
                    f"parameter groups, as in the state of a LambdaLR; got {shown(content)}"
                )

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else checked_count("epoch", epoch, 0)
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            put(group, "lr", rate)

    @property
    def _budget(self) -> Any:
        function: Any = self.lr_lambdas[0]
        return function.args[1]

    def _rates(self) -> list[float | Tensor]:
        return [base * n for base, n in zip(self.base_lrs, self._numbers(), strict=True)]

    def _numbers(self) -> list[float]:
        """What the lambdas give; groups that share one are usual, and it is asked once."""
        numbers: list[float] = []
        asked = None
        for function in self.lr_lambdas:
            if function is not asked:
                asked, number = function, function(self.last_epoch)
            numbers.append(number)
        return numbers

    def _take_added(self) -> None:
        groups, lambdas = self.optimizer.param_groups, self.lr_lambdas
        if not shared(lambdas):
            check_added(len(groups), len(lambdas))
        own_numbers(self.optimizer, "lr")
        # New lists: a state that was saved or loaded holds the old ones.
        added = groups[len(self.base_lrs) :]
        rates = [copied(group.setdefault("initial_lr", copied(group["lr"]))) for group in added]
        self.base_lrs = [*self.base_lrs, *rates]
        self.lr_lambdas = [*lambdas, *lambdas[:1] * (len(groups) - len(lambdas))]


class _Rates(_Factors):
    """The same for lambdas that give the rate itself."""

    def _rates(self) -> list[float | Tensor]:
        return [*self._numbers()]
