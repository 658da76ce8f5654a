"""One job's past: its snapshot and the pages of its log, each read once for everybody who asks at the same time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

from milepost_hub import message
from milepost_hub.channel import Batch, Channel
from milepost_hub.delivery import Delivery, deliver
from milepost_hub.errors import CursorGone
from milepost_hub.frame import text_frame
from milepost_hub.job_log import JobLog, Snapshot
from milepost_hub.shared import Shared, Spawn

_MOST_EVENTS = 512
_FEWEST_EVENTS = 16
_PAGE_BYTES = 256 * 1024
# What goes on when all that was read counts no more.
_FOLLOW = "follow"

T = TypeVar("T")


class Page:
    """The next events of a log. `flushed`: the channel's, before they were read: what it had brought is among them."""

    __slots__ = ("deliveries", "flushed")

    def __init__(self, deliveries: list[Delivery], flushed: int) -> None:
        self.deliveries = deliveries
        self.flushed = flushed


async def is_over(log: JobLog, snapshot: Snapshot, tenant: str, job: str, cursor: str) -> bool:
    """Whether nothing comes behind this cursor, nor will. Raises LogUnavailable."""
    if not snapshot.final or cursor == snapshot.cursor:
        return snapshot.final
    try:
        return not await log.read(tenant, job, cursor, 1)
    except CursorGone:
        return False


class History:
    """Reads a channel's log. Its coroutines raise what the log raises."""

    __slots__ = (
        "_asked_to_follow",
        "_channel",
        "_counts",
        "_following",
        "_joined",
        "_life",
        "_limit",
        "_log",
        "_shared",
        "_state",
    )

    def __init__(self, log: JobLog, channel: Channel, spawn: Spawn, counts: dict[str, int]) -> None:
        self._log = log
        self._channel = channel
        self._counts = counts
        self._shared = Shared(spawn, counts)
        self._asked_to_follow = False
        self._following = False
        # How often it has begun anew: a position told before that counts no more.
        self._life = 0
        self._state: Delivery | None = None
        self._limit = 128
        self._joined: Batch | None = None

    async def follow(self) -> None:
        """Have the channel's events delivered, if they are not already."""
        if not self._following:
            await self.catch_up()

    async def catch_up(self) -> None:
        """Have everything delivered that was stored before this was asked; asked twice in a row, that is certain."""
        await self._shared.ask(_FOLLOW, self._follow)

    async def _follow(self) -> None:
        self._asked_to_follow = True
        life = self._life
        position = await self._log.follow(*self._channel.topic)
        if life == self._life:
            self._channel.follows(position)
        self._following = True

    async def state(self) -> Delivery:
        """The job's state at a place from which the ring goes on, or the present one; `final` when it has ended."""
        state = self._state
        if state is not None and self._channel.ring.between(state.position or 0, 0) is not None:
            self._counts["cached"] += 1
            return state
        state = await self._read("state", self._read_state)
        # Of a job without events there is little to read, and there may be many such jobs.
        self._state = state if state.position else None
        return state

    def check(self, cursor: str) -> int:
        """The position a cursor names; BadCursor for none."""
        return self._log.check(cursor)

    async def page(self, position: int, cursor: str | None) -> Page:
        """The next events behind a cursor, whose position this is; None is the beginning of the log."""
        limit = self._limit
        page = await self._read((cursor, limit), lambda: self._page(cursor, limit))
        self._keep(position, cursor, page)
        return page

    async def is_over(self, cursor: str) -> bool:
        """Whether the job has ended for good, and nothing comes behind this cursor."""
        log, (tenant, job) = self._log, self._channel.topic

        async def read() -> bool:
            return await is_over(log, await log.snapshot(tenant, job), tenant, job, cursor)

        return await self._read(("over", cursor), read)

    def batch(self, deliveries: list[Delivery]) -> Batch:
        """These as one batch: the same for those who come along together."""
        joined = self._joined
        if joined is None or not _same(joined.deliveries, deliveries):
            joined = self._joined = Batch(self._channel, deliveries)
        return joined

    def forget_batch(self) -> None:
        """Nobody is on the way any more."""
        self._joined = None

    def starts_anew(self, snapshot: Snapshot) -> None:
        """What was read before counts no more: this is the state, and the events behind it follow."""
        self._shared.close(but=_FOLLOW)
        self._joined = None
        self._life += 1
        self._state = snapshot_delivery(self._channel.topic[1], snapshot)
        self._channel.starts_anew(snapshot.position, snapshot.cursor)

    def close(self) -> None:
        """Nobody asks any more."""
        self._shared.close()
        if self._asked_to_follow:
            self._log.unfollow(*self._channel.topic)

    async def _read(self, what: Hashable, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def read() -> T:
            self._counts["read"] += 1
            return await call()

        return await self._shared.ask(what, read)

    async def _read_state(self) -> Delivery:
        tenant, job = self._channel.topic
        return snapshot_delivery(job, await self._log.snapshot(tenant, job))

    async def _page(self, cursor: str | None, limit: int) -> Page:
        flushed = self._channel.flushed
        tenant, job = self._channel.topic
        events = await self._log.read(tenant, job, cursor, limit)
        deliveries = [deliver(self._channel.head, event) for event in events]
        if deliveries:
            mean = sum(len(delivery.frame) for delivery in deliveries) // len(deliveries)
            self._limit = max(_FEWEST_EVENTS, min(_MOST_EVENTS, _PAGE_BYTES // max(1, mean)))
        return Page(deliveries, flushed)

    def _keep(self, position: int, cursor: str | None, page: Page) -> None:
        """Put what was read before the ring, if nothing is missing between the two."""
        ring = self._channel.ring
        base = ring.base
        if base is None or position >= base:
            return
        before = [delivery for delivery in page.deliveries if (delivery.position or 0) <= base]
        # A page may end anywhere: only one that has the base, or something behind it, surely has all before it.
        if len(before) < len(page.deliveries) or (before and before[-1].position == base):
            ring.prepend(position, cursor, before)


def _same(some: list[Delivery], others: list[Delivery]) -> bool:
    return len(some) == len(others) and some[0].frame is others[0].frame and some[-1].frame is others[-1].frame


def snapshot_delivery(job: str, snapshot: Snapshot) -> Delivery:
    """A snapshot as a message."""
    frame = text_frame(message.snapshot(job, snapshot))
    return Delivery(frame, None, "snapshot", None, snapshot.final, snapshot.position, snapshot.cursor)
