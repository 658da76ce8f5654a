"""The command line as a whole: help, versions, start-up, and the page that describes it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main
from milepost_hub.settings import HubSettings

from milepost.cli import COMMANDS, app
from milepost.options import names
from milepost.serve import GROUPS
from tests.milepost.console import milepost

ROOT = Path(__file__).parents[2]
GROUP: Any = typer.main.get_command(app)


def options_of(command: str) -> list[Any]:
    return [option for option in GROUP.get_command(None, command).params if option.name != "help"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_its_help_and_its_variable(command: str) -> None:
    for option in options_of(command):
        assert option.help, f"{option.name} has no help"
        assert option.envvar.startswith(("MILEPOST_", "NATS_")), option.name


@pytest.mark.parametrize("command", COMMANDS)
def test_no_two_options_share_a_flag_or_a_variable(command: str) -> None:
    flags = [flag for option in options_of(command) for flag in (*option.opts, *option.secondary_opts)]
    variables = [option.envvar for option in options_of(command)]
    assert len(set(flags)) == len(flags)
    assert len(set(variables)) == len(variables)


def test_every_setting_of_the_hub_is_an_option_of_serve_with_the_same_default() -> None:
    options = {option.opts[0]: option for option in options_of("serve")}
    for field, name in names(HubSettings, GROUPS[HubSettings]).items():
        default = HubSettings.model_fields[field].default
        shown = options[name.flag].default
        assert (tuple(shown or ()) if isinstance(default, tuple) else shown) == default, field


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_shown(command: str) -> None:
    ended = milepost(command, "--help")
    assert ended.returncode == 0
    assert "Usage: milepost" in ended.stdout
    assert command in milepost("-h").stdout


def test_the_version_is_the_package_s() -> None:
    assert milepost("--version").stdout == f"milepost {version('milepost')}\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["serve", "--nonsense"], ["token", "extra", "--tenant", "x"]])
def test_what_there_is_not_is_a_usage_error(arguments: list[str]) -> None:
    ended = milepost(*arguments)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def test_starting_up_imports_nothing_heavy() -> None:
    """A shell calls `milepost pub` in a loop: what only other commands need must not be waited for."""
    show = "import sys, milepost.cli; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    heavy = {"fastapi", "uvicorn", "nats", "websockets", "jwt", "pydantic", "rich.live", "milepost_hub"}
    assert heavy.isdisjoint(ended.stdout.split())


def test_the_page_s_tables_are_the_commands_own() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "cli_reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
