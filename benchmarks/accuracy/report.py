"""The tables and the figure of a file of results."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks import record

COMMAND = "python -m benchmarks.accuracy"
RESULTS = record.RESULTS / "accuracy.json"
FIGURE = record.RESULTS / "accuracy.png"
README = Path(record.__file__).parent / "README.md"
BEGIN, END = f"<!-- Tables of {COMMAND}: -->", f"<!-- End of the tables of {COMMAND}. -->"

_NAMES = {100: "100", 10**4: "10⁴", 10**6: "10⁶", 2**24 + 3: "2²⁴ + 3", 2**31 - 1: "2³¹ − 1"}

# Okabe and Ito's colours; dashes and markers carry the difference where the colours are lost.
_STYLES: dict[str, dict[str, Any]] = {
    "rex_core": {"color": "#d55e00", "linestyle": "-", "marker": "o", "linewidth": 2.2},
    "optax": {"color": "#0072b2", "linestyle": "--", "marker": "s"},
    "Keras": {"color": "#000000", "linestyle": ":", "marker": "D"},
    "PyTorch": {"color": "#009e73", "linestyle": "-.", "marker": "^"},
    "transformers": {"color": "#0072b2", "linestyle": "--", "marker": "s"},
    "fvcore": {"color": "#000000", "linestyle": ":", "marker": "D"},
    "pytorch-optimizer": {"color": "#cc79a7", "linestyle": (0, (6, 1, 1, 1)), "marker": "v"},
    "timm": {"color": "#56b4e9", "linestyle": (0, (8, 3)), "marker": "P"},
}


def tables(content: Mapping[str, Any]) -> str:
    """All tables, in Markdown."""
    profiles: dict[str, list[Any]] = {}
    for schedule in content["schedules"]:
        profiles.setdefault(schedule["profile"], []).append(schedule)
    errors = [
        _titled(f"#### `{profile}`", _errors(content, schedules))
        for profile, schedules in profiles.items()
    ]
    ending = [schedule for group in profiles.values() for schedule in group if "small" in schedule]
    parts = [
        _titled("### Errors", *errors, _notes(content)),
        _titled("### The end of the budget", _ends(content["budgets"], ending)),
        _titled("### Behaviour", _behaviour(content["behaviour"])),
    ]
    return "\n\n".join(parts)


def insert(content: Mapping[str, Any], path: Path) -> None:
    """Put the tables into a page, between the two lines that mark their place."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{path.name} must have the lines {BEGIN!r} and {END!r}")
    page = f"{before}{BEGIN}\n\n{tables(content)}\n\n{END}{after}"
    path.write_text(page, encoding="utf-8")


def draw(content: Mapping[str, Any], path: Path) -> None:
    """Draw the relative error against the number of steps left."""
    curves = content["curves"]
    canvas = Figure(figsize=(11, 5), layout="constrained")
    panels = canvas.subplots(1, 2, sharey=True)
    titles = ("jitted", "float32, in a jitted step"), ("Python", "float64, in Python")
    for axes, (how, title) in zip(panels, titles, strict=True):
        lines = [line for line in curves["lines"] if line["how"] == how]
        for i, line in enumerate(lines):
            axes.plot(
                line["left"],
                line["relative"],
                label=line["library"],
                markevery=(i, len(lines)),
                markersize=6,
                **_STYLES[line["library"]],
            )
        axes.set(
            title=title,
            xlabel="steps left, T − t",
            xscale="log",
            yscale="log",
        )
        axes.grid(alpha=0.3)
        axes.legend()
    panels[0].set_ylabel("worst relative error of the rate")
    canvas.suptitle(f"{curves['profile'].capitalize()} decay over {curves['T']:,} steps")
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=150)


def _errors(content: Mapping[str, Any], schedules: Iterable[Mapping[str, Any]]) -> str:
    budgets, last = content["budgets"], content["last"]
    headings = [
        "schedule",
        "computed in",
        *(f"T = {_NAMES.get(T, T)}" for T in budgets),
        f"last {last}",
        "ulp",
        f"ulp, last {last}",
    ]
    rows = []
    for schedule in schedules:
        measured = {row["T"]: row for row in schedule["budgets"]}
        worst = {
            key: max(row[key] for row in measured.values())
            for key in ("relative_last", "ulp", "ulp_last")
        }
        rows.append(
            [
                _name(schedule),
                _where(schedule),
                *(_number(measured[T]["relative"]) if T in measured else "–" for T in budgets),
                *map(_number, worst.values()),
            ]
        )
    return _table(headings, rows)


def _ends(budgets: Sequence[int], schedules: Iterable[Mapping[str, Any]]) -> str:
    headings = [
        "profile",
        "schedule",
        "computed in",
        "rate at T, small T",
        "rate after T = 100",
        *(f"without, {_NAMES.get(T, T)}" for T in budgets),
    ]
    rows = []
    for schedule in schedules:
        without = {row["T"]: str(row["without_rate"]) for row in schedule["budgets"]}
        rows.append(
            [
                f"`{schedule['profile']}`",
                _name(schedule),
                _where(schedule),
                _at_end(schedule["small"]),
                _after_end(schedule["beyond"]),
                *(without.get(T, "–") for T in budgets),
            ]
        )
    return _table(headings, rows)


def _at_end(small: Mapping[str, int]) -> str:
    if not small["not_zero"]:
        return "0"
    negative = f", below 0 for {small['negative']}" if small["negative"] else ""
    return f"not 0 for {small['not_zero']} of {small['budgets']}{negative}"


def _after_end(beyond: Sequence[Mapping[str, Any]]) -> str:
    if all(row["rate"] == 0 for row in beyond):
        return "0"
    return ", ".join(
        f"{row['rate'] if isinstance(row['rate'], str) else _number(row['rate'])} at {row['t']}"
        for row in beyond
    )


def _behaviour(subjects: Mapping[str, Mapping[str, Any]]) -> str:
    notes: dict[str, int] = {}

    def cell(answer: Mapping[str, Any]) -> str:
        word = {True: "yes", False: "no", None: "–"}[answer["yes"]]
        if not answer["what"]:
            return word
        return f"{word} ({notes.setdefault(answer['what'], len(notes) + 1)})"

    questions = next(iter(subjects.values()))
    rows = [
        [name, *(cell(answers[question]) for question in questions)]
        for name, answers in subjects.items()
    ]
    table = _table(["schedule", *questions], rows)
    return "\n".join(
        [table, "", *(f"{number}. {_escaped(what)}" for what, number in notes.items())]
    )


def _notes(content: Mapping[str, Any]) -> str:
    notes: dict[tuple[str, str], dict[str, None]] = {}
    for schedule in content["schedules"]:
        if schedule["note"]:
            notes.setdefault((schedule["library"], schedule["note"]), {})[schedule["name"]] = None
    lines = [f"* {library} {', '.join(names)}: {note}." for (library, note), names in notes.items()]
    lines += [f"* {library}: {why}." for library, why in content["missing"].items()]
    return "\n".join(lines)


def _name(schedule: Mapping[str, Any]) -> str:
    return f"{schedule['library']} {schedule['name']}"


def _where(schedule: Mapping[str, Any]) -> str:
    (dtype,) = {row["dtype"] for row in schedule["budgets"]}
    return f"{schedule['how']}, {dtype}"


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}" if abs(value) < 0.01 else f"{value:.3g}"


def _titled(title: str, *parts: str) -> str:
    return "\n\n".join([title, *filter(None, parts)])


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "&#124;")


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(headings), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(_row(line, widths) for line in lines)


def _row(cells: Iterable[str], widths: Iterable[int]) -> str:
    padded: Iterator[str] = (c.ljust(w) for c, w in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"
