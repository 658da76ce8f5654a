"""One followed job's live path: what may be delivered at once, and what must wait until the log has filled a gap.

The stream passes on every message it has stored, with its sequence, the sequence of the message before it on the same
subject, and the time it was stored. From these three follows, without asking anybody, whether it is the next. Sans-I/O.

- The same or an older sequence: it has been here, and is dropped. Unless it was stored later than what we have: then
  the stream lives another life, and the log is asked.
- On `.progress`, behind exactly the one we had last: it is the next.
- On `.end.<run>`, a subject of its own: whatever may still be missing on `.progress` comes first, from the log.
- Anything else has lost its predecessor on the way: the log is asked, and what comes meanwhile is held.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

from milepost_reporter.jetstream.header import field, number, to_nanoseconds

from milepost_bridge.admission import Admission
from milepost_bridge.cursor import Cursor
from milepost_bridge.place import Place

_SEQUENCE: Final = b"Nats-Sequence"
_LAST: Final = b"Nats-Last-Sequence"
_TIME: Final = b"Nats-Time-Stamp"

_STREAMS_OWN: Final = re.compile(
    rb"\r\nNats-Sequence: ([0-9]{1,19})\r\nNats-Time-Stamp: ([0-9T:.Z-]{20,30})"
    rb"\r\nNats-Last-Sequence: ([0-9]{1,19})\r\n\r\n"
)
"""How the server ends a header block of a message that it passes on; nobody else can write behind it."""
_LONGEST_OWN: Final = 160

MOST_HELD: Final = 1_024
"""Messages held while the log is read; beyond, they are let go and the log is read again."""


class Live(NamedTuple):
    """One message that the stream passes on. `last`: the sequence before it on its subject, 0 when it is the first."""

    place: Place
    subject: bytes
    seq: int
    last: int
    time: int
    payload: bytes
    headers: bytes | None
    cursor: Cursor
    """Its sequence and time: where it stands in the log."""


def live_of(  # noqa: PLR0917 - a message has these parts
    place: Place, subject: bytes, seq: int, last: int, time: int, payload: bytes, headers: bytes | None
) -> Live:
    """A message, put together."""
    return Live(place, subject, seq, last, time, payload, headers, Cursor(seq, time))


def read_live(place: Place, subject: bytes, payload: bytes, headers: bytes | None) -> Live | None:
    """The message; None when the stream's own headers are not there: then it does not come from the stream."""
    if headers is None:
        return None
    own = _STREAMS_OWN.search(headers, max(0, len(headers) - _LONGEST_OWN))
    try:
        if own is not None and own.end() == len(headers):
            seq, time, last = own.groups()
            return live_of(place, subject, int(seq), int(last), to_nanoseconds(time), payload, headers)
        return _read_live_by_field(place, subject, payload, headers)
    except ValueError:
        return None


def _read_live_by_field(place: Place, subject: bytes, payload: bytes, headers: bytes) -> Live | None:
    """However the server may order them one day."""
    seq, last, time = number(headers, _SEQUENCE), number(headers, _LAST), field(headers, _TIME)
    if not seq or last is None or time is None:
        return None
    return live_of(place, subject, seq, last, to_nanoseconds(time), payload, headers)


class Step(Enum):
    """What is to be done with a live message."""

    DELIVER = "deliver"
    DROP = "drop"
    FILL = "fill"


class Feed:
    """How far one followed job has come."""

    __slots__ = ("_again", "_held", "_last_on_progress", "admission", "at", "delivered", "filling", "final")

    def __init__(self) -> None:
        self.admission = Admission()
        self.at = Cursor(0, 0)
        """The last message that was taken, late and invalid ones included."""
        self.delivered = 0
        """The sequence of the last event that was delivered, or was in the snapshot."""
        self.filling = True
        """Whether the log is being read: live messages are held meanwhile. A feed begins so."""
        self.final = False
        """Whether its current run has ended and no other is to be waited for."""
        self._last_on_progress = 0
        self._held: list[Live] = []
        self._again = False

    def begin(self, at: Cursor, last_on_progress: int, delivered: int, admission: Admission) -> None:
        """Go on behind this message of the log."""
        self.at = at
        self._last_on_progress = last_on_progress
        self.delivered = delivered
        self.admission = admission

    def step(self, live: Live) -> Step:
        """What is to be done with a live message now."""
        if live.seq <= self.at.seq:
            return Step.FILL if live.time > self.at.time else Step.DROP
        if live.place.run is not None or live.last != self._last_on_progress:
            return Step.FILL
        return Step.DELIVER

    def hold(self, live: Live) -> None:
        """Keep a message until the log has been read."""
        if len(self._held) >= MOST_HELD:
            self._held.clear()
            self._again = True
        self._held.append(live)

    def took(self, place: Place, at: Cursor) -> None:
        """A message has been dealt with, from the log or live."""
        self.at = at
        if place.run is None:
            self._last_on_progress = at.seq

    def held(self) -> tuple[list[Live], bool]:
        """What was held, in order, and whether some of it had to be let go; from now on nothing is."""
        held, again = sorted(self._held, key=lambda live: live.seq), self._again
        self._held, self._again = [], False
        return held, again
