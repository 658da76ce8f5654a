"""The console script run as a person runs it."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_SECONDS = 60


def script() -> str:
    """The console script beside this Python."""
    found = shutil.which("milepost", path=str(Path(sys.executable).parent))
    assert found is not None, "milepost is not installed"
    return found


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's, but for what would steer the commands, and with what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "MILEPOST_"))}
    # help is laid out for a terminal of this width, without colours
    return {**kept, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", **(given or {})}


def milepost(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    seconds: float = _SECONDS,
    cwd: Path | None = None,
    typed: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run to the end, with `typed` on its standard input; never raises for an exit code."""
    return subprocess.run(
        [script(), *arguments],
        env=environment(env),
        input=typed,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


class Running:
    """A command under way, and the lines it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        assert process.stdout is not None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def until(self, part: str, seconds: float = _SECONDS) -> str:
        """The next line that contains `part`."""
        while True:
            line = self._queue.get(timeout=seconds)
            assert line is not None, f"ended without printing {part!r}; it printed {self.lines}"
            self.lines.append(line)
            if part in line:
                return line

    def rest(self, seconds: float = _SECONDS) -> list[str]:
        """All it prints until it ends."""
        while (line := self._queue.get(timeout=seconds)) is not None:
            self.lines.append(line)
        return self.lines

    def interrupt(self) -> None:
        """What Ctrl-C sends, to this process alone."""
        self.process.send_signal(signal.SIGINT)

    def end(self, seconds: float = _SECONDS) -> int:
        """Wait for its exit code."""
        return self.process.wait(timeout=seconds)


@contextmanager
def running(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Started now, and ended with the block if it has not ended by itself. Both outputs are one."""
    process = subprocess.Popen(
        [script(), *arguments],
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with ended(process):
        yield Running(process)


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """Ends it with the block: by SIGTERM, and by SIGKILL when that is not enough."""
    with process:
        try:
            yield
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    process.kill()
