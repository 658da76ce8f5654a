"""The summaries of all jobs a client may see, newest first, at the speed at which it reads."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

from milepost_hub import message
from milepost_hub.action import ALL_JOBS
from milepost_hub.channel import Batch, Channel
from milepost_hub.client import Client
from milepost_hub.close import CloseCode
from milepost_hub.delivery import Delivery
from milepost_hub.frame import text_frame
from milepost_hub.job_log import JobLog
from milepost_hub.replay import Host, Wish, patiently, pieces
from milepost_hub.shared import Spawn

logger = logging.getLogger("milepost.hub")

_AT_ONCE = 200
"""Summaries made into messages before others have their turn."""

Jobs = list[Delivery]
"""A `job.summary` each; `key` is the job."""


async def list_jobs(log: JobLog, tenant: str, jobs: frozenset[str] | None) -> Jobs:
    """Every job as a message, newest first. Raises what the log raises."""
    listed: Jobs = []
    for place, fields in enumerate(await log.jobs(tenant, jobs)):
        frame = text_frame(message.summary(fields))
        listed.append(Delivery(frame, str(json.loads(fields)["jobId"]), "summary"))
        if place % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
    return listed


class Listing:
    """One client on its way to know all jobs. It hears of changes meanwhile: those count, not what was listed."""

    def __init__(
        self,
        host: Host,
        client: Client,
        channels: tuple[Channel, ...],
        wish: Wish,
        read: Callable[[], Awaitable[Jobs]] | None,
        *,
        answered: bool = False,
    ) -> None:
        self.wish = wish
        self.answered = answered
        self.changed: set[str] = set()
        """Jobs of which the client has heard since this began."""
        self._host = host
        self._client = client
        self._channels = channels
        self._read = read
        self._task: asyncio.Task[None] | None = None

    def start(self, spawn: Spawn, tenant: str, *, in_effect: bool) -> None:
        """Begin; without a log, and nothing to wait for, be done with it at once."""
        for channel in self._channels:
            channel.subscribers[self._client] = True
        if in_effect and self._read is None:
            self._answer()
            self._end(0)
            return
        for channel in self._channels:
            channel.lists(self._client, self)
        self._client.replaying(1)
        self._task = spawn(self._run(tenant))

    def stop(self) -> None:
        """Go no further."""
        if self._task is not None:
            self._task.cancel()
            self._leave()

    async def _run(self, tenant: str) -> None:
        try:
            await self._host.in_effect(tenant)
            self._answer()
            listed = [] if self._read is None else await patiently(self._host, self._read, self._answer)
            await self._give(listed)
            # what has changed meanwhile belongs to the list, and may not have been written yet
            self._host.flush()
            self._end(len(listed))
            self._leave()
        except Exception:
            logger.exception("a list of jobs has failed")
            self._host.errors["internal"] = self._host.errors.get("internal", 0) + 1
            self._client.close(CloseCode.GOING_AWAY)

    async def _give(self, listed: Jobs) -> None:
        for piece in pieces(listed):
            await self._client.drained()
            # Looked at right before it is written: what has changed by now the client has heard already.
            rest = [delivery for delivery in piece if delivery.key not in self.changed]
            if rest:
                self._client.give(Batch(self._channels[0], rest))
            await asyncio.sleep(0)

    def _end(self, count: int) -> None:
        self._client.tell(Delivery(text_frame(message.listed(count, durable=self._read is not None)), kind="listed"))

    def _leave(self) -> None:
        left = [channel.listed(self._client, self) for channel in self._channels]
        if any(left):
            self._client.replaying(-1)

    def _answer(self) -> None:
        if not self.answered:
            self.answered = True
            durable = self._read is not None
            self._client.subscribed(ALL_JOBS, durable=durable, up=self._host.up, id=self.wish.id)
