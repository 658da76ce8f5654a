"""What became of jobs: one, all of a tenant's, and each change until the end, whatever happens to NATS."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime

import pytest
from milepost_reporter.jetstream.api import Api
from milepost_runner.errors import NoSuchJob, QueueUnavailable
from milepost_runner.jobs import Jobs
from milepost_runner.record import completed, decide, failed, to_be_tried_again
from milepost_runner.records import Records
from milepost_runner.store import Job

from milepost.nats_server import NatsServer
from tests.bridge.live_api import live_api
from tests.runner.handled import done_with, jobs_on, looking_at, own_tenant, written
from tests.waiting import eventually_async


async def run(api: Api, tenant: str, job: str, *, end: bool = True) -> None:
    """As a worker does: claims a job, reports, and ends it."""
    kept = await Records(api).find(tenant, job)
    assert kept is not None
    record = decide(kept.record, worker="w", claim="c", deaths=3, at=datetime.now(UTC)).record
    revision = await written(api, tenant, job, record, kept.revision)
    revision = await written(api, tenant, job, record.changed(fraction=0.5, message="half"), revision)
    if end:
        await written(api, tenant, job, completed(record, {"rows": 7}, datetime.now(UTC)), revision)


class Watching:
    """A watch under way, and what it has shown."""

    def __init__(self, jobs: Jobs, tenant: str, job: str) -> None:
        self.seen: list[Job] = []
        self.task = asyncio.create_task(self._watch(jobs, tenant, job))

    async def _watch(self, jobs: Jobs, tenant: str, job: str) -> None:
        async with contextlib.aclosing(jobs.store(tenant).watch(job)) as changes:
            async for now in changes:
                self.seen.append(now)

    async def begun(self) -> None:
        await eventually_async(lambda: self.seen or self.task.done())


async def test_one_job_from_the_queue_to_its_end(shared_nats: NatsServer) -> None:
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything", {"a": 1})).job
        queued = await jobs.store(tenant).get(job)
        assert (queued.id, queued.name, queued.payload) == (job, "anything", {"a": 1})
        assert (queued.status, queued.run, queued.started_at, queued.ended) == ("queued", 1, None, False)
        await run(api, tenant, job, end=False)
        running = await jobs.store(tenant).get(job)
        assert (running.status, running.fraction, running.message) == ("running", 0.5, "half")
        assert running.started_at is not None
        assert queued.queued_at <= running.started_at
        await done_with(api, tenant, job)
        assert (await jobs.store(tenant).get(job)) == running


@pytest.mark.parametrize("nobody", ["nobody", "*", ">", "a.b", "a b", "", "x" * 65])
async def test_a_job_that_was_not_submitted_is_told_so(shared_nats: NatsServer, nobody: str) -> None:
    """Also by a watch, and when its name could be taken for more than one."""
    tenant = own_tenant()
    async with jobs_on(shared_nats.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything")).job
        with pytest.raises(NoSuchJob):
            await jobs.store(tenant).get(nobody)
        with pytest.raises(NoSuchJob):
            await jobs.store(tenant).wait(nobody)
        with pytest.raises(NoSuchJob):
            await jobs.store(own_tenant()).get(job)
        assert jobs.up


async def test_a_list_has_each_job_once_the_last_submitted_first(shared_nats: NatsServer) -> None:
    """Those that wait, run and have ended; of this tenant; as many as were asked for."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        await jobs.submissions.submit(own_tenant(), "anything")
        made = [(await jobs.submissions.submit(tenant, "anything", n)).job for n in range(6)]
        await run(api, tenant, made[1])
        await done_with(api, tenant, made[1])
        await run(api, tenant, made[3], end=False)
        await run(api, tenant, made[4])
        listed = await jobs.store(tenant).list()
        assert [job.id for job in listed] == made[::-1]
        assert [job.status for job in listed] == ["queued", "completed", "running", "queued", "completed", "queued"]
        assert [job.id for job in await jobs.store(tenant).list(limit=2)] == made[:-3:-1]
        assert await jobs.store(own_tenant()).list() == []


async def test_a_watch_shows_changes_and_ends_with_the_end(shared_nats: NatsServer) -> None:
    """For two who watch the same job, of whom one leaves early."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything")).job
        one, other = Watching(jobs, tenant, job), Watching(jobs, tenant, job)
        await one.begun()
        await other.begun()
        await run(api, tenant, job, end=False)
        await eventually_async(lambda: other.seen[-1].fraction == 0.5)
        other.task.cancel()
        await asyncio.wait([other.task])
        kept = await Records(api).written(tenant, job)
        assert kept is not None
        revision = await written(api, tenant, job, to_be_tried_again(kept.record), kept.revision)
        await eventually_async(lambda: one.seen[-1].run == 2)
        kept = await Records(api).written(tenant, job)
        assert kept is not None
        again = decide(kept.record, worker="w", claim="c", deaths=3, at=datetime.now(UTC)).record
        revision = await written(api, tenant, job, again, revision)
        await written(api, tenant, job, failed(again, {"message": "no"}, datetime.now(UTC)), revision)
        await asyncio.wait_for(one.task, 20)
        assert one.seen[0].status == "queued"
        assert (one.seen[-1].status, one.seen[-1].run, one.seen[-1].error) == ("failed", 2, {"message": "no"})
        assert [job.ended for job in one.seen].count(True) == 1
        assert all(before != after for before, after in zip(one.seen, one.seen[1:], strict=False))
        assert (await jobs.store(tenant).wait(job)) == one.seen[-1]


async def test_a_watch_sees_each_end_through_a_restart_of_nats(nats_server: NatsServer) -> None:
    """Jobs that end while nobody is connected, before and after: each is seen to end, once."""
    tenant = own_tenant()
    async with jobs_on(nats_server.url) as jobs:
        made = [(await jobs.submissions.submit(tenant, "anything", n)).job for n in range(6)]
        watches = [Watching(jobs, tenant, job) for job in made]
        for watch in watches:
            await watch.begun()
        for number in range(3):
            async with live_api(nats_server.url) as api:
                await run(api, tenant, made[2 * number])
            nats_server.kill()
            await eventually_async(lambda: not jobs.up)
            nats_server.start()
            # as it is now faster than the watcher's connection comes back, or not
            async with live_api(nats_server.url) as api:
                await run(api, tenant, made[2 * number + 1])
        await asyncio.wait_for(asyncio.gather(*(watch.task for watch in watches)), 30)
        for watch in watches:
            assert (watch.seen[-1].status, watch.seen[-1].result) == ("completed", {"rows": 7})
            assert [job.ended for job in watch.seen].count(True) == 1


async def test_a_watch_outlives_a_silence_that_loses_no_connection(nats_server: NatsServer) -> None:
    """NATS hangs for longer than an answer is waited for, and goes on: nobody tells that it is back."""
    tenant = own_tenant()
    async with jobs_on(nats_server.url, request_timeout=0.2, ping_interval=100) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything")).job
        nats_server.pause()
        with pytest.raises(QueueUnavailable):
            await ask_for_ever(jobs, tenant, job)
        watch = Watching(jobs, tenant, job)
        async with asyncio.timeout(20):
            while True:
                try:
                    await jobs.store(tenant).get(job)
                except QueueUnavailable:
                    break
        nats_server.resume()
        await watch.begun()
        async with live_api(nats_server.url) as api:
            await run(api, tenant, job)
        await asyncio.wait_for(watch.task, 20)
        assert watch.seen[-1].status == "completed"


async def ask_for_ever(jobs: Jobs, tenant: str, job: str) -> None:
    """A server that was sent SIGSTOP may still answer what comes at once."""
    while True:
        await jobs.store(tenant).get(job)


async def test_without_nats_nothing_is_known(nats_server: NatsServer) -> None:
    """Every call says so; the watch waits."""
    tenant = own_tenant()
    async with jobs_on(nats_server.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything")).job
        nats_server.kill()
        await eventually_async(lambda: not jobs.up)
        for asking in (jobs.store(tenant).get(job), jobs.store(tenant).list(), jobs.submissions.cancel(tenant, job)):
            with pytest.raises(QueueUnavailable):
                await asking
        with pytest.raises(QueueUnavailable):
            await jobs.submissions.submit(tenant, "anything")
        watch = Watching(jobs, tenant, job)
        nats_server.start()
        await watch.begun()
        assert watch.seen[0].status == "queued"
        watch.task.cancel()
        await asyncio.wait([watch.task])
