"""The command line: `milepost serve`, `worker`, `submit`, `cancel`, `run`, `watch` and so on.

Each command is a function in a module of its name, imported only when it is called: `milepost pub` in a shell's loop
must not wait for what `milepost serve` needs.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from milepost.errors import INTERRUPTED, CommandError

COMMANDS: Final = ("run", "serve", "worker", "submit", "cancel", "watch", "pub", "token", "doctor", "demo")
"""In the order of the help."""


class _Commands(TyperGroup):
    """The commands, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typer has no public type for it
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        if cmd_name not in COMMANDS:
            return None
        # What stands behind another program's name is that program's.
        command = typer.Typer(
            add_completion=False, context_settings={**_SETTINGS, "allow_interspersed_args": cmd_name != "run"}
        )
        command.command(cmd_name)(getattr(import_module(f"milepost.{cmd_name}"), cmd_name))
        return typer.main.get_command(command)


_SETTINGS: Final = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="milepost",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=_SETTINGS,
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"milepost {version('milepost')}")
        raise typer.Exit


@app.callback()
def milepost(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Live job progress from any program to every browser that may see it, over NATS.

    Exit codes: 0 it worked, 1 it failed, 2 it was asked for wrongly, 130 ended by Ctrl-C.
    """


def main() -> None:
    """The console script: what a command cannot do is told in one line on standard error."""
    try:
        app()
    except CommandError as error:
        sys.stderr.write(f"milepost: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
