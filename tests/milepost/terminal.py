"""A command in a terminal's window."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import threading
from collections.abc import Callable

from tests.milepost.console import environment, script
from tests.waiting import eventually


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
        # all the time: what is not read holds up the demo, and the hub in it
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def until(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Wait until the screen has shown this."""
        try:
            return eventually(lambda: list(re.finditer(pattern, self.text)), seconds)[0]
        except TimeoutError:
            raise AssertionError(f"{pattern!r} never came in {self.text!r}") from None

    def end(self, seconds: float = 30) -> int:
        """Wait for its exit code."""
        status = self.process.wait(seconds)
        self._reader.join(seconds)
        return status

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while read := os.read(self._master, 65_536):
                self.text += read.decode(errors="replace")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        os.close(self._master)


def _control(descriptor: int) -> None:
    """Make it the controlling terminal, so that ^C becomes a signal."""
    import fcntl
    import termios

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


Open = Callable[..., Terminal]
"""Opens one, as the fixture `terminal` does."""
