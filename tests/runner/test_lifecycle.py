"""What the log is told of a job that waits, and of an end that no run tells."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

from milepost_runner.lifecycle import tell_end, tell_queued
from milepost_runner.record import CANCELLED, FAILED, RUNNING, completed, waiting
from milepost_runner.records import Records

from milepost.nats_server import NatsServer
from tests.runner.handled import claimed, jobs_on, log_of, looking_at, own_tenant, written


async def test_a_job_that_runs_is_not_told_to_wait(shared_nats: NatsServer) -> None:
    """A worker may be faster than whoever submits: then running stands alone."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        await jobs.submissions.submit(tenant, "anything", 1)
        (work,) = [work async for work in Records(api).all_waiting(tenant)]
        running = {"kind": "job", "status": "running", "run": 1}
        await api.publish(f"tenant.{tenant}.job.fast.progress", json.dumps(running).encode())
        await tell_queued(api, tenant, "fast", waiting(work))
        assert await log_of(api, tenant, "fast") == [running]
        await tell_queued(api, tenant, "slow", waiting(work))
        await tell_queued(api, tenant, "slow", waiting(work))
        assert [event["status"] for event in await log_of(api, tenant, "slow")] == ["queued"]


async def test_only_the_first_end_of_a_run_is_told(shared_nats: NatsServer) -> None:
    """By however many at once, and of each run its own; what it came to goes ahead."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything")).job
        kept = await Records(api).find(tenant, job)
        assert kept is not None
        end = completed(kept.record, 7, datetime.now(UTC))
        await asyncio.gather(*(tell_end(api, tenant, job, end) for _ in range(20)))
        await tell_end(api, tenant, job, end.changed(run=2, status=CANCELLED, cancel_reason="enough"))
        told = [(event.get("status"), event["run"], event.get("message")) for event in await log_of(api, tenant, job)]
        assert told == [("queued", 1, None), (None, 1, None), ("completed", 1, None), ("cancelled", 2, "enough")]


async def test_an_end_does_not_wait_for_a_result_that_is_no_event(shared_nats: NatsServer) -> None:
    """As one of a tenant's own writing may be."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything")).job
        kept = await Records(api).find(tenant, job)
        assert kept is not None
        for run, result in enumerate(("x" * 65_500, "x" * 100_000), start=1):
            await tell_end(api, tenant, job, completed(kept.record, result, datetime.now(UTC)).changed(run=run))
        assert [event["status"] for event in await log_of(api, tenant, job)] == ["queued", "completed", "completed"]


async def test_an_end_that_is_too_long_is_told_cut(shared_nats: NatsServer) -> None:
    """A record with more to say than an event may have still ends its run."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything")).job
        revision = await claimed(api, tenant, job)
        kept = await Records(api).find(tenant, job)
        assert kept is not None
        assert kept.record.status == RUNNING
        long = kept.record.changed(
            status=FAILED, ended_at=datetime.now(UTC), error={"message": "m" * 60_000, "details": "d" * 60_000}
        )
        await written(api, tenant, job, long.changed(cancel_reason="r" * 60_000), revision)
        await tell_end(api, tenant, job, long.changed(cancel_reason="r" * 60_000))
        assert (await log_of(api, tenant, job))[-1]["status"] == "failed"
