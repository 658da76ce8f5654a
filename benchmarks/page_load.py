"""Events for the pages that are measured, from a process of its own: a job at a rate, or thousands of jobs that change.

python -m benchmarks.page_load URL job RATE        one job of 20 nodes; says so when its plan is stored
python -m benchmarks.page_load URL jobs COUNT RATE COUNT running jobs; says so when all are stored
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import nats
from nats.aio.client import Client

TENANT: Final = "bench"
NODES: Final = 20
_TICK: Final = 0.01
_LOG_EVERY: Final = 20
_PLAN_EVERY: Final = 2_000


async def main() -> None:
    """Publish until killed."""
    url, what, *numbers = sys.argv[1:]
    client = await nats.connect(url)
    if what == "job":
        await _publish(client, 1, _plan())
        await _say_ready(client)
        await _at_rate(client, int(numbers[0]), _job_events())
    else:
        count, rate = map(int, numbers)
        for job in range(1, count + 1):
            await _publish(client, job, {"status": "running", "name": f"Import of customers {job}", "fraction": 0})
        await _say_ready(client)
        await _at_rate(client, rate, _jobs_events(count))


async def _say_ready(client: Client) -> None:
    await client.flush(30)
    print(json.dumps({"phase": "ready"}), flush=True)


async def _at_rate(client: Client, rate: int, events: Iterator[tuple[int, dict[str, Any]]]) -> None:
    begun, sent = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - begun) * rate)
        for job, event in itertools.islice(events, due - sent):
            await _publish(client, job, event)
        sent = due
        await asyncio.sleep(_TICK)


async def _publish(client: Client, job: int, event: dict[str, Any]) -> None:
    await client.publish(f"tenant.{TENANT}.job.{job}.progress", json.dumps(event).encode())


def _plan() -> dict[str, Any]:
    nodes = [{"nodeId": node, "nodeName": f"Step {node}"} for node in range(NODES)]
    edges = [[node, node + 4] for node in range(NODES - 4)]
    return {"kind": "plan", "data": {"nodes": nodes, "edges": edges}}


def _job_events() -> Iterator[tuple[int, dict[str, Any]]]:
    for number in itertools.count():
        node = number % NODES
        if number % _PLAN_EVERY == 0:
            # else it would have left the log of a job that says so much
            yield 1, _plan()
        elif number % _LOG_EVERY == 0:
            yield 1, {"kind": "log", "message": f"line {number}: a batch was written", "nodeId": node}
        else:
            rows = number // NODES * 100
            yield 1, {"nodeId": node, "status": "running", "rowCount": rows, "total": 10_000_000, "unit": "rows"}


def _jobs_events(count: int) -> Iterator[tuple[int, dict[str, Any]]]:
    for number in itertools.count():
        # a stride that has no factor in common with the count reaches every job
        yield number * 7919 % count + 1, {"fraction": min(number / count / 100, 1), "message": f"batch {number}"}


if __name__ == "__main__":
    asyncio.run(main())
