"""JetStream by raw requests: one answer, a batched Direct Get, a scan, an acknowledged publish.

Nothing of nats-py's JetStream reads here: what a tenant stored can pass for a server's word to it. What is a message is
told by what a publisher cannot forge: in a Direct Get by the field `Nats-Sequence`, the last of which is the server's,
and in a scan by the reply that comes with each delivery.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

from milepost_reporter.jetstream import header
from milepost_reporter.jetstream.access import Access
from milepost_reporter.jetstream.client import OnMessage
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.jetstream.connection import Connection
from milepost_reporter.jetstream.errors import JetStreamError, NoJetStream, Refused, Unavailable

T = TypeVar("T")

_END_OF_BATCH: Final = 204
_NOT_FOUND: Final = 404
_TIMED_OUT: Final = 408
_CONFLICT: Final = 409
_UNAVAILABLE: Final = 503
_INSUFFICIENT_RESOURCES: Final = 10023
_NO_JETSTREAM: Final = (10039, 10076)
"""JetStream is not enabled: for the account, at all."""

_TICKS: Final = 4
"""An answer is overdue after so many parts of the timeout without a word: a program that was held up loses one of them,
and is not taken for a server that is silent."""

_SCAN_BATCH: Final = 5_000
_SCAN_BYTES: Final = 32 * 2**20
"""The most that one pull of a scan may bring: a server cuts off whoever is 64 MiB behind. It is kept by asking for
fewer messages, for with `max_bytes` nats-server 2.15.1 loses the message that would have been too much."""
_SCAN_IDLE: Final = 30 * 10**9
"""Nanoseconds after which the server itself deletes a scan's consumer."""

_DELIVERY: Final = b"$JS.ACK."
_DELIVERY_WORDS: Final = 7

_Take = Callable[[bytes, bytes, bytes | None, bytes | None], T | None]
"""Given an answer's subject, payload, headers and reply: what the answers amount to, None while more must come."""


class Stored(NamedTuple):
    """One stored message.

    `time`: when it was stored, in unix nanoseconds. `headers`: the block as it was published, and the server's fields.
    """

    subject: str
    seq: int
    time: int
    headers: bytes | None
    payload: bytes


class Batch(NamedTuple):
    """Stored messages, ascending. `pending`: how many more match behind the last one."""

    messages: list[Stored]
    pending: int


class Ack(NamedTuple):
    """Where a message was stored. `duplicate`: its id was known, and `seq` is that of the first."""

    stream: str
    seq: int
    duplicate: bool


class Api:
    """Asks JetStream, over a connection of its own. Belongs to one event loop.

    Every call raises Unavailable when there is no connection, when it is lost, and when nothing is heard for
    `request_timeout`: what was asked for may have been done or not.

    Args:
        servers: URLs of the servers, any of which will do.
        settings: credentials and patience.
        on_change: called when `up` has changed; must not raise.
        complaints: where it is told what goes wrong with the connection.
        hears: a subject that is listened to besides, over the same connection.
        on_heard: given every message on it, and on what `hear` asks for; must not raise.
        purpose: what the connection is for, in words for people who read logs.
    """

    def __init__(
        self,
        servers: list[str],
        settings: Access,
        on_change: Callable[[], None],
        complaints: Complaints,
        *,
        hears: str | None = None,
        on_heard: OnMessage | None = None,
        purpose: str = "the log",
    ) -> None:
        self._hears = hears
        self._on_heard = on_heard
        self._patience = settings.request_timeout
        self._on_change = on_change
        self._connection = Connection(servers, settings, self._on_message, self._changed, complaints, purpose=purpose)
        self._inbox = f"_INBOX.{secrets.token_hex(16)}"
        self._numbers = itertools.count(1)
        # by where their answers come: an inbox, or for what a consumer delivers, its name
        self._calls: dict[bytes, _Call[Any]] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._connection.want(f"{self._inbox}.*")
        if self._hears is not None:
            self._connection.want(self._hears)
        self._connection.start()

    async def close(self) -> None:
        """End the connection; whoever still waits for an answer gets Unavailable."""
        await self._connection.close()
        if self._alarm is not None:
            self._alarm.cancel()

    @property
    def up(self) -> bool:
        """Whether there is a connection that answers come back on."""
        return self._connection.up

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        return self._connection.connections

    @property
    def server_info(self) -> dict[str, Any]:
        """The connected server's INFO; {} while there is none."""
        return self._connection.server_info

    async def request(self, subject: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One question, one answer, both JSON objects.

        Raises:
            Refused: the answer is JetStream's `error`.
            NoJetStream: it says that there is no JetStream for this account.
            Unavailable: nobody answers this subject, or the answer is a 503.
        """
        return await self._ask(subject, b"" if body is None else json.dumps(body).encode(), _take_json)

    async def direct_get(self, stream: str, **request: Any) -> Batch:  # noqa: ANN401 - JSON
        """Stored messages by Direct Get: one, or with `batch` or `multi_last` many. Nothing found: an empty batch.

        Args:
            stream: its name.
            request: `seq`, `next_by_subj`, `last_by_subj`, `batch`, `max_bytes`, `multi_last`, `up_to_seq`, … as the
                server takes them. It may end a batch early; then `pending` is not 0.

        Raises:
            Refused: with its code: 408 for a request that makes no sense, 413 for too many subjects.
            Unavailable: no such stream just now, too.
        """
        many = "batch" in request or "multi_last" in request
        payload = json.dumps(request).encode()
        return await self._ask(f"$JS.API.DIRECT.GET.{stream}", payload, _Reading(many=many).take)

    async def last(self, stream: str, subject: str) -> Stored | None:
        """The last message stored under a subject, by Direct Get; None when there is none.

        What it asks for stands in the subject of the request, where an account's permissions can see it.

        Raises:
            Unavailable: no such stream just now, too.
        """
        batch = await self._ask(f"$JS.API.DIRECT.GET.{stream}.{subject}", b"", _Reading(many=False).take)
        return batch.messages[0] if batch.messages else None

    def hear(self, subject: str) -> asyncio.Future[None] | None:
        """Listen to one more subject over this connection; its messages go to `on_heard`. See `Connection.want`."""
        return self._connection.want(subject)

    def unhear(self, subject: str) -> None:
        """Undo `hear`."""
        self._connection.unwant(subject)

    def send(self, subject: str, payload: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> bool:
        """Hand a message to the connection and wait for nothing. See `Connection.publish`."""
        return self._connection.publish(subject, payload, reply, headers)

    async def ask(self, subject: str, payload: bytes, patience: float) -> bytes:
        """Put a question to a program that is no server, and return what it answers.

        Args:
            subject: where it listens.
            payload: the question.
            patience: seconds that its answer is waited for.

        Raises:
            Unavailable: `nobody` when nobody listens there, else no answer came, or there is no connection.
        """
        return await self._ask(subject, payload, _take_plain, patience=patience)

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> Ack:
        """Store a message; returns when a stream has it.

        Raises:
            Refused: such as `err_code` 10071, when an expected sequence is not the last one.
            Unavailable: no stream takes this subject, too.
            ValueError: it cannot be written as a message, or the server takes none that large.
        """
        answer = await self._ask(subject, payload, _take_json, headers=headers)
        try:
            return Ack(str(answer["stream"]), int(answer["seq"]), bool(answer.get("duplicate")))
        except (KeyError, TypeError, ValueError):
            raise Unavailable(f"{subject} was answered by something that is no stream") from None

    async def round_trip(self) -> None:
        """Return when all is handed over that the server had for us when it was asked."""
        await self._ask(None, b"", lambda *_: True)

    async def scan(self, stream: str, subject: str, *, headers_only: bool = True) -> AsyncGenerator[list[Stored], None]:
        """The last message of every subject that matches, as of some moment of the scan, in ascending order.

        A subject that is published to meanwhile may come twice, the later message later. With `headers_only` payloads
        are empty, and headers hold `Nats-Msg-Size`. The server forgets the scan when the next batch is not asked for
        within 30 s. Close the iterator (`contextlib.aclosing`) when leaving it early.
        """
        name = f"milepost-{secrets.token_hex(8)}"
        try:
            largest = await self._largest_message(stream)
            created = await self._create_consumer(stream, name, subject, headers_only)
            end = _ScanEnd(int(created["num_pending"]))
            while not end.reached:
                pulled = await self._pull(stream, name, max(1, min(_SCAN_BATCH, _SCAN_BYTES // largest)))
                if pulled.messages:
                    yield pulled.messages
                if end.needs_limit(pulled):
                    end.limit = await self._last_sequence(stream)
                end.advance(pulled)
        finally:
            # nobody waits for the answer: this may be a cancellation
            self.send(f"$JS.API.CONSUMER.DELETE.{stream}.{name}", b"", f"{self._inbox}.0")

    async def _create_consumer(self, stream: str, name: str, subject: str, headers_only: bool) -> dict[str, Any]:
        return await self.request(
            f"$JS.API.CONSUMER.CREATE.{stream}.{name}.{subject}",
            {
                "stream_name": stream,
                "config": {
                    "name": name,
                    "deliver_policy": "last_per_subject",
                    "ack_policy": "none",
                    "filter_subject": subject,
                    "mem_storage": True,
                    "num_replicas": 1,
                    "inactive_threshold": _SCAN_IDLE,
                    "headers_only": headers_only,
                },
            },
        )

    async def _pull(self, stream: str, name: str, count: int) -> _Pulled:
        request = json.dumps({"batch": count, "no_wait": True}).encode()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"
        return await self._ask(subject, request, _Pulling(count).take, consumer=name.encode())

    async def _largest_message(self, stream: str) -> int:
        """Bytes that no message in the stream exceeds, headers included."""
        info = await self.request(f"$JS.API.STREAM.INFO.{stream}")
        bound = int(info["config"].get("max_msg_size", -1))
        return bound if bound > 0 else int(self.server_info.get("max_payload", _SCAN_BYTES))

    async def _last_sequence(self, stream: str) -> int:
        info = await self.request(f"$JS.API.STREAM.INFO.{stream}")
        return int(info["state"]["last_seq"])

    async def _ask(
        self,
        subject: str | None,
        payload: bytes,
        take: _Take[T],
        *,
        headers: Mapping[str, str] | None = None,
        consumer: bytes | None = None,
        patience: float | None = None,
    ) -> T:
        """Ask, and give what is answered to `take` until it says what that amounts to. None: ask ourselves."""
        inbox = f"{self._inbox}.{next(self._numbers)}"
        subject = subject or inbox
        call = _Call(take, subject, self._patience if patience is None else patience)
        with self._listening(call, inbox.encode(), consumer):
            if not self.up or not self.send(subject, payload, inbox, headers):
                raise Unavailable("no connection to NATS")
            self._look_later(call)
            return await call.done

    def _look_later(self, call: _Call[Any]) -> None:
        """Have the alarm ring when the first of all calls is to be looked at: a timer each would cost more."""
        if self._alarm is None or self._alarm.when() > call.look_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = asyncio.get_running_loop().call_at(call.look_at, self._look)

    def _look(self) -> None:
        """See which calls have gone without an answer for too long."""
        self._alarm = None
        for call in set(self._calls.values()):
            call.look()
            self._look_later(call)

    @contextlib.contextmanager
    def _listening(self, call: _Call[Any], inbox: bytes, consumer: bytes | None) -> Iterator[None]:
        places = [inbox] if consumer is None else [inbox, consumer]
        self._calls.update(dict.fromkeys(places, call))
        try:
            yield
        finally:
            for place in places:
                del self._calls[place]
            call.leave()

    def _on_message(self, subject: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> None:
        place = subject
        if reply is not None and reply.startswith(_DELIVERY):
            place = _consumer(reply)
        if (call := self._calls.get(place)) is not None:
            call.answer(subject, payload, headers, reply)
        elif self._on_heard is not None:
            self._on_heard(subject, payload, headers, reply)

    def _changed(self) -> None:
        if not self.up:
            for call in self._calls.values():
                call.fail(Unavailable("the connection to NATS was lost"))
        self._on_change()


class _Call(Generic[T]):
    """One question that is being answered. `look_at`: when it is to be looked at whether it is, in the loop's time."""

    __slots__ = ("_answers", "_heard", "_patience", "_silent", "_subject", "_take", "done", "look_at")

    def __init__(self, take: _Take[T], subject: str, patience: float) -> None:
        self._take = take
        self._subject = subject
        self._patience = patience
        self._answers = 0
        self._heard = 0
        self._silent = 0
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[T] = loop.create_future()
        self.look_at = loop.time() + patience / _TICKS

    def look(self) -> None:
        """Give it up when nothing was heard for so many looks."""
        now = self.done.get_loop().time()
        if now < self.look_at:
            return
        self.look_at = now + self._patience / _TICKS
        self._silent = 0 if self._answers != self._heard else self._silent + 1
        self._heard = self._answers
        if self._silent == _TICKS:
            self.fail(Unavailable(f"no answer from {self._subject} within {self._patience:g} s"))

    def answer(self, subject: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> None:
        if self.done.done():
            return
        self._answers += 1
        try:
            result = self._take(subject, payload, headers, reply)
        except JetStreamError as error:
            self.fail(error)
        except (ValueError, KeyError, TypeError) as error:
            self.fail(Unavailable(f"an answer that makes no sense: {error!r:.200}"))
        else:
            if result is not None:
                self.done.set_result(result)

    def fail(self, error: JetStreamError) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def leave(self) -> None:
        """Nobody will ask for the result; asyncio complains about an exception that is never looked at."""
        if not self.done.cancel() and not self.done.cancelled():
            self.done.exception()


class _Reading:
    """The answers to a Direct Get."""

    def __init__(self, *, many: bool) -> None:
        self._many = many
        self._messages: list[Stored] = []

    def take(self, subject: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> Batch | None:
        sequence = header.number(headers, b"Nats-Sequence")
        if sequence is None:
            return self._end(headers)
        at = header.to_nanoseconds(header.field(headers, b"Nats-Time-Stamp") or b"")
        place = _text(header.field(headers, b"Nats-Subject") or b"")
        self._messages.append(Stored(place, sequence, at, headers, payload))
        return None if self._many else Batch(self._messages, 0)

    def _end(self, headers: bytes | None) -> Batch:
        status = header.status(headers)
        if status in (_END_OF_BATCH, _NOT_FOUND):
            return Batch(self._messages, header.number(headers, b"Nats-Num-Pending") or 0)
        raise _refusal(status, headers)


class _Pulled(NamedTuple):
    """What one pull brought. `pending`: how many more the consumer had behind the last of them; 0 when none came."""

    messages: list[Stored]
    pending: int


class _Pulling:
    """The answers to one pull of a consumer."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._messages: list[Stored] = []

    def take(self, subject: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> _Pulled | None:
        if reply is None:
            return self._end(headers)
        delivery = _delivery(reply)
        self._messages.append(Stored(_text(subject), delivery.sequence, delivery.time, headers, payload))
        ended = delivery.pending == 0 or len(self._messages) == self._count
        return _Pulled(self._messages, delivery.pending) if ended else None

    def _end(self, headers: bytes | None) -> _Pulled:
        status = header.status(headers)
        if status in (_NOT_FOUND, _TIMED_OUT):
            return _Pulled(self._messages, 0)
        if status == _CONFLICT:
            raise Unavailable(f"the scan was ended: {header.description(headers or b'')}")
        raise _refusal(status, headers)


class _ScanEnd:
    """When a scan has seen enough. One of subjects that are written to all the while would never end by itself.

    What was there at the start has come after so many messages, unless it was replaced meanwhile: then it comes at
    the latest with the stream's last message of that moment.
    """

    def __init__(self, matches: int) -> None:
        self._matches = matches
        self._seen = 0
        self.limit: int | None = None
        self.reached = matches == 0

    def needs_limit(self, pulled: _Pulled) -> bool:
        return self.limit is None and pulled.pending > 0 and self._seen + len(pulled.messages) >= self._matches

    def advance(self, pulled: _Pulled) -> None:
        self._seen += len(pulled.messages)
        past_limit = self.limit is not None and bool(pulled.messages) and pulled.messages[-1].seq >= self.limit
        self.reached = pulled.pending == 0 or past_limit


class _Delivery(NamedTuple):
    sequence: int
    time: int
    pending: int


def _delivery(reply: bytes) -> _Delivery:
    """What a consumer's delivery says of itself.

    Source: NATS' ADR-15. `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<its own>.<time>.<pending>`, with domain
    and account before the stream and more behind the rest, where there are domains.
    """
    words = _delivery_words(reply)
    return _Delivery(int(words[3]), int(words[5]), int(words[6]))


def _consumer(reply: bytes) -> bytes:
    """Whose delivery this is; b"" when it is none, for on a subject of tenants' the reply is theirs to write."""
    words = _delivery_words(reply)
    return words[1] if len(words) >= _DELIVERY_WORDS else b""


def _delivery_words(reply: bytes) -> list[bytes]:
    words = reply[len(_DELIVERY) :].split(b".")
    return words[2:] if len(words) > _DELIVERY_WORDS else words


def _take_plain(subject: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> bytes:
    # A program may write what status it likes, and passes for one that does not listen: that is its own affair.
    if (status := header.status(headers)) is not None:
        raise _refusal(status, headers)
    return payload


def _take_json(subject: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> dict[str, Any]:
    if (status := header.status(headers)) is not None:
        raise _refusal(status, headers)
    answer = json.loads(payload)
    if not isinstance(answer, dict):
        raise TypeError("not an object")
    if (error := answer.get("error")) is not None:
        raise _error(int(error.get("code", 0)), int(error.get("err_code", 0)), str(error.get("description", "")))
    return answer


def _error(code: int, err_code: int, description: str) -> JetStreamError:
    if err_code in _NO_JETSTREAM:
        return NoJetStream(description)
    if code == _UNAVAILABLE and err_code != _INSUFFICIENT_RESOURCES:
        return Unavailable(f"{description} ({err_code or code})", err_code=err_code)
    return Refused(code, err_code, description)


def _refusal(status: int | None, headers: bytes | None) -> JetStreamError:
    if status is None:
        return Unavailable("an answer that makes no sense: it is no message and has no status")
    if status == _UNAVAILABLE:
        return Unavailable("nobody answers: no such stream, or no JetStream, just now", nobody=True)
    return Refused(status, 0, header.description(headers or b"") or "refused")


def _text(subject: bytes) -> str:
    # not every subject that somebody published to is text; such a one is none of ours
    return subject.decode("utf-8", "replace")
