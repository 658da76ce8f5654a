"""Records and waiting jobs in NATS, of all tenants: read, changed by compare-and-swap, gone through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final, NamedTuple

from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.errors import Refused, Unavailable
from milepost_reporter.names import is_name

from milepost_runner import subject
from milepost_runner.record import BadRecord, JobRecord, read_record, waiting
from milepost_runner.subject import JOBS, WORK, bucket_stream
from milepost_runner.work import BadWork, Work, read_work

_STREAM: Final = bucket_stream(JOBS)
_WRONG_LAST_SEQUENCE: Final = 10071
_WRONG_LAST_SEQUENCE_NOW: Final = 10164
"""Another write of the same record is being decided: ask again."""
_ASK_AGAIN: Final = 0.02
_PAGE: Final = 500


class Kept(NamedTuple):
    """A record, and the revision that a change of it has to follow; 0: it is only waiting, and was never written."""

    record: JobRecord
    revision: int


class Records:
    """What there is of jobs. Every call may raise Unavailable (of `milepost_reporter.jetstream`)."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.unreadable = 0
        """Records and messages that were none."""

    async def written(self, tenant: str, job: str, work: Work | None = None) -> Kept | None:
        """A job's record, once it has been claimed or ended.

        In place of one that cannot be read stands what is known of the waiting job, so that the next change mends it:
        of `work`, where its message is at hand. A tenant's own worker may not look for it in the queue.
        """
        stored = await self._api.last(_STREAM, subject.record(tenant, job))
        if stored is None:
            return None
        try:
            return Kept(read_record(stored.payload), stored.seq)
        except BadRecord:
            self.unreadable += 1
        work = work or await self._waiting(tenant, job)
        return Kept(waiting(work), stored.seq) if work is not None else None

    async def find(self, tenant: str, job: str) -> Kept | None:
        """A job's record, or what is known of one that waits; None when nothing is."""
        if not is_name(job):
            return None
        kept = await self.written(tenant, job)
        if kept is not None:
            return kept
        work = await self._waiting(tenant, job)
        # It may have been claimed, and its message be gone, since the first look.
        return Kept(waiting(work), 0) if work is not None else await self.written(tenant, job)

    async def write(self, tenant: str, job: str, record: JobRecord, after: int) -> int | None:
        """Put a record in place of the one of revision `after`, 0 for none. None when that is not the last any more."""
        headers = {"Nats-Expected-Last-Subject-Sequence": str(after)}
        payload = record.write()
        while True:
            try:
                return (await self._api.publish(subject.record(tenant, job), payload, headers)).seq
            except Refused as refused:
                if refused.err_code == _WRONG_LAST_SEQUENCE:
                    return None
                if refused.err_code != _WRONG_LAST_SEQUENCE_NOW:
                    raise Unavailable(f"the store takes no records: {refused}") from refused
            await asyncio.sleep(_ASK_AGAIN)

    async def all_written(self, tenant: str) -> AsyncGenerator[tuple[str, JobRecord], None]:
        """Every record of a tenant's, the longest unchanged first, with the job's id."""
        async for batch in self._api.scan(_STREAM, subject.record(tenant, "*"), headers_only=False):
            for stored in batch:
                place = subject.parse_record(stored.subject)
                try:
                    record = read_record(stored.payload)
                except BadRecord:
                    self.unreadable += 1
                    continue
                if place is not None:
                    yield place[1], record

    async def all_waiting(self, tenant: str) -> AsyncGenerator[Work, None]:
        """Every job in a tenant's queues, the longest waiting first; those that run are among them."""
        at, filter_ = 1, subject.work(tenant, "*", "*")
        while True:
            page = await self._api.direct_get(WORK, seq=at, next_by_subj=filter_, batch=_PAGE)
            for stored in page.messages:
                try:
                    yield read_work(stored.subject, stored.payload)
                except BadWork:
                    self.unreadable += 1
            if not page.messages or not page.pending:
                return
            at = page.messages[-1].seq + 1

    async def _waiting(self, tenant: str, job: str) -> Work | None:
        page = await self._api.direct_get(WORK, multi_last=[subject.work(tenant, "*", job)])
        try:
            return read_work(page.messages[-1].subject, page.messages[-1].payload) if page.messages else None
        except BadWork:
            self.unreadable += 1
            return None
