"""Which queue is asked for work next, so that no tenant's flood holds up another (sans-I/O).

A queue is *hot* while there is reason to believe that work waits in it. Hot queues are asked for as much as there is
room for and not more, those first that were served the longest ago; their answer comes at once. Every other queue is
polled: one question waits at the server until there is work. What a poll brings while there is no room is returned,
and makes the queue hot: so a full worker learns of a tenant's first job as soon as a free one.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import Final, Generic, NamedTuple, TypeVar

Q = TypeVar("Q", bound=Hashable)

ASK_PATIENCE: Final = 0.3
"""Seconds until a question that wants an answer at once is given up: a tenant at its limit is not answered."""

REST: Final = 1.0
"""Seconds until a queue is asked again that could not be asked."""


class Ask(NamedTuple, Generic[Q]):
    """A question to put. `jobs`: at most so many. `waits`: whether it is a poll."""

    number: int
    queue: Q
    jobs: int
    waits: bool


class _Queue:
    __slots__ = ("count", "due", "hot", "not_before", "number", "served", "waits")

    def __init__(self) -> None:
        self.hot = False
        self.served = 0
        # The question that it has not answered yet: its number, jobs still to come, until when.
        self.number = 0
        self.count = 0
        self.waits = False
        self.due = 0.0
        self.not_before = 0.0


class Fair(Generic[Q]):
    """The questions of one worker. `moment` is always a monotonic clock's, `poll` the seconds that a poll waits."""

    def __init__(self, poll: float) -> None:
        self._poll = poll
        self._queues: dict[Q, _Queue] = {}
        self._asked: dict[int, Q] = {}
        self._numbers = itertools.count(1)
        self._turns = itertools.count(1)
        self._promised = 0

    def __contains__(self, queue: Q) -> bool:
        return queue in self._queues

    def add(self, queue: Q) -> None:
        """There is such a queue."""
        self._queues.setdefault(queue, _Queue())

    def next(self, room: int, moment: float) -> list[Ask[Q]]:
        """What to ask now. `room`: how many more jobs may run; what is asked for already is taken off it here."""
        asks: list[Ask[Q]] = []
        idle = [queue for queue, state in self._queues.items() if not state.number and state.not_before <= moment]
        hot = sorted((queue for queue in idle if self._queues[queue].hot), key=lambda queue: self._queues[queue].served)
        left = room - self._promised
        for place, queue in enumerate(hot):
            if left <= 0:
                break
            count = max(1, left // (len(hot) - place))
            left -= count
            asks.append(self._ask(queue, count, False, moment))
        asks.extend(self._ask(queue, 1, True, moment) for queue in idle if not self._queues[queue].hot)
        return asks

    def next_due(self) -> float | None:
        """When to look again without anything having come."""
        times = [state.due if state.number else state.not_before for state in self._queues.values()]
        return min((time for time in times if time), default=None)

    def tick(self, moment: float) -> None:
        """Give up questions that are not answered any more."""
        for number, queue in list(self._asked.items()):
            if self._queues[queue].due <= moment:
                self.answered(number, moment)

    def came(self, queue: Q, pending: int) -> None:
        """A job came out of a queue, and was taken; so many more are behind it."""
        state = self._queues.get(queue)
        if state is None:
            return
        state.served = next(self._turns)
        state.hot = pending > 0
        if state.number:
            if not state.waits:
                self._promised -= 1
            state.count -= 1
            if state.count <= 0 or pending == 0:
                self._settle(state)

    def returned(self, queue: Q) -> None:
        """A job came out of a queue and had to be put back for want of room."""
        state = self._queues.get(queue)
        if state is None:
            return
        if state.number and state.waits:
            self._settle(state)
        state.hot = True

    def answered(self, number: int, moment: float, *, fault: bool = False) -> None:
        """A question has its answer: there is nothing, or nothing more. `fault`: it could not even be asked."""
        queue = self._asked.get(number)
        if queue is None:
            return
        state = self._queues[queue]
        self._settle(state)
        state.hot = False
        state.not_before = moment + REST if fault else 0.0

    def forget(self) -> None:
        """The connection is lost: nothing that was asked will be answered, and all may have work."""
        for state in self._queues.values():
            if state.number:
                self._settle(state)
            state.hot = False
            state.not_before = 0.0

    def _ask(self, queue: Q, count: int, waits: bool, moment: float) -> Ask[Q]:
        state = self._queues[queue]
        state.number, state.count, state.waits = next(self._numbers), count, waits
        # A poll ends by the server's word; should that be lost, a little later without.
        state.due = moment + (self._poll + ASK_PATIENCE if waits else ASK_PATIENCE)
        if not waits:
            self._promised += count
        self._asked[state.number] = queue
        return Ask(state.number, queue, count, waits)

    def _settle(self, state: _Queue) -> None:
        del self._asked[state.number]
        if not state.waits:
            self._promised -= state.count
        state.number = state.count = 0
