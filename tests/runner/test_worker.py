"""A worker in this process, with each executor: what becomes of jobs in store, log and queue."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from milepost_runner.errors import UnknownHandler
from milepost_runner.jobs import Jobs
from milepost_runner.settings import WorkerSettings
from milepost_runner.subject import WORK, QueueName, work
from milepost_runner.subject import consumer as consumer_name
from milepost_runner.worker import Worker

from milepost.nats_server import NatsServer
from tests.runner.handled import impatient
from tests.runner.stand import Held, standing, worker_settings
from tests.runner.work_handlers import registry_of
from tests.waiting import eventually_async

EXECUTORS = ["async", "thread", "process"]


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_job_completes_in_the_store_and_with_one_end_in_the_log(nats_server: NatsServer, executor: str) -> None:
    async with standing(nats_server) as stand:
        job = await stand.submit("w_steps", {"x": 1})
        async with stand.worker(executor) as worker:
            ended = await stand.ended(job)
            assert (ended.status, ended.run, ended.result, ended.error) == ("completed", 1, {"rows": 3}, None)
            log = await stand.told(job)
            assert log.course == ["queued 1", "running 1", "completed 1"]
            kinds = [entry.event.kind for entry in log.entries]
            assert (kinds[:2], kinds[-2:]) == (["job", "job"], ["result", "job"])
            assert {"plan", "progress", "log", "artifact"} <= set(kinds)
            assert log.late == []
            assert log.state.snapshot()["result"] == {"rows": 3}
            (load,) = log.state.snapshot()["nodes"]
            assert (load["status"], load["rowCount"]) == ("completed", 3)
            await stand.acknowledged()
            await eventually_async(lambda: worker.counts == {"completed": 1})


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_run_that_goes_on_is_seen_in_the_store_and_in_the_log(
    nats_server: NatsServer, executor: str, tmp_path: Path
) -> None:
    held = Held(tmp_path)
    async with standing(nats_server) as stand, stand.worker(executor):
        job = await stand.submit("w_hold", held.payload)
        async for now in stand.store.watch(job):
            if now.message == "holding":
                break
        assert (now.status, now.fraction, now.run) == ("running", 0.25, 1)
        assert await stand.waiting() == 1
        held.release()
        assert (await stand.ended(job)).result == "went on"
        assert (await stand.told(job)).state.summary()["message"] == "holding"


async def test_a_nats_that_has_lost_everything_is_told_of_the_handlers_again(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Worker(nats_server.url, worker_settings(), registry=registry_of()) as worker:
        await worker.ready()
        nats_server.stop()
        with NatsServer(port=nats_server.port, store_dir=tmp_path) as fresh:
            async with Jobs(fresh.url, impatient()) as jobs, asyncio.timeout(30):
                await jobs.ready()
                while True:
                    try:
                        job = (await jobs.submissions.submit("acme", "w_steps", {"x": 1})).job
                        break
                    except UnknownHandler:
                        await asyncio.sleep(0.01)  # NATS tells nobody
                assert (await jobs.store("acme").wait(job)).status == "completed"


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_job_longer_than_a_claim_keeps_it(nats_server: NatsServer, executor: str) -> None:
    """By heartbeats: it is delivered once, though another worker waits for it to come again."""
    async with (
        standing(nats_server, claim=1.0) as stand,
        stand.worker(executor, claim=1.0),
        stand.worker(executor, claim=1.0),
    ):
        job = await stand.submit("w_sleep", 3.0)
        ended = await stand.ended(job)
        assert (ended.status, ended.run) == ("completed", 1)
        consumer = consumer_name(QueueName(stand.tenant, "default"))
        info = await stand.api.request(f"$JS.API.CONSUMER.INFO.{WORK}.{consumer}")
        assert info["delivered"]["consumer_seq"] == 1


async def test_a_result_of_nothing_is_no_event(nats_server: NatsServer) -> None:
    """A handler that returns None has completed, and tells no result."""
    async with standing(nats_server) as stand, stand.worker():
        job = await stand.submit("w_none")
        log = await stand.told(job)
        assert log.of_kind("result") == []
        assert (await stand.ended(job)).status == "completed"


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_handler_that_raises_has_failed_with_its_words(nats_server: NatsServer, executor: str) -> None:
    async with standing(nats_server) as stand, stand.worker(executor) as worker:
        job = await stand.submit("w_fail", "no such table")
        ended = await stand.ended(job)
        assert ended.status == "failed"
        assert ended.error is not None
        assert ended.error["message"] == "ValueError: no such table"
        log = await stand.told(job)
        assert log.ends == {1: "failed"}
        assert log.state.snapshot()["error"]["message"] == "ValueError: no such table"
        await stand.acknowledged()
        await eventually_async(lambda: worker.counts == {"failed": 1})


async def test_what_fails_is_tried_again_and_every_run_has_its_end(nats_server: NatsServer, tmp_path: Path) -> None:
    """Run 1 and 2 fail and say that there will be another; the log's readers see them open again, and run 3 end."""
    held = Held(tmp_path)
    async with standing(nats_server) as stand:
        job = await stand.submit("w_flaky", {"marks": str(held.marks), "fails": 2})
        async with stand.worker() as worker:
            ended = await stand.ended(job)
            assert (ended.status, ended.run, ended.result) == ("completed", 3, 3)
            log = await stand.told(job)
            assert log.course == [
                "queued 1", "running 1", "failed 1+",
                "queued 2", "running 2", "failed 2+",
                "queued 3", "running 3", "completed 3",
            ]  # fmt: skip
            assert log.ends == {1: "failed", 2: "failed", 3: "completed"}
            assert held.lines == ["run 1", "run 2", "run 3"]
            await stand.acknowledged()
            await eventually_async(lambda: worker.counts == {"retried": 2, "completed": 1})


async def test_what_fails_too_often_has_failed(nats_server: NatsServer, tmp_path: Path) -> None:
    """After the last retry the end has no promise of another run."""
    held = Held(tmp_path)
    async with standing(nats_server) as stand, stand.worker():
        job = await stand.submit("w_flaky", {"marks": str(held.marks), "fails": 9})
        ended = await stand.ended(job)
        assert (ended.status, ended.run) == ("failed", 3)
        log = await stand.told(job)
        assert log.ends == {1: "failed", 2: "failed", 3: "failed"}
        assert log.course[-1] == "failed 3"
        await stand.acknowledged()


async def test_a_job_that_waits_for_its_next_try_is_cancelled_at_once(nats_server: NatsServer, tmp_path: Path) -> None:
    """Its record ends while nobody runs it, and nobody runs it any more."""
    held = Held(tmp_path)
    async with standing(nats_server) as stand, stand.worker():
        job = await stand.submit("w_slow_retry", {"marks": str(held.marks)})
        await stand.told(job, "failed")
        async for now in stand.store.watch(job):
            if now.status == "queued" and now.run == 2:
                break
        assert await stand.cancel(job, "enough") == "cancelled"
        log = await stand.told(job)
        assert log.ends == {1: "failed", 2: "cancelled"}
        assert log.state.snapshot()["message"] == "enough"
        assert held.lines == ["run 1"]


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_run_that_takes_too_long_has_failed(nats_server: NatsServer, executor: str, tmp_path: Path) -> None:
    held = Held(tmp_path)
    async with standing(nats_server) as stand, stand.worker(executor):
        job = await stand.submit("w_dawdle", held.payload)
        ended = await stand.ended(job)
        assert (ended.status, ended.error) == ("failed", {"message": "it took longer than 0.2 s"})
        log = await stand.told(job)
        assert [told.partition(" ")[0] for told in log.course if told != "queued 1"] == ["running", "failed"]


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_run_that_takes_too_long_and_does_not_listen_has_failed_too(
    nats_server: NatsServer, executor: str, tmp_path: Path
) -> None:
    """It is written off, or killed; what it still says is not stored, and its place is free."""
    held = Held(tmp_path)
    async with standing(nats_server) as stand, stand.worker(executor, concurrency=1) as worker:
        job = await stand.submit("w_dawdle_deaf", held.payload)
        ended = await stand.ended(job)
        assert (ended.status, ended.error) == ("failed", {"message": "it took longer than 0.2 s"})
        assert worker.counts["written_off"] == (executor != "process")
        after = await stand.submit("w_echo", 1)
        assert (await stand.ended(after)).status == "completed"
        held.release()
        if executor != "process":
            await held.heard("over")
        log = await stand.told(job)
        assert log.of_kind("log") == []
        assert log.late == []


async def test_a_payload_that_does_not_fit_when_it_is_run_has_failed_for_good(nats_server: NatsServer) -> None:
    """The worker's model may be a newer one than that which took the job: no retry makes it fit."""
    async with standing(nats_server) as stand:
        await stand.submit("w_echo")  # makes the queue
        message = {"name": "w_strict", "payload": {"rows": "many"}, "queuedAt": datetime.now(UTC).isoformat()}
        await stand.api.publish(work(stand.tenant, "default", "unfit"), json.dumps(message).encode())
        async with stand.worker():
            ended = await stand.ended("unfit")
            assert (ended.status, ended.run) == ("failed", 1)
            assert ended.error is not None
            assert "rows" in ended.error["message"]
            assert (await stand.told("unfit")).ends == {1: "failed"}


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_result_that_is_too_large_has_failed_in_words(nats_server: NatsServer, executor: str) -> None:
    async with standing(nats_server) as stand, stand.worker(executor, result_max_bytes=1_000):
        fits, too_large = await stand.submit("w_large", 998), await stand.submit("w_large", 999)
        assert (await stand.ended(fits)).result == "x" * 998
        ended = await stand.ended(too_large)
        assert ended.error == {"message": "the result has 1,001 bytes, more than 1,000"}
        log = await stand.told(too_large)
        assert (log.ends, log.of_kind("result")) == ({1: "failed"}, [])


async def test_the_largest_result_is_stored_and_told(nats_server: NatsServer) -> None:
    """Log and store have room for what the settings allow at most, with the largest payload beside it."""
    async with standing(nats_server) as stand, stand.worker():
        payload = "x" * 49_000
        job = await stand.submit("w_echo", payload)
        assert (await stand.ended(job)).result == payload
        log = await stand.told(job)
        assert [told["data"] for told in log.of_kind("result")] == [payload]


async def test_a_job_without_its_handler_is_left_for_a_worker_that_has_it(nats_server: NatsServer) -> None:
    """It comes back to the queue, and is not counted as a run."""
    async with standing(nats_server) as stand:
        job = await stand.submit("w_echo", 1)
        async with stand.worker(registry=registry_of("w_none")) as other:
            await eventually_async(lambda: other.counts["unknown"])
        async with stand.worker():
            ended = await stand.ended(job)
            assert (ended.status, ended.run) == ("completed", 1)


async def test_what_is_no_job_is_thrown_away_and_counted(nats_server: NatsServer) -> None:
    """Anybody of the tenant may write into its queue: that neither stops the worker nor comes again."""
    async with standing(nats_server) as stand:
        await stand.submit("w_echo", 1)
        for number, garbage in enumerate(
            [b"", b"{}", b"[1]", b"\xff\xfe", b'{"name":1}', b'{"name":"x","queuedAt":"?"}']
        ):
            await stand.api.publish(work(stand.tenant, "default", f"bad{number}"), garbage)
        async with stand.worker() as worker:
            await stand.acknowledged()
            await eventually_async(lambda: worker.counts == {"completed": 1, "refused": 6})


async def test_without_a_log_jobs_complete_in_the_store_without_delay(nats_server: NatsServer) -> None:
    """No hub ever ran: nobody is to be told, and nothing waits for that. A hundred jobs, one after the other."""
    async with standing(nats_server, log=False) as stand, stand.worker(concurrency=1) as worker:
        jobs = [await stand.submit("w_steps") for _ in range(100)]
        async with asyncio.timeout(20):
            for job in jobs:
                assert (await stand.ended(job)).status == "completed"
        await stand.acknowledged()
        await eventually_async(lambda: worker.counts == {"completed": 100})


async def test_without_a_log_what_fails_is_tried_again_and_what_is_cancelled_stops(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    flaky, held = Held(tmp_path, "flaky"), Held(tmp_path, "held")
    async with standing(nats_server, log=False) as stand, stand.worker():
        again = await stand.submit("w_flaky", {"marks": str(flaky.marks), "fails": 2})
        cancelled = await stand.submit("w_hold", held.payload)
        assert (await stand.ended(again)).status == "completed"
        await held.begun()
        await stand.cancel(cancelled)
        assert (await stand.ended(cancelled)).status == "cancelled"
        await stand.acknowledged()


async def test_a_log_that_is_made_later_has_what_comes_later(nats_server: NatsServer, tmp_path: Path) -> None:
    """A worker that began without a log tells it all the same when there is one."""
    async with standing(nats_server, log=False) as stand, stand.worker():
        before = await stand.submit("w_echo", 1)
        await stand.ended(before)
        async with standing(nats_server) as later:
            job = await later.submit("w_echo", 2)
            assert (await later.told(job)).ends == {1: "completed"}


async def test_a_new_tenants_first_job_is_found_by_a_worker_that_runs(nats_server: NatsServer) -> None:
    """Nobody tells the worker of tenants; it hears of the new queue, long before it would look."""
    async with standing(nats_server) as stand, stand.worker(look=600) as worker:
        for number in range(5):
            other = stand.of(f"{stand.tenant}-{number}")
            job = await other.submit("w_echo", number)
            assert (await other.ended(job)).result == number
        await eventually_async(lambda: worker.counts == {"completed": 5})


async def test_a_worker_of_one_tenant_takes_no_others_jobs(nats_server: NatsServer) -> None:
    async with standing(nats_server) as stand:
        other = stand.of(f"{stand.tenant}-other")
        mine, others = await stand.submit("w_echo", 1), await other.submit("w_echo", 2)
        settings = WorkerSettings(executor="async", claim=2)
        async with Worker(nats_server.url, settings, registry=stand.registry, tenant=stand.tenant):
            assert (await stand.ended(mine)).status == "completed"
            assert (await other.store.get(others)).status == "queued"
        async with stand.worker():
            assert (await other.ended(others)).status == "completed"


def begun(helds: list[Held], count: int) -> bool:
    return sum(bool(held.lines) for held in helds) == count


def has_room(worker: Worker, room: int) -> bool:
    return worker.room == room


async def test_more_jobs_than_places_all_complete_and_never_more_at_once(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Jobs wait for their places; a place is free again with each end."""
    helds = [Held(tmp_path, f"job{number}") for number in range(6)]
    async with standing(nats_server) as stand, stand.worker(concurrency=2) as worker:
        jobs = [await stand.submit("w_hold", held.payload) for held in helds]
        for done in range(6):
            running = min(done + 2, 6)
            await eventually_async(partial(begun, helds, running))
            await eventually_async(partial(has_room, worker, done + 2 - running))
            next(held for held in helds if held.lines and not held.go.exists()).release()
        for job in jobs:
            assert (await stand.ended(job)).status == "completed"
        await eventually_async(lambda: worker.room == 2 and worker.running == 0)


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_what_a_worker_leaves_in_this_process(nats_server: NatsServer, executor: str) -> None:
    """No task outlives it."""
    before = asyncio.all_tasks()
    async with standing(nats_server) as stand, stand.worker(executor):
        job = await stand.submit("w_steps")
        await stand.ended(job)
    await eventually_async(lambda: not asyncio.all_tasks() - before)


def test_a_handler_that_is_not_async_is_refused_by_the_async_executor() -> None:
    """Before anything is connected."""
    registry = registry_of("w_echo")

    @registry.job("w_blocks")
    def blocks(payload: object, progress: object, cancel: object) -> None:
        """Not async."""

    with pytest.raises(ValueError, match="w_blocks is not async"):
        Worker("nats://127.0.0.1:1", WorkerSettings(executor="async"), registry=registry)
