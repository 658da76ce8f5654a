"""One reader's frames against what was stored: what is missing, double, misplaced or should not be there. Pure.

A reading falls into spans. A span begins where a snapshot's cursor, or the beginning of the log, puts the reader, and
from there it has to bring every live event, in order, once. A gap ends a span where the reader stood; the last span has
to reach the end of the log. Frames are counted raw, so whatever came twice is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from chaos.ledger import Ledger
from chaos.reading import Asked, Delivered, Gap, Reading, Reborn, Refused, Snapshot

START = "start"
_TERMINAL = frozenset({"completed", "failed", "cancelled"})


@dataclass
class Finding:
    """What is to be said about one reader."""

    delivered: int = 0
    lost: int = 0
    holes: list[str] = field(default_factory=list)
    """The first and the last cursor of each hole."""
    duplicated: int = 0
    disordered: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    ends: dict[int, int] = field(default_factory=dict)
    """How often the reader learned of each run's end. Runs that were over before its first snapshot are not in it."""
    problems: list[str] = field(default_factory=list)


def judge(
    reading: Reading,
    lives: Sequence[Ledger],
    *,
    conflated: bool = False,
    gaps: Collection[str] = (),
    whole: bool = True,
) -> Finding:
    """Compare. `gaps` are the reasons that may be given; `whole` asks that the reader has got to the end of the log."""
    walk = _Walk(reading, lives, conflated=conflated, gaps=gaps)
    for item in reading.items:
        match item:
            case Asked():
                walk.asked(item)
            case Snapshot():
                walk.snapshot(item)
            case Gap():
                walk.gap(item)
            case Delivered():
                walk.event(item)
            case Reborn():
                walk.reborn()
            case Refused():
                walk.problem(f"was told the error {item.code}: {item.message}")
    return walk.finish(whole=whole)


class _Walk:
    def __init__(self, reading: Reading, lives: Sequence[Ledger], *, conflated: bool, gaps: Collection[str]) -> None:
        self._reading = reading
        self._lives = lives
        self._life = 0
        self._conflated = conflated
        self._allowed = gaps
        self._finding = Finding()
        self._begin: int | None = None  # where the span began; None: not known yet
        self._places: list[int] = []  # what the span has brought, as it came
        self._last: str | None = None  # cursor of the newest event or snapshot
        self._may_picture = False  # a snapshot is due: asked for, or announced by a gap
        self._foreign = False  # the reader's cursor is of another life, and it has not been told so
        self._seen: Counter[int] = Counter()  # places of this life, over all spans
        self._ends: dict[int, int] = {}

    @property
    def _ledger(self) -> Ledger:
        return self._lives[self._life]

    def problem(self, text: str) -> None:
        self._finding.problems.append(f"{self._reading.name} {text}")

    def asked(self, item: Asked) -> None:
        if item.after is None:
            self._close(self._reached())
            self._begin = None
            self._may_picture = True
        elif item.after == START:
            self._close(self._reached())
            self._begin = 0 if self._ledger.complete else None
        elif self._last is None:
            self._stand_at(item.after)
            # whoever has the cursor of an end has been told of it
            begin = self._begin or 0
            self._ends |= {run: 1 for run, end in self._ledger.ends.items() if self._ledger.index[end.cursor] < begin}

    def snapshot(self, item: Snapshot) -> None:
        if not self._may_picture:
            self.problem(f"got a snapshot ({item.cursor}) that was neither asked for nor announced")
        self._may_picture = False
        self._foreign = False
        if item.cursor is not None and not self._ledger.holds(item.cursor):
            self.problem(f"got a snapshot whose cursor {item.cursor} is not of the log")
            return
        reached = self._reached()
        self._close(reached)
        begin = self._ledger.behind(item.cursor)
        if begin < reached:
            self.problem(f"got a snapshot up to event {begin} when it had {reached} of them")
        self._begin = begin
        self._last = item.cursor
        self._picture_end(item, begin)

    def _picture_end(self, item: Snapshot, begin: int) -> None:
        run = item.snapshot.get("run", 1)
        end = self._ledger.ends.get(run)
        ended = item.snapshot.get("status") in _TERMINAL
        if ended != (end is not None and self._ledger.index[end.cursor] < begin):
            self.problem(f"got a snapshot with status {item.snapshot.get('status')} at event {begin}")
        elif ended:
            self._ends.setdefault(run, 1)

    def gap(self, item: Gap) -> None:
        self._finding.gaps[item.reason] += 1
        if item.reason not in self._allowed:
            self.problem(f"was told of a gap ({item.reason}) where nothing was missing")
        self._close(self._reached())
        self._begin = None
        self._foreign = False
        self._may_picture = True

    def event(self, item: Delivered) -> None:
        self._finding.delivered += 1
        place = None if item.cursor is None else self._ledger.index.get(item.cursor)
        if self._foreign:
            self.problem(f"came with a cursor of another life and was sent {item.cursor} without a word")
            self._foreign = False
        if place is None:
            known = item.cursor is not None and self._ledger.holds(item.cursor)
            self.problem(f"was sent {'a late event' if known else 'what was never stored'}: {item}")
            return
        entry = self._ledger.live[place]
        if item.payload != entry.payload.strip():
            self.problem(f"was sent other bytes at {item.cursor} than were stored")
        if self._begin is None:
            if self._may_picture:
                self.problem(f"was sent {item.cursor} before the snapshot that was due")
            self._begin = place
        if self._places and place < self._places[-1]:
            self._finding.disordered += 1
        if place < self._begin and not self._seen[place]:
            self._finding.duplicated += 1  # a snapshot had it already
        self._places.append(place)
        self._seen[place] += 1
        self._last = item.cursor
        run = self._ledger.end_cursors.get(entry.cursor)
        if run is not None:
            self._ends[run] = self._ends.get(run, 0) + 1

    def reborn(self) -> None:
        place = self._last
        self._close(self._reached())
        self._leave()
        self._life += 1
        self._begin = 0
        if place is not None:
            self._stand_at(place)

    def _stand_at(self, cursor: str) -> None:
        """A span begins behind a cursor that the reader has from before."""
        self._last = cursor
        self._foreign = not self._ledger.holds(cursor)
        self._begin = None if self._foreign else self._ledger.behind(cursor)

    def finish(self, *, whole: bool) -> Finding:
        if self._foreign:
            self.problem("was never told that its cursor is of another life")
        if whole and self._begin is None and self._ledger.live:
            self.problem("never got to where events begin")
        self._close(len(self._ledger.live) if whole else self._reached())
        self._leave()
        self._finding.ends = self._ends
        return self._finding

    def _leave(self) -> None:
        self._finding.duplicated += sum(times - 1 for times in self._seen.values())
        self._seen.clear()

    def _reached(self) -> int:
        """Where the reader stands: behind everything it was sent."""
        return max([self._begin or 0, *(place + 1 for place in self._places)])

    def _close(self, end: int) -> None:
        """The span is over; it had to bring everything from its beginning up to `end`."""
        if self._begin is not None:
            missing = set(range(self._begin, end)) - set(self._seen)
            if self._conflated and missing:
                missing -= self._ledger.conflatable()
            self._finding.lost += len(missing)
            self._finding.holes += _holes(sorted(missing), self._ledger)
        self._places.clear()


def _holes(places: list[int], ledger: Ledger) -> list[str]:
    begins = [place for place in places if place - 1 not in places]
    ends = [place for place in places if place + 1 not in places]
    return [
        f"{ledger.live[begin].cursor} to {ledger.live[end].cursor}" for begin, end in zip(begins, ends, strict=True)
    ]


def pictures(reading: Reading, ledger: Ledger) -> list[str]:
    """Every snapshot that is not what the events up to its cursor amount to, in words: which fields differ."""
    problems = []
    for item in reading.of(Snapshot):
        if item.snapshot.get("status") == "unknown" and item.cursor is None:
            continue
        count = ledger.behind(item.cursor)
        for name in sorted(differences(item.snapshot, ledger.reduced(count))):
            problems.append(f"{reading.name} got a snapshot of {count} events in which {name} is not theirs")
    return problems


_READERS_OWN = frozenset({"stalled", "durable"})
"""What depends on the moment of reading."""


def differences(got: dict[str, object], expected: dict[str, object]) -> set[str]:
    """The fields that differ between two snapshots."""
    names = (got.keys() | expected.keys()) - _READERS_OWN
    return {name for name in names if got.get(name) != expected.get(name)}
