"""Leaving a hub: everybody is told to come back, nobody holds it up, nothing is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import psutil
import pytest
from milepost_hub.hub import Hub
from milepost_hub.keys import KeySource
from milepost_hub.settings import HubSettings
from milepost_hub.token import Verifier, issue

from tests.hub.live_hub import EVENT, LiveHub, Source, a_watcher, live_hub, watchers
from tests.hub.raw_client import Closed, RawClient, upgrade
from tests.hub.signers import SECRET
from tests.waiting import eventually_async


@pytest.fixture(autouse=True)
def no_socket_is_left() -> Iterator[None]:
    """Of this process, after each test."""
    before = {connection.fd for connection in psutil.Process().net_connections("tcp")}
    yield
    assert {connection.fd for connection in psutil.Process().net_connections("tcp")} <= before


def a_hub(keys: KeySource, **settings: object) -> LiveHub:
    return LiveHub(HubSettings.model_validate({"port": 0, **settings}), Verifier(keys))


async def closing(client: RawClient) -> tuple[float, int]:
    """When the client was told to go, and by which code."""
    try:
        while True:
            await client.text()
    except Closed as closed:
        return time.monotonic(), closed.code


async def test_everybody_is_told_to_come_back_a_few_at_a_time() -> None:
    """Two hundred clients, over the whole of the drain time; what was delivered before arrives before."""
    async with KeySource(secrets=[SECRET]) as keys:
        hub = a_hub(keys, drain_seconds=0.5)
        await hub.__aenter__()
        hub.attach(Source())
        async with watchers(hub, 200, 1) as clients:
            hub.deliver("acme", "1", EVENT, None)
            told = [asyncio.create_task(told_last(client)) for client in clients]
            await hub.__aexit__()
            ends = await asyncio.gather(*told)
        assert {code for _, code, _ in ends} == {4001}
        assert {events for _, _, events in ends} == {1}
        times = sorted(at for at, _, _ in ends)
        quarter = (times[-1] - times[0]) / 4
        # Spread, not in bunches: no quarter of the time has more than half of the clients.
        for number in range(4):
            start = times[0] + number * quarter
            assert sum(start <= at < start + quarter for at in times) < 100
        assert hub.empty
        assert hub.closes == {4001: 200}


async def told_last(client: RawClient) -> tuple[float, int, int]:
    """When the client was told to go, by which code, and how many events it had got before."""
    messages, closed = await client.rest()
    return time.monotonic(), closed.code, sum(message["type"] == "job.progress" for message in messages)


async def test_one_that_never_reads_does_not_hold_it_up() -> None:
    """Nor does one that never answers the closing frame: both are cut off after the write wait."""
    async with KeySource(secrets=[SECRET]) as keys:
        hub = a_hub(keys, drain_seconds=0, write_wait=0.4, queue_messages=100_000)
        await hub.__aenter__()
        hub.attach(Source())
        async with (
            await a_watcher(hub, 1, sub="deaf", receive_buffer=4096),
            await a_watcher(hub, 2) as rude,
            await a_watcher(hub, 2) as polite,
        ):
            connection = await hub.client_of("deaf")
            while connection.liveness.stuck_since is None:
                hub.deliver("acme", "1", b'{"message":"%b"}' % (b"x" * 20_000), None)
                await asyncio.sleep(0)
            _, (_, code), (_, other) = await asyncio.gather(hub.__aexit__(), closing(rude), closing_politely(polite))
            assert (code, other) == (4001, 4001)
        assert hub.empty


async def closing_politely(client: RawClient) -> tuple[float, int]:
    closed = await client.closed()
    return time.monotonic(), closed.code


async def test_another_hub_can_have_the_port_at_once() -> None:
    async with live_hub(write_wait=0.3) as hub:
        client = await a_watcher(hub, 1)
        port = hub.port
    client.close()
    for _ in range(3):
        async with live_hub(port=port) as hub, await a_watcher(hub, 1) as client:
            hub.deliver("acme", "1", EVENT, None)
            assert (await client.message())["type"] == "job.progress"


@pytest.mark.parametrize(
    "said", [b"", b"GET /ws HT", upgrade("/ws")[:-2]], ids=["nothing", "a word", "all but the end"]
)
async def test_a_handshake_that_is_half_done_does_not_hold_it_up(said: bytes) -> None:
    async with live_hub() as hub:
        client = await RawClient.open(hub.port)
        await client.write(said)
        await eventually_async(lambda: hub.open_connections)
    assert await client.at_end()
    client.close()


async def test_those_who_come_while_it_leaves_are_not_left_behind() -> None:
    """A flood of handshakes during the shutdown: each is served and told to go, or refused, or closed."""
    async with KeySource(secrets=[SECRET]) as keys:
        hub = a_hub(keys, drain_seconds=0.2, write_wait=0.5)
        await hub.__aenter__()
        port, over = hub.port, asyncio.Event()
        token = issue(SECRET, "acme")
        ends: list[str] = []

        async def come() -> None:
            while not over.is_set():
                try:
                    async with await RawClient.connect(port, token) as client:
                        ends.append(str((await client.closed()).code))
                except (OSError, EOFError) as error:
                    ends.append(type(error).__name__)
                    await asyncio.sleep(0)

        coming = [asyncio.create_task(come()) for _ in range(20)]
        await eventually_async(lambda: len(hub.clients) == 20)
        await hub.__aexit__()
        assert hub.empty
        over.set()
        await asyncio.gather(*coming)
        assert ends.count("4001") >= 20
        assert set(ends) <= {"4001", "ConnectionRefusedError", "ConnectionResetError", "EOFError"}


async def test_a_hub_whose_body_failed_leaves_nothing_either() -> None:
    before = asyncio.all_tasks()
    clients = []

    async def fail() -> None:
        async with live_hub(write_wait=0.3) as hub:
            clients.append(await a_watcher(hub, 1))
            raise LookupError("the program's own")

    with pytest.raises(LookupError):
        await fail()
    assert asyncio.all_tasks() == before
    assert (await clients[0].closed()).code == 4001
    clients[0].close()


async def test_a_hub_that_nobody_visited_is_gone_at_once() -> None:
    before = asyncio.all_tasks()
    async with KeySource(secrets=[SECRET]) as keys, Hub(HubSettings(port=0), Verifier(keys)):
        pass
    assert asyncio.all_tasks() == before
