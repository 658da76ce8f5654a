"""Memory of an idle connection: what many of them add to the process that serves them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from benchmarks.contestant import Contestant, running
from benchmarks.load import LoadClient
from benchmarks.usage import pss_bytes

# Connected before the first look, so that code and tables that any use brings in are not counted.
_FIRST_CLIENTS: Final = 100
_SETTLE: Final = 1.5


@dataclass(frozen=True)
class MemoryRun:
    """PSS of the serving process in bytes, before and after `clients` subscribed connections came."""

    contestant: Contestant
    clients: int
    jobs: int
    before: int
    after: int

    @property
    def bytes_per_connection(self) -> float:
        """What one connection added."""
        return (self.after - self.before) / self.clients


def measure(contestant: Contestant, clients: int, jobs: int) -> MemoryRun:
    """Open the connections, spread over the jobs, and look; nothing is published."""
    with running(contestant) as server, LoadClient(server, _FIRST_CLIENTS, _FIRST_CLIENTS) as first:
        first.wait_until_subscribed()
        time.sleep(_SETTLE)
        before = pss_bytes(server.pid)
        with LoadClient(server, clients, jobs, first_job=_FIRST_CLIENTS + 1) as idle:
            idle.wait_until_subscribed()
            time.sleep(_SETTLE)
            after = pss_bytes(server.pid)
            idle.missing(0, 1.0)
    return MemoryRun(contestant, clients, jobs, before, after)
