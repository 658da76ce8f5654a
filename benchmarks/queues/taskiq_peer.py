"""taskiq-nats: a JetStream queue pulled by taskiq's worker; with a result backend, or without any trace of a job."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from taskiq.kicker import AsyncKicker

from benchmarks.queues.peer import SLOTS, Peer
from benchmarks.queues.taskiq_tasks import RESULTS, URL, make_broker
from benchmarks.queues.worker_process import WorkerProcess
from milepost.nats_server import NatsServer


class TaskiqPeer(Peer):
    def __init__(self, *, results: bool) -> None:
        self._results = results
        self.name = "taskiq-nats, results kept" if results else "taskiq-nats, no results"

    async def __aenter__(self) -> Self:
        self._stack = contextlib.AsyncExitStack()
        nats = self._stack.enter_context(NatsServer())
        self._broker = make_broker(nats.url, results=self._results)
        await self._broker.startup()
        self._stack.push_async_callback(self._broker.shutdown)
        self.worker = WorkerProcess(
            [
                *("taskiq", "worker", "benchmarks.queues.taskiq_tasks:broker", "--workers", "1"),
                *("--max-async-tasks", str(SLOTS), "--log-level", "ERROR"),
            ],
            {URL: nats.url, RESULTS: "1" if self._results else ""},
        )
        self._stack.callback(self.worker.end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def submit(self, number: int) -> None:
        kicker: AsyncKicker[[int], None] = AsyncKicker("noop", self._broker, labels={})
        await kicker.kiq(number)
