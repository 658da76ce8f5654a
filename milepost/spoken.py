"""What a command says on its outputs, and what of it is told: log lines at a bounded rate, bars as nodes (sans-I/O).

What is beyond the rate is counted, not read: for a second only line feeds are looked for, and the last of what came is
kept. Then a line says how many were left out, the last ones are told, and bars are seen as they stand. Outputs that
change one line all the time cost the same: what is read of them is bounded in bytes a second.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Final, Protocol

from milepost_reporter.node import Node

from milepost.printed_bar import PrintedBar, parse_bar
from milepost.terminal_lines import Line, TerminalLines

RATE: Final = 20.0
BURST: Final = 200

_PAUSE: Final = 1.0
"""Seconds for which an output is only counted when it has said too much."""

_LAST_LINES: Final = 10
"""Of the lines beyond the rate, so many of the last are told with their number."""

_KEPT_BYTES: Final = 8_192
"""What is kept of an output that is only counted: its end."""

_READ_RATE: Final = 128 * 1024
_READ_BURST: Final = 256 * 1024
"""Bytes that are read of one output, a second and at once."""

_SLICE: Final = 4_096
"""Bytes that are read without looking whether it was too much."""

_DETAIL_LINES: Final = 20
"""Last lines that a failure is told with."""

_BARS: Final = 256
"""Bars of one output that get a node; further ones are not told."""


class Told(Protocol):
    """The reporter, or as much of it as is needed here."""

    def log(self, message: str, level: str = ...) -> None:
        """One line of the job's log."""

    def node(
        self, id: int | str | None = ..., name: str | None = ..., *, total: float | None = ..., unit: str | None = ...
    ) -> Node:
        """One step of the job."""
        ...


class Bucket:
    """A token bucket: `burst` at once, and `rate` a second after that."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at: float | None = None

    def take(self, number: float, now: float) -> bool:
        """Take so many if they are there."""
        if self._at is not None:
            self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._left < number:
            return False
        self._left -= number
        return True


class Spoken:
    """What all outputs of one command have said. Any thread may call; `now` is a monotonic clock's, in seconds."""

    def __init__(self, told: Told, *, rate: float = RATE, burst: float = BURST, bars: bool = True) -> None:
        self.told = told
        self.silent = rate <= 0
        self.bars = bars
        self.lines = Bucket(rate, max(1, burst))
        # How many of the last lines beyond the rate are told: not more than there is room for when they are.
        self.last_lines_told = max(0, int(min(_LAST_LINES, rate * _PAUSE - 1, burst - 1)))
        self._lock = threading.Lock()
        self._outputs: list[_Output] = []

    def output(self) -> int:
        """A further output's number."""
        self._outputs.append(_Output(self))
        return len(self._outputs) - 1

    def feed(self, output: int, data: bytes, now: float) -> None:
        """Something was written on an output."""
        with self._lock:
            self._outputs[output].feed(data, now)

    def look(self, now: float) -> None:
        """Tell what is due, where nothing more comes meanwhile."""
        with self._lock:
            for one in self._outputs:
                one.look(now)

    def finish(self, now: float) -> None:
        """Nothing more comes: tell what is left, whatever the rate says."""
        with self._lock:
            for one in self._outputs:
                one.finish(now)

    def last_lines(self, output: int) -> str:
        """The last that an output has said, without bars; empty when it said nothing."""
        with self._lock:
            return "\n".join(self._outputs[output].last)


class _Output:
    def __init__(self, spoken: Spoken) -> None:
        self._spoken = spoken
        self._terminal = TerminalLines()
        self._bars = _Bars(spoken.told, self._terminal)
        self._read = Bucket(_READ_RATE, _READ_BURST)
        self.last: deque[str] = deque(maxlen=_DETAIL_LINES)
        # Until when lines are only counted, how many were, and the last of them: those that were read, then bytes.
        self._counting_until: float | None = None
        self._left_out = 0
        self._unsaid: deque[str] = deque(maxlen=_LAST_LINES)
        self._kept = b""
        # Whether those bytes begin in the middle of a line.
        self._cut = False

    def feed(self, data: bytes, now: float) -> None:
        self.look(now)
        place = 0
        while place < len(data) and self._counting_until is None:
            piece = data[place : place + _SLICE]
            if not self._read.take(len(piece), now):
                self._begin_counting(now)
                break
            place += len(piece)
            self._cut = not piece.endswith(b"\n")
            self._take(self._terminal.feed(piece), now)
        if place < len(data):
            self._count(data[place:] if place else data)
        elif (line := self._terminal.standing()) is not None and line.text.endswith("]"):
            self._not_a_bar(line)

    def look(self, now: float) -> None:
        if self._counting_until is not None and now >= self._counting_until:
            if self._spoken.silent or self._spoken.lines.take(1 + self._spoken.last_lines_told, now):
                self._end_counting(final=False)
            else:  # another output says as much
                self._counting_until = now + _PAUSE

    def finish(self, now: float) -> None:
        if self._counting_until is None:
            self._take(self._terminal.finish(), now)
        if self._counting_until is not None:
            self._end_counting(final=True)

    def _take(self, lines: Iterator[Line], now: float) -> None:
        for line in lines:
            if (text := self._not_a_bar(line)) is not None:
                self._say(text, now)

    def _not_a_bar(self, line: Line) -> str | None:
        """The text of a line that is for the log."""
        bar = parse_bar(line.text) if self._spoken.bars else None
        if bar is not None:
            self._bars.show(bar, line)
        text = line.text if bar is None else bar.behind
        return text if text and line.done else None

    def _say(self, text: str, now: float) -> None:
        self.last.append(text)
        if self._spoken.silent:
            return
        if self._counting_until is None and self._spoken.lines.take(1, now):
            self._spoken.told.log(text)
            return
        self._left_out += 1
        self._unsaid.append(text)
        if self._counting_until is None:
            self._begin_counting(now)

    def _begin_counting(self, now: float) -> None:
        self._counting_until = now + _PAUSE

    def _count(self, data: bytes) -> None:
        self._left_out += data.count(b"\n")
        kept = self._kept + data[-_KEPT_BYTES:]
        self._cut = self._cut or len(kept) > _KEPT_BYTES
        self._kept = kept[-_KEPT_BYTES:]

    def _end_counting(self, *, final: bool) -> None:
        """See the end of what came meanwhile, and tell how much of it was left out."""
        begin = self._kept.find(b"\n") + 1 if self._cut else 0
        kept, self._kept, self._counting_until = self._kept[begin:], b"", None
        self._terminal.restart()
        lines = list(self._terminal.feed(kept))
        if final:
            rest = list(self._terminal.finish())
            # It has no line feed to be counted by.
            self._left_out += len(rest)
            lines += rest
        seen = [text for line in lines if (text := self._not_a_bar(line)) is not None]
        self.last.extend(seen)
        self._tell_left_out(deque([*self._unsaid, *seen], self._spoken.last_lines_told))
        self._unsaid.clear()
        self._left_out = 0

    def _tell_left_out(self, last: deque[str]) -> None:
        if self._spoken.silent:
            return
        left_out = self._left_out - len(last)
        if left_out > 0:
            lines = "line was" if left_out == 1 else "lines were"
            self._spoken.told.log(f"{left_out:,} {lines} left out here: too many a second", "warning")
        for text in last:
            self._spoken.told.log(text)


class _Shown:
    """A bar on the screen, and its node."""

    def __init__(self, node: Node, line: Line) -> None:
        self.node = node
        self.row, self.text = line.row, line.text
        self.rows: float = 0
        self.total: float | None = None
        self.complete = False


class _Bars:
    """An output's bars by their names. One that begins again is the same node; those seen at once are several."""

    def __init__(self, told: Told, terminal: TerminalLines) -> None:
        self._told = told
        self._terminal = terminal
        self._by_name: dict[str, list[_Shown]] = {}
        self._number = 0

    def show(self, bar: PrintedBar, line: Line) -> None:
        shown = self._shown(bar, line)
        if shown is None:
            return
        rows = bar.rows or 0
        if shown.complete:
            if bar.complete or rows > shown.rows:
                return
            shown.node = self._told.node(shown.node.id, bar.name or "progress", total=bar.total, unit=bar.unit)
            shown.complete = False
        # What is behind it has pushed it up: there it is no longer the bar that is drawn.
        text = line.text.removesuffix(bar.behind).rstrip()
        shown.row, shown.text, shown.rows, shown.total = line.row, text, rows, bar.total
        shown.node.report(rows, total=bar.total, message=bar.postfix)
        if bar.complete:
            shown.complete = True
            shown.node.complete()

    def _shown(self, bar: PrintedBar, line: Line) -> _Shown | None:
        """What this line is the newest of; None when there are too many bars."""
        same = self._by_name.get(bar.name, [])
        if free := [one for one in same if self._may_be(one, line)]:
            return min(free, key=lambda one: _unlike(one, bar, line))
        # A line feed of somebody's has moved it, and it stands above as it was: one that is new begins with 0.
        if bar.rows and (moved := [one for one in same if one.total == bar.total and one.rows <= bar.rows]):
            return min(moved, key=lambda one: _unlike(one, bar, line))
        if self._number >= _BARS:
            return None
        self._number += 1
        made = _Shown(self._told.node(None, bar.name or "progress", total=bar.total, unit=bar.unit), line)
        self._by_name.setdefault(bar.name, []).append(made)
        return made

    def _may_be(self, one: _Shown, line: Line) -> bool:
        """Not while it is to be seen elsewhere."""
        return one.row == line.row or one.complete or self._terminal.shown(one.row).rstrip() != one.text


def _unlike(one: _Shown, bar: PrintedBar, line: Line) -> tuple[bool, bool, bool, float]:
    """How little a bar seen before and this one have in common: all of them move a row down when a line is printed."""
    behind = (bar.rows or 0) - one.rows
    return one.total != bar.total, behind < 0, one.row != line.row, behind
