"""tqdm's bars as nodes, and as lines now and then off a terminal. It knows no tqdm class: only what a bar shows.

A bar that is made again at the same place in the program, with the same description and position, goes on as the same
node, and keeps that one's pace of lines: an inner loop's ten thousand bars are one node that runs again and again.
What such a node tells is sampled as counters are, so that its many ends do not fill the job's log.
"""

from __future__ import annotations

import itertools
import time
import weakref
from collections.abc import Hashable
from typing import Any, Final

from milepost_reporter.bar_line import Pace, Reading, last_line, line
from milepost_reporter.ending import Ending
from milepost_reporter.node import Node
from milepost_reporter.payload import number, text
from milepost_reporter.reporter import Reporter

MAX_PLACES: Final = 1_000
"""Places in one job with a node of their own; beyond, all bars of one position share one."""

_MOST_AT_ONCE: Final = 64
"""Bars that are open at the same place at the same time, each with a node; more have none."""


_numbers: Final = itertools.count(1)


class Bar:
    """One bar, from when it is made until it is closed: its node and its lines."""

    def __init__(self, reporter: Reporter, place: _Place | None, reading: Reading) -> None:
        self.reporter: Final = reporter
        self._place = place
        self._node = None if place is None else place.begin(reporter, reading)

    def show(self, reading: Reading) -> None:
        """What it shows now."""
        if self._node is not None:
            self._node.show(reading)

    def line(self, reading: Reading, interval: float) -> str | None:
        """What is to be written, when a line is due. `interval` is in seconds."""
        if self._place is None or not self._place.pace.due(time.monotonic(), interval):
            return None
        return line(reading)

    def last_line(self, reading: Reading, interval: float, ending: Ending) -> str | None:
        """The same for its end: always, but for a bar of many at one place, whose lines keep their pace."""
        if self._place is None or not (self._place.pace.due(time.monotonic(), interval) or self._place.uses == 1):
            return None
        return last_line(reading, ending.status)

    def close(self, reading: Reading, ending: Ending) -> None:
        """It has ended, and with it its node."""
        if self._node is not None:
            self._node.show(reading)
            self._node.finish(ending)
            self._node = None
        if self._place is not None:
            self._place.leave()


def open_bar(reporter: Reporter, place: Hashable, position: int, reading: Reading) -> Bar:
    """A bar that begins. `place` says which bars are the same one, made again; `position` is its line on a screen."""
    return Bar(reporter, _places_of(reporter).take(place, position), reading)


class _BarNode(Node):
    """A node that says what a bar shows. It may end and run again."""

    __slots__ = ("_once", "_told")

    def __init__(self, reporter: Reporter, node_id: int | str, reading: Reading, *, once: bool) -> None:
        super().__init__(reporter, node_id, None, None, None)
        self._counts = True
        # Whether its end is an event of its own; else it is sampled, and the node may go on.
        self._once = once
        self._told: tuple[Any, ...] = ()
        self.show(reading)

    def show(self, reading: Reading) -> None:
        self._rows = reading.n
        self._name, self._unit = text("nodeName", reading.name), text("unit", reading.unit)
        if reading.total is not None:
            self._total = number("total", reading.total)
        if reading.message is not None:
            self._message = text("message", reading.message)

    def go_on(self, reading: Reading) -> None:
        """Run again, as another bar of the same place."""
        self._done, self._status, self._error = False, "running", None
        self._total = None
        self.show(reading)

    def finish(self, ending: Ending) -> None:
        if self._once:
            self._finish(ending)
        else:
            self.close(ending)

    def close(self, ending: Ending) -> None:
        if not self._done:
            super().close(ending)

    def sample(self) -> dict[str, Any] | None:
        if self._present() == self._told:
            return None
        return self.fields()

    def fields(self) -> dict[str, Any]:
        self._told = self._present()
        return super().fields()

    def _present(self) -> tuple[Any, ...]:
        return (self._rows, self._status, self._name, self._total, self._unit, self._message)


class _Place:
    """Where in the program a bar is made: its node's id, and the node while it may go on."""

    def __init__(self) -> None:
        self.uses = 0
        self.pace: Final = Pace()
        # Taken while a bar is open: taking it is one step, which no other thread can come between.
        self._free: Final = [None]
        self._id: str | None = None
        self._node: _BarNode | None = None

    def take(self) -> bool:
        """False while another bar of this place is open."""
        try:
            self._free.pop()
        except IndexError:
            return False
        self.uses += 1
        return True

    def leave(self) -> None:
        self._free.append(None)

    def begin(self, reporter: Reporter, reading: Reading) -> _BarNode | None:
        """Its node, running."""
        if not reporter.enabled:
            return None
        if self._node is None:
            if self._id is None:
                self._id = f"{reporter.id}-bar-{next(_numbers)}"
            node = _BarNode(reporter, self._id, reading, once=self.uses == 1)
            # As `Reporter.node` does with a node it has made itself.
            reporter.begin_node(node)
            self._node = None if self.uses == 1 else node
            return node
        self._node.go_on(reading)
        return self._node


class _Places:
    """Those of one reporter, in one process."""

    def __init__(self, reporter_id: str) -> None:
        self.reporter_id: Final = reporter_id
        self._places: Final[dict[Hashable, _Place]] = {}

    def take(self, where: Hashable, position: int) -> _Place | None:
        """One that no open bar has; None when that many bars of one place are open."""
        for copy in range(_MOST_AT_ONCE):
            place = self._at((where, position, copy), (position, copy))
            if place.take():
                return place
        return None

    def _at(self, key: Hashable, shared: Hashable) -> _Place:
        if (known := self._places.get(key)) is not None:
            return known
        return self._places.setdefault(key if len(self._places) < MAX_PLACES else shared, _Place())


_of_reporters: Final[weakref.WeakKeyDictionary[Reporter, _Places]] = weakref.WeakKeyDictionary()
_of_nobody: Final = _Places("")


def _places_of(reporter: Reporter) -> _Places:
    """A forked child has its own: its reporter has another id there, and its nodes are others."""
    if not reporter.enabled:
        return _of_nobody
    places = _of_reporters.get(reporter)
    if places is None or places.reporter_id != reporter.id:
        places = _of_reporters[reporter] = _Places(reporter.id)
    return places
