"""One call for everybody who asks for the same while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Protocol, TypeVar, cast

T = TypeVar("T")


class Spawn(Protocol):
    """Runs something in the background until it ends or the hub does."""

    def __call__(self, work: Coroutine[Any, Any, T], /) -> asyncio.Task[T]:
        """Begin it."""
        ...


class Shared:
    """Calls that run just now, by what was asked. `counts["shared"]` grows with every call that was saved."""

    __slots__ = ("_counts", "_running", "_spawn")

    def __init__(self, spawn: Spawn, counts: dict[str, int]) -> None:
        self._spawn = spawn
        self._counts = counts
        # None while nothing runs: each watched job has one of these, and a dict keeps the room it once had.
        self._running: dict[Hashable, asyncio.Task[Any]] | None = None

    async def ask(self, what: Hashable, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer of this call, or of the same one that runs already. Whoever is cancelled takes nobody along."""
        if self._running is None:
            self._running = {}
        task = self._running.get(what)
        if task is None:
            task = self._running[what] = self._spawn(call())
            task.add_done_callback(lambda done: self._done(what, done))
        else:
            self._counts["shared"] += 1
        return cast("T", await asyncio.shield(task))

    async def ask_anew(self, what: Hashable, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer of a call that began after this was asked; shared with whoever waits for the same."""
        running = None if self._running is None else self._running.get(what)
        if running is not None:
            await asyncio.wait({running})
        return await self.ask(what, call)

    def close(self, *, but: Hashable = None) -> None:
        """End all that runs, but for one; whoever asks for the same from now on is not given what has been ended."""
        for what, task in list((self._running or {}).items()):
            if what != but:
                task.cancel()
                self._forget(what, task)

    def _done(self, what: Hashable, task: asyncio.Task[Any]) -> None:
        self._forget(what, task)
        if not task.cancelled():
            task.exception()  # whoever asked may have left; then nobody else would look at it

    def _forget(self, what: Hashable, task: asyncio.Task[Any]) -> None:
        if self._running is not None and self._running.get(what) is task:
            del self._running[what]
            self._running = self._running or None
