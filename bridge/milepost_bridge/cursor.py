"""Cursors: `<seq>-<time>`, an event's stream sequence and its stored time in unix nanoseconds.

The sequence alone would not do: a stream that was made anew, or lost its tail, gives the same one to another event.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from milepost_hub.errors import BadCursor

_CURSOR: Final = re.compile(r"([1-9][0-9]{0,18})-([1-9][0-9]{0,18})", re.ASCII)


class Cursor(NamedTuple):
    """A verifiable position in a job's log."""

    seq: int
    time: int

    def __str__(self) -> str:
        return f"{self.seq}-{self.time}"


def read_cursor(text: str) -> Cursor:
    """The cursor that `text` is. BadCursor when it is none."""
    parts = _CURSOR.fullmatch(text)
    if parts is None:
        raise BadCursor('a cursor is what a message\'s "cursor" said, or "start"')
    return Cursor(int(parts[1]), int(parts[2]))
