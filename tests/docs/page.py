"""A block run in a browser, on a page of the hub's own origin."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import nats
from nats.aio.client import Client
from playwright.async_api import Browser, ConsoleMessage, Error, Page, Request, WebSocket

from tests.docs.block import Block
from tests.docs.surroundings import Surroundings
from tests.waiting import eventually_async

# the one that stands for all jobs of the tenant
_ANY_JOB: Final = 42
# seconds between two events of a job
_PACE: Final = 0.05
_WATCHES: Final = re.compile(r"new (WebSocket|EventSource|Milepost)\b|\bfollowJob\(|<milepost-job\b")
_STREAM: Final = re.compile(r"/api/jobs/(?P<job>[^/]+)/stream")


class Watched:
    """What the block's page asks for, is told, and complains of."""

    def __init__(self, page: Page) -> None:
        self.sockets = 0
        self.jobs: list[str | int] = []
        self.received: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        page.on("websocket", self._opened)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._said)
        page.on("request", self._requested)
        page.on("requestfailed", self._failed)

    async def listen(self, page: Page) -> None:
        """Hear what server-sent events bring too: Playwright tells of them only as Chromium does."""
        session = await page.context.new_cdp_session(page)
        session.on("Network.eventSourceMessageReceived", lambda event: self.received.append(json.loads(event["data"])))
        await session.send("Network.enable")

    @property
    def fed(self) -> bool:
        """Whether an event has come for each job that was asked for."""
        told = {
            str(message.get("jobId")) for message in self.received if message["type"] in {"job.progress", "job.summary"}
        }
        return bool(self.jobs) and {str(job) for job in self.jobs} <= told

    def _opened(self, socket: WebSocket) -> None:
        self.sockets += 1
        socket.on("framesent", self._sent)
        socket.on("framereceived", lambda frame: self.received.append(json.loads(frame)))

    def _sent(self, frame: str | bytes) -> None:
        message = json.loads(frame)
        if message["action"] == "subscribe":
            self.jobs.append(_ANY_JOB if message["jobId"] == "*" else message["jobId"])

    def _requested(self, request: Request) -> None:
        if stream := _STREAM.search(request.url):
            self.jobs.append(stream["job"])

    def _said(self, line: ConsoleMessage) -> None:
        # a browser asks for a picture of the page that no block is about
        if line.type == "error" and not line.location["url"].endswith("/favicon.ico"):
            self.complaints.append(line.text)

    def _failed(self, request: Request) -> None:
        self.complaints.append(f"{request.url}: {request.failure}")


async def run_js(block: Block, browser: Browser, around: Surroundings) -> None:
    """As the body of an asynchronous function, so that it may await."""
    await _run(block, browser, around, lambda page: page.evaluate(f"async () => {{\n{block.text}\n}}"))


async def run_html(block: Block, browser: Browser, around: Surroundings) -> None:
    """As the whole document, at an address of the hub's."""

    async def show(page: Page) -> None:
        address = f"{around.url}/a-page-of-yours"
        await page.route(address, lambda route: route.fulfill(body=block.text, content_type="text/html; charset=utf-8"))
        await page.goto(address)

    await _run(block, browser, around, show)


async def _run(block: Block, browser: Browser, around: Surroundings, act: Callable[[Page], Awaitable[object]]) -> None:
    """`act`, with `token` defined; a block that watches jobs has worked once each was heard of."""
    tenant = f"docs-{uuid.uuid4().hex[:12]}"
    context = await browser.new_context()
    try:
        page = await context.new_page()
        watched = Watched(page)
        await watched.listen(page)
        await page.add_init_script(f"globalThis.token = {around.token(tenant)!r}")
        await page.goto(f"{around.url}/healthz")
        async with feeding(watched, around.nats_url, tenant):
            await act(page)
            if _WATCHES.search(block.text):
                await eventually_async(lambda: watched.complaints or watched.fed)
        # one more turn of the page's own loop: it has handled what it received
        await page.evaluate("() => new Promise(resolve => setTimeout(resolve))")
    except (Error, TimeoutError) as error:
        raise AssertionError(f"{block.place}: {error}; received {watched.received}\n{block.text}") from error
    finally:
        await context.close()
    assert not watched.complaints, f"{block.place}: {watched.complaints}\n{block.text}"


@asynccontextmanager
async def feeding(watched: Watched, nats_url: str, tenant: str) -> AsyncIterator[None]:
    """Jobs that go on for as long as somebody may be listening: what is asked for gets events."""
    client = await nats.connect(nats_url)
    feeder = asyncio.create_task(_feed(watched, client, tenant))
    try:
        yield
    finally:
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)
        await client.close()


async def _feed(watched: Watched, client: Client, tenant: str) -> None:
    for count in itertools.count(1):
        event = {"nodeId": 1, "nodeName": "DB Input", "status": "running", "rowCount": count, "total": 10**6}
        for job in watched.jobs:
            await client.publish(f"tenant.{tenant}.job.{job}.progress", json.dumps(event).encode())
        await asyncio.sleep(_PACE)
