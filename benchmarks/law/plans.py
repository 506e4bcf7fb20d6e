"""What is run on which setting, and which points the fine pass compares with the rivals."""

from benchmarks.law.run import Plan
from benchmarks.law.space import FAMILY, OTHERS, RIVALS, Point

# The preset falling_momentum, as it is proposed for each family of optimizers.
RULE = {
    "SGD": Point(beta=0.5, momentum="to 0, kept"),
    "Adam": Point(beta=0.5, momentum="to 0", warmup=0.1),
}

_WARMED = Point(beta=0.5, momentum="to 0, kept", warmup=0.1)
_LANDED = Point(beta=0.5, momentum="long landing, kept")
_LATE = Point(beta=0.85, momentum="to 0, kept")
_SLOW = Point(beta=0.5, momentum="to 0", warmup=0.3)
DEMON = Point("rex μ", momentum="demon")  # demon(μ), and REX with β = μ.

# Settings that were run after the rule was fixed.
AFTERWARDS = "batches", "lowprecision", "selftraining", "charlm"

# Rules as they could be given to users: one point for every budget.
CANDIDATES: tuple[Point, ...] = (
    *RULE.values(),
    _WARMED,
    _LANDED,
    _LATE,
    _SLOW,
    Point(beta=0.0, momentum="to 0", warmup=0.1),
    Point(beta=0.85, momentum="to 0"),
    Point(beta=0.85, momentum="to 0", warmup=0.1),
    Point(beta=0.85, momentum="landing"),
    DEMON,
    Point("rex μ", momentum="demon", warmup=0.1),
    Point(beta=0.5, momentum="demon", warmup=0.1),
    Point(beta=0.0, momentum="demon", warmup=0.1),
)

# For long budgets and large settings, where all of the space would take too many hours.
_RIVALS = tuple(point for rival in RIVALS.values() for point in rival)
_FEW = (*_RIVALS, *(point for other in OTHERS.values() for point in other), *CANDIDATES, *FAMILY)

# Optimizers that compete with schedules. Schedule-Free has a constant rate after its warmup.
PEERS = {
    "Schedule-Free SGD": OTHERS["no schedule"],
    "Schedule-Free Adam": OTHERS["no schedule"],
    "Prodigy": (*OTHERS["no schedule"], *RIVALS["linear"], *RIVALS["cosine"]),
}

_SGDM = {0.0: 0.08, 0.9: 0.04, 0.95: 0.04}
_ADAM = {0.9: 0.004}

PLANS: tuple[Plan, ...] = (
    *(
        Plan(
            setting,
            {"SGDM": _SGDM, "Adam": _ADAM},
            (10, 20, 40, 80, 160),
            peaks=7,
            seeds={"coarse": 8, "fine": 100},
        )
        for setting in ("digits", "moons")
    ),
    # Is it the falling momentum, or would another constant one do?
    *(
        Plan(
            setting,
            {"SGDM": {0.5: 0.08, 0.7: 0.08, 0.8: 0.04}},
            (10, 20, 40, 80, 160, 320),
            peaks=7,
            seeds={"coarse": 8, "fine": 100},
            points=(*_RIVALS, RULE["SGD"], _LATE, _SLOW, DEMON),
        )
        for setting in ("digits", "moons")
    ),
    # Is it the noise of the gradients? The digits themselves have batches of 32.
    *(
        Plan(
            f"batches-{size}",
            {"SGDM": {0.9: 0.04}},
            (20, 80, 320),
            peaks=7,
            seeds={"coarse": 8, "fine": 60},
            points=(*_RIVALS, RULE["SGD"], _WARMED, _LANDED),
        )
        for size in (8, 128, 512)
    ),
    *(
        Plan(
            setting,
            {peer: {0.9: lowest}},
            (10, 20, 40, 80, 160, 320),
            peaks=7,
            seeds={"coarse": 8, "fine": 100},
            points=PEERS[peer],
        )
        for setting in ("digits", "moons")
        for peer, lowest in (
            ("Schedule-Free SGD", 0.16),
            ("Schedule-Free Adam", 0.004),
            ("Prodigy", 1.0),
        )
    ),
    Plan(
        "vae_mnist",
        {"Adam": {0.9: 0.001}},
        (30, 110),
        peaks=6,
        seeds={"coarse": 1, "fine": 3},
        points=_FEW,
    ),
    Plan(
        "autoencoder-tied",
        {"SGDM": {0.9: 4.0}},
        (10, 30, 100),
        peaks=7,
        seeds={"coarse": 1, "fine": 3},
        points=_FEW,
    ),
    *(
        Plan(
            setting,
            {"SGDM": _SGDM, "Adam": _ADAM},
            (320, 640, 1280),
            peaks=7,
            seeds={"coarse": 8, "fine": 60},
            points=_FEW,
        )
        for setting in ("digits", "moons")
    ),
    Plan(
        "lowprecision-stochastic",
        {"SGDM": {0.9: 0.04}},
        (20, 80, 320),
        peaks=7,
        seeds={"coarse": 8, "fine": 60},
        points=_FEW,
    ),
    Plan(
        "charlm_shakespeare",
        {"AdamW": {0.9: 0.002}},
        (20, 49),
        peaks=5,
        seeds={"coarse": 1, "fine": 3},
        points=_FEW,
    ),
    Plan(
        "selftraining-noisy",
        {"Adam": _ADAM},
        (60, 240),
        peaks=5,
        seeds={"coarse": 1, "fine": 3},
        points=_FEW,
    ),
    Plan(
        "translation-halves",
        {"SGDM": {0.9: 0.05}},
        (4000, 10_000),
        peaks=5,
        seeds={"coarse": 2, "fine": 4},
        points=(*_RIVALS, RULE["SGD"], DEMON),
    ),
)
