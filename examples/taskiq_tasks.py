"""A taskiq task that reports.

`taskiq worker examples.taskiq_tasks:broker` runs it, `python examples/taskiq_tasks.py JOB` sends one.
"""

import asyncio
import os
import sys

from milepost_reporter.current import current
from milepost_reporter.taskiq import MilepostMiddleware
from taskiq import SimpleRetryMiddleware
from taskiq_nats import PullBasedJetStreamBroker

broker = PullBasedJetStreamBroker(os.environ["NATS_URL"]).with_middlewares(
    SimpleRetryMiddleware(), MilepostMiddleware()
)


@broker.task(task_name="nightly import", retry_on_error=True, max_retries=2)
async def nightly_import(rows: int, *, retries_needed: bool = False) -> dict[str, int]:
    """The first try meets a closed door."""
    job = current()
    if retries_needed and job.run == 1:
        raise ConnectionError("the database is not there yet")
    with job.node(1, "DB Input", total=rows, unit="rows") as node:
        for _ in range(10):
            await asyncio.sleep(0.05)
            node.advance(rows // 10)
    job.log("a row had no date", level="warning")
    return {"rows": rows}


async def send(job: str) -> None:
    """Send one task, as a web application would."""
    await broker.startup()
    await nightly_import.kicker().with_task_id(job).kiq(10_000, retries_needed=True)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(send(sys.argv[1]))
