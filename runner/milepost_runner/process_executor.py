"""Handlers in a process each: what does not listen is killed, with everything that came of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import socket
from collections.abc import Callable
from typing import Any, Final, cast

from milepost_reporter.cancel import CancelToken

from milepost_runner import frames
from milepost_runner.call import MAX_RESULT, failed, given_up
from milepost_runner.descendants import end_tree
from milepost_runner.executor import Outcome
from milepost_runner.fork_client import ForkClient, Forked
from milepost_runner.frames import FrameReader
from milepost_runner.handler import Handler
from milepost_runner.job_process import Order, read_outcome
from milepost_runner.pending import Pending, PendingExecutor
from milepost_runner.progress import Progress

_EXIT: Final = 5.0
"""Seconds that a process may take to end when its handler has: its `atexit` functions run."""

_FORK: Final = 1.0
"""Seconds to wait for a process to be there, so that it can be killed."""

_DRAIN: Final = 30.0
"""Seconds to read what a process that is gone has left in the pipe."""


class ProcessExecution(Pending, asyncio.Protocol):
    """One handler's process, and the pipe to it. Its outcome comes when nothing of the process is left."""

    grace = 5.0

    def __init__(self, progress: Progress, cancel: CancelToken, over: Callable[[Pending], object]) -> None:
        super().__init__(cancel, over)
        self._loop = asyncio.get_running_loop()
        self._progress = progress
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._forked: Forked | None = None
        self._broken: asyncio.Future[None] = self._loop.create_future()
        self._said: Outcome | None = None
        self._killed = False
        self._hasten: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def force(self) -> None:
        """Kill the process and all that came of it."""
        assert self._forked is not None  # noqa: S101 - begun before anybody has it
        self._killed = True
        await asyncio.wait({self._forked.pid}, timeout=_FORK)
        if not self._forked.pid.done():
            # The modules are still being loaded. A process that finds its pipe broken ends by itself.
            self._hang_up()
            self.write_off()
        elif (pid := self._forked.pid.result()) is not None and not self._forked.ended.done():
            await asyncio.to_thread(end_tree, pid)

    def begin(self, forked: Forked, order: bytes) -> None:
        """The process has been asked for: tell it what to do, and follow it."""
        assert self._transport is not None  # noqa: S101 - connected at once: it is a pair
        self._forked = forked
        self._transport.write(frames.write(frames.ORDER, order))
        self._keep(self._loop.create_task(self._follow(forked)))
        self._cancel.on_request(self._cancelled)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        # A socket's, but uvloop's are of no class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        for kind, body in self._reader.feed(data):
            if kind == frames.EVENT:
                event, _, payload = body.partition(b"\0")
                self._progress.forward(event.decode(), payload)
            elif kind == frames.OUTCOME:
                self._said = read_outcome(body)
                self._hasten = self._loop.call_later(_EXIT, lambda: self._keep(self._loop.create_task(self.kill())))

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's."""
        self._broken.set_result(None)

    async def _follow(self, forked: Forked) -> None:
        how = await forked.ended
        if self._hasten is not None:
            self._hasten.cancel()
        if self._said is None:
            # Nothing writes any more; what it wrote may not have been read.
            await asyncio.wait({self._broken}, timeout=_DRAIN)
        outcome = self._said or (given_up(self._cancel, how) if self._killed else failed(how))
        self._progress.close_forwarded(outcome.status)
        self._hang_up()
        self.tell(outcome)

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _cancelled(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            self._loop.call_soon_threadsafe(self._send_cancel)

    def _send_cancel(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames.write(frames.CANCEL, json.dumps(self._cancel.reason).encode()))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class ProcessExecutor(PendingExecutor):
    """A process for each job, forked from one that has loaded `modules`, where the handlers are registered.

    Modules may be in the working directory. ValueError where processes cannot be forked.
    """

    def __init__(self, modules: list[str], *, max_result: int = MAX_RESULT) -> None:
        if not hasattr(os, "fork") or not hasattr(socket, "send_fds"):
            raise ValueError("the process executor needs fork(), which this system has not: use the thread executor")
        super().__init__(max_result)
        self._modules = modules
        self._server: ForkClient | None = None
        self._closed = False

    def check(self, handler: Handler) -> None:
        """ValueError for a handler of the program's own file, which no other process can import."""
        if handler.function.__module__ == "__main__":
            raise ValueError(f"the handler of {handler.name} is in __main__: move it to a module of its own")

    def open(self) -> None:
        """Begin to load the modules, so that the first job need not wait for it."""
        if self._server is None:
            self._server = ForkClient(self._modules)

    async def ready(self) -> None:
        """Return when the modules are loaded."""
        self.open()
        assert self._server is not None  # noqa: S101 - just opened
        await asyncio.shield(self._server.loaded)

    async def start(self, handler: Handler, payload: Any, progress: Progress, cancel: CancelToken) -> ProcessExecution:  # noqa: ANN401 - JSON
        """Begin a process."""
        if self._closed:
            raise RuntimeError("the executor is closed")
        execution = ProcessExecution(progress, cancel, self._over)
        order = Order(handler.name, payload, progress.settings, self._max_result)
        try:
            forked = await self._fork(execution)
        except OSError as error:
            execution.tell(failed(f"no process could be started for it: {error}"))
        else:
            self._running.add(execution)
            execution.begin(forked, pickle.dumps(order))
        return execution

    async def close(self) -> None:
        """Kill everything, and end the process that forks."""
        self._closed = True
        await super().close()
        if self._server is not None:
            await self._server.close()

    async def _fork(self, execution: ProcessExecution) -> Forked:
        server = await self._living()
        ours, theirs = socket.socketpair()
        with theirs:
            await asyncio.get_running_loop().create_unix_connection(lambda: execution, sock=ours)
            return await server.fork(theirs)

    async def _living(self) -> ForkClient:
        if self._server is not None and not self._server.alive:
            dead, self._server = self._server, None
            await dead.close()
        self.open()
        assert self._server is not None  # noqa: S101 - just opened
        return self._server
