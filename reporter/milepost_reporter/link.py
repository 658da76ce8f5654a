"""The thread that owns the connection to NATS and empties the outbox.

Order and completeness come from three rules:

- Events are numbered when they are first sent, and kept in the window until the server is known to have taken
  them: a PONG for a PING that was written behind them.
- Every connection is a client of its own. What a lost one had not written is never written later, so each
  connection carries an unbroken stretch of numbers from the first unconfirmed one, and a reader that drops
  what it has by the number gets everything once and in order.
- nats-py is never given more than the window.

nats-py's own `flush()` will not do for the PONG: its PING is written past what nats-py has queued, a PONG
that comes after its timeout ends the read loop, and it returns at once, as if all were well, when that loop
has ended. So the PING is sent here, when the queue has been written, with a future that nobody cancels.
"""

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from milepost_reporter import subject
from milepost_reporter.loop import DaemonLoop
from milepost_reporter.outbox import Item, Outbox
from milepost_reporter.settings import Settings
from milepost_reporter.window import Sent, Window

if TYPE_CHECKING:
    from nats.aio.client import Client

_logger: Final = logging.getLogger("milepost_reporter")

_BATCH: Final = 128
"""Events taken from the outbox at once: the job waits no longer than that for its lock."""

_LOOK: Final = 1.0
"""Seconds until an idle connection is looked at without anything having happened."""

_UNWRITTEN_LOOK: Final = 0.002
"""Seconds between looks at what nats-py has not yet written."""

_GRACE: Final = 0.5
"""Seconds for an empty connection to close in good order."""

_COMPLAINTS_APART: Final = 60.0
"""Seconds between two warnings of the same sort."""


class Link:
    """One reporter's sender. Any thread may call `wake()` and `close()`, all else is the thread's own.

    `sample(now)` puts the progress of running nodes into the outbox and says whether there are any.
    """

    def __init__(self, settings: Settings, reporter: str, outbox: Outbox, sample: Callable[[], bool]) -> None:
        self._settings = settings
        self._reporter = reporter
        self._outbox = outbox
        self._sample = sample
        self._end_subject = subject.end(settings.tenant, settings.job, settings.run)
        self._progress_subject = subject.progress(settings.tenant, settings.job)
        self._id_prefix = f"{settings.tenant}-{settings.job}-{reporter}-"
        self.window = Window(settings.window_events, settings.window_bytes)
        self.connected = False
        self.connections = 0
        # Events the server would not take, for their size.
        self.refused = 0
        self._loop: DaemonLoop | None = None
        self._news: asyncio.Event | None = None
        self._woken = False
        self._closing_since: float | None = None
        self._close_timeout = settings.close_timeout
        # Since when there is no connection; not before the first attempt at one.
        self._lost_at = math.inf
        # Why there is no connection.
        self.trouble = "there was no time to connect"
        self._told_away = False
        self._complained_at: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="milepost-reporter", daemon=True)

    @property
    def thread(self) -> threading.Thread:
        """The sending thread."""
        return self._thread

    @property
    def sent(self) -> int:
        """How many events have been sent, each counted once."""
        return self.window.last

    @property
    def confirmed(self) -> int:
        """How many of those have arrived."""
        return self.window.confirmed

    @property
    def idle(self) -> bool:
        """Whether everything has been sent and has arrived."""
        return not self.window and not len(self._outbox)

    def start(self) -> None:
        """Start the thread. RuntimeError when the system has none to give."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to take. Costs a system call only when the thread may be asleep."""
        if self._woken:
            return
        self._woken = True
        loop, news = self._loop, self._news
        if loop is not None and news is not None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(news.set)

    def close(self, timeout: float | None = None) -> None:
        """Send what is left, within the settings' bounds, and end the thread. Returns at the latest then."""
        if timeout is not None:
            self._close_timeout = timeout
        self._closing_since = time.monotonic()
        self._woken = False
        self.wake()

    def join(self) -> None:
        """Wait for the thread's end after `close()`."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(self._close_timeout + _GRACE + 1.0)

    def _run(self) -> None:
        loop = self._loop = DaemonLoop()
        try:
            loop.run_until_complete(self._live())
        except Exception:
            _logger.exception("the reporter's sender has ended; nothing more will be reported")
        finally:
            self.connected = False
            _end_tasks(loop)
            loop.close()

    async def _live(self) -> None:
        # Importing nats takes a tenth of a second: in this thread, the job does not wait for it.
        from milepost_reporter.client import SecureClient

        self._news = asyncio.Event()
        self._lost_at = time.monotonic()
        while not self._over():
            client = SecureClient(tls=self._settings.tls)
            try:
                if await self._connect(client):
                    await self._talk(client)
            except Exception as error:
                _logger.debug("the connection to NATS is given up", exc_info=True)
                self._away(error)
                await self._pause(self._settings.reconnect_wait)
            finally:
                self._leave(client)

    async def _connect(self, client: "Client") -> bool:
        """Whether there is a connection; not after a failure or when it is time to end."""
        attempt = asyncio.ensure_future(
            client.connect(
                error_cb=self._on_error,
                disconnected_cb=self._on_change,
                closed_cb=self._on_change,
                **self._settings.connect_options(),
            )
        )
        attempt.add_done_callback(lambda _: self._stir())
        while not attempt.done() and not self._over():
            await self._rest(self._until_over())
        if not attempt.done():
            attempt.cancel()
            return False
        error = attempt.exception()
        if error is not None:
            self._away(error)
            await self._pause(self._settings.reconnect_wait)
        return error is None

    async def _talk(self, client: "Client") -> None:
        """Send over one connection until it is lost or there is nothing left to do."""
        self._connection_made()
        for sent in self.window.unconfirmed():
            await self._publish(client, sent)
        barrier: asyncio.Task[None] | None = None
        try:
            while client.is_connected and not self._over():
                self._woken = False
                busy = self._sample() if self.window.room else False
                await self._send(client)
                if self.window and (barrier is None or barrier.done()):
                    barrier = asyncio.ensure_future(self._barrier(client, self.window.last))
                if self._closing_since is not None and self.idle:
                    break
                await self._rest(self._until_next(busy))
            if self.idle:
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(client.close(), _GRACE)
        finally:
            if barrier is not None:
                barrier.cancel()

    async def _send(self, client: "Client") -> None:
        while client.is_connected and (room := self.window.room) > 0:
            items = self._outbox.take(time.monotonic(), min(room, _BATCH), self.window.room_bytes)
            for item in items:
                await self._publish(client, self._numbered(item))
            if not items:
                return

    def _numbered(self, item: Item) -> Sent:
        return self.window.add(self._end_subject if item.end else self._progress_subject, item.payload)

    async def _publish(self, client: "Client", sent: Sent) -> None:
        """Hand one event to nats-py. It stays in the window whatever comes of that."""
        from nats.errors import Error, MaxPayloadError

        headers = {
            "Nats-Msg-Id": f"{self._id_prefix}{sent.number}",
            "Milepost-Reporter": self._reporter,
            "Milepost-Count": str(sent.number),
        }
        try:
            await client.publish(sent.subject, sent.payload, headers=headers)
        except MaxPayloadError:
            self.refused += 1
            self._complain("size", "the server takes no events of %d bytes: they are left out", len(sent.payload))
        except (Error, OSError) as error:
            _logger.debug("not published: %s", error)

    async def _barrier(self, client: "Client", number: int) -> None:
        """Confirm everything up to `number` when the server has answered behind it."""
        while client.pending_data_size:
            if not client.is_connected:
                return
            await asyncio.sleep(_UNWRITTEN_LOOK)
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        await client._send_ping(pong)
        await asyncio.wait({pong})
        self.window.confirm(number)
        self._stir()

    def _connection_made(self) -> None:
        self.connected = True
        self.connections += 1
        self.trouble = "it did not answer in time"
        if self._told_away:
            self._told_away = False
            _logger.info("NATS is back: reporting progress of job %s again", self._settings.job)

    def _leave(self, client: "Client") -> None:
        if self.connected:
            self.connected = False
            self._lost_at = time.monotonic()
            self._away(client.last_error)
        _abort(client)

    def _away(self, error: BaseException | None) -> None:
        reason = str(error) or type(error).__name__ if error is not None else "the connection was lost"
        self.trouble = reason
        if self._told_away or self._closing_since is not None:
            return
        self._told_away = self._complain(
            "away",
            "NATS is not reachable (%s): the job goes on, its progress is kept and sent when NATS is back",
            reason,
        )

    def _complain(self, sort: str, message: str, *values: object) -> bool:
        """One warning a minute of each sort."""
        moment = time.monotonic()
        last = self._complained_at.get(sort)
        if last is not None and moment < last + _COMPLAINTS_APART:
            _logger.debug(message, *values)
            return False
        self._complained_at[sort] = moment
        _logger.warning(message, *values)
        return True

    async def _on_error(self, error: Exception) -> None:
        if "permissions violation" in str(error).lower():
            self._complain("permission", "NATS does not let this job report: %s", error)
        elif not self.connected:
            self._away(error)
        self._stir()

    async def _on_change(self) -> None:
        self._stir()

    def _stir(self) -> None:
        if self._news is not None:
            self._news.set()

    def _over(self) -> bool:
        """Whether it is time to end: asked to, and either nothing is left or the time for it is up."""
        return self._closing_since is not None and (self.idle or self._until_over() <= 0)

    def _until_over(self) -> float:
        """Seconds until `close()` may take no longer."""
        if self._closing_since is None:
            return _LOOK
        end = self._closing_since + self._close_timeout
        if not self.connected:
            unreachable = max(self._closing_since, self._lost_at) + self._settings.unreachable_timeout
            end = min(end, unreachable)
        return end - time.monotonic()

    def _until_next(self, busy: bool) -> float:
        """Seconds until there may be something to do without anybody saying so."""
        wait = min(_LOOK, self._until_over())
        if not self.window.room:
            return wait
        if busy:
            wait = min(wait, self._settings.interval)
        moment = time.monotonic()
        due = self._outbox.next_due(moment)
        return wait if due is None else min(wait, due - moment)

    async def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := min(end - time.monotonic(), self._until_over())) > 0 and not self._over():
            await self._rest(left)

    async def _rest(self, seconds: float) -> None:
        """Sleep until there is news, and at most so long."""
        assert self._news is not None  # noqa: S101 - set before anything else happens
        if not self._news.is_set():
            alarm = asyncio.get_running_loop().call_later(max(seconds, 0.0), self._news.set)
            await self._news.wait()
            alarm.cancel()
        self._news.clear()


def _abort(client: "Client") -> None:
    """Drop a client's connection at once: closing it would wait for a server that may not be reading."""
    writer = getattr(getattr(client, "_transport", None), "_io_writer", None)
    if writer is not None:
        writer.transport.abort()


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    with contextlib.suppress(Exception):
        loop.run_until_complete(asyncio.wait(tasks, timeout=_GRACE) if tasks else asyncio.sleep(0))
