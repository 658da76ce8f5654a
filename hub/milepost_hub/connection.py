"""The WebSocket: one `asyncio.Protocol` a client, on websockets' sans-I/O layer.

uvicorn hands the connection over after it has read the upgrade request. From then on there is no task and no ASGI: what
comes in goes through the session, and what the fan-out owes goes to the transport as ready frames. The transport is
told to keep nothing it cannot send (`pause_writing` at the first byte left over), so that all waiting happens in the
outbox, where it is bounded, shared between clients and, if wished, conflated.

Nothing may leave `data_received` or a push as an exception: uvicorn would leak the connection, and a flush would end
in the middle.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import time
from collections import deque
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs

from websockets.datastructures import Headers
from websockets.frames import CloseCode as StandardCode
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import CLOSING, OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from milepost_hub import message
from milepost_hub.action import MessageId
from milepost_hub.channel import Batch, Channel
from milepost_hub.close import CloseCode
from milepost_hub.delivery import Delivery
from milepost_hub.errors import ActionError, BadCursor, KeysNotReady, TokenError
from milepost_hub.frame import text_frame
from milepost_hub.grant import Grant
from milepost_hub.liveness import Due, Liveness
from milepost_hub.outbox import Outbox
from milepost_hub.replay import Wish
from milepost_hub.session import Attach, Close, Detach, Effect, Enter, Reply, Session, Verify

if TYPE_CHECKING:
    from milepost_hub.hub import Hub

logger = logging.getLogger("milepost.hub")
_wire_logger = logging.getLogger("milepost.hub.wire")
_wire_logger.setLevel(logging.WARNING)

SUBPROTOCOL = Subprotocol("milepost")
_MAX_REASON_BYTES = 123
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


class _Wire(ServerProtocol):
    """The library's protocol, choosing our subprotocol when a client offers it and none when it does not."""

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None


class Connection(asyncio.Protocol):
    """One client. Made by uvicorn for every upgrade; the hub holds the subscriptions."""

    __slots__ = (
        "_drained",
        "_events",
        "_fragments",
        "_hub",
        "_paging",
        "_paging_bytes",
        "_pong",
        "_replays",
        "_sending",
        "_sending_bytes",
        "_uvicorn_connections",
        "_verifying",
        "_wake",
        "_wire",
        "channels",
        "liveness",
        "outbox",
        "owed",
        "session",
        "transport",
    )

    def __init__(self, hub: Hub, uvicorn_connections: set[object]) -> None:
        self._hub = hub
        self._uvicorn_connections = uvicorn_connections
        self._wire = _Wire(max_size=hub.settings.max_message_bytes, logger=_wire_logger)
        self._events: deque[Frame | Request] | None = None
        self._fragments: bytes | None = None
        self._verifying = False
        self._pong: bytes | None = None
        # Messages and bytes of the last write: what is left of it in the transport is told in proportion.
        self._sending = 0
        self._sending_bytes = 0
        self._wake = 0
        # Replays in progress; whether the last write was a piece of one, and what was left of it when last looked at.
        self._replays = 0
        self._paging = False
        self._paging_bytes = 0
        self._drained: asyncio.Future[None] | None = None
        self.session = Session(hub.settings, time.time())
        self.liveness = Liveness(hub.settings, time.monotonic())
        self.channels: dict[str, tuple[Channel, ...]] = {}
        self.owed: Batch | list[Batch] | None = None
        # Made when it is first needed: most clients read as fast as they are written to.
        self.outbox: Outbox | None = None

    # -- what asyncio calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport from uvicorn's HTTP protocol."""
        self.transport = cast(asyncio.Transport, transport)
        self._uvicorn_connections.add(self)
        self.transport.set_write_buffer_limits(high=0)
        sock = transport.get_extra_info("socket")
        unsent = self._hub.settings.unsent_bytes
        if sock is not None and unsent and sock.family != socket.AF_UNIX:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, unsent)
            except OSError:  # pragma: no cover - a system without it only buffers more
                logger.debug("this system has no TCP_NOTSENT_LOWAT")

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        try:
            self._wire.receive_data(data)
            self._handle(self._wire.events_received())
        except Exception:
            self._broken("reading")

    def eof_received(self) -> bool | None:
        """Close our side too: half a WebSocket is none."""
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._uvicorn_connections.discard(self)
        self._wake = -1
        self.session.close(CloseCode.GOING_AWAY)
        self._hub.left(self)
        self._tell_drained()
        self.owed = None
        if self.outbox is not None:
            self.outbox.clear()

    def pause_writing(self) -> None:
        """The kernel is full: from now on frames wait in the outbox."""
        self.liveness.stuck_since = time.monotonic()
        self._schedule()

    def resume_writing(self) -> None:
        """Everything has left: hand over what waits, a piece at a time."""
        if self._wire.state is not OPEN:
            self.liveness.stuck_since = time.monotonic()  # from here on, time for the client's closing frame
            return
        self.liveness.unstuck(time.monotonic())
        self._sending = 0
        self._paging = False
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self._write(Frame(Opcode.PONG, pong).serialize(mask=False))
        while self.outbox and self.liveness.stuck_since is None and not self.transport.is_closing():
            data, messages = self.outbox.take()
            self._sending, self._sending_bytes = messages, len(data)
            self._write(data)
        if self._writable:
            self._tell_drained()

    def shutdown(self) -> None:
        """uvicorn is going down: come back elsewhere, when it is this client's turn."""
        self._hub.drain(self)

    # -- what the hub calls -----------------------------------------------------------------------------------------

    def push(self, batch: Batch, now: float) -> None:
        """Deliver one batch. The hot path."""
        liveness = self.liveness
        try:
            if liveness.stuck_since is not None:
                self._hold(batch)
                return
            liveness.last_sent = now
            # Set before the write: it may pause us while it runs.
            self._sending = len(batch.frames)
            self._sending_bytes = len(batch.data)
            self.transport.write(batch.data)
        except Exception:
            self._broken("writing")

    def push_all(self, batches: list[Batch], now: float, joined: dict[tuple[int, ...], bytes]) -> None:
        """Deliver several batches with one write; clients with the same batches share the bytes."""
        if self.liveness.stuck_since is not None:
            for batch in batches:
                self.push(batch, now)
            return
        identity = tuple(map(id, batches))
        data = joined.get(identity)
        if data is None:
            data = joined[identity] = b"".join([batch.data for batch in batches])
        self.liveness.last_sent = now
        self._sending = sum(len(batch.frames) for batch in batches)
        self._sending_bytes = len(data)
        self._write(data)

    @property
    def grant(self) -> Grant | None:
        """What the client may do."""
        return self.session.grant

    @property
    def _writable(self) -> bool:
        return self.liveness.stuck_since is None and not self.outbox

    def give(self, batch: Batch) -> None:
        """Write a piece of a replay. It does not count as pressure."""
        if self._wire.state is not OPEN:
            return
        self.liveness.last_sent = time.monotonic()
        self._sending, self._sending_bytes = 0, len(batch.data)
        # Set before the write: it may pause us while it runs.
        self._paging, self._paging_bytes = True, len(batch.data)
        self._write(batch.data)
        if self.liveness.stuck_since is None:
            self._paging = False

    async def drained(self) -> None:
        """Wait until the client has taken all it was given."""
        while not self._writable:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            # Shielded: other replays of this client wait for the same.
            await asyncio.shield(self._drained)

    def _tell_drained(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def replaying(self, count: int) -> None:
        """So many more replays have begun, or ended."""
        self._replays += count
        self.liveness.patient = self._replays > 0
        if self.liveness.stuck_since is not None and not self._replays:
            self.liveness.stuck_since = time.monotonic()
            self._schedule()

    def tell(self, delivery: Delivery) -> None:
        """Send a message of the hub's own."""
        self.send(delivery.frame)

    def subscribed(self, topic: str, *, durable: bool, up: bool, id: MessageId) -> None:
        """Answer that a subscription is in effect."""
        self.send(text_frame(message.subscribed(topic, durable=durable, up=up, id=id)))

    def ended(self, topic: str, cursor: str | None) -> None:
        """A job has ended; the client may watch it for another run."""

    def send(self, frame: bytes) -> None:
        """Send one frame of the hub's own, behind everything that waits."""
        if self._wire.state is not OPEN:
            return
        if self.liveness.stuck_since is None:
            self.liveness.last_sent = time.monotonic()
            self._sending, self._sending_bytes = 1, len(frame)
            self._write(frame)
            return
        self._outbox().append(frame)
        self._check_bounds()

    def perform(self, effects: list[Effect]) -> None:
        """Carry out what the session decided."""
        for effect in effects:
            match effect:
                case Reply(data, error):
                    if error is not None:
                        self._hub.errors[error] = self._hub.errors.get(error, 0) + 1
                    self.send(text_frame(data))
                case Verify(token, id):
                    self._verify(token, id, told=True)
                case Enter(tenant):
                    self._enter(tenant)
                case Attach(topic, mode, id, after):
                    self._attach(Wish(topic, after, mode == "latest", id))
                case Detach(topic):
                    self._hub.unsubscribe(self, topic)
                case Close(code):
                    self._close(code)
        self._schedule()

    def _enter(self, tenant: str) -> None:
        if (why := self._hub.enter(self, tenant)) is not None:
            # Its grant is taken back, so that leaving does not count it out.
            self.session.grant = None
            self.perform(self.session.crowded(why))

    def _attach(self, wish: Wish) -> None:
        try:
            self._hub.subscribe(self, wish)
        except BadCursor as bad:
            refused = ActionError("bad_cursor", str(bad), wish.id, wish.topic)
            self.perform(self.session.not_attached(refused, wish.topic, watching=wish.topic in self.channels))

    def woken(self, slot: int) -> None:
        """A slot of the wheel has come up: see what time has brought, if it is the newest one asked for."""
        if slot != self._wake:
            return
        self._wake = 0
        try:
            self._time_passed(time.monotonic())
        except Exception:
            self._broken("keeping time")
        self._schedule()

    def close(self, code: CloseCode) -> None:
        """End the connection, telling the client why."""
        self.perform(self.session.close(code))

    @property
    def held(self) -> tuple[int, int]:
        """Messages and bytes that wait for this client, the transport's buffer included."""
        waiting = 0 if self._paging else self.transport.get_write_buffer_size()
        outbox = self.outbox
        messages = 0
        if waiting:
            # A closing frame or a pong may wait behind the last write; they are no messages.
            messages = min(self._sending, math.ceil(self._sending * waiting / max(1, self._sending_bytes)))
        return (messages, waiting) if outbox is None else (messages + outbox.messages, waiting + outbox.size)

    # -- handshake --------------------------------------------------------------------------------------------------

    def _handshake(self, request: Request) -> None:
        wire, hub = self._wire, self._hub
        headers = request.headers
        path, _, query = request.path.partition("?")
        if path != hub.ws_path:
            response = wire.reject(HTTPStatus.NOT_FOUND, f"There is no WebSocket here; it is at {hub.ws_path}\n")
        elif not hub.origins.allows(_one(headers, "Origin"), self._addressed_as(headers)):
            hub.errors["foreign_origin"] = hub.errors.get("foreign_origin", 0) + 1
            response = wire.reject(
                HTTPStatus.FORBIDDEN,
                "Pages of this origin may not connect; --allow-origin names those that may\n",
            )
        else:
            response = wire.accept(request)
        token = parse_qs(query).get("token", [""])[-1] or _bearer(_one(headers, "Authorization"))
        # The library's parser holds on to the request; a token has no business there, and memory is short.
        request.path = path
        headers.clear()
        wire.send_response(response)
        self._flush_wire()
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self.transport.close()
            return
        if (why := hub.join(self)) is not None:
            self.perform(self.session.crowded(why))
        elif token:
            self._verify(token, None, told=False)

    def _addressed_as(self, headers: Headers) -> str | None:
        """The host that the page asked for; proxies may put their own name for the hub into `Host`."""
        peer = self.transport.get_extra_info("peername")
        forwarded = _one(headers, "X-Forwarded-Host")
        if forwarded and peer and peer[0] in self._hub.proxies:
            return forwarded.partition(",")[0].strip()
        return _one(headers, "Host")

    def _verify(self, token: str, id: str | int | None, *, told: bool) -> None:
        try:
            grant = self._hub.verifier.verify(token)
        except KeysNotReady:
            self._verifying = True
            self.session.verifying()
            self.transport.pause_reading()
            self._hub.spawn(self._verify_later(token, id, told=told))
        except TokenError as error:
            self.perform(self.session.refused(error, id))
        else:
            self.perform(self.session.verified(grant, id, told=told, now=time.time()))

    async def _verify_later(self, token: str, id: str | int | None, *, told: bool) -> None:
        await self._hub.verifier.refresh()
        if self.transport.is_closing():
            return
        try:
            try:
                grant = self._hub.verifier.verify(token)
            except TokenError as error:
                self.perform(self.session.refused(error, id))
            else:
                self.perform(self.session.verified(grant, id, told=told, now=time.time()))
            self._verifying = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
            waiting, self._events = self._events, None
            self._handle(list(waiting or ()))
        except Exception:
            self._broken("reading")

    # -- reading ----------------------------------------------------------------------------------------------------

    def _handle(self, events: Sequence[object]) -> None:
        for index, event in enumerate(events):
            if self._verifying:
                rest = cast("Sequence[Frame | Request]", events[index:])
                self._events = deque([*(self._events or ()), *rest])
                break
            if isinstance(event, Request):
                self._handshake(event)
            elif isinstance(event, Frame):
                self._frame(event)
        self._flush_wire()
        self._schedule()

    def _frame(self, frame: Frame) -> None:
        settings, opcode = self._hub.settings, frame.opcode
        if opcode is Opcode.CLOSE:
            self.session.close(CloseCode.GOING_AWAY)
            return
        if opcode is Opcode.PONG:
            self.liveness.last_pong = time.monotonic()
            return
        if refused := self.session.spend(settings, time.time()):
            self.perform(refused)
        elif opcode is Opcode.BINARY:
            self.perform(self.session.binary(settings))
        elif opcode is Opcode.TEXT and frame.fin:
            self._text(bytes(frame.data))
        elif opcode is Opcode.TEXT or (opcode is Opcode.CONT and self._fragments is not None):
            self._fragment(frame)

    def _fragment(self, frame: Frame) -> None:
        # Joined as they come: a list of empty ones would grow without ever reaching the size limit.
        whole = (self._fragments or b"") + bytes(frame.data)
        self._fragments = None if frame.fin else whole
        if frame.fin:
            self._text(whole)

    def _text(self, data: bytes) -> None:
        try:
            data.decode()
        except UnicodeDecodeError as error:
            # The library leaves this to whoever decodes the text (RFC 6455, section 8.1).
            self._wire.fail(StandardCode.INVALID_DATA, f"{error.reason} at position {error.start}")
            self._flush_wire()
            return
        self._hub.received += 1
        self.perform(self.session.received(self._hub.settings, data, time.time()))

    # -- writing ----------------------------------------------------------------------------------------------------

    def _hold(self, batch: Batch) -> None:
        if self._wire.state is not OPEN:
            return
        outbox = self._outbox()
        if batch.channel.subscribers.get(self):
            outbox.conflate(batch)
        else:
            outbox.append(batch.data, len(batch.frames))
        self._check_bounds()

    def _outbox(self) -> Outbox:
        if self.outbox is None:
            self.outbox = Outbox()
        return self.outbox

    def _check_bounds(self) -> None:
        messages, size = self.held
        if messages > self._hub.settings.queue_messages or size > self._hub.settings.queue_bytes:
            self.close(CloseCode.TOO_SLOW)

    def _write(self, data: bytes) -> None:
        try:
            self.transport.write(data)
        except Exception:
            self._broken("writing")

    def _flush_wire(self) -> None:
        """Write what the library wants written: the handshake's response, pongs and closing frames."""
        for data in self._wire.data_to_send():
            if not data:
                self._end()
            elif self.liveness.stuck_since is not None and _is_pong(data):
                # Only the last ping needs an answer (RFC 6455, section 5.5.3): no reader, no pile of pongs.
                self._pong = data[2:]
            else:
                self._write(data)

    def _end(self) -> None:
        """Both sides have said that they close, or the client broke the standard."""
        self.session.close(CloseCode.GOING_AWAY)
        if self._wire.state is CLOSING and self._wire.close_rcvd is None and self.transport.can_write_eof():
            # It may still be writing: with its bytes left unread, closing would reset the connection, and the frame
            # that tells it why might never be seen.
            with contextlib.suppress(OSError):  # it is gone, and `connection_lost` will tell
                self.transport.write_eof()
        else:
            self.transport.close()
        if self.liveness.stuck_since is None:
            self.liveness.stuck_since = time.monotonic()

    def _close(self, code: CloseCode) -> None:
        hub = self._hub
        hub.closes[code] = hub.closes.get(code, 0) + 1
        if self.outbox is not None:
            self.outbox.clear()
        self._pong = None
        hub.leave_channels(self)
        if self._wire.state is not OPEN:
            return
        self._wire.send_close(code, code.reason)
        self._flush_wire()
        # Whoever does not answer the closing frame in time is cut off by the same clock as a stuck write; it starts
        # again, because a client may have been stuck for most of its time when it overflows.
        self.liveness.stuck_since = time.monotonic()

    def _broken(self, doing: str) -> None:
        logger.exception("a client's connection failed while %s", doing)
        self._hub.errors["internal"] = self._hub.errors.get("internal", 0) + 1
        self.session.close(CloseCode.GOING_AWAY)
        self.transport.abort()

    # -- time -------------------------------------------------------------------------------------------------------

    def _time_passed(self, now: float) -> None:
        settings = self._hub.settings
        for due in self.liveness.check(settings, now):
            match due:
                case Due.PING:
                    self._wire.send_ping(b"")
                    self._flush_wire()
                case Due.HEARTBEAT:
                    self.send(text_frame(message.heartbeat(time.time())))
                case Due.STUCK | Due.DEAD:
                    self._give_up(due)
                    return
        self.perform(self.session.passed(settings, time.time()))

    def _give_up(self, due: Due) -> None:
        if due is Due.STUCK and self.liveness.patient and self._wire.state is OPEN:
            left = self.transport.get_write_buffer_size()
            if self._paging and left < self._paging_bytes:
                # It reads, slowly: that is what a replay waits for.
                self._paging_bytes = left
                self.liveness.stuck_since = time.monotonic()
                return
            due = Due.DEAD
        if self._wire.state is OPEN and due is Due.STUCK:
            # It has not read for the whole write wait: say why, in case it does after all, and wait once more.
            self.close(CloseCode.TOO_SLOW)
            return
        if due is Due.DEAD:
            self._hub.closes["dead"] = self._hub.closes.get("dead", 0) + 1
        self.session.close(CloseCode.GOING_AWAY)
        self.transport.abort()
        self._wake = -1  # nothing is due any more, though it takes the event loop a turn to say that it is lost

    def _schedule(self) -> None:
        settings = self._hub.settings
        when = self.liveness.next_check(settings)
        if self.liveness.stuck_since is None:
            when = min(when, time.monotonic() + self.session.next_check(settings) - time.time())
        self._wake = self._hub.wake(self, when, self._wake)


def _bearer(header: str | None) -> str:
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _one(headers: Headers, name: str) -> str | None:
    """The header's value, several joined as HTTP has it: which is no origin, no host and no token."""
    values = headers.get_all(name)
    return ", ".join(values) if values else None


def _is_pong(data: bytes) -> bool:
    return data[0] & 0x0F == Opcode.PONG
