"""Warnings at a bounded rate, however often there is reason for one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

_INTERVAL: Final = 10.0


class Complaints:
    """One line per reason in `interval` seconds, with the number of those left out since the last.

    Reasons are few and fixed words; what a tenant wrote belongs in `detail`, which is shortened.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        interval: float = _INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.logger = logger
        self._interval = interval
        self._clock = clock
        self._told_at: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def tell(self, reason: str, detail: str, *, trace: bool = False) -> None:
        """Warn, unless the same reason was told within the interval. `trace`: with the current traceback."""
        now = self._clock()
        told_at = self._told_at.get(reason)
        if told_at is not None and now - told_at < self._interval:
            self._left_out[reason] = self._left_out.get(reason, 0) + 1
            return
        self._told_at[reason] = now
        left_out = self._left_out.pop(reason, 0)
        more = f" ({left_out} more of these not shown)" if left_out else ""
        self.logger.warning("%s: %.300s%s", reason, detail, more, exc_info=trace)
