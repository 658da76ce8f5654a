"""A tenant's jobs, newest first: what their records say, and for jobs without records what their log does.

A record carries its summary in a header, so that ten thousand jobs are listed without reading ten thousand states. A
job of a raw publisher has none: its log is reduced, and the outcome remembered for as long as nothing is added.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any, Final

from milepost_reporter.event import BadEvent, parse_event
from milepost_reporter.record import SUMMARY_HEADER
from milepost_reporter.state import JobState, rfc3339

from milepost_bridge.api import Api, Stored
from milepost_bridge.cursor import Cursor
from milepost_bridge.header import field
from milepost_bridge.history import History, moment
from milepost_bridge.place import Place, place_of
from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import LOG, STATE

_FRESH: Final = 1.0
"""Seconds for which a listing serves everybody who asks."""
_REDUCED: Final = 500
"""Logs reduced for one listing, of the newest jobs; older ones are told by their last event until it is their turn."""
_AT_ONCE: Final = 16
_KEPT: Final = 20_000

_SUMMARY: Final = SUMMARY_HEADER.encode()
_LEASE: Final = b"Milepost-Lease"


class Listing:
    """Lists jobs. Belongs to one event loop."""

    def __init__(self, api: Api, history: History, settings: BridgeSettings) -> None:
        self._api = api
        self._history = history
        self._stalled_after = settings.stalled_after
        self._listings: dict[str, tuple[float, asyncio.Task[list[_Listed]]]] = {}
        self._reduced: OrderedDict[tuple[str, str], tuple[Cursor, dict[str, Any], bool]] = OrderedDict()

    async def summaries(self, tenant: str, jobs: frozenset[str] | None) -> list[bytes]:
        """The summaries of a tenant's jobs as JSON objects, newest first; of these only, if given."""
        listed = await self._shared(tenant)
        now = datetime.now(UTC)
        return [each.json(now, self._stalled_after) for each in listed if jobs is None or each.job in jobs]

    async def _shared(self, tenant: str) -> list[_Listed]:
        """One reading for everybody who asks at the same time or right after."""
        now = time.monotonic()
        for key in [key for key, (until, task) in self._listings.items() if task.done() and until < now]:
            del self._listings[key]
        _, task = self._listings.get(tenant, (0.0, None))
        if task is None:
            task = asyncio.get_running_loop().create_task(self._read(tenant))
            self._listings[tenant] = (now + _FRESH, task)
        try:
            return await asyncio.shield(task)
        except BaseException:
            if task.done():
                self._listings.pop(tenant, None)
            raise

    async def _read(self, tenant: str) -> list[_Listed]:
        listed: dict[str, _Listed] = {}
        async with contextlib.aclosing(self._api.scan(STATE, f"tenant.{tenant}.job.*.state.*")) as records:
            async for some in records:
                for stored in some:
                    _of(listed, stored).record(stored)
        async with contextlib.aclosing(self._api.scan(LOG, f"tenant.{tenant}.job.*.>", headers_only=False)) as messages:
            async for some in messages:
                for stored in some:
                    place = place_of(stored.subject.encode())
                    if place is not None and place.carries_events:
                        _of(listed, stored).last(place, stored)
        listed.pop("", None)
        await self._reduce(tenant, listed)
        return sorted(listed.values(), key=_Listed.age, reverse=True)

    async def _reduce(self, tenant: str, listed: dict[str, _Listed]) -> None:
        """Read the logs of jobs that nothing else tells enough about."""
        wanted = []
        for each in listed.values():
            known = self._reduced.get((tenant, each.job))
            if each.is_told:
                continue
            if known is not None and known[0] == each.tip:
                each.summary, each.leased = known[1], known[2]
            else:
                wanted.append(each)
        wanted.sort(key=lambda each: each.tip, reverse=True)
        places = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._reduce_one(tenant, each, places) for each in wanted[:_REDUCED]))
        for each in wanted[_REDUCED:]:
            each.guess()

    async def _reduce_one(self, tenant: str, each: _Listed, places: asyncio.Semaphore) -> None:
        async with places:
            loaded = await self._history.load(tenant, each.job)
        each.summary, each.leased = loaded.state.summary(), loaded.leased
        reduced = self._reduced
        reduced[tenant, each.job] = (loaded.at, each.summary, each.leased)
        if len(reduced) > _KEPT:
            reduced.popitem(last=False)


def _of(listed: dict[str, _Listed], stored: Stored) -> _Listed:
    place = place_of(stored.subject.encode())
    job = "" if place is None else place.job
    return listed.setdefault(job, _Listed(job))


class _Listed:
    """One job while it is listed."""

    __slots__ = ("_ends", "_owned", "_progress", "job", "leased", "summary", "tip")

    def __init__(self, job: str) -> None:
        self.job = job
        self.summary: dict[str, Any] | None = None
        self.leased = False
        self.tip = Cursor(0, 0)
        """The last message of its log."""
        self._owned = False
        self._progress: Stored | None = None
        self._ends: dict[int, Stored] = {}

    def record(self, stored: Stored) -> None:
        """One reporter's record. The job's own reporter, which promises a lease, tells more of it than others."""
        try:
            summary = json.loads(field(stored.headers, _SUMMARY) or b"null")
        except ValueError:
            return
        if not isinstance(summary, dict) or not isinstance(summary.get("run"), int):
            return
        owned = field(stored.headers, _LEASE) is not None
        before = self.summary
        if before is None or (summary["run"], owned) >= (before["run"], self._owned):
            self.summary, self._owned, self.leased = summary, owned, owned

    def last(self, place: Place, stored: Stored) -> None:
        """The last message on one of its subjects."""
        self.tip = max(self.tip, Cursor(stored.seq, stored.time))
        if place.run is None:
            self._progress = stored
        else:
            self._ends[place.run] = stored

    @property
    def is_told(self) -> bool:
        """Whether its records tell all there is to tell: nothing that they cannot know came after them."""
        if self.summary is None:
            return False
        if self.tip.seq:
            self.summary["lastEventAt"] = rfc3339(moment(self.tip.time))
        runs = [run for run in self._ends if run >= self.summary["run"]]
        return not runs or self.summary.get("endedAt") is not None

    def guess(self) -> None:
        """What its last events say, for want of anything better."""
        state = JobState(self.job)
        for run, stored in [(None, self._progress), *sorted(self._ends.items())]:
            if stored is not None:
                with contextlib.suppress(BadEvent):
                    state.apply(parse_event(stored.payload), moment(stored.time), run)
        self.summary = state.summary()

    def age(self) -> tuple[str, str]:
        """What it is sorted by: when it began, as far as that is known."""
        told = self.summary or {}
        return str(told.get("startedAt") or told.get("lastEventAt") or ""), self.job

    def json(self, now: datetime, stalled_after: float) -> bytes:
        """Its summary as it goes out."""
        summary = self.summary or {}
        heard = moment(self.tip.time)
        open_ = summary.get("endedAt") is None
        stalled = open_ and not self.leased and (now - heard).total_seconds() >= stalled_after
        return json.dumps({**summary, "stalled": stalled}, ensure_ascii=False, separators=(",", ":")).encode()
