"""A worker that leaves: short jobs end, long ones go back to the queue and run again elsewhere."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from milepost.nats_server import NatsServer
from tests.runner.stand import Held, standing
from tests.waiting import eventually_async

EXECUTORS = ["async", "thread", "process"]


async def test_what_ends_in_time_ends_here_and_no_more_is_taken(nats_server: NatsServer, tmp_path: Path) -> None:
    held = Held(tmp_path)
    async with standing(nats_server) as stand:
        async with stand.worker(drain=20) as worker:
            job = await stand.submit("w_hold", held.payload)
            await held.begun()
            leaving = asyncio.create_task(worker.drain(20))
            await asyncio.sleep(0)
            waits = await stand.submit("w_echo", 1)
            await eventually_async(lambda: worker._puller.returned >= 1)
            held.release()
            await leaving
        assert (await stand.ended(job)).status == "completed"
        assert (await stand.told(job)).ends == {1: "completed"}
        assert (await stand.store.get(waits)).status == "queued"
        assert await stand.waiting() == 1


@pytest.mark.parametrize("handler", ["w_hold", "w_deaf"])
@pytest.mark.parametrize("executor", EXECUTORS)
async def test_what_takes_longer_goes_back_and_runs_again_elsewhere(
    nats_server: NatsServer, executor: str, handler: str, tmp_path: Path
) -> None:
    """At once, as the next run and without an end between, whether the handler listens or not."""
    held = Held(tmp_path)
    async with standing(nats_server, claim=20.0) as stand:
        job = await stand.submit(handler, held.payload)
        async with stand.worker(executor, drain=0, claim=20) as worker:
            await held.begun()
        assert worker.counts["given_back"] == 1
        back = await stand.store.get(job)
        assert (back.status, back.run) == ("queued", 2)
        async with stand.worker(executor, claim=20):
            await held.begun(2)
            held.release()
            ended = await stand.ended(job)
            assert (ended.status, ended.run) == ("completed", 2)
        log = await stand.told(job)
        assert log.course == ["queued 1", "running 1", "queued 2", "running 2", "completed 2"]
        assert log.ends == {2: "completed"}


async def test_leaving_is_no_death(nats_server: NatsServer, tmp_path: Path) -> None:
    """A job whose worker may not die once is given back three times, and completes."""
    held = Held(tmp_path)
    async with standing(nats_server, claim=20.0) as stand:
        job = await stand.submit("w_hold_once", held.payload)
        for times in (1, 2, 3):
            async with stand.worker(drain=0, claim=20):
                await held.begun(times)
        held.release()
        async with stand.worker(claim=20):
            ended = await stand.ended(job)
            assert (ended.status, ended.run) == ("completed", 4)
        kept = await stand.jobs.submissions.records.find(stand.tenant, job)
        assert kept is not None
        assert kept.record.deaths == 0


async def test_one_that_is_cancelled_while_its_worker_leaves_is_cancelled(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """It does not go back to the queue."""
    held = Held(tmp_path)
    async with standing(nats_server, claim=20.0) as stand:
        job = await stand.submit("w_deaf", held.payload)
        async with stand.worker(drain=0.3, cancel_wait=20, claim=20) as worker:
            await held.begun()
            leaving = asyncio.create_task(worker.drain(0.3))
            assert await stand.cancel(job) == "cancelling"
            await leaving
        assert (await stand.ended(job)).status == "cancelled"
        assert (await stand.told(job)).ends == {1: "cancelled"}
        held.release()


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_worker_that_leaves_as_its_jobs_begin_leaves_none_behind(
    nats_server: NatsServer, executor: str, tmp_path: Path
) -> None:
    """Whatever it was about to begin is back in the queue at once, not after the claim."""
    helds = [Held(tmp_path, f"job{number}") for number in range(8)]
    async with standing(nats_server, claim=20.0) as stand:
        jobs = [await stand.submit("w_deaf", held.payload) for held in helds]
        async with stand.worker(executor, drain=0, claim=20) as worker:
            await eventually_async(lambda: worker.running)
        for held in helds:
            held.release()
        async with stand.worker(executor, claim=20, concurrency=8):
            async with asyncio.timeout(15):
                for job in jobs:
                    assert (await stand.ended(job)).status == "completed"
                    assert list((await stand.told(job)).ends.values()) == ["completed"]


async def test_leaving_without_nats_ends_in_bound(nats_server: NatsServer, tmp_path: Path) -> None:
    """What could not be told goes by the claim: the job runs again elsewhere, as after a death."""
    held = Held(tmp_path)
    async with standing(nats_server, claim=1.0) as stand:
        job = await stand.submit("w_hold", held.payload)
        async with asyncio.timeout(20):
            async with stand.worker(drain=0, cancel_wait=0.1, claim=1):
                await held.begun()
                nats_server.kill()
        nats_server.start()
        await eventually_async(lambda: stand.api.up)
        held.release()
        async with stand.worker(claim=1):
            ended = await stand.ended(job)
            assert (ended.status, ended.run) == ("completed", 2)
        assert (await stand.told(job)).ends == {2: "completed"}
