"""Does an event cost more when many other jobs are watched? One busy job beside many that get no events."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from benchmarks.contestant import Contestant, running
from benchmarks.load import LoadClient, publisher
from benchmarks.usage import cpu_seconds

BUSY_CLIENTS: Final = 10
_FIRST_IDLE_JOB: Final = 1001
_TAIL: Final = 0.2
_SETTLE: Final = 3.0  # connecting leaves work behind: garbage to collect, first pings


@dataclass(frozen=True)
class IdleJobsRun:
    """CPU of the serving process with `idle_jobs` watched jobs that get no events.

    Attributes:
        background: cores used before anything is published.
        event_us: CPU microseconds for one event, the background taken off.
    """

    contestant: Contestant
    idle_jobs: int
    background: float
    event_us: float


def measure(contestant: Contestant, idle_jobs: int, rate: int, window: float) -> IdleJobsRun:
    """One idle client on each idle job, a few clients on one busy job; every event is checked."""
    total = round(rate * (1 + window + _TAIL))
    with (
        running(contestant) as server,
        LoadClient(server, idle_jobs, idle_jobs, first_job=_FIRST_IDLE_JOB) as idle,
        LoadClient(server, BUSY_CLIENTS, 1) as busy,
    ):
        idle.wait_until_subscribed()
        busy.wait_until_subscribed()
        time.sleep(_SETTLE)
        background = _cores(server.pid, window)
        with publisher(server, jobs=1, rate=rate, total=total) as source:
            source.answer("started", 10)
            time.sleep(1)
            used = _cores(server.pid, window)
            source.answer("published", 30)
        missing = busy.missing(total, 10) + idle.missing(0, 1)
        assert missing == 0, f"{missing} deliveries never arrived"
    return IdleJobsRun(contestant, idle_jobs, background, (used - background) * 1e6 / rate)


def _cores(pid: int, seconds: float) -> float:
    before, start = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - start)
