"""What an event costs, counted: one encoding, one write per client and flush, nothing for whoever does not watch."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from types import FrameType
from typing import cast

import pytest
from milepost_hub.connection import Connection
from uvicorn import Config
from uvicorn.server import ServerState

from tests.hub.live_hub import EVENT, LiveHub, a_client, a_watcher, an_event, live_hub, watchers
from tests.hub.raw_client import RawClient, frame
from tests.waiting import eventually_async

QUICK_TALKER = 1_000_000


class CountedTransport:
    """A transport that notes every write, and is the real one in all else."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)


class Counted(Connection):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        counted = CountedTransport(cast("asyncio.Transport", transport))
        super().connection_made(cast("asyncio.Transport", counted))

    @property
    def writes(self) -> list[bytes]:
        return cast("CountedTransport", self.transport).writes


class CountingHub(LiveHub):
    def _make_connection(self, config: Config, server_state: ServerState, app_state: dict[str, object]) -> Connection:
        return Counted(self, cast("set[object]", server_state.connections))

    def written(self) -> list[list[bytes]]:
        """All that was written to each client since the last time."""
        counted = [client for client in self.clients if isinstance(client, Counted)]
        written = [list(client.writes) for client in counted]
        for client in counted:
            client.writes.clear()
        return written


async def flushed(hub: LiveHub, before: int) -> None:
    await eventually_async(lambda: hub.flushes > before)


async def test_an_event_is_encoded_once_and_written_once_to_each_client() -> None:
    """Not equal bytes: the same ones."""
    async with live_hub(kind=CountingHub) as hub, watchers(hub, 50, 1) as clients:
        assert isinstance(hub, CountingHub)
        hub.written()
        hub.deliver("acme", "1", an_event(EVENT))
        await flushed(hub, 0)
        written = hub.written()
        assert [len(writes) for writes in written] == [1] * len(clients)
        assert len({id(writes[0]) for writes in written}) == 1


async def test_events_of_several_jobs_that_share_a_flush_share_one_write() -> None:
    """In order within each job, and joined once for all clients that watch the same jobs."""
    async with live_hub(kind=CountingHub) as hub, watchers(hub, 10, 1) as clients:
        assert isinstance(hub, CountingHub)
        for client in clients:
            await client.subscribe(2)
        hub.written()
        for number in range(20):
            for job in ("1", "2"):
                hub.deliver("acme", job, an_event(b'{"message":"%d"}' % number))
        await flushed(hub, 0)
        written = hub.written()
        assert [len(writes) for writes in written] == [1] * len(clients)
        assert len({id(writes[0]) for writes in written}) == 1
        for client in clients:
            got: dict[int, list[str]] = {1: [], 2: []}
            for _ in range(40):
                message = await client.message()
                got[message["jobId"]].append(message["payload"]["message"])
            assert got == {job: [str(number) for number in range(20)] for job in (1, 2)}


async def test_events_in_a_row_share_flushes_and_arrive_in_order() -> None:
    """A busy hub batches: many events, few writes, everything there."""
    async with live_hub(kind=CountingHub) as hub, watchers(hub, 20, 1) as clients:
        assert isinstance(hub, CountingHub)
        hub.written()
        for number in range(2_000):
            hub.deliver("acme", "1", an_event(b'{"message":"%d"}' % number))
            if number % 100 == 99:
                await asyncio.sleep(0)
        for client in clients:
            for number in range(2_000):
                assert (await client.message())["payload"]["message"] == str(number)
        assert {len(writes) for writes in hub.written()} == {hub.flushes}
        assert hub.flushes <= 20


async def test_a_flood_in_one_go_does_not_wait_for_the_pace() -> None:
    """What is owed is bounded, so it leaves before it is too much."""
    async with live_hub(queue_bytes=4096, queue_messages=10_000) as hub, await a_watcher(hub, 1) as client:
        for number in range(100):
            hub.deliver("acme", "1", an_event(b'{"message":"%d","more":"%b"}' % (number, b"x" * 100)))
        assert hub.flushes > 10
        for number in range(100):
            assert (await client.message())["payload"]["message"] == str(number)


def calls_for(hub: LiveHub, job: str) -> Counter[str]:
    """Every call of the hub's own functions, and by them, that one event and its flush make."""
    counted: Counter[str] = Counter()
    # One before, so that a flush is on the loop's list already, in every measurement.
    hub.deliver("acme", job, an_event(EVENT))
    hub._fanout.flush()

    def count(held: FrameType, kind: str, argument: object) -> None:
        if "milepost_hub" not in held.f_code.co_filename:
            return  # the event loop's list of timers has its own costs
        if kind == "call":
            counted[held.f_code.co_qualname] += 1
        elif kind == "c_call":
            counted[getattr(argument, "__qualname__", str(argument))] += 1

    sys.setprofile(count)
    try:
        hub.deliver("acme", job, an_event(EVENT))
        hub._fanout.flush()
    finally:
        sys.setprofile(None)
    return counted


async def test_an_event_costs_nothing_for_five_thousand_other_channels() -> None:
    """The same calls, to the last one, whether the hub carries one job or thousands."""
    async with (
        live_hub(max_messages_per_second=QUICK_TALKER) as hub,
        watchers(hub, 3, "busy") as clients,
    ):
        alone = calls_for(hub, "busy")
        others = [await a_client(hub, tenant) for tenant in ("acme", "globex") for _ in range(25)]
        for place, client in enumerate(others):
            jobs = [json.dumps({"action": "subscribe", "jobId": f"idle-{place}-{n}"}).encode() for n in range(100)]
            await client.write(b"".join(frame(job) for job in jobs))
            for _ in jobs:
                await client.message()
        assert len(hub._channels) == 5_001
        assert calls_for(hub, "busy") == alone
        assert alone["Connection.push"] == len(clients)
        assert alone["text_frame"] == 1
        for client in others:
            client.close()


async def test_an_event_nobody_watches_is_not_even_encoded() -> None:
    async with live_hub() as hub, await a_watcher(hub, 1) as client:
        assert calls_for(hub, "2")["text_frame"] == 0
        assert (await client.subscribe(2))["type"] == "subscribed"


async def test_one_clients_mishap_does_not_end_a_flush(caplog: pytest.LogCaptureFixture) -> None:
    """A connection whose write fails is given up; those behind it are served."""

    class Mishap(Counted):
        @property
        def cursed(self) -> bool:
            return self.session.grant is not None and self.session.grant.subject == "cursed"

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            real = self.transport

            class Failing(CountedTransport):
                def write(inner, data: bytes) -> None:  # noqa: N805 - self is the connection
                    if self.cursed and b"job.progress" in data:
                        raise RuntimeError("the connection is lost")
                    super().write(data)

            self.transport = cast("asyncio.Transport", Failing(real))

    class MishapHub(LiveHub):
        def _make_connection(
            self, config: Config, server_state: ServerState, app_state: dict[str, object]
        ) -> Connection:
            return Mishap(self, cast("set[object]", server_state.connections))

    async with live_hub(kind=MishapHub) as hub:
        clients: list[RawClient] = []
        for place in range(9):
            clients.append(await a_watcher(hub, 1, sub="cursed" if place == 4 else None))
        hub.deliver("acme", "1", an_event(EVENT))
        cursed = clients.pop(4)
        for client in clients:
            assert (await client.message())["type"] == "job.progress"
        await eventually_async(lambda: len(hub.clients) == 8)
        for client in [cursed, *clients]:
            client.close()
    assert "failed while writing" in caplog.text


async def test_what_was_read_goes_out_when_the_upstream_has_caught_up() -> None:
    """In that very call, not a turn of the loop later; and what is too early waits for as long as it is told."""
    async with live_hub(kind=CountingHub, flush_rest=1, flush_pause=1) as hub, watchers(hub, 3, 1):
        assert isinstance(hub, CountingHub)
        hub.written()
        for number in range(5):
            hub.deliver("acme", "1", an_event(b'{"rowCount":%d}' % number, "1"))
        assert 0 < hub.caught_up() <= 1
        assert [len(writes) for writes in hub.written()] == [1, 1, 1]
        hub.deliver("acme", "1", an_event(b'{"rowCount":6}', "1"))
        assert 0 < hub.caught_up() <= 1
        assert [len(writes) for writes in hub.written()] == [0, 0, 0]
