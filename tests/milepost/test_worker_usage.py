"""`milepost worker` asked for wrongly: told in one line, before anything starts."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.milepost.console import environment, milepost
from tests.milepost.jobs_console import HANDLERS


def test_async_handlers_only_for_the_async_executor() -> None:
    ended = milepost("worker", HANDLERS, "--executor", "async")
    assert ended.returncode == 2
    assert "is not async" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (None, "No module named 'given'"),
        ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
        ("x = 1\ny = x.z\n", "given.py:2"),
        ("def broken(:", "SyntaxError"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("from milepost_runner.registry import job\n@job('a b')\ndef f(p, g, c): ...\n", "1 to 64"),
        ("from milepost_runner.registry import job\n@job('a')\ndef f(p): ...\n", "(payload, progress, cancel)"),
        ("x = 1\n", "no handler in given"),
    ],
)
def test_a_module_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, source: str | None, told: str) -> None:
    if source is not None:
        (tmp_path / "given.py").write_text(source)
    ended = milepost("worker", "given", cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert told in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "name"), [("given.py", "given"), ("./app/jobs.py", "app.jobs"), ("./given", "given")]
)
def test_a_file_in_place_of_a_module_is_answered_with_the_module_s_name(given: str, name: str) -> None:
    ended = milepost("worker", given)
    assert ended.returncode == 2
    assert ended.stderr == f"milepost: {given} is a file: give the module's name, as {name}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--concurrency", "0"], "--concurrency (or MILEPOST_WORKER_CONCURRENCY)"),
        (["--executor", "magic"], "--executor"),
        (["--runner-claim", "0"], "--runner-claim (or MILEPOST_RUNNER_CLAIM)"),
        (["--nats", "http://x"], "NATS_URL"),
        (["--nats-user", "me"], "go together"),
        (["--tenant", "a.b"], "tenant"),
        (["--health-port", "70000"], "--health-port"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(arguments: list[str], told: str) -> None:
    ended = milepost("worker", HANDLERS, *arguments)
    assert ended.returncode == 2, ended.stderr
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_is_found_as_a_module_too() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "milepost", "--version"], env=environment(), capture_output=True, text=True, check=True
    )
    assert ended.stdout.startswith("milepost ")


def test_a_port_for_its_health_that_is_taken_is_told_with_the_option_s_own_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = milepost("worker", HANDLERS, "--health-port", str(taken.getsockname()[1]))
    assert ended.returncode == 1
    assert "give another --health-port" in ended.stderr.splitlines()[-1]
