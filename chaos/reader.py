"""What WebSocket, SSE and polling readers have in common: come, read, lose the connection, come back by cursor."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

from chaos.dice import Dice
from chaos.judge import START
from chaos.reading import Asked, Closed, Reading, Reborn
from chaos.waiting import WaitedInVainError, until

_BACK_AFTER: Final = 0.05
_STAY_AWAY: Final = range(4500, 5000)


class Target(NamedTuple):
    """Where a reader goes, and for what."""

    url: str
    """`http://host:port`."""
    token: str
    job: str


class Reader(ABC):
    """One client of a job, as a task. It writes down what it is sent and resumes with its cursor.

    `after` is what it asks for before it has a cursor of its own: `start`, a cursor, or None for a snapshot.
    """

    transport: ClassVar[str]

    def __init__(self, name: str, target: Target, *, dice: Dice, after: str | None = None) -> None:
        self.reading = Reading(name, self.transport)
        self.target = target
        self.first = after
        self.over = False
        self._dice = dice
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def name(self) -> str:
        """What it is called in verdicts."""
        return self.reading.name

    @property
    def after(self) -> str | None:
        """What it resumes with."""
        return self.reading.cursor or self.first

    def start(self) -> None:
        """Begin, or begin again after `leave`."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def leave(self) -> None:
        """Drop the connection and stay away; `start` resumes by cursor."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def came(self, events: int, seconds: float = 60.0) -> None:
        """Return when it has had so many events."""
        await self.until(lambda: self.reading.delivered >= events, f"{events} events", seconds)

    async def stands_at(self, cursor: str, seconds: float = 30.0) -> bool:
        """Whether it gets to this cursor in time."""
        try:
            await self.until(lambda: self.over or self.has_reached(cursor), cursor, seconds)
        except WaitedInVainError:
            return False
        return self.has_reached(cursor)

    def has_reached(self, cursor: str) -> bool:
        """Whether its own cursor is this one or behind it."""
        own = self.reading.cursor or self.first
        return own not in {None, START} and _seq(str(own)) >= _seq(cursor)

    async def until(self, predicate: Callable[[], object], what: str, seconds: float) -> None:
        """Wait for something about it; its task's own failure is raised at once."""
        await until(lambda: predicate() or self._failed(), f"{self.name}: {what}", seconds)

    def reborn(self) -> None:
        """The stream is in its next life; nothing of the last one can come any more."""
        self.reading.add(Reborn())

    @abstractmethod
    async def _attend(self) -> None:
        """One connection, to its end. OSError and the like when it is lost."""

    @abstractmethod
    async def quiesce(self) -> None:
        """Return when everything that the hub had to send by now is written down."""

    async def _run(self) -> None:
        while not (self.over or self._stopping):
            self.reading.add(Asked(self.after))
            await self._attend()
            if self.over or self._stopping:
                return
            closes = self.reading.closes
            if closes and closes[-1] in _STAY_AWAY:
                self.over = True
                return
            await asyncio.sleep(_BACK_AFTER * self._dice.share(0.2, 1.0))

    def _lost(self, code: int | None = None, reason: str = "") -> None:
        self.reading.add(Closed(code, reason))

    def _failed(self) -> bool:
        if self._task is not None and self._task.done() and not self._task.cancelled():
            error = self._task.exception()
            if error is not None:
                raise error
        return False


def _seq(cursor: str) -> int:
    return int(cursor.partition("-")[0])


async def leave_all(readers: list[Reader]) -> None:
    """All of them drop their connections."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*(reader.leave() for reader in readers))
