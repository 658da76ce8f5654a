"""Pages of other sites are let in by name only."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from milepost.nats_server import NatsServer
from tests.browser.page_server import PageServer
from tests.browser.publisher import publish
from tests.browser.wire import Wire
from tests.milepost.conftest import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEALTH = "hub => fetch(`${hub}/healthz`).then(answer => answer.status, error => error.name)"


async def test_a_page_of_another_site_is_refused(
    page: Page, wire: Wire, strict_hub: Service, site: PageServer, tenant: str
) -> None:
    """Before the upgrade, so all a page is told is 1006; and it cannot read an answer over HTTP either."""
    token = strict_hub.token(tenant)
    await page.goto(site.url("progress.html", hub=strict_hub.url, token=token, job="1"))
    await expect(page.locator("#connection")).to_have_text("closed 1006 ")
    assert wire.messages == []
    assert await page.evaluate(HEALTH, strict_hub.url) == "TypeError"


async def test_a_page_of_a_site_that_is_named_is_served(
    *, page: Page, wire: Wire, hub: Service, site: PageServer, shared_nats: NatsServer, tenant: str
) -> None:
    await page.goto(site.url("progress.html", hub=hub.url, token=hub.token(tenant), job="1"))
    await wire.subscribed()
    await publish(shared_nats.url, tenant, 1, rows=5_000)
    await expect(page.locator("#nodes")).to_contain_text("5000 rows")
    assert await page.evaluate(HEALTH, hub.url) == 200


async def test_a_page_of_the_hub_itself_needs_no_permission(
    page: Page, wire: Wire, strict_hub: Service, tenant: str
) -> None:
    await page.goto(f"{strict_hub.url}/healthz")
    await page.evaluate(
        """token => {
            const socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws?token=${token}`);
            socket.onopen = () => socket.send('{"action":"subscribe","jobId":1}');
        }""",
        strict_hub.token(tenant),
    )
    await wire.subscribed()
