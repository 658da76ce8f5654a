"""Pages behind connections that go silent, proxies that know no WebSocket, and a machine that sleeps."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from milepost.nats_server import NatsServer
from tests.browser.chatty_job import ChattyJob
from tests.browser.client_page import IMPATIENT, ClientPage
from tests.browser.conftest import IDLE
from tests.browser.dashboard_page import DashboardPage
from tests.browser.proxy import Proxy
from tests.browser.wire import Wire
from tests.milepost.conftest import Service
from tests.waiting import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("transport", ["websocket", "sse", "polling"])
async def test_a_connection_that_goes_silent_is_left_and_nothing_is_missed(
    *, client: ClientPage, quick_hub: Service, proxy: Proxy, shared_nats: NatsServer, tenant: str, transport: str
) -> None:
    """Black holes, twice, without a FIN and mid-job: found by the silence, on each rung; every line once, in order."""
    with ChattyJob(shared_nats.url, tenant, "1") as job:
        options = {**IMPATIENT, "idle": IDLE, "transports": [transport]}
        await client.open(quick_hub.url, "1", options, through=proxy.url, tenant=tenant)
        await client.is_connected(transport)
        for _ in range(2):
            proxy.freeze()
            await client.until("() => hub.status.state === 'reconnecting'")
            proxy.thaw()
            await client.is_connected(transport)
            await client.has_line(f"line {job.written}")
        job.finish()
    await client.until("() => job.ended")
    seen = await client.seen()
    assert seen["lines"] == job.lines[-len(seen["lines"]) :]
    assert (await client.lines()) == job.lines[-200:]
    assert (seen["gaps"], seen["end"]) == (0, "completed")
    assert len([status for status in seen["statuses"] if status["retryAt"] is not None]) >= 2


async def test_a_dashboard_behind_a_proxy_without_upgrades_goes_on_by_sse_then_by_polling(
    *, page: Page, wire: Wire, proxy: Proxy, quick_hub: Service, shared_nats: NatsServer, tenant: str
) -> None:
    """First the proxy knows no WebSocket, then it holds streams too; the page says how it is connected."""
    dashboard = DashboardPage(page)
    proxy.drops_upgrades = True
    with ChattyJob(shared_nats.url, tenant, "1") as job:
        await dashboard.open(proxy.url, quick_hub.token(tenant), "1")
        await dashboard.is_live("SSE")
        await expect(page.locator(".log")).to_contain_text(f"line {job.written + 5}")
        proxy.holds_streams = True
        proxy.cut()
        await dashboard.is_live("polling", seconds=30)
        await expect(page.locator(".log")).to_contain_text(f"line {job.written + 5}")
        assert (proxy.upgrades > 0, proxy.streams > 1) == (True, True)
        job.finish()
        await dashboard.ended("completed")
        await eventually_async(lambda: job.written)
    await expect(page.locator(".log")).to_contain_text(f"line {job.written - 1}")
    assert await dashboard.lines() == job.lines
    assert not wire.messages


async def test_a_proxy_that_learns_upgrades_brings_the_page_back_to_them(
    *, client: ClientPage, proxy: Proxy, quick_hub: Service, shared_nats: NatsServer, tenant: str
) -> None:
    """By itself, beside the rung that works, and without losing a line."""
    proxy.drops_upgrades = proxy.holds_streams = True
    with ChattyJob(shared_nats.url, tenant, "1") as job:
        token = quick_hub.token(tenant, ttl=600)
        await client.open(quick_hub.url, "1", {**IMPATIENT, "climb": 300}, through=proxy.url, token=token)
        await client.is_connected("polling")
        proxy.drops_upgrades = proxy.holds_streams = False
        await client.is_connected("websocket")
        await client.has_line(f"line {job.written}")
        job.finish()
    await client.until("() => job.ended")
    seen = await client.seen()
    assert seen["lines"] == job.lines[-len(seen["lines"]) :]
    assert await client.lines() == job.lines[-200:]
    assert "reconnecting" not in {status["state"] for status in seen["statuses"] if status["retryAt"] is not None}


async def test_a_tab_that_wakes_does_not_trust_its_connection(
    *, client: ClientPage, wire: Wire, proxy: Proxy, quick_hub: Service, shared_nats: NatsServer, tenant: str
) -> None:
    """The machine sleeps: no timer rings, the connection becomes a black hole. Seen again, the page looks at once."""
    clock = client.page.clock
    await clock.install()
    with ChattyJob(shared_nats.url, tenant, "1") as job:
        token = quick_hub.token(tenant)
        await client.open(quick_hub.url, "1", {"idle": 25_000}, through=proxy.url, token=token)
        await client.is_connected()
        asleep = await client.page.evaluate("Date.now()")
        await clock.pause_at(asleep / 1_000 + 1)
        proxy.freeze()
        written = job.written
        await eventually_async(lambda: job.written > written + 50)
        await clock.set_system_time(asleep / 1_000 + 300)
        assert await client.page.evaluate("hub.status.state") == "connected"
        proxy.thaw()
        await client.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        assert await client.page.evaluate("hub.status.state") == "reconnecting"
        await clock.resume()
        await client.has_line(f"line {job.written}")
        assert wire.sockets == 2
        job.finish()
    await client.until("() => job.ended")
    assert await client.lines() == job.lines[-200:]
    assert (await client.seen())["gaps"] == 0
