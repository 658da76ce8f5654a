"""A command's processes: started where its terminal and signals are as ever, ended for sure.

With a terminal behind us the command stays in our process group, in the foreground or not: Ctrl-C and Ctrl-Z reach it
from the kernel, and the shell's job control takes both of us for the one job that it started. So what the terminal
sends to its foreground group is not sent on. Without a terminal it gets a group of its own, and signals that come to us
are sent on to that.

Everything that comes of it is found below us: on Linux also what lost its parent, as daemons do on purpose, because we
adopt it. As a parent of orphans we take leave of all children, not only of our own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Final, Self

import psutil
from milepost_runner.descendants import adopt_orphans, alive, end_descendants

SENT_ON: Final = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
"""What a terminal sends to all, and who has none, to one."""

_OURS: Final = frozenset(
    {*SENT_ON, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT, signal.SIGCHLD},
)
_FULL: Final = 65_536


class Signals:
    """Signals and other news, to wait for. What was ignored stays so, for the command too. For the main thread only."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        self._lock = threading.Lock()
        self._open = True

    def __enter__(self) -> Self:
        for number in _OURS:
            if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _heard)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        # The handlers stay: what comes now is too late to change anything, and must not end us before we have told.
        signal.set_wakeup_fd(-1)
        with self._lock:
            self._open = False
            os.close(self._reading)
            os.close(self._writing)

    def wake(self) -> None:
        """There is news of another sort. Any thread may call, also when nobody waits any more."""
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._open:
                os.write(self._writing, b"\0")

    def wait(self, seconds: float) -> set[int]:
        """The signals that have come: at once when there is any news, at the latest after so long."""
        # not `select`, which takes no descriptor from 1,024 on
        news = select.poll()
        news.register(self._reading, select.POLLIN)
        news.poll(max(0.0, seconds) * 1_000)
        with contextlib.suppress(BlockingIOError):
            return set(os.read(self._reading, _FULL)) - {0}
        return set()


def _heard(number: int, frame: FrameType | None) -> None:
    """What is to be done is done where it is waited for."""


class Command:
    """A command under way. OSError when it cannot be started.

    `stdout` and `stderr` are descriptors; None for ours.
    """

    def __init__(
        self, arguments: Sequence[str], environ: Mapping[str, str], stdout: int | None = None, stderr: int | None = None
    ) -> None:
        adopt_orphans()
        self._below = psutil.Process()
        # A shell that has made itself us may have had children.
        self._before = frozenset(child.pid for child in self._below.children())
        # Behind us, wherever our outputs go.
        self.has_terminal = _has_terminal()
        self._process = self._started(arguments, environ, stdout, stderr)
        # Its exit code, or a signal's number below zero, as subprocess has it; None while it runs.
        self.ended: int | None = None

    def _started(
        self, arguments: Sequence[str], environ: Mapping[str, str], stdout: int | None, stderr: int | None
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                arguments,
                env=environ,
                stdout=stdout,
                stderr=stderr,
                # What else was opened for it, it gets as ever.
                close_fds=False,
                process_group=None if self.has_terminal else 0,
            )
        except OSError as error:
            program = shutil.which(arguments[0], path=environ.get("PATH"))
            if error.errno != errno.ENOEXEC or program is None:
                raise
        # A script that does not say whose it is: the shell's, as for a shell, cron, env and nohup.
        return self._started(["/bin/sh", program, *arguments[1:]], environ, stdout, stderr)

    def reap(self) -> None:
        """See who has ended, of the command and what we have adopted."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self._process.pid:
                    self.ended = self._process.returncode = os.waitstatus_to_exitcode(found[1])

    def pass_on(self, number: int) -> None:
        """A signal has come to us that is meant for the command."""
        if number in SENT_ON:
            if not self.has_terminal:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
            elif not _in_foreground():
                self._send(number)
        elif self.ended is None:
            self._process.send_signal(number)

    def resized(self) -> None:
        """Its terminal has another size: those who heard of it earlier may have looked too early."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(0 if self.has_terminal else self._process.pid, signal.SIGWINCH)

    def ask_to_end(self) -> None:
        """SIGTERM to all that came of it; who is stopped goes on, to hear it."""
        self._send(signal.SIGTERM)
        self._send(signal.SIGCONT)

    @property
    def left(self) -> bool:
        """Whether anything of it is still there."""
        return any(alive(one) for one in self._all())

    def kill(self) -> bool:
        """End all that came of it, now; whether nothing is left. Blocks, for seconds at most."""
        gone = end_descendants(self._below, spare=self._before)
        self.reap()
        return gone

    def _send(self, number: int) -> None:
        for one in self._all():
            with contextlib.suppress(psutil.Error):
                one.send_signal(number)

    def _all(self) -> list[psutil.Process]:
        """What has come of it."""
        found: list[psutil.Process] = []
        for child in self._below.children():
            if child.pid not in self._before:
                found.append(child)
                with contextlib.suppress(psutil.NoSuchProcess):
                    found += child.children(recursive=True)
        return found


def _has_terminal() -> bool:
    """Whether there is one behind us, wherever our outputs go."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _in_foreground() -> bool:
    """Whether what our terminal sends is sent to our group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:  # it has gone, and has told everybody
        return True
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return True
    finally:
        os.close(terminal)
