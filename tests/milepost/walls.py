"""A real nats-server with the accounts of docker/nats.conf, and its users' connections."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import nats
from nats.aio.client import Client

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
