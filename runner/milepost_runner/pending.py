"""An execution whose outcome is told once, and what is written off."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from milepost_reporter.cancel import CancelToken

from milepost_runner.call import given_up
from milepost_runner.executor import Outcome
from milepost_runner.handler import Handler


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


class PendingExecutor:
    """What every executor keeps: what runs, and how much was written off. `max_result`: bytes of a result's JSON."""

    def __init__(self, max_result: int) -> None:
        self._max_result = max_result
        self._running: set[Pending] = set()
        self._written_off = 0

    @property
    def written_off(self) -> int:
        """How many have been left to themselves so far."""
        return self._written_off

    def check(self, handler: Handler) -> None:
        """Any handler will do, unless an executor says otherwise."""

    def open(self) -> None:
        """Nothing takes time, unless an executor says otherwise."""

    async def ready(self) -> None:
        """Nothing to wait for, unless an executor says otherwise."""

    async def close(self) -> None:
        """End what can be ended, and write off the rest."""
        await asyncio.gather(*(execution.kill() for execution in self._running))

    def _over(self, execution: Pending) -> None:
        self._running.discard(execution)
        self._written_off += execution.written_off
