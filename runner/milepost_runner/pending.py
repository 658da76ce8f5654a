"""An execution whose outcome is told once, and what is written off."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from milepost_reporter.cancel import CancelToken

from milepost_runner.call import given_up
from milepost_runner.executor import Outcome


class Pending(ABC):
    """One handler that runs. Whoever ends it waits no longer than `grace` seconds; then it is written off."""

    grace: ClassVar[float] = 1.0

    def __init__(self, cancel: CancelToken, over: Callable[[Pending], object]) -> None:
        self._cancel = cancel
        self._over = over
        self._told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.written_off = False

    @abstractmethod
    async def force(self) -> None:
        """Make it end, as far as that can be done from outside. Bounded in time."""

    def tell(self, outcome: Outcome) -> None:
        """How it came out. Only the first counts."""
        if not self._told.done():
            self._told.set_result(outcome)
            self._over(self)

    async def outcome(self) -> Outcome:
        """Wait for it."""
        # Whoever stops waiting does not stop the others.
        return await asyncio.shield(self._told)

    async def kill(self) -> bool:
        """Make it end; False when it goes on all the same and is written off."""
        if not self._told.done():
            await self.force()
        if not self._told.done():
            await asyncio.wait({self._told}, timeout=self.grace)
            self.write_off()
        return not self.written_off

    def write_off(self) -> None:
        """Whatever it comes to, if it is not known by now, counts for nothing."""
        if not self._told.done():
            self.written_off = True
            self.tell(given_up(self._cancel, "it went on when it was made to end, and was written off"))
