"""Which queue is asked for work next, so that no tenant's flood holds up another (sans-I/O).

A queue is *hot* while there is reason to believe that work waits in it. Hot queues are asked for as much as there is
room for and not more, those first that were served the longest ago; their answer comes at once. Every other queue is
polled: one question waits at the server until there is work. What a poll brings while there is no room is returned,
and makes the queue hot: so a full worker learns of a tenant's first job as soon as a free one.
"""

from __future__ import annotations

import heapq
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
    __slots__ = ("count", "hot", "not_before", "number", "served", "waits")

    def __init__(self) -> None:
        self.hot = False
        self.served = 0
        # The question that it has not answered yet: its number, 0 when there is none, and jobs still to come.
        self.number = 0
        self.count = 0
        self.waits = False
        self.not_before = 0.0


class Fair(Generic[Q]):
    """The questions of one worker. `moment` is always a monotonic clock's, `poll` the seconds that a poll waits.

    What a turn costs depends on the questions that it puts, and not on how many queues there are.
    """

    def __init__(self, poll: float) -> None:
        self._poll = poll
        self._queues: dict[Q, _Queue] = {}
        self._asked: dict[int, Q] = {}
        self._promised = 0
        self._numbers = itertools.count(1)
        self._turns = itertools.count(1)
        self._ties = itertools.count()
        # Every queue without a question is in one of these: hot, to be polled, or left alone for a while.
        self._hot: set[Q] = set()
        self._cold: dict[Q, None] = {}
        # In order of their last service, when they may be asked again, and when questions are given up. An entry
        # that is not true any more is dropped when it comes up.
        self._by_service: list[tuple[int, int, Q]] = []
        self._resting: list[tuple[float, int, Q]] = []
        self._dues: list[tuple[float, int]] = []

    def __contains__(self, queue: Q) -> bool:
        return queue in self._queues

    def add(self, queue: Q) -> None:
        """There is such a queue."""
        if queue not in self._queues:
            state = self._queues[queue] = _Queue()
            self._file(queue, state)

    def next(self, room: int, moment: float) -> list[Ask[Q]]:
        """What to ask now. `room`: how many more jobs may run; what is asked for already is taken off it here."""
        self._wake_resting(moment)
        asks: list[Ask[Q]] = []
        left = room - self._promised
        while left > 0 and self._hot:
            count = max(1, left // len(self._hot))
            left -= count
            asks.append(self._ask(self._longest_unserved(), count, False, moment))
        asks.extend(self._ask(queue, 1, True, moment) for queue in list(self._cold))
        return asks

    def next_due(self) -> float | None:
        """When to look again without anything having come."""
        while self._dues and self._dues[0][1] not in self._asked:
            heapq.heappop(self._dues)
        while self._resting and not self._rests(*self._resting[0]):
            heapq.heappop(self._resting)
        return min((heap[0][0] for heap in (self._dues, self._resting) if heap), default=None)

    def tick(self, moment: float) -> None:
        """Give up questions that are not answered any more."""
        while self._dues and self._dues[0][0] <= moment:
            self.answered(heapq.heappop(self._dues)[1], moment)

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
        self._file(queue, state)

    def returned(self, queue: Q) -> None:
        """A job came out of a queue and had to be put back for want of room."""
        state = self._queues.get(queue)
        if state is None:
            return
        if state.number and state.waits:
            self._settle(state)
        state.hot = True
        self._file(queue, state)

    def answered(self, number: int, moment: float, *, fault: bool = False) -> None:
        """A question has its answer: there is nothing, or nothing more. `fault`: it could not even be asked."""
        queue = self._asked.get(number)
        if queue is None:
            return
        state = self._queues[queue]
        self._settle(state)
        state.hot = False
        state.not_before = moment + REST if fault else 0.0
        self._file(queue, state)

    def forget(self) -> None:
        """The connection is lost: nothing that was asked will be answered, and all may have work."""
        for queue, state in self._queues.items():
            if state.number:
                self._settle(state)
            state.hot = False
            state.not_before = 0.0
            self._file(queue, state)

    def _ask(self, queue: Q, count: int, waits: bool, moment: float) -> Ask[Q]:
        state = self._queues[queue]
        state.number, state.count, state.waits = next(self._numbers), count, waits
        self._file(queue, state)
        # A poll ends by the server's word; should that be lost, a little later without.
        due = moment + (self._poll + ASK_PATIENCE if waits else ASK_PATIENCE)
        heapq.heappush(self._dues, (due, state.number))
        if not waits:
            self._promised += count
        self._asked[state.number] = queue
        return Ask(state.number, queue, count, waits)

    def _settle(self, state: _Queue) -> None:
        del self._asked[state.number]
        if not state.waits:
            self._promised -= state.count
        state.number = state.count = 0

    def _file(self, queue: Q, state: _Queue) -> None:
        """Put a queue where it belongs now; nowhere while it has a question to answer."""
        self._hot.discard(queue)
        self._cold.pop(queue, None)
        if state.number:
            return
        if state.hot:
            self._hot.add(queue)
            heapq.heappush(self._by_service, (state.served, next(self._ties), queue))
        elif state.not_before:
            heapq.heappush(self._resting, (state.not_before, next(self._ties), queue))
        else:
            self._cold[queue] = None

    def _longest_unserved(self) -> Q:
        """The hot queue that was served the longest ago. There is one."""
        while True:
            served, _, queue = heapq.heappop(self._by_service)
            if queue in self._hot and self._queues[queue].served == served:
                return queue

    def _wake_resting(self, moment: float) -> None:
        while self._resting and self._resting[0][0] <= moment:
            entry = heapq.heappop(self._resting)
            if self._rests(*entry):
                state = self._queues[entry[2]]
                state.not_before = 0.0
                self._file(entry[2], state)

    def _rests(self, until: float, _tie: int, queue: Q) -> bool:
        state = self._queues[queue]
        return state.not_before == until and not state.hot and not state.number
