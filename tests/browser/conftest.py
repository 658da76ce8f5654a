"""A site, hubs that do and do not allow it, and pages in a browser."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from milepost.nats_server import NatsServer
from tests.browser.page_server import PageServer
from tests.browser.wire import Wire
from tests.milepost.conftest import SECRET, Service, serving


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
