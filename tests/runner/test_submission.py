"""Jobs are taken once, or refused with reasons, or it is safe to try again; and they are cancelled once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from milepost_reporter.jetstream.api import Ack, Api
from milepost_reporter.jetstream.errors import Unavailable
from milepost_runner.errors import (
    BadPayload,
    HasEnded,
    KeyTaken,
    NoSuchJob,
    QueueUnavailable,
    Refused,
    TooLarge,
    UnknownHandler,
)
from milepost_runner.record import CANCELLED, CANCELLING
from milepost_runner.records import Records
from milepost_runner.subject import WORK
from milepost_runner.submission import Submissions

from milepost.nats_server import NatsServer
from tests.bridge.live_api import live_api
from tests.runner.handled import (
    HANDLERS,
    api_of,
    claimed,
    done_with,
    ended,
    impatient,
    jobs_on,
    log_of,
    looking_at,
    own_tenant,
    queued_of,
)
from tests.waiting import eventually_async

BOUND = 65_536


async def another_millisecond() -> None:
    """Return when the clock shows a later one."""
    now = time.time_ns() // 10**6
    await eventually_async(lambda: time.time_ns() // 10**6 > now)


# Taken


async def test_a_job_that_was_taken_is_in_its_handlers_queue_and_told_of(shared_nats: NatsServer) -> None:
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        submitted = await jobs.submissions.submit(tenant, "build", {"rows": 3})
        assert submitted.fresh
        (work,) = [work async for work in Records(api).all_waiting(tenant)]
        assert work.place == (tenant, "slow", submitted.job)
        assert (work.name, work.payload) == ("build", {"rows": 3})
        (event,) = await log_of(api, tenant, submitted.job)
        assert (event["kind"], event["status"], event["run"], event["name"]) == ("job", "queued", 1, "build")
        consumers = (await api.request(f"$JS.API.CONSUMER.NAMES.{WORK}"))["consumers"]
        assert f"{tenant}@slow" in consumers


async def test_ids_sort_by_the_time_they_were_made(shared_nats: NatsServer) -> None:
    """Those of different milliseconds; and no two are the same."""
    tenant = own_tenant()
    async with jobs_on(shared_nats.url) as jobs:
        made: list[str] = []
        for _ in range(20):
            made.append((await jobs.submissions.submit(tenant, "anything")).job)
            await another_millisecond()
        assert made == sorted(made)
        many = await asyncio.gather(*(jobs.submissions.submit(tenant, "anything") for _ in range(200)))
        assert len({submitted.job for submitted in many}) == 200


@pytest.mark.parametrize(
    "payload", ["x" * (BOUND - 2), "é" * (BOUND // 2 - 1), "😀" * (BOUND // 4 - 1) + "xx", [0.00001] * 10_000], ids=len
)
async def test_a_payload_at_the_bound_is_taken(shared_nats: NatsServer, payload: object) -> None:
    """Counted in bytes of UTF-8 as it is stored, and comes out as it was."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        await jobs.submissions.submit(tenant, "anything", payload)
        (work,) = [work async for work in Records(api).all_waiting(tenant)]
        assert work.payload == payload


# Refused


async def refused_with(url: str, name: str, payload: Any, kind: type[Refused]) -> Refused:  # noqa: ANN401 - any JSON
    """The refusal of a job that leaves nothing behind."""
    tenant = own_tenant()
    async with looking_at(url) as api, jobs_on(url) as jobs:
        with pytest.raises(kind) as refused:
            await jobs.submissions.submit(tenant, name, payload)
        assert await queued_of(api, tenant) == []
        consumers = (await api.request(f"$JS.API.CONSUMER.NAMES.{WORK}")).get("consumers") or []
        assert not [name for name in consumers if name.startswith(tenant)]
    return refused.value


@pytest.mark.parametrize(
    "payload", ["x" * (BOUND - 1), "é" * (BOUND // 2), "😀" * (BOUND // 4), "\x00" * (BOUND // 6 + 1)], ids=len
)
async def test_a_payload_over_the_bound_is_too_large(shared_nats: NatsServer, payload: str) -> None:
    """It is said how large, and what to do."""
    refused = await refused_with(shared_nats.url, "anything", payload, TooLarge)
    size = len(json.dumps(payload, ensure_ascii=False).encode())
    assert f"{size:,} bytes, at most {BOUND:,}" in str(refused)


DEEP: list[object] = []
for _ in range(250):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "payload",
    [float("nan"), [float("inf")], {1, 2}, object(), "\ud800", DEEP],
    ids=["nan", "inf", "set", "object", "half", "deep"],
)
async def test_what_no_worker_could_read_is_refused(shared_nats: NatsServer, payload: object) -> None:
    """No JSON at all, or nested deeper than it is read back."""
    refused = await refused_with(shared_nats.url, "anything", payload, BadPayload)
    assert refused.reasons[0]["loc"] == []
    assert refused.reasons[0]["msg"] == str(refused)


async def test_a_payload_that_does_not_fit_is_refused_with_reasons(shared_nats: NatsServer) -> None:
    refused = await refused_with(shared_nats.url, "build", {"rows": 0}, BadPayload)
    assert [reason["loc"] for reason in refused.reasons] == [["rows"]]


@pytest.mark.parametrize("name", ["nobody", "*", ">", "a.b", "a b", "", "x\r\nPUB evil 0\r\n", "x" * 65])
async def test_a_name_that_nobody_has_told_of_is_refused(shared_nats: NatsServer, name: str) -> None:
    """Also one that would be a wildcard, or more than one token."""
    await refused_with(shared_nats.url, name, None, UnknownHandler)


# Keys


async def test_one_key_from_two_runners_at_once_is_one_job(shared_nats: NatsServer) -> None:
    """All get the same id, and one of them the job."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as one, jobs_on(shared_nats.url) as other:
        took = await asyncio.gather(
            *(jobs.submissions.submit(tenant, "build", {"rows": 3}, key="k") for jobs in (one, other) * 10)
        )
        assert len({submitted.job for submitted in took}) == 1
        assert [submitted.fresh for submitted in took].count(True) == 1
        assert await queued_of(api, tenant) == [took[0].job]
        assert len(await log_of(api, tenant, took[0].job)) == 1


@pytest.mark.parametrize(
    "other", [("anything", {"rows": 4}), ("anything", {"rows": True}), ("build", {"rows": 1})], ids=str
)
async def test_a_key_is_for_one_name_and_payload(shared_nats: NatsServer, other: tuple[str, object]) -> None:
    """Another is refused while the first waits, while it runs, and when it has ended."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything", {"rows": 1}, key="k")).job
        for go_on in (None, claimed, ended):
            if go_on is not None:
                await go_on(api, tenant, job)
            with pytest.raises(KeyTaken):
                await jobs.submissions.submit(tenant, other[0], other[1], key="k")
            assert await jobs.submissions.submit(tenant, "anything", {"rows": 1}, key="k") == (job, False)


async def test_two_at_once_with_one_key_and_other_payloads(shared_nats: NatsServer) -> None:
    """One is taken, the other hears that the key is."""
    tenant = own_tenant()
    async with jobs_on(shared_nats.url) as one, jobs_on(shared_nats.url) as other:
        took = await asyncio.gather(
            *(jobs.submissions.submit(tenant, "anything", n, key="k") for n, jobs in enumerate((one, other))),
            return_exceptions=True,
        )
        assert sorted(type(answer).__name__ for answer in took) == ["KeyTaken", "Submitted"]


async def test_a_key_stays_with_a_job_whose_message_is_gone(shared_nats: NatsServer) -> None:
    """It has ended, and is not run again; what JSON makes of a payload is the same payload."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything", {"a": (1, 2), 3: None}, key="k")).job
        await ended(api, tenant, job)
        assert await jobs.submissions.submit(tenant, "anything", {3: None, "a": (1, 2)}, key="k") == (job, False)
        assert await queued_of(api, tenant) == []


async def test_keys_are_each_tenants_own(shared_nats: NatsServer) -> None:
    one, other = own_tenant(), own_tenant()
    async with jobs_on(shared_nats.url) as jobs:
        first = await jobs.submissions.submit(one, "anything", 1, key="k")
        second = await jobs.submissions.submit(other, "anything", 2, key="k")
        assert first.fresh
        assert second.fresh
        assert first.job != second.job


@pytest.mark.parametrize("key", ["", "x" * 257])
async def test_a_key_that_is_none_is_refused(shared_nats: NatsServer, key: str) -> None:
    async with jobs_on(shared_nats.url) as jobs:
        with pytest.raises(ValueError, match="1 to 256 characters"):
            await jobs.submissions.submit(own_tenant(), "anything", key=key)


# Answers that get lost


class Forgetful(Api):
    """Loses the answer to the first so many messages that it puts into the queue."""

    losses = 1

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> Ack:
        ack = await super().publish(subject, payload, headers)
        if ".work." in subject and self.losses:
            self.losses -= 1
            raise Unavailable("the answer was lost")
        return ack


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_lost_acknowledgement_is_no_second_job(shared_nats: NatsServer, key: str | None) -> None:
    """It was taken the first time: it is said so, and told of."""
    tenant = own_tenant()
    async with (
        looking_at(shared_nats.url) as api,
        jobs_on(shared_nats.url),
        api_of(Forgetful, shared_nats.url) as lossy,
    ):
        submitted = await Submissions(lossy, impatient(), HANDLERS).submit(tenant, "anything", 1, key=key)
        assert submitted.fresh
        assert await queued_of(api, tenant) == [submitted.job]
        assert [event["status"] for event in await log_of(api, tenant, submitted.job)] == ["queued"]


class Mute(Api):
    """Sends nothing to subjects with this word in them."""

    word = ".work."

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> Ack:
        if self.word in subject:
            raise Unavailable("nobody answered")
        return await super().publish(subject, payload, headers)


async def test_a_job_that_could_not_be_put_there_can_be_submitted_again(shared_nats: NatsServer) -> None:
    """With its key: nothing of the first try is left, or all of it."""
    tenant = own_tenant()
    async with (
        looking_at(shared_nats.url) as api,
        jobs_on(shared_nats.url) as jobs,
        api_of(Mute, shared_nats.url) as mute,
    ):
        with pytest.raises(QueueUnavailable, match="nobody answered"):
            await Submissions(mute, impatient(), HANDLERS).submit(tenant, "anything", 1, key="k")
        assert await queued_of(api, tenant) == []
        assert (await jobs.submissions.submit(tenant, "anything", 1, key="k")).fresh


async def test_who_submits_again_tells_what_the_first_did_not_live_to_tell(shared_nats: NatsServer) -> None:
    """That the job waits; once."""
    tenant = own_tenant()
    async with (
        looking_at(shared_nats.url) as api,
        jobs_on(shared_nats.url) as jobs,
        api_of(Mute, shared_nats.url) as mute,
    ):
        assert isinstance(mute, Mute)
        mute.word = ".progress"
        job = (await Submissions(mute, impatient(), HANDLERS).submit(tenant, "anything", 1, key="k")).job
        assert await log_of(api, tenant, job) == []
        for _ in range(2):
            assert await jobs.submissions.submit(tenant, "anything", 1, key="k") == (job, False)
        assert [event["status"] for event in await log_of(api, tenant, job)] == ["queued"]


# A queue that does not take it


async def test_a_full_queue_is_told_and_nothing_is_left_behind(nats_server: NatsServer) -> None:
    """Until there is room again; an id whose job was not taken is nobody's."""
    tenant = own_tenant()
    async with looking_at(nats_server.url) as api, jobs_on(nats_server.url, queue_max_bytes=100_000) as jobs:
        took = [await jobs.submissions.submit(tenant, "anything", "x" * 60_000)]
        with pytest.raises(QueueUnavailable, match="the queue is full"):
            await jobs.submissions.submit(tenant, "anything", "y" * 60_000, key="k")
        assert await queued_of(api, tenant) == [took[0].job]
        log = await api.direct_get("MILEPOST_LOG", seq=1, next_by_subj=f"tenant.{tenant}.>", batch=10)
        assert len(log.messages) == 1
        await done_with(api, tenant, took[0].job)
        assert (await jobs.submissions.submit(tenant, "anything", "y" * 60_000, key="k")).fresh


async def test_a_queue_that_was_lost_is_made_again_with_its_consumers(nats_server: NatsServer, tmp_path: Path) -> None:
    """Another server in its place, without what the first had stored: jobs go where workers look."""
    tenant = own_tenant()
    async with jobs_on(nats_server.url) as jobs:
        await jobs.submissions.submit(tenant, "anything")
        nats_server.stop()
        await eventually_async(lambda: not jobs.up)
        with NatsServer(port=nats_server.port, store_dir=tmp_path) as fresh:
            await eventually_async(lambda: jobs.up and jobs.trouble is None)
            async with live_api(fresh.url) as api:
                job = (await jobs.submissions.submit(tenant, "anything")).job
                assert await queued_of(api, tenant) == [job]
                assert (await api.request(f"$JS.API.CONSUMER.NAMES.{WORK}"))["consumers"] == [f"{tenant}@default"]


# Cancelled


async def test_two_who_cancel_a_waiting_job_end_it_once(shared_nats: NatsServer) -> None:
    """One hears that it is cancelled, the other that it has ended; no claim of it succeeds."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as one, jobs_on(shared_nats.url) as other:
        for _ in range(10):
            job = (await one.submissions.submit(tenant, "anything")).job
            answers = await asyncio.gather(
                *(jobs.submissions.cancel(tenant, job, "enough") for jobs in (one, other)), return_exceptions=True
            )
            (record,) = [answer for answer in answers if not isinstance(answer, BaseException)]
            assert [type(answer) for answer in answers if isinstance(answer, BaseException)] == [HasEnded]
            assert (record.status, record.cancel_reason) == (CANCELLED, "enough")
            assert [event["status"] for event in await log_of(api, tenant, job)] == ["queued", "cancelled"]
            assert (await log_of(api, tenant, job))[-1]["message"] == "enough"
            assert await Records(api).write(tenant, job, record, 0) is None


async def test_a_running_job_is_told_to_stop_and_its_worker_asked(shared_nats: NatsServer) -> None:
    """However often: it stays cancelling until its worker has ended it."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything")).job
        await claimed(api, tenant, job)
        asked: list[bytes] = []

        def answer(place: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> None:
            asked.append(payload)
            api.send((reply or b"").decode(), b'{"ok":true}')

        api._on_heard = answer
        listening = api.hear(f"tenant.{tenant}.job.{job}.control")
        if listening is not None:
            await listening
        for _ in range(2):
            record = await jobs.submissions.cancel(tenant, job, "enough")
            assert (record.status, record.cancel_reason) == (CANCELLING, "enough")
        assert asked == [b'{"action":"cancel"}'] * 2


async def test_what_has_ended_or_was_never_there_is_not_cancelled(shared_nats: NatsServer) -> None:
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "anything")).job
        await ended(api, tenant, job)
        with pytest.raises(HasEnded, match="completed"):
            await jobs.submissions.cancel(tenant, job)
        for nobody in ("nobody", "*", ">", "a.b", "a b", "", "x\r\nPUB evil 0\r\n"):
            with pytest.raises(NoSuchJob):
                await jobs.submissions.cancel(tenant, nobody)
            assert await jobs.submissions.name_of(tenant, nobody) is None


# Submitted again


async def test_a_job_is_submitted_again_as_another(shared_nats: NatsServer) -> None:
    """With its name and payload, also when it had a key; another tenant's is unknown."""
    tenant = own_tenant()
    async with looking_at(shared_nats.url) as api, jobs_on(shared_nats.url) as jobs:
        job = (await jobs.submissions.submit(tenant, "build", {"rows": 5}, key="k")).job
        await ended(api, tenant, job)
        again = await jobs.submissions.submit_again(tenant, job)
        assert again.fresh
        assert again.job != job
        assert await jobs.submissions.name_of(tenant, again.job) == "build"
        assert (await jobs.store(tenant).get(again.job)).payload == {"rows": 5}
        with pytest.raises(NoSuchJob):
            await jobs.submissions.submit_again(own_tenant(), job)
