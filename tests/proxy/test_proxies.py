"""Behind nginx, Caddy and Traefik everything works as in front of them, with the files of deploy/proxies."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.milepost.conftest import Service
from tests.milepost.console import milepost
from tests.proxy.conftest import Make
from tests.proxy.job import Job
from tests.proxy.proxy import Proxy
from tests.proxy.through import http, message, streaming, subscribe, websocket
from tests.waiting import eventually, eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

BETWEEN = 40
"""Events from one thing that happens to the proxy to the next."""


async def test_a_websocket_is_live_and_resumes_when_the_proxy_is_back(proxy: Proxy, job: Job) -> None:
    """Every event once, over a proxy that goes and comes."""
    await job.report()
    async with websocket(proxy, job) as socket:
        await subscribe(socket)
        for number in range(5):
            told = await message(socket)
            assert told["payload"]["n"] == number
            await job.report()
        await asyncio.to_thread(proxy.restart)
        with contextlib.suppress(ConnectionClosed):
            while True:
                told = await message(socket)
    await job.report(3)
    async with websocket(proxy, job) as socket:
        await subscribe(socket, told["cursor"])
        first = told["payload"]["n"] + 1
        assert [(await message(socket))["payload"]["n"] for _ in range(first, job.count)] == list(
            range(first, job.count)
        )


async def test_a_foreign_page_gets_no_websocket(proxy: Proxy, job: Job) -> None:
    """The page's own origin is in because the proxy passes `Host` on; another is not."""
    with pytest.raises(InvalidStatus) as refused:
        await websocket(proxy, job, "https://evil.example")
    assert refused.value.response.status_code == 403


async def test_a_stream_comes_event_by_event_and_ends_with_the_job(proxy: Proxy, job: Job) -> None:
    """Each is read before the next is reported: the proxy holds none back."""
    await job.report()
    async with streaming(proxy, job) as page:
        assert page.response.headers["content-type"].startswith("text/event-stream")
        for number in range(10):
            assert (await page.event()).message["payload"]["n"] == number
            await job.report()
        await job.complete()
        assert [event.name for event in await page.rest()] == ["progress", "completed", "done"]
        end = page.reader.id
    async with streaming(proxy, job, end) as page:
        assert page.response.status_code == 204


async def test_a_stream_outlives_reload_and_restart_by_its_last_id(proxy: Proxy, job: Job) -> None:
    """Wherever the proxy cuts it off, nothing is lost and nothing comes twice."""
    seen: list[int] = []

    async def read() -> None:
        last = ""
        while True:
            with contextlib.suppress(EOFError, httpx.TransportError):
                async with streaming(proxy, job, last) as page:
                    assert page.response.status_code == 200
                    while True:
                        event = await page.event()
                        last = event.id
                        if event.name == "done":
                            return
                        if event.name == "progress":
                            seen.append(event.message["payload"]["n"])
            await asyncio.sleep(0.01)  # a client does not come back at once either

    reading = asyncio.create_task(read())
    async with asyncio.timeout(60):
        for happens in (proxy.reload, proxy.reload, proxy.restart):
            await job.report(BETWEEN)
            await eventually_async(lambda: len(seen) == job.count)
            working = asyncio.create_task(job.report(BETWEEN))
            await asyncio.to_thread(happens)
            await working
        await job.complete()
        await reading
    assert seen == list(range(job.count))


async def test_heartbeats_come_when_nothing_else_does(proxy: Proxy, job: Job) -> None:
    async with websocket(proxy, job) as socket, streaming(proxy, job) as page:
        await subscribe(socket)
        assert (await message(socket))["type"] == "heartbeat"
        while (await page.event()).name != "heartbeat":
            pass


async def test_a_long_replay_comes_whole_and_its_last_event_is_not_held_back(proxy: Proxy, long_job: Job) -> None:
    """And what is live then comes at once, behind it."""
    async with websocket(proxy, long_job) as socket, streaming(proxy, long_job) as page:
        await subscribe(socket)
        for number in range(long_job.count):
            assert (await message(socket))["payload"]["n"] == number
            assert (await page.event()).message["payload"]["n"] == number
        await long_job.report()
        assert (await message(socket))["payload"]["n"] == long_job.count - 1
        assert (await page.event()).message["payload"]["n"] == long_job.count - 1


async def test_the_hub_is_told_who_asks_and_believes_nobody_else(proxy: Proxy, hub: Service, job: Job) -> None:
    """The address is the one that the proxy was asked from, whatever the client says of itself."""
    asked = f"/api/jobs/{uuid.uuid4().hex}"
    async with http(proxy, "127.0.0.2") as client:
        await client.get(asked, headers={**job.headers, "X-Forwarded-For": "203.0.113.9"})
    assert f'127.0.0.2:0 - \\"GET {asked} ' in await asyncio.to_thread(hub.process.until, asked)


async def test_no_token_is_in_the_proxy_s_logs(proxy: Proxy, job: Job) -> None:
    """Though it was in a URL."""
    async with http(proxy) as client:
        assert (await client.get("/api/jobs", params={"token": job.token})).status_code == 200
    async with websocket(proxy, job), httpx.AsyncClient(trust_env=False) as plain:
        sent = await plain.get(f"http://127.0.0.1:{proxy.plain_port}/api/jobs", params={"token": job.token})
        assert sent.status_code in {301, 308}
        assert sent.headers["location"].startswith("https://")
    eventually(lambda: "/api/jobs" in proxy.logs())
    assert job.token not in proxy.logs()


async def test_nor_is_it_while_there_is_no_hub(make: Make, job: Job) -> None:
    """What the proxies log of a failure has the request in it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    with make(nobody) as proxy:
        async with http(proxy) as client:
            assert (await client.get("/api/jobs", params={"token": job.token})).status_code == 502
        eventually(lambda: "/api/jobs" in proxy.logs())
        assert job.token not in proxy.logs()


async def test_below_a_path_everything_but_the_dashboard_works(make: Make, hub: Service, job: Job) -> None:
    """With the changes that docs/proxies.md gives."""
    await job.report(3)
    with make(hub.url, "/milepost") as proxy:
        async with websocket(proxy, job) as socket, streaming(proxy, job) as page:
            await subscribe(socket)
            for number in range(3):
                assert (await message(socket))["payload"]["n"] == number
                assert (await page.event()).message["payload"]["n"] == number
        await job.complete()
        env = {"MILEPOST_URL": proxy.url, "MILEPOST_TOKEN": job.token, "SSL_CERT_FILE": str(proxy.certificate.chain)}
        watched = await asyncio.to_thread(milepost, "watch", "1", env=env)
        assert watched.returncode == 0, watched.stderr
