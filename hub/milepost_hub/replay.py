"""What one client must be sent until it stands where its channel's last flush stood.

    follow ──▶ subscribed ──▶ snapshot, or events behind a cursor ──▶ … ──▶ attached
                   ▲                    │ gone: gap, snapshot
                   └── the log is away: wait, ask again

The live path comes first: the log delivers before anything is read. A client takes events from the channel's ring, or
from the log where the ring does not reach, and nothing beyond the channel's last flush, because what is behind that the
channel will bring. In the very turn of the loop in which it stands at the flush it becomes a subscriber; so nothing
falls between, nothing comes twice, and nothing is held for it meanwhile but what it has not read of one write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from milepost_hub import message
from milepost_hub.action import MessageId
from milepost_hub.channel import Channel
from milepost_hub.client import Client
from milepost_hub.close import CloseCode
from milepost_hub.delivery import Delivery
from milepost_hub.errors import CursorGone, LogUnavailable
from milepost_hub.frame import text_frame
from milepost_hub.history import History, snapshot_delivery
from milepost_hub.job_log import Gap, Snapshot
from milepost_hub.shared import Spawn

logger = logging.getLogger("milepost.hub")

START = "start"
"""The cursor before the first stored event."""

_WRITE_SIZE = 64 * 1024
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 5.0
# The first answer may be to somebody else's question, asked before this client's event was stored; and where the log
# is replicated, the replica asked may be a little behind.
_CATCHING_UP = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client has asked for."""

    topic: str
    after: str | None
    latest: bool
    id: MessageId
    doubtful: bool = False
    """The job may have ended at `after`: that could not be read when the client came, and it is to be told."""


class Host(Protocol):
    """What a replay asks of its hub."""

    counts: dict[str, int]
    gaps: dict[str, int]
    errors: dict[str, int]

    @property
    def up(self) -> bool:
        """Whether events arrive."""
        ...

    async def in_effect(self, tenant: str) -> None:
        """Wait until the interest in a tenant is in effect."""
        ...

    async def news(self, wait: float) -> None:
        """Wait until the source of events has changed, so many seconds at most."""
        ...

    def flush(self) -> None:
        """Write what is owed to everybody."""
        ...


async def patiently(host: Host, ask: Callable[[], Awaitable[T]], told: Callable[[], None]) -> T:
    """The log's answer, however long it takes; `told` is called whenever it has to be waited for."""
    wait = _FIRST_WAIT
    while True:
        try:
            return await ask()
        except LogUnavailable:
            told()
        await host.news(wait)
        wait = min(_LONGEST_WAIT, wait * 2)


def pieces(deliveries: list[Delivery]) -> Iterator[list[Delivery]]:
    """Runs of messages of at most 64 KiB, or one that is longer."""
    piece: list[Delivery] = []
    size = 0
    for delivery in deliveries:
        if piece and size + len(delivery.frame) > _WRITE_SIZE:
            yield piece
            piece, size = [], 0
        piece.append(delivery)
        size += len(delivery.frame)
    if piece:
        yield piece


class Replay:
    """One client on its way to one channel. `start` it; stopped, it leaves nothing behind.

    answered: the client was told `subscribed` before. gap: it is told of this one and begins with a snapshot.
    """

    def __init__(
        self,
        host: Host,
        client: Client,
        channel: Channel,
        wish: Wish,
        *,
        answered: bool = False,
        gap: Gap | None = None,
    ) -> None:
        self.wish = wish
        self.answered = answered
        self._host = host
        self._client = client
        self._channel = channel
        self._history = channel.history
        self._gap = gap
        # Where the client stands: it has everything up to here. The cursor is where the log is read from.
        self._position = 0
        self._cursor: str | None = None
        # A client's own cursor may be of another life of the log, until the ring or the log knows it.
        self._verified = True
        self._final = False
        self._doubtful = wish.doubtful
        self._task: asyncio.Task[None] | None = None

    # -- what the hub calls -----------------------------------------------------------------------------------------

    def start(self, spawn: Spawn, *, in_effect: bool) -> None:
        """Begin; without a log, and nothing to wait for, be done with it at once."""
        self._channel.joins(self._client, self)
        self._client.replaying(1)
        if in_effect and self._history is None:
            self._join_live()
        else:
            self._task = spawn(self._run())

    def stop(self) -> None:
        """Go no further; the client stays where it is."""
        if self._channel.joined(self._client, self):
            self._client.replaying(-1)
        if self._task is not None:
            self._task.cancel()

    # -- the way ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._host.in_effect(self._channel.topic[0])
            if self._history is None:
                self._join_live()
            else:
                await self._join(self._history)
        except Exception:
            logger.exception("a replay has failed")
            self._host.errors["internal"] = self._host.errors.get("internal", 0) + 1
            self._client.close(CloseCode.GOING_AWAY)

    def _join_live(self) -> None:
        """Without a log there is nothing to be had but what comes."""
        self._answer()
        gap = self._gap or (Gap("unavailable", self.wish.after, None) if self.wish.after is not None else None)
        if gap is not None:
            self._client.tell(self._told(gap))
        job = self._channel.topic[1]
        self._client.tell(snapshot_delivery(job, unknown(job)))
        self._attach()

    async def _join(self, history: History) -> None:
        self._host.counts["replay"] += 1
        await self._ask(history.follow)
        if self._gap is not None:
            self._answer()
            await self._begin_anew(history, self._gap)
        elif self.wish.after is None:
            # Before the answer: whatever is published behind it comes as an event, to those who know no snapshots too.
            state = await self._ask(history.state)
            self._answer()
            await self._begin_with(history, state)
        else:
            self._answer()
            self._stand_at(history, self.wish.after)
        while True:
            await self._client.drained()
            # Nothing is awaited between here and the attachment: no flush can come between the two.
            if not self._verified or self._position != self._channel.flushed:
                await self._go_on(history)
            elif self._doubtful:
                await self._find_out(history)
            else:
                self._attach()
                return

    def _attach(self) -> None:
        self._channel.subscribers[self._client] = self.wish.latest
        if self._channel.joined(self._client, self):
            self._client.replaying(-1)
        if self._history is not None and not self._channel.replays:
            self._history.forget_batch()
        if self._final:
            self._client.ended(self.wish.topic, self._cursor)

    def _stand_at(self, history: History, after: str) -> None:
        if after != START:
            self._position, self._cursor, self._verified = history.check(after), after, False

    async def _go_on(self, history: History) -> None:
        channel = self._channel
        if not self._verified and self._cursor is not None:
            self._verified = channel.ring.knows(self._position, self._cursor)
        if not self._verified:
            await self._read(history)
        elif self._position > channel.flushed:
            await self._wait_for_channel(history)
        elif (events := channel.ring.between(self._position, channel.flushed)) is None:
            await self._read(history)
        elif events:
            self._host.counts["ring"] += 1
            await self._give(history, next(pieces(events)))
        else:
            self._position = channel.flushed

    async def _find_out(self, history: History) -> None:
        """Whether the job has ended where the client stands."""
        cursor = self._cursor
        self._doubtful = False
        if cursor is not None:
            self._final = await self._ask(lambda: history.is_over(cursor))

    async def _read(self, history: History) -> None:
        try:
            page = await self._ask(lambda: history.page(self._position, self._cursor))
        except CursorGone as gone:
            await self._begin_anew(history, gone.gap)
            return
        self._verified = True
        flushed = self._channel.flushed
        # What is behind the last flush the channel brings by itself.
        events = [event for event in page.deliveries if self._position < (event.position or 0) <= flushed]
        for piece in pieces(events):
            await self._give(history, piece)
        if not events:
            # Not what is flushed by now: that may have been stored while the page was read.
            self._position = max(self._position, page.flushed)

    async def _wait_for_channel(self, history: History) -> None:
        """The client has seen more than this hub has delivered: let the live path catch up with it."""
        for wait in _CATCHING_UP:
            await self._ask(history.catch_up)
            self._host.flush()
            if self._position <= self._channel.flushed:
                return
            await self._host.news(wait)
        self._position = self._channel.flushed

    async def _begin_anew(self, history: History, gap: Gap) -> None:
        state = await self._ask(history.state)
        await self._begin_with(history, state, self._told(gap))

    async def _begin_with(self, history: History, state: Delivery, *before: Delivery) -> None:
        await self._give(history, [*before, state])
        self._verified, self._final = True, state.final

    async def _give(self, history: History, deliveries: list[Delivery]) -> None:
        await self._client.drained()
        self._client.give(history.batch(deliveries))
        self._position, self._cursor = deliveries[-1].position or 0, deliveries[-1].cursor
        self._final = self._doubtful = False

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await patiently(self._host, ask, self._answer)

    def _answer(self) -> None:
        if not self.answered:
            self.answered = True
            durable = self._history is not None
            self._client.subscribed(self.wish.topic, durable=durable, up=self._host.up, id=self.wish.id)

    def _told(self, gap: Gap) -> Delivery:
        self._host.gaps[gap.reason] = self._host.gaps.get(gap.reason, 0) + 1
        return Delivery(text_frame(message.gap(self._channel.topic[1], gap)), kind="gap")


def unknown(job: str) -> Snapshot:
    """The snapshot of a job of which nothing is kept."""
    return Snapshot(message.unknown_state(job), 0, None, known=False, final=False)
