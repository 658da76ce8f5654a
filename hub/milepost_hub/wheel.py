"""Timers for many clients at the price of one: a wheel of slots, each turned once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Wheel(Generic[T]):
    """Remembers what to wake when, rounded up to whole ticks.

    An entry cannot be taken out: who schedules again remembers the newest slot, and ignores a wake from any other.
    """

    __slots__ = ("_slots", "_turned", "tick")

    def __init__(self, tick: float, now: float) -> None:
        """Turn every `tick` seconds, beginning at `now` on the caller's monotonic clock."""
        self.tick = tick
        self._turned = int(now // tick)
        self._slots: dict[int, list[T]] = {}

    def add(self, when: float, item: T) -> int:
        """Wake `item` at the first turn after `when`; return its slot."""
        slot = max(int(when // self.tick) + 1, self._turned + 1)
        self._slots.setdefault(slot, []).append(item)
        return slot

    def turn(self, now: float) -> Iterator[tuple[int, T]]:
        """Yield what is due by `now`, with its slot."""
        until = int(now // self.tick)
        while self._turned < until:
            self._turned += 1
            for item in self._slots.pop(self._turned, ()):
                yield self._turned, item
