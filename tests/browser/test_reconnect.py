"""A page with a loop of a few lines outlives its hub."""

from __future__ import annotations

import signal

import pytest
from playwright.async_api import Page, expect

from milepost.nats_server import NatsServer
from tests.browser.page_server import PageServer
from tests.browser.publisher import publish
from tests.browser.wire import Wire
from tests.milepost.conftest import Service, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, 1006), (signal.SIGTERM, 4001)])
async def test_a_hub_that_goes_and_comes_back(
    *,
    page: Page,
    wire: Wire,
    site: PageServer,
    shared_nats: NatsServer,
    tenant: str,
    number: signal.Signals,
    code: int,
) -> None:
    """The page subscribes anew, and sees what comes from then on."""
    allowed = ("--allow-origin", site.origin)
    with serving(shared_nats.url, *allowed) as first:
        await page.goto(site.url("returning.html", hub=first.url, token=first.token(tenant), job="1"))
        await wire.subscribed()
        await publish(shared_nats.url, tenant, 1, rows=1)
        await expect(page.locator("#rows")).to_have_text("1")
        first.process.process.send_signal(number)
        await expect(page.locator("#closed")).to_contain_text(str(code), timeout=20_000)
        first.process.end()
    port = first.url.rpartition(":")[2]
    with serving(shared_nats.url, *allowed, "--port", port):
        await wire.subscribed(times=2)
        await publish(shared_nats.url, tenant, 1, rows=2)
        await expect(page.locator("#rows")).to_have_text("2")


async def test_a_code_from_4500_says_that_coming_back_will_not_help(
    page: Page, wire: Wire, hub: Service, site: PageServer
) -> None:
    """The page's clock is put forward by more than the loop's longest wait: nothing was waiting."""
    await page.clock.install()
    await page.goto(site.url("returning.html", hub=hub.url, token="none", job="1"))
    await expect(page.locator("#closed")).to_have_text("4500 ")
    await page.clock.run_for(60_000)
    assert wire.sockets == 1
    assert len(wire.of("error")) == 1
