"""What it costs that events are kept: the same flood of log lines with and without a log, and flushed to disk or not.

    python -m benchmarks.durability [--quick]

One reporter, in this process, reports as fast as it can; a bare publisher then stores events one at a time, each when
the one before is acknowledged. Every arrangement has a nats-server of its own; they take turns, and medians are shown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import nats
from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import ensure
from milepost_reporter import Reporter
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.complaints import Complaints

from benchmarks.usage import cpu_seconds
from milepost.nats_server import NatsServer

ARRANGEMENTS: Final = ("live only", "kept", "kept, flushed at once")
_SYNC: Final = "jetstream {\n  sync_interval: always\n}\n"


class Run(NamedTuple):
    """One turn of one arrangement.

    Attributes:
        per_second: events reported and known to have arrived, a second.
        server_us: CPU microseconds of nats-server for one of them.
        ack_ms: p50 and p99 from publishing one event to its acknowledgement; 0 where there is none.
    """

    per_second: float
    server_us: float
    ack_ms: tuple[float, float]


def main() -> None:
    """Measure all of it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of fewer events")
    quick = parser.parse_args().quick
    rounds, events = (1, 3_000) if quick else (5, 10_000)
    runs: dict[str, list[Run]] = {each: [] for each in ARRANGEMENTS}
    for _ in range(rounds):
        for arrangement in ARRANGEMENTS:
            with _server(arrangement) as server:
                runs[arrangement].append(measure(server, events, kept=arrangement != ARRANGEMENTS[0]))
    print(
        "| arrangement | events/s of one reporter | nats-server, CPU µs an event | acknowledged after, p50 / p99 ms |"
    )
    print("|---|---|---|---|")
    for arrangement, several in runs.items():
        print(f"| {arrangement} | {_row(several)} |")


def measure(server: NatsServer, events: int, *, kept: bool) -> Run:
    """One turn."""
    if kept:
        asyncio.run(_make_streams(server))
    before, begun = cpu_seconds(server.pid), time.monotonic()
    with Reporter(nats_url=server.url, tenant="bench", job=1, max_events=2 * events, close_timeout=60) as job:
        for number in range(events):
            job.log(f"line {number} of a job that says much")
    seconds, used = time.monotonic() - begun, cpu_seconds(server.pid) - before
    if job.stats.confirmed < events:
        raise SystemExit(f"only {job.stats.confirmed} of {events} events have arrived")
    acks = asyncio.run(_acks(server, events // 20)) if kept else [0.0]
    return Run(events / seconds, used * 1e6 / events, (statistics.median(acks), _p99(acks)))


@contextmanager
def _server(arrangement: str) -> Iterator[NatsServer]:
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as directory:
        config = Path(directory) / "sync.conf"
        config.write_text(_SYNC)
        kept, flushed = arrangement != ARRANGEMENTS[0], arrangement == ARRANGEMENTS[2]
        with NatsServer(jetstream=kept, config=config if flushed else None) as server:
            yield server


async def _make_streams(server: NatsServer) -> None:
    """The streams that a hub makes."""
    changed = asyncio.Event()
    settings = BridgeSettings(log_events_per_job=1_000_000)
    api = Api([server.url], settings, changed.set, Complaints(logging.getLogger("benchmarks")))
    api.start()
    try:
        while not api.up:
            await changed.wait()
            changed.clear()
        await ensure(api, settings)
    finally:
        await api.close()


async def _acks(server: NatsServer, events: int) -> list[float]:
    """Milliseconds from publishing to the acknowledgement, one event at a time."""
    client = await nats.connect(server.url)
    try:
        times = []
        for number in range(events):
            begun = time.perf_counter()
            payload = json.dumps({"nodeId": 1, "rowCount": number, "status": "running"}).encode()
            await client.request("tenant.bench.job.2.progress", payload, timeout=10)
            times.append((time.perf_counter() - begun) * 1000)
        return times
    finally:
        await client.close()


def _p99(values: list[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


def _row(runs: list[Run]) -> str:
    def middle(figures: Iterator[float]) -> float:
        return statistics.median(figures)

    p50, p99 = (middle(run.ack_ms[place] for run in runs) for place in (0, 1))
    acks = f"{p50:.2f} / {p99:.2f}" if p50 else "-"
    return f"{middle(run.per_second for run in runs):,.0f} | {middle(run.server_us for run in runs):.1f} | {acks}"


if __name__ == "__main__":
    main()
