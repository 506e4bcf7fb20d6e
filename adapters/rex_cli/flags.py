"""The subcommands of `rex` share this: kinds of flags, help with examples, one-line errors."""

import sys
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import click
from click.shell_completion import CompletionItem

from rex_cli.settings import PAIRS, flag, function, numbers, settings, truth
from rex_core.adapting import FUNCTIONS, PRESETS, PROFILES, number

_SHORT = {"peak_value": ["--peak"], "end_value": ["--end"], "init_value": ["--init"]}


class Text(click.ParamType):  # type: ignore[type-arg]  # Generic from click 8.4 on.
    """The kind of a flag: a number, several numbers, or a known name."""

    def __init__(self, name: str, read: Callable[[str], Any], known: Sequence[str] = ()) -> None:
        self.name, self.read, self.known = name, read, known

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of a text."""
        return self.read(value) if isinstance(value, str) else value

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        """The known names that begin with the text."""
        return [CompletionItem(name) for name in self.known if name.startswith(incomplete)]


NUMBER = Text("number", number)
NUMBERS = Text("numbers", numbers)
_KINDS = {
    "number": NUMBER,
    "numbers": NUMBERS,
    "truth": Text("true|false", truth, ["true", "false"]),
}


class Option(click.Option):
    """An option under a heading of the help."""

    def __init__(self, *args: Any, heading: str = "Options", **params: Any) -> None:
        super().__init__(*args, **params)
        self.heading = heading


class _Examples(click.Command):
    """A command whose help has examples, and headings."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **params: Any) -> None:
        super().__init__(*args, **params)
        self.examples = examples

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The text, and the examples."""
        super().format_help_text(ctx, formatter)
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}\n" for line in self.examples))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, each heading with its own."""
        options = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        for heading, group in groupby(options, lambda each: getattr(each, "heading", "Options")):
            with formatter.section(heading):
                formatter.write_dl([line for each in group if (line := each.get_help_record(ctx))])


class _Command(_Examples):
    """A command whose flags of numbers take several: --at 0 100 -1, or --at 0,100,-1."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the numbers that follow such a flag."""
        several = {flag for each in self.params if each.type is NUMBERS for flag in each.opts}
        joined: list[str] = []
        open_flag = False
        for arg in args:
            is_number = not any(isinstance(each, str) for each in numbers(arg))
            if open_flag and is_number and joined[-1] not in several:
                joined[-1] += f",{arg}"
                continue
            if not (open_flag and is_number):
                open_flag = arg.partition("=")[0] in several
            joined.append(arg)
        return super().parse_args(ctx, joined)


class Group(_Examples, click.Group):
    """The group of commands. Its errors are one line."""

    command_class = _Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, and the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def main(  # type: ignore[override]  # Two overloads, of one body.
        self, args: Any = None, standalone_mode: bool = True, **params: Any
    ) -> Any:
        """Run, and exit: with 0, or with 2 after an error."""
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **params)
        try:
            sys.exit(super().main(args, standalone_mode=False, **params))
        except click.Abort:
            sys.exit(130)
        except click.ClickException as error:
            text = error.format_message()
        except OSError as error:
            text = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        except (ValueError, ImportError) as error:
            text = str(error)
        click.echo(f"rex: {' '.join(text.split())}", err=True)
        sys.exit(2)


def _schedule_params() -> list[click.Parameter]:
    """The files and the flags of schedules."""
    profiles = [name for name, each in FUNCTIONS.items() if each in PROFILES]
    samplings = [name for name in FUNCTIONS if name not in profiles]
    params: list[click.Parameter] = [
        click.Argument(["files"], type=click.Path(), nargs=-1, metavar="[FILE]..."),
        Option(
            ["--preset"],
            type=Text("preset", str, [*PRESETS]),
            multiple=True,
            heading="The schedule",
            help=f"A schedule by its name: {', '.join(PRESETS)}",
        ),
    ]
    for each in settings():
        text = each.text
        if each.kind == "function":
            kind = Text("function", function, samplings if each.name == "sampling" else profiles)
            text = f"{text}: {', '.join(kind.known)}"
        else:
            kind = _KINDS[each.kind]
        flags = [flag(each.name), *_SHORT.get(each.name, []), each.name]
        params.append(Option(flags, type=kind, multiple=True, heading=each.group, help=text))
    part = click.Choice(["lr", "momentum"])
    text = f"{', '.join(PAIRS)}: Which one of the pair"
    heading = "Arguments of presets"
    return [*params, Option(["--part"], type=part, multiple=True, heading=heading, help=text)]


SCHEDULE = _schedule_params()


def once(context: Any, param: Any, given: tuple[Any, ...]) -> Any:
    """The value of a flag that is given once, or None; click calls this."""
    if len(given) > 1:
        raise ValueError(f"{param.name} must be given once here; got {given}")
    return given[0] if given else None


def budget(**params: Any) -> click.Option:
    """The flag of T. params are those of an option."""
    text = "The whole budget, in updates; with a point, as 8.0, in any unit"
    flags = ["-T", "--total-steps", "T"]
    return Option(flags, type=NUMBER, multiple=True, heading="The budget", help=text, **params)
