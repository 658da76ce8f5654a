"""A worker as a child process, ended with the measurement."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.usage import cpu_seconds

PATIENCE = 15.0


class WorkerProcess:
    """Runs a program of this environment until it is told to end."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        binaries = Path(sys.executable).parent
        program = binaries / command[0]
        self._process = subprocess.Popen(
            [str(program), *command[1:]],
            env={**os.environ, **environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"},
            stdout=subprocess.DEVNULL,
        )

    @property
    def cpu_seconds(self) -> float:
        """What the worker and its processes have used so far."""
        return cpu_seconds(self._process.pid)

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
