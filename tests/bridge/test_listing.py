"""Lists of a tenant's jobs on a real nats-server: right, newest first, read once, and no burden to others."""

from __future__ import annotations

import asyncio
import json
import os
import time
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import nats
import pytest
from milepost_bridge.bridge import Bridge
from milepost_bridge.log import Log
from milepost_bridge.streams import LOG
from milepost_hub.upstream import Interest
from milepost_reporter.event import parse_event
from milepost_reporter.record import SUMMARY_HEADER
from milepost_reporter.state import JobState
from nats.aio.client import Client

from milepost.nats_server import NatsServer
from tests.bridge.recording_sink import RecordingSink
from tests.bridge.stored_job import Publisher, a_tenant, bridged, client_of, log_of, watch
from tests.waiting import eventually_async


def _now() -> datetime:
    return datetime.now(UTC)


async def listed(bridge: Bridge) -> list[dict[str, Any]]:
    return [json.loads(each) for each in await log_of(bridge).jobs("acme", None)]


async def tell_of(client: Client, job: str, header: str, **more: str) -> None:
    """Store a record that says this of its job."""
    subject = f"tenant.acme.job.{job}.state.A"
    await client.jetstream().publish(subject, b"{}", headers={SUMMARY_HEADER: header, **more})


async def test_headers_are_their_publishers_to_write(nats_server: NatsServer) -> None:
    """What is no summary is left aside, and what is one speaks of its own job alone; the list is JSON in any case."""
    async with bridged(nats_server, RecordingSink()) as bridge, client_of(nats_server) as client:
        for number, header in enumerate(
            [
                '{"run":1,"fraction":NaN}',
                '{"run":true}',
                '{"run":1,"startedAt":["x"]}',
                '{"run":1,"name":"\\ud800"}',
                '{"run":1,"status":"nonsense"}',
                "[" * 50_000,
                "",
            ]
        ):
            await tell_of(client, f"bad{number}", header)
        await tell_of(client, "7", '{"run":1,"jobId":8,"status":"running","extra":[1],"stalled":"so"}')
        jobs = {job["jobId"]: job for job in await listed(bridge)}
        assert set(jobs) == {7, *(f"bad{number}" for number in range(7))}
        assert jobs[7]["status"] == "running"
        assert "extra" not in jobs[7]
        assert {job["status"] for name, job in jobs.items() if name != 7} == {"unknown"}
        assert all(job["stalled"] is False for job in jobs.values())


async def test_an_end_may_sum_its_run_up(nats_server: NatsServer) -> None:
    """As a short run's of the runner does, which has no record; a later run that has begun is told all the same."""
    async with bridged(nats_server, RecordingSink()) as bridge, client_of(nats_server) as client:
        for job in ("1", "2"):
            publisher = Publisher(client, "acme", job)
            await publisher.put("progress", status="running", run=1)
            summary = {"run": 1, "status": "failed", "name": "Sums", "fraction": 0.5}
            times = {"startedAt": "2026-01-01T00:00:00.000Z", "endedAt": "2026-01-01T00:00:01.000Z"}
            header = {SUMMARY_HEADER: json.dumps({**summary, **times})}
            await publisher.put("end.1", header, status="failed", willRetry=True)
        await publisher.put("progress", status="queued", run=2)
        first, second = sorted(await listed(bridge), key=lambda job: str(job["jobId"]))
        assert {**summary, **times}.items() <= first.items()
        assert (second["run"], second["status"], second["endedAt"]) == (2, "queued", None)


async def test_a_later_run_or_end_than_the_record_knows_is_listed(nats_server: NatsServer) -> None:
    """A second run after a recorded end, and ends that another has told: the log decides."""
    async with bridged(nats_server, RecordingSink()) as bridge, client_of(nats_server) as client:
        for name in ("again", "ended again", "raw end", "other end"):
            job, state = Publisher(client, "acme", name.replace(" ", "_")), JobState(name.replace(" ", "_"))
            counted = {"Milepost-Reporter": "A", "Milepost-Count": "1"}
            await job.put("progress", counted, kind="job", status="running", name=name, run=1)
            state.apply(parse_event(job.payloads[-1]), _now())
            if name in {"again", "ended again"}:
                await job.put("end.1", counted | {"Milepost-Count": "2"}, kind="job", status="failed", run=1)
                state.apply(parse_event(job.payloads[-1]), _now(), 1)
                await job.record("A", state, 2)
                await job.put("progress", status="running", run=2)
            else:
                await job.record("A", state, 1)
            if name == "ended again":
                await job.put("end.2", kind="job", status="completed", run=2)
            if name == "raw end":
                await job.put("progress", status="cancelled")
            if name == "other end":
                await job.put("end.1", kind="job", status="failed", run=1)
        jobs = {job["jobId"]: (job["name"], job["run"], job["status"]) for job in await listed(bridge)}
        assert jobs == {
            "again": ("again", 2, "running"),
            "ended_again": ("ended again", 2, "completed"),
            "raw_end": ("raw end", 1, "cancelled"),
            "other_end": ("other end", 1, "failed"),
        }


async def test_a_child_does_not_speak_for_its_job(nats_server: NatsServer) -> None:
    """Without a lease nothing tells whose record is the owner's: what one leaves open the other fills."""
    async with bridged(nats_server, RecordingSink()) as bridge, client_of(nats_server) as client:
        job, owner, child = Publisher(client, "acme", "1"), JobState("1"), JobState("1")
        await job.put("progress", kind="job", status="running", name="Whole", run=1)
        owner.apply(parse_event(job.payloads[-1]), _now())
        await job.put("progress", nodeId=1, status="running", run=1)
        child.apply(parse_event(job.payloads[-1]), _now())
        await job.record("A", owner, 1)
        await job.record("B", child, 1, owner=False)
        [told] = await listed(bridge)
        assert (told["name"], told["status"]) == ("Whole", "running")


async def test_a_silent_job_is_stalled_in_lists_and_snapshots(nats_server: NatsServer) -> None:
    """A raw publisher's is; one that promised a lease, has ended, waits, or speaks again is not."""
    async with (
        bridged(nats_server, RecordingSink(), stalled_after=0.2) as bridge,
        client_of(nats_server) as client,
    ):
        jobs = {name: Publisher(client, "acme", name) for name in ("raw", "leased", "ended", "waits", "again")}
        await jobs["raw"].progress()
        await jobs["leased"].progress({"Milepost-Lease": "30"})
        await jobs["ended"].put("progress", status="completed")
        await jobs["waits"].put("progress", status="queued")
        await jobs["again"].progress()

        async def stalled() -> dict[str, bool]:
            told = {name: json.loads((await log_of(bridge).snapshot("acme", name)).json) for name in jobs}
            return {name: each["stalled"] for name, each in told.items()}

        deadline = time.monotonic() + 20
        while (await stalled())["again"] is False:
            assert time.monotonic() < deadline
        await jobs["again"].progress()
        snapshots = await stalled()
        assert snapshots["raw"] is True
        assert (snapshots["leased"], snapshots["ended"], snapshots["waits"]) == (False, False, False)
        told = {job["jobId"]: job["stalled"] for job in await listed(bridge)}
        assert (told["raw"], told["leased"], told["ended"], told["waits"]) == (True, False, False, False)


async def test_a_listed_job_that_falls_silent_is_told_of(nats_server: NatsServer) -> None:
    """Its last event came before anybody looked; nothing comes any more, and that is told."""
    sink = RecordingSink()
    async with bridged(nats_server, sink, stalled_after=1.0) as bridge, client_of(nats_server) as client:
        await watch(bridge, "acme", Interest.SUMMARIES)
        await watch(bridge, "acme", Interest.EVENTS)
        job = Publisher(client, "other", "1")
        await job.progress()
        bridge._summarised.add("other")
        assert [json.loads(each)["stalled"] for each in await log_of(bridge).jobs("other", None)] == [False]
        await eventually_async(lambda: sink.summaries)
        [(_, _, summary)] = sink.summaries
        assert (summary["stalled"], summary["status"]) == (True, "running")
        await watch(bridge, "other", Interest.SUMMARIES)
        await job.progress()
        await eventually_async(lambda: sink.summaries[-1][2]["stalled"] is False)


async def test_a_log_made_anew_while_it_is_listed(nats_server: NatsServer) -> None:
    """Whatever becomes of that list, asking again gives what there is."""
    async with bridged(nats_server, RecordingSink()) as bridge, client_of(nats_server) as client:
        for number in range(20):
            await Publisher(client, "acme", str(number)).progress()
        task = asyncio.create_task(log_of(bridge).jobs("acme", None))
        created = log_of(bridge)._created
        await client.jetstream().delete_stream(LOG)
        await asyncio.gather(task, return_exceptions=True)
        await eventually_async(lambda: log_of(bridge)._created != created)
        await Publisher(client, "acme", "new").progress()
        await eventually_async(lambda: not log_of(bridge).listing._listings)
        assert [job["jobId"] for job in await listed(bridge)] == ["new"]


async def fill(client: Client, tenant: str, jobs: int, events: int) -> None:
    """Half the jobs with a record, half raw; every third has ended. The later a job's number, the newer it is."""
    for number in range(jobs):
        job = f"j{number:05d}"
        progress, minutes = f"tenant.{tenant}.job.{job}.progress", f"{number // 60:03d}"
        at = f"2026-01-{1 + int(minutes) // 24:02d}T{int(minutes) % 24:02d}:{number % 60:02d}:00Z"
        first = {"kind": "job", "status": "running", "name": job, "at": at}
        state = JobState(job)
        for count in range(events):
            fields = first if not count else {"nodeId": count % 3, "rowCount": count, "status": "running"}
            if count == events - 1 and number % 3 == 0:
                fields = {"kind": "job", "status": "completed"}
            payload = json.dumps(fields).encode()
            state.apply(parse_event(payload), _now())
            if number % 2 == 0 or count == 0:
                await client.publish(progress, payload)
        if number % 2:
            headers = {SUMMARY_HEADER: json.dumps(state.summary()), "Milepost-Lease": "30"}
            await client.publish(f"tenant.{tenant}.job.{job}.state.A", b"{}", headers=headers)
        if number % 20 == 19:
            await client.flush()


async def stored_in_the_end(log: Log, expected: int) -> int:
    """Wait until the stream has so many messages: it stores what was not to be acknowledged in its own time."""
    async with asyncio.timeout(60):
        stored = 0
        while stored != expected:
            info = await log.api.request(f"$JS.API.STREAM.INFO.{LOG}")
            stored = int(info["state"]["messages"])
    return stored


async def read_list(server: NatsServer, jobs: int, events: int = 20) -> None:
    """Fill a log, list it for several at once, and print what that cost."""
    tenant = a_tenant()
    async with bridged(server, RecordingSink()) as bridge:
        client = await nats.connect(server.url)
        await fill(client, tenant, jobs, events)
        await client.flush()
        await client.close()
        log = log_of(bridge)
        stored = await stored_in_the_end(log, jobs // 2 * (events + 1))
        worst = [0.0]
        ticking = asyncio.create_task(_tick(worst))
        began = time.perf_counter()
        answers = await asyncio.gather(*(log.jobs(tenant, None) for _ in range(10)))
        took, read = time.perf_counter() - began, log.history.counts["read"]
        ticking.cancel()
        await eventually_async(lambda: not log.listing._listings)
        tracemalloc.start()
        await log.jobs(tenant, None)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        for _ in range(jobs // 2 // 500 + 1):
            # what was guessed the first time is read by and by
            await eventually_async(lambda: not log.listing._listings)
            answer = [json.loads(each) for each in await log.jobs(tenant, None)]
        print(  # noqa: T201 - figures for docs/bridge.md
            f"\n{jobs} jobs, {stored} events: ten lists at once {took:.2f} s, {peak / 2**20:.0f} MiB at the most, "
            f"{read} events read; the loop stood still for {worst[0] * 1000:.0f} ms at the most"
        )
        assert all(each is not None and each == answers[0] for each in answers)
        assert [job["jobId"] for job in answer] == [f"j{number:05d}" for number in reversed(range(jobs))]
        right = {f"j{number:05d}": "completed" if number % 3 == 0 else "running" for number in range(jobs)}
        assert {job["jobId"]: job["status"] for job in answer} == right
        assert all(job["name"] == job["jobId"] for job in answer)


async def _tick(worst: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0)
        worst[0] = max(worst[0], time.perf_counter() - before)


@pytest.mark.timeout(300)
async def test_many_jobs_are_listed_for_many_at_once(nats_server: NatsServer) -> None:
    """Half with records, half raw: right, newest first, the same for all who ask together, and read once."""
    await read_list(nats_server, int(os.environ.get("LISTED_JOBS", "2000")))


async def test_many_jobs_at_once_of_which_nothing_was_known(nats_server: NatsServer) -> None:
    """2,000 jobs from before speak within a moment: each gets a right summary, a few being read at a time."""
    sink, jobs = RecordingSink(), 2_000
    async with bridged(nats_server, sink) as bridge, client_of(nats_server) as client:
        for number in range(jobs):
            opening = b'{"kind":"job","status":"running","name":"n%d"}' % number
            await client.publish(f"tenant.acme.job.{number}.progress", opening)
        await client.flush()
        await watch(bridge, "acme", Interest.SUMMARIES)
        for number in range(jobs):
            await client.publish(f"tenant.acme.job.{number}.progress", b'{"fraction":0.5}')
        await client.flush()
        right = {str(number): (f"n{number}", 0.5) for number in range(jobs)}
        await eventually_async(
            lambda: right == {job: (told["name"], told["fraction"]) for _, job, told in sink.summaries}
        )
        assert not bridge._summaries.wanting
