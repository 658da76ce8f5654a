"""A running service for the tests of its clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from milepost_hub.token import issue

from milepost.nats_server import NatsServer
from tests.milepost.console import Running, running
from tests.milepost.terminal import Open, Terminal

SECRET = "a secret of the tests, long enough for HS256"


class Service(NamedTuple):
    """A `milepost serve` under way."""

    url: str
    process: Running

    def token(self, tenant: str, **more: object) -> str:
        """A token that it believes."""
        return issue(SECRET, tenant, **more)  # type: ignore[arg-type] # the tests' own keyword arguments

    def environment(self, tenant: str) -> dict[str, str]:
        """What a client of a tenant has in its environment."""
        return {"MILEPOST_URL": self.url, "MILEPOST_TOKEN": self.token(tenant)}


@contextmanager
def serving(nats_url: str, *arguments: str) -> Iterator[Service]:
    """`milepost serve` on a free port, ready."""
    env = {"MILEPOST_JWT_SECRET": SECRET, "NATS_URL": nats_url, "MILEPOST_DRAIN_SECONDS": "0"}
    with running("serve", "--port", "0", *arguments, env=env) as process:
        line = process.until("Milepost serves")
        yield Service(line.split()[2], process)


@pytest.fixture(scope="session")
def service(shared_nats: NatsServer) -> Iterator[Service]:
    """One service for all tests that leave it running; each uses a tenant of its own."""
    with serving(shared_nats.url) as running_service:
        yield running_service


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Open:
    """Opens windows with a command in each, closed with the test."""

    def start(*arguments: str) -> Terminal:
        opened = Terminal(*arguments)
        request.addfinalizer(opened.close)
        return opened

    return start
