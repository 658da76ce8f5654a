"""Many lanes over one connection, as one traffic of a `Carrier` (sans-I/O).

What waits for a connection is bounded: of lanes that were closed and have something left to say, the oldest give way.
A pump costs what the lanes with news cost, however many there are.
"""

import heapq
import math
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from milepost_reporter.lane import Lane, Publish

MAX_CLOSED: Final = 1_000
"""Lanes kept whose reporters are closed, and whose events have not arrived."""


class _Server(NamedTuple):
    jetstream: bool
    clustered: bool
    inbox: str


class Member:
    """One lane among the others. `sample` and `interval` as a reporter's sender has them."""

    __slots__ = ("closing", "due", "interval", "lane", "name", "sample", "server")

    def __init__(self, name: str, lane: Lane, sample: Callable[[], bool], interval: float) -> None:
        self.name = name
        self.lane = lane
        self.sample = sample
        self.interval = interval
        self.closing = False
        self.server: _Server | None = None
        self.due = math.inf

    @property
    def over(self) -> bool:
        """Whether nothing comes of it any more."""
        return self.closing and self.lane.settled


class Lanes:
    """Any thread may call `add`, `close` and `wake`; all else is the carrier's.

    forgotten: told the name of a lane that is no more.
    dropped: told when one was given up with something left to say.
    """

    room = 1
    """Every lane's nodes are looked at when it is pumped."""

    def __init__(self, forgotten: Callable[[str], object], dropped: Callable[[], object]) -> None:
        # Reentrant, as an outbox's: a signal handler may report as well.
        self._lock = threading.RLock()
        self._forgotten = forgotten
        self._dropped = dropped
        self._members: dict[str, Member] = {}
        # Names with news, each once.
        self._news: dict[str, None] = {}
        self._dues: list[tuple[float, str]] = []
        # Closed ones, oldest first.
        self._closed: dict[str, None] = {}
        self._server: _Server | None = None
        # Behind which event of which lane a PONG is of interest, and what the PONG on its way stands behind.
        self._behind: dict[str, int] = {}
        self._pong = 0
        self._ponging: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._members)

    @property
    def closing(self) -> int:
        """How many have only their last words to say."""
        return len(self._closed)

    def add(self, member: Member) -> None:
        """One more, from now on."""
        with self._lock:
            self._members[member.name] = member
            self._news[member.name] = None

    def close(self, name: str) -> None:
        """There will be no more to send over it; what is left is, unless too many wait for that."""
        too_many = []
        with self._lock:
            member = self._members.get(name)
            if member is not None:
                member.closing = True
                self._news[name] = self._closed[name] = None
                too_many = list(self._closed)[:1] if len(self._closed) > MAX_CLOSED else []
        for oldest in too_many:
            self._forget(oldest)
            self._dropped()

    def wake(self, name: str) -> None:
        """It has something to send."""
        with self._lock:
            if name in self._members:
                self._news[name] = None

    @property
    def idle(self) -> bool:
        """Whether nothing waits in any of them, and everything sent has arrived."""
        return all(member.lane.idle for member in self._all())

    @property
    def settled(self) -> bool:
        """Whether none has anything left to say."""
        return all(member.lane.settled for member in self._all())

    @property
    def nobody_since(self) -> float | None:
        """Since when no stream takes what any of them has to send; None while one may."""
        since = [member.lane.nobody_since for member in self._all() if not member.lane.idle]
        return max((one for one in since if one is not None), default=None) if None not in since else None

    @property
    def wants_pong(self) -> int | None:
        """The number of the next PONG, when any of them is interested in one. It stands behind all sent by now."""
        if not self._behind:
            return None
        self._pong += 1
        self._ponging = dict(self._behind)
        return self._pong

    def connected(self, *, jetstream: bool, clustered: bool, inbox: str, moment: float) -> None:
        """There is a new connection."""
        self._server = _Server(jetstream, clustered, inbox)
        self._behind.clear()
        for member in self._all():
            self.wake(member.name)

    def pump(self, publish: Publish, moment: float) -> None:
        """Send what those with news have to send, and those whose time has come."""
        for name in self._take_ready(moment):
            member = self._members.get(name)
            if member is not None:
                self._pump(member, publish, moment)

    def answered(self, address: str, status: str | None, payload: bytes, moment: float) -> None:
        """JetStream has answered one of them."""
        name, _, rest = address.partition(".")
        member = self._members.get(name)
        if member is not None:
            member.lane.answered(rest, status, payload, moment)
            self.wake(name)

    def ponged(self, number: int, moment: float) -> None:
        """A PONG has come."""
        if number != self._pong:
            return
        for name, behind in self._ponging.items():
            member = self._members.get(name)
            if member is not None:
                member.lane.ponged(behind, moment)
                self.wake(name)
            else:
                self._behind.pop(name, None)

    def hurry(self) -> None:
        """What their records have not told is due now."""
        for member in self._all():
            member.lane.hurry()
            self.wake(member.name)

    def next_due(self, moment: float) -> float | None:
        """When to pump again without news."""
        if self._news:
            return moment
        while self._dues and not self._is_due(*self._dues[0]):
            heapq.heappop(self._dues)
        return self._dues[0][0] if self._dues else None

    def _take_ready(self, moment: float) -> dict[str, None]:
        """Whom to pump, each once, in the order in which they had news."""
        with self._lock:
            ready, self._news = self._news, {}
        while self._dues and self._dues[0][0] <= moment:
            due, name = heapq.heappop(self._dues)
            if self._is_due(due, name):
                self._members[name].due = math.inf
                ready[name] = None
        return ready

    def _is_due(self, due: float, name: str) -> bool:
        """Whether this time still stands: another may have been set since."""
        member = self._members.get(name)
        return member is not None and member.due == due

    def _pump(self, member: Member, publish: Publish, moment: float) -> None:
        lane = member.lane
        if self._server is not None and member.server is not self._server:
            jetstream, clustered, inbox = member.server = self._server
            lane.connected(jetstream=jetstream, clustered=clustered, inbox=f"{inbox}.{member.name}", moment=moment)
        if member.closing:
            lane.hurry()
        busy = member.sample() if lane.room else False
        lane.pump(publish, moment)
        if member.over:
            self._forget(member.name)
            return
        if (behind := lane.wants_pong) is not None:
            self._behind[member.name] = behind
        else:
            self._behind.pop(member.name, None)
        due = lane.next_due(moment)
        if busy:
            due = min(moment + member.interval, math.inf if due is None else due)
        due = math.inf if due is None else due
        if due != member.due and due < math.inf:
            heapq.heappush(self._dues, (due, member.name))
        member.due = due

    def _all(self) -> list[Member]:
        with self._lock:
            return list(self._members.values())

    def _forget(self, name: str) -> None:
        with self._lock:
            self._members.pop(name, None)
            self._closed.pop(name, None)
            self._news.pop(name, None)
        self._behind.pop(name, None)
        self._forgotten(name)
