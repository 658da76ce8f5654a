"""Who may run a job: claimed by whoever writes first, followed by whoever comes after a death."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from milepost_reporter.jetstream.api import Ack, Api
from milepost_reporter.jetstream.errors import Unavailable
from milepost_runner.claim import Claim, ClaimLost, take
from milepost_runner.puller import Delivery
from milepost_runner.record import (
    CANCELLED,
    CANCELLING,
    COMPLETED,
    FAILED,
    RUNNING,
    cancelled,
    completed,
    given_back,
    told_to_stop,
)
from milepost_runner.records import Records
from milepost_runner.subject import WORK as WORK_STREAM
from milepost_runner.subject import QueueName, consumer
from milepost_runner.work import read_work

from milepost.nats_server import NatsServer
from tests.runner.stand import Stand, live_api, standing


class Forgetful(Api):
    """The real thing, but that the answers to some publishes get lost: what was asked for is done, nobody hears."""

    losing = 0

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> Ack:
        ack = await super().publish(subject, payload, headers)
        if self.losing:
            self.losing -= 1
            raise Unavailable("the answer got lost")
        return ack


@pytest_asyncio.fixture
async def stand(nats_server: NatsServer) -> AsyncIterator[Stand]:
    async with standing(nats_server, claim=1.0) as it:
        yield it


async def pulled(stand: Stand) -> Delivery:
    """The next delivery, by a question of the test's own."""
    name = consumer(QueueName(stand.tenant, "default"))
    heard: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
    api = Api([stand.server.url], stand.jobs._settings, lambda: None, stand.jobs._complaints, on_heard=_into(heard))
    inbox = f"_INBOX.{stand.tenant}"
    api.hear(inbox)
    api.start()
    try:
        async with asyncio.timeout(20):
            while not api.up:  # noqa: ASYNC110 - the test's own connection
                await asyncio.sleep(0.005)
            question = json.dumps({"batch": 1, "expires": 15 * 10**9}).encode()
            api.send(f"$JS.API.CONSUMER.MSG.NEXT.{WORK_STREAM}.{name}", question, inbox)
            return await heard
    finally:
        await api.close()


def _into(heard: asyncio.Future[Delivery]):  # type: ignore[no-untyped-def]  # noqa: ANN202
    def hear(place: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> None:
        if not heard.done() and reply is not None:
            words = reply.decode().split(".")
            tenant, _, queue = words[3].partition("@")
            heard.set_result(Delivery(QueueName(tenant, queue), place.decode(), payload, reply.decode(), int(words[4])))

    return hear


async def taken(
    stand: Stand, delivery: Delivery, *, worker: str = "w1", deaths: int = 3, api: Api | None = None
) -> Claim | None:
    api = api or stand.api
    return await take(
        api, Records(api), read_work(delivery.subject, delivery.payload), delivery, worker=worker, deaths=deaths
    )


async def test_the_first_claim_makes_the_record(stand: Stand) -> None:
    job = await stand.submit("w_echo", {"x": 1})
    claim = await taken(stand, await pulled(stand))
    assert claim is not None
    now = await stand.store.get(job)
    assert (now.status, now.run, now.payload) == ("running", 1, {"x": 1})
    assert (claim.record.worker, claim.record.deaths) == ("w1", 0)


async def test_of_many_claims_at_once_one_succeeds(stand: Stand) -> None:
    """All have the same delivery in hand, as after a redelivery that crossed a late start: the others do nothing."""
    await stand.submit("w_echo")
    delivery = await pulled(stand)
    claims = await asyncio.gather(*(taken(stand, delivery, worker=f"w{number}") for number in range(10)))
    (claim,) = (claim for claim in claims if claim is not None)
    await claim.refresh()
    assert (claim.record.run, claim.record.deaths) == (1, 0)


async def test_after_a_death_the_next_claim_is_the_next_run(stand: Stand) -> None:
    """The message comes again when nothing was heard of it for the claim's time; the dead one's claim is lost."""
    await stand.submit("w_echo")
    first = await taken(stand, await pulled(stand))
    second = await taken(stand, again := await pulled(stand), worker="w2")
    assert first is not None
    assert second is not None
    assert again.times == 2
    assert (second.record.run, second.record.deaths, second.record.worker) == (2, 1, "w2")
    with pytest.raises(ClaimLost, match="run by w2 now"):
        await first.change(lambda record: record.changed(fraction=0.5))
    with pytest.raises(ClaimLost):
        await first.refresh()
    assert (await second.refresh()).fraction is None


async def test_a_claim_that_is_kept_is_nobody_elses(stand: Stand) -> None:
    """As long as it beats, the message does not come again: beyond twice its time."""
    await stand.submit("w_echo")
    claim = await taken(stand, await pulled(stand))
    assert claim is not None
    name = consumer(QueueName(stand.tenant, "default"))
    for _ in range(12):
        claim.beat()
        await asyncio.sleep(0.2)  # how long it is kept
        info = await stand.api.request(f"$JS.API.CONSUMER.INFO.{WORK_STREAM}.{name}")
        assert (info["num_ack_pending"], info["num_redelivered"]) == (1, 0)
    claim.acknowledge()
    await stand.acknowledged()


async def test_a_job_whose_workers_died_too_often_has_failed_with_one_end(stand: Stand) -> None:
    job = await stand.submit("w_echo")
    assert await taken(stand, await pulled(stand), deaths=2) is not None
    assert await taken(stand, await pulled(stand), deaths=2) is not None
    assert await taken(stand, await pulled(stand), deaths=2) is None
    now = await stand.store.get(job)
    assert (now.status, now.error) == (FAILED, {"message": "its workers died, 2 of them"})
    log = await stand.told(job)
    assert log.ends == {2: FAILED}
    await stand.acknowledged()


async def test_a_job_that_was_being_cancelled_when_its_worker_died_is_cancelled(stand: Stand) -> None:
    job = await stand.submit("w_echo")
    claim = await taken(stand, await pulled(stand))
    assert claim is not None
    await claim.change(lambda record: told_to_stop(record, "enough", datetime.now(UTC)))
    assert claim.record.status == CANCELLING
    assert await taken(stand, await pulled(stand), worker="w2") is None
    assert (await stand.store.get(job)).status == CANCELLED
    log = await stand.told(job)
    assert (log.ends, log.state.snapshot()["message"]) == ({1: CANCELLED}, "enough")
    await stand.acknowledged()


async def test_an_end_that_was_not_told_is_told_again(stand: Stand) -> None:
    """The worker died between the record and the log: whoever gets the message next says it, and acknowledges."""
    job = await stand.submit("w_echo")
    claim = await taken(stand, await pulled(stand))
    assert claim is not None
    await claim.change(lambda record: completed(record, {"rows": 1}, datetime.now(UTC)))
    assert (await stand.log(job)).ends == {}
    assert await taken(stand, await pulled(stand), worker="w2") is None
    log = await stand.told(job)
    assert (log.ends, log.state.snapshot()["result"]) == ({1: COMPLETED}, {"rows": 1})
    await stand.acknowledged()


async def test_an_end_that_is_told_again_says_what_it_said(stand: Stand) -> None:
    """One that completed although it was told to stop has no reason."""
    job = await stand.submit("w_echo")
    claim = await taken(stand, await pulled(stand))
    assert claim is not None
    await claim.change(lambda record: told_to_stop(record, "enough", datetime.now(UTC)))
    await claim.change(lambda record: completed(record, 1, datetime.now(UTC)))
    assert await taken(stand, await pulled(stand), worker="w2") is None
    log = await stand.told(job)
    assert log.ends == {1: COMPLETED}
    assert "message" not in log.entries[-1].raw


async def test_an_end_that_was_told_is_not_told_twice(stand: Stand) -> None:
    """The worker died before it acknowledged."""
    job = await stand.submit("w_echo")
    claim = await taken(stand, await pulled(stand))
    assert claim is not None
    await claim.change(lambda record: cancelled(record, datetime.now(UTC)))
    again = await pulled(stand)
    assert await taken(stand, again, worker="w2") is None
    # two that come with it, and the end is still one
    assert await taken(stand, again, worker="w3") is None
    log = await stand.told(job)
    assert [entry.event.status for entry in log.entries if entry.event.is_terminal] == [CANCELLED]
    await stand.acknowledged()


async def test_a_claim_whose_answer_got_lost_is_ones_own(nats_server: NatsServer, stand: Stand) -> None:
    """It was written, and nobody heard: the same worker finds its own claim, and neither a death nor a second run."""
    await stand.submit("w_echo")
    async with forgetful(nats_server) as api:
        delivery = await pulled(stand)
        api.losing = 1
        claim = await taken(stand, delivery, api=api, deaths=1)
        assert claim is not None
        assert (claim.record.run, claim.record.deaths) == (1, 0)
        await claim.refresh()


async def test_a_change_whose_answer_got_lost_is_made_once(nats_server: NatsServer, stand: Stand) -> None:
    """It is found written, and taken for what it is; others' changes in between are kept."""
    await stand.submit("w_echo")
    async with forgetful(nats_server) as api:
        claim = await taken(stand, await pulled(stand), api=api)
        assert claim is not None
        api.losing = 2
        changes = []
        record = await claim.change(lambda record: changes.append(1) or record.changed(fraction=0.5))  # type: ignore[func-returns-value]
        assert record.fraction == 0.5
        assert await claim.refresh() == record
        api.losing = 1
        ended = await claim.change(lambda record: completed(record, None, datetime.now(UTC)))
        assert (ended.status, await claim.refresh()) == (COMPLETED, ended)


async def test_a_change_sees_what_others_have_written_since(stand: Stand) -> None:
    """A request to cancel comes in between: the change is made to what it left, not instead of it."""
    job = await stand.submit("w_echo")
    claim = await taken(stand, await pulled(stand))
    assert claim is not None
    assert await stand.cancel(job, "enough") == "cancelling"
    record = await claim.change(lambda record: record.changed(fraction=0.5))
    assert (record.status, record.cancel_reason, record.fraction) == (CANCELLING, "enough", 0.5)


async def test_a_job_given_back_is_delivered_at_once_or_after_a_pause(stand: Stand) -> None:
    """And its next claim is no death."""
    await stand.submit("w_echo")
    first = await taken(stand, await pulled(stand))
    assert first is not None
    await first.change(given_back)
    first.give_back()
    second = await taken(stand, again := await pulled(stand))
    assert second is not None
    assert (again.times, second.record.run, second.record.deaths, second.record.status) == (2, 2, 0, RUNNING)
    await second.change(given_back)
    second.give_back(0.2)
    third = await taken(stand, await pulled(stand))
    assert third is not None
    assert (third.record.run, third.record.deaths) == (3, 0)


async def test_a_delivery_that_was_frozen_in_hand_takes_nothing(stand: Stand) -> None:
    """It was delivered to another since, who runs it or has it cancelled: nothing changes, nothing is answered."""
    job = await stand.submit("w_echo")
    frozen = await pulled(stand)
    claim = await taken(stand, await pulled(stand), worker="w2")
    assert claim is not None
    assert await taken(stand, frozen, worker="frozen") is None
    await stand.cancel(job)
    assert await taken(stand, frozen, worker="frozen") is None
    assert (await claim.refresh()).status == CANCELLING
    assert await stand.waiting() == 1
    assert (await stand.log(job)).ends == {}


def forgetful(server: NatsServer) -> contextlib.AbstractAsyncContextManager[Forgetful]:
    return live_api(server, Forgetful)
