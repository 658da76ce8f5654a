"""Messages come out of the stream as the bytes they are, whatever their publisher wrote."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.jetstream.client import WireClient
from nats.aio.client import DEFAULT_BUFFER_SIZE
from nats.errors import Error, ProtocolError

from milepost.nats_server import NatsServer
from tests.bridge.bare_publisher import BarePublisher
from tests.waiting import eventually_async

Message = tuple[bytes, bytes, bytes | None]

HOSTILE: list[Message] = [
    (b"wire.\xff", b"a subject that is not UTF-8", None),
    (b"wire.a\x0bb\x0c", b"white space of Python's but not of NATS'", None),
    (b"wire.short", b"three bytes of header", b"abc"),
    (b"wire.bare", b"a header without its line's end", b"NATS/1.0"),
    (b"wire.status", b"a status line", b"NATS/1.0 503 \xff\r\n\r\n"),
    (b"wire.names", b"header names that are none", b"NATS/1.0\r\n\xff: x\r\n: y\r\nz\r\n\r\n"),
    (b"wire.protocol", b"MSG wire.forged 1 2\r\nhi\r\n-ERR 'no'\r\n", None),
    (b"wire.binary", bytes(range(256)), bytes(range(256))),
    (b"wire.empty", b"", None),
]


async def connected(
    server: NatsServer, messages: list[Message], replies: list[bytes | None] | None = None
) -> WireClient:
    def on_message(subject: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> None:
        messages.append((subject, payload, headers))
        if replies is not None:
            replies.append(reply)

    client = WireClient(on_message)
    await client.connect(server.url, allow_reconnect=False)
    await client.subscribe("wire.>")
    await eventually_async(lambda: not client.pending_data_size)
    await client.flush()
    return client


@pytest.mark.parametrize("message", HOSTILE, ids=lambda message: message[1][:30])
async def test_whatever_is_published_arrives_and_so_does_the_next(shared_nats: NatsServer, message: Message) -> None:
    """No bytes in a subject, a reply, a header or a payload end the reading."""
    messages: list[Message] = []
    replies: list[bytes | None] = []
    client = await connected(shared_nats, messages, replies)
    subject, payload, headers = message
    with BarePublisher(shared_nats.port) as publisher:
        assert publisher.publish(subject, payload, headers, reply=b"re\xffply\x0b")
        assert publisher.publish(b"wire.next", b"next")
    await eventually_async(lambda: len(messages) == 2)
    assert messages == [message, (b"wire.next", b"next", None)]
    assert replies == [b"re\xffply\x0b", None]
    assert client.is_connected
    await client.close()


async def test_a_large_message_arrives_whole(shared_nats: NatsServer) -> None:
    """One that comes in many pieces is put together."""
    messages: list[Message] = []
    client = await connected(shared_nats, messages)
    payload = bytes(range(256)) * 3_000
    with BarePublisher(shared_nats.port) as publisher:
        assert publisher.publish(b"wire.large", payload)
    await eventually_async(lambda: messages)
    assert messages == [(b"wire.large", payload, None)]
    await client.close()


async def test_a_server_without_tls_is_told_no_secret(shared_nats: NatsServer) -> None:
    """Who asks for TLS gets it, or no connection."""
    client = WireClient(lambda *_: None, tls=True)
    with pytest.raises(Error, match="no TLS"):
        await client.connect(shared_nats.url, allow_reconnect=False, token="secret")
    await client.close()


async def test_what_is_sent_arrives_as_it_was_meant(shared_nats: NatsServer) -> None:
    """With and without a reply, with and without headers, text beyond ASCII too."""
    messages: list[Message] = []
    replies: list[bytes | None] = []
    client = await connected(shared_nats, messages, replies)
    assert client.send("wire.bare", b"1", "", None)
    assert client.send("wire.reply", b"\x00\xff", "in.box", None)
    assert client.send("wire.fields", b"", "in.box", {"A": "b", "C": "wört"})
    await eventually_async(lambda: len(messages) == 3)
    assert messages == [
        (b"wire.bare", b"1", None),
        (b"wire.reply", b"\x00\xff", None),
        (b"wire.fields", b"", "NATS/1.0\r\nA: b\r\nC: wört\r\n\r\n".encode()),
    ]
    assert replies == [None, b"in.box", b"in.box"]
    await client.close()
    assert not client.send("wire.closed", b"", "", None)


@pytest.mark.parametrize(
    ("subject", "payload", "reply", "headers"),
    [
        ("", b"", "", None),
        ("a b", b"", "", None),
        ("a\r\nPUB b 0", b"", "", None),
        ("a", b"", "b c", None),
        ("a", b"", "", {"A": "b\r\nC: d"}),
        ("a", b"", "", {"A:": "b"}),
        ("a", b"", "", {"": "b"}),
        ("a", bytes(2**20 + 1), "", None),
    ],
)
async def test_what_would_say_something_else_is_not_sent(
    shared_nats: NatsServer, subject: str, payload: bytes, reply: str, headers: dict[str, str] | None
) -> None:
    """Nobody's text becomes a command or another header, and the connection is not risked for what is too large."""
    client = await connected(shared_nats, [])
    with pytest.raises(ValueError, match=r"not a|max_payload"):
        client.send(subject, payload, reply, headers)
    assert client.is_connected
    await client.close()


async def test_a_server_that_does_not_read_fills_no_memory(nats_server: NatsServer) -> None:
    """What waits to be written is bounded; beyond, it is not taken."""
    client = await connected(nats_server, [])
    nats_server.pause()
    taken = 0
    while client.send("wire.much", bytes(2**19), "", None):
        taken += 1
    assert 0 < taken < 20
    nats_server.resume()
    await client.close()


def test_a_connection_lost_while_something_waits_to_be_written_is_told_to_be_closed(shared_nats: NatsServer) -> None:
    """The hub's loop, uvloop, refuses to write to a lost connection; that is no reason to stay silent."""

    async def lose() -> None:
        closed = asyncio.Event()

        async def on_closed() -> None:
            closed.set()

        client = WireClient(lambda *_: None)
        await client.connect(shared_nats.url, allow_reconnect=False, closed_cb=on_closed)
        assert client._transport is not None
        assert client._flusher_task is not None
        client._flusher_task.cancel()  # its turn does not come before that of who reads
        assert client.send("wire.lost", b"never written", "", None)
        client._transport._io_writer.transport.abort()  # type: ignore[attr-defined] # as a reset does
        async with asyncio.timeout(5):
            await closed.wait()

    uvloop.run(lose())


names = st.binary(min_size=1, max_size=10).filter(lambda name: not set(name) & set(b" \t\r\n"))
messages = st.lists(
    st.tuples(names, st.binary(max_size=40), st.none() | st.binary(min_size=1, max_size=20), st.booleans()),
    max_size=6,
)


@given(messages, st.lists(st.integers(1, 30), max_size=60))
async def test_the_stream_may_be_cut_anywhere(
    sent: list[tuple[bytes, bytes, bytes | None, bool]], cuts: list[int]
) -> None:
    """However the bytes arrive, the same messages come out, in order, with their replies."""
    stream = b""
    for subject, payload, headers, reply in sent:
        words = b"%b 1%b" % (subject, b" reply" if reply else b"")
        if headers is None:
            stream += b"MSG %b %d\r\n%b\r\n" % (words, len(payload), payload)
        else:
            sizes = len(headers), len(headers) + len(payload)
            stream += b"HMSG %b %d %d\r\n%b%b\r\n" % (words, *sizes, headers, payload)
        stream += b"+OK\r\n"
    got: list[tuple[bytes, bytes, bytes | None, bytes | None]] = []
    parser = WireClient(lambda *message: got.append(message))._ps
    for cut in cuts:
        await parser.parse(stream[:cut])
        stream = stream[cut:]
    await parser.parse(stream)
    assert got == [(*message, b"reply" if reply else None) for *message, reply in sent]


@pytest.mark.parametrize("line", [b"MSG a", b"MSG a 1 x", b"HMSG a 1 9 3", b"HMSG a 1 -1 3", b"MSG a 1 -5", b"HELLO"])
async def test_what_is_not_nats_is_an_error(line: bytes) -> None:
    """nats-py ends the connection for it."""
    with pytest.raises(ProtocolError):
        await WireClient(lambda *_: None)._ps.parse(line + b"\r\n")


async def test_who_is_behind_does_not_rest() -> None:
    """After a full reading there is more already; a rest after each would bound what can come in at all."""
    rests: list[None] = []
    got: list[bytes] = []

    def caught_up() -> float:
        rests.append(None)
        return 0.0

    parser = WireClient(lambda subject, payload, headers, reply: got.append(payload), caught_up)._ps
    message = b"MSG wire 1 1000\r\n" + b"x" * 1000 + b"\r\n"
    stream = message * 320
    pieces = [stream[at : at + DEFAULT_BUFFER_SIZE] for at in range(0, len(stream), DEFAULT_BUFFER_SIZE)]
    for piece in pieces:
        await parser.parse(piece)
    assert len(got) == 320
    assert len(pieces) > 9
    assert len(rests) == 1
