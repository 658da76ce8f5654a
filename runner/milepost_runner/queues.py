"""Which queues there are, of all tenants: as many as consumers of the stream in which jobs wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from milepost_reporter.jetstream.api import Api

from milepost_runner.subject import WORK, QueueName, parse_consumer


class QueueState(NamedTuple):
    """One tenant's queue: jobs that wait, jobs that run or will again, and times that workers are asking for one."""

    name: QueueName
    waiting: int
    running: int
    asking: int


async def queue_names(api: Api) -> AsyncIterator[QueueName]:
    """Every queue that there is.

    Raises:
        Refused, Unavailable
    """
    async for consumer in _listed(api, "NAMES"):
        if name := parse_consumer(str(consumer)):
            yield name


async def queue_states(api: Api) -> AsyncIterator[QueueState]:
    """Every queue, and how it is.

    Raises:
        Refused, Unavailable
    """
    async for info in _listed(api, "LIST"):
        if name := parse_consumer(str(info["name"])):
            yield QueueState(name, info["num_pending"], info["num_ack_pending"], info["num_waiting"])


async def _listed(api: Api, what: str) -> AsyncIterator[Any]:
    """Page after page of the consumers."""
    offset = 0
    while True:
        page = await api.request(f"$JS.API.CONSUMER.{what}.{WORK}", {"offset": offset})
        consumers = page.get("consumers") or []
        for consumer in consumers:
            yield consumer
        offset += len(consumers)
        if not consumers or offset >= int(page.get("total", 0)):
            return
