"""A real hub on a real socket, and a source of events that is no NATS. Every use checks that nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from milepost_hub.connection import Connection
from milepost_hub.errors import HubError, JobSilent
from milepost_hub.event import Event
from milepost_hub.grant import Grant
from milepost_hub.hub import Hub
from milepost_hub.job_log import JobLog
from milepost_hub.keys import KeySource
from milepost_hub.settings import HubSettings
from milepost_hub.signer import Signer
from milepost_hub.token import Verifier, issue
from milepost_hub.upstream import Interest

from tests.hub.memory_log import MemoryLog
from tests.hub.raw_client import RawClient
from tests.hub.signers import SECRET
from tests.waiting import eventually_async

EVENT = b'{"nodeId": 1, "nodeName": "DB Input", "status": "running", "rowCount": 5000, "message": "Processing rows..."}'


def an_event(payload: bytes, key: str | None = None) -> Event:
    """An event as it comes without a log."""
    return Event(payload, "progress", key, end=None, final=False, position=None, cursor=None, at=None)


class Source:
    """An `Upstream` of the test's own: remembers the interest it was told of, is up and in effect when told to be."""

    def __init__(self, *, up: bool = True, log: JobLog | None = None) -> None:
        self.up = up
        self.log = log
        self.trouble: str | None = None
        self.told: list[tuple[str, Interest]] = []
        self.answer: bytes | HubError = JobSilent("nobody listens there")
        """What a job's program says to any request."""
        self.asked: list[tuple[str, str, bytes]] = []
        self.pending: asyncio.Future[None] | None = None
        """What the next interest has to wait for."""

    def interest(self, tenant: str, interest: Interest) -> asyncio.Future[None] | None:
        """Remember it."""
        self.told.append((tenant, interest))
        return self.pending

    async def ask(self, tenant: str, job: str, request: bytes) -> bytes:
        """Answer as the test has set it."""
        self.asked.append((tenant, job, request))
        if isinstance(self.answer, HubError):
            raise self.answer
        return self.answer


class LiveHub(Hub):
    """The hub as it is, with windows for the tests to look through."""

    source: Source

    @property
    def clients(self) -> set[Connection]:
        """The WebSocket clients that count."""
        return {client for client in self._clients if isinstance(client, Connection)}

    @property
    def open_connections(self) -> set[object]:
        """Whatever uvicorn believes to be connected."""
        return set(self._server.server_state.connections)

    @property
    def joining(self) -> int:
        """Replays in progress."""
        return sum(len(channel.replays) + len(channel.listings) for channel in self._channels.values())

    @property
    def tasks(self) -> int:
        """Tasks of the hub's own that run for clients."""
        return len(self._tasks)

    @property
    def flushes(self) -> int:
        """How often the fan-out has flushed."""
        return self._fanout.flushes

    @property
    def empty(self) -> bool:
        """Whether nobody and nothing is left."""
        return not (self._clients or self._channels or self._tenants or self._tasks or self.open_connections)

    async def emptied(self) -> None:
        """Wait until everybody has left."""
        await eventually_async(lambda: self.empty)

    async def client_of(self, grant: str) -> Connection:
        """The hub's side of the one client with this `sub`."""

        def holds(held: Grant | None) -> bool:
            return held is not None and held.subject == grant

        found = await eventually_async(lambda: [c for c in self.clients if holds(c.session.grant)])
        return found[0]


@contextlib.asynccontextmanager
async def live_hub(
    *,
    kind: type[LiveHub] = LiveHub,
    verifier: Verifier | None = None,
    source: Source | None = None,
    pages: Path | None = None,
    signer: Signer | None = None,
    **settings: object,
) -> AsyncIterator[LiveHub]:
    """A hub with these settings, sending its clients away at once when left; then nothing of it is left over."""
    before = asyncio.all_tasks()
    figures = {"port": 0, "drain_seconds": 0, "write_wait": 2, **settings}
    async with KeySource(secrets=[SECRET]) as keys:
        hub = kind(HubSettings.model_validate(figures), verifier or Verifier(keys), pages=pages, signer=signer)
        async with hub:
            hub.source = source or Source()
            if isinstance(hub.source.log, MemoryLog):
                hub.source.log.hub = hub
            hub.attach(hub.source)
            yield hub
    assert hub.empty
    assert asyncio.all_tasks() - {asyncio.current_task()} <= before


@contextlib.asynccontextmanager
async def logged_hub(**settings: Any) -> AsyncIterator[tuple[LiveHub, MemoryLog]]:  # noqa: ANN401 - as `live_hub`'s
    """A hub with a log behind it."""
    log = MemoryLog()
    async with live_hub(source=Source(log=log), max_messages_per_second=1_000_000, **settings) as hub:
        yield hub, log


async def a_client(
    hub: Hub, tenant: str = "acme", *, sub: str | None = None, receive_buffer: int | None = None
) -> RawClient:
    """A client of the tenant, connected."""
    return await RawClient.connect(hub.port, issue(SECRET, tenant, subject=sub), receive_buffer=receive_buffer)


async def a_watcher(
    hub: Hub,
    job: int | str,
    tenant: str = "acme",
    *,
    mode: str = "all",
    sub: str | None = None,
    receive_buffer: int | None = None,
) -> RawClient:
    """A client of the tenant, subscribed to the job."""
    client = await a_client(hub, tenant, sub=sub, receive_buffer=receive_buffer)
    assert (await client.subscribe(job, mode=mode))["type"] == "subscribed"
    return client


@contextlib.asynccontextmanager
async def watchers(hub: Hub, count: int, job: int | str) -> AsyncIterator[list[RawClient]]:
    """So many of them, closed in the end."""
    clients: list[RawClient] = []
    try:
        for _ in range(count):
            clients.append(await a_watcher(hub, job))
        yield clients
    finally:
        for client in clients:
            client.close()
