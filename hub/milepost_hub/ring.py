"""A job's last events, shared by all who join it: bounded for each job, and for all jobs together.

Rings hold most of what a busy hub keeps, and hold it as plain tuples: Python's collector lets go of a plain tuple of
bytes and numbers for good when it first sees it, but goes through named ones again and again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from milepost_hub.delivery import Delivery

_OVERHEAD = 128
"""What an entry costs beside its frame, about."""

_Entry = tuple[Any, ...]
_FRAME, _POSITION, _CURSOR = (Delivery._fields.index(name) for name in ("frame", "position", "cursor"))


class Rings:
    """The bounds of every ring, and what all of them hold."""

    __slots__ = ("holding", "most", "most_bytes", "most_events", "size")

    def __init__(self, most_events: int, most_bytes: int, most: int) -> None:
        """Allow each ring so many events and bytes, and all of them together `most` bytes."""
        self.most_events = most_events
        self.most_bytes = most_bytes
        self.most = most
        self.size = 0
        self.holding: dict[Ring, None] = {}
        """Those that hold anything, the longest first."""

    def shrink(self) -> None:
        """Have the oldest rings let go of all they hold, until the rest is within the bound."""
        while self.size > self.most:
            next(iter(self.holding)).let_go()


class Ring:
    """Events in order without a hole, and the place they begin behind."""

    __slots__ = ("_entries", "_rings", "_start", "base", "base_cursor", "size")

    def __init__(self, rings: Rings) -> None:
        self._rings = rings
        self._entries: list[_Entry] = []
        # Entries before this one are gone already; a list's front is costly to take away one by one.
        self._start = 0
        self.base: int | None = None
        """Everything behind this position is here; None while that is not known."""
        self.base_cursor: str | None = None
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries) - self._start

    def begin(self, position: int, cursor: str | None = None) -> None:
        """Hold nothing, and begin behind this place."""
        self._forget()
        self.base, self.base_cursor = position, cursor

    def append(self, delivery: Delivery) -> None:
        """Hold the event that follows the last one. The hot path."""
        if self.base is None:
            self.base, self.base_cursor = delivery.position, delivery.cursor
            return
        entries, rings = self._entries, self._rings
        if len(entries) == self._start:
            rings.holding[self] = None
        entries.append(tuple(delivery))
        cost = len(delivery.frame) + _OVERHEAD
        self.size += cost
        rings.size += cost
        if len(entries) - self._start > rings.most_events or self.size > rings.most_bytes:
            self._trim()
        if rings.size > rings.most:
            rings.shrink()

    def prepend(self, position: int, cursor: str | None, deliveries: Sequence[Delivery]) -> None:
        """Hold the events from this place up to the present base, as far back as there is room."""
        room, bytes_left = self._rings.most_events - len(self), self._rings.most_bytes - self.size
        bytes_left = min(bytes_left, self._rings.most - self._rings.size)
        first = len(deliveries)
        while first and room > 0 and bytes_left >= (cost := len(deliveries[first - 1].frame) + _OVERHEAD):
            first -= 1
            room -= 1
            bytes_left -= cost
            self.size += cost
            self._rings.size += cost
        if first < len(deliveries):
            self._rings.holding[self] = None
        self._entries[: self._start] = map(tuple, deliveries[first:])
        self._start = 0
        if first:
            position, cursor = deliveries[first - 1].position or 0, deliveries[first - 1].cursor
        self.base, self.base_cursor = position, cursor

    def knows(self, position: int, cursor: str) -> bool:
        """Whether this is the cursor of an event here, or of the place the events begin behind."""
        if cursor == self.base_cursor:
            return True
        found = self._behind(position) - 1
        return found >= self._start and bool(self._entries[found][_CURSOR] == cursor)

    def between(self, position: int, until: int) -> list[Delivery] | None:
        """The events behind one position up to another; None when it does not reach back so far."""
        if self.base is None or position < self.base:
            return None
        return list(map(Delivery._make, self._entries[self._behind(position) : self._behind(until)]))

    def let_go(self) -> None:
        """Hold nothing, and begin behind what was the last."""
        last = self._entries[-1]
        self.begin(last[_POSITION] or 0, last[_CURSOR])

    def close(self) -> None:
        """Hold nothing, and know nothing."""
        self._forget()
        self.base = self.base_cursor = None

    def _behind(self, position: int) -> int:
        return bisect_right(self._entries, position, lo=self._start, key=_position)

    def _forget(self) -> None:
        self._rings.size -= self.size
        self._rings.holding.pop(self, None)
        self._entries.clear()
        self._start = self.size = 0

    def _trim(self) -> None:
        entries, rings = self._entries, self._rings
        while len(entries) - self._start > rings.most_events or self.size > rings.most_bytes:
            gone = entries[self._start]
            entries[self._start] = _GONE
            self._start += 1
            cost = len(gone[_FRAME]) + _OVERHEAD
            self.size -= cost
            rings.size -= cost
            self.base, self.base_cursor = gone[_POSITION], gone[_CURSOR]
        if self._start > len(entries) // 2:
            del entries[: self._start]
            self._start = 0
        if not entries:
            rings.holding.pop(self, None)


_GONE: _Entry = tuple(Delivery(b""))


def _position(entry: _Entry) -> int:
    return entry[_POSITION] or 0
