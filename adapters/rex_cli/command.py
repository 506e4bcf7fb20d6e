"""The command `rex`: its subcommands, their flags and their errors."""

import inspect
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from csv import writer
from itertools import groupby
from typing import Any

import click
from click.shell_completion import CompletionItem

from rex_cli import pictures
from rex_cli.logs import compared, read_log
from rex_cli.settings import PAIRS, Named, described, function, numbers, schedules, settings, truth
from rex_cli.snippets import TARGETS, snippet
from rex_core import __version__, at, total_steps
from rex_core.adapting import FUNCTIONS, POSITIVE, PRESETS, PROFILES, number

_SHORT = {"peak_value": ["--peak"], "end_value": ["--end"], "init_value": ["--init"]}


class _Text(click.ParamType):  # type: ignore[type-arg]  # Generic from click 8.4 on.
    """What a flag takes: a number, several, or the name of something known."""

    def __init__(self, name: str, read: Callable[[str], Any], known: Sequence[str] = ()) -> None:
        self.name, self.read, self.known = name, read, known

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """What is meant by a text."""
        return self.read(value) if isinstance(value, str) else value

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        """The known names that begin so."""
        return [CompletionItem(name) for name in self.known if name.startswith(incomplete)]


_NUMBER = _Text("number", number)
_NUMBERS = _Text("numbers", numbers)
_KINDS = {
    "number": _NUMBER,
    "numbers": _NUMBERS,
    "truth": _Text("true|false", truth, ["true", "false"]),
}


class _Option(click.Option):
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
    """A command whose flags of numbers take several: --at 0 100 -1, as well as --at 0,100,-1."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the numbers that follow such a flag."""
        several = {flag for each in self.params if each.type is _NUMBERS for flag in each.opts}
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


class _Group(_Examples, click.Group):
    """The group, whose errors are one line."""

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


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _schedule_params() -> list[click.Parameter]:
    """The files and the flags of schedules."""
    profiles = [name for name, each in FUNCTIONS.items() if each in PROFILES]
    samplings = [name for name in FUNCTIONS if name not in profiles]
    params: list[click.Parameter] = [
        click.Argument(["files"], type=click.Path(), nargs=-1, metavar="[FILE]..."),
        _Option(
            ["--preset"],
            type=_Text("preset", str, [*PRESETS]),
            multiple=True,
            heading="The schedule",
            help=f"A schedule by its name: {', '.join(PRESETS)}",
        ),
    ]
    for each in settings():
        text = each.text
        if each.kind == "function":
            kind = _Text("function", function, samplings if each.name == "sampling" else profiles)
            text = f"{text}: {', '.join(kind.known)}"
        else:
            kind = _KINDS[each.kind]
        flags = [_flag(each.name), *_SHORT.get(each.name, []), each.name]
        params.append(_Option(flags, type=kind, multiple=True, heading=each.group, help=text))
    part = click.Choice(["lr", "momentum"])
    text = f"{', '.join(PAIRS)}: Which one of the pair"
    heading = "Arguments of presets"
    return [*params, _Option(["--part"], type=part, multiple=True, heading=heading, help=text)]


_SCHEDULE = _schedule_params()


def _once(context: Any, param: Any, given: tuple[Any, ...]) -> Any:
    if len(given) > 1:
        raise ValueError(f"{param.name} must be given once here; got {given}")
    return given[0] if given else None


def _budget(**params: Any) -> click.Option:
    text = "The whole budget, in updates; with a point, as 8.0, in any unit"
    flags = ["-T", "--total-steps", "T"]
    return _Option(flags, type=_NUMBER, multiple=True, heading="The budget", help=text, **params)


@click.group(
    cls=_Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    examples=[
        "rex plot --profile rex --profile cosine --peak 3e-4 --warmup-ratio 0.05 -T 10000",
        "rex values --preset noam --warmup-steps 400 -T 10000 --at 0 400 0.5 -1",
        "rex compare logged.csv --profile cosine --peak 3e-4 -T 10000",
        "rex steps --epochs 3 --dataset-size 50000 --batch-size 32 --accumulation 4",
        "rex code schedule.toml -T 10000 --for torch",
        'eval "$(_REX_COMPLETE=bash_source rex)"  # completion; also zsh_source, fish_source',
    ],
)
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def rex(context: click.Context) -> None:
    """See, read and compare schedules of a training run.

    A schedule is flags, a preset, or a file (JSON, TOML, YAML). Flags change what a file says. A
    flag that is given several times makes several schedules.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@rex.command(
    params=[
        *_SCHEDULE,
        _budget(required=True),
        _Option(
            ["-o", "--output"],
            type=click.Path(),
            heading="The picture",
            help="The file, as schedule.png, .svg or .pdf",
        ),
        _Option(["--log"], is_flag=True, heading="The picture", help="A logarithmic axis"),
        _Option(
            ["--steps-per-epoch"],
            type=_NUMBER,
            heading="The picture",
            help="The updates of an epoch: the picture counts in epochs",
        ),
        _Option(
            ["--tokens-per-step"],
            type=_NUMBER,
            heading="The picture",
            help="The tokens of an update: the picture counts in tokens",
        ),
    ],
    examples=[
        "rex plot --profile rex --beta 0.5 --beta 0.9 --peak 3e-4 -T 10000",
        "rex plot schedule.toml --cycles 1 --cycles 3 -T 10000 --log -o restarts.png",
        "rex plot a.json b.yaml -T 10000 --steps-per-epoch 390",
    ],
)
def plot(
    files: tuple[str, ...],
    output: str | None,
    log: bool,
    steps_per_epoch: Any,
    tokens_per_step: Any,
    **given: Any,
) -> None:
    """Draw schedules.

    The picture goes to a file with -o, to a window where there is a display, and otherwise to the
    terminal as text.
    """
    found = schedules(files, given)
    unit, per_update = "updates", 1.0
    if steps_per_epoch is not None and tokens_per_step is not None:
        raise ValueError(
            "steps_per_epoch must be given without tokens_per_step; got "
            f"{steps_per_epoch} and {tokens_per_step}"
        )
    if steps_per_epoch is not None:
        POSITIVE.check("steps_per_epoch", steps_per_epoch)
        unit, per_update = "epochs", 1 / steps_per_epoch
    if tokens_per_step is not None:
        POSITIVE.check("tokens_per_step", tokens_per_step)
        unit, per_update = "tokens", tokens_per_step
    curves = [(each.label, *pictures.points(each.schedule, each.T, per_update)) for each in found]
    if log and not any(value > 0 for _, _, y in curves for value in y):
        raise ValueError("log must be left out where no value is above 0")
    if output is None and not pictures.has_display():
        width = shutil.get_terminal_size().columns
        click.echo(pictures.text_picture(curves, unit=unit, log=log, width=width))
        return
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=pictures.SIZE, layout="constrained")
    for label, x, y in curves:
        pictures.draw(axes, x, y, label=label if len(found) > 1 else None, unit=unit)
    if log:
        axes.set_yscale("log", nonpositive="mask")
    if output is None:
        pyplot.show()
    else:
        figure.savefig(output, dpi=150)


@rex.command(
    params=[
        *_SCHEDULE,
        _budget(required=True, callback=_once),
        _Option(
            ["--at"],
            type=_NUMBERS,
            multiple=True,
            callback=lambda context, param, given: sum(given, ()),
            heading="The values",
            help="Where: steps; -1 is the last update; shares of T, as 0.5. Every tenth by default",
        ),
        _Option(
            ["--csv"],
            is_flag=True,
            heading="The values",
            help="As CSV; every step from 0 to T without --at",
        ),
    ],
    examples=[
        "rex values --profile rex --peak 3e-4 --warmup-ratio 0.05 -T 10000 --at 0 100 0.5 -1",
        "rex values schedule.toml -T 10000 --csv > schedule.csv",
    ],
)
def values(files: tuple[str, ...], T: Any, at: Any, csv: bool, **given: Any) -> None:
    """Print the values of schedules, with all their digits.

    The value at t is the one of the update after t updates: 0 is the first, -1 the last.
    """
    found = schedules(files, given)
    names = ["t", *(["value"] if len(found) == 1 else [each.label for each in found])]
    rows = ([t, *(float(each.schedule(t, T)) for each in found)] for t in _places(T, at, csv))
    if csv:
        table = writer(sys.stdout, lineterminator="\n")
        table.writerow(names)
        table.writerows(rows)
        return
    texts = [names, *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def _places(T: Any, given: tuple[Any, ...], every: bool) -> Iterable[Any]:
    """Where values are read: where it is said, or at every step, or at every tenth of T."""
    POSITIVE.check("T", T)
    if given:
        return [_place(T, each) for each in given]
    if not every:
        return sorted({0, *(_place(T, tenth / 10) for tenth in range(1, 11))})
    if not isinstance(T, int):
        raise ValueError(f"at must be given with csv where T is no number of steps; got T = {T}")
    return range(T + 1)


def _place(T: Any, place: Any) -> Any:
    """A step, one counted back from the end, or the first step on or after a share of T."""
    if isinstance(place, float) and 0 < place <= 1:
        return at(T, T, milestones=(place,))
    if isinstance(place, int) and -T <= place <= T:
        return T + place if place < 0 else place
    raise ValueError(
        f"at must be integers in [-{T}, {T}], steps from the start or back from the end, or "
        f"shares of T in (0, 1], as 0.5; got {place}"
    )


@rex.command(
    params=[
        click.Argument(["other"], type=click.Path(), metavar="OTHER.csv"),
        *_SCHEDULE,
        _budget(required=True, callback=_once),
        _Option(
            ["--columns"],
            nargs=2,
            heading="The other values",
            metavar="STEP VALUE",
            help="The names of the two columns; by default the only two",
        ),
    ],
    examples=[
        "rex compare logged.csv --profile cosine --peak 3e-4 -T 10000",
        "rex compare run.csv schedule.toml -T 10000 --columns step lr",
    ],
)
def compare(
    other: str, files: tuple[str, ...], T: Any, columns: tuple[str, str] | None, **given: Any
) -> None:
    """Print the largest difference of a schedule from a logged run.

    OTHER.csv has a column of steps and a column of values. If the values fit better one step
    earlier or later, that is said.
    """
    schedule = _only(schedules(files, given))
    POSITIVE.check("T", T)
    log, empty = read_log(other, columns)
    click.echo("\n".join(compared(schedule, T, log, empty)))


def _only(found: Sequence[Named]) -> Any:
    if len(found) > 1:
        labels = "; ".join(each.label for each in found)
        raise ValueError(f"settings must make one schedule here; got {len(found)}: {labels}")
    return found[0].schedule


@rex.command(
    params=[
        _Option(
            [_flag(name)],
            type=None if is_flag else _NUMBER,
            is_flag=is_flag,
            default=parameter.default,
            help=described(total_steps, name),
        )
        for name, parameter in inspect.signature(total_steps).parameters.items()
        for is_flag in [isinstance(parameter.default, bool)]
    ],
    examples=[
        "rex steps --epochs 3 --dataset-size 50000 --batch-size 32 --accumulation 4",
        "rex steps --tokens 300e9 --tokens-per-step 524288",
        "rex plot --profile rex -T $(rex steps --epochs 3 --dataset-size 50000 --batch-size 32)",
    ],
)
def steps(**given: Any) -> None:
    """Print the number of optimizer updates of a budget, for -T."""
    click.echo(total_steps(**given))


@rex.command(
    params=[
        *_SCHEDULE,
        _budget(callback=_once),
        _Option(
            ["--for", "target"],
            type=click.Choice(TARGETS),
            required=True,
            heading="The lines",
            help="What reads them",
        ),
    ],
    examples=[
        "rex code --profile rex --beta 0.9 --peak 3e-4 --warmup-ratio 0.05 -T 10000 --for torch",
        "rex code --preset one_cycle --part momentum -T 10000 --for optax",
        "rex code schedule.toml --for json",
    ],
)
def code(files: tuple[str, ...], T: Any, target: str, **given: Any) -> None:
    """Print the lines to paste into a program, or the JSON of a file."""
    click.echo(snippet(_only(schedules(files, given)), T, target), nl=False)


@rex.command(
    params=[
        _Option(["--port"], type=click.IntRange(0, 65535), default=0, help="Any that is free: 0"),
        _Option(["--no-browser"], is_flag=True, help="Print the address, and open nothing"),
    ],
    examples=["rex explore"],
)
def explore(port: int, no_browser: bool) -> None:
    """Serve a page on this machine to choose schedules and see them.

    The link of the page holds all that is chosen. Ctrl-C ends it.
    """
    from rex_cli.explorer import serve

    def opened(address: str) -> None:
        click.echo(address)
        if not no_browser:
            click.launch(address)

    serve(port, opened)
