"""A browser and a poller behind a proxy: what is the same behind each is tried with nginx alone."""

from __future__ import annotations

import pytest
from playwright.async_api import Page as Tab

from tests.proxy.job import Job
from tests.proxy.proxy import Proxy
from tests.proxy.through import http

pytestmark = pytest.mark.asyncio(loop_scope="session")

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


async def test_an_event_source_outlives_a_reload_and_stays_away_after_the_end(
    *, page: Tab, nginx: Proxy, job: Job
) -> None:
    """Chromium's own: its token in the query, its last id sent by itself."""
    await job.report(3)
    await page.evaluate(EVENT_SOURCE, job.token)
    await page.wait_for_function("got.length === 3")
    await job.report()
    await page.wait_for_function("got.length === 4")
    nginx.reload()
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


async def test_polling_gets_every_event_once(nginx: Proxy, job: Job) -> None:
    """From cursor to cursor, a few at a time, while the job goes on."""
    await job.report(5)
    seen: list[int] = []
    ends: list[str] = []
    after = "start"
    async with http(nginx) as client:
        client.headers.update(job.headers)
        while not ends:
            got = (await client.get("/api/jobs/1/events", params={"after": after, "limit": 3})).json()
            after = got["cursor"]
            for told in got["events"]:
                payload = told["payload"]
                (seen if "n" in payload else ends).append(payload.get("n", payload.get("status")))
            if job.count < 12:
                await job.report()
            elif not got["more"]:
                await job.complete()
        assert (seen, ends) == (list(range(job.count)), ["completed"])
        assert (await client.get("/api/jobs/1")).json()["snapshot"]["status"] == "completed"
        (listed,) = (await client.get("/api/jobs")).json()["jobs"]
        assert (listed["jobId"], listed["status"]) == (1, "completed")
