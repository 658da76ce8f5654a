"""A job that says nothing and is well."""

from __future__ import annotations

import os

import pytest
from playwright.async_api import Page, expect

from milepost.nats_server import NatsServer
from tests.browser.chatty_job import ChattyJob
from tests.browser.client_page import ClientPage
from tests.browser.conftest import BEAT, IDLE
from tests.browser.dashboard_page import DashboardPage
from tests.browser.wire import Wire
from tests.milepost.conftest import Service
from tests.waiting import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

SILENT_SECONDS = float(os.environ.get("MILEPOST_TEST_SILENT_SECONDS", "2"))


async def test_a_healthy_job_that_is_silent_causes_no_reconnect(
    *, client: ClientPage, wire: Wire, quick_hub: Service, shared_nats: NatsServer, tenant: str
) -> None:
    """Many times what the page has patience for: the heartbeats are what it hears."""
    with ChattyJob(shared_nats.url, tenant, "1") as job:
        await client.open(quick_hub.url, "1", {"idle": IDLE}, token=quick_hub.token(tenant))
        await client.is_connected()
        job.pause()
        heard = len(wire.of("heartbeat"))
        await eventually_async(lambda: len(wire.of("heartbeat")) >= heard + 4 * IDLE / 1_000 / BEAT)
        job.resume()
        await client.has_line(f"line {job.written + 1}")
    assert wire.sockets == 1
    assert [status["state"] for status in (await client.seen())["statuses"] if status["retryAt"] is not None] == []


async def test_two_silent_minutes_are_nothing_to_the_dashboard(
    *, page: Page, wire: Wire, hub: Service, shared_nats: NatsServer, tenant: str
) -> None:
    """With every figure as it is by default; two minutes in CI, a moment at a desk."""
    dashboard = DashboardPage(page)
    with ChattyJob(shared_nats.url, tenant, "1") as job:
        await dashboard.open(hub.url, hub.token(tenant), "1")
        await expect(page.locator(".log")).to_contain_text("line 1")
        job.pause()
        start = await page.evaluate("Date.now()")
        passed = f"start => Date.now() > start + {SILENT_SECONDS * 1_000}"
        await page.wait_for_function(passed, arg=start, timeout=(SILENT_SECONDS + 30) * 1_000)
        await dashboard.is_live()
        await expect(dashboard.pill).to_contain_text("running")
        job.resume()
        await expect(page.locator(".log")).to_contain_text(f"line {job.written + 1}")
    assert wire.sockets == 1
