"""Records and waiting jobs in NATS, whatever a tenant may have put in their place."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from milepost_runner import subject
from milepost_runner.errors import NoSuchJob
from milepost_runner.record import CANCELLED, COMPLETED, completed
from milepost_runner.records import Records
from milepost_runner.subject import JOBS, bucket_stream

from milepost.nats_server import NatsServer
from tests.runner.handled import claimed, jobs_on, looking_at, own_tenant

ROTTEN = [
    b"",
    b"null",
    b"[" * 10_000,
    b'{"run":-1}',
    b"\xff\xfe",
    b'{"name":"x","queue":"q","status":"running","run":1}',
]


@pytest.mark.parametrize("rotten", ROTTEN, ids=lambda rotten: repr(rotten[:12]))
async def test_a_record_that_is_none_is_counted_and_mended(shared_nats: NatsServer, rotten: bytes) -> None:
    """The job counts as waiting, and can be cancelled; a record of no job is no job."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything")).job
        for place in (job, "nobody"):
            await api.publish(subject.record(tenant, place), rotten)
        assert [known.id for known in await jobs.store(tenant).list()] == [job]
        assert (await jobs.store(tenant).get(job)).status == "queued"
        with pytest.raises(NoSuchJob):
            await jobs.submissions.cancel(tenant, "nobody")
        assert (await jobs.submissions.cancel(tenant, job)).status == CANCELLED
        assert jobs.submissions.records.unreadable >= 4
        assert (await jobs.store(tenant).get(job)).status == "cancelled"


async def test_a_message_that_is_no_job_hurts_nobody(shared_nats: NatsServer) -> None:
    """It is counted, and left out of every list."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        for number, rotten in enumerate(ROTTEN):
            await api.publish(subject.work(tenant, "default", f"bad{number}"), rotten)
        await api.publish(f"tenant.{tenant}.work.d!.1", b"{}")
        job = (await jobs.submissions.submit(tenant, "anything")).job
        assert [known.id for known in await jobs.store(tenant).list()] == [job]
        assert jobs.submissions.records.unreadable == len(ROTTEN) + 1
        with pytest.raises(NoSuchJob):
            await jobs.store(tenant).get("bad0")


async def test_revisions_are_the_buckets_own(shared_nats: NatsServer) -> None:
    """A record that was written after a revision that is not the last any more is not written."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything")).job
        first = await claimed(api, tenant, job)
        kept = await Records(api).find(tenant, job)
        assert kept is not None
        done = completed(kept.record, 1, datetime.now(UTC))
        took = await asyncio.gather(*(Records(api).write(tenant, job, done, first) for _ in range(20)))
        assert len([revision for revision in took if revision is not None]) == 1
        stored = await api.last(bucket_stream(JOBS), subject.record(tenant, job))
        assert stored is not None
        assert stored.seq in took
        assert (await jobs.store(tenant).get(job)).status == COMPLETED
