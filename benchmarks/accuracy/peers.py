"""What is measured: for each profile rex_core's schedule, and the nearest one of each library.

All are set to fall from 1 over the same curve and the same T, in the way that their documentation
says. Where a library counts differently, its arguments or its steps are shifted to agree, and
`note` says so.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.accuracy import frameworks
from benchmarks.accuracy.frameworks import Rates, called, compiled, optimizer, stepped

LARGEST = 2**31 - 1
STEPPABLE = 10**6
MILESTONES = (0.5, 0.75)
FACTOR = 0.1
GAMMA = 3.0
POWER = 2.0
# Of the profiles that have no curve of their own without them.
PARAMS: dict[str, dict[str, Any]] = {
    "geometric": {"ratio": 0.01},
    "inverse_sqrt": {"timescale": 1000},
    "interpolate": {"values": (1.0, 0.9, 0.6, 0.4, 0.1, 0.0)},
}


@dataclass(frozen=True)
class Peer:
    """A schedule of a library.

    Attributes:
        library: The library's name.
        name: The function or class.
        profile: The curve that it computes, by its name in rex_core.
        how: Where its arithmetic runs: "jitted", in float32; in JAX's "x64 mode", which offers it
            float64; or in "Python", which has nothing else.
        rates: T -> (steps -> rates).
        largest: The largest T that it is measured at.
        note: Which convention was mapped, or how it was evaluated.
    """

    library: str
    name: str
    profile: str
    how: str
    rates: Callable[[int], Rates]
    largest: int = LARGEST
    note: str = ""


def milestones(T: int) -> list[int]:
    """The first steps at or after the milestones of the step profile."""
    return [math.ceil(p * T) for p in MILESTONES]


def rex_core() -> list[Peer]:
    from rex_optax import as_schedule

    import rex_core

    peers = []
    for profile in rex_core.functions.PROFILES:
        name = profile.__name__
        schedule = rex_core.Schedule(rex_core.bind(profile, **PARAMS.get(name, {})))
        peers += _both("rex_core", name, name, partial(as_schedule, schedule))
        peers.append(_python("rex_core", name, name, partial(partial, _swapped, schedule)))
    return peers


def by_hand() -> list[Peer]:
    def linear(T: int) -> Callable[[Any], Any]:
        return lambda t: 1 - t / T

    def rex(T: int) -> Callable[[Any], Any]:
        return lambda t: (1 - t / T) / (0.5 + 0.5 * (1 - t / T))

    return [
        peer
        for profile, make in (("linear", linear), ("rex", rex))
        for peer in (
            Peer("by hand", "1 − t/T", profile, "jitted", compiled(make, False)),
            _python("by hand", "1 − t/T", profile, make),
        )
    ]


def optax() -> list[Peer]:
    import optax

    schedules: dict[str, tuple[str, Callable[[int], Callable[[Any], Any]]]] = {
        "linear": ("linear_schedule", lambda T: optax.linear_schedule(1.0, 0.0, T)),
        "cosine": ("cosine_decay_schedule", lambda T: optax.cosine_decay_schedule(1.0, T)),
        "exponential": (
            "exponential_decay",
            lambda T: optax.exponential_decay(1.0, T, math.exp(-GAMMA)),
        ),
        "polynomial": (
            "polynomial_schedule",
            lambda T: optax.polynomial_schedule(1.0, 0.0, POWER, T),
        ),
        "step": (
            "piecewise_constant_schedule",
            lambda T: optax.piecewise_constant_schedule(1.0, dict.fromkeys(milestones(T), FACTOR)),
        ),
        "constant": ("constant_schedule", lambda T: optax.constant_schedule(1.0)),
    }
    return [
        peer
        for profile, (name, make) in schedules.items()
        for peer in _both("optax", name, profile, make)
    ]


def keras() -> list[Peer]:
    schedules = frameworks.keras_on_jax().optimizers.schedules
    late = "changes one step after its boundaries, so they are set one step less"
    makers: dict[str, tuple[str, Callable[[int], Callable[[Any], Any]], str]] = {
        "linear": (
            "PolynomialDecay",
            lambda T: schedules.PolynomialDecay(1.0, T, 0.0, power=1.0),
            "",
        ),
        "cosine": ("CosineDecay", lambda T: schedules.CosineDecay(1.0, T), ""),
        "exponential": (
            "ExponentialDecay",
            lambda T: schedules.ExponentialDecay(1.0, T, math.exp(-GAMMA)),
            "",
        ),
        "polynomial": (
            "PolynomialDecay",
            lambda T: schedules.PolynomialDecay(1.0, T, 0.0, power=POWER),
            "",
        ),
        "step": (
            "PiecewiseConstantDecay",
            lambda T: schedules.PiecewiseConstantDecay(
                [b - 1 for b in milestones(T)], [1.0, FACTOR, FACTOR**2]
            ),
            late,
        ),
    }
    return [
        peer
        for profile, (name, make, note) in makers.items()
        for peer in _both("Keras", name, profile, make, note, frameworks.keras_floats)
    ]


def torch() -> list[Peer]:
    from torch.optim import lr_scheduler

    makers: dict[str, tuple[str, Callable[[int], Any]]] = {
        "linear": ("LinearLR", lambda T: lr_scheduler.LinearLR(optimizer(), 1.0, 0.0, T)),
        "cosine": ("CosineAnnealingLR", lambda T: lr_scheduler.CosineAnnealingLR(optimizer(), T)),
        "exponential": (
            "ExponentialLR",
            lambda T: lr_scheduler.ExponentialLR(optimizer(), math.exp(-GAMMA / T)),
        ),
        "polynomial": (
            "PolynomialLR",
            lambda T: lr_scheduler.PolynomialLR(optimizer(), T, POWER),
        ),
        "step": (
            "MultiStepLR",
            lambda T: lr_scheduler.MultiStepLR(optimizer(), milestones(T), FACTOR),
        ),
    }
    walk = f"a recursion: every step runs, for T up to {STEPPABLE:,}"
    jump = "the deprecated `step(t)`, called for each measured step"
    return [
        peer
        for profile, (name, make) in makers.items()
        for peer in (
            Peer("PyTorch", name, profile, "Python", stepped(make), STEPPABLE, walk),
            _python("PyTorch", f"{name} (closed form)", profile, _closed(make), jump),
        )
    ]


def transformers() -> list[Peer]:
    from transformers import optimization

    hf: Any = optimization  # It is half typed.
    note = "the factor function of its LambdaLR, called for each measured step"
    makers: dict[str, tuple[str, Callable[[int], Any]]] = {
        "linear": (
            "get_linear_schedule_with_warmup",
            lambda T: hf.get_linear_schedule_with_warmup(optimizer(), 0, T),
        ),
        "cosine": (
            "get_cosine_schedule_with_warmup",
            lambda T: hf.get_cosine_schedule_with_warmup(optimizer(), 0, T),
        ),
        "polynomial": (
            "get_polynomial_decay_schedule_with_warmup",
            lambda T: hf.get_polynomial_decay_schedule_with_warmup(
                optimizer(), 0, T, lr_end=0.0, power=POWER
            ),
        ),
        "one_minus_sqrt": (
            "get_wsd_schedule",
            lambda T: hf.get_wsd_schedule(
                optimizer(), 0, T, num_stable_steps=0, decay_type="1-sqrt"
            ),
        ),
    }
    return [
        _python("transformers", name, profile, _lambda(make), note)
        for profile, (name, make) in makers.items()
    ]


def fvcore() -> list[Peer]:
    from fvcore.common import param_scheduler as fv

    note = "a function of t/T in [0, 1), called with t/T in float64; it promises nothing from T on"
    makers: dict[str, tuple[str, Callable[[int], Callable[[float], float]]]] = {
        "linear": ("LinearParamScheduler", lambda T: fv.LinearParamScheduler(1.0, 0.0)),
        "cosine": ("CosineParamScheduler", lambda T: fv.CosineParamScheduler(1.0, 0.0)),
        "exponential": (
            "ExponentialParamScheduler",
            lambda T: fv.ExponentialParamScheduler(1.0, math.exp(-GAMMA)),
        ),
        "polynomial": (
            "PolynomialDecayParamScheduler",
            lambda T: fv.PolynomialDecayParamScheduler(1.0, POWER),
        ),
        "step": (
            "MultiStepParamScheduler",
            lambda T: fv.MultiStepParamScheduler([1.0, FACTOR, FACTOR**2], T, milestones(T)),
        ),
    }

    def of_share(make: Callable[[int], Callable[[float], float]]) -> Any:
        def of(T: int) -> Callable[[int], float]:
            scheduler = make(T)
            return lambda t: scheduler(t / T)

        return of

    return [
        _python("fvcore", name, profile, of_share(make), note)
        for profile, (name, make) in makers.items()
    ]


def pytorch_optimizer() -> list[Peer]:
    import pytorch_optimizer as po

    def after_updates(
        make: Callable[[int], Any], late: int
    ) -> Callable[[int], Callable[[int], float]]:
        """The rate of step t is that of update t + late, set by the `step()` before it."""

        def of(T: int) -> Callable[[int], float]:
            scheduler = make(T)
            made = scheduler.step_t

            def value(t: int) -> float:
                scheduler.step_t = made + t + late - 1
                scheduler.step()
                return frameworks.rate(scheduler)

            return value

        return of

    note = (
        "`step()` after each update, with its counter `step_t` set; the first update is at `min_lr`"
    )
    shifted = f"{note}, the second at the peak, so the steps are shifted by one"
    instead = f"{note}, so the rate of `step()` at a count of 0 takes its place"
    lambdas = "the factor function of its LambdaLR, called for each measured step"
    return [
        _python(
            "pytorch-optimizer",
            "REXScheduler",
            "rex",
            after_updates(lambda T: po.REXScheduler(optimizer(), T, 1.0), 0),
            instead,
        ),
        _python(
            "pytorch-optimizer",
            "LinearScheduler",
            "linear",
            after_updates(lambda T: po.LinearScheduler(optimizer(), T, 1.0), 1),
            shifted,
        ),
        _python(
            "pytorch-optimizer",
            "CosineScheduler",
            "cosine",
            after_updates(lambda T: po.CosineScheduler(optimizer(), T, 1.0), 1),
            shifted,
        ),
        _python(
            "pytorch-optimizer",
            "get_wsd_schedule",
            "one_minus_sqrt",
            _lambda(lambda T: po.get_wsd_schedule(optimizer(), 0, 0, T)),
            lambdas,
        ),
    ]


def timm() -> list[Peer]:
    schedulers = frameworks.timm_schedulers()
    note = "`step_update(t)`, called for each measured step"
    makers: dict[str, tuple[str, Callable[[int], Any], str]] = {
        "linear": (
            "PolyLRScheduler",
            lambda T: schedulers.PolyLRScheduler(optimizer(), T, 1.0, t_in_epochs=False),
            note,
        ),
        "cosine": (
            "CosineLRScheduler",
            lambda T: schedulers.CosineLRScheduler(optimizer(), T, t_in_epochs=False),
            note,
        ),
        "polynomial": (
            "PolyLRScheduler",
            lambda T: schedulers.PolyLRScheduler(optimizer(), T, POWER, t_in_epochs=False),
            note,
        ),
        "one_minus_sqrt": (
            "WSDLRScheduler",
            lambda T: schedulers.WSDLRScheduler(optimizer(), T, T, t_in_epochs=False),
            note,
        ),
        "step": (
            "MultiStepLRScheduler",
            lambda T: schedulers.MultiStepLRScheduler(
                optimizer(), [b + 1 for b in milestones(T)], FACTOR, t_in_epochs=False
            ),
            f"{note}; it changes one step before its milestones, so they are set one step more",
        ),
    }

    def updated(make: Callable[[int], Any]) -> Callable[[int], Callable[[int], float]]:
        def of(T: int) -> Callable[[int], float]:
            scheduler = make(T)

            def value(t: int) -> float:
                scheduler.step_update(t)
                return frameworks.rate(scheduler)

            return value

        return of

    return [
        _python("timm", name, profile, updated(make), about)
        for profile, (name, make, about) in makers.items()
    ]


LIBRARIES: dict[str, tuple[Callable[[], list[Peer]], str]] = {
    "rex_core": (rex_core, "pip install 'rex-schedules[jax]'"),
    "by hand": (by_hand, "pip install jax"),
    "optax": (optax, "pip install optax"),
    "Keras": (keras, "pip install keras jax, and KERAS_BACKEND=jax"),
    "PyTorch": (torch, "pip install torch"),
    "transformers": (transformers, "pip install transformers torch"),
    "fvcore": (fvcore, "pip install fvcore"),
    "pytorch-optimizer": (pytorch_optimizer, "pip install pytorch-optimizer"),
    "timm": (timm, "pip install --no-deps timm"),
}


def installed(libraries: Sequence[str] = tuple(LIBRARIES)) -> tuple[list[Peer], dict[str, str]]:
    """The peers, and for each library that is not installed what would install it."""
    peers: list[Peer] = []
    missing = {}
    for library in libraries:
        make, how = LIBRARIES[library]
        try:
            peers += make()
        except ImportError as error:
            missing[library] = f"not measured ({error}); to measure it: {how}"
    return peers, missing


def _both(
    library: str,
    name: str,
    profile: str,
    make: Callable[[int], Callable[[Any], Any]],
    note: str = "",
    *floats: Any,
) -> list[Peer]:
    return [
        Peer(library, name, profile, how, compiled(make, how == "x64 mode", *floats), note=note)
        for how in ("jitted", "x64 mode")
    ]


def _python(
    library: str,
    name: str,
    profile: str,
    make: Callable[[int], Callable[[int], float]],
    note: str = "",
) -> Peer:
    return Peer(library, name, profile, "Python", called(make), note=note)


def _swapped(schedule: Callable[[int, int], float], T: int, t: int) -> float:
    return schedule(t, T)


def _lambda(make: Callable[[int], Any]) -> Callable[[int], Callable[[int], float]]:
    return lambda T: make(T).lr_lambdas[0]


def _closed(make: Callable[[int], Any]) -> Callable[[int], Callable[[int], float]]:
    return lambda T: frameworks.jumping(make(T))
