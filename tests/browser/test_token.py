"""What a page learns of its token."""

from __future__ import annotations

import pytest
from milepost_hub.token import issue
from playwright.async_api import Page, expect

from milepost.nats_server import NatsServer
from tests.browser.chatty_job import ChattyJob
from tests.browser.client_page import ClientPage
from tests.browser.dashboard_page import DashboardPage
from tests.browser.page_server import PageServer
from tests.browser.publisher import publish
from tests.browser.wire import Wire
from tests.milepost.conftest import Service
from tests.waiting import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON = 2.0
"""Seconds a token is good for; the hub rounds up to whole ones."""
PASSED = f"start => Date.now() > start + {(SOON + 1) * 1_000}"


async def test_a_refused_token_is_told_in_words_and_with_4500(
    page: Page, hub: Service, site: PageServer, tenant: str
) -> None:
    """A page cannot read a refused handshake, so it is let in first."""
    forged = issue("another secret, of thirty-two bytes or more", tenant)
    await page.goto(site.url("progress.html", hub=hub.url, token=forged, job="1"))
    await expect(page.locator("#connection")).to_have_text("closed 4500 the token was refused")
    await expect(page.locator("#error")).to_contain_text("bad_signature: ")


async def test_a_page_that_does_nothing_about_its_token_is_closed_with_4003(
    page: Page, wire: Wire, hub: Service, site: PageServer, tenant: str
) -> None:
    """The original client: it does not know `token.expiring`."""
    await page.goto(site.url("progress.html", hub=hub.url, token=hub.token(tenant, ttl=SOON), job="1"))
    await wire.subscribed()
    await wire.until("token.expiring")
    await expect(page.locator("#connection")).to_contain_text("closed 4003", timeout=20_000)


async def test_a_token_is_renewed_without_a_new_connection(
    *, page: Page, wire: Wire, hub: Service, site: PageServer, shared_nats: NatsServer, tenant: str
) -> None:
    """The page fetches another one from its own site; the first one's end passes unnoticed."""
    token = hub.token(tenant, ttl=SOON)
    start = await page.evaluate("Date.now()")
    await page.goto(site.url("refreshing.html", hub=hub.url, token=token, tenant=tenant, job="1"))
    await wire.subscribed()
    await expect(page.locator("#connection")).to_have_text("renewed")
    await page.wait_for_function(PASSED, arg=start, timeout=20_000)
    await publish(shared_nats.url, tenant, 1, rows=4_711)
    await expect(page.locator("#rows")).to_have_text("4711")
    assert await page.locator("#connection").inner_text() == "renewed"
    assert wire.sockets == 1


async def test_a_token_that_ends_is_renewed_in_place(
    *, client: ClientPage, wire: Wire, hub: Service, shared_nats: NatsServer, tenant: str
) -> None:
    """Each lives a few seconds: the page asks its own site for another, several times, over one connection."""
    with ChattyJob(shared_nats.url, tenant, "1") as job:
        await client.open(hub.url, "1", {}, tenant=tenant, ttl="3")
        await client.is_connected()
        await eventually_async(lambda: len(wire.of("authenticated")) >= 4)
        await client.has_line(f"line {job.written + 1}")
    assert wire.sockets == 1
    assert not wire.of("error")
    assert {status["state"] for status in (await client.seen())["statuses"]} <= {"connecting", "connected"}


async def test_a_token_that_ends_and_cannot_be_renewed_is_asked_for(
    *, page: Page, hub: Service, shared_nats: NatsServer, tenant: str
) -> None:
    """The dashboard has no other: what was seen stays to be read, under the box for another token, and goes on then."""
    dashboard = DashboardPage(page)
    with ChattyJob(shared_nats.url, tenant, "1") as job:
        await dashboard.open(hub.url, hub.token(tenant, ttl=3), "1")
        await dashboard.is_live()
        await expect(page.locator("#token-why")).to_contain_text("expired", timeout=20_000)
        await expect(dashboard.connection).to_contain_text("refused")
        await expect(page.locator(".log")).to_contain_text("line 5")
        await page.get_by_role("textbox", name="Token").fill(hub.token(tenant))
        await page.get_by_role("button", name="Sign in").click()
        await dashboard.is_live()
        await expect(page.locator(".log")).to_contain_text(f"line {job.written}")
