"""The events of all runs over the worker's connection, each run's in a lane of its own."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from milepost_reporter.jetstream import header
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.lane import Lane
from milepost_reporter.lane_sender import LaneSender
from milepost_reporter.outbox import Outbox
from milepost_reporter.settings import Settings

_PATIENCE: Final = 10.0
"""Seconds that a log is waited for that was there and is not any more: in a cluster it may have no leader."""


class Events:
    """What runs send over one connection. Belongs to one event loop.

    `api` is a connection whose messages come to `heard`, and whose ups and downs to `changed`.
    """

    def __init__(self, api: Api, complaints: Complaints) -> None:
        self._api = api
        self._complaints = complaints
        self._inbox = f"_INBOX.{secrets.token_hex(16)}"
        self._prefix = f"{self._inbox}.".encode()
        self._senders: dict[str, RunSender] = {}
        self._numbers = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._left = asyncio.Event()
        self.patience = 0.0
        """Seconds until runs give up a log that does not take their events; none for one that never was there."""

    def start(self) -> None:
        """Begin to listen for answers."""
        self._api.hear(f"{self._inbox}.>")

    async def settled(self) -> None:
        """Return when no run has anything left to say, or there is no connection to say it over."""
        while self._senders and self._api.up:
            self._left.clear()
            await self._left.wait()

    def sender(self, settings: Settings, reporter: str, outbox: Outbox, sample: Callable[[], bool]) -> RunSender:
        """What empties one run's outbox."""
        name = str(next(self._numbers))
        lane = Lane(
            settings,
            reporter,
            outbox,
            owner=True,
            begun=lambda: True,
            complain=self._complain,
            early_record=False,
        )
        sender = self._senders[name] = RunSender(self, name, lane, sample, settings.interval)
        self._connect(sender)
        return sender

    def heard(self, subject: bytes, payload: bytes, headers: bytes | None) -> bool:
        """Take in a message of the connection's; False when it is none of these."""
        if not subject.startswith(self._prefix):
            return False
        name, _, address = subject[len(self._prefix) :].decode("ascii", "replace").partition(".")
        sender = self._senders.get(name)
        if sender is not None:
            status = header.status(headers)
            sender.answered(address, None if status is None else str(status), payload)
            if sender.confirmed:
                self.patience = _PATIENCE
        return True

    def changed(self) -> None:
        """The connection has been lost, or is back."""
        self._left.set()
        for sender in list(self._senders.values()):
            self._connect(sender)

    def publish(self, subject: str, payload: bytes, headers: Mapping[str, str], reply: str) -> bool:
        """Hand one event over. False when it is more than the server takes."""
        try:
            self._api.send(subject, payload, reply, headers)
        except ValueError:
            return False
        return True

    def call(self, act: Callable[[], object]) -> None:
        """Have the event loop do it, from whatever thread."""
        if threading.get_ident() == self._thread:
            self._loop.call_soon(act)
        else:
            try:
                self._loop.call_soon_threadsafe(act)
            except RuntimeError:  # a thread that was written off, and the worker has ended
                return

    def forget(self, name: str) -> None:
        """A run has nothing left to say."""
        self._senders.pop(name, None)
        self._left.set()

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        return self._api.up

    def _connect(self, sender: RunSender) -> None:
        info = self._api.server_info
        sender.connected = self._api.up
        if self._api.up:
            sender.connect(
                jetstream=bool(info.get("jetstream")), clustered=bool(info.get("cluster")), inbox=self._inbox
            )

    def _complain(self, sort: str, message: str, *values: object) -> None:
        self._complaints.tell(sort, message % values)


class RunSender(LaneSender):
    """One run's lane on the shared connection: a reporter's `Sender`."""

    connections = 0

    def __init__(self, events: Events, name: str, lane: Lane, sample: Callable[[], bool], interval: float) -> None:
        super().__init__(lane)
        self._events = events
        self._name = name
        self._sample = sample
        self._interval = interval
        self._woken = False
        self._held = True
        self._closing = False
        self._dropped = False
        self._alarm: asyncio.TimerHandle | None = None
        self._told: list[asyncio.Future[None]] = []
        self.connected = False

    @property
    def trouble(self) -> str:
        """Why what is left could not be sent."""
        return self._lane.trouble

    def wake(self) -> None:
        """There is something to take; from any thread."""
        if not (self._woken or self._held or self._dropped):
            self._woken = True
            self._events.call(self._pump)

    def release(self) -> None:
        """Begin to send: not before the handler has been started, which need not wait for that."""
        self._held = False
        self.wake()

    def listen(self, answer: Callable[[bytes], bytes]) -> None:
        """Nothing to do: the worker listens for its runs."""

    def close(self, timeout: float | None = None) -> None:
        """There will be no more to send; what is left is, at once, and as long as there is a worker."""
        self._closing = True
        self._lane.hurry()
        self.wake()

    def join(self) -> None:
        """Nothing to wait for."""

    def connect(self, *, jetstream: bool, clustered: bool, inbox: str) -> None:
        """There is a new connection."""
        inbox = f"{inbox}.{self._name}"
        self._lane.connected(jetstream=jetstream, clustered=clustered, inbox=inbox, moment=time.monotonic())
        self.wake()

    def answered(self, address: str, status: str | None, payload: bytes) -> None:
        """JetStream has answered."""
        moment = time.monotonic()
        self._lane.answered(address, status, payload, moment)
        self._settle()
        due = self._lane.next_due(moment)
        # What waits for this answer, as an end does for all before it, has no time at which it is due.
        if not self._lane.idle or (due is not None and due <= moment):
            self.wake()
        else:
            self._set_alarm(due, moment)

    async def ended(self) -> None:
        """Return when the run's end is stored, or there is no log that could store it."""
        while not (self._lane.ended or self._in_vain):
            told = asyncio.get_running_loop().create_future()
            self._told.append(told)
            await told

    def drop(self) -> None:
        """Send no more, whatever is left."""
        self._dropped = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._events.forget(self._name)

    @property
    def _in_vain(self) -> bool:
        since = self._lane.nobody_since
        return since is not None and time.monotonic() >= since + self._events.patience

    def _pump(self) -> None:
        self._woken = False
        if self._dropped or not self._events.up:
            return
        moment = time.monotonic()
        busy = self._sample() if self._lane.room else False
        self._lane.pump(self._events.publish, moment)
        self._settle()
        due = self._lane.next_due(moment)
        if busy:
            due = min(due or moment + self._interval, moment + self._interval)
        self._set_alarm(due, moment)

    def _set_alarm(self, due: float | None, moment: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if due is not None and not self._dropped:
            self._alarm = asyncio.get_running_loop().call_later(max(due - moment, 0.001), self._pump)

    def _settle(self) -> None:
        """Tell who waits for the end, and leave when there is nothing left."""
        if self._lane.ended or self._in_vain:
            told, self._told = self._told, []
            for future in told:
                if not future.done():
                    future.set_result(None)
        # One that is given back to the queue leaves without an end.
        if (self._lane.ended or self._closing) and (self._lane.settled or self._in_vain):
            self.drop()
