"""What the log and the state records know of one job: its state, and its events behind a cursor.

A state is its reporters' records and the log's tail behind them; without records, the whole retained log. Everything is
read by sequence and checked: an event is where its cursor says only if it was stored there at that very time.

Replicas answer these reads, and one may lag: what they do not have is believed only when the stream's leader says so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from milepost_hub.errors import CursorGone
from milepost_hub.event import Event
from milepost_hub.job_log import Gap
from milepost_reporter import subject as subjects
from milepost_reporter.event import JOB, PROGRESS, QUEUED
from milepost_reporter.event import Event as Reported
from milepost_reporter.jetstream.api import Api, Batch, Stored
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.jetstream.errors import Refused, Unavailable
from milepost_reporter.jetstream.header import to_nanoseconds
from milepost_reporter.record import BadRecord, Record, merge, parse_record
from milepost_reporter.state import JobState

from milepost_bridge.admission import Admission, Admittance, Admitted, counted_by, is_leased
from milepost_bridge.cursor import Cursor
from milepost_bridge.outgoing import outgoing
from milepost_bridge.place import Place, place_of
from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import LOG, STATE

PAGE_MESSAGES: Final = 500
_PAGE_BYTES: Final = 512 * 1024
_GATES_KEPT: Final = 4_096
_NO_MESSAGE: Final = 10_037
LAG: Final = 0.05
"""Seconds that a replica is given to catch up with its leader before it is asked again."""
LAGS: Final = 60
"""How often it is asked before it is given up."""
_NANOSECOND: Final = 1_000_000_000
_NOWHERE: Final = Cursor(0, 0)


class Loaded(NamedTuple):
    """One job's state, and where in its log it stands."""

    state: JobState
    at: Cursor
    """The last message of the job's log; zeros when there is none."""
    last_on_progress: int
    event: Cursor | None
    """The last event that counts, where it is still stored."""
    admission: Admission
    leased: bool
    known: bool

    def stalled(self, now: datetime, after: float) -> bool:
        """Whether a job that has begun, and that nobody watches over, has not been heard of for too long."""
        heard = self.state.last_event_at
        if not self.known or self.leased or self.state.ended or self.state.status == QUEUED or heard is None:
            return False
        return (now - heard).total_seconds() >= after


class _Tips(NamedTuple):
    """The last message on `.progress`, and each run's end."""

    progress: Cursor | None
    ends: dict[int, Cursor]

    @property
    def last(self) -> int:
        """The last sequence of the job's log; 0 when nothing is stored."""
        return max([self.progress.seq if self.progress else 0, *(cursor.seq for cursor in self.ends.values())])


@dataclass(slots=True)
class _Base:
    """What a job's records amount to, and where in the log to go on."""

    state: JobState
    admission: Admission
    start: int = 1
    anchor: int = 0
    """The last event that the records count."""
    end: Cursor | None = None
    """The stored end that the records tell."""
    leased: bool = False

    def open(self, *, is_open: bool) -> None:
        """Let events of a run that has ended count, or no longer; nothing happens to one that has not."""
        if self.end is not None:
            self.admission.gate.ended = self.state.gate.ended = not is_open


@dataclass(slots=True)
class _Tail:
    """What the log behind the records has brought."""

    leased: bool
    at: Cursor = _NOWHERE
    last_on_progress: int = 0
    event: Cursor | None = None


class Page(NamedTuple):
    """Messages of a job's log, in order; `more` are stored behind them."""

    messages: list[Stored]
    more: bool


class History:
    """Reads jobs. `counts`: what became of the messages read, by outcome."""

    def __init__(self, api: Api, settings: BridgeSettings, complaints: Complaints) -> None:
        self._api = api
        self._complaints = complaints
        self.counts: dict[str, int] = {"read": 0, "late": 0, "duplicate": 0, "bad_header": 0, "invalid_record": 0}
        self._admittance = Admittance(settings, self.counts, complaints)
        self._gates: OrderedDict[tuple[str, str, Cursor], tuple[int, bool]] = OrderedDict()

    # -- state --------------------------------------------------------------------------------------------------------

    async def load(self, tenant: str, job: str) -> Loaded:
        """The job's state now. Unavailable when the log cannot be read."""
        records, tips = await asyncio.gather(self._records(tenant, job), self._tips(tenant, job))
        if not records and not tips.last:
            return Loaded(JobState(job), _NOWHERE, 0, None, Admission(), leased=False, known=False)
        base = await self._base(tenant, job, records, tips)
        tail = await self._tail(tenant, job, base)
        if tail is None:
            # Before the end that a record tells stands another, which is the run's: the records count what is late.
            base = _Base(JobState(job), Admission())
            tail = await self._tail(tenant, job, base)
            assert tail is not None  # noqa: S101 - nothing tells of an end
        if not tail.at.seq and tips.last:
            raise Unavailable("the replica that answers lags behind its leader")
        last_on_progress = tail.last_on_progress
        if tips.progress is not None and not last_on_progress and tips.progress.seq <= tail.at.seq:
            last_on_progress = tips.progress.seq
        known = bool(records) or tail.at.seq > 0
        return Loaded(base.state, tail.at, last_on_progress, tail.event, base.admission, tail.leased, known)

    async def _tail(self, tenant: str, job: str, base: _Base) -> _Tail | None:
        """Take the log behind the records into their state; None when an end stands before the one they tell."""
        state, admission, end = base.state, base.admission, base.end
        tail = _Tail(leased=base.leased)
        # What its reporter had not counted when the job's own record told the end may stand before that end.
        base.open(is_open=end is not None)
        async for stored, place in self._behind(tenant, job, base.start):
            if end is not None and stored.seq >= end.seq:
                base.open(is_open=False)
                end = None
            tail.at = Cursor(stored.seq, stored.time)
            tail.last_on_progress = stored.seq if place.run is None else tail.last_on_progress
            run = admission.gate.run
            admitted = self._admit(admission, place, stored)
            if admitted is None:
                if stored.seq == base.anchor:
                    tail.event = tail.at
                    state.heard(moment(stored.time))
                continue
            if end is not None and admission.gate.run != run:
                end = None
            if end is not None and admitted.ends:
                return None
            tail.leased = is_leased(stored.headers) or (tail.leased and admission.gate.run == run)
            tail.event = tail.at
            if end is None or not _is_about_the_job(admitted.event):
                state.apply(admitted.event, moment(stored.time), place.run)
        if end is not None:
            base.open(is_open=False)
        return tail

    async def _base(self, tenant: str, job: str, records: list[Record], tips: _Tips) -> _Base:
        """The state that the records amount to, and where the tail behind them begins."""
        run = max((record.run for record in records), default=0)
        end = tips.ends.get(run)
        of_run = [record for record in records if record.run == run]
        # Who went on after its run was ended for it has counted what is late.
        counting = [record for record in of_run if end is None or record.seq <= end.seq]
        if not counting:
            return _Base(JobState(job), Admission())
        state = merge(job, counting)
        base = _Base(state, Admission(state.run, ended=state.ended, most=len(counting)))
        base.end = end if state.ended else None
        base.leased = any(record.lease for record in counting)
        for record in counting:
            base.admission.has_had(record.reporter.encode(), record.count, len(counting))
        last = max(counting, key=lambda record: record.seq)
        if not 0 < last.seq <= tips.last or not await self._is_counted(tenant, job, last):
            # Another life of the stream: what it has was stored under other sequences. Counts tell what is known.
            return base
        base.anchor = last.seq
        if counting == of_run:
            # A reporter that has counted nothing yet says so with its first record: then nothing is passed over.
            base.start = max(1, min(record.seq for record in counting))
        return base

    async def _is_counted(self, tenant: str, job: str, record: Record) -> bool:
        """Whether the record's last event stands where the record says, or is no longer stored."""
        stored = await self._api.direct_get(LOG, seq=record.seq)
        if not stored.messages:
            return True
        message = stored.messages[0]
        if message.seq != record.seq:
            return True
        place = place_of(message.subject.encode())
        counted = counted_by(message.headers or b"")
        return place is not None and place.key == (tenant, job) and counted == (record.reporter.encode(), record.count)

    async def _records(self, tenant: str, job: str) -> list[Record]:
        records = []
        for stored in await self._last_of(STATE, [subjects.state(tenant, job, "*")]):
            try:
                records.append(parse_record(stored.subject.rpartition(".")[2], stored.payload))
            except BadRecord as bad:
                self.counts["invalid_record"] += 1
                self._complaints.tell("invalid_record", f"{stored.subject}: {bad}")
        return records

    async def _tips(self, tenant: str, job: str) -> _Tips:
        progress = subjects.progress(tenant, job)
        tips = await self._last_of(LOG, [progress, f"tenant.{tenant}.job.{job}.end.*"])
        ends = {}
        last = None
        for stored in tips:
            place = place_of(stored.subject.encode())
            if place is not None and place.run is not None:
                ends[place.run] = Cursor(stored.seq, stored.time)
            elif place is not None:
                last = Cursor(stored.seq, stored.time)
        return _Tips(last, ends)

    async def _last_of(self, stream: str, matching: list[str]) -> list[Stored]:
        """The last message of every subject that matches."""
        try:
            return (await self._api.direct_get(stream, multi_last=matching)).messages
        except Refused:  # too many for one answer
            found: list[Stored] = []
            for subject in matching:
                async for some in self._api.scan(stream, subject, headers_only=False):
                    found += some
            return found

    async def end_of(self, tenant: str, job: str, run: int) -> Cursor | None:
        """Where a run's own end stands."""
        found = await self._api.direct_get(LOG, last_by_subj=subjects.end(tenant, job, run))
        return Cursor(found.messages[0].seq, found.messages[0].time) if found.messages else None

    # -- pages --------------------------------------------------------------------------------------------------------

    async def read(self, tenant: str, job: str, after: Cursor | None, limit: int) -> list[Event]:
        """The next events behind a cursor, or from the log's beginning; none when nothing more is stored.

        CursorGone when the cursor's event is not there any more, or never was. Unavailable when the log cannot be read.
        """
        events: list[Event] = []
        admission: Admission | None = Admission() if after is None else None
        # where the last event stands that does not say its run: who goes on from there has to be told
        nameless: Cursor | None = None
        while True:
            page, anchor = await self.page(tenant, job, after, limit)
            if admission is None:
                assert anchor is not None and after is not None  # noqa: S101, PT018 - `page` has raised otherwise
                admission = await self._admission_behind(tenant, job, after, anchor)
            for stored in page.messages:
                after = Cursor(stored.seq, stored.time)
                place = place_of(stored.subject.encode())
                if place is None:
                    continue
                admitted = self._admit(admission, place, stored)
                if admitted is not None:
                    events.append(outgoing(admitted, stored.payload, after))
                    nameless = after if admitted.event.run is None and place.run is None else None
            if events and nameless is not None:
                self._remember(tenant, job, nameless, admission)
            if events or not page.more:
                return events

    async def page(self, tenant: str, job: str, after: Cursor | None, limit: int) -> tuple[Page, Stored | None]:
        """Messages behind a cursor, and the cursor's own. CursorGone when that is not there."""
        for _ in range(LAGS):
            if after is None:
                batch = await self._batch(tenant, job, 1, limit)
                return Page(batch.messages, batch.pending > 0), None
            # its own event first: that shows whether it is still there, and still the same
            batch = await self._batch(tenant, job, after.seq, limit + 1)
            if batch.messages and (batch.messages[0].seq, batch.messages[0].time) == after:
                return Page(batch.messages[1:], batch.pending > 0), batch.messages[0]
            gap = await self._gap(tenant, job, after, batch)
            if gap is not None:
                raise CursorGone(gap)
            await asyncio.sleep(LAG)
        raise Unavailable("the replica that answers lags behind its leader")

    async def _batch(self, tenant: str, job: str, seq: int, limit: int) -> Batch:
        batch = await self._api.direct_get(
            LOG, seq=seq, next_by_subj=f"tenant.{tenant}.job.{job}.>", batch=limit, max_bytes=_PAGE_BYTES
        )
        self.counts["read"] += len(batch.messages)
        return batch

    async def _gap(self, tenant: str, job: str, after: Cursor, batch: Batch) -> Gap | None:
        """Why a cursor's event is not where it was; None when it is, and a replica has not got it yet."""
        first = batch.messages[0] if batch.messages else None
        to = None if first is None else str(Cursor(first.seq, first.time))
        info = await self._api.request(f"$JS.API.STREAM.INFO.{LOG}")
        held = info["state"]
        if after.seq > held["last_seq"] or (first is not None and first.time < after.time):
            return Gap("epoch", str(after), to)
        leader = await self._from_leader(after.seq)
        if leader is None:
            return Gap("retention", str(after), to)
        subject, time = leader
        place = place_of(subject.encode())
        if time != after.time or place is None or place.key != (tenant, job):
            return Gap("epoch", str(after), to)
        return None

    async def _from_leader(self, seq: int) -> tuple[str, int] | None:
        """Subject and time of a message, from the replica that knows all of them."""
        try:
            answer = await self._api.request(f"$JS.API.STREAM.MSG.GET.{LOG}", {"seq": seq})
        except Refused as refused:
            if refused.err_code == _NO_MESSAGE:
                return None
            raise
        message: dict[str, Any] = answer["message"]
        return message["subject"], to_nanoseconds(message["time"].encode())

    # -- what counts --------------------------------------------------------------------------------------------------

    async def _behind(self, tenant: str, job: str, seq: int) -> AsyncGenerator[tuple[Stored, Place], None]:
        """Every message of a job from this sequence on."""
        more = True
        while more:
            batch = await self._batch(tenant, job, seq, PAGE_MESSAGES)
            for stored in batch.messages:
                seq = stored.seq + 1
                place = place_of(stored.subject.encode())
                if place is not None:
                    yield stored, place
            more = batch.pending > 0 and bool(batch.messages)

    def _admit(self, admission: Admission, place: Place, stored: Stored) -> Admitted | None:
        return self._admittance.admit(admission, stored.subject.encode(), place.run, stored.payload, stored.headers)

    async def _admission_behind(self, tenant: str, job: str, after: Cursor, anchor: Stored) -> Admission:
        """How far the job had come with the event of a cursor, which was one that counts.

        An event that names its run says all of it by itself.
        """
        place = place_of(anchor.subject.encode())
        run = None if place is None else place.run
        event = self._admittance.event(anchor.subject.encode(), run, anchor.payload)
        remembered = self._gates.get((tenant, job, after))
        if remembered is not None:
            admission = Admission(remembered[0], ended=remembered[1])
        elif event is not None and (run or event.run):
            admission = Admission(run or event.run or 1, ended=event.is_terminal)
        else:
            return await self._admission_from_start(tenant, job, after)
        if anchor.headers is not None and (counted := counted_by(anchor.headers)):
            admission.has_had(*counted, 1)
        return admission

    async def _admission_from_start(self, tenant: str, job: str, after: Cursor) -> Admission:
        admission = Admission()
        async with contextlib.aclosing(self._behind(tenant, job, 1)) as messages:
            async for stored, place in messages:
                self._admit(admission, place, stored)
                if stored.seq >= after.seq:
                    break
        self._remember(tenant, job, after, admission)
        return admission

    def _remember(self, tenant: str, job: str, at: Cursor, admission: Admission) -> None:
        gates = self._gates
        gates[tenant, job, at] = (admission.gate.run, admission.gate.ended)
        if len(gates) > _GATES_KEPT:
            gates.popitem(last=False)


def moment(time: int) -> datetime:
    """Unix nanoseconds as a date, cut to milliseconds, as clients are told it."""
    seconds, rest = divmod(time, _NANOSECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1_000_000 * 1_000)


def _is_about_the_job(event: Reported) -> bool:
    """Whether it says something of the job as a whole, which its own reporter's record knows better."""
    return event.kind == JOB or (event.kind == PROGRESS and event.nodeId is None)
