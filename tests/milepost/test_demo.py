"""`milepost demo`: everything at once, watched live, and gone when it is told to go."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.milepost.console import milepost, script
from tests.milepost.terminal import Open


def test_without_a_terminal_it_shows_the_job_to_its_end_and_its_report(tmp_path: Path) -> None:
    ended = milepost("demo", env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}, seconds=120)
    assert ended.returncode == 0, ended.stderr
    assert f"    {script()} watch " in ended.stdout, "it is not on that path"
    for node in ("Scan sources", "Tokenize", "Load into SQLite", "Index", "Query report"):
        assert f"{node}: running" in ended.stdout
        assert f"{node}: completed" in ended.stdout
    assert "names: completed" in ended.stdout
    assert ended.stdout.count("most used names") == 1, "the result stands in a table"
    assert re.search(r"self +[\d,]{5,}", ended.stdout)
    assert ended.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_secret_that_is_too_short_is_told() -> None:
    ended = milepost("demo", "--once", "--jwt-secret", "short")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("moment", ["MILEPOST_TOKEN=", "Tokenize", "Still serving"])
def test_one_ctrl_c_ends_everything_whenever_it_comes(terminal: Open, moment: str) -> None:
    screen = terminal("demo")
    screen.until(moment)
    family = psutil.Process(screen.process.pid).children(recursive=True)
    assert any(child.name() == "nats-server" for child in family)
    folder = Path(re.findall(r"--store_dir (\S+)", " ".join(" ".join(c.cmdline()) for c in family))[0])
    screen.press(b"\x03")
    assert screen.end() == (0 if moment == "Still serving" else 130)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    assert not folder.exists()
    assert "Traceback" not in screen.text


def test_killed_it_leaves_no_process_either(terminal: Open) -> None:
    screen = terminal("demo")
    screen.until("Tokenize")
    family = psutil.Process(screen.process.pid).children(recursive=True)
    screen.process.kill()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive


def test_sigterm_ends_everything_too(terminal: Open) -> None:
    screen = terminal("demo")
    screen.until("Tokenize")
    family = psutil.Process(screen.process.pid).children(recursive=True)
    screen.process.send_signal(signal.SIGTERM)
    screen.end()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
