"""The tables of the guide, from the file of results."""

from pathlib import Path
from typing import Any

from benchmarks import record

_RATIO, _THEORY = "theory's ratio", "theory's loss"
PAGE = Path(record.__file__).parents[1] / "docs" / "guides" / "which-peak.md"


def tables(results: Any) -> dict[str, str]:
    """The tables by their names, as Markdown."""
    found = {
        f"shapes {T}": shapes([row for row in results["shapes"] if row["T"] == T])
        for T in sorted({row["T"] for row in results["shapes"]})
    }
    found["bounds"] = bounds(results["shapes"])
    found["budgets"] = budgets(results["budgets"])
    found["with norms"] = with_norms(results["with norms"])
    found["refined"] = refined(results["refined"])
    found["cost"] = cost(results["cost"])
    found["lengths"] = lengths(results["lengths"])
    return found


def insert(results: Any, page: Path) -> None:
    """Put the tables that a page names between their marks."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables(results).items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        if mark:
            _, end, after = rest.partition("<!-- end -->")
            text = f"{before}{mark}{table}\n{end}{after}"
    page.write_text(text, encoding="utf-8")


def shapes(rows: Any) -> str:
    """One budget: peaks against linear's."""
    return _table(
        "schedule | theory | measured | tied | suggested | error | more at the suggestion | "
        "more at linear's peak",
        [
            (
                row["schedule"],
                f"{row[_RATIO]:.2f}",
                f"{row['measured ratio']:.2f}",
                _range(row["tied"]),
                f"{row['suggested']:.2f}",
                _percent(row["error"]),
                _difference(row["cost of the suggestion"]),
                _difference(row["cost of linear's peak"]),
            )
            for row in rows
        ],
    )


def bounds(rows: Any) -> str:
    """The bound against linear's, and the loss against linear's at each budget."""
    budgets = sorted({row["T"] for row in rows})
    names = list(dict.fromkeys(row["schedule"] for row in rows))
    at = {(row["schedule"], row["T"]): row for row in rows}
    return _table(
        " | ".join(["schedule", *(f"T = {T}: bound | loss" for T in budgets)]),
        [
            (
                name,
                *(
                    f"{at[name, T][key]:.2f}"
                    for T in budgets
                    for key in ("theory's loss", "measured loss")
                ),
            )
            for name in names
        ],
    )


def budgets(rows: Any) -> str:
    """From a short budget to longer ones."""
    return _table(
        "from | to | exponent | suggested | best | tied | more at the suggestion",
        [
            (
                f"{row['source']}, {row['T'][0]}: {row['tuned']:.2f}",
                f"{row['target']}, {row['T'][1]}",
                f"{row['exponent']:g}",
                f"{row['suggested']:.2f}",
                f"{row['peak']:.2f}",
                _range(row["tied"]),
                _difference(row["cost of the suggestion"]),
            )
            for row in rows
        ],
    )


def with_norms(rows: Any) -> str:
    """Peaks from norms and a distance."""
    return _table(
        "T | distance | suggested | best | tied",
        [
            (
                row["T"],
                f"{row['distance']:.1f}",
                f"{row['suggested']:.2f}",
                f"{row['peak']:.2f}",
                _range(row["tied"]),
            )
            for row in rows
        ],
    )


def refined(rows: Any) -> str:
    """Refined profiles and linear."""
    return _table(
        "optimizer, norm | T | norms, first and last tenth | the profile is highest at t/T | "
        "bound | loss | linear's error | refined: more",
        [
            (
                f"{row['optimizer']}, {row['norm']}",
                row["T"],
                " → ".join(f"{x:.2g}" for x in row["norms at the start and the end"]),
                f"{_highest(row['profile']):.1f}",
                f"{row[_THEORY]:.2f}",
                f"{row['measured loss']:.3g}",
                _percent(row["linear's error"]),
                _difference(row["more error"]),
            )
            for row in rows
        ],
    )


def cost(groups: Any) -> str:
    """Training steps with and without norms."""
    return _table(
        "step | µs of CPU time | more | ratio | quartiles",
        [
            (
                f"{name}, {row['name']}",
                f"{row['value']:.0f}",
                f"{row['value'] - rows[0]['value']:+.0f}",
                f"{row['ratio']:.3f}",
                f"{row['low']:.3f} to {row['high']:.3f}",
            )
            for name, rows in groups.items()
            for row in rows[1:]
        ],
    )


def lengths(rows: Any) -> str:
    """Time and memory of what is worked out from norms."""
    return _table(
        "T | `refine` | | `best_peak` | ",
        [
            (
                f"{row['T']:,}".replace(",", " "),
                *(
                    f"{row[f'{name}, {unit}']:.{digits}f} {unit}"
                    for name in ("refine", "best_peak")
                    for unit, digits in (("s", 2), ("MB", 0))
                ),
            )
            for row in rows
        ],
    )


def _highest(profile: list[float]) -> float:
    return profile.index(max(profile)) / (len(profile) - 1)


def _table(head: str, rows: list[tuple[Any, ...]]) -> str:
    count = head.count("|")
    lines = [f"| {head} |", "|---" * (count + 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def _percent(error: float) -> str:
    return f"{100 * error:.2f} %"


def _difference(found: Any) -> str:
    mean, spread = found["mean"], found["twice the standard error"]
    return f"{100 * mean:+.2f} ± {100 * spread:.2f}"


def _range(ends: Any) -> str:
    return f"{ends[0]:.2f} to {ends[1]:.2f}"
