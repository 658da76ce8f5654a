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
from milepost_runner.settings import RunnerSettings, WorkerSettings
from pydantic import BaseModel

from milepost.cli import COMMANDS, app
from milepost.options import Group, names
from milepost.serve import GROUPS as SERVE
from milepost.worker import GROUPS as WORKER
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


@pytest.mark.parametrize(
    ("command", "model", "groups"),
    [
        ("serve", HubSettings, SERVE),
        ("serve", RunnerSettings, SERVE),
        ("worker", RunnerSettings, WORKER),
        ("worker", WorkerSettings, WORKER),
    ],
)
def test_every_setting_is_an_option_with_the_same_default(
    command: str, model: type[BaseModel], groups: dict[type[BaseModel], Group]
) -> None:
    options = {option.opts[0]: option for option in options_of(command)}
    for field, name in names(model, groups[model]).items():
        default = model.model_fields[field].default
        shown = options[name.flag].default
        assert (tuple(shown or ()) if isinstance(default, tuple) else shown) == default, field


def test_queue_and_store_have_the_same_names_for_the_service_and_for_workers() -> None:
    """So that one environment is right for both; what is a worker's own cannot be mistaken for it."""
    assert names(RunnerSettings, SERVE[RunnerSettings]) == names(RunnerSettings, WORKER[RunnerSettings])
    own = names(WorkerSettings, WORKER[WorkerSettings])
    assert own["concurrency"] == ("--concurrency", "MILEPOST_WORKER_CONCURRENCY")
    assert set(own) == set(WorkerSettings.model_fields) - set(RunnerSettings.model_fields)


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


@pytest.mark.parametrize("command", COMMANDS)
def test_the_list_says_of_a_command_what_it_says_of_itself_first(command: str) -> None:
    first = (GROUP.get_command(None, command).help or "").split("\n\n")[0]
    assert COMMANDS[command] == " ".join(first.split())


def test_the_list_of_commands_imports_none_of_them() -> None:
    show = "import sys, milepost.cli\ntry: milepost.cli.app(['--help'])\nfinally: print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    assert {f"milepost.{command}" for command in COMMANDS}.isdisjoint(ended.stdout.split())


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
