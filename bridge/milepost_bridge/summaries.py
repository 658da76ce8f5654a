"""Job summaries: what the events of whole tenants amount to, told at a bounded rate.

A job's first change is told at once, what follows within the interval is told once at its end.
"""

from __future__ import annotations

import heapq
import json
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from milepost_reporter.run import Verdict
from milepost_reporter.state import JobState

from milepost_bridge.intake import Taken
from milepost_bridge.settings import BridgeSettings


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

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def next_due(self) -> float | None:
        """When to call `due` next; None when nothing is held back."""
        return self._held[0][0] if self._held else None

    def take(self, taken: Taken, at: datetime, now: float) -> Summary | None:
        """Reduce one event; its job's summary when that may be told at once. `at`: the date of `now`."""
        known = self._job(taken.tenant, taken.job)
        if known.state.apply(taken.event, at, taken.run) is Verdict.LATE:
            return None
        known.changed_at = now
        known.stalled = False
        return self._tell(taken.tenant, taken.job, known, now)

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
            if known.stalled or known.state.ended or now - known.changed_at < self._stalled_after:
                continue
            known.stalled = True
            summary = self._tell(tenant, job, known, now)
            if summary is not None:
                yield summary

    def forget(self, tenant: str) -> None:
        """Drop a tenant whose summaries nobody wants any more."""
        for key in [key for key in self._jobs if key[0] == tenant]:
            del self._jobs[key]

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
                self._jobs.popitem(last=False)
            known = self._jobs[key] = _Job(job)
        else:
            self._jobs.move_to_end(key)
        return known


class _Job:
    """One job's state, and when it was last told."""

    __slots__ = ("changed_at", "held", "stalled", "state", "told_at")

    def __init__(self, job: str) -> None:
        self.state = JobState(job)
        self.changed_at = 0.0
        self.told_at: float | None = None
        # whether a summary waits for the interval to pass
        self.held = False
        self.stalled = False

    def tell(self, tenant: str, job: str, now: float) -> Summary:
        self.told_at = now
        self.held = False
        fields = self.state.summary(stalled=self.stalled)
        return Summary(tenant, job, json.dumps(fields, allow_nan=False, separators=(",", ":")).encode())
