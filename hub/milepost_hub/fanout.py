"""Dirty channels, and the flush that writes once per client.

An event is encoded once and appended to its channel. A flush takes every dirty channel's frames as one batch, gives
each subscriber the batches of all its channels, and writes them with one call: the system call is what a delivery
costs. An event therefore costs what its own subscribers cost, whatever else the hub carries.

Reading costs as well: a system call and a turn of the loop, however little it brings. An upstream that says when it has
handed over what it read (`caught_up`) has it flushed right then, and learns how long it may let more gather.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from milepost_hub.channel import Batch, Channel
from milepost_hub.client import Client
from milepost_hub.event import Event
from milepost_hub.pace import Pace

# Clocks of event loops tick in milliseconds: a flush may start a little early, rather than a turn of the loop late.
_SLACK = 0.0006


class Fanout:
    """The hub's one flush. `most_owed` bytes in a channel flush at once, whatever the pace says."""

    __slots__ = ("_dirty", "_loop", "_most_owed", "_pace", "_scheduled", "deliveries", "flushes")

    def __init__(self, loop: asyncio.AbstractEventLoop, pace: Pace, most_owed: int) -> None:
        self._loop = loop
        self._pace = pace
        self._most_owed = most_owed
        self._dirty: list[Channel] = []
        self._scheduled: asyncio.Handle | None = None
        self.deliveries = 0
        self.flushes = 0

    def append(self, channel: Channel, event: Event) -> None:
        """Owe an event to a channel's subscribers, and see that they get it soon."""
        channel.append(event)
        self.owes(channel)

    def owes(self, channel: Channel) -> None:
        """Something was appended to a channel."""
        if not channel.dirty:
            channel.dirty = True
            self._dirty.append(channel)
            if self._scheduled is None:
                self._schedule()
        if channel.size >= self._most_owed:
            self.flush()

    def _schedule(self) -> None:
        delay = self._pace.delay(monotonic())
        if delay > 0:
            self._scheduled = self._loop.call_later(delay + _SLACK, self.flush)
        else:
            self._scheduled = self._loop.call_soon(self.flush)

    def caught_up(self) -> float:
        """The upstream has handed over all it had: flush that, if it is time.

        Returns:
            Seconds until the next flush may start: what is handed over before then can only wait.
        """
        if self._dirty and self._pace.delay(monotonic()) <= _SLACK:
            self.flush()
        return self._pace.delay(monotonic())

    def flush(self) -> None:
        """Write what is owed to everybody."""
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        if not self._dirty:
            return
        started = monotonic()
        dirty, self._dirty = self._dirty, []
        deliveries, owed = self._share_out(dirty)
        joined: dict[tuple[int, ...], bytes] = {}
        for client in owed:
            batches, client.owed = client.owed, None
            if type(batches) is Batch:
                client.push(batches, started)
            elif type(batches) is list:
                client.push_all(batches, started, joined)
        self.deliveries += deliveries
        self.flushes += 1
        self._pace.flushed(started, monotonic(), deliveries / len(owed) if owed else 0)

    @staticmethod
    def _share_out(dirty: list[Channel]) -> tuple[int, list[Client]]:
        deliveries = 0
        owed: list[Client] = []
        for channel in dirty:
            batch = channel.take()
            deliveries += len(batch.frames) * len(channel.subscribers)
            for client in channel.subscribers:
                earlier = client.owed
                if earlier is None:
                    client.owed = batch
                    owed.append(client)
                elif type(earlier) is list:
                    earlier.append(batch)
                else:
                    client.owed = [earlier, batch]  # type: ignore[list-item]  # type() tells mypy nothing
        return deliveries, owed
