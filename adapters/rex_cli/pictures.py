"""Pictures of schedules, on matplotlib's axes and as text."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rex_core.adapting import POSITIVE, checked_schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = 6.4, 3.6  # Inches.
_POINTS = 4000
_STYLES = "-", "--", "-.", ":"  # They can be told apart in grey.
_COLORS = "blue", "yellow", "green", "magenta", "cyan", "red"


def plot(
    schedule: Callable[[Any, Any], Any],
    T: Any,
    ax: "Axes | None" = None,
    *,
    label: str | None = None,
    unit: str = "updates",
    per_update: float = 1,
) -> "Axes":
    """Draw a schedule over its budget, with matplotlib.

    Given axes keep their curves. Call it again for the next schedule. For a logarithmic axis call
    ``ax.set_yscale("log")``.

    Args:
        schedule: A `rex_core.Schedule` or another function of (t, T), its name or its dictionary.
        T: The budget, a finite number > 0. An integer counts whole steps.
        ax: The axes to draw on; those of a new figure by default.
        label: The name of the curve in the legend; none by default.
        unit: The name of the horizontal axis.
        per_update: How many of that unit one step is, a finite number > 0: the tokens of an update,
            or 1 / (the updates of an epoch).

    Returns:
        The axes, with one line more.

    Raises:
        ValueError: T or per_update is out of range, or the schedule refuses T.

    >>> from rex_core import Schedule
    >>> axes = plot(Schedule(peak_value=0.1, warmup_ratio=0.05), T=1000, label="rex")
    >>> axes = plot(Schedule("cosine", peak_value=0.1), T=1000, ax=axes, label="cosine")
    >>> len(axes.lines)
    2
    """
    x, y = points(schedule, T, per_update)
    if ax is None:
        try:
            from matplotlib import pyplot
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"rex_cli.plot needs {error.name}: pip install 'rex-schedules[cli]'",
                name=error.name,
            ) from error
        ax = pyplot.subplots(figsize=SIZE, layout="constrained")[1]
    draw(ax, x, y, label=label, unit=unit)
    return ax


def draw(
    ax: "Axes", x: Sequence[float], y: Sequence[float], *, label: str | None, unit: str
) -> None:
    """Add a curve to axes, in a style of its own."""
    ax.plot(x, y, _STYLES[len(ax.lines) % len(_STYLES)], label=label)
    ax.set(xlabel=unit, ylabel="value")
    if label is not None:
        ax.legend(frameon=False)


def has_display() -> bool:
    """Whether matplotlib can open a window."""
    from matplotlib import pyplot
    from matplotlib.backends.registry import BackendFilter, backend_registry

    windows = backend_registry.list_builtin(BackendFilter.INTERACTIVE)
    return pyplot.get_backend().lower() in map(str.lower, windows)


def points(
    schedule: Callable[[Any, Any], Any], T: Any, per_update: float = 1
) -> tuple[list[float], list[float]]:
    """The curve of a schedule: at every step, or at 4000 places of a longer budget."""
    function = checked_schedule("schedule", schedule)
    T = POSITIVE.single("T", T)
    scale = POSITIVE.single("per_update", per_update)
    if isinstance(T, int):
        places: list[float] = sorted({T * i // _POINTS for i in range(_POINTS + 1)})
    else:
        places = [T * (i / _POINTS) for i in range(_POINTS + 1)]
    return [t * scale for t in places], [float(function(t, T)) for t in places]


def text_picture(
    curves: Sequence[tuple[str, Sequence[float], Sequence[float]]],
    *,
    unit: str = "updates",
    log: bool = False,
    width: int = 80,
) -> str:
    """Curves (label, x, y) as text, each with a letter of its own on it.

    Args:
        curves: One or more.
        unit: The name of the horizontal axis.
        log: Whether the vertical axis is logarithmic. It leaves out values <= 0; one must be above.
        width: The columns of the terminal.

    Returns:
        Lines with colours. The environment variable NO_COLOR takes these away.
    """
    import plotille

    curves = [
        (label, *_positive(x, y)) if log else (label, list(x), list(y)) for label, x, y in curves
    ]
    values = [value for _, _, y in curves for value in y]
    least, most = min(values), max(values)
    if not log:
        least = min(least, 0.0)
    figure = plotille.Figure()
    tens = next((tens for tens in (10, 5) if 10 * tens + 16 <= width), 2)
    figure.width, figure.height = 10 * tens + 1, 16
    figure.origin, figure.color_mode = False, "names"
    figure.x_label, figure.y_label = unit, "value"
    # One column and one row more, so that the ends of the curves are within the picture.
    _set_limits(figure.set_x_limits, 0.0, max(x[-1] for _, x, _ in curves), figure.width)
    _set_limits(figure.set_y_limits, least, most, figure.height)
    figure.x_ticks_fkt = lambda value, _: _short(value)
    figure.y_ticks_fkt = lambda value, _: f"{10**value if log else value:10.3g}"
    for number, (_, x, y) in enumerate(curves):
        color = _COLORS[number % len(_COLORS)]
        figure.plot(x, y, lc=color)
        if len(curves) > 1:
            shift = (number + 0.5) / len(curves)
            marked = [int((i + shift) / 6 * len(x)) for i in range(6)]
            letters = [_letter(number)] * len(marked)
            figure.text([x[i] for i in marked], [y[i] for i in marked], letters, lc=color)
    names = [
        plotille.color(f"{_letter(number)}  {label}", fg=_COLORS[number % len(_COLORS)])
        for number, (label, _, _) in enumerate(curves)
    ]
    lines = [line.rstrip(" \u2800") for line in figure.show().splitlines()]
    return "\n".join([*lines, "", *names] if len(curves) > 1 else lines)


def _positive(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points above 0, with the logarithms of their second numbers."""
    shown = [(a, math.log10(b)) for a, b in zip(x, y, strict=True) if b > 0]
    return [a for a, _ in shown], [b for _, b in shown]


def _set_limits(set_limits: Callable[..., Any], least: float, most: float, places: int) -> None:
    span = (most - least) or max(abs(most), 1.0)
    set_limits(min_=least, max_=least + span * places / (places - 1))


def _short(value: float) -> str:
    """A number in the nine columns between two ticks."""
    text = f"{value:.6g}"
    return text if len(text) <= 9 else f"{value:.3g}"


def _letter(number: int) -> str:
    return chr(ord("a") + number % 26)
