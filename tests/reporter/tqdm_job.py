"""What workers of the tests do, with bars; a module of its own, so that spawned ones can import it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost_reporter.tqdm import tqdm

if TYPE_CHECKING:
    from milepost.nats_server import NatsServer


def reaching(server: NatsServer, tenant: str, **more: str) -> dict[str, str]:
    """An environment in which a program has the time to reach the server, however short it runs."""
    given = {"NATS_URL": server.url, "MILEPOST_TENANT": tenant, "MILEPOST_UNREACHABLE_TIMEOUT": "20"}
    from tests.milepost.console import environment

    return environment({**given, **more})


def count(number: int) -> int:
    """A bar of the worker's own."""
    return sum(1 for _ in tqdm(range(number), desc=f"worker {number}", leave=False))
