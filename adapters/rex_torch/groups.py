"""The parameter groups of an optimizer: their settings, and who set these."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from numbers import Real
from operator import is_
from typing import Any

import numpy as np
from torch import Tensor
from torch.optim import Optimizer, Rprop

from rex_core.adapting import shown

Group = dict[str, Any]
# What PyTorch's schedulers note in a group, beside the settings of the optimizer.
_NOTES = {"initial_lr", "max_lr", "min_lr", "swa_lr", "base_momentum", "max_momentum"}
# Names of these settings in other libraries.
_ELSEWHERE = {
    "learning_rate": "lr",
    **dict.fromkeys(("b1", "beta1", "beta_1"), "momentum"),
    **dict.fromkeys(("b2", "beta_2"), "beta2"),
}


def check_kind(optimizer: Any) -> None:
    """Accept PyTorch's optimizers and subclasses of them."""
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer must be a torch.optim.Optimizer; got {shown(optimizer)}")


def defaults(optimizer: Optimizer) -> Group:
    """The default settings of groups. A wrapper of an optimizer may have none."""
    found: Group = getattr(optimizer, "defaults", {})
    return found


def check_optimizer(optimizer: Any) -> None:
    """Accept optimizers of PyTorch whose step a scheduler can watch."""
    check_kind(optimizer)
    step = optimizer.step
    if not hasattr(step, "__func__") and not hasattr(step, "_wrapped_by_lr_sched"):
        raise ValueError(
            "optimizer.step must be a method, which PyTorch's schedulers wrap: make the scheduler "
            f"first, then compile or replace optimizer.step; got {shown(step)}"
        )


def place(name: str, group: Group) -> tuple[str, int | None]:
    """Where a group has a setting: the key, and the place in a tuple if it is in one."""
    if name == "beta2":
        return "betas", 1
    if name == "momentum" and "momentum" not in group:
        return "betas", 0
    return name, None


def content(name: str, group: Group) -> Any:
    """The value of a setting in a group that has it."""
    key, index = place(name, group)
    return group[key] if index is None else group[key][index]


def check_setting(name: str, optimizer: Optimizer) -> None:
    """Refuse a setting that not all groups have, and a rate that the optimizer would ignore."""
    kind = type(optimizer).__name__
    if name in _NOTES - defaults(optimizer).keys():
        raise ValueError(
            f"{name} must be left out: a scheduler of PyTorch notes it in the groups, and {kind} "
            "does not read it. Give lr or momentum a schedule"
        )
    for number, group in enumerate(optimizer.param_groups):
        key, _ = place(name, group)
        if key not in group:
            own = ", ".join(sorted(group.keys() - {"params", *_NOTES}))
            meant = _ELSEWHERE.get(name)
            hint = meant is not None and place(meant, group)[0] in group
            raise ValueError(
                f"{name} must be None for {kind}, since parameter group {number} has only {own}"
                + f" (is {meant} meant?)" * hint
            )
        found = content(name, group)
        if not _is_settable(found):
            raise ValueError(
                f"{name} must be a number in each parameter group of {kind} for a schedule to set "
                f"it, or a tensor of one float that needs no gradient, as in {kind}(..., "
                f"{name}=...); group {number} has {shown(found)}"
            )
        if name == "lr" and group.get("relative_step"):
            raise ValueError(
                f"relative_step must be False in the parameter groups of {kind}: with it, the "
                f"optimizer ignores the lr that is set; group {number} has True"
            )
    if name == "lr" and isinstance(optimizer, Rprop):
        raise ValueError(
            "lr must be left alone for Rprop, which reads it at the first update only; give "
            "HyperparamScheduler another setting, or leave out the scheduler"
        )


def _is_settable(found: Any) -> bool:
    if isinstance(found, Tensor):
        return found.numel() == 1 and found.is_floating_point() and not found.requires_grad
    return isinstance(found, Real) and not isinstance(found, bool)


def check_alike(name: str, schedule: Any, optimizer: Optimizer) -> None:
    """Refuse one schedule for groups whose values of its setting differ."""
    groups = optimizer.param_groups
    numbers = [float(content(name, group)) for group in groups]
    alike = len(set(numbers)) == 1
    if not alike and not (name == "lr" and has_scales_in(groups, numbers)):
        example = ["schedule"] + ["None"] * (len(groups) - 1)
        raise ValueError(
            f"{name} must be a list with a schedule, or None to leave it alone, for each of the "
            f"{len(groups)} parameter groups, as in [{', '.join(example)}], since they differ in "
            f"it and one schedule would make them equal (lambda_lr multiplies each group's own lr "
            f"instead); they have {shown(numbers)}, and got {shown(schedule)}"
        )


def scaled(groups: Sequence[Group], rates: Sequence[Any]) -> list[Any]:
    """Rates, times the "lr_scale" of a group: timm and others have one for each layer."""
    return [
        rate * _scale(group) if "lr_scale" in group and rate is not None else rate
        for group, rate in zip(groups, rates, strict=True)
    ]


def has_scales_in(groups: Sequence[Group], rates: Sequence[Any]) -> bool:
    """Whether the rates are one rate times the "lr_scale" of each group already.

    timm leaves the rates equal. MMEngine and others multiply them. A rate may be a float32 tensor.
    """
    bare = [float(rate) / (_scale(group) or 1.0) for group, rate in zip(groups, rates, strict=True)]
    differ = len({float(rate) for rate in rates}) > 1
    return bool(differ and np.ptp(bare) <= 1e-6 * max(bare))


def _scale(group: Group) -> float:
    found = group.get("lr_scale")
    return 1.0 if found is None else float(found)


def own_numbers(optimizer: Optimizer, key: str) -> None:
    """Give each group, and the defaults, tensors of their own. NumPy's scalars become floats.

    ``SGD(groups, lr=torch.tensor(0.1))`` puts one tensor everywhere. Filling it for one group would
    change the other groups, and the default for a group added later. A scalar of NumPy's would get
    into a saved state, times a factor. `torch.load` does not read this state safely.
    """
    seen: set[int] = set()
    for settings in (*optimizer.param_groups, defaults(optimizer)):
        found = settings.get(key)
        if isinstance(found, np.generic):
            settings[key] = found.item()
        parts = found if isinstance(found, tuple | list) else (found,)
        tensors = {id(part) for part in parts if isinstance(part, Tensor)}
        if seen & tensors:
            settings[key] = copied(found)
        seen |= tensors


def own_first_rates(optimizer: Optimizer) -> None:
    """Part each rate from its first rate: SequentialLR of PyTorch 2.8 makes both one tensor."""
    for group in optimizer.param_groups:
        if group["lr"] is group.get("initial_lr"):
            group["lr"] = copied(group["lr"])


def copied(found: Any) -> Any:
    """A copy of a group's setting. Filling the group's tensors does not change it."""
    if isinstance(found, tuple | list):
        return tuple(map(copied, found))
    return found.clone() if isinstance(found, Tensor) else found


def put(group: Group, name: str, number: Any) -> Any:
    """Set a setting of a group, in place if it is a tensor, and return a mark of the new value.

    None leaves the setting alone, and is its mark.
    """
    if number is None:
        return None
    if group.get(name).__class__ is float:  # The cheapest check.
        group[name] = number
        return number
    key, index = place(name, group)
    found = group[key] if index is None else group[key][index]
    if isinstance(found, Tensor):
        found.fill_(number.squeeze() if isinstance(number, Tensor) else number)
        return found, _version(found), number
    if index is None:
        group[key] = number
    else:
        group[key] = (*group[key][:index], number, *group[key][index + 1 :])
    return number


def current_rates(optimizer: Optimizer) -> list[float | Tensor]:
    """The learning rate of each group, in copies."""
    rates = [group["lr"] for group in optimizer.param_groups]
    return [rate if rate.__class__ is float else copied(rate) for rate in rates]


def origins(known: Sequence[Group], groups: Sequence[Group]) -> list[int | None] | None:
    """The number of each group among the known ones, None for a new one. None if nothing changed.

    A group is the same at another place too. It is also the same if ``load_state_dict`` of the
    optimizer has made a new dictionary around its list of parameters.
    """
    if len(groups) == len(known) and all(map(is_, groups, known)):
        return None
    places = {id(group["params"]): i for i, group in enumerate(known)}
    places |= {id(group): i for i, group in enumerate(known)}
    return [places.get(id(group), places.get(id(group["params"]))) for group in groups]


class Marks:
    """The values that a scheduler has set last. They show it what other code has set since.

    An optimizer that loads a state makes a new dictionary of each group. A group keeps its marks.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        self.groups = [*groups]
        self.set: dict[str, list[Any]] = {}
        self.warned: set[tuple[str, int]] = set()

    def put(self, name: str, numbers: Sequence[Any]) -> None:
        """Set a setting in all groups but those whose number is None."""
        self.set[name] = [*map(put, self.groups, repeat(name), numbers)]

    def foreign(self) -> list[tuple[str, int, Any]]:
        """The settings that other code has changed: name, number of the group and content."""
        return [
            (name, index, content(name, group))
            for name, marks in self.set.items()
            for index, (group, mark) in enumerate(zip(self.groups, marks, strict=True))
            if group.get(name) is not mark and mark is not None and _changed(name, group, mark)
        ]

    def kept(self, name: str, groups: Sequence[Group]) -> set[int]:
        """The numbers of the groups that still have the value that was set."""
        marks = self._moved(name, origins(self.groups, groups) or range(len(groups)))
        return {
            index
            for index, (group, mark) in enumerate(zip(groups, marks, strict=True))
            if mark is not None and not _changed(name, group, mark)
        }

    def move(self, groups: Sequence[Group], places: Sequence[int | None]) -> None:
        """Go over to new groups."""
        self.set = {name: self._moved(name, places) for name in self.set}
        self.groups = [*groups]

    def _moved(self, name: str, places: Iterable[int | None]) -> list[Any]:
        marks = self.set.get(name, [None] * len(self.groups))
        return [None if i is None else marks[i] for i in places]

    def __getstate__(self) -> dict[str, Any]:
        # The version of a copied tensor begins anew.
        numbers = {
            name: [None if isinstance(mark, tuple) else mark for mark in marks]
            for name, marks in self.set.items()
        }
        return {"groups": self.groups, "set": numbers, "warned": self.warned}


def _version(tensor: Tensor) -> int:
    """How often a tensor was written to. Reading its value would wait for the device."""
    return 0 if tensor.is_inference() else tensor._version


def _changed(name: str, group: Group, mark: Any) -> bool:
    try:
        found = content(name, group)
    except KeyError:  # The setting was taken out of the group.
        return False
    if isinstance(mark, tuple):
        tensor, version, mark = mark
        if found is tensor and _version(tensor) == version:
            return False
    return bool(found != mark)


@contextmanager
def others_kept(
    optimizer: Optimizer, marks: Marks, names: Iterable[str], state_dict: Mapping[str, Any]
) -> Iterator[None]:
    """Keep the values that another scheduler has set, while this one loads its state.

    An optimizer that has loaded a state has new dictionaries for its groups. A value in a new
    dictionary is another scheduler's if it differs from the value that the saved scheduler set
    last. state_dict has this value. A value in an old dictionary is the one that this scheduler set
    when it was made, in a run that goes on. It is not kept.
    """
    before = {id(group) for group in marks.groups}
    theirs = []
    for name in names:
        lasts = state_dict.get(f"_last_{name}", ())
        if not isinstance(lasts, Sequence):
            raise ValueError(f"_last_{name} in state_dict must be a list; got {shown(lasts)}")
        for index, (group, last) in enumerate(zip(optimizer.param_groups, lasts, strict=False)):
            if id(group) not in before and last is not None and content(name, group) != last:
                theirs.append((name, index, copied(content(name, group)), last))
    yield
    for name, index, number, last in theirs:
        put(optimizer.param_groups[index], name, number)
        marks.set[name][index] = last
