"""Settings as flags and files, and the schedules that they make."""

import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rex_core import OneCycle, Pair, Product, Restarts, Schedule, from_dict
from rex_core.adapting import FUNCTIONS, PRESETS, PROFILES, TYPES, checked_schedule, number

Function = Callable[..., Any]

RESTARTS = "cycles", "period_mult", "peak_mult"
PAIRS = [
    name
    for name, each in PRESETS.items()
    if issubclass(inspect.signature(each).return_annotation, Pair)
]
MOMENTA = ["demon"]  # Presets whose values are a momentum and no rate.


def averages(pair: Pair) -> bool:
    """Whether a pair is for an optimizer that averages gradients, as Adam does.

    For one that sums them, as SGD does, the rate of `falling_momentum` has a second factor.
    """
    return not isinstance(pair, OneCycle) and not isinstance(pair.lr, Product)


class Setting(NamedTuple):
    """A setting as a flag.

    Attributes:
        name: The argument's name.
        group: The heading under which the help has it.
        text: The text of its docstring.
        kind: "number", "numbers", "truth" or "function".
    """

    name: str
    group: str
    text: str
    kind: str


class Named(NamedTuple):
    """A schedule, and its name in a legend or the head of a table.

    Attributes:
        label: The name.
        schedule: A function of (t, T), or a `Pair` of rate and momentum.
        T: The budget, or None.
        part: What the values are: "lr", "momentum", or "pair".
        averaged: Whether a momentum is for an optimizer that averages gradients.
    """

    label: str
    schedule: Any
    T: Any
    part: str = "lr"
    averaged: bool = False


def flag(name: str) -> str:
    """The flag of a setting: warmup_ratio is --warmup-ratio."""
    return f"--{name.replace('_', '-')}"


def settings() -> list[Setting]:
    """All settings of schedules, restarts, profiles, samplings and presets, from their signatures.

    A name that several functions have is one setting.
    """
    found: dict[str, Setting] = {}
    owners: dict[str, list[str]] = {}

    def add(group: str, function: Function, *names: str) -> None:
        for name, parameter in inspect.signature(function).parameters.items():
            if name in ("t", "T") or (names and name not in names):
                continue
            owners.setdefault(name, []).append(function.__name__)
            kind = "number"
            if inspect.isfunction(parameter.default):
                kind = "function"
            elif isinstance(parameter.default, bool):
                kind = "truth"
            elif "Sequence" in str(parameter.annotation):
                kind = "numbers"
            found.setdefault(name, Setting(name, group, described(function, name), kind))

    add("The schedule", Schedule)
    add("The schedule several times over", Restarts, *RESTARTS)
    for each in FUNCTIONS.values():
        add("Parameters of profiles and samplings", each)
    for each in PRESETS.values():
        add("Arguments of presets", each)
    return [
        setting
        if setting.group.startswith("The schedule")
        else setting._replace(text=f"{', '.join(owners[setting.name])}: {setting.text}")
        for setting in found.values()
    ]


def described(function: Function, name: str) -> str:
    """The first clause of a docstring's text for an argument."""
    text = inspect.getdoc(function) or ""
    match = re.search(rf"^    {name}: (.*(?:\n        .*)*)", text, re.MULTILINE)
    if match is None:
        return ""
    clause = re.split(r"; |\. |\.$|: ", " ".join(match[1].split()))[0]
    return clause.replace("`", "")


def numbers(text: str) -> tuple[Any, ...]:
    """Numbers with commas between them.

    >>> numbers("0.3,0.6,-1")
    (0.3, 0.6, -1)
    """
    return tuple(map(number, text.split(",")))


def truth(text: str) -> Any:
    """True or False. Another text is kept: the library refuses it by the argument's name."""
    return {"true": True, "false": False}.get(text.lower(), text)


def function(text: str) -> Any:
    """The name of a function, or its dictionary as JSON."""
    if not text.startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"a function must be a name or JSON ({error}); got {text!r}") from None


def text_of(path: str) -> str:
    """The text of a file, or of the standard input for "-"."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8; got {error}") from None
    return text.removeprefix("\ufeff")  # Excel's byte order mark.


def read(path: str) -> Any:
    """The content of a file of JSON, TOML or YAML. "-" is JSON from the standard input."""
    suffix = Path(path).suffix.lower()
    if path != "-" and suffix not in _READERS:
        raise ValueError(
            f"the file of a schedule must end in {', '.join(_READERS)}, or be - for JSON from "
            f"standard input; got {path}"
        )
    content = text_of(path)
    try:
        return _READERS.get(suffix, json.loads)(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must hold a schedule; got {error}") from None


def _toml(content: str) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(content)


def _yaml(content: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types.
        """YAML 1.1 takes 3e-4 for a string, and 1.2 for a number."""

    number = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    try:
        return yaml.load(content, Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


_READERS: dict[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".toml": _toml,
    ".yaml": _yaml,
    ".yml": _yaml,
}


def schedules(
    files: Sequence[str], given: Mapping[str, Sequence[Any]], *, pairs: bool = False
) -> list[Named]:
    """The schedules of files and settings.

    A setting that is given once holds for all schedules. A setting that is given several times
    holds for one schedule each time.

    Args:
        files: Names of files.
        given: The values of each given setting, and of "preset", "part" and "T".
        pairs: Whether a pair without a "part" is accepted.

    Returns:
        Each schedule with its name: the file's, the preset's or the profile's, and the settings in
        which they differ.

    Raises:
        ValueError: Two settings are given several times, but not equally often; the library
            refuses a value.
    """
    columns = {name: [*values] for name, values in {"file": files, **given}.items() if values}
    counts = {name: len(values) for name, values in columns.items() if len(values) > 1}
    if len({*counts.values()}) > 1:
        found = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise ValueError(f"settings must be given once, or once for each schedule; got {found}")
    rows = [
        {name: values[i if len(values) > 1 else 0] for name, values in columns.items()}
        for i in range(max(counts.values(), default=1))
    ]
    placed = [_place(row) for row in rows]
    used = {name for row, each in zip(rows, placed, strict=True) for name in row.keys() - each.left}
    return [
        Named(_label(row, rows), schedule, row.get("T"), part, averaged)
        for row, place in zip(rows, placed, strict=True)
        for schedule, part, averaged in [_made(row, place, used - counts.keys(), pairs)]
    ]


class _Placed(NamedTuple):
    """The settings of one schedule, for `from_dict`.

    Attributes:
        data: Its dictionary.
        restarts: The arguments of `Restarts` around it.
        left: The names of the settings that have no place in either.
    """

    data: Any
    restarts: dict[str, Any]
    left: set[str]


def _place(row: Mapping[str, Any]) -> _Placed:
    source = read(row["file"]) if "file" in row else {}
    given = {name: row[name] for name in row if name not in ("file", "part", "T")}
    if not given:
        return _Placed(source, {}, set())
    data = dict(source) if isinstance(source, Mapping) else {"profile": source}
    if "preset" in given:
        data["preset"] = given.pop("preset")
    elif "file" not in row:
        data["type"] = "Schedule"
    arguments = _arguments(data)
    data |= {name: given.pop(name) for name in arguments if name in given}
    restarts = {name: given.pop(name) for name in RESTARTS if name in given}
    left = set()
    for name, value in given.items():
        owners = [field for field in arguments if name in _parameters(data, field)]
        if len(owners) > 1:
            raise ValueError(
                f"{name} must be written as JSON where two functions take it, as in "
                f'{owners[1]} \'{{"...": {{"{name}": ...}}}}\'; got {" and ".join(owners)}'
            )
        if owners:
            data[owners[0]] = _bound(data, owners[0], name, value)
        else:
            left.add(name)
    return _Placed(data, restarts, left)


def _made(
    row: Mapping[str, Any], placed: _Placed, others: set[str], pairs: bool
) -> tuple[Any, str, bool]:
    """The schedule, its part, and whether it is for an optimizer that averages gradients.

    A setting with no place in it, and none in others, is refused.
    """
    data = placed.data
    for name in sorted(placed.left - others):
        known = any(name in inspect.signature(each).parameters for each in FUNCTIONS.values())
        if known and "profile" in _arguments(data):
            data["profile"] = _bound(data, "profile", name, row[name])
        else:
            data[name] = row[name]
    if isinstance(data, Mapping):
        _check_bound(data)
    if placed.restarts:
        data = {"type": "Restarts", "schedule": data, **placed.restarts}
    made = from_dict(data)
    if isinstance(made, Pair):
        if "part" in row:
            return getattr(made, row["part"]), row["part"], averages(made)
        if pairs:
            return made, "pair", averages(made)
        raise ValueError("part must be lr or momentum, for a pair of schedules; got none")
    if "part" in row:
        raise ValueError(f"part must be left out, except for a pair; got {row['part']}")
    part = "momentum" if _is_momentum(data) else "lr"
    return checked_schedule("schedule", made), part, False


def _is_momentum(data: Any) -> bool:
    """Whether a dictionary names a preset of a momentum, also within Restarts, Clamp or Replan."""
    while isinstance(data, Mapping) and "schedule" in data:
        data = data["schedule"]
    return isinstance(data, Mapping) and data.get("preset") in MOMENTA


def _arguments(data: Mapping[str, Any]) -> Mapping[str, inspect.Parameter]:
    """The arguments of the preset or type that a dictionary names; none if it is unknown."""
    known: Mapping[str, Function] = PRESETS if "preset" in data else TYPES
    name = data.get("preset", data.get("type", "Schedule"))
    found = isinstance(name, str) and name in known
    return inspect.signature(known[name]).parameters if found else {}


def _function(data: Mapping[str, Any], field: str) -> tuple[str, dict[str, Any]]:
    """The name of the function in a field, and its parameters; "" where it is no function."""
    default = _arguments(data)[field].default
    content = data.get(field, default.__name__ if inspect.isfunction(default) else "")
    name, params = content, {}
    if isinstance(content, Mapping) and "function" in content:
        name, params = content["function"], content.get("params", {})
    elif isinstance(content, Mapping) and len(content) == 1:
        ((name, params),) = content.items()
    if isinstance(name, str) and isinstance(params, Mapping):
        return name, dict(params)
    return "", {}


def _parameters(data: Mapping[str, Any], field: str) -> Mapping[str, inspect.Parameter]:
    name, _ = _function(data, field)
    return inspect.signature(FUNCTIONS[name]).parameters if name in FUNCTIONS else {}


def _bound(data: Mapping[str, Any], field: str, name: str, value: Any) -> dict[str, Any]:
    function, params = _function(data, field)
    return {function: params | {name: value}}


def _check_bound(data: Mapping[str, Any]) -> None:
    """Refuse a function without the parameters that it needs, by their flags."""
    for field in _arguments(data):
        function, given = _function(data, field)
        if (FUNCTIONS.get(function) in PROFILES) == (field == "sampling"):
            continue  # The library says that it is of the other kind.
        for name, each in _parameters(data, field).items():
            if each.kind is each.KEYWORD_ONLY and each.default is each.empty and name not in given:
                raise ValueError(
                    f"{field} must be bound to a value of {name}, with {flag(name)}; got {function}"
                )


def _label(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    source = row.get("file", row.get("preset"))
    own = {
        name: value
        for name, value in row.items()
        if name not in ("file", "preset") and any(each[name] != value for each in rows)
    }
    if source is None:
        source = own.pop("profile", row.get("profile", "rex"))
    return ", ".join([str(source), *(f"{name} = {_text(value)}" for name, value in own.items())])


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
