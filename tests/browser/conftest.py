"""A site, hubs that do and do not allow it, and pages in a browser."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from milepost.nats_server import NatsServer
from tests.browser.client_page import ClientPage
from tests.browser.desk_service import desk_serving
from tests.browser.page_server import PageServer
from tests.browser.proxy import Proxy
from tests.browser.wire import Wire
from tests.milepost.conftest import SECRET, Service, serving
from tests.waiting import eventually

BEAT = 0.25
"""Seconds of silence after which `quick_hub` sends a heartbeat."""
IDLE = 1_000
"""Milliseconds of silence after which a page before `quick_hub` is to look for another connection."""


@pytest.fixture(scope="session")
def site() -> Iterator[PageServer]:
    """The pages' own web server."""
    with PageServer(SECRET) as server:
        yield server


@pytest.fixture(scope="session")
def hub(shared_nats: NatsServer, site: PageServer) -> Iterator[Service]:
    """A hub that allows the site's pages."""
    with serving(shared_nats.url, "--allow-origin", site.origin) as service:
        yield service


@pytest.fixture(scope="session")
def strict_hub(shared_nats: NatsServer) -> Iterator[Service]:
    """A hub that knows no origin but its own."""
    with serving(shared_nats.url) as service:
        yield service


@pytest.fixture(scope="session")
def desk_hub(shared_nats: NatsServer) -> Iterator[Service]:
    """One with somebody behind it who takes jobs."""
    with desk_serving(shared_nats.url) as service:
        eventually(lambda: httpx.get(f"{service.url}/readyz").status_code == HTTPStatus.OK)
        yield service


@pytest.fixture
def tenant() -> str:
    """One that no other test uses."""
    return f"browser-{uuid.uuid4().hex[:12]}"


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab of its own, without anything of another test's."""
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def other_page(browser: Browser) -> AsyncIterator[Page]:
    """Another person's tab."""
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()


@pytest.fixture
def wire(page: Page) -> Wire:
    """What `page` receives."""
    return Wire(page)


@pytest.fixture(scope="session")
def quick_hub(shared_nats: NatsServer, site: PageServer) -> Iterator[Service]:
    """A hub whose heartbeats come as often as its pages are impatient."""
    with serving(shared_nats.url, "--allow-origin", site.origin, "--heartbeat-interval", str(BEAT)) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def proxy(quick_hub: Service) -> AsyncIterator[Proxy]:
    """The proxy before it that a test's pages are behind."""
    async with Proxy(int(quick_hub.url.rpartition(":")[2])) as running:
        yield running


@pytest.fixture
def client(page: Page, site: PageServer) -> ClientPage:
    """A page of somebody's own, with the hub's client in it."""
    return ClientPage(page, site)
