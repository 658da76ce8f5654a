"""The command line: `milepost serve`, `worker`, `submit`, `cancel`, `run`, `watch` and so on.

Each command is a function in a module of its name, imported only when it is called: `milepost pub` in a shell's loop
must not wait for what `milepost serve` needs.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from milepost.errors import INTERRUPTED, CommandError

COMMANDS: Final = {
    "run": "Run a command as a job: its output as log lines, tqdm's bars as nodes, its exit code as the end.",
    "serve": "Serve WebSocket and HTTP: everything NATS carries, to every client that may see it.",
    "worker": "Run submitted jobs: everything that the modules have a handler for.",
    "submit": "Submit a job; prints its id, and nothing else, on standard output.",
    "cancel": "Tell a job to stop, whether it waits or runs; returns when it was told.",
    "watch": "Watch a job: bars on a terminal, lines off it.",
    "pub": "Publish one event of a job, and make sure that NATS has taken it.",
    "token": "Make a token for a client; prints it, and nothing else, on standard output.",
    "doctor": "Check NATS, the hub, the token and the clocks; say what is wrong and what to do.",
    "demo": "Submit a real job to a worker on an embedded nats-server, and watch it here over the hub's WebSocket.",
}
"""In the order of the help, each with what its function says of itself first: the help must not import them all."""


class _Commands(TyperGroup):
    """The commands, each imported when it is asked for."""

    _only_named = False

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer has no public types for them
        self._only_named = True
        super().format_help(ctx, formatter)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        if cmd_name not in COMMANDS:
            return None
        if self._only_named:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name])
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
