"""Schedules with a name: settings of `rex_core.Schedule`, and nothing more."""

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from rex_core.arrays import Real, namespace, shown
from rex_core.boundary import Milestone
from rex_core.compose import Product
from rex_core.functions import PRESETS, Function, bind
from rex_core.moment import as_float
from rex_core.names import check_names
from rex_core.profiles import (
    geometric,
    inverse_sqrt,
    linear,
    one_minus_sqrt,
    rex,
    step,
)
from rex_core.ranges import ANY, POSITIVE, SHARE, Range, check_truth
from rex_core.schedule import Schedule
from rex_core.values import Value

_RATIO = Range(1e-30, 1e30)
_TIMESCALE = Range(1, 1e30, integers=True)

P = TypeVar("P", bound=Callable[..., Any])


def preset(function: P) -> P:
    """Let `from_dict` call a preset by its name, and refuse unknown names with a hint."""
    accepted = [*signature(function).parameters]

    @wraps(function)
    def called(*args: Any, **params: Any) -> Any:
        check_names(function.__name__, params, accepted)
        return function(*args, **params)

    PRESETS[function.__name__] = called
    return cast(P, called)


@preset
def demon(init_value: Real = 0.9) -> Schedule:
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
    SHARE.check("init_value", init_value)
    return Schedule(bind(rex, beta=init_value), peak_value=init_value)


class Pair(Value, kind=True):
    """Two schedules for one optimizer, which unpack: ``lr, momentum = falling_momentum(0.1)``.

    Args:
        lr: The schedule of the learning rate.
        momentum: The schedule of the momentum (or of Adam's b1).
    """

    lr: Schedule | Product
    momentum: Schedule | Product
    _kinds: ClassVar[tuple[type[Value], ...]] = Schedule, Product

    def __init__(self, lr: Schedule | Product, momentum: Schedule | Product) -> None:
        for name, schedule in (("lr", lr), ("momentum", momentum)):
            if not isinstance(schedule, self._kinds):
                kinds = " or ".join(f"a {kind.__name__}" for kind in self._kinds)
                raise ValueError(f"{name} must be {kinds}; got {shown(schedule)}")
        self._set(lr=lr, momentum=momentum)

    def __iter__(self) -> Iterator[Schedule | Product]:
        return iter((self.lr, self.momentum))


class OneCycle(Pair, kind=True):
    """The `Pair` that `one_cycle` returns: both are a `Schedule`."""

    lr: Schedule
    momentum: Schedule
    _kinds = (Schedule,)

    if TYPE_CHECKING:

        def __init__(self, lr: Schedule, momentum: Schedule) -> None: ...
        def __iter__(self) -> Iterator[Schedule]: ...


@preset
def falling_momentum(
    peak_value: Real = 1.0,
    *,
    momentum: Real = 0.9,
    averaged: bool = False,
    beta: Real = 0.5,
    warmup_ratio: Real = 0.0,
) -> Pair:
    """REX, and a momentum that falls linearly to 0: for short runs above all.

    With r = (T - t)/T, the fraction left, and μ for momentum::

        momentum   m = μ·r
        rate       peak_value · rex · (1 - m)/(1 - μ)     if gradients are summed, as in SGD
                   peak_value · rex                       if they are averaged, as in Adam

    Momentum looks back over about 1/(1 - m) updates, and that lag costs most at the end. A sum of
    gradients has an effective rate of rate/(1 - m), which would fall with m. The factor keeps it:
    the effective rate is REX's in both cases.

    Measured on small networks, in runs of 10 to 1280 updates, with μ of 0.9 and 0.95 and a searched
    peak: 12 to 21 % below linear with SGD, and 9 to 14 % with Adam, at T·(1 - μ) of 1 to 8; 7 % at
    16; about 2 % from 30 on. Beyond the 95 % interval it was worse than linear in 1 of 68 cases,
    than cosine in 2, than REX and OneCycle in none; with Adam in none of 22. Up to 160 updates the
    best peak stays within a factor of 2.

    Limits: small batches gain most, and batches of a seventh of the data or more gained in 1 case
    of 6 and lost in 1; a μ of 0.5 to 0.8 gains nothing on REX; a constant μ that is searched
    too does nearly as well; a peak twice too high costs more than with linear; large networks
    have not been tried. Adam wants the warmup of 0.1 that it was measured with.

    Args:
        peak_value: The rate at t = 0 without warmup; any shape. The sum's rate rises above it:
            to 3.7 times peak_value for μ = 0.9.
        momentum: μ, in [0, 1), the momentum (or Adam's b1) at t = 0; any shape.
        averaged: Whether the optimizer averages gradients. False for SGD, True for Adam's family.
        beta: β of REX, below 1; any shape.
        warmup_ratio: The share of the budget, in [0, 1), over which the rate rises linearly from a
            tenth of its peak. The momentum falls from t = 0 on, warmup or not.

    Returns:
        A pair of schedules, lr and momentum.

    Raises:
        ValueError: A value is out of range.

    >>> lr, momentum = falling_momentum(0.2)
    >>> [(round(lr(t, 100), 4), round(momentum(t, 100), 4)) for t in (0, 50, 90, 100)]
    [(0.2, 0.9), (0.7333, 0.45), (0.3309, 0.09), (0.0, 0.0)]
    >>> adam = falling_momentum(0.01, averaged=True, warmup_ratio=0.1)
    >>> [round(adam.lr(t, 100), 4) for t in (0, 10, 55, 100)]
    [0.001, 0.01, 0.0067, 0.0]

    Source: this project's study, ``python -m benchmarks.law``.
    """
    SHARE.check("momentum", momentum)
    ANY.check("peak_value", peak_value)
    check_truth("averaged", averaged)
    lr: Schedule | Product = Schedule(
        bind(rex, beta=beta),
        peak_value=peak_value,
        init_value=0.1 * as_float(peak_value, namespace(peak_value)),
        warmup_ratio=warmup_ratio,
    )
    if not averaged:
        lr = lr * Schedule(linear, end_value=1 / (1 - as_float(momentum, namespace(momentum))))
    return Pair(lr, Schedule(linear, peak_value=momentum))


@preset
def one_cycle(
    peak_value: Real = 1.0,
    *,
    init_value: Real | None = None,
    end_value: Real | None = None,
    warmup_ratio: Real = 0.5,
    profile: Function | str = linear,
    max_momentum: Real = 0.95,
    min_momentum: Real = 0.85,
) -> OneCycle:
    """OneCycle: the rate rises and falls once. The momentum falls and rises, its mirror image.

    The defaults are Smith's triangle as in the REX paper. PyTorch's ``OneCycleLR(max_lr=p)`` is
    ``one_cycle(p, init_value=p/25, end_value=p/25e4, warmup_ratio=0.3, profile=cosine)``, but one
    step earlier: PyTorch peaks at 0.3·T - 1 and ends at T - 1.

    Args:
        peak_value: The highest rate, at warmup_ratio·T.
        init_value: The rate at t = 0; a tenth of the peak by default.
        end_value: The rate at t = T; a tenth of the peak by default.
        warmup_ratio: Where in the budget the peak is, in [0, 1).
        profile: The curve of both halves; in the first half it is reversed in time.
        max_momentum: The momentum at t = 0 and at t = T.
        min_momentum: The momentum at the peak of the rate.

    Returns:
        A pair of schedules, lr and momentum.

    Raises:
        ValueError: `rex_core.Schedule` refuses an argument.

    >>> lr, momentum = one_cycle(1.0)
    >>> [(round(lr(t, 100), 4), round(momentum(t, 100), 4)) for t in (0, 25, 50, 75, 100)]
    [(0.1, 0.95), (0.55, 0.9), (1.0, 0.85), (0.55, 0.9), (0.1, 0.95)]

    Source: Smith, "A disciplined approach to neural network hyper-parameters: Part 1",
    arXiv 1803.09820; the numbers, arXiv 2107.04197 (REX).
    """
    ANY.check("peak_value", peak_value)
    tenth = 0.1 * as_float(peak_value, namespace(peak_value))
    ANY.check("max_momentum", max_momentum)
    ANY.check("min_momentum", min_momentum)
    lr = Schedule(
        profile,
        peak_value=peak_value,
        init_value=tenth if init_value is None else init_value,
        end_value=tenth if end_value is None else end_value,
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


@preset
def warmup_stable_decay(
    peak_value: Real = 1.0,
    *,
    warmup_ratio: Real | None = None,
    warmup_steps: Real | None = None,
    decay_ratio: Real | None = None,
    decay_steps: Real | None = None,
    profile: Function | str = one_minus_sqrt,
    end_value: Real = 0.0,
) -> Schedule:
    """Warmup-stable-decay, the trapezoid: a short rise, a long plateau, a cooldown.

    Args:
        peak_value: The rate of the plateau.
        warmup_ratio: The rise as a share of the budget, in [0, 1); 0.05 by default.
        warmup_steps: The rise in steps, in place of a share.
        decay_ratio: The cooldown as a share of the budget, in (0, 1]; 0.2 by default.
        decay_steps: The cooldown in steps, in place of a share.
        profile: The curve of the cooldown.
        end_value: The rate at t = T, if the profile ends at 0.

    Returns:
        The schedule. Its plateau takes the rest of the budget.

    Raises:
        ValueError: `rex_core.Schedule` refuses an argument.

    >>> schedule = warmup_stable_decay(0.1, warmup_ratio=0.1)
    >>> [round(schedule(t, 100), 4) for t in (0, 5, 10, 80, 90, 100)]
    [0.0, 0.05, 0.1, 0.1, 0.0293, 0.0]
    >>> warmup_stable_decay(0.1, warmup_steps=500, decay_steps=2000)(8500, 10_000)
    0.05

    Source: Hu et al., "MiniCPM", arXiv 2404.06395; the cooldown, Hägele et al.,
    arXiv 2405.18392.
    """
    if warmup_ratio is None:
        warmup_ratio = 0.05 if warmup_steps is None else 0.0
    if decay_ratio is None and decay_steps is None:
        decay_ratio = 0.2
    return Schedule(
        profile,
        peak_value=peak_value,
        end_value=end_value,
        warmup_ratio=warmup_ratio,
        warmup_steps=0 if warmup_steps is None else warmup_steps,
        decay_ratio=decay_ratio,
        decay_steps=decay_steps,
    )


@preset
def step_decay(
    peak_value: Real = 1.0, *, milestones: Sequence[Milestone] = (0.5, 0.75), factor: Real = 0.1
) -> Schedule:
    """Step decay: the rate times factor at each milestone.

    Args:
        peak_value: The rate before the first milestone.
        milestones: Increasing places, as in `rex_core.step`; (0.3, 0.6, 0.9) is 30-60-90.
        factor: The factor at each milestone, in [0, 1].

    Returns:
        The schedule.

    Raises:
        ValueError: `rex_core.step` refuses an argument.

    >>> [round(step_decay(0.1)(t, 100), 4) for t in (0, 49, 50, 75, 100)]
    [0.1, 0.1, 0.01, 0.001, 0.001]

    Source: arXiv 2107.04197 (REX).
    """
    return Schedule(bind(step, milestones=milestones, factor=factor), peak_value=peak_value)


@preset
def delayed_linear(peak_value: Real = 1.0, *, delay: Real = 0.5, end_value: Real = 0.0) -> Schedule:
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
    SHARE.check("delay", delay)
    return Schedule(linear, peak_value=peak_value, end_value=end_value, hold_ratio=delay)


@preset
def noam(peak_value: Real = 1.0, *, warmup_steps: int = 4000) -> Schedule:
    """Noam, the Transformer's schedule: a linear warmup, then the inverse square root of the step.

    ::

        peak_value · min(t / warmup_steps, √(warmup_steps / t))

    The paper writes model_size^-½ · min(t^-½, t · warmup_steps^-1.5). That is a peak_value of
    (model_size · warmup_steps)^-½.

    Args:
        peak_value: The rate at the end of warmup.
        warmup_steps: The steps of the warmup, an integer >= 1.

    Returns:
        The schedule. T must be above warmup_steps. The value at t does not depend on T.

    Raises:
        ValueError: `rex_core.Schedule` refuses an argument.

    >>> schedule = noam(0.1, warmup_steps=100)
    >>> [round(schedule(t, 1000), 4) for t in (0, 50, 100, 400, 900)]
    [0.0, 0.05, 0.1, 0.05, 0.0333]

    Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762, equation 3.
    """
    _TIMESCALE.check("warmup_steps", warmup_steps)
    profile = bind(inverse_sqrt, timescale=warmup_steps)
    return Schedule(profile, peak_value=peak_value, warmup_steps=warmup_steps)


@preset
def range_test(low: Real = 1e-6, high: Real = 1.0) -> Schedule:
    """The range test for a peak: a geometric rise, low · (high/low)^(t/T).

    Train once with it. A good peak is somewhat below the rate at which the loss begins to rise.

    Args:
        low: The rate at t = 0, > 0.
        high: The rate at t = T, > 0, with high/low in [1e-30, 1e30].

    Returns:
        The schedule.

    Raises:
        ValueError: A value is out of range.

    >>> [round(range_test(0.001, 10.0)(t, 4), 4) for t in range(5)]
    [0.001, 0.01, 0.1, 1.0, 10.0]

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017,
    arXiv 1506.01186, with a geometric rise in place of the linear one.
    """
    POSITIVE.check("low", low)
    POSITIVE.check("high", high)
    xp = namespace(low, high)
    ratio = as_float(high, xp) / as_float(low, xp)
    _RATIO.check("high / low", ratio)
    return Schedule(bind(geometric, ratio=ratio), peak_value=low)
