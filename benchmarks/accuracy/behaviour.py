"""What schedules do where they go wrong: each library's cosine, after a linear warmup.

Each is made, stepped and resumed as its own documentation, train script or tests do it.
"""

import pickle
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from textwrap import shorten
from typing import Any

import numpy as np

from benchmarks.accuracy import frameworks
from benchmarks.accuracy.frameworks import optimizer

T = 100
SAME = 1e-6  # Of float32 and of float64, at a peak of 1.


@dataclass(frozen=True)
class Function:
    """A schedule that is a function of the step: what is saved of it is the count.

    Attributes:
        make: (T, warmup) -> (t -> rate).
        array: The function of NumPy's arrays that gives those of its library.
        compiled: Whether it may be called within a step that JAX compiles.
    """

    make: Callable[[Any, int], Callable[[Any], Any]]
    array: Callable[[Any], Any] = np.asarray
    compiled: bool = True

    def resume(self, before: Any, total: int) -> Callable[[Any], Any]:
        """One with another budget: there is nothing to load."""
        return self.make(total, 0)


@dataclass(frozen=True)
class Scheduler:
    """A scheduler of a PyTorch optimizer, which keeps count itself, in a state that is saved.

    Attributes:
        on: (optimizer, T, warmup) -> scheduler.
        warms: Whether it has a warmup.
    """

    on: Callable[[Any, Any, int], Any]
    warms: bool = True

    def make(self, total: int, warmup: int) -> Any:
        """A scheduler of an optimizer of its own."""
        return self.on(optimizer(), total, warmup)

    def advance(self, scheduler: Any, t: int) -> None:
        """Set the rate of the update after t others."""
        scheduler.step()

    def resume(self, before: Any, total: int) -> Any:
        """One with another budget, made before the states are loaded: PyTorch asks for that."""
        after = self.make(total, 0)
        _load(before.optimizer, after.optimizer)
        _load(before, after)
        return after


class Told(Scheduler):
    """A scheduler that is told the count, as timm's, whose train script saves nothing of it."""

    def advance(self, scheduler: Any, t: int) -> None:
        scheduler.step_update(t)

    def resume(self, before: Any, total: int) -> Any:
        own = optimizer()
        _load(before.optimizer, own)
        return self.on(own, total, 0)


Subject = Function | Scheduler


@dataclass(frozen=True)
class Answer:
    """Whether it does what is asked; None where the question does not arise; and what it did."""

    yes: bool | None
    what: str = ""


def answer(yes: bool, otherwise: str) -> Answer:
    """A yes that needs no words, or a no with what came instead."""
    return Answer(yes, "" if yes else otherwise)


def first_update(subject: Subject) -> Answer:
    """The first update without warmup has the peak."""
    (first,) = _rates(subject, subject.make(T, 0), range(1))
    return answer(_same(first, 1), f"the first rate is {first:.3g}")


def one_step(subject: Subject) -> Answer:
    """A budget of one step runs at the peak, and ends at 0."""
    rates = _rates(subject, subject.make(1, 0), range(2))
    found = f"the rate of its step is {rates[0]:.3g}, and the rate after it {rates[1]:.3g}"
    return answer(_same(rates, [1, 0]), found)


def warmup_of_all(subject: Subject) -> Answer:
    """A warmup that fills the budget is refused by a ValueError, or gives finite rates."""
    if isinstance(subject, Scheduler) and not subject.warms:
        return Answer(None, "it has no warmup")
    # A scheduler is stepped after the last update too.
    steps = range(T + isinstance(subject, Scheduler))
    try:
        rates = _rates(subject, subject.make(T, T), steps)
    except ValueError as error:
        return Answer(True, f"refused: {_text(error)}")
    return Answer(bool(np.isfinite(rates).all()), f"accepted: it ends at {rates[-1]:.3g}")


def vector(subject: Subject) -> Answer:
    """An array of steps gives the rates of its steps."""
    if isinstance(subject, Scheduler):
        return Answer(None, "it is stepped")
    schedule, steps = subject.make(T, T // 10), np.arange(T + 1)
    rates = np.asarray(schedule(subject.array(steps)))
    same = _same(rates, _rates(subject, schedule, range(T + 1)))
    return answer(same, "other rates than one by one")


def traced(subject: Subject) -> Answer:
    """T may be traced: one compiled function serves two budgets."""
    if isinstance(subject, Scheduler) or not subject.compiled:
        return Answer(None, "it runs outside the compiled step")
    import jax
    import jax.numpy as jnp

    traces = 0

    def rate(t: Any, total: Any) -> Any:
        nonlocal traces
        traces += 1
        return subject.make(total, 0)(t)

    function = jax.jit(rate)
    same = all(
        _same(float(function(jnp.int32(t), jnp.int32(total))), _rates(subject, plain, [t])[0])
        for total in (T, 2 * T)
        for plain in [subject.make(total, 0)]
        for t in (0, 10, T)
    )
    return answer(same and traces == 1, "another compilation" if same else "other rates")


def pickled(subject: Subject) -> Answer:
    """It can be pickled, and goes on as before."""
    schedule = subject.make(T, 0)
    _rates(subject, schedule, range(30))
    copy = pickle.loads(pickle.dumps(schedule))
    going = [_rates(subject, s, range(30, 60)) for s in (schedule, copy)]
    return answer(_same(*going), "it pickles, and goes on at other rates")


def resumed(subject: Subject) -> Answer:
    """Saved at half of its budget and resumed with twice the budget, it follows the new one."""
    before = subject.make(T, 0)
    _rates(subject, before, range(T // 2 + 1))
    rates = _rates(subject, subject.resume(before, 2 * T), range(T // 2 + 1, T + 1))
    old, new = (
        _rates(subject, subject.make(total, 0), range(T + 1))[-len(rates) :] for total in (T, 2 * T)
    )
    kept = "the old budget is kept" if _same(rates, old) else "it follows neither budget"
    return answer(_same(rates, new), f"{kept}: {rates[-1]:.3g} at step {T}")


QUESTIONS: dict[str, Callable[[Subject], Answer]] = {
    "first update at the peak": first_update,
    "T = 1": one_step,
    "warmup = T": warmup_of_all,
    "vector of steps": vector,
    "traced T": traced,
    "pickles": pickled,
    "resumes with a new T": resumed,
}


def answers(subject: Subject) -> dict[str, dict[str, Any]]:
    """What comes out for each question; an exception is a no."""
    results = {}
    for name, ask in QUESTIONS.items():
        try:
            results[name] = asdict(ask(subject))
        except Exception as error:  # Whatever it is, it is the result.
            results[name] = asdict(Answer(False, _text(error)))
    return results


def rex_core() -> dict[str, Subject]:
    from rex_core import Schedule, cosine

    return {
        "rex_core.Schedule": Function(
            lambda total, warmup: partial(_swapped, Schedule(cosine, warmup_steps=warmup), total)
        )
    }


def rex_optax() -> dict[str, Subject]:
    import jax.numpy as jnp
    from rex_optax import as_schedule

    from rex_core import Schedule, cosine

    return {
        "rex_optax.as_schedule": Function(
            lambda total, warmup: as_schedule(Schedule(cosine, warmup_steps=warmup), total),
            jnp.asarray,
        )
    }


def rex_keras() -> dict[str, Subject]:
    import jax.numpy as jnp

    frameworks.keras_on_jax()
    from rex_keras import as_schedule

    from rex_core import Schedule, cosine

    return {
        "rex_keras.as_schedule": Function(
            lambda total, warmup: as_schedule(Schedule(cosine, warmup_steps=warmup), total),
            jnp.asarray,
        )
    }


def rex_torch() -> dict[str, Subject]:
    from rex_torch import HyperparamScheduler, lambda_lr

    from rex_core import Schedule, cosine

    return {
        "rex_torch.lambda_lr": Scheduler(
            lambda own, total, warmup: lambda_lr(own, Schedule(cosine, warmup_steps=warmup), total)
        ),
        "rex_torch.HyperparamScheduler": Scheduler(
            lambda own, total, warmup: HyperparamScheduler(
                own, total, lr=Schedule(cosine, warmup_steps=warmup)
            )
        ),
    }


def optax() -> dict[str, Subject]:
    import jax.numpy as jnp
    import optax

    def make(total: Any, warmup: int) -> Callable[[Any], Any]:
        if warmup == 0:
            return optax.cosine_decay_schedule(1.0, total)
        return optax.warmup_cosine_decay_schedule(0.0, 1.0, warmup, total)

    return {"optax (warmup_)cosine_decay_schedule": Function(make, jnp.asarray)}


def keras() -> dict[str, Subject]:
    import jax.numpy as jnp

    CosineDecay = frameworks.keras_on_jax().optimizers.schedules.CosineDecay

    def make(total: Any, warmup: int) -> Callable[[Any], Any]:
        if warmup == 0:
            schedule = CosineDecay(1.0, total)
        else:
            schedule = CosineDecay(0.0, total - warmup, warmup_target=1.0, warmup_steps=warmup)
        function: Callable[[Any], Any] = schedule
        return function

    return {"Keras CosineDecay": Function(make, jnp.asarray)}


def torch() -> dict[str, Subject]:
    from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

    def on(own: Any, total: int, warmup: int) -> Any:
        if warmup == 0:
            return CosineAnnealingLR(own, total)
        parts = [LinearLR(own, 1 / warmup, 1.0, warmup), CosineAnnealingLR(own, total - warmup)]
        return SequentialLR(own, parts, [warmup])

    return {"PyTorch CosineAnnealingLR, after LinearLR": Scheduler(on)}


def transformers() -> dict[str, Subject]:
    from transformers import get_cosine_schedule_with_warmup

    return {
        "transformers get_cosine_schedule_with_warmup": Scheduler(
            lambda own, total, warmup: get_cosine_schedule_with_warmup(own, warmup, total)
        )
    }


def fvcore() -> dict[str, Subject]:
    from fvcore.common import param_scheduler as fv

    def make(total: Any, warmup: int) -> Callable[[Any], Any]:
        scheduler = fv.CosineParamScheduler(1.0, 0.0)
        if warmup:
            share = warmup / total
            scheduler = fv.CompositeParamScheduler(
                [fv.LinearParamScheduler(0.0, 1.0), scheduler],
                [share, 1 - share],
                ["rescaled", "rescaled"],
            )
        return partial(_at_share, scheduler, total)

    return {"fvcore CompositeParamScheduler": Function(make, compiled=False)}


def pytorch_optimizer() -> dict[str, Subject]:
    import pytorch_optimizer as po

    return {
        "pytorch-optimizer CosineScheduler": Scheduler(
            lambda own, total, warmup: po.CosineScheduler(own, total, 1.0, warmup_steps=warmup)
        ),
        "pytorch-optimizer REXScheduler": Scheduler(
            lambda own, total, warmup: po.REXScheduler(own, total, 1.0), warms=False
        ),
    }


def timm() -> dict[str, Subject]:
    schedulers = frameworks.timm_schedulers()

    def on(own: Any, total: int, warmup: int) -> Any:
        args = Namespace(sched="cosine", epochs=total, warmup_epochs=warmup, sched_on_updates=True)
        scheduler, _ = schedulers.create_scheduler_v2(
            own, **schedulers.scheduler_kwargs(args), updates_per_epoch=1
        )
        return scheduler

    return {"timm create_scheduler_v2, cosine": Told(on)}


LIBRARIES: dict[str, tuple[Callable[[], dict[str, Subject]], ...]] = {
    "rex_core": (rex_core, rex_optax, rex_torch, rex_keras),
    "optax": (optax,),
    "Keras": (keras,),
    "PyTorch": (torch,),
    "transformers": (transformers,),
    "fvcore": (fvcore,),
    "pytorch-optimizer": (pytorch_optimizer,),
    "timm": (timm,),
}


def installed(libraries: Sequence[str] = tuple(LIBRARIES)) -> dict[str, Subject]:
    """The schedules of the libraries that are installed; `peers.installed` tells the others."""
    subjects: dict[str, Subject] = {}
    for make in (make for library in libraries for make in LIBRARIES.get(library, ())):
        with suppress(ImportError):
            subjects |= make()
    return subjects


def _rates(subject: Subject, schedule: Any, steps: Sequence[int]) -> list[float]:
    """The rates of consecutive updates; a scheduler's first one is the update that is next."""
    if isinstance(subject, Function):
        return [float(schedule(t)) for t in steps]
    schedule.optimizer.step()
    rates = []
    for t in steps:
        if t > 0:
            subject.advance(schedule, t)
        rates.append(frameworks.rate(schedule))
    return rates


def _load(old: Any, new: Any) -> None:
    new.load_state_dict(pickle.loads(pickle.dumps(old.state_dict())))


def _same(a: Any, b: Any) -> bool:
    return bool(np.allclose(a, b, rtol=0, atol=SAME))


def _text(error: Exception) -> str:
    line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {shorten(line, 160, placeholder=' …')}".removesuffix(": ")


def _swapped(schedule: Callable[[Any, Any], Any], total: Any, t: Any) -> Any:
    return schedule(t, total)


def _at_share(scheduler: Callable[[Any], Any], total: Any, t: Any) -> Any:
    return scheduler(t / total)
