"""Servers with JetStream, as everywhere but among the reporter's own tests."""

from collections.abc import Iterator

import pytest

from milepost.nats_server import NatsServer


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    """A nats-server of the test's own, to kill, pause and restart as it likes."""
    with NatsServer() as server:
        yield server


@pytest.fixture(scope="session")
def shared_nats() -> Iterator[NatsServer]:
    """One nats-server for all tests that leave it running."""
    with NatsServer() as server:
        yield server
