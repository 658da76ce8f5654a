"""`JobStore`: what one tenant's submitted jobs have come to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from milepost_reporter.jetstream.errors import JetStreamError, Unavailable
from milepost_reporter.names import is_name

from milepost_runner.errors import NoSuchJob, QueueUnavailable
from milepost_runner.record import JobRecord, waiting
from milepost_runner.records import Records

_AGAIN: Final = 1.0
"""Seconds until NATS is asked again that did not answer, should its return not be told of before."""


class Job(NamedTuple):
    """One submitted job, at one moment.

    `status`: queued, running, cancelling, completed, failed or cancelled. `run`: which execution of it, from 1.
    `fraction` (0..1) and `message`: as it last reported, at most a few seconds old. `result`: any JSON, of one that
    has completed. `error`: `{message, details}` of one that has failed.
    """

    id: str
    name: str
    payload: Any
    status: str
    run: int
    fraction: float | None
    message: str | None
    result: Any
    error: dict[str, str] | None
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.ended_at is not None


class JobStore:
    """Reads one tenant's jobs. Every call raises QueueUnavailable when NATS cannot be asked.

    Args:
        records: of all tenants.
        tenant: whose.
        listen: given a tenant and a job, begins to call back whenever that has changed, or may have; what it returns
            ends that.
    """

    def __init__(
        self,
        records: Records,
        tenant: str,
        listen: Callable[[str, str, Callable[[str | None], None]], Callable[[], None]],
    ) -> None:
        self._records = records
        self._tenant = tenant
        self._listen = listen

    async def get(self, job: str) -> Job:
        """One job. NoSuchJob when none of that id was submitted, or it is forgotten."""
        try:
            kept = await self._records.find(self._tenant, job)
        except JetStreamError as error:
            raise QueueUnavailable(str(error)) from error
        if kept is None:
            raise _unknown(job)
        return _job(job, kept.record)

    async def list(self, *, limit: int = 100) -> list[Job]:
        """Jobs, the last submitted first."""
        jobs: dict[str, Job] = {}
        try:
            async for work in self._records.all_waiting(self._tenant):
                jobs[work.place.job] = _job(work.place.job, waiting(work))
            async for job, record in self._records.all_written(self._tenant):
                jobs[job] = _job(job, record)
        except JetStreamError as error:
            raise QueueUnavailable(str(error)) from error
        return sorted(jobs.values(), key=lambda job: job.queued_at, reverse=True)[:limit]

    async def watch(self, job: str) -> AsyncGenerator[Job, None]:
        """A job as it is now, then whenever it has changed, until it has ended. Close it (`aclosing`) to leave early.

        What changes faster than it is asked for is left out, the end never. It waits through outages of NATS.

        Raises:
            NoSuchJob
        """
        if not is_name(job):
            raise _unknown(job)
        changed = asyncio.Event()
        unlisten = self._listen(self._tenant, job, lambda _: changed.set())
        seen: Job | None = None
        try:
            while True:
                changed.clear()
                now = await self._when_available(job, changed)
                if now != seen:
                    seen = now
                    yield now
                if now.ended:
                    return
                await changed.wait()
        finally:
            unlisten()

    async def wait(self, job: str) -> Job:
        """A job when it has ended."""
        async for now in self.watch(job):
            last = now
        return last

    async def _when_available(self, job: str, changed: asyncio.Event) -> Job:
        while True:
            try:
                return await self.get(job)
            except QueueUnavailable as error:
                if not isinstance(error.__cause__, Unavailable):
                    raise
            # The connection's return counts as a change; but NATS may be silent for a while without losing one.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN):
                    await changed.wait()
            changed.clear()


def _unknown(job: str) -> NoSuchJob:
    return NoSuchJob(f"no job {job:.100} was submitted, or it is forgotten")


def _job(job: str, record: JobRecord) -> Job:
    return Job(
        id=job,
        name=record.name,
        payload=record.payload,
        status=record.status,
        run=record.run,
        fraction=record.fraction,
        message=record.message,
        result=record.result,
        error=record.error,
        queued_at=record.queued_at,
        started_at=record.started_at,
        ended_at=record.ended_at,
    )
