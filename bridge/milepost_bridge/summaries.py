"""Job summaries: what the events of whole tenants amount to, told at a bounded rate.

A job's first change is told at once, what follows within the interval is told once at its end.

With a log, a job of which not every event was seen here is `wanting`: its state is read (`rebase`), and goes on with
the events that came meanwhile.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from milepost_reporter.event import QUEUED, Event
from milepost_reporter.run import Verdict
from milepost_reporter.state import JobState

from milepost_bridge.admission import is_leased
from milepost_bridge.feed import Live
from milepost_bridge.history import Loaded, moment
from milepost_bridge.intake import Taken
from milepost_bridge.settings import BridgeSettings

_MOST_HELD: Final = 1_024
"""Events of one job held while its state is read; beyond, it is read once more."""


class Summary(NamedTuple):
    """One job's summary as a JSON object with the fields of the protocol's `job.summary`."""

    tenant: str
    job: str
    json: bytes


class Summaries:
    """Reduces events, and says when a summary is due. Times are seconds on a clock that never goes back."""

    def __init__(self, settings: BridgeSettings) -> None:
        self._interval = settings.summary_interval
        self._max_jobs = settings.summary_jobs
        self._stalled_after = settings.stalled_after
        self._jobs: OrderedDict[tuple[str, str], _Job] = OrderedDict()
        # (when, tenant, job) of every summary held back; one of a job forgotten meanwhile means nothing
        self._held: list[tuple[float, str, str]] = []
        self.wanting: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Jobs whose state has to be read."""

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def next_due(self) -> float | None:
        """When to call `due` next; None when nothing is held back."""
        return self._held[0][0] if self._held else None

    def take(self, taken: Taken, at: datetime, now: float) -> Summary | None:
        """Reduce one event; its job's summary when that may be told at once. `at`: the date of `now`."""
        known = self._job(taken.tenant, taken.job)
        late = known.apply(taken.event, at, taken.run, leased=taken.leased) is Verdict.LATE
        return None if late else self._changed(taken.tenant, taken.job, known, now)

    def take_stored(self, live: Live, event: Event, now: float) -> Summary | None:
        """Reduce one event that the log has passed on; its job's summary when that may be told at once."""
        key = live.place.key
        known = self._job(*key)
        if key not in self.wanting:
            if live.seq <= known.seq and live.time <= known.time:
                return None
            if known.seq < live.seq and self._is_next(known, live):
                late = known.take(live, event) is Verdict.LATE
                return None if late else self._changed(*key, known, now)
            self.wanting[key] = None
        known.hold(live, event)
        return None

    def some_wanting(self, most: int) -> list[tuple[str, str]]:
        """Jobs whose state has to be read; give what was read to `rebase`."""
        return list(itertools.islice(self.wanting, most))

    def put_off(self, tenant: str, job: str) -> None:
        """A job's state could not be read: others come first."""
        if (tenant, job) in self.wanting:
            self.wanting.move_to_end((tenant, job))

    def give_up(self, tenant: str, job: str) -> None:
        """A job's state cannot be read: until its next event nothing is told of it."""
        self.wanting.pop((tenant, job), None)
        self._jobs.pop((tenant, job), None)

    def listed(self, tenant: str, job: str, now: float, *, silent: timedelta, doubtful: bool) -> None:
        """A job that has not ended was listed. Watch that it does not fall silent; read it at once when `doubtful`."""
        key = (tenant, job)
        if key in self._jobs or len(self._jobs) >= self._max_jobs:
            return
        known = self._job(*key)
        known.begun = False
        known.changed_at = now - silent.total_seconds()
        if doubtful:
            self.wanting[key] = None

    def rebase(self, tenant: str, job: str, loaded: Loaded, now: float, at: datetime) -> Summary | None:
        """A job's state has been read: go on from there; its summary when that may be told at once.

        `at`: the date of `now`.
        """
        self.wanting.pop((tenant, job), None)
        known = self._jobs.get((tenant, job))
        if known is None:
            return None
        known.begin(loaded)
        pending, lost = known.pending, known.lost
        known.pending, known.lost = [], False
        for live, event in pending:
            if live.seq > known.seq:
                known.take(live, event)
        if lost:
            self.wanting[tenant, job] = None
        heard = known.state.last_event_at
        known.changed_at = now if heard is None else min(now, now - (at - heard).total_seconds())
        known.stalled = self._is_silent(known, now)
        return self._tell(tenant, job, known, now)

    def doubt(self) -> None:
        """Events may have been missed: whatever has not ended is read again."""
        for key, known in self._jobs.items():
            if not known.state.ended:
                self.wanting[key] = None

    @staticmethod
    def _is_next(known: _Job, live: Live) -> bool:
        """Whether nothing of the job can have been missed before this event."""
        return (live.place.run is not None and known.seq > 0) or live.last == known.last_on_progress

    def _changed(self, tenant: str, job: str, known: _Job, now: float) -> Summary | None:
        known.changed_at = now
        known.stalled = False
        return self._tell(tenant, job, known, now)

    def due(self, now: float) -> Iterator[Summary]:
        """The summaries held back until now; those not taken from the iterator stay due."""
        while self._held and self._held[0][0] <= now:
            _, tenant, job = heapq.heappop(self._held)
            known = self._jobs.get((tenant, job))
            if known is not None and known.held:
                yield known.tell(tenant, job, now)

    def stalled(self, now: float) -> Iterator[Summary]:
        """Summaries of the jobs that are found stalled now and were not before."""
        for (tenant, job), known in self._jobs.items():
            if known.stalled or not self._is_silent(known, now):
                continue
            if not known.begun:
                # what there is to tell of it is not known yet
                self.wanting[tenant, job] = None
                continue
            known.stalled = True
            summary = self._tell(tenant, job, known, now)
            if summary is not None:
                yield summary

    def _is_silent(self, known: _Job, now: float) -> bool:
        state = known.state
        return (
            not (known.leased or state.ended or state.status == QUEUED)
            and now - known.changed_at >= self._stalled_after
        )

    def forget(self, tenant: str) -> None:
        """Drop a tenant whose summaries nobody wants any more."""
        for key in [key for key in self._jobs if key[0] == tenant]:
            del self._jobs[key]
            self.wanting.pop(key, None)

    def forget_all(self) -> None:
        """Drop everything: events come another way from now on."""
        self._jobs.clear()
        self.wanting.clear()

    def _tell(self, tenant: str, job: str, known: _Job, now: float) -> Summary | None:
        if known.held:
            return None
        if known.told_at is None or now - known.told_at >= self._interval:
            return known.tell(tenant, job, now)
        known.held = True
        heapq.heappush(self._held, (known.told_at + self._interval, tenant, job))
        return None

    def _job(self, tenant: str, job: str) -> _Job:
        key = (tenant, job)
        known = self._jobs.get(key)
        if known is None:
            if len(self._jobs) >= self._max_jobs:
                gone, _ = self._jobs.popitem(last=False)
                self.wanting.pop(gone, None)
            known = self._jobs[key] = _Job(job)
        else:
            self._jobs.move_to_end(key)
        return known


class _Job:
    """One job's state, and when it was last told."""

    __slots__ = (
        "begun",
        "changed_at",
        "held",
        "last_on_progress",
        "leased",
        "lost",
        "pending",
        "seq",
        "stalled",
        "state",
        "time",
        "told_at",
    )

    def __init__(self, job: str) -> None:
        self.state = JobState(job)
        # whether its state holds all that there was before
        self.begun = True
        self.changed_at = 0.0
        self.told_at: float | None = None
        # whether a summary waits for the interval to pass
        self.held = False
        self.stalled = False
        # whether somebody watches over it: then silence means nothing
        self.leased = False
        # the last message of the log that is in the state, and the last of those on `.progress`
        self.seq = self.time = self.last_on_progress = 0
        # what came while the state was read, and whether some of it was let go
        self.pending: list[tuple[Live, Event]] = []
        self.lost = False

    def begin(self, loaded: Loaded) -> None:
        self.state = loaded.state
        self.begun = True
        self.leased = loaded.leased
        self.seq, self.time = loaded.at
        self.last_on_progress = loaded.last_on_progress

    def take(self, live: Live, event: Event) -> Verdict:
        self.begun = True
        self.seq, self.time = live.seq, live.time
        if live.place.run is None:
            self.last_on_progress = live.seq
        return self.apply(event, moment(live.time), live.place.run, leased=is_leased(live.headers))

    def apply(self, event: Event, at: datetime, run: int | None, *, leased: bool) -> Verdict:
        before = self.state.run
        verdict = self.state.apply(event, at, run)
        if verdict is not Verdict.LATE:
            self.leased = leased or (self.leased and self.state.run == before)
        return verdict

    def hold(self, live: Live, event: Event) -> None:
        if len(self.pending) >= _MOST_HELD:
            self.pending.clear()
            self.lost = True
        self.pending.append((live, event))

    def tell(self, tenant: str, job: str, now: float) -> Summary:
        self.told_at = now
        self.held = False
        fields = self.state.summary(stalled=self.stalled)
        return Summary(tenant, job, json.dumps(fields, allow_nan=False, separators=(",", ":")).encode())
