"""Handlers in a daemon thread each: for code that blocks and can share the worker's process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

from milepost_reporter.cancel import CancelToken

from milepost_runner.call import MAX_RESULT, Call, failed
from milepost_runner.executor import CANCELLED, Outcome
from milepost_runner.handler import Handler
from milepost_runner.pending import Pending, PendingExecutor
from milepost_runner.progress import Progress


class ThreadExecution(Pending):
    """One handler's thread. `kill` cancels an async handler's task; a function ends when it looks at its token."""

    def __init__(self, call: Call, over: Callable[[Pending], object]) -> None:
        super().__init__(call.cancel, over)
        self._call = call
        self._loop = asyncio.get_running_loop()
        # The event loop in the thread and the handler's task there, while an async handler runs.
        self._lock = threading.Lock()
        self._inside: tuple[asyncio.AbstractEventLoop, asyncio.Task[Outcome]] | None = None
        self.thread = threading.Thread(target=self._run, name=f"job {call.progress.job}", daemon=True)

    async def force(self) -> None:
        """Cancel an async handler's task."""
        with self._lock:
            if self._inside is not None:
                loop, task = self._inside
                loop.call_soon_threadsafe(task.cancel)

    def _run(self) -> None:
        try:
            outcome = asyncio.run(self._async_call()) if self._call.handler.is_async else self._call.here()
        except BaseException as error:  # no event loop to be had
            outcome = self._call.left_by(error)
        # The worker may have ended in the meantime, and its loop with it.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.tell, outcome)

    async def _async_call(self) -> Outcome:
        task = asyncio.create_task(self._call.in_loop())
        with self._lock:
            self._inside = (asyncio.get_running_loop(), task)
        await asyncio.wait({task})
        with self._lock:
            self._inside = None
        return Outcome(CANCELLED) if task.cancelled() else task.result()


class ThreadExecutor(PendingExecutor):
    """A thread for each job, none kept: one written off neither takes a later job's place nor holds up the exit."""

    def __init__(self, *, max_result: int = MAX_RESULT) -> None:
        super().__init__(max_result)

    async def start(self, handler: Handler, payload: Any, progress: Progress, cancel: CancelToken) -> ThreadExecution:  # noqa: ANN401 - JSON
        """Begin a thread."""
        execution = ThreadExecution(Call(handler, payload, progress, cancel, self._max_result), self._over)
        self._running.add(execution)
        try:
            execution.thread.start()
        except RuntimeError as error:  # the system has no more threads
            execution.tell(failed(str(error)))
        return execution
