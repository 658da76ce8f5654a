"""Milepost's runner: the job's record, its events in the log, its snapshot for browsers and one end, all kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from types import TracebackType
from typing import Self

from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import ensure
from milepost_reporter.jetstream.access import Access
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.complaints import Complaints
from milepost_runner.errors import UnknownHandler
from milepost_runner.runner import JobRunner

from benchmarks.queues.peer import SLOTS, Peer
from benchmarks.queues.worker_process import WorkerProcess
from milepost.nats_server import NatsServer

_LOOK = 0.05


class MilepostPeer(Peer):
    name = "Milepost"

    def __init__(self, executor: str = "async") -> None:
        self._executor = executor

    async def __aenter__(self) -> Self:
        self._stack = contextlib.AsyncExitStack()
        nats = self._stack.enter_context(NatsServer())
        await _make_log(nats.url)
        self.worker = WorkerProcess(
            [
                *("milepost", "worker", "benchmarks.queues.milepost_jobs", "--nats", nats.url),
                *("--executor", self._executor, "--concurrency", str(SLOTS), "--log-level", "warning"),
            ],
            {},
        )
        self._stack.callback(self.worker.end)
        self._runner = await self._stack.enter_async_context(JobRunner(nats.url, "bench"))
        await self._known()
        return self

    async def _known(self) -> None:
        """Return when the worker has told of its handlers: before that no job of theirs is taken."""
        while True:
            try:
                return await self.submit(0)
            except UnknownHandler:
                await asyncio.sleep(_LOOK)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def submit(self, number: int) -> None:
        await self._runner.submit("noop", number)


async def _make_log(url: str) -> None:
    """The streams that a hub makes: what jobs report is stored as in earnest."""
    up = asyncio.Event()
    api = Api([url], Access(), up.set, Complaints(logging.getLogger(__name__)))
    api.start()
    try:
        await up.wait()
        await ensure(api, BridgeSettings())
    finally:
        await api.close()
