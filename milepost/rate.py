"""Rate and time left of one node: derived where they are shown, never sent."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW: Final = 10.0
"""Seconds of history a rate is taken over."""

_SPACING: Final = 0.2


class Rate:
    """How fast a count grows, over the last `WINDOW` seconds. Does no I/O and asks no clock."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def add(self, now: float, count: float) -> None:
        """The count at time `now`, in seconds. A count that falls begins anew."""
        if self._seen and count < self._seen[-1][1]:
            self._seen.clear()
        if len(self._seen) > 1 and now - self._seen[-2][0] < _SPACING:
            self._seen[-1] = (now, count)
        else:
            self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW:  # noqa: PLR2004 - two make a slope
            self._seen.popleft()

    def per_second(self, now: float) -> float | None:
        """The rate at time `now`; None before two counts are known, or when nothing has grown for long."""
        if len(self._seen) < 2:  # noqa: PLR2004
            return None
        began, first = self._seen[0]
        last_at, last = self._seen[-1]
        # a node that has fallen silent slows down instead of standing at its old rate
        elapsed = max(now, last_at) - began
        if elapsed <= 0 or now - last_at > WINDOW:
            return None
        return (last - first) / elapsed

    def seconds_left(self, now: float, total: float | None) -> float | None:
        """Seconds until `total` at this rate; None when either is unknown or nothing moves."""
        rate = self.per_second(now)
        if not rate or total is None or rate < 0:
            return None
        return max(total - self._seen[-1][1], 0.0) / rate
