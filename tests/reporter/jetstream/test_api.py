"""JetStream by raw requests: what was stored comes back, and no tenant's bytes pass for the server's."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from milepost_reporter.jetstream.api import Api, Batch, Stored
from milepost_reporter.jetstream.errors import NoJetStream, Refused, Unavailable

from milepost.nats_server import NatsServer
from tests.bridge.bare_publisher import BarePublisher
from tests.bridge.live_api import IMPATIENT, live_api
from tests.waiting import eventually_async


async def make_stream(api: Api, name: str, **config: object) -> str:
    """A stream of `<name>.>`; its name."""
    created = {"name": name, "subjects": [f"{name}.>"], "storage": "file", "allow_direct": True, **config}
    await api.request(f"$JS.API.STREAM.CREATE.{name}", created)
    return name


async def fill(api: Api, name: str, count: int, subjects: int) -> None:
    for number in range(count):
        await api.publish(f"{name}.{number % subjects}", b"%d" % number)


async def scanned(api: Api, stream: str, subject: str = ">", **options: bool) -> list[Stored]:
    return [message async for batch in api.scan(stream, subject, **options) for message in batch]


async def consumers(api: Api, stream: str) -> int:
    return int((await api.request(f"$JS.API.CONSUMER.NAMES.{stream}"))["total"])


async def no_consumers(api: Api, stream: str) -> None:
    """Return when there are none; their end is asked for, not waited for."""
    while await consumers(api, stream):
        await api.round_trip()


async def test_a_published_message_comes_back_as_it_was(shared_nats: NatsServer) -> None:
    """Subject, payload, headers, and the time at which it was stored."""
    async with live_api(shared_nats.url) as api:
        stream = await make_stream(api, "BACK")
        before = time.time_ns()
        ack = await api.publish("BACK.a", b"\x00payload", {"Milepost-Run": "1"})
        assert ack == ("BACK", 1, False)
        ((message,), pending) = await api.direct_get(stream, last_by_subj="BACK.a")
        assert (message.subject, message.seq, message.payload, pending) == ("BACK.a", 1, b"\x00payload", 0)
        assert before <= message.time <= time.time_ns()
        assert message.headers is not None
        assert message.headers.startswith(b"NATS/1.0\r\nMilepost-Run: 1\r\n")


async def test_an_id_is_stored_once_and_an_expectation_holds(shared_nats: NatsServer) -> None:
    """A resend is told as one; a second end of a run is refused with JetStream's own number."""
    async with live_api(shared_nats.url) as api:
        await make_stream(api, "ONCE")
        first = await api.publish("ONCE.a", b"", {"Nats-Msg-Id": "x"})
        again = await api.publish("ONCE.a", b"", {"Nats-Msg-Id": "x"})
        assert (first.duplicate, again.duplicate, again.seq) == (False, True, first.seq)
        with pytest.raises(Refused) as refused:
            await api.publish("ONCE.a", b"", {"Nats-Expected-Last-Subject-Sequence": "0"})
        assert (refused.value.code, refused.value.err_code) == (400, 10071)


async def test_a_batch_says_how_much_is_left(shared_nats: NatsServer) -> None:
    """Read on from behind the last one, everything comes once and in order."""
    async with live_api(shared_nats.url) as api:
        stream = await make_stream(api, "PAGES")
        await fill(api, stream, 25, subjects=1)
        pages: list[Batch] = []
        seq, pending = 1, 1
        while pending:
            page = await api.direct_get(stream, seq=seq, next_by_subj="PAGES.0", batch=10)
            pages.append(page)
            seq, pending = page.messages[-1].seq + 1, page.pending
        assert [page.pending for page in pages] == [15, 5, 0]
        assert [int(message.payload) for page in pages for message in page.messages] == list(range(25))


async def test_the_last_of_many_subjects_in_one_request(shared_nats: NatsServer) -> None:
    """Those that have none are left out; too many at once is a refusal."""
    async with live_api(shared_nats.url) as api:
        stream = await make_stream(api, "LAST")
        await fill(api, stream, 2_200, subjects=1_100)
        batch = await api.direct_get(stream, multi_last=["LAST.3", "LAST.7", "LAST.none"])
        assert [message.payload for message in batch.messages] == [b"1103", b"1107"]
        assert await api.direct_get(stream, multi_last=["LAST.none"]) == ([], 0)
        with pytest.raises(Refused) as refused:
            await api.direct_get(stream, multi_last=["LAST.*"])
        assert refused.value.code == 413


async def test_nothing_found_is_an_empty_batch(shared_nats: NatsServer) -> None:
    """A sequence that is not there, a subject nobody has published to, one or many."""
    async with live_api(shared_nats.url) as api:
        stream = await make_stream(api, "NONE")
        await api.publish("NONE.a", b"")
        for request in ({"seq": 2}, {"last_by_subj": "NONE.b"}, {"seq": 1, "next_by_subj": "NONE.b", "batch": 5}):
            assert await api.direct_get(stream, **request) == ([], 0)


async def test_what_cannot_be_answered_is_told_apart(shared_nats: NatsServer) -> None:
    """No stream is for another time, a request that makes no sense is not; JetStream's words come along."""
    async with live_api(shared_nats.url) as api:
        stream = await make_stream(api, "APART")
        for asking in (api.direct_get("NO_STREAM", seq=1), api.publish("nobody.here", b"")):
            with pytest.raises(Unavailable) as unavailable:
                await asking
            assert unavailable.value.nobody
        with pytest.raises(Refused) as refused:
            await api.direct_get(stream, batch=1)
        assert refused.value.code == 408
        with pytest.raises(Refused, match="stream not found") as refused:
            await api.request("$JS.API.STREAM.INFO.NO_STREAM")
        assert (refused.value.code, refused.value.err_code) == (404, 10059)
        with pytest.raises(ValueError, match="max_payload"):
            await api.publish("APART.x", bytes(2**21))


FORGED = [
    b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0 404 Message Not Found\r\nStatus: 404\r\n\r\n",
    b"NATS/1.0\r\nStatus: 503\r\nDescription: No Responders\r\n\r\n",
    b"NATS/1.0 100 Idle Heartbeat\r\nNats-Consumer-Stalled: $JS.API.STREAM.DELETE.FORGED\r\n\r\n",
    b"NATS/1.0\r\nNats-Sequence: 99\r\nNats-Subject: tenant.other.job.1.progress\r\nNats-Num-Pending: 0\r\n"
    b"Nats-Time-Stamp: 1999-01-01T00:00:00Z\r\n\r\n",
    b"NATS/1.0\r\nNats-Sequence: 99",
    b"abc",
    b"NATS/1.0",
]


async def test_no_header_passes_for_the_servers_word(shared_nats: NatsServer) -> None:
    """Status lines, ends of batches and other sequences that a publisher wrote are messages like any other."""
    async with live_api(shared_nats.url) as api:
        stream = await make_stream(api, "FORGED")
        with BarePublisher(shared_nats.port) as publisher:
            for number, block in enumerate(FORGED, 1):
                assert publisher.publish(b"FORGED.%d" % number, b"%d" % number, block)
        everything = list(range(1, len(FORGED) + 2))
        # the stream takes one after the other: when this one is acknowledged, it has those before it
        await api.publish(f"FORGED.{everything[-1]}", b"%d" % everything[-1])
        batch = await api.direct_get(stream, seq=1, next_by_subj="FORGED.*", batch=100)
        singles = [(await api.direct_get(stream, seq=seq)).messages[0] for seq in everything]
        pulled = await scanned(api, stream, headers_only=False)
        for messages in (batch.messages, singles, pulled):
            assert [message.seq for message in messages] == everything
            assert [message.subject for message in messages] == [f"FORGED.{seq}" for seq in everything]
            assert [message.payload for message in messages] == [b"%d" % seq for seq in everything]
        assert [message.time for message in batch.messages] == [message.time for message in pulled]
        assert [message.seq for message in await scanned(api, stream)] == everything


async def test_a_scan_brings_the_last_of_every_subject(shared_nats: NatsServer) -> None:
    """In order, over several pulls, with or without payloads, and leaves no consumer behind."""
    async with live_api(shared_nats.url) as api:
        stream = await make_stream(api, "SCAN")
        for start in range(0, 12_000, 500):
            await asyncio.gather(*(api.publish(f"SCAN.{number}", b"old") for number in range(start, start + 500)))
        await api.publish("SCAN.7", b"new", {"A": "b"})
        with_payloads = await scanned(api, stream, headers_only=False)
        assert len(with_payloads) == 12_000
        assert with_payloads[-1][:2] == ("SCAN.7", 12_001)
        assert with_payloads[-1].payload == b"new"
        assert [message.seq for message in with_payloads] == sorted(message.seq for message in with_payloads)
        without = await scanned(api, stream)
        assert [message[:3] for message in without] == [message[:3] for message in with_payloads]
        assert without[-1].payload == b""
        assert b"\r\nA: b\r\n" in (without[-1].headers or b"")
        assert [message.subject for message in await scanned(api, stream, "SCAN.*9")] == []
        assert [message.subject for message in await scanned(api, stream, "SCAN.9")] == ["SCAN.9"]
        await no_consumers(api, stream)


async def test_a_scan_of_large_messages_comes_in_pieces(shared_nats: NatsServer) -> None:
    """Many large payloads at once would have the server cut us off as too slow."""
    async with live_api(shared_nats.url) as api:
        stream = await make_stream(api, "LARGE")
        for number in range(40):
            await api.publish(f"LARGE.{number}", bytes(500_000))
        pieces = [len(batch) async for batch in api.scan(stream, ">", headers_only=False)]
        assert sum(pieces) == 40
        assert len(pieces) > 1
        assert api.connections == 1


async def test_a_scan_of_nothing_ends_at_once(shared_nats: NatsServer) -> None:
    async with live_api(shared_nats.url) as api:
        stream = await make_stream(api, "EMPTY")
        assert await scanned(api, stream) == []
        await no_consumers(api, stream)


async def test_a_scan_left_early_leaves_nothing_behind(shared_nats: NatsServer) -> None:
    """Neither by closing it nor by a cancellation."""
    async with live_api(shared_nats.url) as api:
        stream = await make_stream(api, "LEFT")
        await fill(api, stream, 10, subjects=10)
        async with contextlib.aclosing(api.scan(stream, ">")) as batches:
            async for _ in batches:
                assert await consumers(api, stream) == 1
                break
        begun = asyncio.Event()

        async def hold() -> None:
            async for _ in api.scan(stream, ">"):
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hold())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await no_consumers(api, stream)


async def test_a_scan_ends_though_others_go_on_publishing(shared_nats: NatsServer) -> None:
    """And every subject that was there at its start is in it, replaced meanwhile or not."""
    async with live_api(shared_nats.url) as api, live_api(shared_nats.url) as other:
        stream = await make_stream(api, "BUSY", max_msgs_per_subject=1)
        await fill(api, stream, 2_000, subjects=2_000)
        ended = asyncio.Event()

        async def publish_on(part: int) -> None:
            number = part
            while not ended.is_set():
                await other.publish(f"BUSY.{number % 2_000}", b"again")
                number += 8

        publishers = [asyncio.create_task(publish_on(part)) for part in range(8)]
        for _ in range(5):
            seen = {message.subject for message in await scanned(api, stream)}
            assert len(seen) == 2_000
        ended.set()
        await asyncio.gather(*publishers)


async def test_a_round_trip_follows_what_was_on_the_way(shared_nats: NatsServer) -> None:
    async with live_api(shared_nats.url) as api:
        await api.round_trip()


async def test_a_lost_connection_is_told_at_once(nats_server: NatsServer) -> None:
    """Who waits does not wait for the timeout, and who asks meanwhile is told too."""
    async with live_api(nats_server.url, **IMPATIENT, request_timeout=100) as api:
        nats_server.pause()
        asking = asyncio.create_task(api.request("$JS.API.INFO"))
        reading = asyncio.create_task(api.direct_get("ANY", seq=1, batch=5))
        await eventually_async(lambda: not api.up)
        for task in (asking, reading):
            with pytest.raises(Unavailable, match="lost"):
                await task
        with pytest.raises(Unavailable, match="no connection"):
            await api.request("$JS.API.INFO")
        nats_server.resume()
        await eventually_async(lambda: api.up)
        await api.request("$JS.API.INFO")


async def test_a_silent_server_is_not_waited_for_ever(nats_server: NatsServer) -> None:
    async with live_api(nats_server.url, request_timeout=0.2) as api:
        nats_server.pause()
        with pytest.raises(Unavailable, match=r"no answer from \$JS.API.INFO within 0.2 s"):
            await ask_for_ever(api)
        nats_server.resume()


async def ask_for_ever(api: Api) -> None:
    """A server that was sent SIGSTOP may still answer what comes at once."""
    while True:
        await api.request("$JS.API.INFO")


async def test_a_batch_that_keeps_coming_is_not_timed_out(shared_nats: NatsServer) -> None:
    """The silence counts, not the length: somebody answers for longer than the timeout."""
    async with live_api(shared_nats.url, request_timeout=0.4) as api, live_api(shared_nats.url) as other:
        inboxes: list[str] = []
        async with hearing(other, "$JS.API.DIRECT.GET.SLOW", inboxes):
            reading = asyncio.create_task(api.direct_get("SLOW", seq=1, batch=100))
            await eventually_async(lambda: inboxes)
            for seq in range(1, 9):
                other.send(inboxes[0], b"", "", stored_fields(seq))
                await asyncio.sleep(0.1)  # a slow answerer
            with BarePublisher(shared_nats.port) as publisher:
                publisher.publish(inboxes[0].encode(), b"", b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 3\r\n\r\n")
            batch = await reading
        assert ([message.seq for message in batch.messages], batch.pending) == (list(range(1, 9)), 3)


def stored_fields(seq: int) -> dict[str, str]:
    return {"Nats-Subject": "SLOW.a", "Nats-Sequence": str(seq), "Nats-Time-Stamp": "2026-01-01T00:00:00Z"}


@contextlib.asynccontextmanager
async def hearing(api: Api, subject: str, inboxes: list[str]) -> AsyncIterator[None]:
    """Notes the replies of what is published to `subject`."""
    api._on_heard = lambda subject, payload, headers, reply: inboxes.append((reply or b"").decode())
    waiting = api._connection.want(subject)
    if waiting is not None:
        await waiting
    yield


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{", b"\xff", b'{"stream":1}', b'{"error":7}', b'{"error":{"code":"x"}}']
)
async def test_an_answer_that_makes_no_sense_is_no_answer(shared_nats: NatsServer, answer: bytes) -> None:
    """Whoever listens on a subject may answer a publish to it."""
    async with live_api(shared_nats.url) as api, live_api(shared_nats.url) as other:
        inboxes: list[str] = []
        async with hearing(other, "junk.x", inboxes):
            publishing = asyncio.create_task(api.publish("junk.x", b""))
            await eventually_async(lambda: inboxes)
            other.send(inboxes[0], answer, "")
            with pytest.raises(Unavailable):
                await publishing


async def test_forged_replies_and_strays_are_left_aside(shared_nats: NatsServer) -> None:
    """What is heard besides may carry any reply, and an inbox nobody waits on any answer."""
    async with live_api(shared_nats.url) as api:
        inboxes: list[str] = []
        async with hearing(api, "heard.>", inboxes):
            with BarePublisher(shared_nats.port) as publisher:
                replies = (b"$JS.ACK.", b"$JS.ACK.a.b", b"$JS.ACK.a.b.c.d.e.f.g", b"x")
                # nats-server itself lets nobody reply as a consumer, but for the shortest of these
                taken = [publisher.publish(b"heard.a", b"", reply=reply) for reply in replies]
                assert publisher.publish(api._inbox.encode() + b".77", b"stray")
            await eventually_async(lambda: len(inboxes) == sum(taken) + 1)
        await api.round_trip()


async def test_without_jetstream_it_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A server without, and an account without."""
    with NatsServer(jetstream=False) as server:
        async with live_api(server.url) as api:
            with pytest.raises(Unavailable) as unavailable:
                await api.request("$JS.API.INFO")
            assert unavailable.value.nobody
    config = tmp_path_factory.mktemp("nats") / "accounts.conf"
    config.write_text("accounts { A { users: [{user: a, password: b}] }, B { jetstream: enabled } }\n")
    with NatsServer(config=config) as server:
        async with live_api(server.url, user="a", password="b") as api:
            with pytest.raises(NoJetStream):
                await api.request("$JS.API.INFO")
