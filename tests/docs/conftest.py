"""The parts that the blocks of the pages are run against."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from milepost.nats_server import NatsServer
from tests.docs.surroundings import Surroundings
from tests.milepost.conftest import SECRET, serving
from tests.waiting import eventually


@pytest.fixture(scope="session")
def around(shared_nats: NatsServer) -> Iterator[Surroundings]:
    """One hub for all blocks, ready."""
    with serving(shared_nats.url) as service:
        eventually(lambda: httpx.get(f"{service.url}/readyz").is_success)
        yield Surroundings(shared_nats.url, service.url, SECRET)
