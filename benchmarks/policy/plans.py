"""The schedules, the policies, and where they are compared."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.budgeted.schedules import Rule
from rex_core import (
    Schedule,
    constant,
    cosine,
    falling_momentum,
    linear,
    one_cycle,
    rex,
    warmup_stable_decay,
)

PEAKS = 8  # of each schedule, in steps of 2

# What one short run costs, and what is left to train on, as shares of the whole budget.
SHORT = 1 / 40, 1 / 20, 1 / 10
LONG = 0.6, 0.8, 0.9, 1.0
_SHORTEST = 1 / 40
# A trunk that goes on from a run of the shortest share has its constant part of 70 or 80 % for
# nothing, here rounded down.
TRUNK = 0.8 + 0.7 * _SHORTEST


class Entry(NamedTuple):
    """A schedule as it takes part.

    Args:
        optimizer: A name in `OPTIMIZERS`.
        rule: The rate, as a share of its peak, and the momentum.
        shares: The shares of the budget that it is trained for.
        in_oracle: Whether the oracle may choose it.
    """

    optimizer: str
    rule: Rule
    shares: tuple[float, ...] = (*SHORT, *LONG)
    in_oracle: bool = True


def _entries(family: str) -> dict[str, Entry]:
    """All of one family; Adam's schedules have a warmup of a tenth, which suits all of them."""
    warm = 0.1 if family == "Adam" else 0.0
    rise = {"warmup_ratio": warm, "init_value": 0.1}
    optimizer = {"SGD": "SGDM", "Adam": "Adam"}[family]
    pair = falling_momentum(momentum=0.9, averaged=family == "Adam", warmup_ratio=warm)
    stable = warmup_stable_decay(warmup_ratio=warm)
    trunk = warmup_stable_decay(warmup_ratio=warm * _SHORTEST / TRUNK)
    rules = {
        "linear": Rule(Schedule(linear, **rise)),
        "cosine": Rule(Schedule(cosine, **rise)),
        "REX": Rule(Schedule(rex, **rise)),
        "OneCycle": Rule(*one_cycle()),
        "the rule": Rule(*pair),
        "warmup-stable-decay": Rule(stable),
    }
    return {
        **{name: Entry(optimizer, rule) for name, rule in rules.items()},
        "trunk": Entry(optimizer, Rule(trunk), (TRUNK,), in_oracle=False),
        "Schedule-Free": Entry(
            f"Schedule-Free {family}", Rule(Schedule(constant, **rise)), in_oracle=False
        ),
    }


FAMILIES = {family: _entries(family) for family in ("SGD", "Adam")}

# The lowest peak of each optimizer.
LOWEST = {"SGDM": 0.02, "Adam": 0.004, "Schedule-Free SGD": 0.16, "Schedule-Free Adam": 0.004}


def peaks(optimizer: str) -> NDArray[np.floating]:
    """The grid of peaks, (PEAKS,)."""
    return LOWEST[optimizer] * 2.0 ** np.arange(PEAKS)


class Rung(NamedTuple):
    """A round of short runs: of so many candidates, each on that share of the budget."""

    candidates: int
    share: float


class Policy(NamedTuple):
    """How a whole budget is spent.

    Args:
        schedules: Those that are tried. The candidates of the first rung are these at as many
            peaks of the grid as its number allows.
        rungs: The rounds; each goes on with the best of the one before. None: the peak comes from
            the other settings.
        exponent: How the best peak moves from the last rung's budget to the long run's, as a power
            of their ratio, rounded to the grid.
        trained: What is trained in the end, if not the schedule that was chosen.
        below: The candidates are neighbours on the grid, and so many of them lie below the one that
            is carried over to the peak of the other settings. None: they are spread evenly.
    """

    schedules: tuple[str, ...]
    rungs: tuple[Rung, ...]
    exponent: float = -0.25
    trained: str | None = None
    below: int | None = None

    @property
    def share(self) -> float:
        """The share of the budget that the long run has."""
        if self.trained == "trunk":
            return TRUNK
        spent = sum(rung.candidates * rung.share for rung in self.rungs)
        return min(LONG, key=lambda share: abs(share - (1 - spent)))


_ONE = (Rung(8, 1 / 40),)
_HALF = (Rung(8, 1 / 20),)
_COARSE = (Rung(4, 1 / 20),)
_AROUND = {
    "4 peaks at T/20": _COARSE,
    "4 peaks at T/40": (Rung(4, 1 / 40),),
    "2 peaks at T/20": (Rung(2, 1 / 20),),
}
_TENTHS = (Rung(4, 1 / 10),)
_HALVING = (Rung(8, 1 / 40), Rung(2, 1 / 10))

POLICIES: dict[str, Policy] = {
    **{
        f"{name}: 8 peaks at T/40": Policy((name,), _ONE)
        for name in ("linear", "cosine", "REX", "the rule", "OneCycle", "Schedule-Free")
    },
    "warmup-stable-decay: 8 peaks at T/40, the peak as it is, from the trunk": Policy(
        ("warmup-stable-decay",), _ONE, 0.0, "trunk"
    ),
    **{f"{name}: 4 peaks at T/20": Policy((name,), _COARSE) for name in ("cosine", "the rule")},
    **{f"{name}: 8 peaks at T/20": Policy((name,), _HALF) for name in ("cosine", "the rule")},
    **{f"{name}: 4 peaks at T/10": Policy((name,), _TENTHS) for name in ("cosine", "the rule")},
    **{
        f"{name}: 8 peaks at T/40, then 2 at T/10": Policy((name,), _HALVING)
        for name in ("cosine", "the rule")
    },
    **{
        f"{name}: 8 peaks at T/40, the peak as it is": Policy((name,), _ONE, 0.0)
        for name in ("cosine", "the rule")
    },
    **{
        f"{name}: 8 peaks at T/40, exponent −½": Policy((name,), _ONE, -0.5)
        for name in ("cosine", "the rule")
    },
    "the rule or linear: 4 peaks each at T/40": Policy(("the rule", "linear"), _ONE),
    "four schedules: 4 peaks each at T/40": Policy(
        ("linear", "REX", "the rule", "OneCycle"), (Rung(16, 1 / 40),)
    ),
    **{
        f"{name}: {tried}, around the other settings' peak": Policy((name,), rungs, below=1)
        for name in ("cosine", "REX", "the rule")
        for tried, rungs in _AROUND.items()
    },
    **{
        f"{name}: {tried}, up to the other settings' peak": Policy((name,), rungs, below=3)
        for name in ("cosine", "REX", "the rule")
        for tried, rungs in _AROUND.items()
        if rungs[0].candidates == 4
    },
    **{
        f"{name}: no search, the other settings' peak": Policy((name,), ())
        for name in ("linear", "cosine", "REX", "the rule")
    },
}

SETTINGS = "digits", "moons"
BUDGETS = 200, 600, 1800
SEEDS = 20
