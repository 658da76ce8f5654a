"""What answers mean for the window (sans-I/O): what may be sent next, what has arrived, what is sent again.

Two ways of knowing that an event has arrived:

- By acknowledgement, where the server has JetStream: every event asks for an answer, and the stream answers
  when it has stored it. Events count as arrived in order only.
- By PONG, where it has none: a PONG for a PING that was written behind an event.

Order. Whenever the stream may not take everything, one event goes first, alone: over a new connection, after
"nobody takes this" or another refusal, after a stall, and when an answer is missing. Only when the answer to
this very sending (each go has a number of its own) has come do the others follow. So no event is stored ahead
of one before it, a stream made late begins with the first event, and what a hanging server answers late is not
sent a second time. One thing is beyond this: a stream that goes away, or drops what it has no room for, and is
back while events are in flight takes the later ones of them first.

In a cluster that is nothing unusual: another server becomes the stream's leader while this connection stays, an
event is lost on the way to the old one, and those sent right behind it are stored by the new one. So there every
event goes alone, and the next when the stream has answered to it. Nothing else would do: what a publisher may
expect of a stream is its last event, whoever's that is, or the last of a subject by a place in the log that
nobody knows before the answer.

With JetStream, and somebody else listening but no stream, there is no answer at all. A reporter that has never
had one takes the PONG for it after a while. An answer that comes later puts an end to that for good.
"""

import json
from enum import Enum
from typing import Any, Final, NamedTuple

from milepost_reporter.window import Sent, Window

STALL: Final = 2.0
"""Seconds without an answer until the first event that waits for one is sent again."""

PATIENCE: Final = 3.0
"""Seconds without a first answer, ever, until the PONG is taken for it."""

PAUSE: Final = 0.5
"""Seconds between two goes at a stream that is not there or refuses."""

_NO_RESPONDERS: Final = "503"
_BAD_REQUEST: Final = 400
_WRONG_LAST_SEQUENCE: Final = 10071
WRONG_LAST_SEQUENCE_NOW: Final = 10164
"""Another publish to the same subject is being decided: ask again."""


class What(Enum):
    """What one answer says."""

    STORED = "stored"
    NOBODY = "nobody"
    """There is no stream for it, and nobody listens."""

    AGAIN = "again"
    """Not now."""

    REFUSED = "refused"
    """This event never, whatever happens to others."""

    ENDED_BY_OTHERS = "ended by others"
    """It was an end, and the run has one already that is not ours."""

    NOTHING = "nothing"
    """Not an answer, or not any more."""


class Answer(NamedTuple):
    """One answer: what it says, the event's place in the log when stored, a refusal's words."""

    what: What
    seq: int = 0
    words: str = ""
    code: int = 0


class Arrived(NamedTuple):
    """An event that has arrived: its place in the log, when it is known to be stored there."""

    sent: Sent
    seq: int | None
    kept: bool
    """Whether it was taken at all; not when it was refused."""


_NOTHING: Final = Answer(What.NOTHING)


def read_answer(status: str | None, payload: bytes) -> Answer:
    """What JetStream, or the server in its place, has answered. Anything else is nothing."""
    if not payload:
        return Answer(What.NOBODY) if status == _NO_RESPONDERS else _NOTHING
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return _NOTHING
    if not isinstance(told, dict):
        return _NOTHING
    if isinstance(error := told.get("error"), dict):
        return _refusal(error)
    seq = told.get("seq")
    return Answer(What.STORED, seq) if isinstance(seq, int) and isinstance(told.get("stream"), str) else _NOTHING


def _refusal(error: dict[str, Any]) -> Answer:
    code = error.get("err_code")
    final = error.get("code") == _BAD_REQUEST and code != WRONG_LAST_SEQUENCE_NOW
    words = str(error.get("description", "refused"))
    return Answer(What.REFUSED if final else What.AGAIN, 0, words, code if isinstance(code, int) else 0)


class Acks:
    """The rules for one reporter's window. `moment` is always a monotonic clock's."""

    def __init__(self, window: Window) -> None:
        self._window = window
        # Whether a stream has ever answered; from then on nothing else will do.
        self.ever = False
        # Whether events arrive by PONG.
        self.by_pong = True
        self._asks = False
        # Whether the stream may have another leader any time, and this connection not notice.
        self._clustered = False
        # Since when nobody takes the events; None while somebody does.
        self.nobody_since: float | None = None
        # Which go this is: answers to an earlier one say what was stored, and nothing else.
        self._go = 0
        # The last event sent in this go, or known to be stored.
        self._cursor = 0
        # The event that goes first, alone; None when all may go.
        self._probe: int | None = None
        self._probe_sent = False
        self._not_before = 0.0
        # When there was an answer last, or something to answer.
        self._progress_at = 0.0
        self._ponged = 0
        # What is stored ahead of an event that is not; None for what will never be.
        self._ahead: dict[int, int | None] = {}
        self._arrived: list[Arrived] = []
        # Whether an end was sent that may have been stored without our knowing.
        self._end_in_doubt = False
        self._end_unanswered = False

    @property
    def asks(self) -> bool:
        """Whether events are to ask for answers over this connection."""
        return self._asks

    @property
    def is_first(self) -> bool:
        """Whether an event that goes now is the first one that a stream is asked to store."""
        return self._asks and not self.ever and not self.by_pong

    @property
    def room(self) -> int:
        """How many more events are worth taking out of the outbox, where they can still be conflated."""
        if self._probe is None and not self._one_by_one:
            return self._window.room
        return 0 if len(self._window) else 1

    @property
    def wants_pong(self) -> int | None:
        """The event behind which a PONG is of interest."""
        wanted = self._cursor if self.by_pong or not self.ever else 0
        return wanted if wanted > max(self._ponged, self._window.confirmed) else None

    def connected(self, *, jetstream: bool, clustered: bool = False, moment: float) -> None:
        """There is a new connection, to a server with or without JetStream, alone or one of several.

        Everything in flight goes again.
        """
        self._asks = jetstream
        self._clustered = clustered
        self.by_pong = not jetstream
        self.nobody_since = None
        self._go_back(moment, 0.0)
        if self.by_pong:
            self._probe = None

    def next(self, moment: float) -> Sent | None:
        """The event to send now; tell `sending()` before anything else is asked."""
        if moment < self._not_before:
            return None
        confirmed = self._window.confirmed
        self._cursor = max(self._cursor, confirmed)
        while self._cursor + 1 in self._ahead:
            self._cursor += 1
        if self._probe is not None:
            if not self._probe_sent:
                self._probe = self._cursor + 1
            if self._cursor >= self._probe:
                return None
        if self._one_by_one and self._cursor > confirmed:
            return None
        sent = self._window.at(self._cursor + 1)
        if sent is not None and sent.end and sent.number != confirmed + 1:
            return None
        return sent

    def sending(self, sent: Sent, moment: float) -> str:
        """`sent` is being sent now. What its answer is to be addressed with."""
        if self._cursor <= self._window.confirmed:
            self._progress_at = moment
        self._cursor = sent.number
        if self._probe == sent.number:
            self._probe_sent = True
            self._progress_at = moment
        if sent.end:
            self._end_in_doubt, self._end_unanswered = self._end_unanswered, True
        return f"{self._go}.{sent.number}"

    def answered(self, address: str, answer: Answer, moment: float) -> What:
        """An answer has come. What it meant, where that is of interest to people."""
        go, _, number = address.partition(".")
        if not (go.isdecimal() and number.isdecimal()) or answer.what is What.NOTHING:
            return What.NOTHING
        if answer.what is What.STORED:
            self._has(int(number), answer.seq, moment)
            self._pass(int(go), int(number))
            self._look_for_gap(int(go), int(number), moment)
            return What.STORED
        if int(go) != self._go or not self._window.confirmed < int(number) <= self._cursor:
            return What.NOTHING
        return self._not_stored(int(number), answer, moment)

    def refuse(self, number: int, moment: float) -> None:
        """This event will never be sent."""
        self._has(number, None, moment, known=False)
        self._pass(self._go, number)

    def ponged(self, number: int) -> None:
        """A PONG has come for a PING behind this event."""
        self._ponged = max(self._ponged, number)
        if self.by_pong:
            self._arrive_by_pong(number)

    def tick(self, moment: float) -> None:
        """Do what is due by the clock."""
        due = self.next_tick(moment)
        if due is None or due > moment or moment < self._not_before:
            return
        if self.ever:
            self._go_back(moment, 0.0)
        elif self._probe_sent and self._ponged >= self._cursor:
            self.by_pong = True
            self.nobody_since = None
            self._probe = None
            self._arrive_by_pong(self._ponged)

    def next_tick(self, moment: float) -> float | None:
        """When there is something due by the clock; None when not."""
        if moment < self._not_before:
            return self._not_before
        if self.by_pong or self._cursor <= self._window.confirmed:
            return None
        due = self._progress_at + (STALL if self.ever else PATIENCE)
        # A PONG that is still missing wakes the sender itself.
        return due if self.ever or self._ponged >= self._cursor else max(due, moment + PAUSE)

    def take_arrived(self) -> list[Arrived]:
        """What has arrived since this was asked last, in order."""
        arrived, self._arrived = self._arrived, []
        return arrived

    @property
    def _one_by_one(self) -> bool:
        return self._clustered and not self.by_pong

    def _not_stored(self, number: int, answer: Answer, moment: float) -> What:
        sent = self._window.at(number)
        is_end = sent is not None and sent.end
        if is_end:
            self._end_unanswered = False
        if answer.what is What.REFUSED:
            ours = is_end and answer.code == _WRONG_LAST_SEQUENCE and self._end_in_doubt
            self._has(number, 0 if ours else None, moment)
            self._pass(self._go, number)
            if is_end and answer.code == _WRONG_LAST_SEQUENCE:
                return What.STORED if ours else What.ENDED_BY_OTHERS
            return What.REFUSED
        if is_end:
            # What was in doubt before this go still is.
            self._end_unanswered = self._end_in_doubt
        if answer.what is What.NOBODY:
            self.by_pong = False
            self.nobody_since = self.nobody_since or moment
        self._go_back(moment, PAUSE)
        return answer.what

    def _has(self, number: int, seq: int | None, moment: float, *, known: bool = True) -> None:
        """The stream has this event, or will never have it. `known`: it was the stream that said so."""
        if known:
            self.ever = True
            self.nobody_since = None
            if self.by_pong:
                self._by_acknowledgement(number)
        window = self._window
        if not window.confirmed < number <= window.last:
            return
        if number not in self._ahead:
            self._progress_at = moment
        self._ahead[number] = seq
        while (following := window.confirmed + 1) in self._ahead:
            self._arrive(following, self._ahead.pop(following))

    def _by_acknowledgement(self, number: int) -> None:
        """There is a stream after all: what went before its first event was sent when there was none."""
        self.by_pong = False
        self._arrive_by_pong(number - 1)

    def _arrive_by_pong(self, number: int) -> None:
        for sent in self._window.confirm(number):
            self._ahead.pop(sent.number, None)
            self._arrived.append(Arrived(sent, None, kept=True))

    def _arrive(self, number: int, seq: int | None) -> None:
        for sent in self._window.confirm(number):
            self._arrived.append(Arrived(sent, seq or None, kept=seq is not None))

    def _pass(self, go: int, number: int) -> None:
        """The others may follow the one that went first, once it has been answered in this go."""
        if go == self._go and number == self._probe:
            self._probe = None
            self._cursor = max(self._window.confirmed, number)

    def _look_for_gap(self, go: int, number: int, moment: float) -> None:
        """Answers come in the order of sending: one before this that has not come is not on its way any more."""
        if go == self._go and self._probe is None and number in self._ahead:
            self._go_back(moment, 0.0)

    def _go_back(self, moment: float, pause: float) -> None:
        self._go += 1
        self._cursor = self._window.confirmed
        self._probe = self._cursor + 1
        self._probe_sent = False
        self._ponged = 0
        self._not_before = moment + pause
