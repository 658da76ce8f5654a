"""A body comes whole or is refused: too long, too late, cut off. By real clients that send it in every way there is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from milepost_hub.token import issue

from tests.hub.live_hub import LiveHub, live_hub
from tests.hub.memory_desk import MemoryDesk
from tests.hub.raw_client import RawClient
from tests.hub.signers import SECRET
from tests.waiting import eventually_async

TOKEN = issue(SECRET, "acme", scopes=["submit"])
MOST = 1000


@contextlib.asynccontextmanager
async def bounded_hub(body_wait: float = 10) -> AsyncIterator[LiveHub]:
    async with live_hub(submit_max_bytes=MOST, body_wait=body_wait) as hub:
        hub.employ(MemoryDesk())
        yield hub


def head(*lines: str) -> bytes:
    return "\r\n".join(
        ["POST /api/jobs HTTP/1.1", "Host: hub.example", f"Authorization: Bearer {TOKEN}", *lines, "", ""]
    ).encode()


def a_body(size: int) -> bytes:
    start = b'{"name":"import","payload":{"rows":1,"text":"'
    return start + b"x" * (size - len(start) - 3) + b'"}}'


async def chunks(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("size", "status"),
    [(MOST, 201), (MOST + 1, 413), (500_000, 413), (1_000_000, 413)],
)
async def test_the_bound_is_met_to_the_byte(size: int, status: int, chunked: bool) -> None:
    """However it is sent; a client that sends all of it before it reads gets its answer, and goes on."""
    async with (
        bounded_hub() as hub,
        httpx.AsyncClient(base_url=hub.url, trust_env=False, headers={"Authorization": f"Bearer {TOKEN}"}) as http,
    ):
        for _ in range(3):
            body = chunks(a_body(size), 7_000) if chunked else a_body(size)
            response = await http.post("/api/jobs", content=body)
            assert response.status_code == status, response.text
        if status != 201:
            assert response.json()["detail"] == "the body is longer than 1000 bytes"
            assert hub.submits == {"refused": 3}


async def test_what_says_that_it_is_endless_is_refused_unread() -> None:
    """From its head; what does not say so, after the first megabyte. Neither connection is used again."""
    async with bounded_hub() as hub:
        async with await RawClient.open(hub.port) as client:
            await client.write(head("Content-Length: 100000000000", "Expect: 100-continue"))
            response = await client.response()
            assert (response.status, response.headers["connection"]) == (413, "close")
            assert await client.at_end()
        async with await RawClient.open(hub.port) as client:
            await client.write(head("Transfer-Encoding: chunked"))
            with contextlib.suppress(ConnectionError):  # the hub ends it while this still sends
                async with asyncio.timeout(10):
                    while True:
                        await client.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        assert hub.submits == {"refused": 2}


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with bounded_hub(body_wait=0.2) as hub, await RawClient.open(hub.port) as client:
        await client.write(head("Content-Length: 100") + b'{"name":')
        response = await client.response()
        assert response.headers["connection"] == "close"
        assert (response.status, json.loads(response.body)["detail"]) == (
            408,
            "the body has not come within 0.2 seconds",
        )
        assert await client.at_end()


async def test_a_client_that_goes_half_way_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is submitted, and nothing logged as an error."""
    async with bounded_hub() as hub:
        async with await RawClient.open(hub.port) as client:
            await client.write(head("Content-Length: 100") + b'{"name":')
            await eventually_async(lambda: hub.open_connections)
        await eventually_async(lambda: hub.submits == {"refused": 1})
        await hub.emptied()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_body_may_come_a_byte_at_a_time() -> None:
    async with bounded_hub() as hub, await RawClient.open(hub.port) as client:
        body = a_body(100)
        await client.write(head("Content-Length: 100"))
        for byte in body:
            await client.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.response()).status == 201
