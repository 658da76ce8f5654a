"""Servers for the reporter's tests: without JetStream, and with streams as a hub makes them."""

from collections.abc import Iterator

import pytest

from milepost.nats_server import NatsServer
from tests.reporter.job_log import make_streams


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    """A nats-server without JetStream of the test's own, to kill, pause and restart as it likes."""
    with NatsServer(jetstream=False) as server:
        yield server


@pytest.fixture(scope="session")
def shared_nats() -> Iterator[NatsServer]:
    """One nats-server without JetStream for all tests that leave it running."""
    with NatsServer(jetstream=False) as server:
        yield server


@pytest.fixture
def bare_nats() -> Iterator[NatsServer]:
    """A nats-server with JetStream and no streams."""
    with NatsServer() as server:
        yield server


@pytest.fixture
def log_nats(bare_nats: NatsServer) -> NatsServer:
    """A nats-server with the job log's streams, of the test's own."""
    make_streams(bare_nats.url)
    return bare_nats
