"""Leaving a hub: everybody is told to come back, nobody holds it up, nothing is left."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import psutil
import pytest
from milepost_hub.http_protocol import HttpProtocol
from milepost_hub.hub import Hub
from milepost_hub.keys import KeySource
from milepost_hub.settings import HubSettings
from milepost_hub.token import Verifier, issue

from tests.hub.live_hub import EVENT, LiveHub, Source, a_watcher, an_event, live_hub, watchers
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


async def closing(client: RawClient) -> int:
    """The code by which the client was told to go; it does not answer."""
    try:
        while True:
            await client.text()
    except Closed as closed:
        return closed.code


async def test_everybody_is_told_to_come_back_a_few_at_a_time() -> None:
    """Two hundred clients, over the whole of the drain time; what was delivered before arrives before."""
    async with KeySource(secrets=[SECRET]) as keys:
        hub = a_hub(keys, drain_seconds=0.5)
        await hub.__aenter__()
        hub.attach(Source())
        async with watchers(hub, 200, 1) as clients:
            hub.deliver("acme", "1", an_event(EVENT))
            told = [asyncio.create_task(told_last(hub, client)) for client in clients]
            await hub.__aexit__()
            ends = await asyncio.gather(*told)
        assert {(code, events) for code, events, _ in ends} == {(4001, 1)}
        # Told all at once, each would see that all others have been told already.
        told_before = {others for _, _, others in ends}
        assert min(told_before) < 100
        assert len(told_before) > 10
        assert hub.empty
        assert hub.closes == {4001: 200}


async def told_last(hub: LiveHub, client: RawClient) -> tuple[int, int, int]:
    """By which code the client was told to go, how many events it got before, and how many were told by then."""
    messages = []
    try:
        while True:
            messages.append(await client.message())
    except Closed as closed:
        others = hub.closes[4001]
        client.close()
        return closed.code, sum(message["type"] == "job.progress" for message in messages), others


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
                hub.deliver("acme", "1", an_event(b'{"message":"%b"}' % (b"x" * 20_000)))
                await asyncio.sleep(0)
            _, code, closed = await asyncio.gather(hub.__aexit__(), closing(rude), polite.closed())
            assert (code, closed.code) == (4001, 4001)
        assert hub.empty


async def test_an_http_client_that_never_reads_does_not_hold_it_up() -> None:
    """It has asked for more than the kernel holds, and waits for none of it."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # what is accepted has the same
    before = asyncio.all_tasks()
    async with KeySource(secrets=[SECRET]) as keys:
        hub = LiveHub(HubSettings(port=0, drain_seconds=0, write_wait=0.3), Verifier(keys), listener)
        await hub.__aenter__()
        async with await RawClient.open(hub.port, receive_buffer=4096) as client:
            await client.write(b"GET /openapi.json HTTP/1.1\r\nHost: hub\r\n\r\n" * 200)
            await eventually_async(lambda: any(is_waiting(connection) for connection in hub.open_connections))
            await hub.__aexit__()
            assert hub.empty
    assert asyncio.all_tasks() == before


def is_waiting(connection: object) -> bool:
    """Whether uvicorn's protocol waits for its client to read."""
    return isinstance(connection, HttpProtocol) and connection.flow.write_paused


async def test_another_hub_can_have_the_port_at_once() -> None:
    async with live_hub(write_wait=0.3) as hub:
        client = await a_watcher(hub, 1)
        port = hub.port
    client.close()
    for _ in range(3):
        async with live_hub(port=port) as hub, await a_watcher(hub, 1) as client:
            hub.deliver("acme", "1", an_event(EVENT))
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
