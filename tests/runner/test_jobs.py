"""`Jobs` is there before NATS is, says its trouble meanwhile, and has the streams there whenever NATS comes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats
import pytest
from milepost_runner.errors import QueueUnavailable
from milepost_runner.jobs import Jobs
from milepost_runner.subject import JOBS, WORK, bucket_stream

from milepost.nats_server import NatsServer
from tests.bridge.live_api import live_api
from tests.runner.handled import HANDLERS, impatient, jobs_on, own_tenant
from tests.waiting import eventually_async


async def test_it_comes_up_when_nats_does(tmp_path: Path) -> None:
    """Until then nothing is taken, and it is said why."""
    with NatsServer(store_dir=tmp_path) as server:
        url = server.url
        server.stop()
        async with Jobs(url, impatient(), registry=HANDLERS) as jobs:
            assert not jobs.up
            await eventually_async(lambda: jobs.trouble == "NATS is out of reach")
            with pytest.raises(QueueUnavailable):
                await jobs.submissions.submit(own_tenant(), "anything")
            server.start()
            await asyncio.wait_for(jobs.ready(), 20)
            assert (jobs.up, jobs.trouble) == (True, None)
            assert await jobs.submissions.submit(own_tenant(), "anything")


async def test_it_is_in_trouble_while_nats_is_away(nats_server: NatsServer) -> None:
    async with jobs_on(nats_server.url) as jobs:
        nats_server.kill()
        await eventually_async(lambda: jobs.trouble == "NATS is out of reach")
        nats_server.start()
        await eventually_async(lambda: jobs.trouble is None)
        assert await jobs.submissions.submit(own_tenant(), "anything")


async def test_a_store_that_cannot_serve_is_told_in_words_until_it_can(nats_server: NatsServer) -> None:
    """Somebody removes the bucket that is in the way: nothing has to be started again."""
    client = await nats.connect(nats_server.url)
    await client.jetstream().create_key_value(bucket=JOBS)
    async with Jobs(nats_server.url, impatient(), registry=HANDLERS) as jobs:
        await eventually_async(lambda: jobs.trouble and "allow_rollup_hdrs" in jobs.trouble)
        assert jobs.up
        await client.jetstream().delete_stream(bucket_stream(JOBS))
        await asyncio.wait_for(jobs.ready(), 20)
        assert jobs.trouble is None
    await client.close()


async def test_who_listens_to_a_job_hears_nothing_of_others(shared_nats: NatsServer) -> None:
    """Once at the beginning, for what may have been missed by then; and nothing any more after having left."""
    tenant, heard = own_tenant(), asyncio.Event()
    async with jobs_on(shared_nats.url) as jobs, live_api(shared_nats.url) as api:
        job = (await jobs.submissions.submit(tenant, "anything")).job
        unlisten = jobs._listen(tenant, job, lambda _: heard.set())
        await asyncio.wait_for(heard.wait(), 20)
        heard.clear()
        await api.publish(f"$KV.{JOBS}.{tenant}.another", b"{}")
        await jobs.store(tenant).get(job)
        assert not heard.is_set()
        await api.publish(f"$KV.{JOBS}.{tenant}.{job}", b"{}")
        await asyncio.wait_for(heard.wait(), 20)
        unlisten()
        unlisten()
        heard.clear()
        await api.publish(f"$KV.{JOBS}.{tenant}.{job}", b"{}")
        await jobs.store(tenant).get(job)
        assert not heard.is_set()


async def test_leaving_ends_everything_that_was_begun(nats_server: NatsServer) -> None:
    """Also while NATS hangs; nothing of it runs on."""
    before = asyncio.all_tasks()
    jobs = Jobs(nats_server.url, impatient(), registry=HANDLERS)
    async with jobs:
        await asyncio.wait_for(jobs.ready(), 20)
        nats_server.pause()
    nats_server.resume()
    assert not jobs.up
    assert asyncio.all_tasks() <= before
    async with live_api(nats_server.url) as api:
        assert (await api.request(f"$JS.API.STREAM.INFO.{WORK}"))["state"]["messages"] == 0
