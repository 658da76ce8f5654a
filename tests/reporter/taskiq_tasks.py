"""What the workers of test_taskiq.py run, over a broker of JetStream's."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from milepost_reporter.current import current
from milepost_reporter.taskiq import MilepostMiddleware
from nats.js.api import ConsumerConfig
from taskiq import (
    AsyncBroker,
    Context,
    SimpleRetryMiddleware,
    SmartRetryMiddleware,
    TaskiqDepends,
    TaskiqMessage,
    TaskiqMiddleware,
    TaskiqResult,
)
from taskiq_nats import PullBasedJetStreamBroker

DURABLE = "workers"
ACK_WAIT = 3.0
"""Seconds until what a killed worker had is delivered once more."""


class Spoiling(TaskiqMiddleware):
    """Gets in the way around a task's function, when its label says so."""

    async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Raises for whoever is to be spoiled."""
        if message.labels.get("spoiled"):
            raise RuntimeError("a middleware has failed")
        return message

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """Waits until the task is asked to stop, when there is nothing left to stop."""
        if message.labels.get("lingering"):
            current().log("lingering")
            await current().cancellation
            # what was asked for has every turn of the loop to do harm
            for _ in range(1_000):
                await asyncio.sleep(0)


def make_broker(url: str, queue: str, *middlewares: TaskiqMiddleware) -> AsyncBroker:
    """A broker with a queue of its own."""
    consumer = ConsumerConfig(durable_name=DURABLE, ack_wait=ACK_WAIT)
    made = PullBasedJetStreamBroker(
        url, subject=queue, stream_name=queue, durable=DURABLE, consumer_config=consumer, pull_consume_timeout=0.2
    )
    return made.with_middlewares(*middlewares)


broker = make_broker(
    os.environ.get("TASKS_URL", "nats://127.0.0.1:4222"),
    os.environ.get("TASKS_QUEUE", "tasks"),
    SmartRetryMiddleware(default_delay=0) if os.environ.get("TASKS_RETRY") == "smart" else SimpleRetryMiddleware(),
    MilepostMiddleware(),
    Spoiling(),
)


@broker.task(task_name="load")
async def load(rows: int) -> dict[str, int]:
    """Counts rows on a node."""
    with current().node(1, "DB Input") as node:
        for _ in range(rows):
            node.advance()
            await asyncio.sleep(0)
    return {"rows": rows}


@broker.task(task_name="in a thread")
def in_a_thread(mark: str) -> str:
    """Says whose it is."""
    current().log(mark)
    return current().job


@broker.task(task_name="in a pool")
def in_a_pool() -> bool:
    """Whether it has a reporter."""
    return current().enabled


@broker.task(task_name="flaky")
async def flaky(folder: str, failures: int) -> None:
    """Fails as often as it is told to."""
    path = Path(folder) / "failures"
    before = len(path.read_text()) if path.exists() else 0
    path.write_text("x" * (before + 1))
    if before < failures:
        raise ValueError(f"failure {before + 1}")


@broker.task(task_name="again")
async def again(folder: str, context: Context = TaskiqDepends()) -> None:  # noqa: B008 - as taskiq has it
    """Puts itself back into the queue, once."""
    path = Path(folder) / "requeued"
    if not path.exists():
        path.write_text("once")
        await context.requeue()


@broker.task(task_name="endless")
async def endless() -> None:
    """Waits until it is cancelled."""
    current().log("waiting")
    await asyncio.Event().wait()


@broker.task(task_name="asking")
def asking() -> None:
    """Asks its token, in a thread."""
    current().log("waiting")
    current().cancellation.wait(20)
    current().cancellation.raise_if_requested()


@broker.task(task_name="deadly")
async def deadly(folder: str) -> str:
    """Says who runs it, and hangs there the first time."""
    path = Path(folder) / "pid"
    if not path.exists():
        path.write_text(str(os.getpid()))
        current().node(1, "Doomed")
        time.sleep(60)  # noqa: ASYNC251 - a worker that hangs, until it is killed
    return "survived"


@broker.task(task_name="touch")
async def touch(path: str) -> object:
    """Leaves a file; returns what is no JSON."""
    current().log("touching")
    Path(path).touch()  # noqa: ASYNC240 - a moment
    return object
