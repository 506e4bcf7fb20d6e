"""The command `rex`: its subcommands."""

import inspect
import shutil
import sys
from collections.abc import Iterable, Sequence
from csv import writer
from typing import Any

import click

from rex_cli import pictures
from rex_cli.flags import NUMBER, NUMBERS, SCHEDULE, Group, Option, budget, once
from rex_cli.logs import compared, read_log
from rex_cli.settings import Named, described, flag, schedules
from rex_cli.snippets import TARGETS, snippet
from rex_core import __version__, at, total_steps
from rex_core.adapting import POSITIVE


@click.group(
    cls=Group,
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

    Flags, a preset or a file (JSON, TOML, YAML) make a schedule. Flags change the schedule of a
    file. A flag that is given several times makes several schedules.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@rex.command(
    params=[
        *SCHEDULE,
        budget(required=True),
        Option(
            ["-o", "--output"],
            type=click.Path(),
            heading="The picture",
            help="The file, as schedule.png, .svg or .pdf",
        ),
        Option(["--log"], is_flag=True, heading="The picture", help="A logarithmic axis"),
        Option(
            ["--steps-per-epoch"],
            type=NUMBER,
            heading="The picture",
            help="The updates of an epoch: the picture counts in epochs",
        ),
        Option(
            ["--tokens-per-step"],
            type=NUMBER,
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
        *SCHEDULE,
        budget(required=True, callback=once),
        Option(
            ["--at"],
            type=NUMBERS,
            multiple=True,
            callback=lambda context, param, given: sum(given, ()),
            heading="The values",
            help="Where: steps; -1 is the last update; shares of T, as 0.5. Every tenth by default",
        ),
        Option(
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
    """The steps of the values: the given ones, or every step, or every tenth of T."""
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
        *SCHEDULE,
        budget(required=True, callback=once),
        Option(
            ["--columns"],
            nargs=2,
            heading="The other values",
            metavar="STEP VALUE",
            help="The names of the two columns, where there are more than two",
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

    OTHER.csv has a column of steps and a column of values; - is the standard input. A line says if
    rows are outside of the budget, and another if the values fit better one step earlier or later.
    """
    schedule = _only(schedules(files, given)).schedule
    POSITIVE.check("T", T)
    log, empty = read_log(other, columns)
    click.echo("\n".join(compared(schedule, T, log, empty)))


def _only(found: Sequence[Named]) -> Named:
    if len(found) > 1:
        labels = "; ".join(each.label for each in found)
        raise ValueError(f"settings must make one schedule here; got {len(found)}: {labels}")
    return found[0]


@rex.command(
    params=[
        Option(
            [flag(name)],
            type=None if is_flag else NUMBER,
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
        *SCHEDULE,
        budget(callback=once),
        Option(
            ["--for", "target"],
            type=click.Choice(TARGETS),
            required=True,
            heading="The lines",
            help="What reads them",
        ),
    ],
    examples=[
        "rex code --profile rex --beta 0.9 --peak 3e-4 --warmup-ratio 0.05 -T 10000 --for torch",
        "rex code --preset falling_momentum --peak 0.1 -T 300 --for torch",
        "rex code --preset one_cycle --part momentum -T 10000 --for optax",
        "rex code schedule.toml --for json",
    ],
)
def code(files: tuple[str, ...], T: Any, target: str, **given: Any) -> None:
    """Print the lines to paste into a program, or the JSON of a file.

    A pair without --part has the lines for rate and momentum.
    """
    if T is None and target != "json":
        raise ValueError(f"-T must be given with --for {target}, the budget in updates; got none")
    found = _only(schedules(files, given, pairs=True))
    click.echo(snippet(found._replace(T=T), target), nl=False)


@rex.command(
    params=[
        Option(["--port"], type=click.IntRange(0, 65535), default=0, help="Any that is free: 0"),
        Option(["--no-browser"], is_flag=True, help="Print the address, and open nothing"),
    ],
    examples=["rex explore"],
)
def explore(port: int, no_browser: bool) -> None:
    """Serve a page on this machine to choose schedules and see them.

    The link of the page holds all choices. Ctrl-C ends the server.
    """
    from rex_cli.explorer import serve

    def opened(address: str) -> None:
        click.echo(address)
        if not no_browser:
            click.launch(address)

    serve(port, opened)
