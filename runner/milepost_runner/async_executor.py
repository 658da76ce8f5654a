"""Handlers as tasks in the worker's own event loop: thousands at once, as long as none of them holds it up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from milepost_reporter.cancel import CancelToken

from milepost_runner.call import MAX_RESULT, Call
from milepost_runner.executor import CANCELLED, Outcome
from milepost_runner.handler import Handler
from milepost_runner.pending import Pending, PendingExecutor
from milepost_runner.progress import Progress


class AsyncExecution(Pending):
    """One handler's task. `kill` cancels it."""

    def __init__(self, call: Call, over: Callable[[Pending], object]) -> None:
        super().__init__(call.cancel, over)
        self.task = asyncio.get_running_loop().create_task(call.in_loop())
        self.task.add_done_callback(self._done)

    async def force(self) -> None:
        """Cancel the task."""
        self.task.cancel()

    def _done(self, task: asyncio.Task[Outcome]) -> None:
        # Cancelled as a whole means before its first step: from then on the call makes an outcome of everything.
        self.tell(Outcome(CANCELLED) if task.cancelled() else task.result())


class AsyncExecutor(PendingExecutor):
    """Runs coroutine functions in this loop. One that blocks holds up the whole worker, and cannot be ended."""

    def __init__(self, *, max_result: int = MAX_RESULT) -> None:
        super().__init__(max_result)
        # asyncio keeps no task alive, and these may go on.
        self._deaf: set[asyncio.Task[Outcome]] = set()

    def check(self, handler: Handler) -> None:
        """ValueError for a handler that is no coroutine function: it would hold up everything."""
        if not handler.is_async:
            raise ValueError(f"the handler of {handler.name} is not async: use the thread or the process executor")

    async def start(self, handler: Handler, payload: Any, progress: Progress, cancel: CancelToken) -> AsyncExecution:  # noqa: ANN401 - JSON
        """Begin a task."""
        execution = AsyncExecution(Call(handler, payload, progress, cancel, self._max_result), self._over)
        self._running.add(execution)
        return execution

    def _over(self, execution: Pending) -> None:
        super()._over(execution)
        if execution.written_off and isinstance(execution, AsyncExecution):
            self._deaf.add(execution.task)
            execution.task.add_done_callback(self._deaf.discard)
