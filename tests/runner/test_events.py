"""The events of many runs over one connection: each arrives, in its order, and nothing of them is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator

from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import ensure as ensure_log
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.settings import Settings
from milepost_runner.events import Events
from milepost_runner.executor import COMPLETED, FAILED, Outcome
from milepost_runner.reporting import RunProgress
from milepost_runner.settings import RunnerSettings

from milepost.nats_server import NatsServer
from tests.runner.stand import IMPATIENT, JobLog, read_log
from tests.waiting import eventually_async

LOGGER = logging.getLogger("milepost_runner")


class Wired:
    """Events with a connection of their own."""

    def __init__(self, url: str) -> None:
        self.url = url
        settings = RunnerSettings.model_validate(IMPATIENT)
        self.api = Api([url], settings, self._changed, Complaints(LOGGER), on_heard=self._heard)
        self.events = Events(self.api, Complaints(LOGGER))

    def _heard(self, place: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> None:
        self.events.heard(place, payload, headers)

    def _changed(self) -> None:
        self.events.changed()

    def run(self, job: str, run: int = 1) -> RunProgress:
        settings = Settings(nats_url=self.url, tenant="acme", job=job, run=run, lease=0)
        progress = RunProgress.of(settings, self.events)
        progress.begin()
        progress.release()
        return progress

    async def log(self, job: str) -> JobLog:
        return JobLog(job, await read_log(self.api, f"tenant.acme.job.{job}.>"))


@contextlib.asynccontextmanager
async def wired(server: NatsServer, *, log: bool = True) -> AsyncIterator[Wired]:
    it = Wired(server.url)
    it.events.start()
    it.api.start()
    try:
        await eventually_async(lambda: it.api.up)
        if log:
            await ensure_log(it.api, BridgeSettings())
        yield it
    finally:
        await it.api.close()


async def test_many_runs_share_a_connection_and_each_keeps_its_order(nats_server: NatsServer) -> None:
    """A hundred at once, with two hundred lines each: every line is there once, in order, the end behind them."""
    async with wired(nats_server) as it:

        async def report(job: str) -> None:
            progress = it.run(job)
            for number in range(200):
                progress.log(f"{number}")
                if number % 50 == 0:
                    await asyncio.sleep(0)
            await progress.finish(Outcome(COMPLETED, b"1"), None, will_retry=False)

        await asyncio.gather(*(report(f"job{number}") for number in range(100)))
        for number in range(100):
            log = await it.log(f"job{number}")
            assert [told["message"] for told in log.of_kind("log")] == [f"{line}" for line in range(200)]
            assert (log.course, log.late) == (["running 1", "completed 1"], [])
            assert [entry.event.kind for entry in log.entries][-2:] == ["result", "job"]
        await it.events.settled()
        assert it.events._senders == {}


async def test_a_handlers_thread_may_report(nats_server: NatsServer) -> None:
    async with wired(nats_server) as it:
        progress = it.run("threads")

        def report(name: str) -> None:
            for number in range(100):
                progress.log(f"{name}{number}")

        threads = [threading.Thread(target=report, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await progress.finish(Outcome(COMPLETED), None, will_retry=False)
        lines = [told["message"] for told in (await it.log("threads")).of_kind("log")]
        for name in "abc":
            assert [line for line in lines if line[0] == name] == [f"{name}{number}" for number in range(100)]


async def test_what_was_under_way_when_nats_died_arrives_once(nats_server: NatsServer) -> None:
    """Three kills in the middle of two runs' lines: no hole, no repetition that counts, one end."""
    async with wired(nats_server) as it:
        runs = {job: it.run(job) for job in ("a", "b")}
        for kill in range(3):
            for number in range(300):
                for progress in runs.values():
                    progress.log(f"{kill * 300 + number}")
            await asyncio.sleep(0)
            nats_server.kill()
            await eventually_async(lambda: not it.api.up)
            nats_server.start()
            await eventually_async(lambda: it.api.up)
        for job, progress in runs.items():
            await progress.finish(Outcome(FAILED, error={"message": "no"}), None, will_retry=True)
            log = await it.log(job)
            assert [told["message"] for told in log.of_kind("log")] == [f"{number}" for number in range(900)]
            assert log.course == ["running 1", "failed 1+"]
        await it.events.settled()


async def test_what_is_abandoned_says_no_more(nats_server: NatsServer) -> None:
    """Not even what was waiting; nothing of it is kept."""
    async with wired(nats_server) as it:
        progress = it.run("gone")
        await eventually_async(lambda: progress._run_sender.idle)
        progress.log("waits")
        progress.abandon()
        progress.log("later")
        sender = progress._run_sender
        await it.api.round_trip()
        assert [entry.event.status for entry in (await it.log("gone")).entries] == ["running"]
        assert it.events._senders == {}
        assert sender._alarm is None or sender._alarm.cancelled()
        assert not sender.idle


async def test_without_a_log_an_end_is_waited_for_by_nobody_and_nothing_piles_up(nats_server: NatsServer) -> None:
    """No hub ever ran: a thousand runs leave nothing behind."""
    async with wired(nats_server, log=False) as it:
        async with asyncio.timeout(30):
            for number in range(1_000):
                await it.run(f"{number}").finish(Outcome(COMPLETED), None, will_retry=False)
            await it.events.settled()
        assert it.events._senders == {}


async def test_what_the_log_does_not_take_is_counted_as_refused(nats_server: NatsServer) -> None:
    """As for any reporter: `stats` tells how many events are missing."""
    async with wired(nats_server) as it:
        run = it.run("refused")
        run._put("log", b'{"message":"%s"}' % (b"x" * 65_530))
        await run.finish(Outcome(COMPLETED), None, will_retry=False)
        assert run.stats.refused == 1
        assert (await it.log("refused")).course == ["running 1", "completed 1"]


async def test_a_log_that_is_gone_for_a_moment_gets_its_end(nats_server: NatsServer) -> None:
    """It was there and comes back: the end is waited for, and stored."""
    async with wired(nats_server) as it:
        await it.run("before").finish(Outcome(COMPLETED), None, will_retry=False)
        await it.api.request("$JS.API.STREAM.DELETE.MILEPOST_LOG")
        run = it.run("meanwhile")
        ending = asyncio.create_task(run.finish(Outcome(COMPLETED), None, will_retry=False))
        await eventually_async(lambda: run._run_sender._lane.nobody_since is not None)
        assert not ending.done()
        await ensure_log(it.api, BridgeSettings())
        await ending
        assert (await it.log("meanwhile")).course == ["running 1", "completed 1"]
