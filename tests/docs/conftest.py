"""The parts that the blocks of the pages are run against."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from milepost.nats_server import NatsServer
from tests.docs.surroundings import Surroundings
from tests.milepost.conftest import SECRET, serving
from tests.waiting import eventually


@pytest.fixture(scope="module")
def around() -> Iterator[Surroundings]:
    """A hub that is ready; one for each page that it is asked for by: a log remembers, and many speak of job 42."""
    with NatsServer() as nats_server, serving(nats_server.url) as service:
        eventually(lambda: httpx.get(f"{service.url}/readyz").is_success)
        yield Surroundings(nats_server.url, service.url, SECRET)
