"""The thread that owns a connection to NATS, and what all have in common that send over one.

What is sent is its traffic's to say: one reporter's lane (`link`), or those of many (`shared_link`).

Every connection is a client of its own: nats-py would write what was left of a lost one before anything could be sent
again in order.

nats-py's own `flush()` will not do for a PONG: its PING is written past what nats-py has queued, a PONG
that comes after its timeout ends the read loop, and it returns at once, as if all were well, when that loop
has ended. So the PING is sent here, when the queue has been written, with a future that nobody cancels.
Its JetStream publishing will not do for acknowledgements: it waits for each one, or loses some.
"""

import asyncio
import contextlib
import logging
import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from milepost_reporter import subject
from milepost_reporter.jetstream import header
from milepost_reporter.lane import Publish
from milepost_reporter.loop import DaemonLoop
from milepost_reporter.settings import Settings

if TYPE_CHECKING:
    from milepost_reporter.jetstream.client import WireClient

_logger: Final = logging.getLogger("milepost_reporter")

_LOOK: Final = 1.0
"""Seconds until an idle connection is looked at without anything having happened."""

_UNWRITTEN_LOOK: Final = 0.002
"""Seconds between looks at what nats-py has not yet written."""

_GRACE: Final = 0.5
"""Seconds for an empty connection to close in good order."""

_COMPLAINTS_APART: Final = 60.0
"""Seconds between two warnings of the same sort."""


class Traffic(Protocol):
    """What is to be sent: a `Lane`, where every one of these is explained, or many as one."""

    @property
    def room(self) -> int:
        """How many more events it would take."""

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and everything sent has arrived."""

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to say at all."""

    @property
    def nobody_since(self) -> float | None:
        """Since when no stream takes the events."""

    @property
    def wants_pong(self) -> int | None:
        """What a PONG is of interest behind; None when it is not."""

    def connected(self, *, jetstream: bool, clustered: bool, inbox: str, moment: float) -> None:
        """There is a new connection; answers come to what begins with `inbox` and a dot."""

    def pump(self, publish: Publish, moment: float) -> None:
        """Send all that may go now."""

    def answered(self, address: str, status: str | None, payload: bytes, moment: float) -> None:
        """An answer has come to `address` behind the inbox."""

    def ponged(self, number: int, moment: float) -> None:
        """A PONG has come behind what `wants_pong` said."""

    def hurry(self) -> None:
        """What is not in a record is due now."""

    def next_due(self, moment: float) -> float | None:
        """When to pump again without news."""


class Carrier(ABC):
    """Sends `traffic` over one connection after the other. Any thread may call `wake()` and `close()`, all else is the
    thread's own.

    `whose` says in warnings who reports.
    """

    def __init__(self, settings: Settings, traffic: Traffic, whose: str) -> None:
        self._settings = settings
        self._traffic = traffic
        self._whose = whose
        self._inbox = b""
        self.connected = False
        self.connections = 0
        self._loop: DaemonLoop | None = None
        self._news: asyncio.Event | None = None
        self._woken = False
        self._closing_since: float | None = None
        self._is_over = False
        self._close_timeout = settings.close_timeout
        # Since when there is no connection; not before the first attempt at one.
        self._lost_at = math.inf
        # Why there is no connection; None while there is one.
        self._away_because: str | None = "there was no time to connect"
        self._told_away = False
        self._complained_at: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="milepost-reporter", daemon=True)

    @abstractmethod
    def _sample(self) -> bool:
        """Have the progress of running nodes taken; whether there are any."""

    @abstractmethod
    async def _open_control(self, client: "WireClient") -> None:
        """Listen to requests, over this connection, as far as that is wanted and not yet so."""

    @abstractmethod
    def _answer_to(self, place: bytes) -> Callable[[bytes], bytes] | None:
        """What answers a request that has come there."""

    @property
    def idle(self) -> bool:
        """Whether everything has been sent and has arrived."""
        return self._traffic.idle

    @property
    def thread(self) -> threading.Thread:
        """The sending thread."""
        return self._thread

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
        self._news = asyncio.Event()
        while not self._over():
            client = self._new_client()
            # What loading it took, on a busy machine, is not NATS' absence.
            self._lost_at = min(self._lost_at, time.monotonic())
            try:
                if await self._connect(client):
                    await self._talk(client)
            except Exception as error:
                _logger.debug("the connection to NATS is given up", exc_info=True)
                self._away(error)
                await self._pause(self._settings.reconnect_wait)
            finally:
                self._leave(client)

    def _new_client(self) -> "WireClient":
        # Importing nats takes a tenth of a second: in this thread, the job does not wait for it.
        from milepost_reporter.jetstream.client import WireClient

        client = WireClient(
            lambda *message: self._on_message(client, *message), tls=self._settings.tls, most_pending=math.inf
        )
        return client

    async def _connect(self, client: "WireClient") -> bool:
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
            await _call_off(attempt)
            return False
        error = attempt.exception()
        if error is not None:
            self._away(error)
            await self._pause(self._settings.reconnect_wait)
        return error is None

    async def _talk(self, client: "WireClient") -> None:
        """Send over one connection until it is lost or there is nothing left to do."""
        await self._open_inbox(client)
        self._connection_made()
        traffic, publish = self._traffic, partial(_publish, client)
        barrier: asyncio.Task[None] | None = None
        try:
            while client.is_connected and not self._over():
                self._woken = False
                await self._open_control(client)
                busy = self._sample() if traffic.room else False
                traffic.pump(publish, time.monotonic())
                if (barrier is None or barrier.done()) and (behind := traffic.wants_pong):
                    barrier = asyncio.ensure_future(self._barrier(client, behind))
                if self._closing_since is not None and self.idle:
                    break
                await self._rest(self._until_next(busy))
            if self.idle:
                await self._take_leave(client)
        finally:
            if barrier is not None:
                barrier.cancel()

    async def _open_inbox(self, client: "WireClient") -> None:
        """One subscription for every answer of this connection, where there are answers."""
        inbox = client.new_inbox()
        self._inbox = f"{inbox}.".encode()
        self._traffic.connected(
            jetstream=client.has_jetstream, clustered=client.is_clustered, inbox=inbox, moment=time.monotonic()
        )
        if client.has_jetstream:
            await client.subscribe(f"{inbox}.>")

    def _on_message(
        self, client: "WireClient", to: bytes, payload: bytes, headers: bytes | None, reply: bytes | None
    ) -> None:
        """Something has come over one of the connections, of which only the present one's inbox is ours."""
        if to.startswith(self._inbox):
            status = header.status(headers)
            address = to[len(self._inbox) :].decode("ascii", "replace")
            self._traffic.answered(address, None if status is None else str(status), payload, time.monotonic())
        elif (answer := self._answer_to(to)) is not None:
            self._on_request(client, answer, payload, reply)
        self._stir()

    def _on_request(
        self, client: "WireClient", answer: Callable[[bytes], bytes], payload: bytes, reply: bytes | None
    ) -> None:
        """Somebody asks something of a job. What comes of it must not end the reading."""
        try:
            answered = answer(payload)
            if reply is not None and _may_answer(to := reply.decode()):
                client.send(to, answered, "", None)
        except Exception as error:
            self._complain("control", "a request to %s is not answered: %r", self._whose, error)

    async def _take_leave(self, client: "WireClient") -> None:
        """Write the last record, wait for its acknowledgement, and close in good order; all of it bounded."""
        end = time.monotonic() + min(_GRACE, max(self._until_over(), 0.0))
        publish = partial(_publish, client)
        while client.is_connected:
            self._traffic.hurry()
            self._traffic.pump(publish, time.monotonic())
            left = end - time.monotonic()
            if left <= 0 or self._traffic.settled:
                break
            await self._rest(left)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.close(), _GRACE)

    async def _barrier(self, client: "WireClient", number: int) -> None:
        """Hear of the PONG behind everything up to `number`."""
        while client.pending_data_size:
            if not client.is_connected:
                return
            await asyncio.sleep(_UNWRITTEN_LOOK)
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        await client._send_ping(pong)
        await asyncio.wait({pong})
        self._traffic.ponged(number, time.monotonic())
        self._stir()

    def _connection_made(self) -> None:
        self.connected = True
        self.connections += 1
        self._away_because = None
        if self._told_away:
            self._told_away = False
            _logger.info("NATS is back: reporting progress of %s again", self._whose)

    def _leave(self, client: "WireClient") -> None:
        if self.connected:
            self.connected = False
            self._lost_at = time.monotonic()
            if not self._is_over:
                self._away(client.last_error)
        _abort(client)

    def _away(self, error: BaseException | None) -> None:
        reason = str(error) or type(error).__name__ if error is not None else "the connection was lost"
        self._away_because = reason
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
        if self._closing_since is not None and (self.idle or self._until_over() <= 0):
            # For good: leaving a connection behind must not look like one that has just been lost.
            self._is_over = True
        return self._is_over

    def _until_over(self) -> float:
        """Seconds until `close()` may take no longer."""
        if self._closing_since is None:
            return _LOOK
        end = self._closing_since + self._close_timeout
        away = self._traffic.nobody_since if self.connected else self._lost_at
        if away is not None:
            end = min(end, max(self._closing_since, away) + self._settings.unreachable_timeout)
        return end - time.monotonic()

    def _until_next(self, busy: bool) -> float:
        """Seconds until there may be something to do without anybody saying so."""
        moment = time.monotonic()
        wait = min(_LOOK, self._until_over())
        if (due := self._traffic.next_due(moment)) is not None:
            wait = min(wait, due - moment)
        return min(wait, self._settings.interval) if busy else wait

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


def _publish(client: "WireClient", to: str, payload: bytes, headers: Mapping[str, str], reply: str) -> bool:
    """Give one message to nats-py. False when it is more than the server takes."""
    try:
        client.send(to, payload, reply, headers)
    except ValueError:
        return False
    return True


def _may_answer(to: str) -> bool:
    """Whether an answer may go there: the requester names the place, and a job may publish where it may not."""
    return subject.parse(to) is None and not to.startswith("$")


async def _call_off(attempt: "asyncio.Future[None]") -> None:
    """Cancel until it is heard: an attempt that opens its connection in that very moment goes on all the same."""
    end = time.monotonic() + _GRACE
    while not attempt.done() and time.monotonic() < end:
        attempt.cancel()
        await asyncio.wait({attempt}, timeout=_GRACE / 5)
    if attempt.done() and not attempt.cancelled():
        attempt.exception()  # asyncio complains of one that nobody looks at


def _abort(client: "WireClient") -> None:
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
