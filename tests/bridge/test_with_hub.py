"""From a NATS socket through the bridge and a real hub to WebSocket clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

from milepost_bridge import Bridge, BridgeSettings
from milepost_hub import Hub, HubSettings, KeySource, Verifier, issue
from websockets.asyncio.client import ClientConnection, connect

from milepost.nats_server import NatsServer
from tests.bridge.bare_publisher import BarePublisher
from tests.waiting import eventually_async

SECRET = "a secret of the tests, long enough for HS256"
ORIGINAL = b'{"nodeId": 1,  "nodeName": "DB Input", "status": "running", "rowCount": 5000, "extra": [1.50]}'


@contextlib.asynccontextmanager
async def hub_on(server: NatsServer) -> AsyncIterator[Hub]:
    settings = BridgeSettings(ping_interval=0.2, connect_timeout=0.5, reconnect_wait=0.05, linger=0.1)
    async with (
        KeySource(secrets=[SECRET]) as keys,
        Hub(HubSettings(port=0, drain_seconds=0), Verifier(keys)) as hub,
        Bridge(server.url, hub, settings=settings) as bridge,
    ):
        await eventually_async(lambda: bridge.up)
        yield hub


@contextlib.asynccontextmanager
async def client_of(hub: Hub, tenant: str, job: int | str) -> AsyncIterator[ClientConnection]:
    """The original client: a token in the URL, one subscribe message."""
    token = issue(SECRET, tenant=tenant)
    async with connect(f"ws://127.0.0.1:{hub.port}/ws?token={token}") as client:
        await client.send(json.dumps({"action": "subscribe", "jobId": job}))
        await received(client, "subscribed")
        if job != "*":
            await received(client, "job.snapshot")
        yield client


async def received(client: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of that type."""
    async with asyncio.timeout(20):
        async for text in client:
            message: dict[str, Any] = json.loads(text)
            if message["type"] == kind:
                return message
    raise ConnectionError("closed")


def a_tenant() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


async def test_the_original_payload_reaches_the_original_client(shared_nats: NatsServer) -> None:
    """Byte for byte, as soon as the client has been told that it is subscribed."""
    tenant = a_tenant()
    async with hub_on(shared_nats) as hub, client_of(hub, tenant, 123) as client:
        with BarePublisher(shared_nats.port) as publisher:
            publisher.publish(f"tenant.{tenant}.job.123.progress".encode(), ORIGINAL)
        async with asyncio.timeout(20):
            text = await client.recv(decode=False)
    assert ORIGINAL in text
    message = json.loads(text)
    assert (message["type"], message["jobId"], message["payload"]) == (
        "job.progress",
        123,
        json.loads(ORIGINAL),
    )


async def test_a_client_of_another_tenant_receives_nothing(shared_nats: NatsServer) -> None:
    """The same job id under two tenants is two jobs."""
    mine, theirs = a_tenant(), a_tenant()
    async with (
        hub_on(shared_nats) as hub,
        client_of(hub, mine, 1) as client,
        client_of(hub, theirs, 1) as other,
    ):
        with BarePublisher(shared_nats.port) as publisher:
            publisher.publish(f"tenant.{theirs}.job.1.progress".encode(), b'{"message":"theirs"}')
            publisher.publish(f"tenant.{mine}.job.1.progress".encode(), b'{"message":"mine"}')
        assert (await received(client, "job.progress"))["payload"] == {"message": "mine"}
        assert (await received(other, "job.progress"))["payload"] == {"message": "theirs"}


async def test_a_client_of_all_jobs_receives_summaries(shared_nats: NatsServer) -> None:
    """Of a job that nobody watches by its name."""
    tenant = a_tenant()
    async with hub_on(shared_nats) as hub, client_of(hub, tenant, "*") as client:
        with BarePublisher(shared_nats.port) as publisher:
            publisher.publish(f"tenant.{tenant}.job.7.progress".encode(), b'{"fraction":0.5}')
            publisher.publish(f"tenant.{tenant}.job.7.progress".encode(), b'{"fraction":0.75}')
        first, last = await received(client, "job.summary"), await received(client, "job.summary")
    assert (first["jobId"], first["fraction"], last["fraction"]) == (7, 0.5, 0.75)


async def test_clients_stay_while_nats_is_killed_and_comes_back(nats_server: NatsServer) -> None:
    """They are told down and up, and the stream goes on over the same connection."""
    tenant = a_tenant()
    async with hub_on(nats_server) as hub, client_of(hub, tenant, 1) as client:
        for life in range(3):
            nats_server.kill()
            assert (await received(client, "upstream"))["status"] == "down"
            nats_server.start()
            assert (await received(client, "upstream"))["status"] == "up"
            with BarePublisher(nats_server.port) as publisher:
                publisher.publish(f"tenant.{tenant}.job.1.progress".encode(), b'{"message":"%d"}' % life)
            assert (await received(client, "job.progress"))["payload"] == {"message": str(life)}


async def test_a_reload_right_after_the_last_client_left_misses_nothing(shared_nats: NatsServer) -> None:
    """Whatever the timing of leaving and coming back, `subscribed` means subscribed."""
    tenant = a_tenant()
    async with hub_on(shared_nats) as hub:
        with BarePublisher(shared_nats.port) as publisher:
            for visit in range(10):
                async with client_of(hub, tenant, 1) as client:
                    publisher.publish(f"tenant.{tenant}.job.1.progress".encode(), b'{"message":"%d"}' % visit)
                    assert (await received(client, "job.progress"))["payload"] == {"message": str(visit)}
