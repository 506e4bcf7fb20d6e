"""A schedule and a budget as PyTorch's LambdaLR."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from rex_core import WallClock
from rex_core.adapting import (
    checked_count,
    checked_value,
    concrete,
    largest_peak,
    shown,
)
from rex_torch.groups import (
    check_alike,
    check_optimizer,
    check_setting,
    copied,
    own_numbers,
    scaled,
)
from rex_torch.scheduler import (
    Function,
    Given,
    GroupScheduler,
    check_added,
    check_wish,
    checked_budget,
    is_list,
    per_group,
    remembered,
    with_clock,
)


def lambda_lr(
    optimizer: Optimizer,
    schedule: Given,
    total_steps: Any,
    *,
    absolute: bool = False,
    last_epoch: int = -1,
) -> LambdaLR:
    """A schedule as the learning rate of an optimizer: a `LambdaLR`, to be stepped once an update.

    After n calls of ``step()``, with lr₀ the rate that the group was given::

        lr = lr₀ · schedule(n, total_steps)
        lr = schedule(n, total_steps)        if absolute

    A group's "lr_scale", timm's factor of a layer, multiplies that.

    lr₀ is the group's "initial_lr" if it has one, as with all schedulers of PyTorch: an earlier
    scheduler or a loaded state left it. In a second phase on the same optimizer a new
    ``group["lr"]`` would be forgotten, so it is an error until one of the two is chosen. So is a
    state that brings another lr₀ than the optimizer was made with.

    Its state has the number of steps, lr₀ and the rate set last, but neither schedule nor budget:
    after ``load_state_dict`` those given here hold, from the next update on. (Load the optimizer's
    state before it; that brings the old rate. Where that is another scheduler's, in a SequentialLR
    or a ChainedScheduler, it holds until the next ``step()``.) If equal schedules serve all groups,
    a group that ``optimizer.add_param_group`` adds follows them too, from the next ``step()``.

    For a new budget in mid-run, make a new scheduler for the same optimizer, with `rex_core.Replan`
    for a rate that does not jump, and say where it is::

        t0 = scheduler.last_epoch
        scheduler = lambda_lr(optimizer, Replan(schedule, t0, T0), T, last_epoch=t0 - 1)

    Args:
        optimizer: The optimizer. A rate that is a tensor stays that tensor, filled in place.
            Compile its ``step`` after the scheduler is made.
        schedule: A `rex_core.Schedule`, or any function of (t, T), with values >= 0; or a sequence
            with one for each parameter group, or None for a group whose rate is left alone.
        total_steps: The budget in calls of ``step()``, an integer >= 1; or a `rex_core.WallClock`,
            which is read at each of them. The state then has the time that it shows, too.
        absolute: Whether a schedule gives the rate, not a factor of the one that the group has. One
            schedule for groups whose rates differ is an error then.
        last_epoch: As in PyTorch, to go on without a saved state: the number of calls of ``step()``
            so far, less one, an integer >= -1. A group without an "initial_lr" was added since.

    Returns:
        The scheduler. It pickles, and its state loads with ``weights_only=True``.

    Raises:
        ValueError: A schedule that is not absolute has another peak_value than 1, however deep; not
            one schedule per group; a value out of range (what is not seen now, at some steps
            between 0 and total_steps, is an error at its step); total_steps out of range, or filled
            by phases; last_epoch out of range, or >= 0 where no group has an "initial_lr"; two
            rates to begin with; an lr that is None, or that the optimizer ignores.

    >>> import torch
    >>> from rex_core import Schedule
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(3))], lr=0.1)
    >>> scheduler = lambda_lr(optimizer, Schedule(warmup_ratio=0.05), total_steps=1000)
    """
    check_optimizer(optimizer)
    budget = checked_budget(total_steps)
    check_setting("lr", optimizer)
    schedules = per_group("schedule", schedule, optimizer, budget, "lr")
    for each in schedules:
        if not absolute and each is not None and concrete(largest_peak(each)) != 1:
            raise ValueError(
                "schedule.peak_value must be 1 unless absolute=True: LambdaLR multiplies the lr of "
                "each group with the schedule, and a rate given to both is squared (lr²); got "
                f"{shown(largest_peak(each))}"
            )
    if absolute and not is_list(schedule):
        check_alike("lr", schedule, optimizer)
    checked_count("last_epoch", last_epoch, -1)
    if not absolute:
        _check_beginning(optimizer, last_epoch)
    for key in ("lr", "initial_lr"):
        own_numbers(optimizer, key)
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", copied(group["lr"]))
    # One object for one schedule, and a partial: LambdaLR saves the attributes of other callables,
    # and on load would bring the old budget back.
    read: Any = value_now if isinstance(budget, WallClock) else value
    lambdas: dict[int, Any] = {
        id(each): _alone if each is None else partial(read, each, budget) for each in schedules
    }
    kind = _Rates if absolute else _Factors
    return kind(optimizer, [lambdas[id(each)] for each in schedules], last_epoch, budget)


def value(schedule: Function, T: float, t: float) -> float:
    """The value after t steps."""
    return checked_value("schedule", schedule(t, T))


def value_now(schedule: Function, clock: WallClock, t: float) -> float:
    """The value at the time of a clock, after any number of steps."""
    return value(schedule, clock.T, clock.t)


def _alone(t: float) -> None:
    """No value: the group's rate is left alone."""


def _check_beginning(optimizer: Optimizer, last_epoch: int) -> None:
    groups = optimizer.param_groups
    if last_epoch >= 0:
        if not any("initial_lr" in group for group in groups):
            raise ValueError(
                "last_epoch must be -1 if a group has no 'initial_lr', which the optimizer's "
                f"saved state brings; got {last_epoch!r}"
            )
        return
    if not getattr(optimizer, "_opt_called", False):
        return  # Schedulers made one after the other, or a loaded state, whose own comes next.
    ours = remembered(optimizer)
    changed = None if ours is None else {index for name, index, _ in ours.foreign() if name == "lr"}
    for index, group in enumerate(groups):
        first, rate = float(group.get("initial_lr", group["lr"])), float(group["lr"])
        if first != rate and (changed is None or index in changed):
            raise ValueError(
                f"lr of parameter group {index} must be its 'initial_lr', {first}, which an "
                "earlier scheduler left and from which a new one begins; got "
                f"{rate}. To begin from lr, del group['initial_lr']; to begin from the first rate, "
                "group['lr'] = group['initial_lr']; to go on, give last_epoch"
            )


class _Factors(GroupScheduler, LambdaLR):
    """A LambdaLR whose budget holds from when it is loaded, and that takes groups added later."""

    def __init__(
        self, optimizer: Optimizer, lambdas: list[Any], last_epoch: int, budget: int | WallClock
    ) -> None:
        self._budget = budget
        super().__init__(optimizer, lambdas, last_epoch=last_epoch)

    def state_dict(self) -> dict[str, Any]:
        state = LambdaLR.state_dict(self)
        for name in ("_budget", "_marks"):
            del state[name]
        state["_last_lr"] = [float(rate) for rate in self._last_lr]
        return with_clock(state, self._budget)

    def _load(self, state_dict: dict[str, Any]) -> None:
        self._check_groups(state_dict)
        LambdaLR.load_state_dict(self, state_dict)

    def _check_groups(self, state_dict: dict[str, Any]) -> None:
        count = len(self.optimizer.param_groups)
        for name in ("base_lrs", "lr_lambdas"):
            found = state_dict.get(name)
            if not isinstance(found, list) or not 1 <= len(found) <= count:
                raise ValueError(
                    f"{name} in state_dict must be a list with one for each of the {count} "
                    f"parameter groups, as in the state of a LambdaLR; got {shown(found)}. With "
                    "another scheduler's state, give last_epoch=state_dict['last_epoch'] - 1 to "
                    "lambda_lr instead"
                )
        self._check_bases(state_dict["base_lrs"])

    def _check_bases(self, saved: list[Any]) -> None:
        ours = [float(base) for base in self.base_lrs[: len(saved)]]
        theirs = [float(base) for base in saved[: len(ours)]]
        if ours != theirs:
            raise ValueError(
                f"base_lrs in state_dict must be {ours}, the lr of the optimizer here; got "
                f"{theirs}, that of the run that was saved. To go on with that, make the optimizer "
                "with it; to go on with the new one, set state_dict['base_lrs'] to it"
            )

    def _rates(self, t: float) -> Sequence[float | Tensor | None]:
        numbers: list[Any] = []
        asked = None  # Groups that share a lambda are usual, and it is asked once.
        for function in self.lr_lambdas:
            if function is not asked:
                asked, number = function, function(t)  # type: ignore[arg-type]
            numbers.append(number)
        return scaled(self.optimizer.param_groups, self._factors(numbers))

    def _factors(self, numbers: list[Any]) -> list[Any]:
        """The rates of the groups, given what the lambdas have returned."""
        pairs = zip(self.base_lrs, numbers, strict=True)
        return [None if number is None else base * number for base, number in pairs]

    def _take(self, places: Sequence[int | None]) -> None:
        groups, lambdas = self.optimizer.param_groups, self.lr_lambdas
        if None in places:
            way = f"lambda_lr(optimizer, [...], ..., last_epoch={self.last_epoch - 1})"
            check_added("schedule", len(groups), lambdas, way)
            check_setting("lr", self.optimizer)
            self._check_added(places, way)
        own_numbers(self.optimizer, "lr")
        rates = [copied(group.setdefault("initial_lr", copied(group["lr"]))) for group in groups]
        # New lists: a state that was saved or loaded holds the old ones.
        self.base_lrs = [
            rate if i is None else self.base_lrs[i] for rate, i in zip(rates, places, strict=True)
        ]
        self.lr_lambdas = [lambdas[0] if i is None else lambdas[i] for i in places]

    def _check_added(self, places: Sequence[int | None], way: str) -> None:
        """Any rate of a new group will do, since it is multiplied."""


class _Rates(_Factors):
    """The same for lambdas that give the rate itself."""

    def _factors(self, numbers: list[Any]) -> list[Any]:
        return numbers

    def _check_bases(self, saved: list[Any]) -> None:
        """The rates that the optimizers were made with are not used."""

    def _check_added(self, places: Sequence[int | None], way: str) -> None:
        check_wish("lr", self.optimizer, places, way)
