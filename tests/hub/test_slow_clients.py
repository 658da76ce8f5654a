"""A client that does not read hurts only itself, and what is held for it is bounded."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from milepost_hub.channel import Batch
from milepost_hub.connection import Connection
from uvicorn import Config
from uvicorn.server import ServerState

from tests.hub.live_hub import LiveHub, a_client, a_watcher, an_event, live_hub, watchers
from tests.hub.raw_client import PING, Closed, RawClient, frame
from tests.waiting import eventually_async

QUEUE: dict[str, Any] = {"queue_messages": 64, "queue_bytes": 64 * 1024}
PADDING = "x" * 900


class Sampled(Connection):
    """A connection that notes, whenever something was pushed or written, how far it was over its bounds."""

    most_messages = 0
    most_bytes = 0
    """Held beyond what the last flush brought."""

    def push(self, batch: Batch, now: float) -> None:
        super().push(batch, now)
        self._sample(len(batch.frames), len(batch.data))

    def push_all(self, batches: list[Batch], now: float, joined: dict[tuple[int, ...], bytes]) -> None:
        super().push_all(batches, now, joined)
        self._sample(sum(len(batch.frames) for batch in batches), sum(len(batch.data) for batch in batches))

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._sample(0, 0)

    def _sample(self, messages: int, size: int) -> None:
        held = self.held
        self.most_messages = max(self.most_messages, held[0] - messages)
        self.most_bytes = max(self.most_bytes, held[1] - size)


class SamplingHub(LiveHub):
    def _make_connection(self, config: Config, server_state: ServerState, app_state: dict[str, object]) -> Connection:
        return Sampled(self, server_state.connections)  # type: ignore[arg-type]  # as the hub does


def event(number: int, padding: str = PADDING) -> bytes:
    return json.dumps({"kind": "log", "message": padding, "number": number}).encode()


async def make_stuck(hub: LiveHub, client: Connection, job: str, key: str | None = None) -> int:
    """Deliver until the client's transport takes no more; return how many events that took."""
    number = 0
    while client.liveness.stuck_since is None:
        hub.deliver("acme", job, an_event(event(number), key))
        number += 1
        await asyncio.sleep(0)
    return number


async def numbers(client: RawClient) -> tuple[list[int], int]:
    """The numbers of all events up to the closing frame, and its code."""
    got = []
    while True:
        try:
            got.append(json.loads(await client.text())["payload"]["number"])
        except Closed as closed:
            return got, closed.code


async def test_slow_clients_among_a_hundred_are_closed_and_the_others_miss_nothing() -> None:
    """One never reads, one a byte at a time; both are told 4002, and no more was held for them than allowed."""
    events = 500
    async with (
        live_hub(kind=SamplingHub, write_wait=30, **QUEUE) as hub,
        watchers(hub, 100, 1) as healthy,
        await a_watcher(hub, 1, sub="deaf", receive_buffer=4096) as deaf,
        await a_watcher(hub, 1, sub="slow", receive_buffer=4096) as slow,
    ):
        watched = [await hub.client_of("deaf"), await hub.client_of("slow")]
        received = [0] * len(healthy)

        async def follow(place: int, client: RawClient) -> None:
            for expected in range(events):
                assert json.loads(await client.text())["payload"]["number"] == expected
                received[place] += 1

        slow.appetite = 1
        reading = asyncio.create_task(numbers(slow))
        async with asyncio.TaskGroup() as following:
            for place, client in enumerate(healthy):
                following.create_task(follow(place, client))
            for number in range(events):
                hub.deliver("acme", "1", an_event(event(number)))
                if number % 20 == 0:
                    await eventually_async(lambda sent=number: min(received) >= sent)  # type: ignore[misc]
        assert hub.closes == {4002: 2}
        for connection in watched:
            assert isinstance(connection, Sampled)
            assert 0 < connection.most_messages <= QUEUE["queue_messages"]
            assert 0 < connection.most_bytes <= QUEUE["queue_bytes"]
        for got, code in (await reading, await numbers(deaf)):
            assert code == 4002
            assert got == list(range(len(got)))


async def test_one_that_never_reads_is_cut_off_after_the_write_wait() -> None:
    """Told by a closing frame that it never sees, and gone."""
    async with live_hub(write_wait=0.3, **QUEUE) as hub, await a_watcher(hub, 1, receive_buffer=4096):
        number = 0
        while not hub.closes:
            hub.deliver("acme", "1", an_event(event(number)))
            number += 1
            await asyncio.sleep(0)
        assert not hub.wants("acme", "1")
        await hub.emptied()
        assert hub.closes == {4002: 1}


async def test_one_that_is_stuck_on_little_is_closed_too() -> None:
    """Nothing overflows, but what was written has not left within the write wait."""
    async with (
        live_hub(write_wait=0.3, queue_messages=100_000) as hub,
        await a_watcher(hub, 1, sub="deaf", receive_buffer=4096) as client,
    ):
        await make_stuck(hub, await hub.client_of("deaf"), "1")
        await eventually_async(lambda: hub.closes)
        assert hub.closes == {4002: 1}
        assert (await numbers(client))[1] == 4002


async def test_whoever_overflows_late_still_has_the_write_wait_to_read_why() -> None:
    """The wait begins with the closing frame, not with the first byte that did not leave."""
    async with (
        live_hub(write_wait=1, **QUEUE) as hub,
        await a_watcher(hub, 1, sub="late", receive_buffer=4096) as client,
    ):
        connection = await hub.client_of("late")
        number = await make_stuck(hub, connection, "1")
        since = connection.liveness.stuck_since
        assert since is not None
        await eventually_async(lambda: time.monotonic() > since + 0.7)
        while not hub.closes:
            hub.deliver("acme", "1", an_event(event(number)))
            number += 1
            await asyncio.sleep(0)
        await eventually_async(lambda: time.monotonic() > since + 1.4)
        assert (await numbers(client))[1] == 4002


async def test_one_that_pauses_within_its_bounds_misses_nothing() -> None:
    async with (
        live_hub(write_wait=30, **QUEUE) as hub,
        await a_watcher(hub, 1, sub="pauser", receive_buffer=4096) as client,
    ):
        connection = await hub.client_of("pauser")
        expected = 0
        for _ in range(5):
            sent = expected + await make_stuck(hub, connection, "1")
            for number in range(sent - expected):
                assert (await client.message())["payload"]["number"] == number
            expected = sent
        assert not hub.closes


async def test_a_latest_client_stays_and_gets_the_newest_and_every_other_kind() -> None:
    """Thousands of progress events of three nodes, some logs between them, while it does not read."""
    async with (
        live_hub(kind=SamplingHub, write_wait=30, **QUEUE) as hub,
        await a_watcher(hub, 1, mode="latest", sub="latest", receive_buffer=4096) as client,
    ):
        connection = await hub.client_of("latest")
        assert isinstance(connection, Sampled)
        first = await make_stuck(hub, connection, "1", "0")
        logs = []
        for number in range(first, first + 3_000):
            node = number % 3
            is_log = number % 100 == 0
            payload = {"number": number, "message": PADDING} | ({"kind": "log"} if is_log else {"nodeId": node})
            hub.deliver("acme", "1", an_event(json.dumps(payload).encode(), None if is_log else str(node)))
            logs += [number] * is_log
            if number % 50 == 0:
                await eventually_async(lambda seen=hub.flushes: hub.flushes > seen)  # type: ignore[misc]
        last = first + 2_999
        assert hub.closes == {}
        assert connection.most_messages <= QUEUE["queue_messages"]
        assert connection.most_bytes <= QUEUE["queue_bytes"]
        got: list[dict[str, Any]] = []
        while not got or got[-1]["number"] != last:
            got.append((await client.message())["payload"])
        assert [message["number"] for message in got if message.get("kind") == "log"][-len(logs) :] == logs
        newest = {message["nodeId"]: message["number"] for message in got if "nodeId" in message}
        assert newest == {number % 3: number for number in range(last - 2, last + 1)}
        order = [message["number"] for message in got]
        assert order == sorted(order)
        assert len(got) < 3_000
        hub.deliver("acme", "1", an_event(event(7)))
        assert (await client.message())["payload"]["number"] == 7


async def test_a_latest_client_is_bounded_too() -> None:
    """What may not be conflated adds up."""
    async with (
        live_hub(write_wait=30, **QUEUE) as hub,
        await a_watcher(hub, 1, mode="latest", receive_buffer=4096) as client,
    ):
        number = 0
        while not hub.closes:
            hub.deliver("acme", "1", an_event(event(number)))
            number += 1
            await asyncio.sleep(0)
        assert (await numbers(client))[1] == 4002


async def test_a_flood_of_pings_from_one_that_does_not_read_is_bounded() -> None:
    """Only the last ping needs an answer, and pongs go out before what waits."""
    async with (
        live_hub(kind=SamplingHub, write_wait=30, max_messages_per_second=1e6, queue_messages=10_000) as hub,
        await a_client(hub, sub="flooder", receive_buffer=4096) as client,
    ):
        connection = await hub.client_of("flooder")
        assert isinstance(connection, Sampled)
        await client.subscribe(1)
        await make_stuck(hub, connection, "1")
        held = connection.held[1]
        for number in range(200):
            await client.write(frame(b"%125d" % number, PING) * 100)
        await client.send({"action": "subscribe", "jobId": 2})
        await eventually_async(lambda: hub.wants("acme", "2"))
        assert connection.held[1] < held + 2_000
        assert hub.closes == {}
        pong = await client.frame()
        while pong.opcode != 10:
            pong = await client.frame()
        assert pong.data == b"%125d" % 199
