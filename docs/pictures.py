"""The pictures of the pages: curves over the share of the budget that is spent."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
from rex_cli import plot


def curves(
    functions: dict[str, Callable[[Any, Any], Any]], T: int = 1000, log: bool = False
) -> None:
    """Draw functions of (t, T), each under its name."""
    _, axes = plt.subplots(figsize=(5.2, 2.6), dpi=120, layout="constrained")
    for name, function in functions.items():
        plot(function, T, axes, label=name, unit="spent, % of the budget", per_update=100 / T)
    if log:
        axes.set_yscale("log")
