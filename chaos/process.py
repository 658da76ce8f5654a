"""A child process of the chaos run: killed, paused, asked, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

# The kernel ends the child when this process ends, however it ends; set before exec, in the child.
_TIE_TO_PARENT: Final = """\
import ctypes, os, sys
PR_SET_PDEATHSIG, SIGKILL = 1, 9
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""

_LOG_TAIL: Final = 2_000


class Process:
    """One program under this Python, in a session of its own; what it writes to standard error goes to a file."""

    def __init__(self, name: str, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._arguments = arguments
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it (again)."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-I", "-S", "-c", _TIE_TO_PARENT, sys.executable, *self._arguments],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._started().pid

    def send(self, which: signal.Signals) -> None:
        """Signal it; nothing when it has ended."""
        if self.running:
            with suppress(ProcessLookupError):
                self._started().send_signal(which)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.send(signal.SIGKILL)
        await self.ended()

    async def stop(self, seconds: float = 15.0) -> int | None:
        """SIGTERM and its exit status; None when it had to be killed."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        try:
            return await asyncio.wait_for(self.ended(), seconds)
        except TimeoutError:
            await self.kill()
            return None

    async def ended(self) -> int:
        """Its exit status, once there is one."""
        return await self._started().wait()

    async def line(self, seconds: float = 30.0) -> str:
        """Its next line on standard output; EOFError when it has ended."""
        stdout = self._started().stdout
        assert stdout is not None
        line = await asyncio.wait_for(stdout.readline(), seconds)
        if not line:
            raise EOFError(f"{self.name} has ended: {self.log_tail()}")
        return line.decode().rstrip("\n")

    def say(self, line: str) -> None:
        """One line on its standard input."""
        stdin = self._started().stdin
        assert stdin is not None
        stdin.write(line.encode() + b"\n")

    def log_text(self) -> str:
        """All that it has written to standard error, over all its lives."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def log_tail(self) -> str:
        """The end of that."""
        return self.log_text()[-_LOG_TAIL:].strip() or "(nothing on standard error)"

    def _started(self) -> asyncio.subprocess.Process:
        assert self._process is not None, f"{self.name} was not started"
        return self._process
