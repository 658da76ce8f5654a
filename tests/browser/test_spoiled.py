"""Pages behind connections that go silent, proxies that know no WebSocket, sleep, and tokens that end."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from milepost.nats_server import NatsServer
from tests.browser.chatty_job import ChattyJob
from tests.browser.client_page import ClientPage
from tests.browser.dashboard_page import DashboardPage
from tests.browser.page_server import PageServer
from tests.browser.proxy import Proxy
from tests.browser.wire import Wire
from tests.milepost.conftest import Service, serving
from tests.waiting import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

BEAT = 0.25
"""Seconds of silence after which this file's hub sends a heartbeat."""
IDLE = 1_000
"""Milliseconds of silence after which this file's pages look for another connection."""
SILENT_SECONDS = float(os.environ.get("MILEPOST_TEST_SILENT_SECONDS", "2"))


@pytest.fixture(scope="module")
def quick_hub(shared_nats: NatsServer, site: PageServer) -> Iterator[Service]:
    """A hub whose heartbeats come as often as its pages are impatient."""
    with serving(shared_nats.url, "--allow-origin", site.origin, "--heartbeat-interval", str(BEAT)) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def proxy(quick_hub: Service) -> AsyncIterator[Proxy]:
    """The proxy that the pages of a test are behind."""
    async with Proxy(int(quick_hub.url.rpartition(":")[2])) as running:
        yield running


@pytest.fixture
def client(page: Page, site: PageServer) -> ClientPage:
    return ClientPage(page, site)


@pytest.mark.parametrize("transport", ["websocket", "sse", "polling"])
async def test_a_connection_that_goes_silent_is_left_and_nothing_is_missed(
    *, client: ClientPage, quick_hub: Service, proxy: Proxy, shared_nats: NatsServer, tenant: str, transport: str
) -> None:
    """Black holes, twice, without a FIN and mid-job: found by the silence, on each rung; every line once, in order."""
    with ChattyJob(shared_nats.url, tenant, "1") as job:
        await client.open(
            quick_hub.url, "1", {"idle": IDLE, "transports": [transport]}, through=proxy.url, tenant=tenant
        )
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
        await client.open(quick_hub.url, "1", {"climb": 300}, through=proxy.url, token=quick_hub.token(tenant, ttl=600))
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


async def test_a_token_that_ends_is_renewed_in_place(
    *, client: ClientPage, wire: Wire, quick_hub: Service, shared_nats: NatsServer, tenant: str
) -> None:
    """Each lives a few seconds: the page asks its own site for another, several times, over one connection."""
    with ChattyJob(shared_nats.url, tenant, "1") as job:
        await client.open(quick_hub.url, "1", {"idle": IDLE}, tenant=tenant, ttl="3")
        await client.is_connected()
        await eventually_async(lambda: len(wire.of("authenticated")) >= 4)
        await client.has_line(f"line {job.written + 1}")
    assert wire.sockets == 1
    assert not wire.of("error")
    assert {status["state"] for status in (await client.seen())["statuses"]} <= {"connecting", "connected"}


async def test_a_token_that_ends_and_cannot_be_renewed_is_asked_for(
    *, page: Page, quick_hub: Service, shared_nats: NatsServer, tenant: str
) -> None:
    """The dashboard has no other: what was seen stays to be read, under the box for another token, and goes on then."""
    dashboard = DashboardPage(page)
    with ChattyJob(shared_nats.url, tenant, "1") as job:
        await dashboard.open(quick_hub.url, quick_hub.token(tenant, ttl=3), "1")
        await dashboard.is_live()
        await expect(page.locator("#token-why")).to_contain_text("expired", timeout=20_000)
        await expect(dashboard.connection).to_contain_text("refused")
        await expect(page.locator(".log")).to_contain_text("line 5")
        await page.get_by_role("textbox", name="Token").fill(quick_hub.token(tenant))
        await page.get_by_role("button", name="Sign in").click()
        await dashboard.is_live()
        await expect(page.locator(".log")).to_contain_text(f"line {job.written}")
