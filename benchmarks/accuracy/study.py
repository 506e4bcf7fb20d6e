"""Everything that is measured, as plain JSON types."""

from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from benchmarks.accuracy import behaviour, measure, peers

DISTRIBUTIONS = (
    "rex-schedules",
    "numpy",
    "mpmath",
    "jax",
    "jaxlib",
    "optax",
    "keras",
    "torch",
    "transformers",
    "fvcore",
    "pytorch-optimizer",
    "timm",
)
CURVE = "cosine"  # The profile that every library has.
CURVE_BUDGET = peers.STEPPABLE


def study(
    budgets: Sequence[int] = measure.BUDGETS,
    small: Sequence[int] = measure.SMALL,
    libraries: Sequence[str] = tuple(peers.LIBRARIES),
    curve_budget: int = CURVE_BUDGET,
) -> dict[str, Any]:
    """Measure the schedules of the libraries, and ask those of rex_core and its peers."""
    measured, missing = peers.installed(libraries)
    subjects = behaviour.installed(libraries)
    schedules, curves = [], []
    for peer in tqdm(measured, desc="accuracy", disable=None):
        schedules.append(_schedule(peer, budgets, small))
        if peer.profile == CURVE and peer.how != "x64 mode" and "closed" not in peer.name:
            line = {"library": peer.library, "how": peer.how}
            curves.append(line | measure.curve(peer, curve_budget))
    return {
        "budgets": list(budgets),
        "last": measure.LAST,
        "schedules": schedules,
        "missing": missing,
        "curves": {"profile": CURVE, "T": curve_budget, "lines": curves},
        "behaviour": {
            name: behaviour.answers(subject)
            for name, subject in tqdm(subjects.items(), desc="behaviour", disable=None)
        },
    }


def _schedule(peer: peers.Peer, budgets: Sequence[int], small: Sequence[int]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "library": peer.library,
        "name": peer.name,
        "profile": peer.profile,
        "how": peer.how,
        "note": peer.note,
        "budgets": [measure.accuracy(peer, T) for T in budgets if peer.largest >= T],
    }
    if peer.profile in measure.ENDING_AT_ZERO:
        content |= {"small": measure.small_budgets(peer, small), "beyond": measure.beyond(peer)}
    return content
