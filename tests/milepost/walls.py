"""A real nats-server with the accounts of docker/nats.conf, and its users' connections."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import nats
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from milepost.nats_server import NatsServer

CONF: Final = Path(__file__).parents[2] / "docker" / "nats.conf"
PASSWORDS: Final = {"NATS_HUB_PASSWORD": '"hub"', "NATS_ACME_PASSWORD": '"acme"'}


@contextmanager
def passwords(**more: str) -> Iterator[None]:
    """The environment that the configuration asks for; each user's password is its name."""
    before = dict(os.environ)
    os.environ.update({**PASSWORDS, **more})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def walled_server() -> Iterator[NatsServer]:
    """A nats-server with that very configuration."""
    with passwords(), NatsServer(config=CONF) as server:
        yield server


class Complaining:
    """A user's connection, and what the server complained of."""

    def __init__(self, client: Client, complaints: list[str]) -> None:
        self.client = client
        self.complaints = complaints


@asynccontextmanager
async def user(server: NatsServer, name: str) -> AsyncIterator[Complaining]:
    """One of its users, connected."""
    complaints: list[str] = []

    async def complain(error: Exception) -> None:
        complaints.append(str(error))

    client = await nats.connect(server.url, user=name, password=name, error_cb=complain)
    try:
        yield Complaining(client, complaints)
    finally:
        await client.close()


async def hearing(hub: Client, tenant: Client, subject: str, probe: str) -> Subscription:
    """A subscription that the tenant's messages reach: `probe`, which it may publish, is asked until it is heard.

    nats-server 2.15.1 answers a PING after SUB a little before another account's messages come: of 360 subscriptions,
    24 missed a message sent at once, and none missed the next, 2 ms later.
    """
    heard = await hub.subscribe(subject)
    await hub.flush()
    async with asyncio.timeout(10):
        while True:
            await tenant.publish(probe, b"probe")
            with suppress(nats.errors.TimeoutError):
                await heard.next_msg(timeout=0.05)
                break
        # the probes that came late after all stand before this one
        await tenant.publish(probe, b"last")
        while (await heard.next_msg(timeout=10)).data != b"last":
            pass
    return heard
