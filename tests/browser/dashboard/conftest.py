"""The dashboard in a tab of a real browser, served by a real hub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page

from milepost.nats_server import NatsServer
from tests.browser.dashboard.reports import Reports
from tests.browser.page_server import PageServer
from tests.milepost.conftest import Service, serving
from tests.waiting import eventually


@pytest.fixture(scope="session")
def hub(shared_nats: NatsServer, site: PageServer) -> Iterator[Service]:
    """A hub with its log, which the site's pages may ask too."""
    with serving(shared_nats.url, "--allow-origin", site.origin) as service:
        eventually(lambda: httpx.get(f"{service.url}/readyz").status_code == HTTPStatus.OK)
        yield service


@pytest.fixture(scope="session")
def impatient_hub(shared_nats: NatsServer) -> Iterator[Service]:
    """One whose jobs are stalled after a second."""
    with serving(shared_nats.url, "--bridge-stalled-after", "1") as service:
        eventually(lambda: httpx.get(f"{service.url}/readyz").status_code == HTTPStatus.OK)
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def reports(shared_nats: NatsServer, tenant: str) -> AsyncIterator[Reports]:
    """What jobs of the test's tenant report."""
    async with Reports(shared_nats.url, tenant) as reporting:
        yield reporting


@pytest.fixture
def token(hub: Service, tenant: str) -> str:
    """One that shows the test's tenant, and may cancel."""
    return hub.token(tenant, scopes=["watch", "cancel"])


@pytest_asyncio.fixture(loop_scope="session")
async def failures(page: Page) -> AsyncIterator[list[str]]:
    """What the page's console says is wrong; a test that does not look at it wants nothing in it.

    Asynchronous, because to listen there Playwright sends something, for which it needs its loop.
    """
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    yield told
    assert told == []
