"""What a reporter's events amount to, and when its record is due (sans-I/O).

The first record goes ahead of the first event: readers of a job with several reporters must know of one whose events
no record counts. The next goes out after the first events, then at most every two seconds (a large one less often)
while there is news, and at once when the job's own status has changed. One that is not acknowledged is written again.

Of a reporter that is known to be the only one, the first record may wait: for the run's end, at most two seconds.
"""

import time
from datetime import UTC, datetime
from typing import Final, NamedTuple

from milepost_reporter.acks import STALL, Arrived
from milepost_reporter.event import BadEvent, parse_event
from milepost_reporter.record import SUMMARY_HEADER, summary_header, write_record
from milepost_reporter.state import JobState

APART: Final = 2.0
"""Seconds between two records, unless the job's status has changed."""

SHARE: Final = 0.02
"""Of a core's time, what writing records may cost: large ones are written less often."""


SHORT: Final = 100
"""Events of a run whose log is read as fast as a record of it."""

_LONG_END: Final = 8_192
"""Bytes of an end beside which there may be no room for a summary."""


class Writing(NamedTuple):
    """A record to be published, under its own number."""

    number: int
    payload: bytes
    summary: dict[str, str]


class Ledger:
    """One reporter's record in the making. `moment` is always a monotonic clock's.

    early: whether a record goes ahead of the first event. Without, a short run has none: its end sums it up.
    """

    def __init__(self, job: str, run: int, *, owner: bool, early: bool = True) -> None:
        self._state = JobState(job)
        self._state.gate.run = run
        self._run = run
        self._owner = owner
        self._count = 0
        self._seq = 0
        self._news = False
        self._early = early
        self._summed_up = False
        self._urgent = early
        # Since when what there is to tell has waited: the first event's arrival, then the last record.
        self._since = 0.0
        self._cost = 0.0
        self._written = 0
        self._acknowledged = 0

    @property
    def unopened(self) -> bool:
        """Whether a record is to go ahead of the event that is sent now."""
        return self._early and not self._acknowledged

    @property
    def settled(self) -> bool:
        """Whether the last record has everything and has been acknowledged."""
        return not self._news and self._acknowledged == self._written

    def take(self, arrived: Arrived, moment: float) -> None:
        """Count an event, in order."""
        sent, seq, kept = arrived
        if not self._count:
            self._since = moment
        self._count = sent.number
        self._seq = seq or self._seq
        # An end that was not kept has come too late, and nothing comes after it either.
        self._urgent = self._urgent or sent.end
        if not kept:
            return
        if self._summed_up:
            return
        self._news = True
        try:
            event = parse_event(sent.payload)
        except BadEvent:  # what another's payload says in its own way is for its readers
            return
        before = self._state.status
        self._state.apply(event, event.at or datetime.now(UTC), self._run)
        self._urgent = self._urgent or (self._state.status != before and (self._early or self._written > 0))

    def sum_up(self, end: bytes) -> dict[str, str]:
        """The summary that a short run's end carries as a header, so that no record is needed; {} when one is.

        Not when records go ahead of the events: then readers count on them.
        """
        if self._early or self._written or self._count > SHORT or len(end) > _LONG_END:
            return {}
        event = parse_event(end)
        self._state.apply(event, event.at or datetime.now(UTC), self._run)
        self._summed_up, self._news = True, False
        return {SUMMARY_HEADER: summary_header(self._state)}

    def due(self, moment: float) -> float | None:
        """When the record is to be written; None while there is nothing to write."""
        if not self._seq or self.settled:
            return None
        if self._news:
            return moment if self._urgent else self._since + max(APART, self._cost / SHARE)
        return self._since + STALL

    def hurry(self) -> None:
        """What there is to tell is due now."""
        self._urgent = self._news

    def open(self, lease: float | None) -> Writing:
        """The first record, which counts nothing. The next is due as if it had not been written."""
        return self._writing(lease)

    def write(self, moment: float, lease: float | None) -> Writing:
        """The record as of now. `lease`: seconds within which the next beat is promised, or None."""
        begun = time.perf_counter()
        writing = self._writing(lease)
        self._cost = time.perf_counter() - begun
        self._news = self._urgent = False
        self._since = moment
        return writing

    def _writing(self, lease: float | None) -> Writing:
        payload = write_record(self._state, count=self._count, seq=self._seq, owner=self._owner, lease=lease)
        self._written += 1
        return Writing(self._written, payload, {SUMMARY_HEADER: summary_header(self._state)})

    def acknowledged(self, number: int) -> None:
        """The record of this number is kept."""
        self._acknowledged = max(self._acknowledged, number)
