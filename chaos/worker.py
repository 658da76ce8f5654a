"""`milepost worker` as a process of its own."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

from chaos.process import Process

CLAIM: Final = 1.5
"""Seconds until a silent worker's jobs run elsewhere."""

_WORK: Final = ["-c", "from milepost.cli import main; main()", "worker", "chaos.submitted"]


class WorkerProcess:
    """A worker with the handlers of `chaos.submitted`, which it runs in its own event loop."""

    def __init__(self, name: str, nats_url: str, log: Path) -> None:
        environment = {
            "NATS_URL": nats_url,
            "MILEPOST_RUNNER_CLAIM": str(CLAIM),
            "MILEPOST_WORKER_EXECUTOR": "async",
            "MILEPOST_WORKER_CONCURRENCY": "8",
            "MILEPOST_LOG_FORMAT": "text",
        }
        self.process = Process(name, _WORK, environment, log)

    async def start(self) -> None:
        """Start it; it asks for work when this returns."""
        await self.process.start()
        await self.process.line()

    async def kill(self) -> None:
        """SIGKILL."""
        await self.process.kill()

    async def stop(self) -> int | None:
        """SIGTERM and its exit status; None when it did not end by itself."""
        return await self.process.stop()

    def pause(self) -> None:
        """SIGSTOP."""
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send(signal.SIGCONT)
