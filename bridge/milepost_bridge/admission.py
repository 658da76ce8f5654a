"""Which of a job's messages are events that count: the same rule for what is live and for what is read from the log.

Source: protocol, *Runs and ends*. A message is taken in the order of the job's log, once: a reporter that is not sure
sends again, and says by its own count what it sends again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from milepost_reporter.event import PROGRESS, BadEvent, Event, parse_event
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.names import is_name
from milepost_reporter.run import RunGate, Verdict

from milepost_bridge.place import LONGEST
from milepost_bridge.settings import BridgeSettings

_OURS: Final = b"\r\nMilepost-"
_REPORTER: Final = b"\r\nMilepost-Reporter:"
_COUNT: Final = b"\r\nMilepost-Count:"
_LEASE: Final = b"\r\nMilepost-Lease:"
_LONGEST_COUNT: Final = 16
_MOST_MISSING: Final = 64
"""Counts of one reporter that were passed over and may still come."""


class Admission:
    """How far one job has come: what tells its next event from what has been here or comes too late."""

    __slots__ = ("_counted", "_most", "_rising", "gate")

    def __init__(self, run: int = 1, *, ended: bool = False, rising: bool = False, most: int = 0) -> None:
        """Begin in this run.

        `rising`: what a reporter passed over is not taken when it comes later. `most`: so many reporters are told apart
        at least, for they are known already.
        """
        self._rising = rising
        self._most = most
        self.gate = RunGate()
        self.gate.run = run
        self.gate.ended = ended
        # by reporter, the longest silent first; most jobs have none or one
        self._counted: dict[bytes, _Counted] | None = None

    def has_had(self, reporter: bytes, count: int, max_reporters: int) -> bool:
        """Whether `reporter`'s event of this count has been here; from now on it has."""
        if self._counted is None:
            self._counted = {}
        known = self._counted.pop(reporter, None)
        self._counted[reporter] = known or _Counted(count)
        if len(self._counted) > max_reporters and len(self._counted) > self._most:
            del self._counted[next(iter(self._counted))]
        return known is not None and known.has_had(count, rising=self._rising)


class _Counted:
    """How far one reporter has come, and what may still come: events that a fault has put behind later ones."""

    __slots__ = ("_last", "_missing")

    def __init__(self, count: int) -> None:
        self._last = count
        self._missing: set[int] | None = None

    def has_had(self, count: int, *, rising: bool) -> bool:
        if count == self._last + 1 or (rising and count > self._last):
            self._last = count
            return False
        if count > self._last:
            missed = range(max(self._last + 1, count - _MOST_MISSING), count)
            self._missing = {*(self._missing or ()), *missed}
            while len(self._missing) > _MOST_MISSING:
                self._missing.discard(min(self._missing))
            self._last = count
            return False
        if self._missing is None or count not in self._missing:
            return True
        self._missing.discard(count)
        return False


class Admitted(NamedTuple):
    """An event that counts. `ends`: it is its run's end."""

    event: Event
    ends: bool

    @property
    def key(self) -> str | None:
        """What it may be conflated by: its node, "" for progress of the whole job, None for what must stay.

        A node's id is typed: 1 and "1" are two nodes.
        """
        if self.event.kind != PROGRESS:
            return None
        node = self.event.nodeId
        if node is None:
            return ""
        return str(node) if isinstance(node, int) else f'"{node}'


class Admittance:
    """Decides about messages, and counts what became of them.

    counts: `duplicate`, `late`, `bad_header` (nonsense about its reporter: taken without it), `invalid_<reason>`.
    """

    def __init__(self, settings: BridgeSettings, counts: dict[str, int], complaints: Complaints) -> None:
        self._max_payload = settings.max_payload
        self._max_reporters = settings.max_reporters
        self.counts = counts
        self._complaints = complaints

    def admit(
        self, known: Admission, subject: bytes, run: int | None, payload: bytes, headers: bytes | None
    ) -> Admitted | None:
        """The event, unless it was here before, is none, or comes too late. `run`: of an `.end.<run>` subject."""
        if headers is not None and _OURS in headers and self._is_duplicate(known, headers):
            self.counts["duplicate"] += 1
            return None
        event = self.event(subject, run, payload)
        if event is None:
            return None
        verdict = known.gate.admit(event, run)
        if verdict is Verdict.LATE:
            self.counts["late"] += 1
            return None
        return Admitted(event, verdict is Verdict.END)

    def event(self, subject: bytes, run: int | None, payload: bytes) -> Event | None:
        """The event in a payload; None, told and counted, when there is none that belongs on this subject."""
        try:
            event = parse_event(payload, max_bytes=self._max_payload)
        except BadEvent as bad:
            self.refuse(bad.reason, subject, str(bad))
            return None
        if run is not None and not event.is_terminal:
            self.refuse("not_an_end", subject, "not a job's end, on a subject for ends")
            return None
        return event

    def refuse(self, reason: str, subject: bytes, why: str) -> None:
        """Count a message that is no event, and tell of it now and then."""
        name = f"invalid_{reason}"
        self.counts[name] = self.counts.get(name, 0) + 1
        self._complaints.tell(name, f"{subject[:LONGEST]!r}: {why!r}")

    def _is_duplicate(self, known: Admission, headers: bytes) -> bool:
        """Whether this reporter's event has been here. Headers that make no sense say nothing."""
        counted = counted_by(headers)
        if counted is None:
            return False
        reporter, count = counted
        if not count:
            self.counts["bad_header"] += 1
            return False
        return known.has_had(reporter, count, self._max_reporters)


def counted_by(headers: bytes) -> tuple[bytes, int] | None:
    """Which reporter sent a message, and as its how-manieth; (…, 0) for nonsense, None when it says nothing."""
    reporter, count = _field(headers, _REPORTER), _field(headers, _COUNT)
    if reporter is None and count is None:
        return None
    if not (reporter and _is_reporter(reporter) and count and _is_count(count)):
        return b"", 0
    return reporter, int(count)


def is_leased(headers: bytes | None) -> bool:
    """Whether its reporter promises to beat: then somebody watches over the job, and silence means nothing."""
    return headers is not None and _LEASE in headers


@lru_cache(maxsize=1024)
def _is_reporter(value: bytes) -> bool:
    return value.isascii() and is_name(value.decode("ascii"))


def _is_count(value: bytes) -> bool:
    return len(value) <= _LONGEST_COUNT and value.isdigit() and value[:1] != b"0"


def _field(headers: bytes, name: bytes) -> bytes | None:
    """The last value of a header: whoever repeats one may have meant to hide the other."""
    at = headers.rfind(name)
    if at < 0:
        return None
    start = at + len(name)
    end = headers.find(b"\r\n", start)
    return headers[start : end if end >= 0 else None].strip()
