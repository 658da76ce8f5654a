"""What has been numbered to be sent and is not yet known to have arrived (sans-I/O).

Everything in it is sent again, in order, over the next connection; a reader drops what it has by the number.
"""

from collections import deque
from typing import NamedTuple


class Sent(NamedTuple):
    """One event under its number: from 1, without gaps, in the order of sending."""

    number: int
    subject: str
    payload: bytes
    end: bool = False
    """Whether it is the job's end, which is sent when everything before it has arrived."""


class Window:
    """A bounded, ordered stretch of events in flight. Used by the sending thread alone."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._sent: deque[Sent] = deque()
        self._bytes = 0
        # The number of the last event added.
        self.last = 0
        # The number of the last event known to have arrived, with all before it.
        self.confirmed = 0

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def room(self) -> int:
        """How many more events may be added."""
        return self._max_events - len(self._sent) if self.room_bytes > 0 else 0

    @property
    def room_bytes(self) -> int:
        """How many more bytes may be added. The last event may go over, so that any event fits some time."""
        return self._max_bytes - self._bytes

    def add(self, subject: str, payload: bytes, *, end: bool = False) -> Sent:
        """Give the next event its number, before it is sent."""
        self.last += 1
        sent = Sent(self.last, subject, payload, end)
        self._sent.append(sent)
        self._bytes += len(payload)
        return sent

    def at(self, number: int) -> Sent | None:
        """The event of that number, when it is in the window."""
        index = number - self.confirmed - 1
        return self._sent[index] if 0 <= index < len(self._sent) else None

    def confirm(self, number: int) -> list[Sent]:
        """Everything up to `number` has arrived: those events that were not known to."""
        arrived = []
        while self._sent and self._sent[0].number <= number:
            sent = self._sent.popleft()
            self._bytes -= len(sent.payload)
            self.confirmed = sent.number
            arrived.append(sent)
        return arrived

    def unconfirmed(self) -> list[Sent]:
        """What has to be sent again over a new connection, in order."""
        return list(self._sent)
