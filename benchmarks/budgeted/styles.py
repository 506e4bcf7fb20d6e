"""One style for each schedule in all figures.

Okabe and Ito's colours; dashes and markers carry the difference where the colours are lost.
"""

from typing import Any

STYLES: dict[str, dict[str, Any]] = {
    "REX": {"color": "#d55e00", "linestyle": "-", "marker": "o", "linewidth": 2.2, "zorder": 3},
    "linear": {"color": "#0072b2", "linestyle": "--", "marker": "s"},
    "cosine": {"color": "#009e73", "linestyle": "-.", "marker": "^"},
    "step": {"color": "#000000", "linestyle": ":", "marker": "D"},
    "exponential": {"color": "#cc79a7", "linestyle": (0, (6, 1, 1, 1, 1, 1)), "marker": "v"},
    "OneCycle": {"color": "#56b4e9", "linestyle": (0, (8, 3)), "marker": "P"},
    "no schedule": {"color": "#7f7f7f", "linestyle": (0, (1, 4)), "marker": "X"},
    "falling momentum": {"color": "#882255", "linestyle": "-", "marker": "*", "linewidth": 2.2},
    "plateau": {"color": "#e69f00", "linestyle": (0, (3, 1)), "marker": "<"},
}
