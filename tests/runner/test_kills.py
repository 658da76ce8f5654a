"""Workers that die while they work: every job ends exactly once, and nobody who watches is told otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from milepost_bridge import Bridge, BridgeSettings
from milepost_bridge.watchdog import Watchdog
from milepost_hub import Hub, HubSettings, KeySource, Verifier, issue
from milepost_reporter.jetstream.api import Stored
from milepost_reporter.subject import parse
from websockets.asyncio.client import connect

from milepost.nats_server import NatsServer
from tests.runner.stand import IMPATIENT, Held, JobLog, Stand, read_log, standing
from tests.runner.worker_process import WorkerProcess, processes
from tests.waiting import eventually_async

SECRET = "a secret of the tests, long enough for HS256"
JOBS = 500
KILLS = 8
CLAIM = 1.0


@contextlib.asynccontextmanager
async def hub_and_watchdog(server: NatsServer) -> AsyncIterator[tuple[Hub, Watchdog]]:
    """What `milepost serve` runs, with leases so short that a job wrongly watched would be lost in no time."""
    settings = BridgeSettings.model_validate({**IMPATIENT, "linger": 0.1, "lease_min": 0.1, "log_look": 0.1})
    async with (
        KeySource(secrets=[SECRET]) as keys,
        Hub(HubSettings(port=0, drain_seconds=0), Verifier(keys)) as hub,
        Bridge(server.url, hub, settings=settings) as bridge,
        Watchdog(server.url, settings) as watchdog,
    ):
        await eventually_async(lambda: bridge.up and watchdog.watching)
        yield hub, watchdog


async def told_from_the_start(hub: Hub, tenant: str, job: str) -> list[dict[str, Any]]:
    """The job's own events as a cursor reader has them, from the first to the last end."""
    payloads = []
    async with connect(f"ws://127.0.0.1:{hub.port}/ws?token={issue(SECRET, tenant=tenant)}") as client:
        await client.send(json.dumps({"action": "subscribe", "jobId": job, "after": "start"}))
        async with asyncio.timeout(30):
            async for text in client:
                message = json.loads(text)
                payload = message.get("payload", {})
                if payload.get("kind") == "job":
                    payloads.append(payload)
                    if payload["status"] in {"completed", "failed", "cancelled"} and not payload.get("willRetry"):
                        break
    return payloads


async def all_logs(stand: Stand) -> dict[str, JobLog]:
    """Every job's whole log."""
    stored: dict[str, list[Stored]] = defaultdict(list)
    for message in await read_log(stand.api, f"tenant.{stand.tenant}.job.*.>"):
        place = parse(message.subject)
        assert place is not None
        stored[place.job].append(message)
    return {job: JobLog(job, messages) for job, messages in stored.items()}


async def kill_at_random(workers: list[WorkerProcess], chance: random.Random) -> None:
    """SIGKILL one after the other, and start it again."""
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.05, 0.3))  # when it dies is chance's
        worker = chance.choice(workers)
        await worker.kill()
        await worker.start()


async def test_500_jobs_while_workers_are_killed_all_end_once(nats_server: NatsServer) -> None:
    """Three workers die all the time: no job is lost, none ends twice, store and log agree, and none is "lost"."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - with it a failure can be had again
    chance = random.Random(seed)  # noqa: S311 - no secret
    settings = {"executor": "async", "claim": CLAIM, "concurrency": 8}
    async with (
        standing(nats_server, claim=CLAIM) as stand,
        hub_and_watchdog(nats_server) as (_, watchdog),
        processes(nats_server.url, 3, **settings) as workers,
    ):
        killing = asyncio.create_task(kill_at_random(workers, chance))
        jobs = []
        for _ in range(JOBS):
            jobs.append(await stand.submit("w_patient_sleep", chance.uniform(0.01, 0.06)))
            await asyncio.sleep(0.01)  # the jobs come as time goes by, not as a heap
        await killing
        ended = {job: await stand.ended(job) for job in jobs}
        await stand.acknowledged()
        logs = await all_logs(stand)
        assert set(logs) == set(jobs)
        wrong = {}
        for job, now in ended.items():
            log = logs[job]
            if (now.status, log.ends, log.final) != ("completed", {now.run: "completed"}, True):
                wrong[job] = (now.status, now.run, log.course)
        assert not wrong
        assert Counter(now.run > 1 for now in ended.values())[True] >= 1
        assert watchdog.counts["lost"] == 0


async def test_one_whose_worker_is_killed_is_seen_to_run_twice_and_to_complete(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """For whoever reads from the start: running (1), running (2), completed; and no "lost" in between."""
    held = Held(tmp_path)
    async with (
        standing(nats_server, claim=CLAIM) as stand,
        hub_and_watchdog(nats_server) as (hub, watchdog),
        processes(nats_server.url, 1, executor="async", claim=CLAIM) as (worker,),
    ):
        job = await stand.submit("w_hold", held.payload)
        await held.begun()
        reading = asyncio.create_task(told_from_the_start(hub, stand.tenant, job))
        await stand.says(job, "running 1")
        await worker.kill()
        await worker.start()
        await held.begun(2)
        held.release()
        told = [f"{event['status']} {event['run']}" for event in await reading if event["status"] != "queued"]
        assert told == ["running 1", "running 2", "completed 2"]
        assert (await stand.ended(job)).run == 2
        assert watchdog.counts["lost"] == 0


async def test_a_job_that_kills_its_workers_is_given_up(nats_server: NatsServer, tmp_path: Path) -> None:
    """After the deaths that its handler bears it has failed, with one end that says so."""
    held = Held(tmp_path)
    async with (
        standing(nats_server, claim=CLAIM) as stand,
        processes(nats_server.url, 1, executor="async", claim=CLAIM) as (worker,),
    ):
        job = await stand.submit("w_hold", held.payload)
        for times in (1, 2, 3):
            await held.begun(times)
            await worker.kill()
            await worker.start()
        ended = await stand.ended(job)
        assert (ended.status, ended.error) == ("failed", {"message": "its workers died, 3 of them"})
        log = await stand.told(job)
        assert list(log.ends.values()) == ["failed"]
        assert log.state.snapshot()["error"]["message"] == "its workers died, 3 of them"
        await stand.acknowledged()


async def test_a_worker_that_was_frozen_changes_nothing_when_it_is_back(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Its job has run elsewhere meanwhile: it acknowledges nothing, ends nothing, and goes on with other jobs."""
    held, others = Held(tmp_path), Held(tmp_path, "others")
    async with (
        standing(nats_server, claim=CLAIM) as stand,
        processes(nats_server.url, 1, executor="async", claim=CLAIM) as (frozen,),
    ):
        job = await stand.submit("w_hold", held.payload)
        await held.begun()
        await stand.says(job, "running 1")
        frozen.send(signal.SIGSTOP)
        async with stand.worker(claim=CLAIM) as worker:
            await held.begun(2)
            frozen.send(signal.SIGCONT)
            await held.heard(f"told job {job} is run by {worker.name} now")
            other = await stand.submit("w_hold", others.payload)
            held.release()
            others.release()
            ended = await stand.ended(job)
            assert (ended.status, ended.run, ended.result) == ("completed", 2, "went on")
            assert (await stand.ended(other)).status == "completed"
            assert await frozen.stop() == 0
            log = await stand.told(job)
            assert log.ends == {2: "completed"}
            assert [told for told in log.course if not told.startswith("queued")] == [
                "running 1", "running 2", "completed 2",
            ]  # fmt: skip
            assert not any(entry.event.is_terminal for entry in log.late)
            await stand.acknowledged()


async def test_a_worker_that_ends_by_sigterm_gives_its_jobs_back(nats_server: NatsServer, tmp_path: Path) -> None:
    """Short ones end, the long one runs again at once elsewhere, and no death is counted."""
    long, short = Held(tmp_path, "long"), Held(tmp_path, "short")
    settings = {"executor": "async", "claim": 30.0, "drain": 1.0}
    async with standing(nats_server, claim=30.0) as stand:
        async with processes(nats_server.url, 1, **settings) as (worker,):
            jobs = [await stand.submit("w_hold", held.payload) for held in (long, short)]
            await long.begun()
            await short.begun()
            worker.send(signal.SIGTERM)
            short.release()
            assert (await stand.ended(jobs[1])).run == 1
            assert await worker.ended() == 0
        async with stand.worker(claim=30.0):
            await long.begun(2)
            long.release()
            ended = await stand.ended(jobs[0])
            assert (ended.status, ended.run) == ("completed", 2)
        kept = await stand.jobs.submissions.records.find(stand.tenant, jobs[0])
        assert kept is not None
        assert kept.record.deaths == 0
