"""What was stored, as the stream itself has it, and what a reader therefore has to be given. Pure.

The rule of runs and ends is the reporter package's own (`RunGate`): the ledger applies it once to the whole log, in
the order of the stream, while hub and bridge apply it piecemeal, across restarts, fills and replays.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from milepost_reporter.event import PROGRESS, BadEvent, Event, parse_event
from milepost_reporter.run import RunGate, Verdict
from milepost_reporter.state import JobState

_NUMBER: Final = re.compile(rb"#(\d+)")
_NANOSECONDS: Final = 1_000_000_000


class Entry(NamedTuple):
    """One stored message of a job."""

    seq: int
    time: int
    """Unix nanoseconds."""
    payload: bytes
    run: int | None = None
    """Of an `.end.<run>` subject."""
    source: tuple[str, int] | None = None
    """Milepost-Reporter and Milepost-Count."""

    @property
    def cursor(self) -> str:
        """Its place, as clients name it."""
        return f"{self.seq}-{self.time}"

    @property
    def at(self) -> datetime:
        """When it was stored."""
        seconds, rest = divmod(self.time, _NANOSECONDS)
        # exactly: a float of nanoseconds may be rounded up into the next millisecond
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1_000)


def number_of(payload: bytes) -> int | None:
    """The number that a publisher of the chaos run has put into an event that must not be lost: `#17`."""
    found = _NUMBER.search(payload)
    return None if found is None else int(found[1])


class Ledger:
    """One job's log in one life of the stream.

    `complete` says that it goes back to the job's first event, so that a reader from the start has to have them all.
    """

    def __init__(self, job: str, entries: Iterable[Entry], *, complete: bool = True) -> None:
        self.job = job
        self.complete = complete
        self.entries = sorted(entries)
        self.live: list[Entry] = []
        self.events: list[Event] = []
        self.late: list[Entry] = []
        self.ends: dict[int, Entry] = {}
        self.repeated: list[Entry] = []
        self.counts: dict[str, list[int]] = {}
        """By reporter: how it counted its events, in stored order, late ones and repetitions included."""
        self._admit()
        self.index = {entry.cursor: place for place, entry in enumerate(self.live)}
        self.end_cursors = {entry.cursor: run for run, entry in self.ends.items()}
        self._cursors = {entry.cursor for entry in self.entries}
        self._seqs = [entry.seq for entry in self.live]

    def _admit(self) -> None:
        gate = RunGate()
        had: set[tuple[str, int]] = set()
        for entry in self.entries:
            if entry.source is not None:
                reporter, count = entry.source
                self.counts.setdefault(reporter, []).append(count)
                if entry.source in had:
                    self.repeated.append(entry)
                    continue
                had.add(entry.source)
            try:
                event = parse_event(entry.payload)
            except BadEvent:
                continue
            verdict = gate.admit(event, entry.run)
            if verdict is Verdict.LATE:
                self.late.append(entry)
                continue
            self.live.append(entry)
            self.events.append(event)
            if verdict is Verdict.END:
                self.ends[gate.run] = entry

    def holds(self, cursor: str) -> bool:
        """Whether this is the cursor of a stored message, late ones included."""
        return cursor in self._cursors

    def behind(self, cursor: str | None) -> int:
        """Where in `live` a reader stands whose history goes up to this cursor; 0 without one."""
        if cursor is None:
            return 0
        return bisect.bisect_right(self._seqs, int(cursor.partition("-")[0]))

    def reduced(self, count: int) -> dict[str, Any]:
        """The snapshot that the first `count` live events amount to."""
        state = JobState(self.job)
        for entry, event in zip(self.live[:count], self.events[:count], strict=True):
            state.apply(event, entry.at, entry.run)
        return state.snapshot(durable=True)

    def conflatable(self) -> set[int]:
        """Places in `live` that a client in `latest` mode may miss: progress that a later one of its key replaces."""
        newest: dict[object, int] = {}
        places: set[int] = set()
        for place, event in enumerate(self.events):
            if event.kind == PROGRESS:
                if event.nodeId in newest:
                    places.add(newest[event.nodeId])
                newest[event.nodeId] = place
        return places

    def numbers(self) -> list[int]:
        """The publishers' own numbers, in stored order."""
        return [number for entry in self.live if (number := number_of(entry.payload)) is not None]


def misstored(ledger: Ledger, published: int | None) -> tuple[int, int, int]:
    """(lost, duplicated, out of order) between a publisher that counted from 1 and the log.

    With `published` None the publisher was killed: what it got stored must go from 1 without a hole. A publisher
    numbers what must not be lost, and our reporter besides counts everything that it sends. The two are two views of
    the same events, and the worse one is told.
    """
    numbers = ledger.numbers()
    lost, duplicated, disordered = _off(numbers, max(numbers, default=0) if published is None else published)
    counts = [_off(counts, max(counts)) for counts in ledger.counts.values()]
    return (
        max(lost, sum(each[0] for each in counts)),
        # of what a reporter had stored twice the ledger's live events have one, so no number tells of it
        duplicated + sum(each[1] for each in counts),
        max(disordered, sum(each[2] for each in counts)),
    )


def _off(numbers: list[int], expected: int) -> tuple[int, int, int]:
    """(lost, duplicated, out of order) among numbers that should go from 1 to `expected`."""
    counted = Counter(numbers)
    lost = sum(number not in counted for number in range(1, expected + 1))
    first = list(dict.fromkeys(numbers))
    disordered = sum(later < earlier for earlier, later in itertools.pairwise(first))
    return lost, sum(times - 1 for times in counted.values()), disordered
