"""The parts that the blocks of the pages are run against."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from milepost.nats_server import NatsServer
from tests.docs.surroundings import Surroundings
from tests.milepost.conftest import SECRET, serving
from tests.waiting import eventually


@pytest.fixture
def around(nats_server: NatsServer) -> Iterator[Surroundings]:
    """A hub of the block's own, ready: a log remembers, and most pages speak of job 42 of acme."""
    with serving(nats_server.url) as service:
        eventually(lambda: httpx.get(f"{service.url}/readyz").is_success)
        yield Surroundings(nats_server.url, service.url, SECRET)
