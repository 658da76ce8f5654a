"""One SSE client: messages as `text/event-stream`, in a bounded queue.

What a flush brings is made into server-sent events once for all streams of a job. The server's one task for each
request carries the queue to the client: over the hub's own server, to a transport that is told to keep nothing, as the
WebSocket's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from milepost_hub import message
from milepost_hub.action import MessageId
from milepost_hub.carrier import Carrier
from milepost_hub.channel import Batch, Channel
from milepost_hub.close import CloseCode
from milepost_hub.delivery import Delivery, server_sent
from milepost_hub.frame import text_frame
from milepost_hub.grant import Grant

if TYPE_CHECKING:
    from milepost_hub.settings import HubSettings

logger = logging.getLogger("milepost.hub")

RETRY = 2_000
"""Milliseconds after which a client whose stream has ended comes back."""

_WRITE_SIZE = 64 * 1024
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Host(Protocol):
    """What a stream asks of its hub."""

    settings: HubSettings
    closes: dict[int | str, int]
    errors: dict[str, int]

    def wake(self, client: Stream, when: float, current: int) -> int:
        """Call `client.woken` soon after `when`; `current` is the slot it waits for already."""
        ...

    def drain(self, client: Stream) -> None:
        """Close it when its turn comes."""
        ...

    def left(self, client: Stream) -> None:
        """Forget a client and all it watched."""
        ...


class Stream:
    """One client. It is given events as a WebSocket is; `carry` brings them to its transport until it ends."""

    __slots__ = (
        "_carrier",
        "_changed",
        "_ended",
        "_held",
        "_held_bytes",
        "_host",
        "_idle",
        "_last_sent",
        "_left",
        "_queue",
        "_replays",
        "_wake",
        "_writing_since",
        "channels",
        "grant",
        "owed",
    )

    def __init__(self, host: Host, grant: Grant, carrier: Carrier) -> None:
        self.grant: Grant | None = grant
        self.channels: dict[str, tuple[Channel, ...]] = {}
        self.owed: Batch | list[Batch] | None = None
        self._host = host
        self._carrier = carrier
        # Each with the events that count as pressure: a piece of a replay has none.
        self._queue: deque[tuple[bytes, int]] = deque([(b"retry: %d\n\n" % RETRY, 0)])
        # What counts, the write in progress included.
        self._held = 0
        self._held_bytes = 0
        self._replays = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._last_sent = time.monotonic()
        self._writing_since: float | None = None
        self._left = 0
        self._wake = 0

    # -- what the hub calls -----------------------------------------------------------------------------------------

    def push(self, batch: Batch, now: float) -> None:
        """Deliver one batch, up to a job's final end. Whatever goes wrong ends this stream, and not the flush."""
        try:
            data, events, end = batch.server_sent
            self._hold(data, events)
            if end is not None:
                self.ended(batch.channel.topic[1], end.cursor)
        except Exception:
            self._broken("writing")

    def push_all(self, batches: list[Batch], now: float, joined: dict[tuple[int, ...], bytes]) -> None:
        """Deliver several."""
        for batch in batches:
            self.push(batch, now)

    def give(self, batch: Batch) -> None:
        """Take a piece of a replay."""
        data, _, end = batch.server_sent
        self._put(data)
        if end is not None:
            self.ended(batch.channel.topic[1], end.cursor)

    async def drained(self) -> None:
        """Wait until the client has taken all it was given."""
        while self._queue or self._writing_since is not None:
            self._idle.clear()
            await self._idle.wait()

    def replaying(self, count: int) -> None:
        """So many more replays have begun, or ended."""
        self._replays += count

    def tell(self, delivery: Delivery) -> None:
        """Send a message of the hub's own."""
        self._hold(server_sent(delivery), 1)

    def subscribed(self, topic: str, *, durable: bool, up: bool, id: MessageId) -> None:
        """A stream has no answer but its events: that none arrive just now is one."""
        if not up:
            self.tell(Delivery(text_frame(message.upstream(up)), kind="upstream"))

    def ended(self, topic: str, cursor: str | None) -> None:
        """What was given last was the job's final end: say so, and end the stream."""
        if not self._ended:
            self._put(server_sent(Delivery(text_frame(message.done(topic)), kind="done", cursor=cursor)))
            self._end()

    def close(self, code: CloseCode) -> None:
        """End the stream; the client comes back with the last cursor it has read."""
        if self._ended:
            return
        self._host.closes[code] = self._host.closes.get(code, 0) + 1
        self._end()
        if self._writing_since is not None:
            # What it does not read would be in the way of the stream's end.
            self._abort()

    def leave(self) -> None:
        """The server is going down."""
        self._host.drain(self)

    def lost(self) -> None:
        """The client has gone."""
        self._queue.clear()
        self._end()

    def woken(self, slot: int) -> None:
        """A slot of the wheel has come up: heartbeat, a token's end, a client that does not read."""
        if slot != self._wake:
            return
        self._wake = 0
        try:
            self._time_passed()
        except Exception:
            self._broken("keeping time")

    def _time_passed(self) -> None:
        settings, now = self._host.settings, time.monotonic()
        if self._writing_since is not None:
            self._look_after(settings, now, self._writing_since)
        if self._ended and self._writing_since is None:
            return
        if self.grant is not None and time.time() >= self.grant.expires_at:
            self.close(CloseCode.TOKEN_EXPIRED)
        elif self._writing_since is None and now >= self._last_sent + settings.heartbeat_interval:
            self.tell(Delivery(text_frame(message.heartbeat(time.time())), kind="heartbeat"))
        self._schedule()

    # -- carrying ---------------------------------------------------------------------------------------------------

    async def carry(self, send: Send) -> None:
        """Bring what is held to the client, a piece at a time, until the stream has ended."""
        self._carrier.begin_stream(self, self._host.settings.unsent_bytes)
        self._schedule()
        while self._queue or not self._ended:
            if self._queue:
                await self._write(send)
            else:
                self._idle.set()
                self._changed.clear()
                await self._changed.wait()

    @property
    def aborted(self) -> bool:
        """Whether the client was given up, or has gone."""
        return self._carrier.aborted

    def over(self) -> None:
        """The response has ended, however it did."""
        self._ended = True
        self._idle.set()
        self._carrier.end_stream()
        self._host.left(self)

    async def _write(self, send: Send) -> None:
        data, events, counted = self._take()
        self._last_sent = self._writing_since = time.monotonic()
        self._left = len(data)
        try:
            await self._carrier.carry(send, data)
        finally:
            self._writing_since = None
            self._held -= events
            self._held_bytes -= counted

    def _take(self) -> tuple[bytes, int, int]:
        """About 64 KiB from the front; the events in it that count, and their bytes."""
        taken: list[bytes] = []
        size = events = counted = 0
        while self._queue and (not taken or size + len(self._queue[0][0]) <= _WRITE_SIZE):
            data, count = self._queue.popleft()
            taken.append(data)
            size += len(data)
            events += count
            counted += len(data) if count else 0
        return (taken[0] if len(taken) == 1 else b"".join(taken)), events, counted

    def _hold(self, data: bytes, events: int) -> None:
        if self._ended:
            return
        self._held += events
        self._held_bytes += len(data)
        self._put(data, events)
        settings = self._host.settings
        if self._writing_since is not None and (
            self._held > settings.queue_messages or self._held_bytes > settings.queue_bytes
        ):
            self.close(CloseCode.TOO_SLOW)

    def _put(self, data: bytes, events: int = 0) -> None:
        if not self._ended:
            self._queue.append((data, events))
            self._changed.set()

    def _end(self) -> None:
        self._ended = True
        self._changed.set()

    def _broken(self, doing: str) -> None:
        logger.exception("a client's stream failed while %s", doing)
        self._host.errors["internal"] = self._host.errors.get("internal", 0) + 1
        self._end()
        self._abort()

    def _abort(self) -> None:
        self._queue.clear()
        self._carrier.abort()

    def _look_after(self, settings: HubSettings, now: float, since: float) -> None:
        """See to a client that does not read: one that takes a replay slowly is given time as long as it takes any."""
        left = self._carrier.unsent
        if self._replays and left < self._left:
            self._left, self._writing_since = left, now
        elif now >= since + (settings.pong_timeout if self._replays else settings.write_wait):
            how = "dead" if self._replays else CloseCode.TOO_SLOW
            if not self._ended:
                self._host.closes[how] = self._host.closes.get(how, 0) + 1
            self._end()
            self._abort()

    def _schedule(self) -> None:
        settings, now = self._host.settings, time.monotonic()
        when = now + settings.heartbeat_interval
        if self._writing_since is None:
            when = self._last_sent + settings.heartbeat_interval
        when = min(when, now + settings.write_wait)
        if self.grant is not None:
            when = min(when, now + self.grant.expires_at - time.time())
        self._wake = self._host.wake(self, when, self._wake)


class StreamResponse(Response):
    """The HTTP response that a stream is."""

    media_type = "text/event-stream"

    def __init__(self, stream: Stream) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, until the stream has ended."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._stream.carry(send)
        finally:
            self._stream.over()
        if not self._stream.aborted:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
