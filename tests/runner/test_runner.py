"""`JobRunner`, as a program of anybody's uses it."""

from __future__ import annotations

import asyncio
import socket

import pytest
from milepost_runner import runner as module
from milepost_runner.errors import BadPayload, HasEnded, NoSuchJob, QueueUnavailable
from milepost_runner.runner import JobRunner
from milepost_runner.settings import WorkerSettings
from milepost_runner.worker import Worker

from milepost.nats_server import NatsServer
from tests.runner.handled import HANDLERS, impatient, looking_at, own_tenant, runner_on


async def test_a_job_is_submitted_watched_and_submitted_again(shared_nats: NatsServer) -> None:
    """Its result comes back; a refusal has its reasons."""
    tenant = own_tenant()
    settings = WorkerSettings(drain=1)
    async with (
        looking_at(shared_nats.url),
        runner_on(shared_nats.url, tenant) as runner,
        Worker(shared_nats.url, settings, registry=HANDLERS),
    ):
        job = await runner.submit("build", {"rows": 3}, key="k")
        assert await runner.submit("build", {"rows": 3}, key="k") == job
        done = await runner.store.wait(job)
        assert (done.status, done.result) == ("completed", 3)
        again = await runner.submit_again(job)
        assert again != job
        assert (await runner.store.wait(again)).result == 3
        assert {known.id for known in await runner.store.list()} == {job, again}
        with pytest.raises(BadPayload) as refused:
            await runner.submit("build", {"rows": 0})
        assert refused.value.reasons
        with pytest.raises(HasEnded):
            await runner.cancel(job)


async def test_a_job_is_cancelled_while_it_waits_and_while_it_runs(shared_nats: NatsServer) -> None:
    tenant = own_tenant()
    async with looking_at(shared_nats.url), runner_on(shared_nats.url, tenant) as runner:
        job = await runner.submit("waits")
        assert await runner.cancel(job) == "cancelled"
        async with Worker(shared_nats.url, WorkerSettings(drain=1), registry=HANDLERS):
            job = await runner.submit("waits")
            async for now in runner.store.watch(job):
                if now.status == "running":
                    assert await runner.cancel(job, "enough") == "cancelling"
            assert now.status == "cancelled"
        with pytest.raises(NoSuchJob):
            await runner.cancel("nobody")


async def test_without_nats_it_says_so_in_bounded_time() -> None:
    """And leaves nothing running behind."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        before = asyncio.all_tasks()
        async with asyncio.timeout(3 * module._PATIENCE):
            with pytest.raises(QueueUnavailable, match="NATS"):
                await JobRunner(url, "acme", settings=impatient()).__aenter__()
        assert asyncio.all_tasks() <= before


@pytest.mark.parametrize("tenant", ["", "a.b", "*", "a b"])
def test_a_tenant_that_cannot_be_is_refused_at_once(tenant: str) -> None:
    with pytest.raises(ValueError, match="tenant must be"):
        JobRunner("nats://127.0.0.1:1", tenant)
