"""The thread that owns the connection to NATS and empties the outbox.

Order and completeness come from three rules:

- Events are numbered when they are first sent, and kept in the window until they are known to have arrived:
  stored, where the server has JetStream; read by the server, where it has none (see `acks`).
- Every connection is a client of its own. What a lost one had not written is never written later, so each
  connection carries an unbroken stretch of numbers from the first unconfirmed one, and a reader that drops
  what it has by the number gets everything once and in order.
- nats-py is never given more than the window.

nats-py's own `flush()` will not do for a PONG: its PING is written past what nats-py has queued, a PONG
that comes after its timeout ends the read loop, and it returns at once, as if all were well, when that loop
has ended. So the PING is sent here, when the queue has been written, with a future that nobody cancels.
Its JetStream publishing will not do for acknowledgements: it waits for each one, or loses some.
"""

import asyncio
import contextlib
import json
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from milepost_reporter import subject
from milepost_reporter.acks import WRONG_LAST_SEQUENCE_NOW, Acks, Answer, What, read_answer
from milepost_reporter.ledger import Ledger, Writing
from milepost_reporter.loop import DaemonLoop
from milepost_reporter.outbox import Item, Outbox
from milepost_reporter.settings import Settings
from milepost_reporter.window import Sent, Window

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from milepost_reporter.client import SecureClient

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

_BEATS_PER_LEASE: Final = 3

_RECORD: Final = "record"
"""What answers to records are addressed with, in place of a go."""

_NO_STREAM: Final = "no stream takes the events: has a hub ever run here?"


class Link:
    """One reporter's sender. Any thread may call `wake()` and `close()`, all else is the thread's own.

    `sample()` puts the progress of running nodes into the outbox and says whether there are any. `begun()` says
    whether this reporter has told that the job is running: from then on it beats, when it promises a lease.
    """

    def __init__(
        self,
        settings: Settings,
        reporter: str,
        outbox: Outbox,
        sample: Callable[[], bool],
        begun: Callable[[], bool] = lambda: False,
        *,
        owner: bool = False,
    ) -> None:
        self._settings = settings
        self._reporter = reporter
        self._job = settings.job
        self._outbox = outbox
        self._sample = sample
        self._begun = begun
        self._end_subject = subject.end(settings.tenant, settings.job, settings.run)
        self._progress_subject = subject.progress(settings.tenant, settings.job)
        self._state_subject = subject.state(settings.tenant, settings.job, reporter)
        self._alive_subject = subject.alive(settings.tenant, settings.job)
        self._id_prefix = f"{settings.tenant}-{settings.job}-{reporter}-"
        self.window = Window(settings.window_events, settings.window_bytes)
        self._acks = Acks(self.window)
        self._ledger = Ledger(settings.job, settings.run, owner=owner)
        self._inbox = ""
        self._beat_at = 0.0
        # Whether the run's end has arrived, and whether a beat has said so.
        self._ended = False
        self._told_ended = False
        self.connected = False
        self.connections = 0
        # Events that were not taken, for their size or by the stream.
        self.refused = 0
        self._loop: DaemonLoop | None = None
        self._news: asyncio.Event | None = None
        self._woken = False
        self._closing_since: float | None = None
        self._is_over = False
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

    async def _connect(self, client: "SecureClient") -> bool:
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

    async def _talk(self, client: "SecureClient") -> None:
        """Send over one connection until it is lost or there is nothing left to do."""
        await self._open_inbox(client)
        self._connection_made()
        barrier: asyncio.Task[None] | None = None
        try:
            while client.is_connected and not self._over():
                self._woken = False
                busy = self._sample() if self._acks.room else False
                await self._send(client)
                self._account()
                await self._tell(client)
                if (behind := self._acks.wants_pong) and (barrier is None or barrier.done()):
                    barrier = asyncio.ensure_future(self._barrier(client, behind))
                if self._closing_since is not None and self.idle:
                    break
                await self._rest(self._until_next(busy))
            if self.idle:
                await self._take_leave(client)
        finally:
            if barrier is not None:
                barrier.cancel()

    async def _open_inbox(self, client: "SecureClient") -> None:
        """One subscription for every answer of this connection, where there are answers."""
        self._acks.connected(jetstream=client.has_jetstream, clustered=client.is_clustered, moment=time.monotonic())
        if client.has_jetstream:
            self._inbox = client.new_inbox()
            await client.subscribe(
                f"{self._inbox}.*.*", cb=self._on_answer, pending_msgs_limit=0, pending_bytes_limit=0
            )

    async def _send(self, client: "SecureClient") -> None:
        """Send what may go, and take more out of the outbox as long as there is room."""
        acks = self._acks
        while client.is_connected:
            acks.tick(time.monotonic())
            while client.is_connected and (sent := acks.next(time.monotonic())) is not None:
                await self._publish(client, sent)
            room = min(acks.room, _BATCH)
            items = self._outbox.take(time.monotonic(), room, self.window.room_bytes) if room > 0 else []
            for item in items:
                self._number(item)
            if not items:
                return

    def _number(self, item: Item) -> None:
        self.window.add(self._end_subject if item.end else self._progress_subject, item.payload, end=item.end)

    async def _publish(self, client: "SecureClient", sent: Sent) -> None:
        """Hand one event to nats-py. It stays in the window whatever comes of that."""
        headers = {
            "Nats-Msg-Id": f"{self._id_prefix}{sent.number}",
            "Milepost-Reporter": self._reporter,
            "Milepost-Count": str(sent.number),
            "Milepost-Run": str(self._settings.run),
            **self._lease_header(),
        }
        if sent.end:
            headers["Nats-Expected-Last-Subject-Sequence"] = "0"
        if self._acks.is_first and self._ledger.unopened:
            await self._write(client, self._ledger.open(self._promised))
        address = self._acks.sending(sent, time.monotonic())
        if not await self._hand_over(client, sent.subject, sent.payload, headers, address):
            self._refuse(sent.number, "the server takes no messages of its size")
            self._acks.refuse(sent.number, time.monotonic())

    async def _hand_over(
        self, client: "SecureClient", to: str, payload: bytes, headers: dict[str, str], address: str
    ) -> bool:
        """Give one message to nats-py. False when it is more than the server takes."""
        from nats.errors import Error

        # The server counts the headers as well, and ends the connection of whoever exceeds it.
        size = len(payload) + sum(len(name) + len(value) + 4 for name, value in headers.items()) + 16
        if size > client.max_payload:
            return False
        reply = f"{self._inbox}.{address}" if self._acks.asks else ""
        try:
            await client.publish(to, payload, reply=reply, headers=headers)
        except (Error, OSError) as error:
            _logger.debug("not published: %s", error)
        return True

    def _refuse(self, number: int, words: str) -> None:
        self.refused += 1
        self._complain("refused", "event %d of job %s is left out: %s", number, self._settings.job, words)

    async def _on_answer(self, message: "Msg") -> None:
        """JetStream has answered to an event or a record."""
        *_, go, number = message.subject.rsplit(".", 2)
        answer = read_answer((message.headers or {}).get("Status"), message.data)
        if go == _RECORD:
            if answer.what is What.STORED:
                self._ledger.acknowledged(int(number))
        else:
            what = self._acks.answered(f"{go}.{number}", answer, time.monotonic())
            self._react(what, number, answer)
        self._stir()

    def _react(self, what: What, number: str, answer: Answer) -> None:
        """Say what people should know of an answer."""
        if what is What.REFUSED:
            self._refuse(int(number), answer.words)
        elif what is What.NOBODY:
            self.trouble = _NO_STREAM
            self._complain("nobody", "%s What job %s reports is kept and sent when there is one", _NO_STREAM, self._job)
        elif what is What.AGAIN:
            self.trouble = answer.words
            if answer.code != WRONG_LAST_SEQUENCE_NOW:
                self._complain("again", "the stream takes no events of job %s for now: %s", self._job, answer.words)
        elif what is What.ENDED_BY_OTHERS:
            _logger.warning(
                "run %d of job %s had been ended by somebody else before this end was told, so it does not count: "
                "declared lost after a lease without a beat, or ended by another process",
                self._settings.run,
                self._job,
            )

    def _account(self) -> None:
        """Count what has arrived."""
        for arrived in self._acks.take_arrived():
            self._ledger.take(arrived)
            self._ended = self._ended or arrived.sent.end

    async def _tell(self, client: "SecureClient") -> None:
        """Write the record and beat, when it is time."""
        moment = time.monotonic()
        await self._beat(client, moment)
        due = self._ledger.due(moment) if self._acks.asks and self._acks.ever else None
        if due is not None and due <= moment:
            await self._write(client, self._ledger.write(moment, self._promised))

    async def _write(self, client: "SecureClient", writing: Writing) -> None:
        headers = {**writing.summary, "Milepost-Run": str(self._settings.run), **self._lease_header()}
        address = f"{_RECORD}.{writing.number}"
        if not await self._hand_over(client, self._state_subject, writing.payload, headers, address):
            self._complain("record", "the server takes no state records of %d bytes", len(writing.payload))

    async def _beat(self, client: "SecureClient", moment: float) -> None:
        """Say that the job is alive, or for the last time that it has ended."""
        last = self._ended and not self._told_ended
        if not self._leased or (self._ended and not last) or (moment < self._beat_at and not last):
            return
        lease = self._settings.lease
        self._beat_at = moment + lease / _BEATS_PER_LEASE
        self._told_ended = self._ended
        told = {"run": self._settings.run, "lease": lease, **({"ended": True} if last else {})}
        from nats.errors import Error

        with contextlib.suppress(Error, OSError):
            await client.publish(self._alive_subject, json.dumps(told, separators=(",", ":")).encode())

    @property
    def _leased(self) -> bool:
        return self._settings.lease > 0 and self._begun()

    @property
    def _promised(self) -> float | None:
        return self._settings.lease if self._leased else None

    def _lease_header(self) -> dict[str, str]:
        return {"Milepost-Lease": f"{self._settings.lease:g}"} if self._leased else {}

    async def _take_leave(self, client: "SecureClient") -> None:
        """Write the last record, wait for its acknowledgement, and close in good order; all of it bounded."""
        end = time.monotonic() + min(_GRACE, max(self._until_over(), 0.0))
        while client.is_connected:
            self._account()
            self._ledger.hurry()
            await self._tell(client)
            left = end - time.monotonic()
            if left <= 0 or not self._acks.asks or not self._acks.ever or self._ledger.settled:
                break
            await self._rest(left)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.close(), _GRACE)

    async def _barrier(self, client: "SecureClient", number: int) -> None:
        """Hear of the PONG behind everything up to `number`."""
        while client.pending_data_size:
            if not client.is_connected:
                return
            await asyncio.sleep(_UNWRITTEN_LOOK)
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        await client._send_ping(pong)
        await asyncio.wait({pong})
        self._acks.ponged(number)
        self._stir()

    def _connection_made(self) -> None:
        self.connected = True
        self.connections += 1
        self.trouble = "it did not answer in time"
        # Whoever watches hears at once that the job is still there.
        self._beat_at = 0.0
        if self._told_away:
            self._told_away = False
            _logger.info("NATS is back: reporting progress of job %s again", self._settings.job)

    def _leave(self, client: "SecureClient") -> None:
        if self.connected:
            self.connected = False
            self._lost_at = time.monotonic()
            if not self._is_over:
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
        if self._closing_since is not None and (self.idle or self._until_over() <= 0):
            # For good: leaving a connection behind must not look like one that has just been lost.
            self._is_over = True
        return self._is_over

    def _until_over(self) -> float:
        """Seconds until `close()` may take no longer."""
        if self._closing_since is None:
            return _LOOK
        end = self._closing_since + self._close_timeout
        away = self._acks.nobody_since if self.connected else self._lost_at
        if away is not None:
            end = min(end, max(self._closing_since, away) + self._settings.unreachable_timeout)
        return end - time.monotonic()

    def _until_next(self, busy: bool) -> float:
        """Seconds until there may be something to do without anybody saying so."""
        moment = time.monotonic()
        wait = min(_LOOK, self._until_over())
        for due in (self._acks.next_tick(moment), self._next_told(moment)):
            if due is not None:
                wait = min(wait, due - moment)
        if not self._acks.room:
            return wait
        if busy:
            wait = min(wait, self._settings.interval)
        due = self._outbox.next_due(moment)
        return wait if due is None else min(wait, due - moment)

    def _next_told(self, moment: float) -> float | None:
        """When a record or a beat is due."""
        record = self._ledger.due(moment) if self._acks.asks and self._acks.ever else None
        beat = self._beat_at if self._leased and not self._ended else None
        return min((due for due in (record, beat) if due is not None), default=None)

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


async def _call_off(attempt: "asyncio.Future[None]") -> None:
    """Cancel until it is heard: an attempt that opens its connection in that very moment goes on all the same."""
    end = time.monotonic() + _GRACE
    while not attempt.done() and time.monotonic() < end:
        attempt.cancel()
        await asyncio.wait({attempt}, timeout=_GRACE / 5)
    if attempt.done() and not attempt.cancelled():
        attempt.exception()  # asyncio complains of one that nobody looks at


def _abort(client: "SecureClient") -> None:
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
