"""A LambdaLR from named arguments, for trainers with a config."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from rex_core import Restarts, Schedule, bind
from rex_core.adapting import Bound, checked_function, number
from rex_torch.lambda_lr import lambda_lr

Name = str | Mapping[str, Any] | Any


def schedule_lr(
    optimizer: Optimizer,
    total_steps: Any,
    *,
    profile: Name = "rex",
    sampling: Name = "every_step",
    beta: float | None = None,
    gamma: float | None = None,
    power: float | None = None,
    k: float | None = None,
    ratio: float | None = None,
    timescale: float | None = None,
    lower: float | None = None,
    upper: float | None = None,
    milestones: Sequence[float] | None = None,
    factor: float | None = None,
    values: Sequence[float] | None = None,
    end_ratio: float = 0.0,
    init_ratio: float = 0.0,
    warmup_steps: float = 0,
    warmup_ratio: float = 0.0,
    warmup_profile: Name = "linear",
    hold_steps: float = 0,
    hold_ratio: float = 0.0,
    decay_steps: float | None = None,
    decay_ratio: float | None = None,
    cycles: int = 1,
    period_mult: float = 1,
    peak_mult: float = 1,
    last_epoch: int = -1,
) -> LambdaLR:
    """A schedule as the learning rate of an optimizer, with a named argument for each setting.

    The rate of each group is its own lr times ``Schedule(profile, sampling, ...)`` with a peak of
    1, as with `lambda_lr`. A config can write all arguments. Step the scheduler once per update.

    Each number may also be text, such as "1e-3". YAML makes text of 1e-3, and some command lines
    make text of every number.

    Args:
        optimizer: The optimizer.
        total_steps: The budget in calls of ``step()``, an integer >= 1, or a `rex_core.WallClock`.
        profile: The curve by its name, such as "rex", "linear" or "cosine"; or a function, or the
            dictionary {name: parameters}.
        sampling: How often the curve is read, in the same way.
        beta: β of "rex", in [-1e30, 1).
        gamma: γ of "exponential".
        power: The power of "cosine" or "polynomial".
        k: The exponent of k-decay, of "cosine" or "polynomial".
        ratio: The last factor of "geometric".
        timescale: The timescale of "inverse_sqrt".
        lower: The first point of "tanh".
        upper: The last point of "tanh".
        milestones: The milestones of "step".
        factor: The factor at each milestone of "step".
        values: The values of "interpolate".
        end_ratio: The end as a share of the peak.
        init_ratio: The beginning of the warmup as a share of the peak.
        warmup_steps: The warmup in steps.
        warmup_ratio: The warmup as a share of total_steps.
        warmup_profile: The profile of the warmup, reversed in time.
        hold_steps: The steps at the peak before the decay.
        hold_ratio: The hold as a share of total_steps.
        decay_steps: The decay in steps, back from the end.
        decay_ratio: The decay as a share of total_steps.
        cycles: How often the schedule runs within the budget, from 1 to 100.
        period_mult: The length of each cycle divided by the length of the one before.
        peak_mult: The peak of each cycle divided by the peak of the one before.
        last_epoch: As in PyTorch: the number of calls of ``step()`` so far, less one.

    Returns:
        The scheduler, as from `lambda_lr`.

    Raises:
        ValueError: A setting is out of range, two say the same, or the profile has no such
            parameter.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(3))], lr=0.1)
    >>> scheduler = schedule_lr(optimizer, 1000, profile="rex", beta=0.9, warmup_ratio=0.05)
    """
    given: dict[str, Any] = {
        "beta": beta,
        "gamma": gamma,
        "power": power,
        "k": k,
        "ratio": ratio,
        "timescale": timescale,
        "lower": lower,
        "upper": upper,
        "milestones": milestones,
        "factor": factor,
        "values": values,
    }
    params = {name: _number(value) for name, value in given.items() if value is not None}
    # A name may stand for a profile that needs a parameter.
    curve = profile if isinstance(profile, str) else checked_function("profile", profile)
    if params:
        known = dict(curve.params) if isinstance(curve, Bound) else {}
        for name in params.keys() & known.keys():
            raise ValueError(
                f"{name} must be given once, as an argument or in profile; got {params[name]} "
                f"beside {curve!r}"
            )
        curve = bind(getattr(curve, "function", curve), **{**known, **params})
    with _renamed(end_value="end_ratio", init_value="init_ratio"):
        schedule: Any = Schedule(
            curve,
            sampling,
            end_value=_number(end_ratio),
            init_value=_number(init_ratio),
            warmup_steps=_number(warmup_steps),
            warmup_ratio=_number(warmup_ratio),
            warmup_profile=warmup_profile,
            hold_steps=_number(hold_steps),
            hold_ratio=_number(hold_ratio),
            decay_steps=_number(decay_steps),
            decay_ratio=_number(decay_ratio),
        )
    cycles, period_mult, peak_mult = map(_number, (cycles, period_mult, peak_mult))
    if not (cycles == 1 and period_mult == 1 and peak_mult == 1):
        schedule = Restarts(schedule, cycles, period_mult=period_mult, peak_mult=peak_mult)
    return lambda_lr(optimizer, schedule, _number(total_steps), last_epoch=_number(last_epoch))


def _number(value: Any) -> Any:
    """The number in a text, and the numbers of a list; all else as it is."""
    if isinstance(value, str):
        return number(value)
    return [*map(_number, value)] if isinstance(value, Sequence) else value


def get_rex_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    beta: float = 0.5,
    min_lr_ratio: float = 0.0,
    last_epoch: int = -1,
) -> LambdaLR:
    """REX after a linear warmup, under the argument names of Hugging Face's schedules.

    Args:
        optimizer: The optimizer.
        num_warmup_steps: The warmup in steps, >= 0 and below num_training_steps.
        num_training_steps: The budget in calls of ``step()``, the warmup included; >= 1.
        beta: β of `rex_core.rex`, in [-1e30, 1).
        min_lr_ratio: The end as a share of the peak.
        last_epoch: As in PyTorch: the number of calls of ``step()`` so far, less one.

    Returns:
        The scheduler, as from `lambda_lr`.

    Raises:
        ValueError: A setting is out of range.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(3))], lr=0.1)
    >>> scheduler = get_rex_schedule_with_warmup(optimizer, 100, 1000)
    """
    with _renamed(
        end_ratio="min_lr_ratio", total_steps="num_training_steps", warmup_steps="num_warmup_steps"
    ):
        return schedule_lr(
            optimizer,
            num_training_steps,
            beta=beta,
            end_ratio=min_lr_ratio,
            warmup_steps=num_warmup_steps,
            last_epoch=last_epoch,
        )


@contextmanager
def _renamed(**names: str) -> Iterator[None]:
    """Let errors name the arguments of the caller."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        for ours, theirs in names.items():
            text = text.replace(ours, theirs)
        raise ValueError(text) from error
