"""The space: warmup × fall × momentum. Peaks and budgets come from the run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
import rex_optax  # noqa: F401  schedules as pytrees
from numpy.typing import NDArray

from benchmarks.budgeted.schedules import Rule
from rex_core import (
    Product,
    Schedule,
    bind,
    constant,
    cosine,
    linear,
    one_cycle,
    one_minus_sqrt,
    rex,
)

START = 0.1  # of the peak: where every warmup begins, as OneCycle's does
# How many times 1 / (1 − μ) updates the momentum falls to 0, at most all of them.
LANDINGS = {"landing": 2.5, "long landing": 10.0, "to 0": math.inf}
DEMONS = {"late demon": 2.5, "matched": 2.5, "demon": math.inf}
# Effective rates are kept where the momentum is a sum of gradients, SGD's.
KEPT = {"long landing, kept": 10.0, "to 0, kept": math.inf}

_PROFILES = {"constant": constant, "cosine": cosine, "1 − √": one_minus_sqrt}


@dataclass(frozen=True)
class Point:
    """A schedule of the rate and one of the momentum, whose peak and μ are still open.

    Args:
        fall: "rex", "cosine", "1 − √", "constant", "one cycle", or "rex μ": REX whose β is the
            momentum μ.
        beta: REX's β, where 0 is linear.
        end: The share of the peak that the rate ends at.
        hold: The share of T that the rate stays at its peak after the warmup.
        warmup: The share of T that the rate rises, from a tenth of the peak.
        momentum: How the momentum μ moves. "constant": it stays at μ. "landing", "long landing",
            "to 0": it falls linearly to 0 over the last 2.5 / (1 − μ) updates, four times as many,
            all of them. "late demon", "demon": the same along Demon's curve. "matched": a late
            demon, and the rate is multiplied by (1 − μ) / (1 − m) for the momentum m, which does
            for an average of gradients what the landing does for a sum. "… kept": the same
            landing, and the rate is multiplied by (1 − m) / (1 − μ), so that a sum of gradients
            keeps the effective rate that the fall names. "mirrored": it falls from
            μ + ½(1 − μ) to μ − ½(1 − μ) during the warmup and rises to where it was, as OneCycle's.
    """

    fall: str = "rex"
    beta: float = 0.0
    end: float = 0.0
    hold: float = 0.0
    warmup: float = 0.0
    momentum: str = "constant"

    @property
    def shape(self) -> "Point":
        """The same without its warmup."""
        return replace(self, warmup=0.0)

    def __str__(self) -> str:
        fall = {0.0: "linear", 0.5: "REX"}.get(self.beta, f"REX β {self.beta:g}")
        names = {"rex": fall, "rex μ": "REX β μ", "one cycle": "OneCycle"}
        parts = [names.get(self.fall, self.fall)]
        parts += [f"ends at {self.end:g}"] * (self.end > 0)
        parts += [f"hold {self.hold:g}"] * (self.hold > 0)
        parts += [self.momentum] * (self.momentum != "constant" and self.fall != "one cycle")
        parts += [f"warmup {self.warmup:g}"] * (self.warmup > 0)
        return ", ".join(parts)

    def rule(self, momentum: float, updates: int) -> Rule:
        """The schedules for a budget; μ is the momentum, or where it starts to fall from."""
        if self.fall == "one cycle":
            low, high = _mirror(momentum)
            pair = one_cycle(warmup_ratio=self.warmup, max_momentum=high, min_momentum=low)
            return Rule(*pair)
        beta = momentum if self.fall == "rex μ" else self.beta
        rate: Schedule | Product = Schedule(
            _PROFILES.get(self.fall, bind(rex, beta=beta)),
            init_value=START,
            end_value=self.end,
            warmup_ratio=self.warmup,
            hold_ratio=self.hold,
        )
        if self.momentum == "constant":
            return Rule(rate, Schedule(constant, peak_value=momentum))
        if self.momentum == "mirrored":
            low, high = _mirror(momentum)
            pair = one_cycle(warmup_ratio=self.warmup, max_momentum=high, min_momentum=low)
            return Rule(rate, pair.momentum)
        steps = min(updates, (LANDINGS | DEMONS | KEPT)[self.momentum] / (1 - momentum))
        beta = momentum if self.momentum in DEMONS else 0.0
        falling = Schedule(bind(rex, beta=beta), peak_value=momentum, decay_steps=round(steps))
        if self.momentum == "matched":
            rate = rate * Schedule(linear, end_value=1 - momentum, decay_steps=round(steps))
        if self.momentum in KEPT:
            end = 1 / (1 - momentum)
            rate = rate * Schedule(linear, end_value=end, decay_steps=round(steps))
        return Rule(rate, falling)


def _mirror(momentum: float) -> tuple[float, float]:
    """OneCycle's 0.85 and 0.95 for 0.9: momenta on both sides of it, never below 0."""
    half = min(0.5 * (1 - momentum), momentum)
    return momentum - half, momentum + half


WARMUPS = 0.0, 0.1, 0.3

# The schedules that a rule has to beat; each takes the warmup that suits it.
RIVALS: dict[str, tuple[Point, ...]] = {
    "linear": tuple(Point(warmup=w) for w in WARMUPS),
    "cosine": tuple(Point("cosine", warmup=w) for w in WARMUPS),
    "REX": tuple(Point(beta=0.5, warmup=w) for w in WARMUPS),
    "OneCycle": tuple(Point("one cycle", warmup=w) for w in (0.3, 0.5)),
}

# What else people use.
OTHERS: dict[str, tuple[Point, ...]] = {
    "no schedule": tuple(Point("constant", warmup=w) for w in WARMUPS),
    "linear to a tenth": tuple(Point(end=0.1, warmup=w) for w in WARMUPS),
    "warmup-stable-decay": tuple(Point("1 − √", hold=0.8 - w, warmup=w) for w in WARMUPS),
}

# REX from a fast fall to a late one, with nothing else.
FAMILY = tuple(Point(beta=b) for b in (-1.5, 0.0, 0.5, 0.85, 0.95))

_BETAS = 0.0, 0.5, 0.85


def space(momentum: float, optimizer: str) -> tuple[Point, ...]:
    """All points for one optimizer; without momentum there is none to move."""
    points = [point for of in (RIVALS | OTHERS).values() for point in of]
    for warmup in WARMUPS:
        points += [replace(point, warmup=warmup) for point in FAMILY]
        points += [Point(hold=0.75 * (1 - warmup), warmup=warmup)]
        if momentum > 0:
            kinds = [*LANDINGS, "late demon", "demon"]
            # A sum of gradients, SGD's momentum, is matched by itself.
            kinds += ["matched"] if optimizer.startswith("Adam") else [*KEPT]
            kinds += ["mirrored"] * (warmup > 0)
            points += [Point(beta=b, warmup=warmup, momentum=k) for b in _BETAS for k in kinds]
            points += [Point("rex μ", warmup=warmup, momentum="demon")]
    return tuple(dict.fromkeys(points))


def stacked(rules: Sequence[Rule]) -> tuple[list[Rule], NDArray[np.intp]]:
    """Rules of one structure as one rule with arrays for numbers, and the old place of each lane.

    A program is then traced once for each structure, not for each rule.
    """
    groups: dict[object, list[int]] = {}
    for i, rule in enumerate(rules):
        groups.setdefault(jax.tree.structure(rule), []).append(i)
    together = [
        jax.tree.map(lambda *numbers: np.asarray(numbers), *(rules[i] for i in group))
        for group in groups.values()
    ]
    return together, np.concatenate([np.asarray(group) for group in groups.values()])
