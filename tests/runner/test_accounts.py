"""With the shipped accounts, a tenant's own worker can run its tenant's jobs and reach nothing else.

All on a real nats-server with docker/nats.conf: what is refused there is refused where it is deployed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import nats
import pytest
from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import ensure as ensure_log
from milepost_reporter.jetstream.api import Api
from milepost_runner import subject
from milepost_runner.errors import BadPayload
from milepost_runner.handler import DEFAULT_QUEUE
from milepost_runner.jobs import Jobs
from milepost_runner.registry import Registry
from milepost_runner.runner import JobRunner
from milepost_runner.settings import WorkerSettings
from milepost_runner.streams import ensure_consumer
from milepost_runner.subject import JOBS, WORK, QueueName, bucket_stream
from milepost_runner.worker import Worker
from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import SecretStr

from milepost.nats_server import NatsServer
from tests.bridge.live_api import live_api
from tests.milepost.walls import Complaining, user, walled_server
from tests.runner.handled import HANDLERS, impatient, log_of, told_of
from tests.waiting import eventually_async

PULL = f"$JS.API.CONSUMER.MSG.NEXT.{WORK}"
CATALOG = bucket_stream(subject.HANDLERS)
GET = f"$JS.API.DIRECT.GET.{bucket_stream(JOBS)}"


@pytest.fixture
def walled() -> Iterator[NatsServer]:
    with walled_server() as server:
        yield server


@asynccontextmanager
async def deployed(walled: NatsServer) -> AsyncIterator[tuple[Jobs, Api]]:
    """What submits, as the hub's user, with streams, a log, and another tenant's queue."""
    async with live_api(walled.url, user="hub", password="hub") as api:
        await ensure_log(api, BridgeSettings())
        async with Jobs(walled.url, impatient(user="hub", password="hub"), registry=HANDLERS) as jobs:
            await jobs.ready()
            for tenant in ("acme", "beta"):
                await ensure_consumer(api, impatient(), QueueName(tenant, "default"))
            yield jobs, api


async def pulled(acme: Complaining) -> Msg:
    """The next job of acme's, as its worker gets it."""
    inbox = f"_INBOX.{secrets.token_hex(8)}"
    answers = await acme.client.subscribe(inbox)
    await acme.client.publish(f"{PULL}.acme@default", b'{"batch":1,"expires":5000000000}', reply=inbox)
    return await answers.next_msg(timeout=10)


async def forbidden(acme: Complaining, subjects: list[str]) -> None:
    """Each is refused by the server, in words that name it."""
    for place in subjects:
        await acme.client.publish(place, b"{}", reply="_INBOX.x")
    await acme.client.flush()
    await eventually_async(lambda: len(acme.complaints) >= len(subjects))
    told = [complaint.lower() for complaint in acme.complaints]
    assert all("permissions violation" in complaint for complaint in told)
    for place in subjects:
        assert any(f'"{place.lower()}"' in complaint for complaint in told), place
    acme.complaints.clear()


async def messages(api: Api, stream: str) -> int:
    return int((await api.request(f"$JS.API.STREAM.INFO.{stream}"))["state"]["messages"])


async def subjects_of(api: Api, stream: str) -> set[str]:
    info = await api.request(f"$JS.API.STREAM.INFO.{stream}", {"subjects_filter": ">"})
    return set(info["state"].get("subjects") or ())


async def test_its_worker_takes_claims_keeps_and_ends_its_own_job(walled: NatsServer) -> None:
    """Everything that it has to ask of JetStream, by the very subjects; each answer arrives."""
    async with deployed(walled) as (jobs, api), user(walled, "acme") as acme:
        job = (await jobs.submissions.submit("acme", "anything", {"rows": 1})).job
        delivery = await pulled(acme)
        assert delivery.subject == f"tenant.acme.work.default.{job}"
        assert json.loads(delivery.data)["payload"] == {"rows": 1}
        record = subject.record("acme", job)
        first = await acme.client.request(record, b"one", headers={"Nats-Expected-Last-Subject-Sequence": "0"})
        revision = json.loads(first.data)["seq"]
        again = await acme.client.request(record, b"two", headers={"Nats-Expected-Last-Subject-Sequence": "0"})
        assert json.loads(again.data)["error"]["err_code"] == 10071
        assert (await acme.client.request(f"{GET}.{record}")).data == b"one"
        after = {"Nats-Expected-Last-Subject-Sequence": str(revision)}
        assert json.loads((await acme.client.request(record, b"three", headers=after)).data)["seq"] > revision
        assert (await acme.client.request(delivery.reply, b"+WPI")).data == b""
        told = await acme.client.request(subject.handler("build", "acme"), b"{}")
        assert json.loads(told.data)["stream"] == CATALOG
        assert (await acme.client.request(delivery.reply, b"+ACK")).data == b""
        assert subject.work("acme", "default", job) not in await subjects_of(api, WORK)
        assert acme.complaints == []


async def test_a_worker_that_has_no_work_hears_so(walled: NatsServer) -> None:
    """The end of a poll comes through the wall, too."""
    async with deployed(walled), user(walled, "acme") as acme:
        inbox = f"_INBOX.{secrets.token_hex(8)}"
        answers = await acme.client.subscribe(inbox)
        await acme.client.publish(f"{PULL}.acme@default", b'{"batch":1,"no_wait":true}', reply=inbox)
        ended = await answers.next_msg(timeout=10)
        assert (ended.headers or {}).get("Status") == "404"


async def test_it_reaches_nothing_of_another_tenants(walled: NatsServer) -> None:
    """Neither its queue, nor its deliveries, its records, its handlers, or those of everybody."""
    async with deployed(walled) as (jobs, api), user(walled, "acme") as acme:
        job = (await jobs.submissions.submit("beta", "anything", "secret")).job
        before = [await messages(api, stream) for stream in (WORK, bucket_stream(JOBS), CATALOG)]
        await forbidden(
            acme,
            [
                f"{PULL}.beta@default",
                f"{PULL}.acme@other",
                f"$JS.ACK.{WORK}.beta@default.1.1.1.1.0",
                subject.record("beta", job),
                f"{GET}.{subject.record('beta', job)}",
                GET,
                f"$JS.API.DIRECT.GET.{WORK}",
                subject.handler("build", "beta"),
                subject.handler("build", None),
            ],
        )
        after = [await messages(api, stream) for stream in (WORK, bucket_stream(JOBS), CATALOG)]
        assert before == after


async def test_it_can_neither_submit_nor_ask_jetstream_anything_else(walled: NatsServer) -> None:
    """Work comes from whoever checks the tenant's tokens."""
    async with deployed(walled), user(walled, "acme") as acme:
        await forbidden(
            acme,
            [
                subject.work("acme", "default", "x"),
                subject.work("beta", "default", "x"),
                "$JS.API.INFO",
                f"$JS.API.STREAM.INFO.{WORK}",
                f"$JS.API.STREAM.PURGE.{WORK}",
                f"$JS.API.STREAM.DELETE.{bucket_stream(JOBS)}",
                f"$JS.API.STREAM.MSG.GET.{bucket_stream(JOBS)}",
                f"$JS.API.STREAM.MSG.DELETE.{WORK}",
                f"$JS.API.CONSUMER.CREATE.{WORK}.acme@default",
                f"$JS.API.CONSUMER.DELETE.{WORK}.acme@default",
                f"$JS.API.CONSUMER.LIST.{WORK}",
            ],
        )


async def test_it_hears_nothing_of_another_tenants(walled: NatsServer) -> None:
    async with deployed(walled), user(walled, "acme") as acme:
        wanted = ["heard.>", "$KV.>", "tenant.beta.>", "tenant.*.work.>", "$JS.>", ">"]
        for place in wanted:
            await acme.client.subscribe(place)
        await eventually_async(lambda: len(acme.complaints) == len(wanted))


REPLIES = [
    "tenant.beta.work.default.evil",
    "tenant.acme.work.default.evil",
    "tenant.beta.job.1.progress",
    "$KV.MILEPOST_JOBS.beta.1",
    "$KV.MILEPOST_HANDLERS.all.build",
    f"$JS.API.STREAM.PURGE.{WORK}",
    f"$JS.API.STREAM.DELETE.{WORK}",
    f"$JS.API.STREAM.PURGE.{bucket_stream(JOBS)}",
    f"$JS.API.CONSUMER.DELETE.{WORK}.beta@default",
]


async def test_no_answer_is_sent_where_it_may_not_publish(walled: NatsServer) -> None:
    """What JetStream answers goes to the reply that was named: through the wall it does not get that far."""
    async with deployed(walled) as (jobs, api), user(walled, "acme") as acme:
        kept = (await jobs.submissions.submit("beta", "anything", "kept")).job
        mine = (await jobs.submissions.submit("acme", "anything", "mine")).job
        for number, reply in enumerate(REPLIES):
            # a job, a record and an entry, each of acme's own, that somebody else would get as an answer
            await acme.client.publish(f"{PULL}.acme@default", b'{"batch":1,"no_wait":true}', reply=reply)
            await acme.client.publish(subject.record("acme", f"r{number}"), b"{}", reply=reply)
            await acme.client.publish(f"{GET}.{subject.record('acme', f'r{number}')}", b"", reply=reply)
            await acme.client.publish(subject.handler(f"h{number}", "acme"), b"{}", reply=reply)
        await acme.client.request(subject.record("acme", "last"), b"{}")
        async with user(walled, "hub") as hub:
            await hub.client.flush()
        assert await subjects_of(api, WORK) >= {f"tenant.beta.work.default.{kept}", f"tenant.acme.work.default.{mine}"}
        for stream in (WORK, bucket_stream(JOBS), CATALOG):
            assert not [place for place in await subjects_of(api, stream) if "evil" in place or ".beta.1" in place]
        assert "$KV.MILEPOST_HANDLERS.all.build" not in await subjects_of(api, CATALOG)
        assert await log_of(api, "beta", "1") == []
        names = (await api.request(f"$JS.API.CONSUMER.NAMES.{WORK}"))["consumers"]
        assert {"acme@default", "beta@default"} <= set(names)


async def test_without_the_wall_it_would(walled: NatsServer) -> None:
    """Published from within the hub's own account, an answer is stored as work: so the test above would notice."""
    async with deployed(walled) as (_, api), user(walled, "hub") as hub:
        await hub.client.publish(subject.record("acme", "1"), b"{}", reply="tenant.beta.work.default.evil")
        async with asyncio.timeout(10):
            while "tenant.beta.work.default.evil" not in await subjects_of(api, WORK):
                await api.round_trip()


@pytest.mark.parametrize("header", [{"Nats-Rollup": "all"}, {"Nats-Rollup": "sub"}, {"Nats-TTL": "1s"}], ids=str)
async def test_no_header_wipes_what_is_stored(walled: NatsServer, header: dict[str, str]) -> None:
    async with deployed(walled) as (_, api), user(walled, "acme") as acme:
        await api.publish(subject.record("beta", "kept"), b"kept")
        await api.publish(subject.handler("kept", "beta"), b"kept")
        for place in (subject.record("acme", "1"), subject.handler("build", "acme")):
            answer = json.loads((await acme.client.request(place, b"{}", headers=header)).data)
            assert "error" in answer
        for stream, place in (
            (bucket_stream(JOBS), subject.record("beta", "kept")),
            (CATALOG, subject.handler("kept", "beta")),
        ):
            assert await api.last(stream, place) is not None


async def test_a_tenant_s_job_cannot_be_acknowledged_by_guessing(walled: NatsServer) -> None:
    """Its own deliveries it may end, which are its tenant's alone."""
    async with deployed(walled) as (jobs, api), user(walled, "acme") as acme:
        job = (await jobs.submissions.submit("beta", "anything")).job
        for sequence in range(1, 50):
            await acme.client.publish(f"$JS.ACK.{WORK}.acme@default.1.{sequence}.{sequence}.1.0", b"+ACK")
        await acme.client.request(subject.record("acme", "last"), b"{}")
        assert subject.work("beta", "default", job) in await subjects_of(api, WORK)


async def answers(client: Client, place: str) -> bool:
    """Whether anybody answers there."""
    try:
        await client.request(place, b"", timeout=1)
    except nats.errors.NoRespondersError:
        return False
    return True


async def test_the_hub_s_user_may_do_all_of_that(walled: NatsServer) -> None:
    """Submit, read, cancel, for every tenant."""
    async with deployed(walled) as (jobs, api), user(walled, "hub") as hub:
        assert await answers(hub.client, f"$JS.API.STREAM.INFO.{WORK}")
        for tenant in ("acme", "beta"):
            job = (await jobs.submissions.submit(tenant, "anything", 5)).job
            assert (await jobs.store(tenant).get(job)).status == "queued"
            assert (await jobs.submissions.cancel(tenant, job)).status == "cancelled"
            assert [event["status"] for event in await log_of(api, tenant, job)] == ["queued", "cancelled"]
        assert hub.complaints == []


@asynccontextmanager
async def working(walled: NatsServer) -> AsyncIterator[Worker]:
    """Acme's own worker, with acme's own user, on the one queue that it may ask."""
    handlers = Registry()
    for handler in HANDLERS:
        if handler.queue == DEFAULT_QUEUE:
            handlers.add(handler)
    settings = WorkerSettings(user="acme", password=SecretStr("acme"), drain=1)
    async with Worker(walled.url, settings, registry=handlers, tenant="acme") as worker:
        await worker.ready()
        yield worker


async def test_a_worker_with_the_tenant_s_user_runs_a_job_to_its_end(walled: NatsServer) -> None:
    """Submitted at the hub's side, by a handler that only the tenant's worker has told of."""
    async with deployed(walled) as (_, api), working(walled):
        settings = impatient(user="hub", password="hub")
        async with JobRunner(walled.url, "acme", registry=Registry(), settings=settings) as runner:
            job = await runner.submit("anything", {"rows": [1, "é"]})
            ended = await runner.store.wait(job)
            assert (ended.status, ended.run, ended.result) == ("completed", 1, {"rows": [1, "é"]})
            told = await told_of(api, "acme", job)
            # Who runs it may have been faster than who tells that it waits.
            assert told in (["queued", "running", "completed"], ["running", "completed"])
            with pytest.raises(BadPayload) as refused:
                await runner.submit("only-rows", {"rows": 0})
            assert refused.value.reasons[0]["loc"] == ["rows"]


async def test_a_worker_with_the_tenant_s_user_hears_that_a_job_is_to_stop(walled: NatsServer) -> None:
    """By the request on `.control`, across the wall."""
    async with deployed(walled) as (jobs, api), working(walled):
        job = (await jobs.submissions.submit("acme", "waits")).job
        async with contextlib.aclosing(jobs.store("acme").watch(job)) as changes:
            async for now in changes:
                if now.status == "running":
                    break
        assert (await jobs.submissions.cancel("acme", job, "enough")).status == "cancelling"
        assert (await jobs.store("acme").wait(job)).status == "cancelled"
        told = await told_of(api, "acme", job)
        assert ("running" in told, told[-1], told.count("cancelled")) == (True, "cancelled", 1)


async def test_a_worker_with_the_tenant_s_user_mends_a_record_that_cannot_be_read(
    walled: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """From the work in its hand: it may not look into the queue. Nor does it do anything else that it may not."""
    async with deployed(walled) as (jobs, api), user(walled, "acme") as acme:
        job = (await jobs.submissions.submit("acme", "anything", 1)).job
        await acme.client.request(subject.record("acme", job), b"no record")
        async with working(walled):
            assert (await jobs.store("acme").wait(job)).result == 1
            assert (await told_of(api, "acme", job))[-1] == "completed"
    assert "violation" not in caplog.text
