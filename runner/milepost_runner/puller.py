"""Asks the tenants' queues for work, as `fair` says."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from milepost_reporter.jetstream import header
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.stream import NANOSECONDS

from milepost_runner import subject
from milepost_runner.fair import ASK_PATIENCE, Ask, Fair
from milepost_runner.subject import WORK, QueueName

_DELIVERY: Final = f"$JS.ACK.{WORK}.".encode()
_NOTHING: Final = frozenset({404, 408})
"""No messages; the question's time is up."""


class Delivery(NamedTuple):
    """A job as it came from a queue. `reply`: where to tell what became of it. `times`: how often it was delivered."""

    queue: QueueName
    subject: str
    payload: bytes
    reply: str
    times: int


class Puller:
    """Keeps questions at NATS. Belongs to one event loop.

    Args:
        api: a connection whose messages come to `heard`.
        poll: seconds that one poll waits at the server.
        room: how many more jobs may run now.
        take: given a delivery there is room for; must not raise.
    """

    def __init__(self, api: Api, poll: float, room: Callable[[], int], take: Callable[[Delivery], None]) -> None:
        self._api = api
        self._poll = poll
        self._room = room
        self._take = take
        self._fair: Fair[QueueName] = Fair(poll)
        self._inbox = f"_INBOX.{secrets.token_hex(16)}"
        self._prefix = f"{self._inbox}.".encode()
        self._alarm: asyncio.TimerHandle | None = None
        self._open = False
        self._woken = False
        self.returned = 0
        """Jobs that came while there was no room, and were put back at once."""

    def start(self) -> None:
        """Begin to ask, whenever NATS is there."""
        self._open = True
        self._api.hear(f"{self._inbox}.*")
        self.wake()

    def stop(self) -> None:
        """Ask no more. What still comes is put back."""
        self._open = False
        if self._alarm is not None:
            self._alarm.cancel()

    def add(self, queue: QueueName) -> None:
        """There is such a queue."""
        if queue not in self._fair:
            self._fair.add(queue)
            self.wake()

    def forget(self) -> None:
        """The connection has been lost, or is back."""
        self._fair.forget()
        self.wake()

    def wake(self) -> None:
        """There may be room now, or another queue."""
        if self._open and not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._look)

    def heard(self, subject: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> bool:
        """Take in a message of the connection's; False when it is none of this one's."""
        if reply is not None and reply.startswith(_DELIVERY):
            self._delivered(subject, payload, reply)
        elif subject.startswith(self._prefix):
            number = subject[len(self._prefix) :]
            nothing = header.status(headers) in _NOTHING
            self._fair.answered(int(number), time.monotonic(), fault=not nothing)
            self.wake()
        else:
            return False
        return True

    def _look(self) -> None:
        """Put the questions that are due."""
        self._woken = False
        if not self._open or not self._api.up:
            return
        moment = time.monotonic()
        self._fair.tick(moment)
        for ask in self._fair.next(self._room(), moment):
            self._put(ask)
        self._set_alarm(moment)

    def _put(self, ask: Ask[QueueName]) -> None:
        # Every question has an end: at a tenant's limit none is answered, and they would pile up at the server.
        expires = self._poll if ask.waits else ASK_PATIENCE
        question = {"batch": ask.jobs, "expires": round(expires * NANOSECONDS), "no_wait": not ask.waits}
        to = f"$JS.API.CONSUMER.MSG.NEXT.{WORK}.{subject.consumer(ask.queue)}"
        self._api.send(to, json.dumps(question).encode(), f"{self._inbox}.{ask.number}")

    def _set_alarm(self, moment: float) -> None:
        due = self._fair.next_due()
        if self._alarm is not None:
            self._alarm.cancel()
        if due is not None:
            self._alarm = asyncio.get_running_loop().call_later(max(due - moment, 0.001), self._look)

    def _delivered(self, place: bytes, payload: bytes, reply: bytes) -> None:
        # Source: NATS' ADR-15. $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<its own>.<time>.<pending>
        address = reply.decode("ascii", "replace")
        words = address.split(".")
        queue = subject.parse_consumer(words[3])
        if queue is None:
            return
        if not self._open or self._room() <= 0:
            self.returned += 1
            self._api.send(address, b"-NAK")
            self._fair.returned(queue)
        else:
            self._fair.came(queue, int(words[8]))
            self._take(Delivery(queue, place.decode("utf-8", "replace"), payload, address, int(words[4])))
        self.wake()
