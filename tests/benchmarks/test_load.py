"""The load client accepts exactly what was published, and nothing else."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode

from benchmarks.bench import SERVERS
from benchmarks.child import ChildFailedError
from benchmarks.contestant import Contestant, running
from benchmarks.load import LoadClient, cycles, publisher
from benchmarks.native_build import find_compiler
from tests.benchmarks.server import JOB, Server, binary, message, payload, text

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler here")

EXTENDED = text(message(1, more=b',"cursor":"%s"' % (b"c" * 200)))
LONG = text(message(2, more=b',"cursor":"%s"' % (b"c" * 70_000)))


def nats_message(sequence: int) -> bytes:
    data = payload(sequence)
    return b"MSG tenant.bench.job.%d.progress 1 %d\r\n%s\r\n" % (JOB, len(data), data)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % len(data) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def test_first_message_names_the_job_of_the_connection() -> None:
    with Server() as server:
        assert server.subscription == b'{"action":"subscribe","jobId":7}'


def test_events_in_order_are_all_counted() -> None:
    with Server() as server:
        server.send(b"".join(text(message(number)) for number in range(1, 1001)))
        assert server.client.missing(1000, 5) == 0
        assert server.client.mark().delivered == 1000


def test_messages_of_all_frame_lengths_are_read() -> None:
    with Server() as server:
        server.send(EXTENDED + LONG)
        assert server.client.missing(2, 5) == 0


@settings(max_examples=20, deadline=None)
@given(places=st.lists(st.integers(min_value=0), max_size=12))
def test_where_the_stream_is_cut_makes_no_difference(places: list[int]) -> None:
    frames = EXTENDED + LONG + b"".join(text(message(number)) for number in (3, 4, 5))
    with Server() as server:
        server.send(*cut(frames, places))
        assert server.client.missing(5, 5) == 0


@settings(max_examples=20, deadline=None)
@given(places=st.lists(st.integers(min_value=0), max_size=6), cuts=st.lists(st.integers(min_value=0), max_size=6))
def test_nats_messages_may_share_frames_or_span_them(places: list[int], cuts: list[int]) -> None:
    operations = b"INFO {}\r\n" + b"".join(nats_message(number) for number in (1, 2, 3, 4)) + b"PING\r\n"
    frames = b"".join(binary(part) for part in cut(operations, places))
    with Server("nats") as server:
        server.send(*cut(frames, cuts))
        assert server.client.missing(4, 5) == 0
        assert server.read_frame() == b"PONG\r\n"


def test_a_fragmented_message_is_put_together() -> None:
    whole = message(1)
    with Server() as server:
        server.send(text(whole[:50], fin=False), text(whole[50:], opcode=Opcode.CONT), text(message(2)))
        assert server.client.missing(2, 5) == 0


def test_a_ping_is_answered_with_its_payload() -> None:
    with Server() as server:
        server.send(text(b"are you there", opcode=Opcode.PING))
        assert server.read_frame() == b"are you there"


def test_other_messages_of_the_hub_are_no_events() -> None:
    with Server() as server:
        server.send(text(b'{"type":"heartbeat","at":"2026-01-01T00:00:00Z"}'), text(message(1)))
        assert server.client.missing(1, 5) == 0


def test_what_never_arrives_is_counted_as_missing() -> None:
    with Server() as server:
        server.send(text(message(1)))
        assert server.client.missing(3, 0.2) == 2


WRONG = {
    "skipped": text(message(2)),
    "repeated": text(message(1)) * 2,
    "the job of another": text(message(1, job=JOB + 1)),
    "the payload of another": text(message(1).replace(b'"j":7', b'"j":8')),
    "altered": text(message(1).replace(b"DB Input", b"DB input")),
    "cut short": text(message(1)[:-10]),
    "something behind the payload": text(message(1)[:-1] + b"}}"),
}


@pytest.mark.parametrize("frames", WRONG.values(), ids=WRONG)
def test_a_wrong_event_fails_the_run(frames: bytes) -> None:
    with Server() as server:
        server.send(frames)
        with pytest.raises(ChildFailedError) as failure:
            server.client.missing(1, 5)
        assert failure.value.kind == "mismatch"


def test_more_events_than_published_fail_the_run() -> None:
    with Server() as server:
        server.send(text(message(1)) + text(message(2)))
        with pytest.raises(ChildFailedError) as failure:
            server.client.missing(1, 5)
        assert failure.value.kind == "mismatch"


BROKEN = {
    "an error message": (text(b'{"type":"error","code":"bad_token","message":"expired"}'), "refused"),
    "a close": (text(b"\x0f\xa2too slow", opcode=Opcode.CLOSE), "closed"),
    "a masked frame": (text(message(1), mask=True), "protocol"),
    "a compressed frame": (bytes([text(message(1))[0] | 0x40]) + text(message(1))[1:], "protocol"),
    "a frame of the other dialect": (binary(message(1)), "protocol"),
    "no message at all": (text(b"hello"), "protocol"),
}


@pytest.mark.parametrize(("frames", "kind"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_event_stream_fails_the_run(frames: bytes, kind: str) -> None:
    with Server() as server:
        server.send(frames)
        with pytest.raises(ChildFailedError) as failure:
            server.client.missing(1, 5)
        assert failure.value.kind == kind


def test_a_connection_that_goes_away_fails_the_run() -> None:
    with Server() as server:
        server.socket.shutdown(2)
        with pytest.raises(ChildFailedError) as failure:
            server.client.missing(1, 5)
        assert failure.value.kind == "closed"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refused"),
        (b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: wrong\r\n\r\n", "protocol"),
    ],
)
def test_a_bad_handshake_fails_the_run(answer: bytes, kind: str) -> None:
    with Server(handshake=answer) as server:
        with pytest.raises(ChildFailedError) as failure:
            server.client.wait_until_subscribed()
        assert failure.value.kind == kind


@pytest.mark.parametrize("contestant", SERVERS)
def test_what_is_published_reaches_every_client_of_its_job(contestant: Contestant) -> None:
    """20 clients on 3 jobs, through a real nats-server and a real peer: 100 events, each to its own job."""
    with running(contestant) as server, LoadClient(server, clients=20, jobs=3) as clients:
        clients.wait_until_subscribed()
        with publisher(server, jobs=3, rate=1000, total=100) as source:
            source.answer("started", 10)
            assert source.answer("published", 10)["published"] == 100
        assert clients.missing(100, 10) == 0
        assert clients.mark().delivered == 7 * 34 + 7 * 33 + 6 * 33


@pytest.mark.parametrize("contestant", SERVERS)
def test_connections_cycle_with_their_jwt_checked(contestant: Contestant) -> None:
    with running(contestant, jwt_checks=True) as server:
        assert cycles(server, at_once=4, seconds=0.2)["cycles"] > 4
