"""How long to wait before the next try: twice as long each time, with jitter, up to a bound."""

from __future__ import annotations

import random


class Backoff:
    """Waits in seconds. Sleeps nowhere and asks no clock."""

    def __init__(self, *, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._tries = 0

    def next(self) -> float:
        """The wait before the next try, with jitter, so that many do not come at once."""
        wait = min(self._first * 2.0**self._tries, self._most)
        if wait < self._most:
            self._tries += 1
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 - nothing secret hangs on it

    def reset(self) -> None:
        """It worked: the next wait is the first again."""
        self._tries = 0
