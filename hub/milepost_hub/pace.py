"""When the next flush may start.

A flush costs a system call for every client it reaches, however little it brings. So the flush paces itself: after one
that carried several events a channel, the next starts no sooner than `factor` times what the last one cost, and what
arrives meanwhile shares its system calls. A hub whose events come one by one answers each at once.
"""

from __future__ import annotations


class Pace:
    """Decides the pause between flushes. Times are seconds of one monotonic clock."""

    __slots__ = ("_factor", "_longest", "_next")

    def __init__(self, factor: float, longest: float) -> None:
        """Pause `factor` times a flush's cost, but never over `longest`."""
        self._factor = factor
        self._longest = longest
        self._next = 0.0

    def delay(self, now: float) -> float:
        """How long a flush wished for now has to wait; 0 when it may start."""
        return max(0.0, self._next - now)

    def flushed(self, started: float, ended: float, depth: float) -> None:
        """Take note of a flush that brought `depth` events to each client it wrote to, on average.

        The pause grows with the depth: it is the sign that events come faster than flushes, and that waiting saves
        system calls. At a depth of one, waiting would only cost time.
        """
        factor = min(self._factor, depth)
        self._next = ended + min(factor * (ended - started), self._longest)
