"""How soon a submitted job runs, and how many a second: Milepost's runner, taskiq-nats, and Celery on Redis.

    python -m benchmarks.queues [--quick] [--rounds N]

The same no-op job, 8 at a time in one worker process, on a nats-server (or Redis) of its own with default settings.
The rivals take turns, several rounds; each figure is the median of its rounds, each ratio the median of the rounds'
ratios to the rival in the same round. Latency: from before the submission until the handler begins, one job at a time.
Jobs a second: a flood submitted 50 at a time, until the last has begun. CPU: of the worker's process, for each job of
the flood.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from benchmarks.queues.celery_peer import CeleryPeer, redis_server
from benchmarks.queues.milepost_peer import MilepostPeer
from benchmarks.queues.peer import Peer
from benchmarks.queues.starts import VARIABLE, read
from benchmarks.queues.taskiq_peer import TaskiqPeer

BATCH = 50
PATIENCE = 60.0
AIM = 1.0
"""Times the rival's figure that ours may be."""


class Figures(NamedTuple):
    """Milliseconds, jobs a second, and microseconds of the worker's CPU a job."""

    p50: float
    p99: float
    rate: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rounds, single, flood = (1, 100, 1_000) if arguments.quick else (arguments.rounds, 300, 5_000)
    peers: list[Peer] = [MilepostPeer(), TaskiqPeer(results=True), TaskiqPeer(results=False)]
    if redis_server() is not None:
        peers.append(CeleryPeer())
    else:
        print("no redis-server on PATH (Debian's package redis-server): Celery is left out")
    figures: dict[str, list[Figures]] = {peer.name: [] for peer in peers}
    for peer in tqdm([peer for _ in range(rounds) for peer in peers], unit="run", disable=None):
        figures[peer.name].append(asyncio.run(measure(peer, single, flood)))
    show(figures)


async def measure(peer: Peer, single: int, flood: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="milepost-queues-") as folder:
        starts = Path(folder) / "starts"
        starts.touch()
        os.environ[VARIABLE] = str(starts)
        async with peer:
            await _submit(peer, [0])
            await _all_begun(starts, 1)
            latencies = await _one_by_one(peer, starts, range(1, single + 1))
            first = single + 1
            used, began = peer.worker.cpu_seconds, time.time()
            for at in range(first, first + flood, BATCH):
                await _submit(peer, range(at, min(at + BATCH, first + flood)))
            begun = await _all_begun(starts, first + flood)
            last = max(begun[number] for number in range(first, first + flood))
            used = peer.worker.cpu_seconds - used
    latencies.sort()
    p99 = latencies[int(0.99 * len(latencies))]
    return Figures(statistics.median(latencies) * 1e3, p99 * 1e3, flood / (last - began), used / flood * 1e6)


async def _one_by_one(peer: Peer, starts: Path, numbers: range) -> list[float]:
    submitted: dict[int, float] = {}
    for number in numbers:
        submitted[number] = time.time()
        await peer.submit(number)
        await asyncio.sleep(0.01)
    begun = await _all_begun(starts, numbers[-1] + 1)
    return [begun[number] - submitted[number] for number in numbers]


async def _submit(peer: Peer, numbers: Iterable[int]) -> None:
    await asyncio.gather(*map(peer.submit, numbers))


async def _all_begun(starts: Path, count: int) -> dict[int, float]:
    end = time.monotonic() + PATIENCE
    while len(begun := read(starts)) < count:
        if time.monotonic() > end:
            raise TimeoutError(f"{len(begun)} of {count} jobs have begun")
        await asyncio.sleep(0.1)
    return begun


def show(figures: dict[str, list[Figures]]) -> None:
    table = Table(title="One no-op job, 8 at a time in one worker")
    columns = (
        "",
        "submit to running, p50 ms",
        "p99 ms",
        "jobs/s",
        "worker CPU, µs a job",
        "latency, times",
        "jobs/s, times",
    )
    for column in columns:
        table.add_column(column, justify="left" if not column else "right")
    ours = figures[MilepostPeer.name]
    for name, rounds in figures.items():
        latency = statistics.median(mine.p50 / theirs.p50 for mine, theirs in zip(ours, rounds, strict=True))
        rate = statistics.median(mine.rate / theirs.rate for mine, theirs in zip(ours, rounds, strict=True))
        middle = Figures(*(statistics.median(column) for column in zip(*rounds, strict=True)))
        table.add_row(
            name,
            f"{middle.p50:.2f}",
            f"{middle.p99:.2f}",
            f"{middle.rate:,.0f}",
            f"{middle.cpu:.0f}",
            f"{latency:.2f}",
            f"{rate:.2f}",
        )
    Console(width=140).print(table)
    print("times: Milepost's figure over the rival's; latency is better below 1, jobs/s above.")


if __name__ == "__main__":
    main()
