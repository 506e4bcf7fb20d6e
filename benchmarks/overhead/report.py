"""What was measured: Markdown that can be read as it is, a figure, and the numbers as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

from benchmarks.overhead.measure import Bound, Row, Table

COMMAND = "python -m benchmarks.overhead"
BEGIN, END = f"<!-- Tables of {COMMAND}: -->", f"<!-- End of the tables of {COMMAND}. -->"

# Colour, marker, label.
_KEPT = "#0072b2", "o", "kept"
_MISSED = "#d55e00", "X", "missed"


def plain(tables: Iterable[Table]) -> list[dict[str, Any]]:
    """The tables as plain JSON types."""
    return [
        {
            "title": table.title,
            "short": table.short,
            "unit": table.unit,
            "rows": [asdict(row) | {"met": row.met} for row in table.rows],
        }
        for table in tables
    ]


def read(content: Mapping[str, Any]) -> list[Table]:
    """The tables of a file of results."""
    return [
        Table(**table | {"rows": [_row(row) for row in table["rows"]]})
        for table in content["tables"]
    ]


def markdown(tables: Iterable[Table]) -> str:
    """Each table under its title."""
    return "\n\n".join(f"{table.title}\n\n{_table(table)}" for table in tables)


def insert(tables: Iterable[Table], path: Path) -> None:
    """Put the tables between their two lines in a Markdown file, in place of those there."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path.name} must have the lines {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{markdown(tables)}\n\n{END}{after}", encoding="utf-8")


def draw(tables: Iterable[Table], path: Path) -> None:
    """Draw the rows that promise something, as shares of what they promise."""
    promised = [
        (f"{table.short}: {row.name}, {_promise(row.bound, table.unit)}", row, row.bound)
        for table in tables
        for row in table.rows
        if row.bound
    ][::-1]
    canvas = Figure(figsize=(10, 1.5 + 0.24 * len(promised)), layout="constrained")
    axes = canvas.subplots()
    for place, (_, row, bound) in enumerate(promised):
        low, middle, high = _shares(row, bound)
        axes.plot([low, high], [place, place], color="#555555", linewidth=1.2, zorder=1)
        color, marker, _ = _KEPT if row.met else _MISSED
        axes.plot([middle], [place], color=color, marker=marker, linestyle="")
    axes.axvline(1, color="black", linewidth=1)
    for color, marker, label in (_KEPT, _MISSED):
        axes.plot([], [], color=color, marker=marker, linestyle="", label=label)
    axes.legend()
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(promised)), [label for label, _, _ in promised])
    axes.margins(y=0.02)
    axes.grid(alpha=0.3)
    canvas.suptitle("Costs and their bounds: a mark at or left of the line keeps its bound")
    canvas.supxlabel("measured / bound: the median, and the middle half of the rounds")
    canvas.savefig(path, dpi=120)


def _shares(row: Row, bound: Bound) -> tuple[float, float, float]:
    if bound.of == "value":
        return (row.value / bound.most,) * 3
    return row.low / bound.most, row.ratio / bound.most, row.high / bound.most


def _row(content: Mapping[str, Any]) -> Row:
    bound = content["bound"]
    fields = {key: part for key, part in content.items() if key not in ("bound", "met")}
    return Row(**fields, bound=bound and Bound(**bound))


def _table(table: Table) -> str:
    lines: list[tuple[str, ...]] = [("", table.unit, "ratio", "middle half", "bound")]
    lines += [_cells(row, table.unit) for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:-1]), "-" * widths[-1]]
    return "\n".join(
        f"| {' | '.join(_aligned(line, widths))} |" for line in (lines[0], rule, *lines[1:])
    )


def _aligned(line: Iterable[str], widths: Sequence[int]) -> list[str]:
    first, *middle, last = zip(line, widths, strict=True)
    return [
        first[0].ljust(first[1]),
        *(cell.rjust(width) for cell, width in middle),
        last[0].ljust(last[1]),
    ]


def _cells(row: Row, unit: str) -> tuple[str, ...]:
    if row.baseline:
        ratio, spread = "baseline", ""
    else:
        ratio, spread = _number(row.ratio), f"{_number(row.low)} to {_number(row.high)}"
    bound = ""
    if row.bound:
        bound = f"{_promise(row.bound, unit)}: {'met' if row.met else 'not met'}"
    return row.name, _number(row.value), ratio, spread, bound


def _promise(bound: Bound, unit: str) -> str:
    return f"{'ratio' if bound.of == 'ratio' else unit} ≤ {bound.most:g}"


def _number(value: float) -> str:
    """Three digits, and all of those before the point.

    >>> [_number(value) for value in (0.00123, 0.9996, 1.5, 12.345, 12345.6, 6)]
    ['0.00123', '1.00', '1.50', '12.3', '12346', '6']
    """
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:#.3g}"
