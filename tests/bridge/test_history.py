"""A job's state from its records and the log's tail, where the two do not agree; pages in another life of the log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from milepost_bridge.history import Loaded
from milepost_bridge.streams import LOG
from milepost_reporter.event import parse_event
from milepost_reporter.state import JobState

from milepost.nats_server import NatsServer
from tests.bridge.recording_sink import RecordingSink
from tests.bridge.stored_job import Publisher, a_tenant, bridged, client_of, delivered, log_of, watch
from tests.waiting import eventually_async


class Reporter:
    """One reporter of a job: what it reports is counted, and what it has counted so far can be recorded."""

    def __init__(self, job: Publisher, name: str, *, owner: bool = False, run: int = 1) -> None:
        self.job, self.name, self.owner, self.run = job, name, owner, run
        self.state = JobState(job.job)
        self.count = self.seq = 0

    async def reports(self, leaf: str = "progress", headers: dict[str, str] | None = None, **fields: object) -> int:
        self.count += 1
        counted = {"Milepost-Reporter": self.name, "Milepost-Count": str(self.count), **(headers or {})}
        self.seq = await self.job.put(leaf, counted, run=self.run, **fields)
        run = self.run if leaf.startswith("end") else None
        self.state.apply(parse_event(self.job.payloads[-1]), datetime.now(UTC), run)
        return self.seq

    async def records(self) -> None:
        await self.job.record(self.name, self.state, self.count, owner=self.owner, seq=self.seq)


def told(loaded: Loaded) -> dict[str, Any]:
    return loaded.state.snapshot(durable=True)


def nodes(loaded: Loaded) -> list[int | str]:
    return sorted(node["nodeId"] for node in loaded.state.snapshot()["nodes"])


async def test_what_a_crashed_child_has_not_counted_stands_before_the_recorded_end(shared_nats: NatsServer) -> None:
    """The owner's record tells the end; the child's event before it counts, and the child's event after it is late."""
    tenant = a_tenant()
    async with bridged(shared_nats, RecordingSink()) as bridge, client_of(shared_nats) as client:
        job = Publisher(client, tenant, "1")
        owner, child = Reporter(job, "A", owner=True), Reporter(job, "B")
        await owner.records()
        await owner.reports(kind="job", status="running", name="n")
        await child.records()
        await child.reports(nodeId=1, status="running")
        await child.records()
        await child.reports(nodeId=2, status="running")
        await child.reports(message="half way", fraction=0.5)
        await child.reports(kind="job", status="running", message="still running")
        end = await owner.reports("end.1", kind="job", status="completed", message="done")
        await child.reports(nodeId=3, status="running")
        await owner.records()
        loaded = await log_of(bridge).history.load(tenant, "1")
        assert nodes(loaded) == [1, 2]
        snapshot = told(loaded)
        assert (snapshot["status"], snapshot["message"], snapshot["fraction"]) == ("completed", "done", 1.0)
        assert loaded.event is not None
        assert loaded.event.seq == end
        assert loaded.state.ended


async def test_a_run_behind_a_recorded_end_is_live(shared_nats: NatsServer) -> None:
    """The first run's record tells its end; a raw publisher has begun the second, of which there is no record."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink) as bridge, client_of(shared_nats) as client:
        job = Publisher(client, tenant, "1")
        owner = Reporter(job, "A", owner=True)
        await owner.reports(kind="job", status="running")
        await owner.reports("end.1", kind="job", status="failed")
        await owner.records()
        await job.put("progress", kind="job", status="running", run=2)
        await job.put("progress", nodeId=7, status="running", run=2)
        loaded = await log_of(bridge).history.load(tenant, "1")
        assert (loaded.state.run, loaded.state.status, loaded.state.ended) == (2, "running", False)
        assert nodes(loaded) == [7]
        await watch(bridge, tenant)
        await log_of(bridge).follow(tenant, "1")
        await job.put("progress", nodeId=8, status="running", run=2)
        await eventually_async(lambda: sink.events)
        assert delivered(sink, tenant) == job.payloads[-1:]


async def test_the_first_end_counts_also_where_a_record_tells_the_second(shared_nats: NatsServer) -> None:
    """Somebody said `failed` on `.progress` before the job's own end: what came between is late."""
    tenant = a_tenant()
    async with bridged(shared_nats, RecordingSink()) as bridge, client_of(shared_nats) as client:
        job = Publisher(client, tenant, "1")
        owner, child = Reporter(job, "A", owner=True), Reporter(job, "B")
        await owner.reports(kind="job", status="running")
        await child.records()
        first = await job.put("progress", status="failed", message="raw")
        await child.reports(nodeId=2, status="running")
        await owner.reports("end.1", kind="job", status="completed")
        await owner.records()
        loaded = await log_of(bridge).history.load(tenant, "1")
        snapshot = told(loaded)
        assert (snapshot["status"], snapshot["message"], snapshot["nodes"]) == ("failed", "raw", [])
        assert loaded.event is not None
        assert loaded.event.seq == first


async def test_a_child_that_went_on_after_the_end_spoils_its_own_record_only(nats_server: NatsServer) -> None:
    """Of the owner's 30 events 5 are kept: its record still tells them, though a child's counts what is late."""
    async with (
        bridged(nats_server, RecordingSink(), log_events_per_job=5) as bridge,
        client_of(nats_server) as client,
    ):
        job = Publisher(client, "acme", "1")
        owner, child = Reporter(job, "A", owner=True), Reporter(job, "B")
        await owner.reports(kind="job", status="running", name="n")
        for node in range(29):
            await owner.reports(nodeId=node, status="running")
        await owner.records()
        await child.records()
        await child.reports(nodeId="b", status="running")
        await job.put("end.1", kind="job", status="failed", run=1, error={"message": "lost"})
        await child.reports(nodeId="late", status="running")
        await child.records()
        loaded = await log_of(bridge).history.load("acme", "1")
        snapshot = told(loaded)
        assert (snapshot["status"], snapshot["name"], len(snapshot["nodes"])) == ("failed", "n", 30)
        assert "late" not in [node["nodeId"] for node in snapshot["nodes"]]


async def test_a_childs_event_without_a_lease_does_not_end_the_owners(shared_nats: NatsServer) -> None:
    """Only the job's own reporter beats; the job is watched over nevertheless."""
    tenant = a_tenant()
    async with bridged(shared_nats, RecordingSink()) as bridge, client_of(shared_nats) as client:
        job = Publisher(client, tenant, "1")
        owner, child = Reporter(job, "A", owner=True), Reporter(job, "B")
        await owner.reports(headers={"Milepost-Lease": "30"}, kind="job", status="running")
        await child.reports(nodeId=1, status="running")
        assert (await log_of(bridge).history.load(tenant, "1")).leased
        await job.put("progress", kind="job", status="running", run=2)
        assert not (await log_of(bridge).history.load(tenant, "1")).leased


async def test_a_job_of_many_reporters_and_runs(nats_server: NatsServer) -> None:
    """More records and ends than one answer holds: each counted once, whoever was silent the longest."""
    many = 1_100
    async with bridged(nats_server, RecordingSink()) as bridge, client_of(nats_server) as client:
        job = Publisher(client, "acme", "1")
        for run in range(1, many):
            await client.publish(f"tenant.acme.job.1.end.{run}", b'{"kind":"job","status":"failed","run":%d}' % run)
        reporters = [Reporter(job, f"r{number}", run=many) for number in range(many)]
        for reporter in reporters:
            await reporter.reports(kind="log", message="one")
        for reporter in reporters:
            await reporter.reports(kind="log", message="two")
            await reporter.records()
        loaded = await log_of(bridge).history.load("acme", "1")
        assert loaded.state.run == many
        assert log_of(bridge).history.counts["duplicate"] == many
        lines = loaded.state.snapshot()["logTail"]
        recorded = {line["message"] for line in lines}
        assert len(lines) == 200
        assert recorded == {"two"}
        assert loaded.at.seq == job.seqs[-1]


async def test_a_cursor_of_the_same_place_in_another_life_is_another(nats_server: NatsServer) -> None:
    """What was remembered of sequence 2 in the old life says nothing of sequence 2 in the new one."""
    sink = RecordingSink()
    async with bridged(nats_server, sink) as bridge, client_of(nats_server) as client:
        log, job = log_of(bridge), Publisher(client, "acme", "1")
        await job.progress()
        await job.put("progress", status="completed")
        assert len(await log.read("acme", "1", None, 2)) == 2
        created = log._created
        await client.jetstream().delete_stream(LOG)
        await eventually_async(lambda: log._created != created)
        again = Publisher(client, "acme", "1")
        for _ in range(3):
            await again.progress()
        page, _ = await log.history.page("acme", "1", None, 9)
        second = page.messages[1]
        assert second.seq == job.seqs[1]
        events = await log.read("acme", "1", f"{second.seq}-{second.time}", 9)
        assert [event.payload for event in events] == again.payloads[2:]
