"""`milepost run` on a terminal: its command behaves as without it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from milepost_runner.descendants import end_tree

from milepost.nats_server import NatsServer
from tests.milepost.conftest import Service
from tests.milepost.console import environment, script
from tests.milepost.run_job import RunJob, lines, mark, nodes, python, sleepers
from tests.waiting import eventually


class Window:
    """A command in a window of 30 by 70, with what has come on its screen, to the byte."""

    def __init__(self, *command: str, env: dict[str, str]) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 70, 0, 0))
        path = f"{Path(script()).parent}{os.pathsep}{os.environ['PATH']}"
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**environment({"PATH": path, "PS1": "$ ", "HOME": "/nonexistent", **env}), "TERM": "xterm"},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no other way to control it
        )  # fmt: skip
        os.close(slave)
        self.screen = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while read := os.read(self.master, 65_536):
                self.screen += read

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def until(self, pattern: bytes) -> None:
        eventually(lambda: re.search(pattern, self.screen))

    def end(self) -> int:
        code = self.process.wait(30)
        self._reader.join(30)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            end_tree(self.process.pid)
            self.process.wait()
        self._reader.join(10)
        os.close(self.master)


Open = Callable[..., Window]


@pytest.fixture
def job(service: Service, shared_nats: NatsServer) -> RunJob:
    return RunJob(service, shared_nats.url)


@pytest.fixture
def window(job: RunJob) -> Iterator[Open]:
    opened: list[Window] = []

    def start(*command: str) -> Window:
        opened.append(Window(*command, env=job.env))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


SHOWS = """
import os, sys, time
from tqdm import tqdm
print(sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty(), os.get_terminal_size(2))
LOOKS = "{desc}: {percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt} [00:00<00:00,  1.00it/s]"
for n in tqdm(range(3), desc="Load", mininterval=0, miniters=1, bar_format=LOOKS):
    sys.stdout.write(f"out {n}\\n"); sys.stdout.flush()
    sys.stderr.write(f"err {n}\\r\\n"); sys.stderr.flush()
os.write(1, bytes(range(256)))
"""


def test_the_screen_shows_what_it_shows_without_us(window: Open, job: RunJob) -> None:
    plain, ours = window(*python(SHOWS)), window(script(), "run", "--quiet", "--", *python(SHOWS))
    assert (plain.end(), ours.end()) == (0, 0)
    assert b"True True True os.terminal_size(columns=70, lines=30)" in plain.screen
    assert ours.screen == plain.screen
    snapshot = job.ended()
    assert nodes(snapshot)["Load"]["status"] == "completed"
    assert "err 1" in lines(snapshot)


def test_ctrl_c_reaches_the_command(window: Open, job: RunJob) -> None:
    seconds = mark()
    opened = window(script(), "run", "--", "sh", "-c", f"echo ready; sleep {seconds}; sleep {seconds}")
    opened.until(b"ready")
    eventually(lambda: sleepers(seconds))
    opened.type(b"\x03")
    # A shell says 130 of it; and ends its script, because this is a signal.
    assert opened.end() == -signal.SIGINT
    assert sleepers(seconds) == []
    assert job.ended()["status"] == "cancelled"


def test_ctrl_c_ends_the_script_around_it_too(window: Open, job: RunJob) -> None:
    seconds = mark()
    opened = window("bash", "-c", f"milepost run -- sleep {seconds}; echo went on")
    eventually(lambda: sleepers(seconds))
    opened.type(b"\x03")
    opened.end()
    assert b"went on" not in opened.screen
    assert job.ended()["status"] == "cancelled"


def test_ctrl_c_that_the_command_takes_for_its_own(window: Open, job: RunJob) -> None:
    program = "trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.05; done"
    opened = window(script(), "run", "--", "sh", "-c", program)
    opened.until(b"ready")
    opened.type(b"\x03")
    assert opened.end() == 7
    assert b"caught" in opened.screen
    assert job.ended()["status"] == "cancelled"


def test_ctrl_z_and_fg(window: Open, job: RunJob) -> None:
    opened = window("bash", "--norc", "-i")
    opened.type(b"milepost run -- sh -c 'echo rea\"\"dy; read line; echo got $line; exit 5'; echo code=$?\n")
    opened.until(b"ready")
    opened.type(b"\x1a")
    opened.until(rb"Stopped")
    opened.type(b'echo still"" here\n')
    opened.until(b"still here")
    opened.type(b"fg\n")
    opened.until(rb"(?s)still here.*milepost run")
    opened.type(b"text\n")
    opened.until(b"got text")
    opened.type(b'echo co""de=$?\nexit\n')
    opened.until(b"code=5")
    opened.end()
    assert job.ended()["error"]["message"] == "exit status 5"


RESIZED = """
import os, signal
signal.signal(signal.SIGWINCH, lambda *_: print(os.get_terminal_size(1), flush=True))
print("ready", flush=True)
while os.get_terminal_size(1).columns != 99: signal.pause()
"""


def test_a_window_that_gets_another_size(window: Open) -> None:
    opened = window(script(), "run", "--quiet", "--", *python(RESIZED))
    opened.until(b"ready")
    fcntl.ioctl(opened.master, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 99, 0, 0))
    assert opened.end() == 0
    assert b"columns=99, lines=44" in opened.screen


def test_a_window_that_gets_another_size_while_the_command_is_stopped(window: Open, tmp_path: Path) -> None:
    program = tmp_path / "shows.py"
    program.write_text(
        "import os, time\nwhile True: print('wide', os.get_terminal_size(1).columns, flush=True); time.sleep(0.1)\n"
    )
    shell = window("bash", "--norc", "--noprofile", "-i")
    shell.type(f"milepost run -- {sys.executable} {program}\n".encode())
    shell.until(rb"wide 70\r\n")
    shell.type(b"\x1a")
    shell.until(rb"Stopped")
    fcntl.ioctl(shell.master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 50, 0, 0))
    shell.type(b"fg\n")
    shell.until(rb"wide 50\r\n")
    shell.type(b"\x03")
    shell.type(b"exit\n")
    assert shell.end() == 128 + signal.SIGINT


def test_only_what_is_a_terminal_is_one(window: Open, tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = "import sys; print(sys.stdout.isatty(), sys.stderr.isatty())"
    assert window("sh", "-c", f"milepost run --quiet -- {sys.executable} -c '{program}' > {out}").end() == 0
    assert out.read_text() == "False True\n"


def test_a_stopped_terminal_does_not_hold_up_a_cancel(window: Open, job: RunJob) -> None:
    opened = window(script(), "run", "--grace", "0.3", "--", "sh", "-c", "trap '' TERM; echo ready; exec yes")
    opened.until(b"ready")
    opened.type(b"\x13")
    job.cancel()
    assert opened.process.wait(30) == 128 + signal.SIGKILL
    opened.type(b"\x11")
    assert job.ended()["status"] == "cancelled"


def test_the_job_s_id_is_made_of_the_command_s_name(window: Open, job: RunJob) -> None:
    unique = uuid.uuid4().hex[:8]
    opened = window("env", "-u", "MILEPOST_JOB", script(), "run", "--name", f"My {unique}", "--", "true")
    assert opened.end() == 0
    assert re.fullmatch(rb"milepost: job My-%s-[0-9a-f]{8}\r\n" % unique.encode(), opened.screen)


CURSES = """
import curses
def draw(screen):
    screen.addstr(5, 5, "drawn"); screen.refresh()
    key = screen.getkey()
    screen.addstr(7, 7, f"key {key}"); screen.refresh()
    screen.getkey()
curses.wrapper(draw)
"""


def test_a_program_that_sets_up_the_keyboard_is_left_the_terminal_itself(window: Open, job: RunJob) -> None:
    opened = window(script(), "run", "--no-output", "--", *python(CURSES))
    opened.until(b"drawn")
    opened.type(b"x")
    opened.until(b"key x")
    opened.type(b"y")
    assert opened.end() == 0
    snapshot = job.ended()
    assert (snapshot["status"], lines(snapshot)) == ("completed", [])
