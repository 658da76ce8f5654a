"""What waits to be sent (sans-I/O): any thread puts, the sending thread takes.

- Progress of one node is conflated: while its newest value waits, a newer one takes its place. A node's first
  value is never replaced, and its last one goes behind all that was put before it. At most one goes out per
  node and interval; the first and the last, at once.
- Everything else is kept in order, up to a bound in events and bytes. Beyond, it is dropped and counted by
  kind, and a log event says how many, once there is room.
- The job's end has a place of its own and goes last.
"""

import heapq
import math
import threading
from collections import Counter, deque
from typing import Any, Final, NamedTuple

from milepost_reporter.event import JOB, LOG, PROGRESS
from milepost_reporter.payload import BadValueError, encode, now

Fields = dict[str, Any]
Key = int | str | None
"""Whose progress it is: a node's id, or None for the job as a whole."""

_ENVELOPE: Final = 256
"""Bytes of a progress event but for its words; those are encoded only when they are sent."""

_REMEMBERED: Final = 1_024
"""Nodes whose last sending is remembered before the old ones are looked for and forgotten."""

_NOT_YET: Final = -math.inf


class Item(NamedTuple):
    """One event taken out. A job's end goes to the subject of its own."""

    kind: str
    payload: bytes
    end: bool = False


class _Kept(NamedTuple):
    kind: str
    payload: bytes


class _Slot:
    """One value of a node's progress that waits; None when a later slot has taken its place."""

    __slots__ = ("fields", "first", "key", "last", "size")

    def __init__(self, key: Key, fields: Fields, size: int, *, first: bool, last: bool) -> None:
        self.key = key
        self.fields: Fields | None = fields
        self.size = size
        self.first = first
        self.last = last


class Outbox:
    """The bounded waiting room between a job and its sender."""

    def __init__(self, *, interval: float, max_events: int, max_bytes: int, run: int | None = None) -> None:
        self._interval = interval
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._run = run
        # Reentrant: a signal handler or a finalizer may report while its own thread is inside.
        self._lock = threading.RLock()
        self._queue: deque[_Kept | _Slot] = deque()
        # Slots whose interval is not over, as (when it is, tie breaker, slot).
        self._parked: list[tuple[float, int, _Slot]] = []
        self._parkings = 0
        # The slot of each node that newer values go into.
        self._newest: dict[Key, _Slot] = {}
        # When each node's progress last went out; -inf while its first waits.
        self._sent_at: dict[Key, float] = {}
        self._forget_at = _REMEMBERED
        self._moment = 0.0
        self._kept = 0
        self._kept_bytes = 0
        self._slots = 0
        self._slot_bytes = 0
        self._end: bytes | None = None
        self._hurry = False
        self._untold = 0
        # Progress events replaced by a newer one of the same node.
        self.conflated = 0
        # Events for which there was no room, by kind.
        self.dropped: Counter[str] = Counter()
        # Progress events that could not be encoded.
        self.refused = 0

    def __len__(self) -> int:
        return self._kept + self._slots + (self._end is not None)

    def put(self, kind: str, payload: bytes) -> bool:
        """Keep one event. False when there was no room for it."""
        with self._lock:
            if self._kept >= self._max_events or self._kept_bytes + len(payload) > self._max_bytes:
                self._drop(kind)
                return False
            self._keep(kind, payload)
            return True

    def put_progress(self, key: Key, fields: Fields, *, last: bool = False) -> bool:
        """Keep a node's newest progress, in place of the one before. False when there was no room."""
        size = _ENVELOPE + len(fields.get("message") or "") + len(fields.get("nodeName") or "")
        with self._lock:
            newest = self._newest.get(key)
            if newest is not None:
                self.conflated += 1
                if newest.last or not last:
                    self._slot_bytes += size - newest.size
                    newest.fields, newest.size = fields, size
                    return True
                self._forget(newest)
            return self._new_slot(key, fields, size, last)

    def put_end(self, payload: bytes) -> None:
        """Keep the job's end. There is always room for it."""
        with self._lock:
            self._end = payload
            self._hurry = True

    def hurry(self) -> None:
        """From now on nothing waits for its interval."""
        with self._lock:
            self._hurry = True

    def take(self, moment: float, most: int, most_bytes: int) -> list[Item]:
        """Up to `most` events that may go now, oldest first. `moment` is a monotonic clock's.

        It stops at the event that goes over `most_bytes`.
        """
        end = None
        with self._lock:
            self._moment = moment
            self._tell_dropped()
            taken = self._take_ready(moment, most, most_bytes)
            if self._end is not None and len(taken) < most and not (len(self) > 1 or self._untold):
                end, self._end = self._end, None
        items = [item for one in taken if (item := self._encoded(one)) is not None]
        return items if end is None else [*items, Item(JOB, end, end=True)]

    def next_due(self, moment: float) -> float | None:
        """When there is something to take: a time not before `moment`, None when nothing waits."""
        with self._lock:
            if self._queue or self._end is not None:
                return moment
            return max(moment, self._parked[0][0]) if self._parked else None

    def _keep(self, kind: str, payload: bytes) -> None:
        self._queue.append(_Kept(kind, payload))
        self._kept += 1
        self._kept_bytes += len(payload)

    def _drop(self, kind: str) -> None:
        self.dropped[kind] += 1
        self._untold += 1

    def _new_slot(self, key: Key, fields: Fields, size: int, last: bool) -> bool:
        if self._slots >= self._max_events or self._slot_bytes + size > self._max_bytes:
            self._drop(PROGRESS)
            return False
        first = key not in self._sent_at
        slot = _Slot(key, fields, size, first=first, last=last)
        if first:
            self._forget_old()
            self._sent_at[key] = _NOT_YET
        if last or not first:
            self._newest[key] = slot
        self._queue.append(slot)
        self._slots += 1
        self._slot_bytes += size
        return True

    def _forget(self, slot: _Slot) -> None:
        """Empty a slot; it is passed over where it stands."""
        slot.fields = None
        self._slots -= 1
        self._slot_bytes -= slot.size
        if self._newest.get(slot.key) is slot:
            del self._newest[slot.key]

    def _tell_dropped(self) -> None:
        """Say how many were dropped where they are missing: behind what was kept, when half of it is gone."""
        if not self._untold or self._kept * 2 > self._max_events or self._kept_bytes * 2 > self._max_bytes:
            return
        events = "event was" if self._untold == 1 else "events were"
        message = f"{self._untold} {events} dropped: there was no room to keep them until they could be sent"
        self._untold = 0
        fields = {
            "kind": LOG,
            "message": message,
            "data": {"level": "warning"},
            "run": self._run,
            "at": now(),
        }
        self._keep(LOG, encode(fields))

    def _take_ready(self, moment: float, most: int, most_bytes: int) -> list[_Kept | Fields]:
        taken: list[_Kept | Fields] = []
        while len(taken) < most and most_bytes > 0:
            if self._parked and (self._hurry or self._parked[0][0] <= moment):
                waiting: _Kept | _Slot = heapq.heappop(self._parked)[2]
            elif self._queue:
                waiting = self._queue.popleft()
            else:
                break
            if isinstance(waiting, _Kept):
                size = len(waiting.payload)
                self._kept -= 1
                self._kept_bytes -= size
                taken.append(waiting)
            else:
                size = self._take_slot(waiting, moment, taken)
            most_bytes -= size
        return taken

    def _take_slot(self, slot: _Slot, moment: float, taken: list[_Kept | Fields]) -> int:
        """The size of what was taken: nothing, when the slot is empty or its interval is not over."""
        if slot.fields is None:
            return 0
        due = self._sent_at.get(slot.key, _NOT_YET) + self._interval
        if due > moment and not (slot.first or slot.last or self._hurry):
            self._parkings += 1
            heapq.heappush(self._parked, (due, self._parkings, slot))
            return 0
        taken.append(slot.fields)
        self._forget(slot)
        if slot.last:
            self._sent_at.pop(slot.key, None)
        else:
            self._sent_at[slot.key] = moment
        return slot.size

    def _forget_old(self) -> None:
        """Nodes past their interval need not be remembered: their next progress goes at once either way."""
        if len(self._sent_at) < self._forget_at:
            return
        old = self._moment - self._interval
        self._sent_at = {key: at for key, at in self._sent_at.items() if at == _NOT_YET or at > old}
        self._forget_at = max(_REMEMBERED, 2 * len(self._sent_at))

    def _encoded(self, taken: _Kept | Fields) -> Item | None:
        if isinstance(taken, _Kept):
            return Item(taken.kind, taken.payload)
        try:
            return Item(PROGRESS, encode(taken))
        except BadValueError:
            self.refused += 1
            return None
