"""The connection, the job's state and how fresh it is: three things, none of which changes another."""

from __future__ import annotations

import httpx
import nats
import pytest
from playwright.async_api import Page, expect

from milepost.nats_server import NatsServer
from tests.browser.dashboard.reports import PLAN, Reports
from tests.milepost.conftest import Service, serving
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


def ready(hub: Service) -> None:
    """Wait until the hub has its log."""
    eventually(lambda: httpx.get(f"{hub.url}/readyz").is_success)


async def test_without_the_hub_clocks_stand_still_and_what_was_missed_for_good_is_told(
    page: Page, nats_server: NatsServer, tenant: str
) -> None:
    elapsed = page.locator(".job-head .clock").first
    status = page.locator("[role=status][aria-live=polite]")
    async with Reports(nats_server.url, tenant) as reports:
        with serving(nats_server.url) as hub:
            ready(hub)
            port = hub.url.rpartition(":")[2]
            await reports.say(42, {"kind": "job", "status": "running", "name": "Import"}, PLAN)
            await reports.say(42, {"kind": "log", "message": "before"}, {"nodeId": 1, "status": "completed"})
            await page.goto(f"{hub.url}/#token={hub.token(tenant)}&job=42")
            await expect(page.locator(".job-head .percent")).to_have_text("25 %")
        await expect(page.locator(".connection")).to_have_text("reconnecting")
        strip = page.locator(".trouble-strip")
        await expect(strip).to_contain_text("Clocks stand still since")
        await expect(strip.get_by_role("button", name="Try now")).to_be_visible()
        await expect(status).to_contain_text("Connection lost")
        stood = await elapsed.inner_text()
        # the page itself goes on counting to the next try
        await expect(strip).to_contain_text("Next try in 0:0")
        await expect(page.locator(".job-head .pill")).to_have_text("running")
        await expect(page.locator(".job-head .percent")).to_have_text("25 %")

        client = await nats.connect(nats_server.url)
        await client.jetstream().delete_stream("MILEPOST_LOG")
        await client.close()
        assert await elapsed.inner_text() == stood
        with serving(nats_server.url, "--port", port) as hub:
            ready(hub)
            await expect(page.locator(".connection")).to_contain_text("live", timeout=20_000)
            await expect(strip).to_be_hidden()
            await expect(status).to_have_text("Connected again")
            await expect(page.locator(".notes")).to_contain_text("the log was made anew")
            await reports.say(42, {"kind": "job", "status": "running", "name": "Import"})
            await reports.say(42, {"kind": "log", "message": "after"})
            lines = page.locator(".log li")
            await expect(lines).to_have_count(3)
            await expect(lines.nth(0)).to_contain_text("before")
            await expect(lines.nth(1)).to_have_class("gap")
            await expect(lines.nth(2)).to_contain_text("after")


async def test_a_hub_that_has_lost_nats_says_so_and_clocks_stand_still(
    page: Page, nats_server: NatsServer, tenant: str
) -> None:
    with serving(nats_server.url) as hub:
        ready(hub)
        async with Reports(nats_server.url, tenant) as reports:
            await reports.say(42, {"kind": "job", "status": "running", "name": "Import"}, {"fraction": 0.5})
            await page.goto(f"{hub.url}/#token={hub.token(tenant)}&job=42")
            await expect(page.locator(".job-head .percent")).to_have_text("50 %")
        nats_server.kill()
        await expect(page.locator(".connection")).to_contain_text("NATS is away")
        strip = page.locator(".trouble-strip")
        await expect(strip).to_contain_text(
            "The hub has lost NATS: nothing arrives until it is back. Clocks stand still"
        )
        await expect(strip.get_by_role("button", name="Try now")).to_be_hidden()
        await expect(page.locator("html")).to_have_attribute("data-live", "false")
        await expect(page.locator(".job-head .pill")).to_have_text("running")
        nats_server.restart()
        await expect(page.locator(".connection")).to_contain_text("live", timeout=20_000)
        await expect(strip).to_be_hidden()


async def test_without_a_log_the_page_says_what_it_cannot_know(page: Page, tenant: str) -> None:
    with NatsServer(jetstream=False) as server, serving(server.url) as hub:
        await page.goto(f"{hub.url}/#token={hub.token(tenant)}")
        await expect(page.locator(".empty")).to_contain_text("No log: what happened before you came is not known.")
        client = await nats.connect(server.url)
        await client.publish(f"tenant.{tenant}.job.42.progress", b'{"status": "running", "name": "Import"}')
        await page.locator(".row").click()
        await client.publish(f"tenant.{tenant}.job.42.progress", b'{"status": "running", "message": "heard"}')
        await expect(page.locator(".job-head")).to_contain_text("heard")
        await expect(page.locator(".notes")).to_contain_text("No log: what happened before you came is not known.")
        await client.close()
