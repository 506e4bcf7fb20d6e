"""The parameter groups of an optimizer: what is set in them, by whom, and what was there before."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from numbers import Real
from operator import is_
from typing import Any

import numpy as np
from torch import Tensor
from torch.optim import Optimizer

from rex_core.adapting import shown

Group = dict[str, Any]


def check_optimizer(optimizer: Any) -> None:
    """Accept PyTorch's optimizers and subclasses of them, whose step a scheduler can watch."""
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer must be a torch.optim.Optimizer; got {shown(optimizer)}")
    step = optimizer.step
    if not hasattr(step, "__func__") and not hasattr(step, "_wrapped_by_lr_sched"):
        raise ValueError(
            "optimizer.step must be a method, which PyTorch's schedulers wrap: make the scheduler "
            f"first, then compile or replace optimizer.step; got {shown(step)}"
        )


def place(name: str, group: Group) -> tuple[str, int | None]:
    """Where a group has a setting: the key, and the place if what stands there is a tuple."""
    if name == "beta2":
        return "betas", 1
    if name == "momentum" and "momentum" not in group:
        return "betas", 0
    return name, None


def content(name: str, group: Group) -> Any:
    """A setting of a group, which has it."""
    key, index = place(name, group)
    return group[key] if index is None else group[key][index]


def check_setting(name: str, optimizer: Optimizer) -> None:
    """Refuse a setting that not all groups have, and a rate that the optimizer would ignore."""
    kind = type(optimizer).__name__
    for number, group in enumerate(optimizer.param_groups):
        key, _ = place(name, group)
        if key not in group:
            own = ", ".join(sorted(group.keys() - {"params", "initial_lr"}))
            raise ValueError(
                f"{name} must be None for {kind}, since parameter group {number} has only {own}"
            )
        found = content(name, group)
        if not isinstance(found, Tensor | Real) or isinstance(found, bool):
            raise ValueError(
                f"{name} must be a number in each parameter group of {kind} for a schedule to set "
                f"it, as in {kind}(..., {name}=...); group {number} has {shown(found)}"
            )
        if name == "lr" and group.get("relative_step"):
            raise ValueError(
                f"relative_step must be False in the parameter groups of {kind}: with it, the "
                f"optimizer ignores the lr that is set; group {number} has True"
            )


def check_alike(name: str, schedule: Any, optimizer: Optimizer) -> None:
    """Refuse one schedule for groups that differ in what it would set."""
    groups = optimizer.param_groups
    numbers = [float(content(name, group)) for group in groups]
    alike = len(set(numbers)) == 1
    if name == "lr" and not alike:
        scales = [group.get("lr_scale") or 1.0 for group in groups]
        bare = [number / scale for number, scale in zip(numbers, scales, strict=True)]
        alike = np.ptp(bare) <= 1e-9 * max(bare)
    if not alike:
        example = ["schedule"] + ["None"] * (len(groups) - 1)
        raise ValueError(
            f"{name} must be a list with a schedule, or None to leave it alone, for each of the "
            f"{len(groups)} parameter groups, as in [{', '.join(example)}], since they differ in "
            f"it and one schedule would make them equal (lambda_lr multiplies each group's own lr "
            f"instead); they have {shown(numbers)}, and got {shown(schedule)}"
        )


def scaled(groups: Sequence[Group], rates: Sequence[Any]) -> list[Any]:
    """Rates, times what timm and others have in a group for its layer, an "lr_scale"."""
    return [
        rate * group["lr_scale"] if "lr_scale" in group and rate is not None else rate
        for group, rate in zip(groups, rates, strict=True)
    ]


def own_numbers(optimizer: Optimizer, key: str) -> None:
    """Give each group its own tensors, the optimizer's defaults theirs, and all plain floats.

    ``SGD(groups, lr=torch.tensor(0.1))`` puts one tensor everywhere: filled for one group it would
    change the others, and what a group added later starts from. A scalar of NumPy's would come
    back, times a factor, in a state that `torch.load` then does not read safely.
    """
    seen: set[int] = set()
    for settings in (*optimizer.param_groups, optimizer.defaults):
        found = settings.get(key)
        if isinstance(found, np.generic):
            settings[key] = found.item()
        parts = found if isinstance(found, tuple) else (found,)
        tensors = {id(part) for part in parts if isinstance(part, Tensor)}
        if seen & tensors:
            settings[key] = copied(found)
        seen |= tensors


def copied(found: Any) -> Any:
    """A setting of a group, in a copy that filling the group's tensors does not reach."""
    if isinstance(found, tuple):
        return tuple(map(copied, found))
    return found.clone() if isinstance(found, Tensor) else found


def put(group: Group, name: str, number: Any) -> Any:
    """Set a setting of a group, in place if it is a tensor, and return the mark of that.

    None leaves it alone, and is its mark.
    """
    if number is None:
        return None
    if group.get(name).__class__ is float:  # The cheapest question.
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
    """Which of the known groups each group is, and None for a new one; None if nothing changed.

    A group stays the same if it has another place, or if ``load_state_dict`` of the optimizer has
    made a new dictionary around its list of parameters.
    """
    if len(groups) == len(known) and all(map(is_, groups, known)):
        return None
    places = {id(group["params"]): i for i, group in enumerate(known)}
    places |= {id(group): i for i, group in enumerate(known)}
    return [places.get(id(group), places.get(id(group["params"]))) for group in groups]


class Marks:
    """What a scheduler has set last, by which it sees what somebody else has set since."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self.groups = [*groups]
        self.set: dict[str, list[Any]] = {}

    def put(self, name: str, numbers: Sequence[Any]) -> None:
        """Set a setting in all groups but those whose number is None."""
        self.set[name] = [*map(put, self.groups, repeat(name), numbers)]

    def foreign(self) -> list[tuple[str, int, Any]]:
        """The settings that are not what was set: name, number of the group and content."""
        return [
            (name, index, content(name, group))
            for name, marks in self.set.items()
            for index, (group, mark) in enumerate(zip(self.groups, marks, strict=True))
            if group.get(name) is not mark and mark is not None and _changed(name, group, mark)
        ]

    def move(self, groups: Sequence[Group], places: Sequence[int | None]) -> None:
        """Go over to new groups; what was set is known of those dictionaries that stay."""
        stayed = [
            None if i is None or self.groups[i] is not group else i
            for group, i in zip(groups, places, strict=True)
        ]
        for name, marks in self.set.items():
            self.set[name] = [None if i is None else marks[i] for i in stayed]
        self.groups = [*groups]

    def __getstate__(self) -> dict[str, Any]:
        return {"groups": self.groups, "set": {}}  # A copied tensor begins to count anew.


def _version(tensor: Tensor) -> int:
    """How often a tensor was written to: asking for its value would wait for the device."""
    return 0 if tensor.is_inference() else tensor._version


def _changed(name: str, group: Group, mark: Any) -> bool:
    try:
        found = content(name, group)
    except KeyError:  # It was taken out of the group.
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
    """Undo what happens within to settings that another scheduler has set.

    They are those that differ from what the scheduler of the state, which says so, set last, in
    groups that the optimizer has made new, since it has loaded a state. In the others they are what
    this scheduler set when it was made, for a run that is going on.
    """
    before = {id(group) for group in marks.groups}
    theirs = []
    for name in names:
        lasts = state_dict.get(f"_last_{name}", ())
        for index, (group, last) in enumerate(zip(optimizer.param_groups, lasts, strict=False)):
            if id(group) not in before and last is not None and content(name, group) != last:
                theirs.append((name, index, copied(content(name, group))))
    yield
    for name, index, number in theirs:
        put(optimizer.param_groups[index], name, number)
        marks.set[name][index] = None
