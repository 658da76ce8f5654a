"""`milepost demo`: everything at once, watched live, and gone when it is told to go."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import jwt
import psutil
import pytest

from tests.milepost.console import environment, milepost, script
from tests.waiting import eventually


def test_once_shows_the_job_to_its_end_and_its_report(tmp_path: Path) -> None:
    ended = milepost("demo", "--once", env={"TMPDIR": str(tmp_path)}, seconds=120)
    assert ended.returncode == 0, ended.stderr
    for node in ("Scan sources", "Tokenize", "Load into SQLite", "Index", "Query report"):
        assert f"{node}: running" in ended.stdout
        assert f"{node}: completed" in ended.stdout
    assert "names: completed" in ended.stdout
    assert "most used names" in ended.stdout
    assert re.search(r"self +[\d,]{5,}", ended.stdout)
    assert ended.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_it_ends_by_itself() -> None:
    assert milepost("demo", seconds=120).returncode == 0


def test_a_secret_that_is_too_short_is_told() -> None:
    ended = milepost("demo", "--once", "--jwt-secret", "short")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1


class Terminal:
    """A command on a pseudo-terminal of its own, as in a window."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        env = environment({"TERM": "xterm-256color", "COLUMNS": "110", "LINES": "40"})
        self.process = subprocess.Popen(
            [script(), *arguments], stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True,
            preexec_fn=lambda: _control(0),  # noqa: PLW1509 - no other way to a controlling terminal
        )  # fmt: skip
        os.close(slave)
        self.text = ""

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def until(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Read until the screen has shown this."""
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, self.text)) is None:
            assert time.monotonic() < deadline, f"{pattern!r} never came in {self.text!r}"
            self._read(deadline)
        return found

    def end(self, seconds: float = 30) -> int:
        """Wait for its exit code, reading on."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it did not end: {self.text!r}"
            self._read(time.monotonic() + 0.1)
        return self.process.returncode

    def _read(self, deadline: float) -> None:
        readable, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
        if readable:
            try:
                self.text += os.read(self._master, 65_536).decode(errors="replace")
            except OSError:  # the other end is closed
                self.process.wait(10)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


def _control(descriptor: int) -> None:
    """Make it the controlling terminal, so that ^C becomes a signal."""
    import fcntl
    import termios

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


Open = Callable[..., Terminal]


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Open:
    def start(*arguments: str) -> Terminal:
        opened = Terminal(*arguments)
        request.addfinalizer(opened.close)
        return opened

    return start


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


class Links(NamedTuple):
    """What the demo has printed for others."""

    url: str
    token: str
    job: str

    def ask(self, method: str, path: str) -> dict[str, Any]:
        """The hub's answer, as the page's buttons get it."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx.request(method, f"{self.url}/api/jobs{path}", headers=headers, trust_env=False, timeout=20)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def status(self, job: str) -> str:
        """How the job stands."""
        return str(self.ask("GET", f"/{job}")["snapshot"]["status"])


def links(screen: Terminal) -> Links:
    screen.until("nats sub")
    plain = screen.text.replace("\r", "").replace("\n", "")
    return Links(*re.findall(r"(http://[\d.:]+)/#token=([\w.-]+)&job=(\w+) ", plain)[0])


def test_on_a_terminal_there_are_bars_and_it_serves_on_and_enter_submits_again(terminal: Open) -> None:
    screen = terminal("demo")
    screen.until("━━━")
    screen.until("Still serving")
    hub = links(screen)
    assert hub.status(hub.job) == "completed"
    assert len(hub.ask("GET", "")["jobs"]) == 1
    screen.press(b"\r")
    newest = eventually(lambda: hub.ask("GET", "")["jobs"][1:] and hub.ask("GET", "")["jobs"][0])
    assert newest["jobId"] != hub.job
    screen.press(b"\x03")
    assert screen.end() in (0, 130)


def test_its_links_open_the_dashboard_where_the_job_is_cancelled_and_submitted_again(terminal: Open) -> None:
    """By the requests that the page's buttons make; the job that the page submits runs, and can be cancelled too."""
    screen = terminal("demo")
    hub = links(screen)
    scopes = jwt.decode(hub.token, options={"verify_signature": False})["scope"]
    assert set(scopes.split()) == {"watch", "submit", "cancel"}
    eventually(lambda: hub.status(hub.job) == "running")
    assert hub.ask("DELETE", f"/{hub.job}")["status"] == "cancelling"
    screen.until("names: cancelled")
    assert hub.status(hub.job) == "cancelled"
    assert hub.ask("GET", f"/{hub.job}/submission") == {"name": "names"}
    again = hub.ask("POST", f"/{hub.job}/again")["jobId"]
    eventually(lambda: hub.status(again) == "running")
    hub.ask("DELETE", f"/{again}")
    eventually(lambda: hub.status(again) == "cancelled")
    screen.press(b"\x03")
    assert screen.end() == 1


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
