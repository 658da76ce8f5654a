"""A process of the benchmark: JSON lines out, orders in, and never left behind."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Final, Self

# The kernel ends the child when this process ends, however it ends; set before exec, in the child.
_TIE_TO_PARENT: Final = """\
import ctypes, os, sys
PR_SET_PDEATHSIG, SIGKILL = 1, 9
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""

_STOP_WAIT: Final = 3.0


class ChildFailedError(Exception):
    """A process of the benchmark said that it failed, ended unasked, or did not answer in time.

    Attributes:
        kind: what sort of failure; the load client's kinds are listed in native/load_client.c, the others
            are `ended` and `silent`.
    """

    def __init__(self, name: str, kind: str, reason: str) -> None:
        super().__init__(f"{name}: {kind}: {reason}")
        self.kind = kind


class Child:
    """A started process in a process group of its own; `with` ends the whole group."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._unread = b""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _TIE_TO_PARENT, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signal(signal.SIGTERM)
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_WAIT)
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout, self._log):
                if stream is not None:
                    _close(stream)

    @property
    def pid(self) -> int:
        """The process id, of the program itself."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def order(self, line: str) -> None:
        """Write one line to its standard input; ChildFailedError when it has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._ended() from None

    def answer(self, phase: str, timeout: float) -> dict[str, Any]:
        """Its next line, which must be of this phase, within `timeout` seconds; ChildFailedError."""
        answer: dict[str, Any] = json.loads(self._line(time.monotonic() + timeout, phase))
        if answer["phase"] == "failed":
            raise ChildFailedError(self.name, answer["kind"], answer["reason"])
        if answer["phase"] != phase:
            raise ChildFailedError(self.name, "ended", f"said {answer} where {phase} was due")
        return answer

    def log_tail(self) -> str:
        """The end of what it wrote to standard error."""
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 2_000))
        return self._log.read().decode(errors="replace").strip() or "(nothing on standard error)"

    def _line(self, deadline: float, phase: str) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise ChildFailedError(self.name, "silent", f"no {phase!r} in time; {self.log_tail()}")
            got = os.read(self._process.stdout.fileno(), 65536)
            if not got:
                raise self._ended()
            self._unread += got
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _ended(self) -> ChildFailedError:
        # what it said before it ended tells more than that it ended
        assert self._process.stdout is not None
        self._unread += self._process.stdout.read()
        if self._unread.startswith(b'{"phase":"failed"'):
            failed = json.loads(self._unread.splitlines()[0])
            return ChildFailedError(self.name, failed["kind"], failed["reason"])
        return ChildFailedError(self.name, "ended", f"status {self._process.wait()}; {self.log_tail()}")

    def _signal(self, which: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, which)


def _close(stream: IO[bytes]) -> None:
    with suppress(OSError):  # a pipe whose reader is gone still wants to flush
        stream.close()
