"""The command `rex`, to draw, print and compare schedules; and `plot`, its picture."""

import sys

from rex_cli.pictures import plot

__all__ = ["plot"]


def main() -> None:
    """Run the command `rex` with the arguments of the process."""
    try:
        from rex_cli.command import rex
    except ModuleNotFoundError as error:
        print(f"rex: it needs {error.name}: pip install 'rex-schedules[cli]'", file=sys.stderr)
        sys.exit(2)
    rex(prog_name="rex")
