"""What a task costs with and without the middleware: `python -m benchmarks.taskiq_cost`.

The same no-op tasks wait in a JetStream queue; one worker process takes them all, once with the middleware and once
without. What it says of itself is wall time and processor time, all threads together, from its first task to its last.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from milepost_reporter.taskiq import MilepostMiddleware
from taskiq import AsyncBroker
from taskiq_nats import PullBasedJetStreamBroker

from milepost.nats_server import NatsServer
from tests.docs.block import ROOT
from tests.reporter.job_log import make_streams
from tests.waiting import eventually_async

_BATCH = 50


def make_broker(url: str, queue: str, *, told: bool) -> AsyncBroker:
    """A queue of its own for each round."""
    made = PullBasedJetStreamBroker(
        url,
        subject=queue,
        stream_name=queue,
        durable=queue,
        pull_consume_batch=_BATCH,
        pull_consume_timeout=0.2,
    )
    return made.with_middlewares(MilepostMiddleware()) if told else made


broker = make_broker(
    os.environ.get("NATS_URL", "nats://127.0.0.1:4222"),
    os.environ.get("COST_QUEUE", "cost"),
    told=os.environ.get("COST_TOLD") == "yes",
)

_first: list[float] = []
_seen: list[int] = []


@broker.task(task_name="nothing")
async def nothing(number: int, last: int, answer: str) -> None:
    """Does nothing; the last one says how long all of them took."""
    if not _first:
        _first.extend((time.perf_counter(), time.process_time()))
    _seen.append(number)
    if len(_seen) == last:
        Path(answer).write_text(f"{time.perf_counter() - _first[0]} {time.process_time() - _first[1]}")  # noqa: ASYNC240


async def measure(url: str, folder: Path, queue: str, tasks: int, *, told: bool) -> tuple[float, float]:
    """Seconds on the wall and of the processor for one task."""
    sender = make_broker(url, queue, told=False)
    sender.task(task_name="nothing")(nothing.original_func)
    await sender.startup()
    answer = folder / queue
    task = sender.find_task("nothing")
    assert task is not None
    for number in range(tasks):
        await task.kiq(number, tasks, str(answer))
    env = {**os.environ, "NATS_URL": url, "MILEPOST_TENANT": "acme", "COST_QUEUE": queue, "PYTHONPATH": str(ROOT)}
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "taskiq", "worker", f"{__spec__.name}:broker", "--workers", "1"),
        *("--log-level", "ERROR"),
        env={**env, "COST_TOLD": "yes" if told else "no"},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await eventually_async(lambda: answer.exists() and answer.read_text(), 120)
    finally:
        worker.terminate()
        await worker.wait()
        await sender.shutdown()
    wall, cpu = (float(number) / tasks for number in answer.read_text().split())
    return wall, cpu


async def main(tasks: int, rounds: int) -> None:
    """Prints a table: the median of the rounds, which take turns."""
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with NatsServer() as server, tempfile.TemporaryDirectory() as folder:
        make_streams(server.url)
        for number in range(rounds):
            for told in (False, True):
                queue = f"round-{number}-{'told' if told else 'untold'}"
                found[told].append(await measure(server.url, Path(folder), queue, tasks, told=told))
    for told, rows in found.items():
        wall, cpu = (statistics.median(row[index] for row in rows) for index in (0, 1))
        words = "with" if told else "without"
        print(f"{words:8} {1 / wall:7,.0f} tasks/s {cpu * 1e6:7,.0f} µs of processor a task")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    asyncio.run(main(given.tasks, given.rounds))
