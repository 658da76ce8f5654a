"""A job that promised to beat and does not has its run ended: once, whoever else ends it, and nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import LOG, ensure
from milepost_bridge.watchdog import Watchdog, _Leases
from milepost_reporter.event import parse_event
from milepost_reporter.jetstream.api import Api, Stored
from milepost_reporter.jetstream.errors import Refused, Unavailable

from milepost.nats_server import NatsServer
from tests.bridge.bare_publisher import BarePublisher
from tests.bridge.beating_job import beat, event_headers
from tests.bridge.live_api import IMPATIENT, live_api
from tests.waiting import eventually_async

ROOT = Path(__file__).parents[2]
FAST = {"lease_min": 0.1, "log_look": 0.1, **IMPATIENT}
LEASE = 0.5
RUNNING = b'{"kind":"job","status":"running"}'


@contextlib.asynccontextmanager
async def watchdog(server: NatsServer, **settings: object) -> AsyncIterator[Watchdog]:
    async with Watchdog(server.url, BridgeSettings.model_validate(FAST | settings)) as it:
        await eventually_async(lambda: it.watching)
        yield it


@contextlib.contextmanager
def job_process(server: NatsServer, job: str, lease: float = LEASE, run: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A job's own process; it is beating."""
    command = [sys.executable, "-m", "tests.bridge.beating_job", str(server.port), "acme", job, str(run), str(lease)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "beating\n"
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def ends(api: Api, job: str, tenant: str = "acme") -> list[Stored]:
    return (await api.direct_get(LOG, seq=1, next_by_subj=f"tenant.{tenant}.job.{job}.end.*", batch=100)).messages


async def end_of(api: Api, job: str) -> Stored:
    """The one end, when it is there."""
    while not (found := await ends(api, job)):
        await api.round_trip()
    (one,) = found
    return one


async def beats_for(it: Watchdog, publisher: BarePublisher, seconds: float, *jobs: bytes) -> None:
    """Beat for some jobs while a time passes on the watchdog's clock."""
    until = it._leases._clock + seconds
    while it._leases._clock < until:
        for job in jobs:
            publisher.publish(b"tenant.acme.job.%b.alive" % job, beat(1, LEASE))
        await asyncio.sleep(LEASE / 5)


async def test_a_killed_job_gets_one_end(nats_server: NatsServer) -> None:
    """It says that the job was lost, of which run, and when; it is an event like any other."""
    async with live_api(nats_server.url) as api, watchdog(nats_server) as it:
        with job_process(nats_server, "1", run=3) as process:
            await eventually_async(lambda: it.watched)
            process.kill()
            end = await end_of(api, "1")
        assert end.subject == "tenant.acme.job.1.end.3"
        event = json.loads(end.payload)
        assert event.pop("at").endswith("Z")
        assert event == {
            "kind": "job",
            "status": "failed",
            "run": 3,
            "error": {"message": "lost", "details": "no beat within 0.5 s"},
        }
        assert parse_event(end.payload).is_terminal
        await eventually_async(lambda: it.watched == 0)
        assert (it.counts["lost"], it.counts["refused"], it.counts["invalid"]) == (1, 0, 0)


async def test_a_beating_job_is_left_alone(nats_server: NatsServer) -> None:
    """For many leases; one that stops meanwhile is not."""
    async with live_api(nats_server.url) as api, watchdog(nats_server) as it:
        with BarePublisher(nats_server.port) as publisher:
            await beats_for(it, publisher, LEASE / 2, b"stops", b"goes")
            await beats_for(it, publisher, 4 * LEASE, b"goes")
        await end_of(api, "stops")
        assert await ends(api, "goes") == []


async def test_two_watchdogs_store_one_end(nats_server: NatsServer) -> None:
    """Of twenty jobs each; the other one is refused and forgets the job too."""
    async with live_api(nats_server.url) as api, watchdog(nats_server) as one, watchdog(nats_server) as other:
        with BarePublisher(nats_server.port) as publisher:
            for job in range(20):
                publisher.publish(b"tenant.acme.job.%d.alive" % job, beat(1, 0.2))
        await eventually_async(lambda: one.watched == other.watched == 20)
        await eventually_async(lambda: one.watched + other.watched == 0)
        assert one.counts["lost"] + other.counts["lost"] == 20
        assert one.counts["refused"] + other.counts["refused"] == 20
        for job in range(20):
            assert len(await ends(api, str(job))) == 1


async def test_a_run_that_has_ended_keeps_its_end(nats_server: NatsServer) -> None:
    """Though the last beat, which would have said so, was lost."""
    async with live_api(nats_server.url) as api, watchdog(nats_server) as it:
        with BarePublisher(nats_server.port) as publisher:
            publisher.publish(b"tenant.acme.job.1.alive", beat(1, 0.2))
            publisher.publish(b"tenant.acme.job.1.end.1", b'{"kind":"job","status":"completed"}')
        await eventually_async(lambda: it.counts["refused"] == 1)
        assert it.watched == 0
        assert (await end_of(api, "1")).payload == b'{"kind":"job","status":"completed"}'


async def test_the_last_beat_of_a_run_ends_the_watch(nats_server: NatsServer) -> None:
    """At once; nothing is published for it. That of an older run does not."""
    async with live_api(nats_server.url) as api, watchdog(nats_server) as it:
        with BarePublisher(nats_server.port) as publisher:
            publisher.publish(b"tenant.acme.job.1.alive", beat(1, 100))
            publisher.publish(b"tenant.acme.job.2.alive", beat(2, 100))
            publisher.publish(b"tenant.acme.job.1.alive", beat(1, 100, ended=True))
            publisher.publish(b"tenant.acme.job.2.alive", beat(1, 100, ended=True))
        await eventually_async(lambda: it.counts["beats"] == 4)
        assert it.watched == 1
        assert await ends(api, "1") == []


async def test_the_next_run_is_watched_in_place_of_the_one_before(nats_server: NatsServer) -> None:
    """Beats of an older run are nobody's any more."""
    async with live_api(nats_server.url) as api, watchdog(nats_server) as it:
        with BarePublisher(nats_server.port) as publisher:
            publisher.publish(b"tenant.acme.job.1.alive", beat(1, 100))
            publisher.publish(b"tenant.acme.job.1.alive", beat(2, LEASE))
            publisher.publish(b"tenant.acme.job.1.alive", beat(1, 100))
        assert (await end_of(api, "1")).subject == "tenant.acme.job.1.end.2"
        await eventually_async(lambda: it.watched == 0)


async def test_a_job_that_comes_back_too_late_is_refused(nats_server: NatsServer) -> None:
    """Stopped for longer than its lease, it is declared lost; its own end and its beats change nothing any more."""
    async with live_api(nats_server.url) as api, watchdog(nats_server) as it:
        with job_process(nats_server, "1") as process:
            await eventually_async(lambda: it.watched)
            process.send_signal(signal.SIGSTOP)
            end = await end_of(api, "1")
            beats = it.counts["beats"]
            process.send_signal(signal.SIGCONT)
            await eventually_async(lambda: it.counts["beats"] > beats + 1)
            assert it.watched == 1
            with pytest.raises(Refused) as refused:
                await api.publish("tenant.acme.job.1.end.1", b"", {"Nats-Expected-Last-Subject-Sequence": "0"})
            assert refused.value.err_code == 10071
        await eventually_async(lambda: it.counts["refused"] == 1)
        assert [end.seq for end in await ends(api, "1")] == [end.seq]


async def test_a_watchdog_that_starts_finds_who_died_before(nats_server: NatsServer) -> None:
    """By the headers of the last events; a run without a promise, and one that ended, are not ended."""
    async with live_api(nats_server.url) as api:
        await ensure(api, BridgeSettings())
        with BarePublisher(nats_server.port) as publisher:

            def publish(job: bytes, run: int, lease: float | None) -> None:
                publisher.publish(b"tenant.acme.job.%b.progress" % job, RUNNING, event_headers(run, lease))

            publish(b"dead", 2, LEASE)
            publish(b"raw", 1, None)
            publish(b"unpromised", 1, LEASE)
            publish(b"unpromised", 1, None)
            publish(b"ended", 1, LEASE)
            publisher.publish(b"tenant.acme.job.ended.end.1", b"{}")
            publish(b"ended", 1, LEASE)
            publish(b"alive", 1, LEASE)
        # acknowledged: the log has those before it, too
        await api.publish("tenant.acme.job.plain.progress", RUNNING)
        async with watchdog(nats_server) as it:
            assert it.watched == 2
            with BarePublisher(nats_server.port) as publisher:
                await beats_for(it, publisher, 4 * LEASE, b"alive")
            assert (await end_of(api, "dead")).subject == "tenant.acme.job.dead.end.2"
            assert (it.watched, it.counts["lost"]) == (1, 1)
            for job in ("raw", "unpromised", "alive", "plain"):
                assert await ends(api, job) == []
        async with watchdog(nats_server) as it:
            assert it.watched == 1


async def test_who_dies_while_nobody_hears_is_found_later(nats_server: NatsServer) -> None:
    """The log is looked through again and again: beats that nobody heard left a promise there."""
    async with live_api(nats_server.url) as api, watchdog(nats_server, lease_scan=0.3) as it:
        with BarePublisher(nats_server.port) as publisher:
            publisher.publish(b"tenant.acme.job.1.progress", RUNNING, event_headers(1, 0.2))
        await end_of(api, "1")
        assert it.counts["beats"] == 0


async def test_a_killed_nats_server_costs_nobody_the_run(nats_server: NatsServer) -> None:
    """Everybody gets two leases anew; who is still there is left alone, who died meanwhile is ended."""
    async with live_api(nats_server.url, **IMPATIENT) as api, watchdog(nats_server, ping_interval=5) as it:
        with job_process(nats_server, "stays", lease=1.5), job_process(nats_server, "dies", lease=1.5) as dying:
            await eventually_async(lambda: it.watched == 2)
            nats_server.kill()
            dying.kill()
            await eventually_async(lambda: not it.watching)
            nats_server.start()
            await eventually_async(lambda: it.watching and api.up)
            assert it.watched == 2
            await end_of(api, "dies")
            assert await ends(api, "stays") == []
            assert it.counts["lost"] == 1


async def test_time_in_which_nobody_could_be_heard_does_not_count(nats_server: NatsServer) -> None:
    """A server that hangs for many leases, and beats that were on the way: nobody is lost."""
    async with live_api(nats_server.url) as api, watchdog(nats_server, ping_interval=60, request_timeout=60) as it:
        with job_process(nats_server, "1") as process:
            await eventually_async(lambda: it.watched)
            nats_server.pause()
            await asyncio.sleep(4 * LEASE)  # the time itself is what is tested
            clock = it._leases._clock
            nats_server.resume()
            await eventually_async(lambda: it._leases._clock > clock + 2 * LEASE)
            assert it.counts["lost"] == 0
            process.kill()
            await end_of(api, "1")


async def test_without_jetstream_it_waits_for_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is ended where nothing is stored; when JetStream comes, it goes on by itself."""
    with NatsServer(jetstream=False) as server:
        async with Watchdog(server.url, BridgeSettings.model_validate(FAST)) as it:
            await eventually_async(lambda: "without JetStream" in caplog.text)
            with BarePublisher(server.port) as publisher:
                publisher.publish(b"tenant.acme.job.1.alive", beat(1, 0.1))
            await eventually_async(lambda: it.watched)
            server.stop()
            with NatsServer(port=server.port, store_dir=tmp_path) as again:
                async with live_api(again.url) as api:
                    assert len(await ends_when_there(api, "1")) == 1


async def ends_when_there(api: Api, job: str) -> list[Stored]:
    """Also while the stream itself is still being made."""
    with contextlib.suppress(Exception):
        if found := await ends(api, job):
            return found
    await asyncio.sleep(0.05)
    return await ends_when_there(api, job)


async def test_without_a_log_it_does_nothing(shared_nats: NatsServer) -> None:
    """Not even connect."""
    async with Watchdog(shared_nats.url, BridgeSettings(log=False)) as it:
        assert not it._api.up
        assert it._task is None


BAD_BEATS: list[Any] = [
    b"",
    b"{",
    b"[]",
    b"7",
    b"\xff",
    b"[" * 256,
    b'{"run":1,"lease":30,"x":"' + b"y" * 300 + b'"}',
    *(
        json.dumps(bad).encode()
        for bad in (
            {"run": 1},
            {"lease": 1},
            {"run": 0, "lease": 1},
            {"run": -1, "lease": 1},
            {"run": 1.0, "lease": 1},
            {"run": True, "lease": 1},
            {"run": "1", "lease": 1},
            {"run": 10**16, "lease": 1},
            {"run": 1, "lease": 0},
            {"run": 1, "lease": -1},
            {"run": 1, "lease": True},
            {"run": 1, "lease": "1"},
            {"run": 1, "lease": None},
            {"run": 1, "lease": float("nan")},
            {"run": 1, "lease": float("inf")},
        )
    ),
]


async def test_bad_beats_are_counted_and_nothing_else(nats_server: NatsServer) -> None:
    """Neither do they keep a job alive, nor start a watch, nor end the watchdog."""
    async with watchdog(nats_server) as it:
        with BarePublisher(nats_server.port) as publisher:
            for bad in BAD_BEATS:
                assert publisher.publish(b"tenant.acme.job.1.alive", bad)
            for subject in (
                b"tenant.a\xff.job.1.alive",
                b"tenant.acme.job.%b.alive" % (b"x" * 65),
                b"tenant.a$.job.1.alive",
            ):
                assert publisher.publish(subject, beat(1, 1))
        await eventually_async(lambda: it.counts["beats"] == len(BAD_BEATS) + 3)
        assert it.counts["invalid"] == len(BAD_BEATS) + 3
        assert it.watched == 0


async def test_leases_are_bounded(nats_server: NatsServer) -> None:
    """Neither an end at once nor a watch for ever can be asked for."""
    async with watchdog(nats_server, lease_min=10, lease_max=20) as it:
        with BarePublisher(nats_server.port) as publisher:
            for job, lease in enumerate([1e-300, 15, 1e300, 10**200]):
                publisher.publish(b"tenant.acme.job.%d.alive" % job, beat(1, lease))
        await eventually_async(lambda: it.watched == 4)
        assert [lease.lease for lease in it._leases.by_subject.values()] == [10, 15, 20, 20]


async def test_watched_jobs_are_bounded_and_it_is_told(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that are watched go on being watched; a place that falls free is taken."""
    async with watchdog(nats_server, lease_jobs=2) as it:
        with BarePublisher(nats_server.port) as publisher:
            for job in (b"1", b"2", b"3", b"1"):
                publisher.publish(b"tenant.acme.job.%b.alive" % job, beat(1, 100))
            await eventually_async(lambda: it.counts["beats"] == 4)
            assert (it.watched, it.counts["unwatched"]) == (2, 1)
            assert "more than 2 jobs" in caplog.text
            publisher.publish(b"tenant.acme.job.1.alive", beat(1, 100, ended=True))
            publisher.publish(b"tenant.acme.job.3.alive", beat(1, 100))
            await eventually_async(lambda: it.counts["beats"] == 6)
        assert sorted(it._leases.by_subject) == [b"tenant.acme.job.2.alive", b"tenant.acme.job.3.alive"]


async def test_what_one_tenant_says_ends_nobody_elses_job(nats_server: NatsServer) -> None:
    """Another tenant's job of the same name is another job, whatever headers, replies and payloads claim."""
    async with live_api(nats_server.url) as api, watchdog(nats_server) as it:
        with BarePublisher(nats_server.port) as publisher:
            publisher.publish(b"tenant.victim.job.1.alive", beat(1, 100))
            headers = b"NATS/1.0\r\nNats-Subject: tenant.victim.job.1.alive\r\n\r\n"
            hostile = b'{"run":1,"lease":0.1,"tenant":"victim","job":"1"}'
            publisher.publish(b"tenant.acme.job.1.alive", hostile, headers, reply=b"tenant.victim.job.1.end.1")
            publisher.publish(b"tenant.acme.job.1.progress", RUNNING, event_headers(1, LEASE)[:-2] + headers[10:])
        await end_of(api, "1")
        assert await ends(api, "1", "victim") == []
        assert it.watched == 1


@pytest.fixture
def walled() -> Iterator[NatsServer]:
    """With an account for each tenant: the configuration that is delivered."""
    passwords = {"NATS_HUB_PASSWORD": '"hub"', "NATS_ACME_PASSWORD": '"acme"'}
    before = dict(os.environ)
    os.environ.update(passwords)
    try:
        with NatsServer(config=ROOT / "docker" / "nats.conf") as server:
            yield server
    finally:
        os.environ.clear()
        os.environ.update(before)


async def test_it_works_across_accounts(walled: NatsServer) -> None:
    """A tenant's events are acknowledged and its beats heard; for another it can neither beat nor publish."""
    hub, acme = ({"user": name, "password": name} for name in ("hub", "acme"))
    async with (
        live_api(walled.url, **hub) as api,
        live_api(walled.url, **acme, request_timeout=0.5) as tenant,
        watchdog(walled, **hub) as it,
    ):
        assert (await tenant.publish("tenant.acme.job.1.progress", RUNNING)).stream == LOG
        for name in ("other", "acme"):
            tenant.send(f"tenant.{name}.job.1.alive", beat(1, LEASE), "")
        with pytest.raises(Unavailable):
            await tenant.publish("tenant.other.job.1.progress", RUNNING)
        end = await end_of(api, "1")
        assert (end.subject, it.counts["beats"], it.counts["lost"]) == ("tenant.acme.job.1.end.1", 1, 1)
        with pytest.raises(Refused) as refused:
            await tenant.publish("tenant.acme.job.1.end.1", b"", {"Nats-Expected-Last-Subject-Sequence": "0"})
        assert refused.value.err_code == 10071
        assert [message.seq async for batch in api.scan(LOG, ">") for message in batch] == [1, end.seq]


async def test_a_log_that_is_full_is_asked_again(nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """It takes no more for a while, which is told: the run is ended when it does."""
    async with live_api(nats_server.url) as api, watchdog(nats_server) as it:
        config = (await api.request(f"$JS.API.STREAM.INFO.{LOG}"))["config"]
        full = {**config, "max_msgs": 1, "discard": "new", "max_msgs_per_subject": -1}
        await api.publish("tenant.acme.job.0.progress", b"{}")
        await api.request(f"$JS.API.STREAM.UPDATE.{LOG}", full)
        with BarePublisher(nats_server.port) as publisher:
            publisher.publish(b"tenant.acme.job.1.alive", beat(1, 0.2))
        await eventually_async(lambda: "maximum messages exceeded" in caplog.text)
        await api.request(f"$JS.API.STREAM.UPDATE.{LOG}", config)
        await end_of(api, "1")
        await eventually_async(lambda: it.watched == 0)
        assert it.counts["lost"] == 1


async def test_it_leaves_nothing_behind(nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """Whenever it is left: no task, no connection, no complaint."""
    caplog.set_level(logging.WARNING)
    before = asyncio.all_tasks()
    for turns in range(0, 60, 3):
        async with Watchdog(nats_server.url, BridgeSettings.model_validate(FAST)):
            for _ in range(turns):
                await asyncio.sleep(0)
    async with watchdog(nats_server):
        pass
    await eventually_async(lambda: asyncio.all_tasks() == before)
    assert caplog.text == ""


def test_a_beat_only_moves_the_time() -> None:
    """Ten thousand beats of one job are one entry; it comes up once, a lease after the last of them."""
    leases = _Leases(0.25)
    leases.add(b"job", 1, 30.0, 1)
    for _ in range(10_000):
        leases.advance(0.01)
        leases.renew(leases.by_subject[b"job"], 1, 30.0)
        assert leases.take_due() == []
    assert sum(map(len, leases._slots.values())) == 1
    leases.advance(29.9)
    assert leases.take_due() == []
    leases.advance(0.5)
    assert [lease.subject for lease in leases.take_due()] == [b"job"]
    assert leases.take_due() == []
    assert not leases._slots


def test_a_shorter_lease_is_noticed_in_time() -> None:
    """Though the job stood among the slots for a longer one."""
    leases = _Leases(0.25)
    leases.add(b"job", 1, 1000.0, 1)
    leases.renew(leases.by_subject[b"job"], 1, 1.0)
    leases.advance(1.5)
    assert len(leases.take_due()) == 1


def test_everybody_gets_two_leases_anew() -> None:
    """From now, also one that had come up already, and each of them once."""
    leases = _Leases(0.25)
    leases.add(b"a", 1, 1.0, 1)
    leases.add(b"b", 1, 2.0, 1)
    leases.advance(1.5)
    assert [lease.subject for lease in leases.take_due()] == [b"a"]
    leases.renew_all()
    leases.advance(1.75)
    assert leases.take_due() == []
    leases.advance(0.75)
    assert [lease.subject for lease in leases.take_due()] == [b"a"]
    leases.advance(2.0)
    assert [lease.subject for lease in leases.take_due()] == [b"b"]
