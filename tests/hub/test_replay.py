"""Whoever joins a job sees every event once, in order, whatever happens at the same time."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milepost_hub.token import issue

from tests.hub.live_hub import LiveHub, a_client, a_watcher, live_hub, logged_hub, watchers
from tests.hub.memory_log import MemoryLog
from tests.hub.raw_client import CLOSE, PING, PONG, TEXT, RawClient, frame
from tests.hub.signers import SECRET
from tests.waiting import eventually_async

JOB = ("acme", "1")


def fill(log: MemoryLog, count: int, first: int = 0, padding: str = "") -> list[str]:
    """So many events of the job, numbered; their cursors."""
    stored = [log.store(*JOB, {"message": padding, "n": number}) for number in range(first, first + count)]
    return [event.cursor or "" for event in stored]


class Viewer:
    """A client that keeps what it was told as a page would: it starts from a snapshot, and adds every event."""

    def __init__(self, client: RawClient, seen: list[int]) -> None:
        self.client = client
        self.seen = seen
        self.kinds: list[str] = []
        self.gaps: list[str] = []
        self.cursor: str | None = None

    def take(self, message: dict[str, Any]) -> None:
        self.kinds.append(message["type"])
        if message["type"] == "job.snapshot":
            self.seen = [event["n"] for event in message["snapshot"].get("events", [])]
        elif message["type"] == "job.progress":
            self.seen.append(message["payload"]["n"])
        elif message["type"] == "job.gap":
            self.gaps.append(message["reason"])
        self.cursor = message.get("cursor", self.cursor)

    async def read(self) -> None:
        """Read all that the hub has written so far."""
        await self.client.write(frame(b"so far", PING))
        while True:
            got = await self.client.frame()
            assert got.opcode != CLOSE, got
            if got.opcode == TEXT:
                self.take(json.loads(got.data))
            elif got == (True, PONG, b"so far"):
                return

    async def until_seen(self, count: int) -> None:
        while len(self.seen) < count:
            self.take(await self.client.message())


async def viewer(hub: LiveHub, after: str | None = None, seen: list[int] | None = None, **more: object) -> Viewer:
    client = await a_client(hub)
    asked = {"action": "subscribe", "jobId": 1, **more}
    await client.send(asked if after is None else {**asked, "after": after})
    return Viewer(client, list(seen or []))


async def settled(hub: LiveHub) -> None:
    """Wait until nobody is joining, and write what is owed."""
    await eventually_async(lambda: hub.joining == 0)
    hub.flush()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(1, 12)),
        st.tuples(st.just("pump"), st.integers(1, 6)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("turn"), st.integers(1, 6)),
        st.tuples(st.just("fresh"), st.just(0)),
        st.tuples(st.just("start"), st.just(0)),
        st.tuples(st.just("resume"), st.integers(0, 100)),
        st.tuples(st.just("again"), st.integers(0, 5)),
        st.tuples(st.just("reborn"), st.just(0)),
        st.tuples(st.just("away"), st.booleans().map(int)),
    ),
    max_size=25,
)


class Scene:
    """A hub, its log with a live path of its own pace, and whoever has come."""

    def __init__(self, hub: LiveHub, log: MemoryLog) -> None:
        self.hub = hub
        self.log = log
        self.viewers: list[Viewer] = []
        self.cursors: list[str] = []
        log.delayed = True

    async def store(self, count: int) -> None:
        self.cursors += fill(self.log, count, len(self.cursors))

    async def pump(self, count: int) -> None:
        self.log.pump(count)

    async def flush(self, _: int) -> None:
        self.hub.flush()

    async def turn(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async def fresh(self, _: int) -> None:
        self.viewers.append(await viewer(self.hub))

    async def start(self, _: int) -> None:
        self.viewers.append(await viewer(self.hub, "start"))

    async def resume(self, place: int) -> None:
        if self.cursors:
            place %= len(self.cursors)
            self.viewers.append(await viewer(self.hub, self.cursors[place], list(range(place + 1))))

    async def again(self, place: int) -> None:
        if self.viewers:
            await self.viewers[place % len(self.viewers)].client.send({"action": "subscribe", "jobId": 1})

    async def reborn(self, _: int) -> None:
        self.cursors.clear()
        self.log.reborn()

    async def away(self, yes: int) -> None:
        self.log.unavailable = bool(yes)
        self.hub.upstream_changed()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=steps, ring=st.sampled_from([1, 3, 1000]), seed=st.none() | st.integers(0, 1_000))
async def test_no_event_is_lost_doubled_or_out_of_order(
    steps: list[tuple[str, int]], ring: int, seed: int | None
) -> None:
    """Events stored, delivered late, flushed at any time, with clients joining in every way in between; the log away
    and back, and in another life; its pages as long as they may be, or shorter than what is stored."""
    async with logged_hub(ring_events=ring, flush_rest=1, flush_pause=1) as (hub, log):
        log.dice = None if seed is None else random.Random(seed)  # noqa: S311 - not to be secret
        scene = Scene(hub, log)
        for step, size in steps:
            await getattr(scene, step)(size)
        await scene.away(0)
        for known in scene.viewers:
            await known.read()
        await settled(hub)
        log.pump()
        hub.flush()
        for known in scene.viewers:
            await known.read()
            known.client.close()
        for known in scene.viewers:
            assert known.seen == list(range(len(scene.cursors))), known.kinds


async def test_one_who_comes_without_a_cursor_gets_a_snapshot_and_the_tail() -> None:
    """With the cursor to come back with on each message, and the time it was stored."""
    async with logged_hub() as (hub, log):
        cursors = fill(log, 3)
        async with await a_client(hub) as client:
            await client.send({"action": "subscribe", "jobId": 1, "id": "q"})
            assert await client.message() == {
                **{"type": "subscribed", "jobId": 1, "durable": True, "upstream": "up", "id": "q"},
            }
            snapshot = await client.message()
            assert (snapshot["type"], snapshot["cursor"]) == ("job.snapshot", cursors[-1])
            assert [event["n"] for event in snapshot["snapshot"]["events"]] == [0, 1, 2]
            event = log.store(*JOB, {"message": "live"})
            told = await client.message()
            assert told == {
                **{"type": "job.progress", "jobId": 1, "payload": {"message": "live"}},
                **{"cursor": event.cursor, "at": event.at},
            }


async def test_a_job_nobody_has_heard_of_is_unknown_until_its_events_come() -> None:
    async with logged_hub() as (hub, log), await a_client(hub) as client:
        await client.send({"action": "subscribe", "jobId": 1})
        snapshot = [await client.message() for _ in range(2)][1]
        assert snapshot["snapshot"]["status"] == "unknown"
        assert "cursor" not in snapshot
        fill(log, 1)
        assert (await client.message())["payload"]["n"] == 0


async def test_a_long_replay_is_complete_and_read_in_pages() -> None:
    async with logged_hub() as (hub, log):
        cursors = fill(log, 3_000)
        known = await viewer(hub, cursors[9], list(range(10)))
        await known.until_seen(3_000)
        assert known.seen == list(range(3_000))
        assert known.kinds.count("job.snapshot") == 0
        assert 6 <= log.asked["read"] <= 40
        known.client.close()


async def test_a_short_page_is_not_the_end_of_the_log() -> None:
    """Only an empty one is: who comes later, and is given from memory what was read before, lacks nothing either."""
    for seed in range(20):
        async with logged_hub() as (hub, log):
            log.dice = random.Random(seed)  # noqa: S311
            cursors = fill(log, 30)
            for after, seen in (("start", 0), (cursors[4], 5), ("start", 0)):
                known = await viewer(hub, after, list(range(seen)))
                await known.until_seen(30)
                await settled(hub)
                await known.read()
                assert known.seen == list(range(30)), (seed, after)
                known.client.close()


async def test_what_is_stored_and_flushed_while_the_last_page_is_read_is_not_skipped() -> None:
    """The page was empty when it left the log; the events came between that and its arrival. They are read next,
    because the flush that brought them to the others was no flush for a client that was on its way."""
    async with logged_hub(ring_events=1) as (hub, log):
        cursors = fill(log, 5)
        first = await viewer(hub)
        await first.until_seen(5)
        answering = log.answering = asyncio.Event()
        resumed = await viewer(hub, cursors[-1], list(range(5)))
        await eventually_async(lambda: log.asked["read"] == 1)
        fill(log, 3, 5)
        hub.flush()
        log.answering = None
        answering.set()
        await settled(hub)
        fill(log, 1, 8)
        hub.flush()
        for known in (first, resumed):
            await known.until_seen(9)
            await known.read()
            assert known.seen == list(range(9))
            known.client.close()


async def test_a_thousand_who_join_at_once_cost_one_read() -> None:
    """A snapshot for all of them, and none for those who come later, while the ring reaches back to it."""
    async with logged_hub() as (hub, log):
        fill(log, 500)
        log.gate.clear()
        clients = [await a_client(hub) for _ in range(100)]
        subscribe = b"".join(frame(b'{"action":"subscribe","jobId":1}') for _ in range(10))
        for client in clients:
            await client.write(subscribe)
        await eventually_async(lambda: hub.received == 1_000)
        log.gate.set()
        await settled(hub)
        for client in clients:
            got = [await client.until("job.snapshot")]
            assert len(got[0]["snapshot"]["events"]) == 500
        fill(log, 5, 500)
        late = await viewer(hub)
        await late.until_seen(505)
        assert (log.asked["follow"], log.asked["snapshot"], log.asked["read"]) == (1, 1, 0)
        for client in [*clients, late.client]:
            client.close()


async def test_those_who_resume_together_share_each_read_and_later_ones_need_none() -> None:
    """What was read goes before the ring where it fits: events come from memory from then on."""
    async with logged_hub() as (hub, log):
        cursors = fill(log, 100)
        log.gate.clear()
        viewers = [await viewer(hub, cursors[49], list(range(50))) for _ in range(50)]
        await eventually_async(lambda: hub.received == 50)
        log.gate.set()
        for known in viewers:
            await known.until_seen(100)
        assert log.asked["read"] == 1
        assert hub.counts["shared"] >= 49
        later = await viewer(hub, cursors[79], list(range(80)))
        await later.until_seen(100)
        assert log.asked["read"] == 1
        assert hub.counts["ring"] >= 1
        for known in [*viewers, later]:
            assert known.seen == list(range(100))
            known.client.close()


async def test_a_cursor_that_retention_has_overtaken_is_a_gap_and_a_snapshot() -> None:
    async with logged_hub() as (hub, log):
        cursors = fill(log, 20)
        log.drop(*JOB, 10)
        known = await viewer(hub, cursors[4], list(range(5)))
        await known.until_seen(20)
        assert known.kinds == ["subscribed", "job.gap", "job.snapshot"]
        assert known.gaps == ["retention"]
        fill(log, 1, 20)
        await known.until_seen(21)
        assert known.seen == list(range(21))
        assert hub.gaps == {"retention": 1}
        known.client.close()


async def test_a_cursor_of_another_life_is_a_gap_also_when_its_position_is_taken() -> None:
    async with logged_hub() as (hub, log):
        old = fill(log, 5)
        log.reborn()
        watching = await viewer(hub)
        await watching.read()
        await settled(hub)
        fill(log, 10)
        await watching.until_seen(10)
        known = await viewer(hub, old[4], list(range(5)))
        await known.until_seen(10)
        assert known.kinds[:3] == ["subscribed", "job.gap", "job.snapshot"]
        assert known.gaps == ["epoch"]
        for each in (watching, known):
            each.client.close()


async def test_a_followed_job_that_cannot_go_on_tells_everybody() -> None:
    """Those who watch and those on their way: the gap, what it amounts to, and what comes behind it."""
    async with logged_hub() as (hub, log):
        fill(log, 30)
        watching = await viewer(hub)
        await watching.until_seen(30)
        log.reborn()
        fill(log, 3)
        await eventually_async(lambda: hub.joining == 0)
        hub.flush()
        await watching.read()
        assert watching.gaps == ["epoch"]
        assert watching.seen == [0, 1, 2]
        watching.client.close()


async def test_a_log_may_begin_anew_while_it_is_asked_to_follow() -> None:
    """Following goes on; who waits for it is told of the new life, and gets what comes in it."""
    async with logged_hub() as (hub, log):
        old = fill(log, 5)
        log.followed[JOB] = 5
        log.gate.clear()
        known = await viewer(hub, old[1], [0, 1])
        await eventually_async(lambda: log.asked["follow"] == 1)
        log.reborn()
        fill(log, 2)
        log.gate.set()
        await known.until_seen(2)
        await settled(hub)
        fill(log, 2, 2)
        hub.flush()
        await known.read()
        assert (known.gaps, known.seen) == (["epoch"], [0, 1, 2, 3])
        assert log.asked["follow"] == 1
        known.client.close()


async def test_one_in_the_middle_of_a_replay_is_told_when_the_job_begins_anew() -> None:
    """It has half of what there was before; then a gap, and what there is now."""
    async with logged_hub() as (hub, log):
        fill(log, 2_000, padding="x" * 1_000)
        client = await a_client(hub, sub="slow", receive_buffer=4096)
        await client.send({"action": "subscribe", "jobId": 1, "after": "start"})
        connection = await hub.client_of("slow")
        await eventually_async(lambda: connection.liveness.stuck_since is not None)
        log.reborn()
        fill(log, 3)
        known = Viewer(client, [])
        while not known.gaps:
            known.take(await client.message())
        assert 0 < len(known.seen) < 2_000
        await settled(hub)
        await known.read()
        assert (known.gaps, known.seen) == (["epoch"], [0, 1, 2])
        client.close()


async def test_a_word_that_is_no_cursor_is_refused_and_changes_nothing() -> None:
    async with logged_hub() as (hub, log), await a_client(hub) as client:
        refused = await client.subscribe(1, after="yesterday", id="q")
        assert (refused["type"], refused["code"], refused["id"]) == ("error", "bad_cursor", "q")
        assert not hub.wants(*JOB)
        assert (await client.subscribe(1))["type"] == "subscribed"
        assert (await client.subscribe(1, after="yesterday"))["code"] == "bad_cursor"
        fill(log, 1)
        assert (await client.message())["payload"]["n"] == 0
        assert (await client.subscribe("*", after="start"))["code"] == "bad_cursor"


async def test_while_the_log_is_away_a_client_waits_and_then_gets_everything() -> None:
    """It is told that it is subscribed, stays, and is served as soon as there is news of the source."""
    async with logged_hub() as (hub, log):
        cursors = fill(log, 10)
        log.unavailable = True
        known = await viewer(hub, cursors[3], list(range(4)))
        assert (await known.client.message())["type"] == "subscribed"
        log.unavailable = False
        hub.upstream_changed()
        await known.until_seen(10)
        assert known.seen == list(range(10))
        known.client.close()


async def test_a_client_ahead_of_this_hub_waits_for_it() -> None:
    """It has read an event elsewhere that this hub has not delivered yet; it does not get that one again."""
    async with logged_hub() as (hub, log):
        fill(log, 5)
        first = await viewer(hub)
        await first.until_seen(5)
        log.delayed = True
        cursors = fill(log, 4, 5)
        ahead = await viewer(hub, cursors[2], list(range(8)))
        await ahead.until_seen(9)
        await settled(hub)
        for known in (first, ahead):
            await known.read()
            assert known.seen == list(range(9))
            known.client.close()


@pytest.mark.parametrize("end", ["unsubscribe", "close", "again"])
async def test_a_replay_ends_with_its_subscription(end: str) -> None:
    """Called off in the middle, it leaves no task, and not a message more comes of it."""
    async with logged_hub() as (hub, log):
        cursors = fill(log, 2_000)
        log.gate.clear()
        client = await a_client(hub)
        await client.send({"action": "subscribe", "jobId": 1, "after": "start"})
        await eventually_async(lambda: hub.joining == 1)
        if end == "close":
            client.close()
            await eventually_async(lambda: hub.joining == 0)
            log.gate.set()
            await eventually_async(lambda: hub.tasks == 0)
            return
        again = {"action": "subscribe", "jobId": 1, "after": cursors[-3], "id": "second"}
        await client.send(again if end == "again" else {"action": "unsubscribe", "jobId": 1})
        await eventually_async(lambda: hub.received == 2)
        log.gate.set()
        if end == "again":
            assert (await client.message())["id"] == "second"
            assert [(await client.message())["payload"]["n"] for _ in range(2)] == [1_998, 1_999]
        else:
            assert (await client.message())["type"] == "unsubscribed"
        await eventually_async(lambda: hub.tasks == 0)
        known = Viewer(client, [])
        await known.read()
        assert known.kinds == []
        client.close()


async def test_what_is_given_from_memory_is_not_encoded_again() -> None:
    """The frame a subscriber got live is the very one that later ones are given."""
    async with logged_hub() as (hub, log), await a_watcher(hub, 1):
        fill(log, 10)
        hub.flush()
        (channel,) = hub._channels.values()
        base = channel.ring.base
        assert base is not None
        frames = [delivery.frame for delivery in channel.ring.between(base, channel.flushed) or []]
        assert len(frames) == 10
        assert channel.history is not None
        batch = channel.history.batch(channel.ring.between(base, channel.flushed) or [])
        assert [id(frame) for frame in batch.frames] == [id(frame) for frame in frames]
        assert channel.history.batch(channel.ring.between(base, channel.flushed) or []) is batch


async def test_a_steady_hub_has_no_task_for_a_client() -> None:
    async with logged_hub() as (hub, log), watchers(hub, 50, 1) as clients:
        fill(log, 3)
        assert hub.tasks == 0
        for client in clients:
            assert [(await client.message())["payload"]["n"] for _ in range(3)] == [0, 1, 2]


async def test_one_who_reads_a_replay_slowly_is_not_too_slow() -> None:
    """It is held one write at a time, whatever its bounds are, and may take longer than the write wait."""
    bounds: dict[str, Any] = {"queue_messages": 10, "queue_bytes": 4096, "write_wait": 0.1}
    async with logged_hub(**bounds) as (hub, log):
        fill(log, 3_000, padding="x" * 1_000)
        client = await a_client(hub, sub="slow", receive_buffer=4096)
        await client.send({"action": "subscribe", "jobId": 1, "after": "start"})
        connection = await hub.client_of("slow")
        await eventually_async(lambda: connection.liveness.stuck_since is not None)
        stuck_since = connection.liveness.stuck_since
        reads = log.asked["read"]
        # Many times the write wait, by the hub's own clock: three heartbeats of somebody else.
        async with await a_watcher(hub, 2) as other:
            await eventually_async(lambda: asyncio.get_running_loop().time() > (stuck_since or 0) + 0.5)
            assert (await other.subscribe(3))["type"] == "subscribed"
        assert log.asked["read"] == reads
        assert connection.transport.get_write_buffer_size() <= 64 * 1024 + 2_000
        assert connection.held == (0, 0)
        known = Viewer(client, [])
        await known.until_seen(3_000)
        assert known.seen == list(range(3_000))
        assert hub.closes == {}
        client.close()


async def test_one_who_never_reads_a_replay_is_dead_in_the_end() -> None:
    bounds: dict[str, Any] = {"write_wait": 0.1, "ping_interval": 0.2, "pong_timeout": 0.4}
    async with logged_hub(**bounds) as (hub, log):
        fill(log, 3_000, padding="x" * 1_000)
        client = await a_client(hub, receive_buffer=4096)
        await client.send({"action": "subscribe", "jobId": 1, "after": "start"})
        await eventually_async(lambda: hub.closes == {"dead": 1})
        await hub.emptied()
        client.close()


# -- without a log ----------------------------------------------------------------------------------------------------


async def test_without_a_log_a_cursor_is_a_gap_and_events_come_live() -> None:
    async with live_hub() as hub, await a_client(hub) as client:
        await client.send({"action": "subscribe", "jobId": 1, "after": "5-77"})
        told = [await client.message() for _ in range(3)]
        assert [message["type"] for message in told] == ["subscribed", "job.gap", "job.snapshot"]
        assert told[0]["durable"] is False
        assert (told[1]["reason"], told[1]["from"]) == ("unavailable", "5-77")
        assert (told[2]["snapshot"]["status"], told[2]["snapshot"]["durable"]) == ("unknown", False)
        assert "cursor" not in told[2]


async def test_a_log_that_comes_and_goes_is_told_and_events_go_on() -> None:
    """With it a gap, a snapshot, and cursors; without it a gap and the empty snapshot."""
    log = MemoryLog()
    async with live_hub() as hub:
        log.hub = hub
        known = await viewer(hub)
        await known.read()
        fill(log, 4)
        hub.source.log = log
        hub.upstream_changed()
        await known.until_seen(4)
        assert known.gaps == ["unavailable"]
        await settled(hub)
        fill(log, 2, 4)
        await known.until_seen(6)
        assert known.seen == list(range(6))
        hub.source.log = None
        hub.upstream_changed()
        await known.read()
        assert known.gaps == ["unavailable"] * 2
        assert known.seen == []
        assert log.asked["unfollow"] == 1
        known.client.close()


# -- all jobs ---------------------------------------------------------------------------------------------------------


async def test_all_jobs_are_listed_newest_first_for_one_who_reads_slowly() -> None:
    async with logged_hub(queue_messages=10, queue_bytes=4096) as (hub, log):
        for number in range(10_000):
            log.store("acme", str(number), {"message": "hi"})
        client = await a_client(hub, receive_buffer=4096)
        assert (await client.subscribe("*"))["type"] == "subscribed"
        got = [await client.message() for _ in range(10_000)]
        assert [message["jobId"] for message in got] == list(range(9_999, -1, -1))
        assert {message["type"] for message in got} == {"job.summary"}
        assert await client.message() == {"type": "listed", "jobId": "*", "count": 10_000, "durable": True}
        await eventually_async(lambda: hub.tasks == 0)
        client.close()


async def test_a_change_during_the_list_is_not_overwritten_by_what_was_listed() -> None:
    async with logged_hub() as (hub, log):
        for number in range(5):
            log.store("acme", str(number), {"message": "hi"})
        log.gate.clear()
        async with await a_client(hub) as client:
            assert (await client.subscribe("*"))["type"] == "subscribed"
            await eventually_async(lambda: log.asked["jobs"] == 1)
            hub.deliver_summary("acme", "3", b'{"jobId":3,"status":"completed"}')
            log.gate.set()
            got = [await client.message() for _ in range(5)]
            assert sorted(message["jobId"] for message in got) == [0, 1, 2, 3, 4]
            assert [message["status"] for message in got if message["jobId"] == 3] == ["completed"]
            assert await client.message() == {"type": "listed", "jobId": "*", "count": 5, "durable": True}
            await eventually_async(lambda: hub.joining == 0)


async def test_a_list_ends_behind_what_changed_meanwhile_and_was_not_flushed_yet() -> None:
    """A change is owed when the list has been written: it is told before the list is said to be whole."""
    async with logged_hub() as (hub, log):
        log.store("acme", "1", {"message": "hi"})
        log.answering = asyncio.Event()
        async with await a_client(hub) as client:
            assert (await client.subscribe("*"))["type"] == "subscribed"
            await eventually_async(lambda: log.asked["jobs"] == 1)
            log.answering.set()
            hub.deliver_summary("acme", "1", b'{"jobId":1,"status":"completed"}')
            got = [await client.message() for _ in range(2)]
            assert [message["type"] for message in got] == ["job.summary", "listed"]
            assert got[0]["status"] == "completed"


async def test_an_empty_list_ends_too() -> None:
    async with logged_hub() as (hub, _), await a_client(hub) as client:
        await client.subscribe("*")
        assert await client.message() == {"type": "listed", "jobId": "*", "count": 0, "durable": True}


async def test_a_list_whose_log_goes_is_told_so() -> None:
    """A page may then not say that no job has reported: it cannot know."""
    async with logged_hub() as (hub, _), await a_client(hub) as client:
        await client.subscribe("*")
        assert (await client.message())["durable"] is True
        hub.source.log = None
        hub.upstream_changed()
        assert await client.message() == {"type": "listed", "jobId": "*", "count": 0, "durable": False}


async def test_all_jobs_are_listed_again_when_the_source_is_back() -> None:
    """What changed while it was away was not heard."""
    async with logged_hub() as (hub, log), await a_client(hub) as client:
        log.store(*JOB, {"status": "running"})
        await client.subscribe("*")
        assert (await client.message())["status"] == "running"
        assert (await client.message())["type"] == "listed"
        hub.source.up = False
        hub.upstream_changed()
        log.store(*JOB, {"status": "completed"})
        hub.source.up = True
        hub.upstream_changed()
        assert [(await client.message())["type"] for _ in range(2)] == ["upstream", "upstream"]
        assert (await client.message())["status"] == "completed"
        assert (await client.message())["type"] == "listed"
        await eventually_async(lambda: hub.tasks == 0)


async def test_what_joining_costs_is_on_the_metrics() -> None:
    async with logged_hub() as (hub, log):
        cursors = fill(log, 20)
        log.drop(*JOB, 5)
        known = await viewer(hub, cursors[1])
        await known.until_seen(20)
        text = hub.metrics.exposition().decode()
        for line in (
            "milepost_hub_replays_total 1.0",
            'milepost_hub_history_total{source="read"}',
            'milepost_hub_gaps_total{reason="retention"} 1.0',
            "milepost_hub_sse_streams 0.0",
        ):
            assert line in text
        known.client.close()


async def test_a_token_with_a_list_is_told_of_those_jobs_only() -> None:
    async with logged_hub() as (hub, log):
        for number in range(5):
            log.store("acme", str(number), {"message": "hi"})
        client = await RawClient.connect(hub.port, issue(SECRET, "acme", jobs=[1, 3]))
        await client.subscribe("*")
        assert [(await client.message())["jobId"] for _ in range(2)] == [3, 1]
        assert await client.message() == {"type": "listed", "jobId": "*", "count": 2, "durable": True}
        known = Viewer(client, [])
        await eventually_async(lambda: hub.joining == 0)
        await known.read()
        assert known.kinds == []
        client.close()
