"""nginx before a hub, the hub on a nats-server with the log on."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from milepost.nats_server import NatsServer
from tests.milepost.conftest import Service, serving
from tests.proxy import nginx
from tests.proxy.job import Job
from tests.proxy.nginx import Nginx
from tests.waiting import eventually


@pytest.fixture(scope="session")
def hub(shared_nats: NatsServer) -> Iterator[Service]:
    """A hub that is ready, its log too."""
    with serving(shared_nats.url) as service:
        eventually(lambda: httpx.get(f"{service.url}/readyz").is_success)
        yield service


@pytest.fixture(scope="session")
def proxy(hub: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """One nginx for all tests."""
    program = nginx.find()
    if program is None:
        pytest.skip(nginx.MISSING)
    with Nginx(program, hub.url, tmp_path_factory.mktemp("nginx")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def job(shared_nats: NatsServer, hub: Service) -> AsyncIterator[Job]:
    """A job of a tenant that no other test uses."""
    tenant = f"proxy-{uuid.uuid4().hex[:12]}"
    async with Job.connected(shared_nats.url, tenant, hub.token(tenant)) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, proxy: Nginx) -> AsyncIterator[Page]:
    """A tab on a page of the proxy's own origin."""
    context = await browser.new_context()
    tab = await context.new_page()
    await tab.goto(f"{proxy.url}/healthz")
    yield tab
    await context.close()
