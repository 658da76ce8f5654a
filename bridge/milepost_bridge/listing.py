"""A tenant's jobs, newest first: what their records say, and for jobs without records what their log does.

A record carries its summary in a header, and so does the end of a short run without a record: ten thousand jobs are
listed without reading ten thousand states. A job of a raw publisher has neither: its log is reduced, and the outcome
remembered for as long as nothing is added.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple

from milepost_reporter.event import JOB, JOB_STATUSES, PROGRESS, QUEUED, BadEvent, Event, parse_event
from milepost_reporter.jetstream.api import Api, Stored
from milepost_reporter.jetstream.errors import JetStreamError
from milepost_reporter.jetstream.header import field
from milepost_reporter.names import json_job_id
from milepost_reporter.record import MAX_HEADER_TEXT, SUMMARY_HEADER
from milepost_reporter.state import JobState, rfc3339
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from milepost_bridge.admission import is_leased
from milepost_bridge.cursor import Cursor
from milepost_bridge.history import History, moment
from milepost_bridge.place import Place, place_of
from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import LOG, STATE

_FRESH: Final = 1.0
"""Seconds for which a listing serves everybody who asks, once it is read."""
_REDUCED: Final = 500
"""Logs reduced for one listing, of the newest jobs; older ones are told by their last event until it is their turn."""
_AT_ONCE: Final = 16
_IN_ONE_GO: Final = 200
"""Jobs that are looked at before others have their turn."""
_KEPT: Final = 20_000

_SUMMARY: Final = SUMMARY_HEADER.encode()
_UNKNOWN: Final = "unknown"


class Listed(NamedTuple):
    """One job as it is listed."""

    job: str
    json: bytes
    heard: datetime
    open: bool
    """It may fall silent, for it has not ended and nobody watches over it."""
    guessed: bool
    """Only its last event was looked at."""


class Listing:
    """Lists jobs. Belongs to one event loop.

    Args:
        api, history: what is stored.
        settings: when a job is stalled.
        on_listed: given, after each reading, the jobs that may fall silent and those that were guessed.
    """

    def __init__(
        self, api: Api, history: History, settings: BridgeSettings, on_listed: Callable[[str, list[Listed]], None]
    ) -> None:
        self._api = api
        self._history = history
        self._on_listed = on_listed
        self._stalled_after = settings.stalled_after
        self._listings: dict[str, asyncio.Task[list[Listed]]] = {}
        self._reduced: OrderedDict[tuple[str, str], tuple[Cursor, dict[str, Any], bool]] = OrderedDict()

    async def close(self) -> None:
        """Whoever still waits for a list gets none."""
        tasks = list(self._listings.values())
        self._listings.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def summaries(self, tenant: str, jobs: frozenset[str] | None) -> list[bytes]:
        """The summaries of a tenant's jobs as JSON objects, newest first; of these only, if given."""
        listed = await self._shared(tenant)
        return [each.json for each in listed if jobs is None or each.job in jobs]

    async def _shared(self, tenant: str) -> list[Listed]:
        """One reading for everybody who asks at the same time or right after."""
        task = self._listings.get(tenant)
        if task is None:
            task = self._listings[tenant] = asyncio.get_running_loop().create_task(self._read(tenant))
            task.add_done_callback(lambda done: self._has_read(tenant, done))
        return await asyncio.shield(task)

    def _has_read(self, tenant: str, task: asyncio.Task[list[Listed]]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._forget(tenant, task)
        else:
            asyncio.get_running_loop().call_later(_FRESH, self._forget, tenant, task)

    def _forget(self, tenant: str, task: asyncio.Task[list[Listed]]) -> None:
        if self._listings.get(tenant) is task:
            del self._listings[tenant]

    async def _read(self, tenant: str) -> list[Listed]:
        found: dict[str, _Found] = {}
        async with contextlib.aclosing(self._api.scan(STATE, f"tenant.{tenant}.job.*.state.*")) as records:
            async for some in records:
                for stored in some:
                    if (place := place_of(stored.subject.encode())) is not None:
                        _of(found, place).record(stored)
        async with contextlib.aclosing(self._api.scan(LOG, f"tenant.{tenant}.job.*.>", headers_only=False)) as messages:
            async for some in messages:
                for stored in some:
                    place = place_of(stored.subject.encode())
                    if place is not None and place.carries_events:
                        _of(found, place).last(place, stored)
        await self._reduce(tenant, found)
        listed = await self._told(sorted(found.values(), key=_Found.age, reverse=True))
        self._on_listed(tenant, [each for each in listed if each.open or each.guessed])
        return listed

    async def _told(self, found: list[_Found]) -> list[Listed]:
        return [each.listed(datetime.now(UTC), self._stalled_after) async for each in _in_turns(found)]

    async def _reduce(self, tenant: str, found: dict[str, _Found]) -> None:
        """Read the logs of jobs that nothing else tells enough about."""
        wanted = []
        async for each in _in_turns(found.values()):
            if each.is_told:
                continue
            known = self._reduced.get((tenant, each.job))
            if known is not None and known[0] == each.tip:
                each.summary, each.leased = known[1], known[2]
            else:
                wanted.append(each)
        wanted.sort(key=lambda each: each.tip, reverse=True)
        places = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._reduce_one(tenant, each, places) for each in wanted[:_REDUCED]))
        async for each in _in_turns(wanted[_REDUCED:]):
            each.guess()

    async def _reduce_one(self, tenant: str, each: _Found, places: asyncio.Semaphore) -> None:
        try:
            async with places:
                loaded = await self._history.load(tenant, each.job)
        except JetStreamError:
            # one that cannot be read does not hide the others
            each.guess()
            return
        each.summary, each.leased = _cut(loaded.state.summary()), loaded.leased
        reduced = self._reduced
        reduced[tenant, each.job] = (loaded.at, each.summary, each.leased)
        if len(reduced) > _KEPT:
            reduced.popitem(last=False)


async def _in_turns(found: Collection[_Found]) -> AsyncIterator[_Found]:
    for place, each in enumerate(found, 1):
        yield each
        if place % _IN_ONE_GO == 0:
            await asyncio.sleep(0)


def _of(found: dict[str, _Found], place: Place) -> _Found:
    known = found.get(place.job)
    if known is None:
        known = found[place.job] = _Found(place.job)
    return known


def _status(status: str) -> str:
    if status != _UNKNOWN and status not in JOB_STATUSES:
        raise ValueError("no status of a job")
    return status


def _written(at: datetime) -> str:
    return rfc3339(at)


_Time = Annotated[AwareDatetime, AfterValidator(_written)]


class _Summary(BaseModel):
    """What stands in a record's header, which its publisher wrote."""

    model_config = ConfigDict(strict=True)

    name: str | None = None
    status: Annotated[str, AfterValidator(_status)] = _UNKNOWN
    run: Annotated[int, Field(ge=1, le=2**53 - 1)]
    fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    message: str | None = None
    startedAt: _Time | None = None  # noqa: N815 - as on the wire
    endedAt: _Time | None = None  # noqa: N815
    lastEventAt: _Time | None = None  # noqa: N815


class _Found:
    """One job while it is listed."""

    __slots__ = ("_ends", "_guessed", "_owned", "_progress", "job", "leased", "summary", "tip")

    def __init__(self, job: str) -> None:
        self.job = job
        self.summary: dict[str, Any] | None = None
        self.leased = False
        self.tip = Cursor(0, 0)
        """The last message of its log."""
        self._owned = False
        self._guessed = False
        # the last events on its subjects: when, and what little is needed of them
        self._progress: tuple[int, Event] | None = None
        self._ends: dict[int, tuple[int, Event]] = {}

    def record(self, stored: Stored) -> None:
        """One reporter's record. The job's own reporter, which promises a lease, tells more of it than others."""
        try:
            told = _Summary.model_validate_json(field(stored.headers, _SUMMARY) or b"")
        except ValidationError:
            return
        summary, owned = _cut({"jobId": json_job_id(self.job), **told.__dict__}), is_leased(stored.headers)
        before = self.summary
        if before is None or summary["run"] > before["run"]:
            self.summary, self._owned, self.leased = summary, owned, owned
        elif summary["run"] == before["run"]:
            # What one leaves open another may know.
            ahead = (owned, summary["endedAt"] is not None) >= (self._owned, before["endedAt"] is not None)
            first, second = (summary, before) if ahead else (before, summary)
            self.summary = second | {name: value for name, value in first.items() if value is not None}
            self._owned = self.leased = owned or self._owned

    def last(self, place: Place, stored: Stored) -> None:
        """The last message on one of its subjects."""
        self.tip = max(self.tip, Cursor(stored.seq, stored.time))
        try:
            event = parse_event(stored.payload)
        except BadEvent:
            return
        if event.kind not in (JOB, PROGRESS):
            # that the job is at work, no more
            event.kind, event.nodeId = PROGRESS, event.nodeId or 0
        event.data = event.error = None
        if place.run is None:
            self._progress = (stored.time, event)
        else:
            self._ends[place.run] = (stored.time, event)
            # a short run of the runner's has no record: its end sums it up
            self.record(stored)

    @property
    def is_told(self) -> bool:
        """Whether its records tell all there is to tell: nothing that they cannot know came after them."""
        summary = self.summary
        if summary is None:
            return False
        if self.tip.seq:
            summary["lastEventAt"] = rfc3339(moment(self.tip.time))
        run, ended = summary["run"], summary["endedAt"] is not None
        if any(later > run for later in self._ends):
            return False
        if run in self._ends and (not ended or self._ends[run][1].status != summary["status"]):
            return False
        if self._progress is None:
            return True
        event = self._progress[1]
        of = event.run or run
        return of <= run and (of < run or ended or event.kind != JOB or event.status in (None, summary["status"]))

    def guess(self) -> None:
        """What its last events say, for want of anything better."""
        state = JobState(self.job)
        ends = [(time, run, event) for run, (time, event) in self._ends.items()]
        progress = [] if self._progress is None else [(self._progress[0], 0, self._progress[1])]
        for time, run, event in sorted([*ends, *progress], key=lambda each: each[:2]):
            state.apply(event, moment(time), run or None)
        self._guessed = True
        guess, known = _cut(state.summary()), self.summary
        if known is not None and known["run"] == guess["run"]:
            guess = known | {name: value for name, value in guess.items() if value is not None}
        self.summary = guess

    def age(self) -> tuple[str, str]:
        """What it is sorted by: when it began, as far as that is known."""
        told = self.summary or {}
        return told.get("startedAt") or told.get("lastEventAt") or "", self.job

    def listed(self, now: datetime, stalled_after: float) -> Listed:
        """As it goes out."""
        summary = self.summary or JobState(self.job).summary()
        last = summary["lastEventAt"]
        heard = moment(self.tip.time) if self.tip.seq else datetime.fromisoformat(last) if last else now
        is_open = summary["endedAt"] is None and summary["status"] != QUEUED and not self.leased
        stalled = is_open and (now - heard).total_seconds() >= stalled_after
        told = json.dumps({**summary, "stalled": stalled}, ensure_ascii=False, separators=(",", ":")).encode()
        return Listed(self.job, told, heard, is_open and not stalled, self._guessed)


def _cut(summary: dict[str, Any]) -> dict[str, Any]:
    for name in ("name", "message"):
        if summary[name] is not None:
            summary[name] = summary[name][:MAX_HEADER_TEXT]
    return summary
