"""Connections a second: open, token checked, subscribed, closed, by a bounded number at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.contestant import Contestant, running
from benchmarks.load import cycles
from benchmarks.usage import cpu_seconds

_AT_ONCE: Final = 32


@dataclass(frozen=True)
class ConnectRun:
    """Whole cycles a second, the serving process's CPU microseconds for one, and how long one took (ms)."""

    contestant: Contestant
    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def measure(contestant: Contestant, seconds: float) -> ConnectRun:
    """Cycle for so many seconds, after an eighth of that to warm up."""
    with running(contestant, jwt_checks=True) as server:
        cycles(server, _AT_ONCE, seconds / 8)
        before = cpu_seconds(server.pid)
        told = cycles(server, _AT_ONCE, seconds)
        used = cpu_seconds(server.pid) - before
    count = told["cycles"]
    return ConnectRun(contestant, count / told["seconds"], used * 1e6 / count, told["p50_ms"], told["p99_ms"])
