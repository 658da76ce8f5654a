"""Behind nginx everything works as in front of it: WebSocket, server-sent events, polling. The configuration is the one
on docs/operations.md."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from playwright.async_api import Page as Tab
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from tests.hub.stream_page import Page
from tests.proxy.job import Job
from tests.proxy.nginx import Nginx

pytestmark = pytest.mark.asyncio(loop_scope="session")

RELOADS = 3
BETWEEN = 40
"""Events from one reload to the next."""

EVENT_SOURCE = """token => {
    const kinds = ["snapshot", "progress", "completed", "done"];
    globalThis.got = [];
    globalThis.opened = 0;
    const source = globalThis.source = new EventSource(`/api/jobs/1/stream?after=start&token=${token}`);
    source.onopen = () => { opened += 1 };
    for (const kind of kinds)
        source.addEventListener(kind, ({data}) => got.push([kind, JSON.parse(data).payload?.n ?? null]));
}"""

FETCH = """async token => {
    const headers = {Authorization: `Bearer ${token}`};
    globalThis.text = "";
    const response = await fetch("/api/jobs/1/stream?after=start", {headers});
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    (async () => {
        for (;;) {
            const {done, value} = await reader.read();
            if (done) { globalThis.over = true; return }
            text += value;
        }
    })();
}"""


@contextlib.asynccontextmanager
async def streaming(proxy: Nginx, job: Job, last_id: str = "") -> AsyncIterator[Page]:
    """The job's stream through the proxy, from its beginning or behind an id."""
    headers = {**job.headers, **({"Last-Event-ID": last_id} if last_id else {})}
    async with (
        httpx.AsyncClient(base_url=proxy.url, trust_env=False) as http,
        http.stream("GET", "/api/jobs/1/stream", params={"after": "start"}, headers=headers) as response,
    ):
        yield Page(response)


async def message(socket: ClientConnection) -> dict[str, Any]:
    """The next one."""
    async with asyncio.timeout(20):
        told = json.loads(await socket.recv())
    assert isinstance(told, dict)
    return told


async def test_a_websocket_subscribes_and_resumes(proxy: Nginx, job: Job) -> None:
    """Live, then cut off, then again from its cursor: every event once."""
    url = f"ws://127.0.0.1:{proxy.port}/ws?token={job.token}"
    await job.report()
    async with connect(url, origin=Origin(proxy.url), proxy=None) as socket:
        await socket.send('{"action":"subscribe","jobId":1,"after":"start"}')
        assert (await message(socket))["type"] == "subscribed"
        for number in range(5):
            told = await message(socket)
            assert told["payload"]["n"] == number
            await job.report()
        cursor = told["cursor"]
    await job.report(3)
    async with connect(url, additional_headers=job.headers, proxy=None) as socket:
        await socket.send(json.dumps({"action": "subscribe", "jobId": 1, "after": cursor}))
        assert (await message(socket))["type"] == "subscribed"
        assert [(await message(socket))["payload"]["n"] for _ in range(4)] == [5, 6, 7, 8]


async def test_a_foreign_page_gets_no_websocket(proxy: Nginx, job: Job) -> None:
    """The page's own origin is in because nginx passes `Host` on; another is not."""
    url = f"ws://127.0.0.1:{proxy.port}/ws?token={job.token}"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, origin=Origin("https://evil.example"), proxy=None)
    assert refused.value.response.status_code == 403


async def test_a_stream_comes_event_by_event_and_ends_with_the_job(proxy: Nginx, job: Job) -> None:
    """Each is read before the next is reported: nginx holds none back."""
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


async def test_a_stream_outlives_reloads_by_its_last_id(proxy: Nginx, job: Job) -> None:
    """nginx cuts it off each time, wherever it is; nothing is lost and nothing comes twice."""
    seen: list[int] = []
    streams = 0

    async def read() -> None:
        nonlocal streams
        last = ""
        while True:
            async with streaming(proxy, job, last) as page:
                assert page.response.status_code == 200
                streams += 1
                with contextlib.suppress(EOFError, httpx.TransportError):
                    while True:
                        event = await page.event()
                        last = event.id
                        if event.name == "done":
                            return
                        if event.name == "progress":
                            seen.append(event.message["payload"]["n"])

    await job.report()
    reading = asyncio.create_task(read())
    async with asyncio.timeout(60):
        for cut in range(1, RELOADS + 1):
            while streams < cut or not seen:  # noqa: ASYNC110 - what is waited for is another process
                await asyncio.sleep(0.01)
            proxy.reload()
            while streams == cut:
                await job.report()
            await job.report(BETWEEN)
        await job.complete()
        await reading
    assert streams == RELOADS + 1
    assert seen == list(range(job.count))


async def test_an_event_source_outlives_a_reload_and_stays_away_after_the_end(
    *, page: Tab, proxy: Nginx, job: Job
) -> None:
    """Chromium's own: its token in the query, its last id sent by itself."""
    await job.report(3)
    await page.evaluate(EVENT_SOURCE, job.token)
    await page.wait_for_function("got.length === 3")
    await job.report()
    await page.wait_for_function("got.length === 4")
    proxy.reload()
    await page.wait_for_function("source.readyState === EventSource.CONNECTING")
    await job.report(3)
    await page.wait_for_function("got.length === 7")
    await job.report()
    await page.wait_for_function("got.length === 8")
    await job.complete()
    await page.wait_for_function("source.readyState === EventSource.CLOSED")
    expected = [*(["progress", number] for number in range(8)), ["completed", None], ["done", None]]
    assert await page.evaluate("got") == expected
    assert await page.evaluate("opened") == 2


async def test_fetch_reads_a_stream_with_its_token_in_a_header(page: Tab, job: Job) -> None:
    """As a page does that keeps its token out of URLs: each piece comes when it is there."""
    await job.report()
    await page.evaluate(FETCH, job.token)
    for number in range(5):
        await page.wait_for_function('n => text.includes(`"n": ${n}}`)', arg=number)
        await job.report()
    await job.complete()
    await page.wait_for_function("globalThis.over")
    text = await page.evaluate("text")
    assert text.count("event: progress") == job.count
    assert text.count("event: completed") == text.count("event: done") == 1


async def test_polling_gets_every_event_once(proxy: Nginx, job: Job) -> None:
    """From cursor to cursor, a few at a time, while the job goes on."""
    await job.report(5)
    seen: list[int] = []
    ends: list[str] = []
    after = "start"
    async with httpx.AsyncClient(base_url=proxy.url, headers=job.headers, trust_env=False) as http:
        while not ends:
            got = (await http.get("/api/jobs/1/events", params={"after": after, "limit": 3})).json()
            after = got["cursor"]
            for told in got["events"]:
                payload = told["payload"]
                (seen if "n" in payload else ends).append(payload.get("n", payload.get("status")))
            if job.count < 12:
                await job.report()
            elif not got["more"]:
                await job.complete()
        assert (seen, ends) == (list(range(job.count)), ["completed"])
        assert (await http.get("/api/jobs/1")).json()["snapshot"]["status"] == "completed"
        (listed,) = (await http.get("/api/jobs")).json()["jobs"]
        assert (listed["jobId"], listed["status"]) == (1, "completed")


async def test_no_token_is_in_the_proxys_log(proxy: Nginx, job: Job) -> None:
    """Though it was in a URL."""
    async with httpx.AsyncClient(base_url=proxy.url, trust_env=False) as http:
        assert (await http.get("/api/jobs", params={"token": job.token})).status_code == 200
    log = proxy.log.read_text("utf-8")
    assert '"GET /api/jobs" 200' in log
    assert job.token not in log
