"""Dirty channels, and the flush that writes once per client.

An event is encoded once and appended to its channel. A flush takes every dirty channel's frames as one batch, gives
each subscriber the batches of all its channels, and writes them with one call: the system call is what a delivery
costs. An event therefore costs what its own subscribers cost, whatever else the hub carries.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from milepost_hub.channel import Batch, Channel
from milepost_hub.connection import Connection
from milepost_hub.pace import Pace


class Fanout:
    """The hub's one flush. `most_owed` bytes in a channel flush at once, whatever the pace says."""

    __slots__ = ("_dirty", "_loop", "_most_owed", "_pace", "_scheduled", "deliveries", "flushes")

    def __init__(self, loop: asyncio.AbstractEventLoop, pace: Pace, most_owed: int) -> None:
        self._loop = loop
        self._pace = pace
        self._most_owed = most_owed
        self._dirty: list[Channel] = []
        self._scheduled = False
        self.deliveries = 0
        self.flushes = 0

    def append(self, channel: Channel, payload: bytes, key: str | None) -> None:
        """Owe a message to a channel's subscribers, and see that they get it soon."""
        channel.append(payload, key)
        if not channel.dirty:
            channel.dirty = True
            self._dirty.append(channel)
            if not self._scheduled:
                self._schedule()
        if channel.size >= self._most_owed:
            self.flush()

    def _schedule(self) -> None:
        self._scheduled = True
        delay = self._pace.delay(monotonic())
        if delay > 0:
            self._loop.call_later(delay, self._scheduled_flush)
        else:
            self._loop.call_soon(self._scheduled_flush)

    def _scheduled_flush(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write what is owed to everybody."""
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
    def _share_out(dirty: list[Channel]) -> tuple[int, list[Connection]]:
        deliveries = 0
        owed: list[Connection] = []
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
