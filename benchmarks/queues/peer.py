"""What is measured: something that takes jobs and runs them in a worker process of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from benchmarks.queues.worker_process import WorkerProcess

SLOTS = 8
"""Jobs that each worker runs at the same time."""


class Peer(ABC):
    """One queue with one worker, for the time of an async `with`."""

    name: str
    worker: WorkerProcess

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    async def submit(self, number: int) -> None:
        """Have the no-op job run once; returns when the queue has taken it."""
