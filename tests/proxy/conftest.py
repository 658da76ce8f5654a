"""Proxies before a hub, the hub on a nats-server with the log on."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from milepost.nats_server import NatsServer
from tests.milepost.conftest import Service, serving
from tests.proxy import certificate as certificates
from tests.proxy.caddy import Caddy
from tests.proxy.certificate import Certificate
from tests.proxy.job import Job
from tests.proxy.nginx import Nginx
from tests.proxy.proxy import Proxy
from tests.proxy.traefik import Traefik
from tests.waiting import eventually

Make = Callable[..., AbstractContextManager[Proxy]]


@pytest.fixture(scope="session")
def hub(shared_nats: NatsServer) -> Iterator[Service]:
    """A hub that is ready, its log too; it tells who asks, and beats every second."""
    with serving(shared_nats.url, "--access-log", "--heartbeat-interval", "1") as service:
        eventually(lambda: httpx.get(f"{service.url}/readyz").is_success)
        yield service


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """What all proxies show."""
    return certificates.make(tmp_path_factory.mktemp("certificate"))


def maker(kind: type[Proxy], certificate: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Starts proxies of one kind."""
    found = kind.find()
    if found is None:
        pytest.skip(kind.missing)

    @contextmanager
    def make(hub: str, prefix: str = "") -> Iterator[Proxy]:
        folder: Path = tmp_path_factory.mktemp(kind.program)
        with kind(found, hub.removeprefix("http://"), certificate, folder, prefix=prefix) as running:
            yield running

    return make


@pytest.fixture(scope="session", params=[Nginx, Caddy, Traefik], ids=lambda kind: kind.program)
def make(request: pytest.FixtureRequest, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Each kind that there is a recipe for."""
    return maker(request.param, certificate, tmp_path_factory)


@pytest.fixture(scope="session")
def proxy(make: Make, hub: Service) -> Iterator[Proxy]:
    """One of each kind for all tests."""
    with make(hub.url) as running:
        yield running


@pytest.fixture(scope="session")
def nginx(hub: Service, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One nginx, for what is tried with one proxy only."""
    with maker(Nginx, certificate, tmp_path_factory)(hub.url) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def job(shared_nats: NatsServer, hub: Service) -> AsyncIterator[Job]:
    """A job of a tenant that no other test uses."""
    tenant = f"proxy-{uuid.uuid4().hex[:12]}"
    async with Job.connected(shared_nats.url, tenant, hub.token(tenant)) as one:
        yield one


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def long_job(shared_nats: NatsServer, hub: Service) -> AsyncIterator[Job]:
    """A job with a long past, which no test adds much to."""
    tenant = f"proxy-{uuid.uuid4().hex[:12]}"
    async with Job.connected(shared_nats.url, tenant, hub.token(tenant)) as one:
        await one.report(3_000)
        yield one


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, nginx: Proxy) -> AsyncIterator[Page]:
    """A tab on a page of nginx's own origin."""
    context = await browser.new_context(ignore_https_errors=True)
    tab = await context.new_page()
    await tab.goto(f"{nginx.url}/healthz")
    yield tab
    await context.close()
