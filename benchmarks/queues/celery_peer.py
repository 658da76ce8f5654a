"""Celery on Redis, for reference: another broker, that keeps what it holds in memory."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import tempfile
from types import TracebackType
from typing import Self

from celery import Celery

from benchmarks.ports import free_port
from benchmarks.queues.celery_tasks import URL
from benchmarks.queues.peer import SLOTS, Peer
from benchmarks.queues.worker_process import WorkerProcess


def redis_server() -> str | None:
    """The program, where it is installed (Debian's package redis-server)."""
    return shutil.which("redis-server")


class CeleryPeer(Peer):
    name = "Celery on Redis"

    async def __aenter__(self) -> Self:
        self._stack = contextlib.AsyncExitStack()
        port = free_port()
        url = f"redis://127.0.0.1:{port}/0"
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="milepost-redis-"))
        program = redis_server()
        assert program is not None
        server = subprocess.Popen(  # noqa: ASYNC220 - nothing else goes on here
            [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        self._stack.callback(server.wait)
        self._stack.callback(server.terminate)
        self._app = Celery("noop", broker=url, backend=url)
        self.worker = WorkerProcess(
            [
                *("celery", "--app", "benchmarks.queues.celery_tasks", "worker", "--concurrency", str(SLOTS)),
                *("--loglevel", "ERROR", "--without-gossip", "--without-mingle"),
            ],
            {URL: url},
        )
        self._stack.callback(self.worker.end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._app.close()
        await self._stack.aclose()

    async def submit(self, number: int) -> None:
        await asyncio.to_thread(self._app.send_task, "noop", (number,))
