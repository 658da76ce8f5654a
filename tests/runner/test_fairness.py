"""No tenant's flood holds up another: who starts before whom, counted and not timed.

Bound. A lone job that is submitted into a flood starts after fewer jobs of the flood than there are places: each place
becomes free at most once before, which is "less than one job's length per free place". Besides, a few that were
under way: what a worker had asked for already when it heard of the lone job, at most a place's worth for each of its
places that became free meanwhile, and the places whose jobs had ended without having been told yet.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import pytest
from milepost_runner import subject
from milepost_runner.records import Records
from milepost_runner.subject import QueueName
from milepost_runner.worker import Worker

from milepost.nats_server import NatsServer
from tests.runner.stand import Stand, standing

FLOOD = 1_000
WORKERS = 2
PLACES = 4
LENGTH = 0.05
UNDER_WAY = WORKERS
"""Jobs that may start beside those that the bound counts."""


@contextlib.asynccontextmanager
async def workers(stand: Stand) -> AsyncIterator[list[Worker]]:
    async with stand.worker(concurrency=PLACES) as first, stand.worker(concurrency=PLACES) as second:
        yield [first, second]


async def submit_all(stand: Stand, count: int, length: float = LENGTH) -> list[str]:
    """Many at once."""
    return await asyncio.gather(*(stand.submit("w_sleep", length) for _ in range(count)))


async def ended(stand: Stand, count: int) -> None:
    """Return when so many of a tenant's jobs have ended."""
    async with asyncio.timeout(60):
        while len(await starts(stand)) - await stand.waiting() < count:  # noqa: ASYNC110 - NATS tells nobody
            await asyncio.sleep(0.02)


async def starts(*stands: Stand) -> list[tuple[datetime, str]]:
    """When each job of these tenants began that has begun, by the clock that all workers share; and whose it was."""
    found: list[tuple[datetime, str]] = []
    for stand in stands:
        records: Records = stand.jobs.submissions.records
        async for _, record in records.all_written(stand.tenant):
            if record.started_at is not None:
                found.append((record.started_at, stand.tenant))
    return sorted(found)


def before(order: Sequence[tuple[datetime, str]], lone: str, since: datetime) -> int:
    """How many of the others' jobs began after a moment and before the lone tenant's first."""
    first = next(at for at, tenant in order if tenant == lone)
    return sum(since < at < first for at, tenant in order if tenant != lone)


@pytest.mark.parametrize("limit", [100, 5])
async def test_a_flood_delays_anothers_one_job_by_less_than_a_turn(nats_server: NatsServer, limit: int) -> None:
    """A thousand jobs of one tenant wait when another's is submitted: five times, at whatever moment.

    With a limit below the places the flood leaves some free, and nothing of it is ahead.
    """
    async with standing(nats_server, tenant_limit=limit) as flood:
        jobs = await submit_all(flood, FLOOD)
        async with workers(flood):
            await ended(flood, 40)
            counts = []
            for number in range(5):
                lone = flood.of(f"{flood.tenant}-lone{number}")
                job = await lone.submit("w_sleep", 0)
                since = (await lone.ended(job)).queued_at
                counts.append(before(await starts(flood, lone), lone.tenant, since))
            assert await flood.waiting() > WORKERS * PLACES, "the flood was over too soon to show anything"
        assert len(jobs) == FLOOD
        assert max(counts) < WORKERS * PLACES + UNDER_WAY, counts


async def test_tenants_that_all_have_work_have_even_shares(nats_server: NatsServer) -> None:
    """Three with two hundred jobs each, submitted one after the other: of those that start, a third each."""
    async with standing(nats_server) as first:
        tenants = [first, first.of(f"{first.tenant}-b"), first.of(f"{first.tenant}-c")]
        for stand in tenants:
            await submit_all(stand, 200, 0.02)
        async with workers(first) as pair:
            for stand in tenants:
                await ended(stand, 100)
            order = await starts(*tenants)
            shares = Counter(tenant for _, tenant in order[:300])
            # who was found first has all the places for a moment, and eight of them are no whole number of threes
            assert all(80 <= share <= 120 for share in shares.values()), shares
            assert all(worker.counts["lost"] == 0 for worker in pair)


async def test_a_tenants_limit_holds_over_all_workers(nats_server: NatsServer) -> None:
    """Of eight places a tenant whose limit is three takes three, and the queue moves on to its end."""
    most = 0
    async with standing(nats_server, tenant_limit=3) as stand:
        jobs = await submit_all(stand, 60)
        async with workers(stand) as pair:
            while await stand.waiting():
                most = max(most, sum(worker.running for worker in pair))
                await asyncio.sleep(0.005)  # between two looks: nobody tells when a count changes
            for job in jobs:
                assert (await stand.ended(job)).run == 1
            # nothing is thrown to and fro between a queue at its limit and a worker with room
            assert sum(worker._puller.returned for worker in pair) <= WORKERS
        assert most == 3


async def test_questions_to_a_tenant_at_its_limit_do_not_pile_up(nats_server: NatsServer) -> None:
    """The server answers none of them: each has an end of its own. A poll a worker, and what was asked last."""
    most = 0
    async with standing(nats_server, tenant_limit=2) as stand:
        await submit_all(stand, 24, 0.4)
        consumer = subject.consumer(QueueName(stand.tenant, "default"))
        async with workers(stand):
            while await stand.waiting():
                info = await stand.api.request(f"$JS.API.CONSUMER.INFO.{subject.WORK}.{consumer}")
                most = max(most, info["num_waiting"])
                await asyncio.sleep(0.02)  # between two looks at what nats-server counts
        assert most <= 3 * WORKERS


async def test_a_flood_of_one_tenant_has_all_places_when_nobody_else_wants_any(nats_server: NatsServer) -> None:
    """Fairness leaves no place empty."""
    async with standing(nats_server) as flood:
        await submit_all(flood, 200)
        async with workers(flood) as pair:
            full = 0
            while await flood.waiting() > WORKERS * PLACES:
                full = max(full, sum(PLACES - worker.room for worker in pair))
                await asyncio.sleep(0.005)  # between two looks: nobody tells when a count changes
        assert full == WORKERS * PLACES
