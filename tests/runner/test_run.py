"""What tells a run to stop, in whatever order: requests, deafness, the end itself, NATS that dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest
from milepost_reporter import subject
from milepost_runner.errors import HasEnded
from milepost_runner.subject import WORK

from milepost.nats_server import NatsServer
from tests.runner.stand import Held, Stand, read_log, standing
from tests.waiting import eventually_async

EXECUTORS = ["async", "thread", "process"]
CANCEL = b'{"action":"cancel","reason":"enough"}'


async def ask_control(stand: Stand, job: str, request: bytes = CANCEL) -> dict[str, object]:
    """A raw request on the job's `.control`, again until somebody listens there."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(Exception):
                answer = await stand.api.ask(subject.control(stand.tenant, job), request, 2.0)
                told: dict[str, object] = json.loads(answer)
                return told
            await asyncio.sleep(0.01)


async def test_a_job_that_waits_is_cancelled_before_it_starts(nats_server: NatsServer, tmp_path: Path) -> None:
    """A worker that takes it later finds it ended, acknowledges it, and tells nothing a second time."""
    held = Held(tmp_path)
    async with standing(nats_server) as stand:
        job = await stand.submit("w_hold", held.payload)
        assert await stand.cancel(job, "enough") == "cancelled"
        async with stand.worker() as worker:
            await stand.acknowledged()
            assert worker.counts["completed"] == worker.counts["cancelled"] == 0
        log = await stand.told(job)
        assert (log.course, log.late) == (["queued 1", "cancelled 1"], [])
        assert held.lines == []
        with pytest.raises(HasEnded):
            await stand.cancel(job)


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_handler_that_listens_is_told_and_stops(nats_server: NatsServer, executor: str, tmp_path: Path) -> None:
    held = Held(tmp_path)
    async with standing(nats_server) as stand, stand.worker(executor, cancel_wait=20) as worker:
        job = await stand.submit("w_hold", held.payload)
        await held.begun()
        assert await stand.cancel(job, "enough") == "cancelling"
        assert (await stand.ended(job)).status == "cancelled"
        assert held.lines == ["run 1", "told enough"]
        log = await stand.told(job)
        assert log.course[-3:] == ["running 1", "cancelling 1", "cancelled 1"]
        assert log.state.snapshot()["message"] == "enough"
        await stand.acknowledged()
        await eventually_async(lambda: worker.counts == {"cancelled": 1})


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_handler_that_does_not_listen_is_ended_or_written_off(
    nats_server: NatsServer, executor: str, tmp_path: Path
) -> None:
    """What it says and returns afterwards counts for nothing, and its place is another's."""
    held = Held(tmp_path)
    async with standing(nats_server) as stand, stand.worker(executor, concurrency=1, cancel_wait=0.1) as worker:
        job = await stand.submit("w_deaf", held.payload)
        await held.begun()
        await stand.cancel(job)
        assert (await stand.ended(job)).status == "cancelled"
        after = await stand.submit("w_echo", 1)
        assert (await stand.ended(after)).status == "completed"
        held.release()
        if executor == "process":
            assert (worker.counts["written_off"], held.lines) == (0, ["run 1"])
        else:
            await held.heard("over")
            assert worker.counts["written_off"] == 1
        log = await stand.told(job)
        assert log.course[-2:] == ["cancelling 1", "cancelled 1"]
        assert (log.late, log.of_kind("log"), log.of_kind("result")) == ([], [], [])


async def test_a_request_by_hand_is_answered_and_does_the_same(nats_server: NatsServer, tmp_path: Path) -> None:
    """Any program of the tenant's may ask; the store knows of it, too."""
    held = Held(tmp_path)
    async with standing(nats_server) as stand, stand.worker() as worker:
        job = await stand.submit("w_hold", held.payload)
        await held.begun()
        assert await ask_control(stand, job, b"[]") == {
            "ok": False,
            "message": 'the only request is {"action":"cancel"}',
        }
        assert await ask_control(stand, job) == {"ok": True}
        assert (await stand.ended(job)).status == "cancelled"
        await held.heard("told enough")
        assert (await stand.told(job)).course[-2:] == ["cancelling 1", "cancelled 1"]
        assert worker._control.refused == 1


async def test_a_request_is_not_answered_where_nats_would_obey(nats_server: NatsServer, tmp_path: Path) -> None:
    """Whoever asks names the reply: a worker that may do more than the tenant does not do it for the tenant."""
    held = Held(tmp_path)
    async with standing(nats_server) as stand, stand.worker() as worker:
        job = await stand.submit("w_hold", held.payload)
        await held.begun()
        await ask_control(stand, job, b"[]")
        victim = subject.progress(f"{stand.tenant}-other", "1")
        for reply in (f"$JS.API.STREAM.PURGE.{WORK}", victim):
            stand.api.send(subject.control(stand.tenant, job), b'{"action":"no"}', reply)
        await eventually_async(lambda: worker._control.refused == 3)
        await worker._api.round_trip()
        assert await stand.waiting() == 1
        assert await read_log(stand.api, victim) == []
        held.release()
        assert (await stand.ended(job)).status == "completed"


async def test_a_job_of_a_dead_worker_that_was_cancelled_comes_out_so(nats_server: NatsServer, tmp_path: Path) -> None:
    """Whoever is given it next ends it without running it."""
    held = Held(tmp_path)
    async with standing(nats_server, claim=1.0) as stand:
        job = await stand.submit("w_hold", held.payload)
        dying = await begun_and_gone(stand, held)
        assert await stand.cancel(job, "enough") == "cancelling"
        async with stand.worker(claim=1.0):
            ended = await stand.ended(job)
            assert (ended.status, ended.run) == ("cancelled", 1)
            log = await stand.told(job)
            assert log.ends == {1: "cancelled"}
            await stand.acknowledged()
        assert held.lines == ["run 1"]
        await dying.aclose()


async def begun_and_gone(stand: Stand, held: Held) -> contextlib.AsyncExitStack:
    """A worker that has begun a job and is cut off from NATS for good; closing it ends what is left of it."""
    stack = contextlib.AsyncExitStack()
    worker = await stack.enter_async_context(stand.worker(claim=1.0, drain=0, cancel_wait=0))
    await held.begun()
    await asyncio.wait_for(worker._api.close(), 5)
    return stack


@pytest.mark.parametrize("after", [0.0, 0.002, 0.005, 0.01, 0.02])
async def test_a_cancellation_that_races_the_end_has_one_of_both(
    nats_server: NatsServer, after: float, tmp_path: Path
) -> None:
    """Store and log agree on which it was, and there is one end. Twenty jobs at a time."""
    async with standing(nats_server) as stand, stand.worker(concurrency=20):
        jobs = [await stand.submit("w_sleep", 0.03) for _ in range(20)]
        await asyncio.sleep(after)  # how the race begins, no wait for anything
        answers = await asyncio.gather(*(stand.cancel(job) for job in jobs), return_exceptions=True)
        for job, answer in zip(jobs, answers, strict=True):
            ended = await stand.ended(job)
            log = await stand.told(job)
            assert log.ends == {1: ended.status}
            assert log.late == []
            if isinstance(answer, HasEnded):
                assert ended.status == "completed"
            else:
                assert answer in {"cancelled", "cancelling"}
        await stand.acknowledged()


async def test_one_that_completes_although_it_was_told_to_stop_has_completed(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Its result counts, and its end says nothing of the cancellation."""
    held = Held(tmp_path)
    async with standing(nats_server) as stand, stand.worker(cancel_wait=20):
        job = await stand.submit("w_finish_anyway", held.payload)
        await held.begun()
        await stand.cancel(job, "enough")
        ended = await stand.ended(job)
        assert (ended.status, ended.result) == ("completed", "done all the same")
        log = await stand.told(job)
        assert log.course[-2:] == ["cancelling 1", "completed 1"]
        assert "message" not in log.entries[-1].raw


async def test_a_job_that_comes_again_while_it_runs_here_goes_on(nats_server: NatsServer, tmp_path: Path) -> None:
    """A worker that was held up, or whose delivery NATS forgot, is given its own job again: that is no death."""
    held = Held(tmp_path)
    async with standing(nats_server, claim=1.0) as stand, stand.worker(claim=1.0, cancel_wait=0.1) as worker:
        job = await stand.submit("w_hold", held.payload)
        await held.begun()
        (run,) = worker._running
        first = run._claim._reply
        beat = run.beat
        run.beat = lambda: None  # type: ignore[method-assign]
        await eventually_async(lambda: run._claim._reply != first)
        run.beat = beat  # type: ignore[method-assign]
        held.release()
        ended = await stand.ended(job)
        assert (ended.status, ended.run) == ("completed", 1)
        await stand.acknowledged()
        assert held.lines == ["run 1"]
        assert (await stand.told(job)).ends == {1: "completed"}
        await eventually_async(lambda: worker.room == worker.settings.concurrency)


async def test_jobs_survive_nats_being_killed_in_their_middle(nats_server: NatsServer, tmp_path: Path) -> None:
    """Ten that run and thirty that come and go, three kills: each ends once, and no run is lost by the outage."""
    held = [Held(tmp_path, f"job{number}") for number in range(10)]
    async with standing(nats_server, claim=20.0) as stand, stand.worker(concurrency=16, claim=20.0) as worker:
        jobs = [await stand.submit("w_hold", one.payload) for one in held]
        for one in held:
            await one.begun()
        for number in range(3):
            short = [await stand.submit("w_sleep", 0.02 * n) for n in range(10)]
            nats_server.kill()
            held[number].release()
            await eventually_async(lambda: not worker.up)
            nats_server.start()
            await eventually_async(lambda: stand.api.up and worker.up and stand.jobs.up)
            jobs += short
        for one in held:
            one.release()
        for job in jobs:
            ended = await stand.ended(job)
            log = await stand.told(job)
            assert (ended.status, log.ends[ended.run], log.late) == ("completed", "completed", [])
            assert len(log.ends) == 1
        assert [one.lines for one in held] == [["run 1"]] * 10
