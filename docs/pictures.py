"""The pictures of the pages: curves over the share of the budget that is spent."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

STYLES = "-", "--", "-.", ":"  # They can be told apart in grey.


def curves(
    functions: dict[str, Callable[[Any, Any], Any]], T: int = 1000, log: bool = False
) -> None:
    """Draw functions of (t, T), each under its name."""
    t = np.arange(T + 1)
    _, axes = plt.subplots(figsize=(5.2, 2.6), layout="constrained")
    for number, (name, function) in enumerate(functions.items()):
        axes.plot(100 * t / T, function(t, T), STYLES[number % len(STYLES)], label=name)
    axes.set(xlabel="spent, % of the budget", ylabel="value")
    if log:
        axes.set_yscale("log")
    axes.legend(frameon=False)
