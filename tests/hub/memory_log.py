"""A job log in a list: a whole `JobLog`, with its live path in the test's hand.

`store` puts an event into the log. It is delivered to the hub at once, or, while `delayed`, when the test says `pump`.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter, deque
from typing import Any, TypeVar

from milepost_hub.errors import BadCursor, CursorGone, LogUnavailable
from milepost_hub.event import Event
from milepost_hub.hub import Hub
from milepost_hub.job_id import write_job_id
from milepost_hub.job_log import Gap, Snapshot

_CURSOR = re.compile(r"([0-9]{1,18})-([0-9]{1,20})", re.ASCII)
_ENDS = frozenset({"completed", "failed", "cancelled"})
_EPOCH = 1_700_000_000_000_000_000

Key = tuple[str, str]
T = TypeVar("T")


class MemoryLog:
    """Stored events by tenant and job, and what was asked of it, counted."""

    def __init__(self) -> None:
        self.hub: Hub | None = None
        self.stored: dict[Key, list[Event]] = {}
        self.dropped: dict[Key, list[Event]] = {}
        """What retention took; a snapshot still counts it."""
        self.followed: dict[Key, int] = {}
        self.delayed = False
        self.unavailable = False
        self.asked: Counter[str] = Counter()
        self.gate = asyncio.Event()
        """Every answer waits for it; open unless a test closes it."""
        self.gate.set()
        self.answering: asyncio.Event | None = None
        """What was read is on its way until then."""
        self.life = 0
        self.dice: random.Random | None = None
        """Pages are of any length but none, as it falls; as long as they may be without it."""
        self._pending: deque[tuple[Key, Event]] = deque()
        self._position = 0

    # -- what a test does -------------------------------------------------------------------------------------------

    def store(self, tenant: str, job: str, payload: dict[str, Any], key: str | None = None) -> Event:
        """Store one event, and have it delivered if its job is followed."""
        self._position += 1
        kind = payload.get("kind", "job" if "status" in payload and "nodeId" not in payload else "progress")
        end = payload["status"] if kind == "job" and payload.get("status") in _ENDS else None
        event = Event(
            json.dumps(payload).encode(),
            kind,
            key,
            end,
            end is not None and not payload.get("willRetry"),
            self._position,
            f"{self._position}-{_EPOCH + self.life + self._position}",
            "2026-01-01T00:00:00.000Z",
        )
        self.stored.setdefault((tenant, job), []).append(event)
        self._pending.append(((tenant, job), event))
        if not self.delayed:
            self.pump()
        return event

    def pump(self, most: int | None = None) -> None:
        """Deliver so many of the events that wait, or all."""
        while self._pending and most != 0:
            key, event = self._pending.popleft()
            self._deliver(key, event)
            most = None if most is None else most - 1
        if self.hub is not None:
            self.hub.caught_up()

    def drop(self, tenant: str, job: str, count: int) -> None:
        """Retention takes the first so many events of a job."""
        events = self.stored[tenant, job]
        self.dropped.setdefault((tenant, job), []).extend(events[:count])
        del events[:count]

    def reborn(self) -> None:
        """Another life of the whole log: empty, its positions counted anew, its times others. The hub hears of it."""
        self.stored.clear()
        self.dropped.clear()
        self._pending.clear()
        self._position = 0
        self.life += 1_000_000
        for key in self.followed:
            self.followed[key] = 0
            if self.hub is not None:
                self.hub.reset(*key, Gap("epoch", None, None), self.snapshot_now(*key))

    @property
    def waiting(self) -> int:
        """Events stored and not yet delivered."""
        return len(self._pending)

    def _deliver(self, key: Key, event: Event) -> None:
        assert event.position is not None
        if self.hub is not None and key in self.followed and event.position > self.followed[key]:
            self.followed[key] = event.position
            self.hub.deliver(*key, event)

    # -- what the hub asks ------------------------------------------------------------------------------------------

    async def follow(self, tenant: str, job: str) -> int:
        await self._answer("follow")
        key = (tenant, job)
        if key in self.followed:
            for of, event in [entry for entry in self._pending if entry[0] == key]:
                self._deliver(of, event)
        else:
            self.followed[key] = self._last(key)
        return self.followed[key]

    def unfollow(self, tenant: str, job: str) -> None:
        self.asked["unfollow"] += 1
        self.followed.pop((tenant, job), None)

    async def snapshot(self, tenant: str, job: str) -> Snapshot:
        await self._answer("snapshot")
        return await self._sent(self.snapshot_now(tenant, job))

    def snapshot_now(self, tenant: str, job: str) -> Snapshot:
        """A job's state by now: its status, and the payloads of all its events."""
        key = (tenant, job)
        events = self.dropped.get(key, []) + self.stored.get(key, [])
        last = events[-1] if events else None
        state = {
            "jobId": json.loads(write_job_id(job)),
            "status": "unknown" if last is None else last.end or "running",
            "events": [json.loads(event.payload) for event in events],
            "durable": True,
        }
        if last is None:
            return Snapshot(json.dumps(state).encode(), 0, None, known=False, final=False)
        assert last.position is not None
        return Snapshot(json.dumps(state).encode(), last.position, last.cursor, known=True, final=last.final)

    async def read(self, tenant: str, job: str, after: str | None, limit: int) -> list[Event]:
        await self._answer("read")
        events = self.stored.get((tenant, job), [])
        if self.dice is not None:
            limit = self.dice.randint(1, limit) if self.dice.random() < 0.3 else min(limit, self.dice.randint(1, 4))
        if after is None:
            return await self._sent(events[:limit])
        position = self.check(after)
        known = self.dropped.get((tenant, job), []) + events
        of = next((event for event in known if event.position == position), None)
        if of is None or of.cursor != after:
            raise CursorGone(Gap("epoch", after, None))
        if of not in events:
            raise CursorGone(Gap("retention", after, events[0].cursor if events else None))
        start = events.index(of) + 1
        return await self._sent(events[start : start + limit])

    def check(self, cursor: str) -> int:
        found = _CURSOR.fullmatch(cursor)
        if found is None:
            raise BadCursor('this is no cursor of this hub: send one as it came, or "start"')
        return int(found[1])

    async def jobs(self, tenant: str, jobs: frozenset[str] | None) -> list[bytes]:
        await self._answer("jobs")
        found = [
            (_at(events[0]), job, _at(events[-1]), events[-1].end or "running", events[-1].position or 0)
            for (of, job), events in self.stored.items()
            if of == tenant and events and (jobs is None or job in jobs)
        ]
        shape = b'{"jobId":%b,"name":"Job %b","status":"%b","position":%d,"startedAt":"%b","lastEventAt":"%b"}'
        return [
            shape % (write_job_id(job), job.encode(), status.encode(), position, began.encode(), last.encode())
            for began, job, last, status, position in sorted(found, reverse=True)
        ]

    async def _answer(self, what: str) -> None:
        self.asked[what] += 1
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.unavailable:
            raise LogUnavailable("the log is away")

    async def _sent(self, answer: T) -> T:
        """An answer is on its way for a while, and does not know what is stored meanwhile."""
        for _ in range(3):
            await asyncio.sleep(0)
        if self.answering is not None:
            await self.answering.wait()
        return answer

    def _last(self, key: Key) -> int:
        events = self.dropped.get(key, []) + self.stored.get(key, [])
        return events[-1].position or 0 if events else 0


def _at(event: Event) -> str:
    """A time for each position, in the same order."""
    return f"2026-01-01T00:00:00.{event.position or 0:06d}Z"
