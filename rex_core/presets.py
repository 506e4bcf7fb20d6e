"""The schedules that have a name: settings of `rex_core.Schedule`, and nothing more."""

from typing import Any, NamedTuple

from rex_core.profiles import linear, one_minus_sqrt, rex, step
from rex_core.progress import anything, check, is_number, plain, proper, shortest
from rex_core.schedule import Function, Schedule, bind


def demon(init_value: Any = 0.9) -> Schedule:
    """Demon, decaying momentum: β_t = β₀·r / ((1 - β₀) + β₀·r), with r = (T - t)/T.

    The same curve as `rex_core.rex` with β = β₀, times β₀.

    Args:
        init_value: β₀, in [0, 1), the momentum at t = 0; any shape.

    Returns:
        A schedule of momentum (or of Adam's b1), from β₀ to 0.

    Raises:
        ValueError: init_value is not in [0, 1).

    >>> [round(demon()(t, 100), 4) for t in (0, 50, 90, 100)]
    [0.9, 0.8182, 0.4737, 0.0]

    Source: Chen, Wolfe, Li, Kyrillidis, "Demon: Improved Neural Network Training with Momentum
    Decay", arXiv 1910.04952.
    """
    check("init_value", init_value, "in [0, 1)", proper)
    return Schedule(bind(rex, beta=init_value), peak_value=init_value)


class OneCycle(NamedTuple):
    """What `one_cycle` returns.

    Attributes:
        lr: The schedule of the learning rate.
        momentum: The schedule of the momentum (or of Adam's b1).
    """

    lr: Schedule
    momentum: Schedule


def one_cycle(
    peak_value: Any = 1.0,
    *,
    init_value: Any = None,
    end_value: Any = None,
    warmup_ratio: Any = 0.5,
    profile: Function = linear,
    max_momentum: Any = 0.95,
    min_momentum: Any = 0.85,
) -> OneCycle:
    """OneCycle: the rate rises and falls once, the momentum falls and rises, its mirror image.

    The defaults are Smith's triangle as the REX paper runs it. PyTorch's ``OneCycleLR(max_lr=p)``
    is ``one_cycle(p, init_value=p/25, end_value=p/25e4, warmup_ratio=0.3, profile=cosine)``, except
    that PyTorch peaks one step earlier, at 0.3·T - 1, and ends at T - 1.

    Args:
        peak_value: The highest rate, at warmup_ratio·T.
        init_value: The rate at t = 0; a tenth of the peak by default.
        end_value: The rate at t = T; a tenth of the peak by default.
        warmup_ratio: Where in the budget the peak is, in [0, 1).
        profile: The curve of both halves; the first is it reversed in time.
        max_momentum: The momentum at t = 0 and at t = T.
        min_momentum: The momentum at the peak of the rate.

    Returns:
        A pair of schedules, lr and momentum.

    Raises:
        ValueError: What `rex_core.Schedule` refuses.

    >>> lr, momentum = one_cycle(1.0)
    >>> [(round(lr(t, 100), 4), round(momentum(t, 100), 4)) for t in (0, 25, 50, 75, 100)]
    [(0.1, 0.95), (0.55, 0.9), (1.0, 0.85), (0.55, 0.9), (0.1, 0.95)]

    Source: Smith, "A disciplined approach to neural network hyper-parameters: Part 1",
    arXiv 1803.09820; the numbers, arXiv 2107.04197 (REX).
    """
    check("peak_value", peak_value, "a finite number", anything)
    check("max_momentum", max_momentum, "a finite number", anything)
    check("min_momentum", min_momentum, "a finite number", anything)
    lr = Schedule(
        profile,
        peak_value=peak_value,
        init_value=0.1 * peak_value if init_value is None else init_value,
        end_value=0.1 * peak_value if end_value is None else end_value,
        warmup_ratio=warmup_ratio,
        warmup_profile=profile,
    )
    momentum = Schedule(
        profile,
        peak_value=min_momentum,
        init_value=max_momentum,
        end_value=max_momentum,
        warmup_ratio=warmup_ratio,
        warmup_profile=profile,
    )
    return OneCycle(lr, momentum)


def warmup_stable_decay(
    peak_value: Any = 1.0,
    *,
    warmup_ratio: float = 0.05,
    decay_ratio: float = 0.2,
    profile: Function = one_minus_sqrt,
    end_value: Any = 0.0,
) -> Schedule:
    """Warmup-stable-decay, the trapezoid: a short rise, a long plateau, a cooldown.

    Args:
        peak_value: The rate of the plateau.
        warmup_ratio: The share of the budget that the rise takes, in [0, 1).
        decay_ratio: The share of the budget that the cooldown takes, in (0, 1].
        profile: The curve of the cooldown.
        end_value: The rate at t = T, if the profile ends at 0.

    Returns:
        The schedule; its plateau takes what the other two shares leave.

    Raises:
        ValueError: A share out of range, or more than the whole budget in the two.

    >>> schedule = warmup_stable_decay(0.1, warmup_ratio=0.1)
    >>> [round(schedule(t, 100), 4) for t in (0, 5, 10, 80, 90, 100)]
    [0.0, 0.05, 0.1, 0.1, 0.0293, 0.0]

    Source: Hu et al., "MiniCPM", arXiv 2404.06395; the cooldown, Hägele et al.,
    arXiv 2405.18392.
    """
    warmup_ratio, decay_ratio = plain(warmup_ratio), plain(decay_ratio)
    if not is_number(warmup_ratio) or not proper(warmup_ratio):
        raise ValueError(f"warmup_ratio must be a number in [0, 1); got {warmup_ratio!r}")
    if not is_number(decay_ratio) or not 0 < decay_ratio <= 1:
        raise ValueError(f"decay_ratio must be a number in (0, 1]; got {decay_ratio!r}")
    hold_ratio = 1 - shortest(warmup_ratio) - shortest(decay_ratio)
    if hold_ratio < 0:
        raise ValueError(
            f"warmup_ratio + decay_ratio must be at most 1; got {warmup_ratio!r} + {decay_ratio!r}"
        )
    return Schedule(
        profile,
        peak_value=peak_value,
        end_value=end_value,
        warmup_ratio=warmup_ratio,
        hold_ratio=float(hold_ratio),
    )


def step_decay(
    peak_value: Any = 1.0, *, milestones: Any = (0.5, 0.75), factor: Any = 0.1
) -> Schedule:
    """Step decay: the rate times factor at each milestone.

    Args:
        peak_value: The rate before the first milestone.
        milestones: Increasing fractions of the budget, in (0, 1]; (0.3, 0.6, 0.9) is 30-60-90.
        factor: The factor at each milestone, in [0, 1].

    Returns:
        The schedule.

    Raises:
        ValueError: What `rex_core.step` refuses.

    >>> [round(step_decay(0.1)(t, 100), 4) for t in (0, 49, 50, 75, 100)]
    [0.1, 0.1, 0.01, 0.001, 0.001]

    Source: arXiv 2107.04197 (REX).
    """
    return Schedule(bind(step, milestones=milestones, factor=factor), peak_value=peak_value)


def delayed_linear(peak_value: Any = 1.0, *, delay: Any = 0.5, end_value: Any = 0.0) -> Schedule:
    """Delayed linear decay: constant for a share of the budget, then linear.

    Args:
        peak_value: The rate before the decay.
        delay: The share of the budget before the decay, in [0, 1).
        end_value: The rate at t = T.

    Returns:
        The schedule.

    Raises:
        ValueError: delay is not in [0, 1).

    >>> [round(delayed_linear(0.1)(t, 100), 4) for t in (0, 50, 75, 100)]
    [0.1, 0.1, 0.05, 0.0]

    Source: arXiv 2107.04197 (REX), "linear delayed X %".
    """
    check("delay", delay, "in [0, 1)", proper)
    return Schedule(linear, peak_value=peak_value, end_value=end_value, hold_ratio=delay)
