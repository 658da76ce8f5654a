"""A client's connections through a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from tests.hub.stream_page import Page
from tests.proxy.job import Job
from tests.proxy.proxy import Proxy


def http(proxy: Proxy, local_address: str | None = None) -> httpx.AsyncClient:
    """Requests, from a given address of this machine if need be."""
    transport = httpx.AsyncHTTPTransport(verify=proxy.certificate.trusted, local_address=local_address)
    return httpx.AsyncClient(base_url=proxy.url, transport=transport)


@contextlib.asynccontextmanager
async def streaming(proxy: Proxy, job: Job, last_id: str = "") -> AsyncIterator[Page]:
    """The job's stream, from its beginning or behind an id."""
    headers = {**job.headers, **({"Last-Event-ID": last_id} if last_id else {})}
    async with (
        http(proxy) as client,
        client.stream("GET", "/api/jobs/1/stream", params={"after": "start"}, headers=headers) as response,
    ):
        yield Page(response)


def websocket(proxy: Proxy, job: Job, origin: str | None = None) -> connect:
    """A WebSocket with the token in its address; its origin is the proxy's own."""
    return connect(
        f"{proxy.websocket}?token={job.token}",
        origin=Origin(origin or f"https://{proxy.host}"),
        ssl=proxy.certificate.trusted,
        proxy=None,
    )


async def subscribe(socket: ClientConnection, after: str = "start") -> None:
    """To job 1, behind a cursor."""
    await socket.send(json.dumps({"action": "subscribe", "jobId": 1, "after": after}))
    assert (await message(socket))["type"] == "subscribed"


async def message(socket: ClientConnection) -> dict[str, Any]:
    """The next one."""
    async with asyncio.timeout(20):
        told = json.loads(await socket.recv())
    assert isinstance(told, dict)
    return told
