"""Asking real queues for work: what comes, what goes back, and what happens when NATS goes away."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

from milepost_reporter.jetstream.api import Api
from milepost_runner.puller import Delivery, Puller
from milepost_runner.settings import RunnerSettings
from milepost_runner.subject import QueueName

from milepost.nats_server import NatsServer
from tests.runner.stand import IMPATIENT, Stand, standing
from tests.waiting import eventually_async


class Counting(Api):
    """The real thing, which counts what it is given to send."""

    questions = 0

    def send(self, subject: str, payload: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> bool:
        self.questions += ".MSG.NEXT." in subject
        return super().send(subject, payload, reply, headers)


class Hand:
    """A puller with some places, which it keeps until they are `done`."""

    def __init__(self, stand: Stand, places: int, poll: float = 30.0) -> None:
        self.places = places
        self.taken: list[Delivery] = []
        self.api = Counting(
            [stand.server.url],
            RunnerSettings.model_validate(IMPATIENT),
            self._changed,
            stand.jobs._complaints,
            on_heard=self._heard,
        )
        self.puller = Puller(self.api, poll, lambda: self.places, self._take)

    def _changed(self) -> None:
        self.puller.forget()

    def _heard(self, place: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> None:
        assert self.puller.heard(place, payload, headers, reply)

    def _take(self, delivery: Delivery) -> None:
        self.places -= 1
        self.taken.append(delivery)

    def done(self) -> None:
        """Every job that was taken has ended."""
        for delivery in self.taken:
            self.api.send(delivery.reply, b"+ACK")
            self.places += 1
        self.taken.clear()
        self.puller.wake()

    @property
    def jobs(self) -> list[str]:
        return [delivery.subject.rpartition(".")[2] for delivery in self.taken]


@contextlib.asynccontextmanager
async def hand(stand: Stand, places: int, *tenants: str, poll: float = 30.0) -> AsyncIterator[Hand]:
    it = Hand(stand, places, poll)
    it.puller.start()
    for tenant in tenants or (stand.tenant,):
        it.puller.add(QueueName(tenant, "default"))
    it.api.start()
    try:
        await eventually_async(lambda: it.api.up)
        yield it
    finally:
        it.puller.stop()
        await it.api.close()


async def test_no_more_is_taken_than_there_is_room_for(nats_server: NatsServer) -> None:
    """Three at a time, in the order in which they were submitted, until there are none."""
    async with standing(nats_server) as stand:
        jobs = [await stand.submit("w_echo", number) for number in range(8)]
        async with hand(stand, 3) as it:
            for expected in (jobs[:3], jobs[3:6], jobs[6:]):
                await eventually_async(lambda expected=expected: it.jobs == expected)  # type: ignore[misc]
                await it.api.round_trip()
                assert it.jobs == expected
                it.done()
            await stand.acknowledged()
            assert it.puller.returned == 0


async def test_a_job_comes_to_a_question_that_waits(nats_server: NatsServer) -> None:
    """Submitted when nothing was there for a while; also after the question's own time, again and again."""
    async with standing(nats_server) as stand:
        first = await stand.submit("w_echo")
        async with hand(stand, 1, poll=0.2) as it:
            await eventually_async(lambda: it.jobs == [first])
            it.done()
            asked = it.api.questions
            await eventually_async(lambda: it.api.questions > asked + 5)
            job = await stand.submit("w_echo")
            await eventually_async(lambda: it.jobs == [job])
            assert ([taken.times for taken in it.taken], it.puller.returned) == ([1], 0)


async def test_a_full_one_gives_back_what_comes_and_asks_for_it_when_there_is_room(nats_server: NatsServer) -> None:
    """It does not come again and again meanwhile: it is known that it waits."""
    async with standing(nats_server) as stand, hand(stand, 1) as it:
        it.places = 0
        job = await stand.submit("w_echo")
        await eventually_async(lambda: it.puller.returned == 1)
        for _ in range(20):
            await it.api.round_trip()
        assert (it.puller.returned, it.jobs) == (1, [])
        it.places = 1
        it.puller.wake()
        await eventually_async(lambda: it.jobs == [job])
        assert it.taken[0].times == 2


async def test_a_queue_that_is_not_there_is_asked_later(nats_server: NatsServer) -> None:
    """It is told of before anybody has submitted to it."""
    async with standing(nats_server) as stand, hand(stand, 1) as it:
        await it.api.round_trip()
        assert it.jobs == []
        job = await stand.submit("w_echo")
        await eventually_async(lambda: it.jobs == [job])
        assert it.taken[0].times == 1


async def test_questions_are_put_again_after_an_outage(nats_server: NatsServer) -> None:
    async with standing(nats_server) as stand:
        await stand.submit("w_echo")
        async with hand(stand, 1) as it:
            await eventually_async(lambda: it.jobs)
            it.done()
            await stand.acknowledged()
            nats_server.kill()
            await eventually_async(lambda: not it.api.up and not stand.jobs.up and not stand.api.up)
            nats_server.start()
            await eventually_async(lambda: stand.jobs.up and stand.api.up)
            job = await stand.submit("w_echo")
            await eventually_async(lambda: it.jobs == [job])


async def test_one_that_has_stopped_puts_back_what_still_comes(nats_server: NatsServer) -> None:
    async with standing(nats_server) as stand, hand(stand, 1) as it:
        await it.api.round_trip()
        it.puller.stop()
        await stand.submit("w_echo")
        async with hand(stand, 1) as other:
            await eventually_async(lambda: other.jobs)
        assert it.jobs == []
