"""A worker's process, seen from outside: started, frozen, killed, never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class WorkerProcess:
    """`tests.runner.worker_program`; it can be started again after it was killed."""

    def __init__(self, url: str, **settings: Any) -> None:  # noqa: ANN401
        self._command = [sys.executable, "-m", "tests.runner.worker_program", url, json.dumps(settings)]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; it asks for work when this returns."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            assert await self._process.stdout.readline() == b"ready\n"

    def send(self, which: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(which)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.send(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self.send(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        assert self._process is not None
        async with asyncio.timeout(30):
            return await self._process.wait()


@contextlib.asynccontextmanager
async def processes(url: str, count: int, **settings: Any) -> AsyncIterator[list[WorkerProcess]]:  # noqa: ANN401
    """Workers that ask for work; whatever is left of them is killed."""
    workers = [WorkerProcess(url, **settings) for _ in range(count)]
    try:
        await asyncio.gather(*(worker.start() for worker in workers))
        yield workers
    finally:
        await asyncio.gather(*(worker.kill() for worker in workers), return_exceptions=True)
