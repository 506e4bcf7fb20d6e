"""What was measured, as Markdown that can be read as it is."""

from collections.abc import Iterable

from benchmarks.overhead.measure import Row, Table


def markdown(tables: Iterable[Table]) -> str:
    """Each table under its title."""
    return "\n\n".join(f"{table.title}\n\n{_table(table)}" for table in tables)


def _table(table: Table) -> str:
    lines: list[tuple[str, ...]] = [("", table.unit, "ratio", "middle half", "bound")]
    lines += [_cells(row, table.unit) for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:-1]), "-" * widths[-1]]
    return "\n".join(
        f"| {' | '.join(_aligned(line, widths))} |" for line in (lines[0], rule, *lines[1:])
    )


def _aligned(line: Iterable[str], widths: list[int]) -> list[str]:
    first, *middle, last = zip(line, widths, strict=True)
    return [
        first[0].ljust(first[1]),
        *(cell.rjust(width) for cell, width in middle),
        last[0].ljust(last[1]),
    ]


def _cells(row: Row, unit: str) -> tuple[str, ...]:
    if row.ratio is None or row.low is None or row.high is None:
        ratio, spread = "baseline", ""
    else:
        ratio, spread = _number(row.ratio), f"{_number(row.low)} to {_number(row.high)}"
    bound = ""
    if row.bound:
        of = "ratio" if row.bound.of == "ratio" else unit
        bound = f"{of} ≤ {row.bound.most:g}: {'met' if row.met else 'not met'}"
    return row.name, _number(row.value), ratio, spread, bound


def _number(value: float) -> str:
    """Three digits, and all of those before the point.

    >>> [_number(value) for value in (0.00123, 0.9996, 1.5, 12.345, 12345.6, 6)]
    ['0.00123', '1.00', '1.50', '12.3', '12346', '6']
    """
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:#.3g}"
