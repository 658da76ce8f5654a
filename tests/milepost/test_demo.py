"""`milepost demo`: everything at once, watched live, and gone when it is told to go."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import psutil
import pytest
from websockets.sync.client import connect

from tests.milepost.console import environment, milepost, script


def test_once_shows_the_job_to_its_end_and_its_report(tmp_path: Path) -> None:
    ended = milepost("demo", "--once", env={"TMPDIR": str(tmp_path)}, seconds=120)
    assert ended.returncode == 0, ended.stderr
    for node in ("Scan sources", "Tokenize", "Load into SQLite", "Index", "Query report"):
        assert f"{node}: running" in ended.stdout
        assert f"{node}: completed" in ended.stdout
    assert "Names in the standard library: completed" in ended.stdout
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


def test_on_a_terminal_there_are_bars_and_it_serves_on(terminal: Open) -> None:
    screen = terminal("demo")
    screen.until("━━━")
    screen.until("Still serving")
    url = screen.until(r"MILEPOST_URL=(\S+)")[1]
    token = screen.until(r"MILEPOST_TOKEN=([\w.\r\n-]+?)\s+The same")[1].replace("\r", "").replace("\n", "")
    with connect(f"{url.replace('http', 'ws')}/ws?token={token}") as client:
        client.send('{"action":"subscribe","jobId":2}')
        assert json.loads(client.recv(10))["type"] == "subscribed"
        assert json.loads(client.recv(10))["snapshot"]["status"] == "unknown"
        screen.press(b"\r")
        payload = json.loads(client.recv(30))["payload"]
        assert payload["status"] == "running"
        assert payload["name"] == "Names in the standard library"
    screen.press(b"\x03")
    assert screen.end() in (0, 130)


def test_its_links_open_the_dashboard_and_its_job_is_in_its_first_run(terminal: Open) -> None:
    """The token of the links watches and cancels; the job's page is that of the job that runs."""
    screen = terminal("demo")
    screen.until("nats sub")
    plain = screen.text.replace("\r", "").replace("\n", "")
    url, token = re.findall(r"(http://[\d.:]+)/#token=([\w.-]+)&job=1 ", plain)[0]
    assert f"{url}/#token={token} " in plain
    assert set(jwt.decode(token, options={"verify_signature": False})["scope"].split()) == {"watch", "cancel"}
    with connect(f"{url.replace('http', 'ws')}/ws?token={token}") as client:
        client.send('{"action":"subscribe","jobId":1}')
        while "snapshot" not in (message := json.loads(client.recv(30))) or message["snapshot"]["run"] is None:
            if message.get("payload", {}).get("kind") == "job":
                message = message["payload"]
                break
        assert message.get("run", message.get("snapshot", {}).get("run")) == 1
    screen.press(b"\x03")
    screen.end()


def test_sigterm_ends_everything_too(terminal: Open) -> None:
    screen = terminal("demo")
    screen.until("Tokenize")
    family = psutil.Process(screen.process.pid).children(recursive=True)
    screen.process.send_signal(signal.SIGTERM)
    screen.end()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
