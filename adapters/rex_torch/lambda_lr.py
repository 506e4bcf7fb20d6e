"""A schedule and a budget as PyTorch's LambdaLR."""

import math
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from rex_core import WallClock
from rex_core.adapting import (
    check_truth,
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
    defaults,
    has_scales_in,
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
    set_by_us,
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
    """A schedule as the learning rate of an optimizer: a `LambdaLR`, to step once per update.

    After n calls of ``step()``, with lr₀ the rate that the group was given::

        lr = lr₀ · schedule(n, total_steps)
        lr = schedule(n, total_steps)        if absolute

    A group's "lr_scale", timm's factor of a layer, multiplies this rate, unless the rates of the
    groups are one rate times their scales already. A group added later is compared with the others.

    lr₀ is the group's "initial_lr" if it has one, as with all schedulers of PyTorch. An earlier
    scheduler or a loaded state left it. In a second phase on the same optimizer, a new
    ``group["lr"]`` would be forgotten. It is an error until one of the two rates is chosen. A state
    whose lr₀ differs from that of the optimizer is an error too.

    The state has the number of steps, lr₀ and the rate set last. It has no schedule and no budget.
    After ``load_state_dict``, the schedule and the budget given here hold from the next update on.
    Load the optimizer's state first: it brings the old rate. A rate of another scheduler, in a
    SequentialLR or a ChainedScheduler, holds until the next ``step()``.

    If all groups have equal schedules, a group that ``optimizer.add_param_group`` adds follows them
    too, from the next ``step()``.

    For a new budget in mid-run, make a new scheduler for the same optimizer. Take `rex_core.Replan`
    for a rate that does not jump. last_epoch says where the run is::

        t0 = scheduler.last_epoch
        scheduler = lambda_lr(optimizer, Replan(schedule, t0, T0), T, last_epoch=t0 - 1)

    Args:
        optimizer: The optimizer. A rate that is a tensor stays that tensor, filled in place.
            Compile its ``step`` after the scheduler is made.
        schedule: A `rex_core.Schedule`, or any function of (t, T), with values >= 0; or a sequence
            with one for each parameter group, or None for a group whose rate is left alone.
        total_steps: The budget in calls of ``step()``, an integer >= 1; or a `rex_core.WallClock`,
            which is read at each call. The state then has its time too.
        absolute: Whether a schedule gives the rate itself, and not a factor of the group's rate.
            One schedule for groups whose rates differ is then an error.
        last_epoch: As in PyTorch, to go on without a saved state: the number of calls of ``step()``
            so far, less one, an integer >= -1. A group without an "initial_lr" was added since.

    Returns:
        The scheduler. It pickles, and its state loads with ``weights_only=True``.

    Raises:
        ValueError: A schedule that is not absolute has a peak_value other than 1, however deep, or
            is a table of `rex_core.interpolate` with all values below 0.1, as those of rates. A
            list has not one schedule per group. A value is out of range: some steps between 0 and
            total_steps are tried now, the others at their step. total_steps is out of range, or
            phases fill it. last_epoch is out of range, or >= 0 where no group has an "initial_lr".
            A group has two rates to begin from. An lr is None, or the optimizer ignores it.

    >>> import torch
    >>> from rex_core import Schedule
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(3))], lr=0.1)
    >>> scheduler = lambda_lr(optimizer, Schedule(warmup_ratio=0.05), total_steps=1000)
    """
    check_optimizer(optimizer)
    check_truth("absolute", absolute)
    budget = checked_budget(total_steps)
    check_setting("lr", optimizer)
    schedules = per_group("schedule", schedule, optimizer, budget, "lr")
    for each in schedules:
        if not absolute and each is not None and concrete(largest_peak(each)) != 1:
            raise ValueError(
                "schedule.peak_value must be 1 unless absolute=True (a table whose values are all "
                "below 0.1 is taken for rates too): LambdaLR multiplies the lr of each group with "
                "the schedule, and a rate given to both is squared (lr²); got "
                f"{shown(largest_peak(each))}"
            )
    if absolute and not is_list(schedule):
        check_alike("lr", schedule, optimizer)
    checked_count("last_epoch", last_epoch, -1)
    doubt = None if absolute else _check_beginning(optimizer, last_epoch)
    for key in ("lr", "initial_lr"):
        own_numbers(optimizer, key)
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", copied(group["lr"]))
    # Equal schedules share one partial. LambdaLR saves the attributes of other callables, and would
    # bring the old budget back on load.
    read: Any = value_now if isinstance(budget, WallClock) else value
    lambdas: dict[int, Any] = {
        id(each): _alone if each is None else partial(read, each, budget) for each in schedules
    }
    kind = _Rates if absolute else _Factors
    scheduler = kind(optimizer, [lambdas[id(each)] for each in schedules], last_epoch, budget)
    scheduler._doubt = doubt
    return scheduler


def value(schedule: Function, T: float, t: float) -> float:
    """The value after t steps."""
    return checked_value("schedule", schedule(t, T))


def value_now(schedule: Function, clock: WallClock, t: float) -> float:
    """The value at the time of a clock, after any number of steps."""
    return value(schedule, clock.T, clock.t)


def _alone(t: float) -> None:
    """No value: the group's rate is left alone."""


def _check_beginning(optimizer: Optimizer, last_epoch: int) -> str | None:
    """Refuse two rates to begin from, or return a warning if a state may still decide."""
    groups, begun = optimizer.param_groups, getattr(optimizer, "_opt_called", False)
    remembered = any("initial_lr" in group for group in groups)
    if last_epoch >= 0 and not remembered:
        raise ValueError(
            "last_epoch must be -1 if a group has no 'initial_lr', which the optimizer's "
            f"saved state brings; got {last_epoch!r}"
        )
    firsts = [float(group.get("initial_lr", group["lr"])) for group in groups]
    # Without a state, the groups may have been given first rates, as OneTrainer's are.
    if remembered and not begun and optimizer.state:
        _check_loaded(defaults(optimizer).get("lr"), firsts)
    if last_epoch >= 0:
        return None
    kept = set_by_us(optimizer, "lr")
    for index, (group, first) in enumerate(zip(groups, firsts, strict=True)):
        rate = float(group["lr"])
        if first == rate or index in kept:
            continue
        if begun:
            raise ValueError(
                f"lr of parameter group {index} must be its 'initial_lr', {first}, which an "
                "earlier scheduler left and from which a new one begins; got "
                f"{rate}. To begin from lr, del group['initial_lr']; to begin from the first rate, "
                "group['lr'] = group['initial_lr']; to go on, give last_epoch"
            )
        # Another scheduler is made beside it, or the scheduler's state is loaded next.
        return (
            f"lr of parameter group {index} was {rate} when this scheduler was made, and its "
            f"'initial_lr' {first}: the schedule began from {first}. To begin from lr, del "
            "group['initial_lr'] before; to go on, load the scheduler's state, or give last_epoch"
        )
    return None


def _check_loaded(default: Any, firsts: list[float]) -> None:
    """Warn of first rates in a loaded state, unless all are the one that the optimizer was given.

    The rates that its groups were given are lost: the state has replaced them.
    """
    if default is None or all(_agree(default, first) for first in firsts):
        return
    warnings.warn(
        f"the default lr of the optimizer was {float(default)} when it was made, and its loaded "
        f"state has the first rates {firsts}, from which the schedule begins, whatever lr the "
        "groups were made with. Make the scheduler before the optimizer loads its state: the "
        "rates are then compared. To begin from another one, set group['initial_lr'] to it in "
        "each parameter group before the scheduler is made",
        UserWarning,
        stacklevel=4,
    )


def _has_scales_in(groups: Sequence[dict[str, Any]]) -> bool:
    return has_scales_in(groups, [group.get("initial_lr", group["lr"]) for group in groups])


def _agree(a: Any, b: Any) -> bool:
    """Whether two rates are the same but for rounding in float32."""
    return math.isclose(a, b, rel_tol=1e-6)


class _Factors(GroupScheduler, LambdaLR):
    """A LambdaLR that keeps its own budget on load, and takes groups added later."""

    _way = (
        "For another rate of a group, set group['initial_lr'] to it and make a new "
        "lambda_lr(..., last_epoch=scheduler.last_epoch - 1)"
    )

    def __init__(
        self, optimizer: Optimizer, lambdas: list[Any], last_epoch: int, budget: int | WallClock
    ) -> None:
        self._budget = budget
        groups = optimizer.param_groups
        self._scales_in = [_has_scales_in(groups)] * len(groups)
        super().__init__(optimizer, lambdas, last_epoch=last_epoch)

    def state_dict(self) -> dict[str, Any]:
        state = LambdaLR.state_dict(self)
        for name in ("_budget", "_marks", "_doubt"):
            state.pop(name, None)
        state["_last_lr"] = [float(rate) for rate in self._last_lr]
        return with_clock(state, self._budget)

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        count = len(self.optimizer.param_groups)
        kinds = {"base_lrs": Tensor | Real, "lr_lambdas": dict | None}
        for name, kind in kinds.items():
            found = state_dict.get(name)
            if (
                not isinstance(found, list)
                or not 1 <= len(found) <= count
                or not all(isinstance(each, kind) for each in found)
            ):
                raise ValueError(
                    f"{name} in state_dict must be a list with one for each of the {count} "
                    f"parameter groups, as in the state of a LambdaLR; got {shown(found)}. With "
                    "another scheduler's state, give last_epoch=state_dict['last_epoch'] - 1 to "
                    "lambda_lr instead"
                )
        self._check_bases(state_dict["base_lrs"])

    def _check_bases(self, saved: list[Any]) -> None:
        lambdas: list[Any] = self.lr_lambdas
        used = [function is not _alone for function in lambdas]
        pairs = [*zip(used, map(float, self.base_lrs), map(float, saved), strict=False)]
        if not all(_agree(ours, theirs) for is_used, ours, theirs in pairs if is_used):
            raise ValueError(
                f"base_lrs in state_dict must be {[ours for _, ours, _ in pairs]}, the lr of the "
                f"optimizer here; got {[theirs for *_, theirs in pairs]}, that of the run that was "
                "saved. To go on with that, make the optimizer with it; to go on with the new one, "
                "set state_dict['base_lrs'] to it, or make the scheduler with last_epoch and load "
                "no state"
            )

    def _load(self, state_dict: dict[str, Any]) -> None:
        count = len(state_dict["base_lrs"])  # The other groups were added since the save.
        added, scales_in = self.base_lrs[count:], self._scales_in
        LambdaLR.load_state_dict(self, state_dict)
        self.base_lrs = [*self.base_lrs, *added]
        saved = state_dict.get("_scales_in", scales_in[:count])
        self._scales_in = [*saved, *scales_in[count:]]

    def _rates(self, t: float) -> Sequence[float | Tensor | None]:
        numbers: list[Any] = []
        asked = None  # Groups that share a lambda are usual. It is called once.
        for function in self.lr_lambdas:
            if function is not asked:
                asked, number = function, function(t)  # type: ignore[arg-type]
            numbers.append(number)
        return self._of(numbers)

    def _of(self, numbers: list[Any]) -> list[Any]:
        """The rates of the groups, from the numbers of the lambdas."""
        pairs = zip(self.base_lrs, numbers, strict=True)
        rates = [None if number is None else base * number for base, number in pairs]
        groups = self.optimizer.param_groups
        if True in self._scales_in:  # A scale that is in the rate is not applied again.
            both = zip(groups, self._scales_in, strict=True)
            groups = [{} if is_in else group for group, is_in in both]
        return scaled(groups, rates)

    def _take(self, places: Sequence[int | None]) -> None:
        groups, lambdas = self.optimizer.param_groups, self.lr_lambdas
        if None in places:
            way = f"lambda_lr(optimizer, [...], ..., last_epoch={self.last_epoch - 1})"
            check_added("schedule", len(groups), lambdas, way)
            check_setting("lr", self.optimizer)
            self._check_added(places, way)
        own_numbers(self.optimizer, "lr")
        self._forget_copied(places)
        rates = [copied(group.setdefault("initial_lr", copied(group["lr"]))) for group in groups]
        # New lists: a state that was saved or loaded holds the old ones.
        self.base_lrs = [
            rate if i is None else self.base_lrs[i] for rate, i in zip(rates, places, strict=True)
        ]
        self.lr_lambdas = [lambdas[0] if i is None else lambdas[i] for i in places]
        self._take_scales(places)

    def _take_scales(self, places: Sequence[int | None]) -> None:
        """Apply the scale of a new group, unless it is in its rate as in those of the others."""
        flags = [None if i is None else self._scales_in[i] for i in places]
        pairs = [*zip(self.optimizer.param_groups, flags, strict=True)]
        like = [group for group, is_in in pairs if is_in is (True in flags)]
        self._scales_in = [
            _has_scales_in([*like, group]) if is_in is None else is_in for group, is_in in pairs
        ]

    def _forget_copied(self, places: Sequence[int | None]) -> None:
        """Let a new group that is a copy of another one begin from its own lr, if it has one."""
        groups = self.optimizer.param_groups
        known = [
            float(group["lr"]) for group, i in zip(groups, places, strict=True) if i is not None
        ]
        for group, i in zip(groups, places, strict=True):
            if i is None and float(group["lr"]) not in known:
                group.pop("initial_lr", None)

    def _check_added(self, places: Sequence[int | None], way: str) -> None:
        """Accept any rate of a new group, since it is multiplied."""


class _Rates(_Factors):
    """The same for lambdas that give the rate itself."""

    _way = GroupScheduler._way

    def _of(self, numbers: list[Any]) -> list[Any]:
        return scaled(self.optimizer.param_groups, numbers)

    def _check_bases(self, saved: list[Any]) -> None:
        """Accept any rates, since those of the optimizers are not used."""

    def _check_added(self, places: Sequence[int | None], way: str) -> None:
        check_wish("lr", self.optimizer, places, way)
