"""When the next flush may start.

A flush costs a system call for every client it reaches, however little it brings. So the flush paces itself: after one
that brought several events to each client, the next starts no sooner than a multiple of what the last one cost, and
what arrives meanwhile shares its system calls. Two flushes never start within a short time of each other: events that
go to a client each share no write, but the turns of the loop that bring them. What comes later than that goes at once.
"""

from __future__ import annotations


class Pace:
    """Decides the pause between flushes. Times are seconds of one monotonic clock."""

    __slots__ = ("_factor", "_longest", "_next", "_shortest")

    def __init__(self, factor: float, shortest: float, longest: float) -> None:
        """Pause up to `factor` times a flush's cost, never over `longest`; start none within `shortest` of the last."""
        self._factor = factor
        self._shortest = shortest
        self._longest = longest
        self._next = 0.0

    def delay(self, now: float) -> float:
        """How long a flush wished for now has to wait; 0 when it may start."""
        return max(0.0, self._next - now)

    def flushed(self, started: float, ended: float, depth: float) -> None:
        """Take note of a flush that brought `depth` events to each client it wrote to, on average.

        The pause grows with what came beyond one: it is the sign that events come faster than flushes, and that
        waiting saves system calls. At a depth of one, waiting would only cost time. By half of it, because a longer
        pause makes for a deeper flush, which must not by itself make for a longer pause.
        """
        cost = ended - started
        factor = min(self._factor, max(0.0, depth - 1) / 2)
        pause = max(self._shortest - cost, factor * cost)
        self._next = ended + min(pause, self._longest)
