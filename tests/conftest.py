"""What every test may ask for: a real nats-server, a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser

from milepost.nats_server import NatsServer
from tests import chromium
from tests.must_run import pytest_sessionfinish

__all__ = ["pytest_sessionfinish"]

# How long an example takes says how busy the machine is: nothing is asserted about it.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    """A fresh nats-server of the test's own, to kill, pause and restart as it likes."""
    with NatsServer() as server:
        yield server


@pytest.fixture(scope="session")
def shared_nats() -> Iterator[NatsServer]:
    """One nats-server for all tests that leave it running; each uses a tenant of its own."""
    with NatsServer() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests; each opens a context of its own, with the session's loop."""
    program = chromium.find()
    if program is None:
        pytest.skip(chromium.MISSING)
    async with chromium.launched(program) as running:
        yield running
