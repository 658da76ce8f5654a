"""`milepost doctor` says how the runner's queue is, and who waits in it in vain."""

from __future__ import annotations

import pytest
from milepost_reporter.jetstream.api import Api
from milepost_runner.settings import RunnerSettings
from milepost_runner.streams import ensure, ensure_consumer
from milepost_runner.subject import HANDLERS, JOBS, WORK, QueueName, bucket_stream, consumer, work

from milepost.doctor.finding import Level
from milepost.nats_server import NatsServer
from tests.bridge.live_api import live_api
from tests.milepost.test_doctor import stream_findings

ACME = QueueName("acme", "default")


async def waiting(api: Api, *queues: QueueName) -> None:
    """A queue each, with a job in it."""
    await ensure(api, RunnerSettings())
    for queue in queues:
        await ensure_consumer(api, RunnerSettings(), queue)
        await api.publish(work(queue.tenant, queue.queue, "1"), b"{}")


async def test_who_does_not_use_it_is_told_nothing_bad(nats_server: NatsServer) -> None:
    """Nor is anything made."""
    for _ in range(2):
        finding = (await stream_findings(nats_server))["job queue"]
        assert (finding.level, finding.advice) == (Level.OK, "")
        assert "is not used" in finding.found


async def test_what_is_missing_is_told_and_not_made(nats_server: NatsServer) -> None:
    async with live_api(nats_server.url) as api:
        await ensure(api, RunnerSettings())
        await api.request(f"$JS.API.STREAM.DELETE.{bucket_stream(JOBS)}")
        for _ in range(2):
            finding = (await stream_findings(nats_server))["job queue"]
            assert finding.level is Level.WARN
            assert finding.found == "there is no stream KV_MILEPOST_JOBS"
            assert "milepost serve" in finding.advice


async def test_how_much_is_kept_is_the_operators_choice(nats_server: NatsServer) -> None:
    chosen = RunnerSettings(queue_max_bytes=0, store_max_bytes=10**6, store_max_age=7_200)
    async with live_api(nats_server.url) as api:
        await ensure(api, chosen)
        await api.publish(work("acme", "default", "1"), b"{}")
        findings = await stream_findings(nats_server)
    assert "queue settings" not in findings
    assert findings["job queue"].level is Level.OK
    assert findings["job queue"].found.startswith("1 jobs wait or run; 0 are remembered")


@pytest.mark.parametrize(
    ("stream", "changed", "what", "level", "told"),
    [
        (WORK, {"max_msg_size": 1_000_000}, "queue settings", Level.WARN, "max_msg_size is 1,000,000"),
        (bucket_stream(HANDLERS), {"max_age": 0}, "queue settings", Level.WARN, "max_age is off"),
        (bucket_stream(JOBS), {"allow_rollup_hdrs": True}, "job queue", Level.FAIL, "with one header"),
    ],
)
async def test_what_is_not_as_it_should_be_is_told_and_left(  # noqa: PLR0917 - a table's columns
    nats_server: NatsServer, stream: str, changed: dict[str, object], what: str, level: Level, told: str
) -> None:
    async with live_api(nats_server.url) as api:
        await ensure(api, RunnerSettings())
        config = (await api.request(f"$JS.API.STREAM.INFO.{stream}"))["config"] | changed
        if changed.keys() <= {"allow_rollup_hdrs"}:
            # NATS denies it where purging is denied, which cannot be changed: somebody has made the bucket so
            await api.request(f"$JS.API.STREAM.DELETE.{stream}")
            config |= {"deny_purge": False}
            await api.request(f"$JS.API.STREAM.CREATE.{stream}", config)
        else:
            await api.request(f"$JS.API.STREAM.UPDATE.{stream}", config)
        finding = (await stream_findings(nats_server))[what]
        assert finding.level is level
        assert told in finding.found
        assert finding.advice
        assert (await api.request(f"$JS.API.STREAM.INFO.{stream}"))["config"] == config


async def test_jobs_that_nobody_takes_are_told_by_tenant_and_queue(nats_server: NatsServer) -> None:
    async with live_api(nats_server.url) as api:
        await waiting(api, ACME)
        finding = (await stream_findings(nats_server))["job workers"]
        assert finding.level is Level.WARN
        assert finding.found == "jobs wait and nobody takes them: 1 of tenant acme in queue default"
        assert "milepost worker" in finding.advice


async def test_many_queues_are_told_by_a_few_and_their_number(nats_server: NatsServer) -> None:
    """More than one answer of NATS holds, too."""
    async with live_api(nats_server.url) as api:
        await waiting(api, *(QueueName("acme", f"q{number}") for number in range(300)))
        found = (await stream_findings(nats_server))["job workers"].found
    assert found.count("of tenant acme in queue") == 5
    assert found.endswith("and more in 295 others")


async def test_a_queue_that_somebody_asks_or_works_on_is_well(nats_server: NatsServer) -> None:
    async with live_api(nats_server.url) as api:
        await waiting(api, ACME)
        asked: list[bytes] = []
        api._on_heard = lambda subject, payload, headers, reply: asked.append(payload)
        subscribed = api._connection.want("taken")
        if subscribed is not None:
            await subscribed
        api.send(f"$JS.API.CONSUMER.MSG.NEXT.{WORK}.{consumer(ACME)}", b'{"batch":2,"expires":20000000000}', "taken")
        while not asked:
            await api.round_trip()
        await api.publish(work("acme", "default", "2"), b"{}")
        await api.publish(work("acme", "default", "3"), b"{}")
        assert "job workers" not in await stream_findings(nats_server)
