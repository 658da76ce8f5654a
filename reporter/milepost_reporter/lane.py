"""One reporter's way into the log: its numbers, its window, its record, its beats (sans-I/O).

Order and completeness come from three rules:

- Events are numbered when they are first sent, and kept in the window until they are known to have arrived:
  stored, where the server has JetStream; read by the server, where it has none (see `acks`).
- Every connection begins anew. What a lost one had not written is never written later, so each connection carries
  an unbroken stretch of numbers from the first unconfirmed one, and a reader that drops what it has by the number
  gets everything once and in order.
- A connection is never given more than the window.

Many lanes may share one connection: all that a lane has of it are an inbox for its answers and a function that
publishes. Belongs to one thread, but for the counts, which any may read.
"""

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Final

from milepost_reporter import subject
from milepost_reporter.acks import WRONG_LAST_SEQUENCE_NOW, Acks, Answer, What, read_answer
from milepost_reporter.ledger import Ledger, Writing
from milepost_reporter.outbox import Outbox
from milepost_reporter.settings import Settings
from milepost_reporter.window import Sent, Window

Publish = Callable[[str, bytes, Mapping[str, str], str], bool]
"""Subject, payload, headers and reply ("": no answer is asked for) of a message to be written without waiting.

False: it is more than the server takes. What cannot be written now is dropped: it goes again over the next connection.
"""

_BATCH: Final = 128
"""Events taken from the outbox at once: the job waits no longer than that for its lock."""

_BEATS_PER_LEASE: Final = 3

_RECOVERY: Final = 1.0
"""Seconds until a lane that broke is tried again."""

_RECORD: Final = "record"
"""What answers to records are addressed with, in place of a go."""

ENDED_BY_OTHERS: Final = "ended"
"""The sort of the complaint that a run's end came second."""

_NO_STREAM: Final = "no stream takes the events: has a hub ever run here?"
_NO_ANSWER: Final = "it did not answer in time"
_NO_HEADERS: Final[Mapping[str, str]] = {}


class Lane:
    """What one reporter sends over whatever connection there is. `moment` is always a monotonic clock's, in seconds.

    Args:
        settings: whom it speaks for, and how much it may hold.
        reporter: the reporter's id.
        outbox: where its events wait.
        owner: whether it speaks for the job itself.
        begun: whether it has told that the job is running: from then on it beats, when it promises a lease.
        complain: told what goes wrong: a sort, a message and its values, as a logger's.
        early_record: whether a record goes ahead of the first event. Without it the first one goes two seconds after
            the first event, or with the run's end; a short run has none, but a summary in its end's header.
    """

    def __init__(
        self,
        settings: Settings,
        reporter: str,
        outbox: Outbox,
        *,
        owner: bool,
        begun: Callable[[], bool],
        complain: Callable[..., object],
        early_record: bool = True,
    ) -> None:
        tenant, job = settings.tenant, settings.job
        self._run = settings.run
        self._job = job
        self._outbox = outbox
        self._begun = begun
        self._complain = complain
        self._lease = settings.lease
        self._end_subject = subject.end(tenant, job, settings.run)
        self._progress_subject = subject.progress(tenant, job)
        self._state_subject = subject.state(tenant, job, reporter)
        self._alive_subject = subject.alive(tenant, job)
        self._id_prefix = f"{tenant}-{job}-{reporter}-"
        self._run_header = {"Milepost-Run": str(settings.run)}
        self._event_headers = {"Milepost-Reporter": reporter, **self._run_header}
        self._window = Window(settings.window_events, settings.window_bytes)
        self._acks = Acks(self._window)
        self._ledger = Ledger(job, settings.run, owner=owner, early=early_record)
        self._inbox = ""
        self._beat_at = 0.0
        self._broken_until = 0.0
        self._told_ended = False
        self._withdrawn = False
        self.ended = False
        """Whether the run's end has arrived: ours, or somebody else's before it."""
        self.refused = 0
        """Events that were not taken, for their size or by the stream."""
        self.trouble = _NO_ANSWER
        """Why what is left has not arrived."""

    @property
    def sent(self) -> int:
        """How many events have been sent, each counted once."""
        return self._window.last

    @property
    def confirmed(self) -> int:
        """How many of those have arrived."""
        return self._window.confirmed

    @property
    def room(self) -> int:
        """How many more events are worth taking out of the outbox, where they can still be conflated."""
        return self._acks.room

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and everything sent has arrived."""
        return not self._window and not len(self._outbox)

    @property
    def settled(self) -> bool:
        """Whether it is idle, its record is kept where records are, and there is nothing left to say."""
        return self.idle and (not self._keeps_record or self._ledger.settled) and not self._owes_last_beat

    @property
    def nobody_since(self) -> float | None:
        """Since when no stream takes the events; None while one does, or nobody knows."""
        return self._acks.nobody_since

    @property
    def wants_pong(self) -> int | None:
        """The event behind which a PONG is of interest: tell `ponged()` of it."""
        return self._acks.wants_pong

    def connected(self, *, jetstream: bool, clustered: bool, inbox: str, moment: float) -> None:
        """There is a new connection, to a server with or without JetStream, alone or one of several.

        Answers come to `f"{inbox}.{address}"`, with an address of two tokens. Everything in flight goes again.
        """
        self._inbox = inbox
        self.trouble = _NO_ANSWER
        # Whoever watches hears at once that the job is still there.
        self._beat_at = 0.0
        self._acks.connected(jetstream=jetstream, clustered=clustered, moment=moment)

    def pump(self, publish: Publish, moment: float) -> None:
        """Send all that may go now: events, the record, a beat. Never raises."""
        if moment < self._broken_until:
            return
        try:
            self._send(publish, moment)
            self._account(moment)
            self._beat(publish, moment)
            if (due := self._record_due(moment)) is not None and due <= moment:
                self._write(publish, self._ledger.write(moment, self._promised))
        except Exception as error:  # whatever it is, those who share the connection go on
            self._broken_until = moment + _RECOVERY
            with contextlib.suppress(Exception):
                self._complain("broken", "what job %s reports cannot be sent for now: %r", self._job, error)

    def answered(self, address: str, status: str | None, payload: bytes, moment: float) -> None:
        """JetStream, or the server in its place, has answered to an event or a record."""
        go, _, number = address.partition(".")
        answer = read_answer(status, payload)
        if go != _RECORD:
            self._react(self._acks.answered(address, answer, moment), number, answer)
            self._account(moment)
        elif answer.what is What.STORED and number.isdecimal():
            self._ledger.acknowledged(int(number))

    def ponged(self, number: int, moment: float) -> None:
        """A PONG has come for a PING that was written behind this event."""
        self._acks.ponged(number)
        self._account(moment)

    def hurry(self) -> None:
        """What the record has not told is due now."""
        self._ledger.hurry()

    def withdraw(self) -> None:
        """Promise no more to end the run: others will. Whoever watches hears so by a last beat."""
        self._withdrawn = self._leased

    def next_due(self, moment: float) -> float | None:
        """When to pump again without news; None when only news can make a difference."""
        if moment < self._broken_until:
            return self._broken_until
        beat = moment if self._owes_last_beat else self._beat_at if self._leased and not self.ended else None
        waiting = self._outbox.next_due(moment) if self._acks.room else None
        dues = (self._acks.next_tick(moment), self._record_due(moment), beat, waiting)
        return min((due for due in dues if due is not None), default=None)

    def _send(self, publish: Publish, moment: float) -> None:
        """Send what may go, and take more out of the outbox as long as there is room."""
        acks = self._acks
        while True:
            acks.tick(moment)
            while (sent := acks.next(moment)) is not None:
                self._publish(publish, sent, moment)
            room = min(acks.room, _BATCH)
            items = self._outbox.take(moment, room, self._window.room_bytes) if room > 0 else ()
            if not items:
                return
            for item in items:
                self._window.add(self._end_subject if item.end else self._progress_subject, item.payload, end=item.end)

    def _publish(self, publish: Publish, sent: Sent, moment: float) -> None:
        """Hand one event over. It stays in the window whatever comes of that."""
        headers = {
            "Nats-Msg-Id": f"{self._id_prefix}{sent.number}",
            "Milepost-Count": str(sent.number),
            **self._event_headers,
            **self._lease_header(),
        }
        if sent.end:
            headers["Nats-Expected-Last-Subject-Sequence"] = "0"
            headers.update(self._ledger.sum_up(sent.payload))
        if self._acks.is_first and self._ledger.unopened:
            self._write(publish, self._ledger.open(self._promised))
        address = self._acks.sending(sent, moment)
        if not publish(sent.subject, sent.payload, headers, self._reply(address)):
            self._refuse(sent.number, "the server takes no messages of its size")
            self._acks.refuse(sent.number, moment)

    def _write(self, publish: Publish, writing: Writing) -> None:
        headers = {**writing.summary, **self._run_header, **self._lease_header()}
        if not publish(self._state_subject, writing.payload, headers, self._reply(f"{_RECORD}.{writing.number}")):
            self._complain("record", "the server takes no state records of %d bytes", len(writing.payload))

    def _reply(self, address: str) -> str:
        return f"{self._inbox}.{address}" if self._acks.asks else ""

    def _beat(self, publish: Publish, moment: float) -> None:
        """Say that the job is alive, or for the last time that it has ended."""
        last = self._owes_last_beat
        if not last and (self.ended or not self._leased or moment < self._beat_at):
            return
        self._beat_at = moment + self._lease / _BEATS_PER_LEASE
        self._told_ended = last
        told = {"run": self._run, "lease": self._lease, **({"ended": True} if last else {})}
        publish(self._alive_subject, json.dumps(told, separators=(",", ":")).encode(), _NO_HEADERS, "")

    def _refuse(self, number: int, words: str) -> None:
        self.refused += 1
        self._complain("refused", "event %d of job %s is left out: %s", number, self._job, words)

    def _react(self, what: What, number: str, answer: Answer) -> None:
        """Say what people should know of an answer."""
        if what is What.REFUSED:
            self._refuse(int(number), answer.words)
        elif what is What.NOBODY:
            self.trouble = _NO_STREAM
            self._complain("nobody", "%s What job %s reports is kept and sent when there is one", _NO_STREAM, self._job)
        elif what is What.AGAIN:
            self.trouble = answer.words
            if answer.code != WRONG_LAST_SEQUENCE_NOW:
                self._complain("again", "the stream takes no events of job %s for now: %s", self._job, answer.words)
        elif what is What.ENDED_BY_OTHERS:
            self._complain(
                ENDED_BY_OTHERS,
                "run %d of job %s had been ended by somebody else before this end was told, so it does not count: "
                "declared lost after a lease without a beat, or ended by another process",
                self._run,
                self._job,
            )

    def _account(self, moment: float) -> None:
        """Count what has arrived."""
        for arrived in self._acks.take_arrived():
            self._ledger.take(arrived, moment)
            self.ended = self.ended or arrived.sent.end

    @property
    def _keeps_record(self) -> bool:
        """Whether there is a stream that has answered, and so one for records."""
        return self._acks.asks and self._acks.ever

    def _record_due(self, moment: float) -> float | None:
        return self._ledger.due(moment) if self._keeps_record else None

    @property
    def _leased(self) -> bool:
        return self._lease > 0 and self._begun() and not self._withdrawn

    @property
    def _owes_last_beat(self) -> bool:
        return not self._told_ended and (self._withdrawn or (self.ended and self._leased))

    @property
    def _promised(self) -> float | None:
        return self._lease if self._leased else None

    def _lease_header(self) -> Mapping[str, str]:
        return {"Milepost-Lease": f"{self._lease:g}"} if self._leased else _NO_HEADERS
