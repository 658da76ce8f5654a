"""The command line: `milepost serve`, `token`, `watch`, `pub`, `doctor`, `demo`.

Each command lives in a module of its own, and imports what is heavy only when it is called.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from milepost.demo import demo
from milepost.doctor import doctor
from milepost.errors import CommandError
from milepost.pub import pub
from milepost.serve import serve
from milepost.token import token
from milepost.watch import watch

app = typer.Typer(
    name="milepost",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (serve, token, watch, pub, doctor, demo):
    app.command()(command)


def _print_version(asked: bool) -> None:
    if asked:
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
        sys.exit(130)
