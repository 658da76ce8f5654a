"""The job log on a real nats-server: what is stored is delivered once and in order, whatever the live path does."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milepost_bridge.cursor import Cursor
from milepost_bridge.log import Log
from milepost_bridge.streams import LOG, STATE
from milepost_hub.errors import BadCursor, CursorGone, LogUnavailable
from milepost_hub.upstream import Interest
from milepost_reporter.event import parse_event
from milepost_reporter.jetstream.api import Stored
from milepost_reporter.state import JobState
from nats.aio.subscription import Subscription

from milepost.nats_server import NatsServer
from tests.bridge.recording_sink import RecordingSink
from tests.bridge.stored_job import Publisher, a_tenant, bridged, client_of, delivered, log_of, stored_some_time, watch
from tests.waiting import eventually_async


async def test_a_followed_job_is_delivered_from_the_log(shared_nats: NatsServer) -> None:
    """Every event behind the position it was followed from, once, in order, with cursor and stored time."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink) as bridge, client_of(shared_nats) as client:
        job = Publisher(client, tenant, "1")
        for _ in range(3):
            await job.progress()
        await watch(bridge, tenant)
        assert await log_of(bridge).follow(tenant, "1") == job.seqs[2]
        for _ in range(5):
            await job.progress()
        await job.put("end.1", kind="job", status="completed")
        await eventually_async(lambda: len(sink.events) >= 6)
    assert delivered(sink, tenant) == job.payloads[3:]
    events = [event for _, _, event in sink.events]
    assert [event.position for event in events] == job.seqs[3:]
    assert [event.end for event in events] == [None] * 5 + ["completed"]
    assert events[-1].final
    assert all(event.cursor and event.cursor.startswith(f"{event.position}-") for event in events)
    stored = datetime.fromisoformat(str(events[0].at))
    assert abs((datetime.now(UTC) - stored).total_seconds()) < 60


async def test_pages_go_on_where_a_cursor_stands(shared_nats: NatsServer) -> None:
    """From the beginning, from any event on, and nothing at the end; the same events that are delivered live."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink) as bridge, client_of(shared_nats) as client:
        job, log = Publisher(client, tenant, "1"), log_of(bridge)
        await watch(bridge, tenant)
        await log.follow(tenant, "1")
        for _ in range(12):
            await job.progress()
        await eventually_async(lambda: len(sink.events) >= 12)
        live = [event for _, _, event in sink.events]
        assert await log.read(tenant, "1", None, 100) == live
        for index in (0, 5, 10):
            assert await log.read(tenant, "1", live[index].cursor, 100) == live[index + 1 :]
        assert await log.read(tenant, "1", live[3].cursor, 2) == live[4:6]
        assert await log.read(tenant, "1", live[-1].cursor, 2) == []
        assert log.check(str(live[4].cursor)) == live[4].position


async def test_late_events_are_in_no_page(shared_nats: NatsServer) -> None:
    """What follows an end, and an end after the end; also when the page would hold nothing else."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink) as bridge, client_of(shared_nats) as client:
        job, log = Publisher(client, tenant, "1"), log_of(bridge)
        await job.progress()
        await job.put("progress", status="failed")
        for _ in range(5):
            await job.progress()
        await job.put("progress", status="completed")
        await job.put("progress", status="running", run=2)
        events = await log.read(tenant, "1", None, 2)
        assert [event.payload for event in events] == job.payloads[:2]
        assert [event.end for event in events] == [None, "failed"]
        rest = await log.read(tenant, "1", events[-1].cursor, 2)
        assert [event.payload for event in rest] == job.payloads[-1:]
        assert [event.payload for event in await log.read(tenant, "1", events[0].cursor, 9)] == [
            job.payloads[1],
            job.payloads[-1],
        ]


async def test_a_cursor_of_elsewhere_is_recognised(shared_nats: NatsServer) -> None:
    """Another job's, another time's, one from beyond the end, and no cursor at all."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink) as bridge, client_of(shared_nats) as client:
        mine, theirs, log = Publisher(client, tenant, "1"), Publisher(client, tenant, "2"), log_of(bridge)
        await mine.progress()
        await theirs.progress()
        await mine.progress()
        [cursor] = [event.cursor for event in await log.read(tenant, "2", None, 9)]
        [first, last] = [event.cursor for event in await log.read(tenant, "1", None, 9)]
        assert cursor is not None
        assert first is not None
        assert last is not None
        seq, _, time = last.partition("-")
        for foreign in (cursor, f"{seq}-{int(time) + 1}", f"{int(seq) + 1000}-{time}"):
            with pytest.raises(CursorGone) as gone:
                await log.read(tenant, "1", foreign, 9)
            assert (gone.value.gap.reason, gone.value.gap.start) == ("epoch", foreign)
        with pytest.raises(BadCursor):
            await log.read(tenant, "1", "start", 9)


async def test_what_retention_dropped_is_a_gap(nats_server: NatsServer) -> None:
    """A cursor whose event is gone."""
    sink = RecordingSink()
    async with (
        bridged(nats_server, sink, log_events_per_job=5) as bridge,
        client_of(nats_server) as client,
    ):
        job, log = Publisher(client, "acme", "1"), log_of(bridge)
        await job.progress()
        [first] = await log.read("acme", "1", None, 9)
        for _ in range(5):
            await job.progress()
        with pytest.raises(CursorGone) as gone:
            await log.read("acme", "1", first.cursor, 9)
        assert gone.value.gap.reason == "retention"
        oldest = (await log.read("acme", "1", None, 1))[0]
        assert gone.value.gap.to == oldest.cursor


async def test_a_followed_job_overtaken_by_retention_is_reset(nats_server: NatsServer) -> None:
    """The live path was away for longer than the log remembers: gap and snapshot, then the tail."""
    sink = RecordingSink()
    async with bridged(nats_server, sink, log_events_per_job=5) as bridge, client_of(nats_server) as client:
        job, log = Publisher(client, "acme", "1"), log_of(bridge)
        await job.progress()
        # no interest in the tenant: nothing comes live
        await log.follow("acme", "1")
        for _ in range(8):
            await job.progress()
        await log.follow("acme", "1")
        [(tenant, name, gap, snapshot)] = sink.resets
        assert (tenant, name, gap and gap.reason) == ("acme", "1", "retention")
        assert snapshot.position == job.seqs[-1]
        assert not sink.events
        await job.progress()
        await log.follow("acme", "1")
        assert delivered(sink, "acme") == job.payloads[-1:]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), lost=st.floats(0, 1), doubled=st.floats(0, 0.5))
async def test_whatever_the_live_path_does(shared_nats: NatsServer, seed: int, lost: float, doubled: float) -> None:
    """Messages lost, doubled, delayed and forged order: everything stored is delivered once, in order."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink) as bridge, client_of(shared_nats) as client:
        job, log = Publisher(client, tenant, "1"), log_of(bridge)
        heard: list[tuple[bytes, bytes, bytes]] = []
        passed_on = await client.subscribe(f"live.tenant.{tenant}.>")
        for index in range(30):
            if index == 5:
                await log.follow(tenant, "1")
            run = 1 + index // 10
            if index % 10 == 9:
                await job.put(f"end.{run}", kind="job", status="failed", run=run)
            else:
                await job.progress(run=run)
            message = await passed_on.next_msg(timeout=5)
            block = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in (message.headers or {}).items())
            heard.append((message.subject.encode(), message.data, block.encode() + b"\r\n"))
            if index >= 5 and chance.random() >= lost:
                for _ in range(2 if chance.random() < doubled else 1):
                    bridge._on_message(*chance.choice(heard[-3:]), None)
            if chance.random() < 0.2:
                await asyncio.sleep(0)
        await log.follow(tenant, "1")
        events = [event.position for _, _, event in sink.events]
    assert events == job.seqs[5:]


async def test_nothing_is_lost_when_the_server_is_killed(nats_server: NatsServer) -> None:
    """SIGKILL and restart under load, the same store: exactly what is stored, in order."""
    sink = RecordingSink()
    async with bridged(nats_server, sink) as bridge:
        await watch(bridge, "acme")
        await log_of(bridge).follow("acme", "1")
        for _ in range(3):
            async with client_of(nats_server) as client:
                job = Publisher(client, "acme", "1")
                for _ in range(200):
                    await job.progress()
                for _ in range(50):
                    await client.publish("tenant.acme.job.1.progress", b'{"message":"not acknowledged"}')
                await client.flush()
            nats_server.kill()
            await eventually_async(lambda: not bridge.up)
            nats_server.start()
            await eventually_async(lambda: bridge.up)
        log = log_of(bridge)
        await log.follow("acme", "1")
        stored = []
        after = None
        while page := await log.read("acme", "1", after, 500):
            stored += page
            after = page[-1].cursor
    assert [event for _, _, event in sink.events] == stored
    assert len(stored) >= 600
    assert not sink.resets


async def test_a_stream_made_anew_is_another_life(nats_server: NatsServer) -> None:
    """Deleted and made again while a job is followed: gap and snapshot, then what the new one has."""
    sink = RecordingSink()
    async with bridged(nats_server, sink) as bridge, client_of(nats_server) as client:
        job, log = Publisher(client, "acme", "1"), log_of(bridge)
        await watch(bridge, "acme")
        await log.follow("acme", "1")
        for _ in range(20):
            await job.progress()
        await eventually_async(lambda: len(sink.events) == 20)
        last = sink.events[-1][2].cursor
        await client.jetstream().delete_stream(LOG)
        await eventually_async(lambda: log._created is not None and log.up)
        again = Publisher(client, "acme", "1")

        await stored_some_time(again)
        await eventually_async(lambda: sink.resets)
        gap = sink.resets[0][2]
        assert gap is not None
        assert gap.reason == "epoch"
        await again.progress(message="the tail")
        await eventually_async(lambda: len(sink.events) > 20)
        assert delivered(sink, "acme")[-1] == again.payloads[-1]
        with pytest.raises(CursorGone):
            await log.read("acme", "1", last, 9)


async def test_a_quiet_feed_is_compared_with_the_log(shared_nats: NatsServer) -> None:
    """The live path lost the last message, and nothing follows that would show it."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink, log_check=0.5) as bridge, client_of(shared_nats) as client:
        job = Publisher(client, tenant, "1")
        # no interest: nothing comes live at all
        await log_of(bridge).follow(tenant, "1")
        await job.progress()
        await eventually_async(lambda: sink.events)
    assert delivered(sink, tenant) == job.payloads


class PassedOn:
    """What the stream passes on, kept to be handed to a bridge when the test likes."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    async def next(self) -> tuple[bytes, bytes, bytes, None]:
        message = await self._subscription.next_msg(timeout=5)
        block = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in (message.headers or {}).items())
        return message.subject.encode(), message.data, block.encode() + b"\r\n", None


async def test_what_comes_first_after_an_interruption_does_not_hide_what_was_lost(shared_nats: NatsServer) -> None:
    """The end came while the live path was away. The late event behind it looks like the next one of its subject."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink) as bridge, client_of(shared_nats) as client:
        job, log = Publisher(client, tenant, "1"), log_of(bridge)
        passed_on = PassedOn(await client.subscribe(f"live.tenant.{tenant}.>"))
        await log.follow(tenant, "1")
        await job.progress()
        bridge._on_message(*await passed_on.next())
        log.interrupted()
        await job.put("end.1", kind="job", status="failed")
        await passed_on.next()
        await job.progress(message="late")
        bridge._on_message(*await passed_on.next())
        assert len(sink.events) == 1
        log.reconnected()
        await log.follow(tenant, "1")
        assert delivered(sink, tenant) == job.payloads[:2]
        assert sink.events[-1][2].final


async def test_an_end_that_the_live_path_lost_is_found_though_the_job_goes_on(nats_server: NatsServer) -> None:
    """A killed job's child goes on; its late events look like the next ones. The log is asked for ends now and then."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(nats_server, sink, log_check=0.2) as bridge, client_of(nats_server) as client:
        job, log = Publisher(client, tenant, "1"), log_of(bridge)
        passed_on = PassedOn(await client.subscribe(f"live.tenant.{tenant}.>"))
        await log.follow(tenant, "1")
        await job.progress()
        bridge._on_message(*await passed_on.next())
        await job.put("end.1", kind="job", status="failed")
        await passed_on.next()

        async def goes_on() -> None:
            while not sink.resets:
                await job.progress(message="late")
                bridge._on_message(*await passed_on.next())

        async with asyncio.timeout(20):
            await goes_on()
        _, _, _, snapshot = sink.resets[-1]
        assert snapshot.final
        assert json.loads(snapshot.json)["status"] == "failed"
        heard = len(sink.events)
        await job.progress(message="later still")
        await log.follow(tenant, "1")
        assert len(sink.events) == heard


async def test_a_forged_live_message_does_not_silence_a_job(nats_server: NatsServer) -> None:
    """Where anybody may publish on `live.`: one from the far future. What is stored comes nevertheless."""
    sink = RecordingSink()
    async with bridged(nats_server, sink, log_check=0.2) as bridge, client_of(nats_server) as client:
        job, log = Publisher(client, "acme", "1"), log_of(bridge)
        await watch(bridge, "acme")
        await log.follow("acme", "1")
        await job.progress()
        await eventually_async(lambda: sink.events)
        forged = {
            "Nats-Sequence": "4000000000",
            "Nats-Time-Stamp": "2999-01-01T00:00:00.000000000Z",
            "Nats-Last-Sequence": str(job.seqs[-1]),
        }
        await client.publish("live.tenant.acme.job.1.progress", b'{"message":"forged"}', headers=forged)
        async with asyncio.timeout(20):
            while not sink.resets:
                await job.progress()
        await job.progress(message="the last")
        await eventually_async(lambda: sink.events[-1][2].payload == job.payloads[-1])
        assert bridge.counts["repeated"] > 0


async def test_forged_live_messages_do_not_hold_up_other_jobs(nats_server: NatsServer) -> None:
    """For as many jobs as may read the log at the same time, each waiting for what is not stored."""
    sink = RecordingSink()
    async with bridged(nats_server, sink) as bridge, client_of(nats_server) as client:
        log = log_of(bridge)
        await watch(bridge, "acme")
        forged = {
            "Nats-Sequence": "4000000000",
            "Nats-Time-Stamp": "2999-01-01T00:00:00.000000000Z",
            "Nats-Last-Sequence": "1",
        }
        for number in range(100):
            await log.follow("acme", f"x{number}")
            await client.publish(f"live.tenant.acme.job.x{number}.progress", b'{"message":"forged"}', headers=forged)
        await client.flush()
        await eventually_async(lambda: sum(each.feed.filling for each in log._feeds.values()) == 100)
        job = Publisher(client, "other", "1")
        await job.progress()
        assert await log.follow("other", "1") == job.seqs[-1]
        assert sum(each.feed.filling for each in log._feeds.values()) == 100


async def test_while_nats_is_away_nothing_is_tried(nats_server: NatsServer) -> None:
    """Many followed jobs cost nothing then, are told at once, and go on when it is back."""
    sink = RecordingSink()
    async with bridged(nats_server, sink, log_check=0.1) as bridge, client_of(nats_server) as client:
        log = log_of(bridge)
        await watch(bridge, "acme")
        await asyncio.gather(*(log.follow("acme", str(number)) for number in range(300)))
        nats_server.kill()
        await eventually_async(lambda: not bridge.up and not log.api.up)
        with pytest.raises(LogUnavailable):
            await log.follow("acme", "new")
        await client.close()
        nats_server.start()
        await eventually_async(lambda: bridge.up)
        async with client_of(nats_server) as again:
            job = Publisher(again, "acme", "299")
            await job.progress()
            await eventually_async(lambda: sink.events)
        assert delivered(sink, "acme") == job.payloads


async def test_without_jetstream_there_is_no_log() -> None:
    """Live only, and it says why; when JetStream comes, so does the log."""
    sink = RecordingSink()
    with NatsServer(jetstream=False) as server:
        async with bridged(server, sink) as bridge:
            assert bridge.log is None
            assert bridge.trouble
            await watch(bridge, "acme")
            async with client_of(server) as client:
                await client.publish("tenant.acme.job.1.progress", b'{"message":"live"}')
            await eventually_async(lambda: sink.events)
            assert sink.events[0][2].cursor is None


async def test_a_tenant_that_nobody_watches_any_more_is_let_go_while_the_log_comes(nats_server: NatsServer) -> None:
    """Its interest falls between the new subscription and the switch to it: nothing stays subscribed."""
    sink = RecordingSink()
    async with bridged(nats_server, sink, linger=0) as bridge:
        await watch(bridge, "acme")
        bridge._log._decide(durable=False, trouble="for a while")
        await eventually_async(lambda: bridge._switching is None and bridge._stored is False)
        bridge._log._decide(durable=True, trouble=None)
        await asyncio.sleep(0)
        assert "live.tenant.acme.job.*.>" in bridge._connection._waiting
        bridge.interest("acme", Interest.NONE)
        await eventually_async(lambda: bridge._switching is None and bridge._stored is True)
        await eventually_async(lambda: not bridge._connection._wanted)
        assert not bridge._watches


async def test_an_unheard_of_job_costs_little(shared_nats: NatsServer) -> None:
    """Each of many followed jobs of which nothing is stored: a few objects, and no task."""
    tenant, jobs = a_tenant(), int(os.environ.get("FOLLOWED_JOBS", "1000"))
    async with bridged(shared_nats, RecordingSink()) as bridge:
        log = log_of(bridge)
        await asyncio.gather(*(log.follow(tenant, f"warm{number}") for number in range(100)))
        gc.collect()
        tracemalloc.start()
        await asyncio.gather(*(log.follow(tenant, str(number)) for number in range(jobs)))
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(f"\n{held / jobs:.0f} bytes for each of {jobs} followed jobs")  # noqa: T201 - a figure for docs/bridge.md
        assert held / jobs < 4_000
        assert len(log._tasks) < 10


# -- states -----------------------------------------------------------------------------------------------------------


def reduced(job: str, stored: list[Stored]) -> JobState:
    state = JobState(job)
    for message in stored:
        run = int(message.subject.rpartition(".")[2]) if ".end." in message.subject else None
        state.apply(parse_event(message.payload), datetime.fromtimestamp(message.time // 10**6 / 1000, UTC), run)
    return state


async def everything(log: Log, tenant: str, job: str) -> list[Stored]:
    page, _ = await log.history.page(tenant, job, None, 500)
    return page.messages


def snapshot_of(state: JobState) -> dict[str, Any]:
    return state.snapshot(durable=True)


async def test_a_snapshot_without_records_is_the_reduced_log(shared_nats: NatsServer) -> None:
    """Raw publishers write none."""
    tenant = a_tenant()
    async with bridged(shared_nats, RecordingSink()) as bridge, client_of(shared_nats) as client:
        job, log = Publisher(client, tenant, "1"), log_of(bridge)
        empty = await log.snapshot(tenant, "1")
        assert (empty.known, empty.position, empty.cursor) == (False, 0, None)
        await job.put("progress", kind="plan", data={"nodes": [{"nodeId": 1}]})
        await job.progress(total=10)
        await job.put("progress", kind="log", message="hello")
        await job.put("progress", status="completed")
        await job.progress(message="late")
        snapshot = await log.snapshot(tenant, "1")
        assert json.loads(snapshot.json) == snapshot_of(reduced("1", await everything(log, tenant, "1")))
        assert (snapshot.position, snapshot.final, snapshot.known) == (job.seqs[4], True, True)
        assert await log.read(tenant, "1", snapshot.cursor, 9) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
async def test_records_and_tail_are_the_whole(shared_nats: NatsServer, seed: int) -> None:
    """Two reporters, records at any moment: the same snapshot as from every event."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    tenant = a_tenant()
    async with bridged(shared_nats, RecordingSink()) as bridge, client_of(shared_nats) as client:
        job, log = Publisher(client, tenant, "1"), log_of(bridge)
        states = {"A": JobState("1"), "B": JobState("1")}
        counts, last = {"A": 0, "B": 0}, {"A": 0, "B": 0}
        for index in range(chance.randint(1, 25)):
            who = chance.choice("AB") if index else "A"
            if not counts[who]:
                # a reporter's first words: nothing of it is counted yet
                await job.record(who, states[who], 0, owner=who == "A", seq=0)
            counts[who] += 1
            headers = {"Milepost-Reporter": who, "Milepost-Count": str(counts[who])}
            at = f"2026-01-01T00:00:{index:02d}.000Z"
            if not index:
                fields: dict[str, Any] = {"kind": "job", "status": "running", "name": "n", "run": 1}
            elif chance.random() < 0.3:
                fields = {"kind": "log", "message": f"line {index}", "run": 1}
            else:
                fields = {"nodeId": who, "rowCount": index, "status": "running", "run": 1}
            await job.put("progress", headers, at=at, **fields)
            states[who].apply(parse_event(job.payloads[-1]), datetime.now(UTC))
            last[who] = job.seqs[-1]
            if not index or chance.random() < 0.3:
                who = chance.choice([each for each in "AB" if counts[each]])
                await job.record(who, states[who], counts[who], owner=who == "A", seq=last[who])
        if chance.random() < 0.5:
            counts["A"] += 1
            headers = {"Milepost-Reporter": "A", "Milepost-Count": str(counts["A"])}
            await job.put("end.1", headers, kind="job", status="completed", run=1, at="2026-01-01T00:01:00.000Z")
            states["A"].apply(parse_event(job.payloads[-1]), datetime.now(UTC), 1)
            if chance.random() < 0.7:
                await job.record("A", states["A"], counts["A"])
        told = json.loads((await log.snapshot(tenant, "1")).json)
        whole = snapshot_of(reduced("1", await everything(log, tenant, "1")))
        for snapshot in (told, whole):
            # the order among several reporters' nodes and lines is not kept in their records
            snapshot["nodes"].sort(key=lambda node: str(node["nodeId"]))
            snapshot["logTail"].sort(key=lambda line: str(line["at"]))
        assert told == whole


async def test_a_snapshot_outlives_the_logs_retention(nats_server: NatsServer) -> None:
    """Of 60 events 10 are kept: the record knows the rest."""
    async with (
        bridged(nats_server, RecordingSink(), log_events_per_job=10) as bridge,
        client_of(nats_server) as client,
    ):
        job, log, state = Publisher(client, "acme", "1"), log_of(bridge), JobState("1")
        for count in range(1, 61):
            fields: dict[str, Any] = {
                "nodeId": count % 40,
                "rowCount": count,
                "status": "running",
                "at": "2026-01-01T00:00:00Z",
            }
            if count == 1:
                fields = {"kind": "artifact", "data": {"name": "a", "uri": "b"}, "at": "2026-01-01T00:00:00Z"}
            await job.put("progress", {"Milepost-Reporter": "A", "Milepost-Count": str(count)}, **fields)
            state.apply(parse_event(job.payloads[-1]), datetime.now(UTC))
            if count == 55:
                await job.record("A", state, count)
        snapshot = await log.snapshot("acme", "1")
        told, whole = json.loads(snapshot.json), snapshot_of(state)
        told["lastEventAt"] = whole["lastEventAt"] = None
        assert told == whole
        assert snapshot.position == job.seqs[-1]


async def test_a_record_of_another_life_still_counts(nats_server: NatsServer) -> None:
    """The log was made anew, the records stayed: what they count is not counted again, what is new is."""
    async with bridged(nats_server, RecordingSink()) as bridge, client_of(nats_server) as client:
        job, log, state = Publisher(client, "acme", "1"), log_of(bridge), JobState("1")
        for count in range(1, 11):
            await job.progress({"Milepost-Reporter": "A", "Milepost-Count": str(count)}, nodeId=count)
            state.apply(parse_event(job.payloads[-1]), datetime.now(UTC))
        await job.record("A", state, 10)
        created = log._created
        await client.jetstream().delete_stream(LOG)
        await eventually_async(lambda: log._created != created)
        again = Publisher(client, "acme", "1")
        await again.progress({"Milepost-Reporter": "A", "Milepost-Count": "11"}, nodeId=11)
        told = json.loads((await log.snapshot("acme", "1")).json)
        assert [node["nodeId"] for node in told["nodes"]] == list(range(1, 12))


async def test_a_reporter_that_went_on_after_its_end_does_not_count(shared_nats: NatsServer) -> None:
    """It was declared lost, came back, and wrote a record of what is late."""
    tenant = a_tenant()
    async with bridged(shared_nats, RecordingSink()) as bridge, client_of(shared_nats) as client:
        job, log, state = Publisher(client, tenant, "1"), log_of(bridge), JobState("1")
        headers = {"Milepost-Reporter": "A"}
        await job.put("progress", {**headers, "Milepost-Count": "1"}, kind="job", status="running", run=1)
        state.apply(parse_event(job.payloads[-1]), datetime.now(UTC))
        await job.put("end.1", kind="job", status="failed", run=1, error={"message": "lost"})
        await job.progress({**headers, "Milepost-Count": "2"}, run=1, message="still here")
        state.apply(parse_event(job.payloads[-1]), datetime.now(UTC))
        await job.record("A", state, 2)
        snapshot = await log.snapshot(tenant, "1")
        told = json.loads(snapshot.json)
        assert (told["status"], told["error"]["message"], told["nodes"]) == ("failed", "lost", [])
        assert snapshot.position == job.seqs[2]


async def test_a_record_that_is_none_is_counted_and_left_aside(shared_nats: NatsServer) -> None:
    """A tenant may write anything there."""
    tenant = a_tenant()
    async with bridged(shared_nats, RecordingSink()) as bridge, client_of(shared_nats) as client:
        job, log = Publisher(client, tenant, "1"), log_of(bridge)
        await job.progress()
        await job.js.publish(f"tenant.{tenant}.job.1.state.A", b"nonsense")
        told = json.loads((await log.snapshot(tenant, "1")).json)
        assert len(told["nodes"]) == 1
        assert bridge.log_counts["invalid_record"] == 1


# -- lists ------------------------------------------------------------------------------------------------------------


async def test_jobs_are_listed_newest_first(shared_nats: NatsServer) -> None:
    """With records and without; of a token's jobs only, if it names some."""
    tenant = a_tenant()
    async with bridged(shared_nats, RecordingSink()) as bridge, client_of(shared_nats) as client:
        log = log_of(bridge)
        raw = Publisher(client, tenant, "raw")
        await raw.put("progress", status="running", name="Raw", at="2026-01-02T00:00:00Z")
        await raw.progress()
        told = Publisher(client, tenant, "8")
        state = JobState("8")
        await told.put("progress", kind="job", status="running", name="Told", at="2026-01-03T00:00:00Z")
        state.apply(parse_event(told.payloads[-1]), datetime.now(UTC))
        await told.record("A", state, 1)
        ended = Publisher(client, tenant, "9")
        await ended.put("progress", kind="job", status="running", at="2026-01-01T00:00:00Z")
        await ended.put("end.1", kind="job", status="failed")
        jobs = [json.loads(each) for each in await log.jobs(tenant, None)]
        assert [(job["jobId"], job["status"], job["name"]) for job in jobs] == [
            (8, "running", "Told"),
            ("raw", "running", "Raw"),
            (9, "failed", None),
        ]
        assert [json.loads(each)["jobId"] for each in await log.jobs(tenant, frozenset({"9", "8"}))] == [8, 9]


async def test_a_record_without_the_end_does_not_hide_it(shared_nats: NatsServer) -> None:
    """The watchdog ended the run of a job that was killed."""
    tenant = a_tenant()
    async with bridged(shared_nats, RecordingSink()) as bridge, client_of(shared_nats) as client:
        job, state = Publisher(client, tenant, "8"), JobState("8")
        await job.put("progress", kind="job", status="running", name="Told")
        state.apply(parse_event(job.payloads[-1]), datetime.now(UTC))
        await job.record("A", state, 1)
        await job.put("end.1", kind="job", status="failed", error={"message": "lost"})
        [listed] = [json.loads(each) for each in await log_of(bridge).jobs(tenant, None)]
        assert (listed["status"], listed["name"]) == ("failed", "Told")
        assert listed["endedAt"] is not None


async def test_summaries_of_jobs_from_before_are_whole(shared_nats: NatsServer) -> None:
    """A change of a job whose beginning this hub has not seen is told with what it was."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink) as bridge, client_of(shared_nats) as client:
        job = Publisher(client, tenant, "8")
        await job.put("progress", status="running", name="From before", fraction=0.5)
        await watch(bridge, tenant, Interest.SUMMARIES)
        await job.put("progress", message="on it")
        await eventually_async(lambda: sink.summaries)
        assert sink.summaries[-1][2]["name"] == "From before"
        assert sink.summaries[-1][2]["fraction"] == 0.5
        await job.put("end.1", kind="job", status="completed")
        await eventually_async(lambda: sink.summaries[-1][2]["status"] == "completed")


async def test_a_log_out_of_reach_says_so(nats_server: NatsServer) -> None:
    """Ask again, it means; not that there is nothing."""
    async with bridged(nats_server, RecordingSink()) as bridge:
        log = log_of(bridge)
        nats_server.kill()
        await eventually_async(lambda: not bridge.up)
        for asked in (log.snapshot("acme", "1"), log.read("acme", "1", None, 9), log.jobs("acme", None)):
            with pytest.raises(LogUnavailable):
                await asked
        with pytest.raises(LogUnavailable):
            await log.follow("acme", "1")
        nats_server.start()
        await eventually_async(lambda: bridge.up)
        assert await log.follow("acme", "1") == 0


def test_the_streams_are_named_once() -> None:
    """They stand in docs and in people's scripts."""
    assert (LOG, STATE) == ("MILEPOST_LOG", "MILEPOST_STATE")
    assert str(Cursor(1, 2)) == "1-2"


async def test_a_page_is_no_longer_than_asked_for(shared_nats: NatsServer) -> None:
    """From the beginning and from a cursor alike."""
    tenant = a_tenant()
    async with bridged(shared_nats, RecordingSink()) as bridge, client_of(shared_nats) as client:
        job, log = Publisher(client, tenant, "1"), log_of(bridge)
        for _ in range(7):
            await job.progress()
        first = await log.read(tenant, "1", None, 3)
        assert [event.position for event in first] == job.seqs[:3]
        assert [event.position for event in await log.read(tenant, "1", first[-1].cursor, 3)] == job.seqs[3:6]
        assert [event.position for event in await log.read(tenant, "1", None, 1)] == job.seqs[:1]
