"""taskiq's middleware: each task is a job, told by the worker that runs it.

`broker.with_middlewares(MilepostMiddleware())` is all. The job's id is the task's, its name the task's name; a retry,
and a task that the broker delivers once more, are the job's next runs. Inside a task `current()` is its reporter. All
tasks of a worker's process share one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import logging
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextvars import ContextVar
from typing import Any, Final

from taskiq import AckableMessage, AsyncBroker, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.exceptions import NoResultError

from milepost_reporter import current, shared_link
from milepost_reporter.ending import Ending
from milepost_reporter.names import is_name
from milepost_reporter.payload import moment
from milepost_reporter.reporter import Reporter
from milepost_reporter.settings import Settings
from milepost_reporter.shared_reporter import SharedReporter

RUN_LABEL: Final = "milepost_run"
"""The run that a message comes of: a retry carries it to whoever runs that."""

SENT_LABEL: Final = "milepost_sent"
"""When the message was sent, RFC 3339."""

_MAX_AGAIN: Final = 10_000
"""Messages delivered once more whose tasks have not begun."""

_TRY_AGAIN: Final = 0.01
"""Seconds until a task is tried again that is to be cancelled and has not begun."""

_LOOK: Final = 0.002
"""Seconds between two looks at what is on its way."""

_RETRY_LOOKS: Final = 250
"""How long a retry waits for its run's end to arrive: half a second."""

_CONNECT_LOOKS: Final = 500
"""How long a worker's start waits for the connection: a second."""

_REQUEUED: Final = "X-Taskiq-requeue"

_logger: Final = logging.getLogger("milepost_reporter")

_here: Final[ContextVar[_Execution | None]] = ContextVar("milepost_taskiq", default=None)

_under_way: Final[set[_Execution]] = set()


class MilepostMiddleware(TaskiqMiddleware):
    """Tells of every task that its broker's workers run.

    Without arguments it is the environment that says where to report to, as for `Reporter.from_env()`; `MILEPOST_JOB`
    and `MILEPOST_RUN` do not count. With them, `nats_url` and `tenant` are needed, and more are fields of `Settings`:
    ValueError when one cannot be right. Nothing raises afterwards, and no task waits.
    """

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 - fields of Settings, which checks them
        super().__init__()
        if arguments:
            self._settings: Settings | None = Settings(**{**arguments, "job": "taskiq", "run": 1})
        else:
            environ = {**os.environ, "MILEPOST_JOB": "taskiq", "MILEPOST_RUN": ""}
            self._settings = Settings.from_env(environ, _logger.warning)
        # How often each message was delivered, of those that were more than once.
        self._deliveries: dict[str, int] = {}
        self._warned: set[str] = set()

    async def startup(self) -> None:
        """In a worker: connect, for which it waits a second at most, and notice what is delivered once more."""
        if self.broker.is_worker_process and self._settings is not None:
            self._harmless(self._count_deliveries)
            await _connected(self._settings)

    async def shutdown(self) -> None:
        """Send what is left, within the settings' `close_timeout`."""
        with contextlib.suppress(RuntimeError):  # no threads any more
            await asyncio.to_thread(shared_link.close)

    async def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Note when; and end a run whose retry this is, before that can begin: behind the next run's beginning its end
        would be late. A retry waits for that, at most half a second, and not while NATS is away.
        """
        if self._settings is not None:
            self._harmless(self._sending, message)
        execution = _execution_of(message)
        if execution is not None:
            await execution.arrived()
        return message

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Begin the job's run."""
        if self._settings is not None:
            self._harmless(self._begin, message, self._settings)
        return message

    def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:
        """Note what a task has raised: how its run ends is told when it is known whether it is tried again."""
        if (execution := _execution_of(message)) is not None:
            self._harmless(execution.raised, exception)

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """End the job's run."""
        if (execution := _execution_of(message)) is not None:
            self._harmless(execution.done, result)

    def _sending(self, message: TaskiqMessage) -> None:
        message.labels[SENT_LABEL] = moment(time.time())
        execution = _execution_of(message)
        if execution is not None:
            execution.resent()

    def _begin(self, message: TaskiqMessage, base: Settings) -> None:
        labels = message.labels
        run = _whole(labels.get(RUN_LABEL)) + self._deliveries.pop(message.task_id, 1)
        # text, as brokers take labels for headers
        labels[RUN_LABEL] = str(run)
        settings = base.of_run(base.tenant, job_id(message.task_id), run, message.task_name)
        task = self.broker.find_task(message.task_name)
        execution = _Execution(message, SharedReporter.of(settings), task.original_func if task else None)
        sent = labels.get(SENT_LABEL)
        execution.begin(sent if isinstance(sent, str) else None)

    def _count_deliveries(self) -> None:
        broker: AsyncBroker = self.broker
        listen = broker.listen

        async def counting() -> AsyncGenerator[Any, None]:
            async with contextlib.aclosing(listen()) as messages:
                async for message in messages:
                    if isinstance(message, AckableMessage) and (times := _deliveries_of(message)) > 1:
                        self._harmless(self._note, message.data, times)
                    yield message

        broker.listen = counting  # type: ignore[method-assign] # nothing else hears of the delivery itself

    def _note(self, data: bytes, times: int) -> None:
        while len(self._deliveries) >= _MAX_AGAIN:
            self._deliveries.pop(next(iter(self._deliveries)))
        self._deliveries[self.broker.formatter.loads(message=data).task_id] = times

    def _harmless(self, act: Callable[..., object], *values: object) -> None:
        """Do it so that nothing comes of it that the task would feel."""
        try:
            act(*values)
        except Exception as error:
            if act.__name__ not in self._warned:
                self._warned.add(act.__name__)
                _logger.warning("a task's progress is not told as it should be: %r", error)


class _Execution:
    """One run of one task, in this process. All but `_asked` is for the event loop's thread."""

    def __init__(self, message: TaskiqMessage, reporter: SharedReporter, function: Callable[..., Any] | None) -> None:
        self.task_id = message.task_id
        self.reporter = reporter
        self.around: _Execution | None = None
        """That of the task which waits for this one, where tasks run as they are sent."""
        self._message = message
        self._requeued = message.labels.get(_REQUEUED)
        self._code = getattr(function, "__code__", None)
        self.is_async = inspect.iscoroutinefunction(function)
        self.thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._error: BaseException | None = None
        self._returned = False
        self._will_retry = False
        self._cancelled = False
        self._over = False

    def begin(self, sent: str | None) -> None:
        """The task is about to run, in this context."""
        if sent is not None:
            self.reporter.queued(sent)
        self.reporter.begin()
        current.enter(self.reporter)
        around = _here.get()
        while around is not None and (around._over or around._task is not self._task):
            around = around.around
        self.around = around
        _here.set(self)
        _under_way.add(self)
        if self._task is not None:
            # another middleware, or taskiq itself, may fail between here and the end
            self._task.add_done_callback(self._left)
        self.reporter.cancellation.on_request(self._asked)

    def raised(self, error: BaseException) -> None:
        """The task's function has raised it."""
        self._stand()
        self._error = error

    def resent(self) -> None:
        """A message of this task is being sent: once the function has raised, that is a retry."""
        if self._returned and not self._over:
            self._will_retry = True
            if self._error is not None:
                self._finish(Ending.of(self._error))

    async def arrived(self) -> None:
        """Wait until the end is stored, when it has been told."""
        looks = 0
        for _ in range(_RETRY_LOOKS):
            if not self._over or not self.reporter.stats.connected:
                return
            # twice in a row: on its way out of the outbox an event is for a moment nowhere to be seen
            looks = looks + 1 if self.reporter.close() else 0
            if looks > 1:
                return
            await asyncio.sleep(_LOOK)

    def done(self, result: TaskiqResult[Any]) -> None:
        """All have heard how the task came out."""
        self._stand()
        error = self._error
        if error is None:
            self.reporter.returned(result.return_value)
        elif isinstance(error, NoResultError):
            self._will_retry = self._message.labels.get(_REQUEUED) != self._requeued
        elif isinstance(result.error, NoResultError):
            # a retry that is scheduled: the result is left to it
            self._will_retry = True
        self._finish(self._ending(error))

    def _ending(self, error: BaseException | None) -> Ending:
        if isinstance(error, NoResultError):
            return Ending("cancelled", "requeued") if self._will_retry else Ending("completed")
        return Ending.of(error)

    def _stand(self) -> None:
        """The function has returned: nothing of it is left to be cancelled."""
        self._returned = True
        if self._cancelled and self._task is not None:
            self._cancelled = False
            self._task.uncancel()

    def _left(self, task: asyncio.Task[Any]) -> None:
        """The worker is through with the message."""
        if not self._over:
            self._finish(Ending.of(asyncio.CancelledError() if task.cancelled() else task.exception()))

    def _finish(self, ending: Ending) -> None:
        if self._over:
            return
        self._over = self._returned = True
        _under_way.discard(self)
        if self._task is not None:
            self._task.remove_done_callback(self._left)
        current.leave(self.reporter)
        self.reporter.finish(ending, will_retry=self._will_retry and ending.status != "completed")

    def _asked(self) -> None:
        """Somebody wants the task to stop: on the thread that hears of it."""
        # whoever was told to stop is not tried again
        self._message.labels["retry_on_error"] = "false"
        if self.is_async:
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        """Cancel the function where it awaits; never what taskiq does around it: a message that is being acknowledged
        would come again.
        """
        if self._returned or self._task is None or self._task.done():
            return
        if _awaits(self._task.get_coro(), self._code):
            self._cancelled = self._task.cancel("the task was told to stop")
        else:
            self._loop.call_later(_TRY_AGAIN, self._cancel)


def _execution_of(message: TaskiqMessage) -> _Execution | None:
    """The one of its task that runs here, or within which another does."""
    execution = _here.get()
    while execution is not None and execution.task_id != message.task_id:
        execution = execution.around
    return execution


def job_id(task_id: str) -> str:
    """A task's job: its own id where a job may be named so, else always the same one for the same."""
    return task_id if is_name(task_id) else f"task-{hashlib.sha256(task_id.encode()).hexdigest()[:32]}"


async def _connected(settings: Settings) -> None:
    """Wait for the connection that all tasks will share: what the first of them tells is then in time."""
    with contextlib.suppress(RuntimeError):  # the system has no thread to give
        link = shared_link.of(settings)
        for _ in range(_CONNECT_LOOKS):
            if link.connected:
                return
            await asyncio.sleep(_LOOK)


def _whole(label: object) -> int:
    try:
        return max(int(label), 0)  # type: ignore[call-overload, no-any-return] # what is no number is told so
    except (TypeError, ValueError):
        return 0


def _deliveries_of(message: AckableMessage) -> int:
    """How often JetStream has delivered it; 1 where the broker does not say."""
    delivered: Any = getattr(message.ack, "__self__", None)
    try:
        return int(delivered.metadata.num_delivered)
    except Exception:
        return 1


def _awaits(running: Any, code: object) -> bool:  # noqa: ANN401 - any awaitable there is
    """Whether a coroutine, or what it awaits, is one of that code."""
    while running is not None and code is not None:
        if getattr(running, "cr_code", None) is code:
            return True
        running = getattr(running, "cr_await", None)
    return False


def _forked() -> None:
    """In a child. One of a pool's runs any task's function, and knows of none whose it is; a child that a task has made
    itself goes on with its task's job.
    """
    execution = _here.get()
    if execution is None or execution.is_async or execution.thread != threading.get_ident():
        return
    for one in list(_under_way):
        current.leave(one.reporter)
    current.enter(Reporter.disabled())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
