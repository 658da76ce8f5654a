"""`text/event-stream` taken apart. Pure. Source: the HTML standard, *Parsing an event stream*."""

from __future__ import annotations

from typing import NamedTuple


class StreamEvent(NamedTuple):
    """One event as an EventSource would see it."""

    kind: str
    data: str
    id: str


class EventStream:
    """Lines in, events out. The last id stays, as the standard says."""

    def __init__(self) -> None:
        self._kind = ""
        self._data: list[str] = []
        self._id = ""

    def line(self, line: str) -> StreamEvent | None:
        """Take one line without its end; the event that it completes."""
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._kind = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> StreamEvent | None:
        kind, data = self._kind, self._data
        self._kind, self._data = "", []
        return StreamEvent(kind or "message", "\n".join(data), self._id) if data else None
