"""What one reader was sent, frame by frame, exactly as it came: nothing is dropped, joined or sorted here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

_PAYLOAD: Final = '"payload":'
_decoder: Final = json.JSONDecoder()


class Asked(NamedTuple):
    """It came (again) and asked for what is behind this cursor; None asks for a snapshot."""

    after: str | None


class Subscribed(NamedTuple):
    """It was told whether there is a log."""

    durable: bool
    upstream: str


class Snapshot(NamedTuple):
    """The job's state up to a cursor."""

    cursor: str | None
    snapshot: dict[str, Any]


class Gap(NamedTuple):
    """It was told that events are gone."""

    reason: str
    start: str | None
    to: str | None


class Delivered(NamedTuple):
    """One event."""

    cursor: str | None
    payload: bytes


class Upstream(NamedTuple):
    """The hub's link to NATS."""

    status: str


class Refused(NamedTuple):
    """An error message."""

    code: str
    message: str


class Closed(NamedTuple):
    """The connection ended; without a code when nothing was said."""

    code: int | None
    reason: str = ""


class Done(NamedTuple):
    """An SSE stream said that nothing follows, or answered 204."""

    status: int


class Reborn(NamedTuple):
    """Not sent by anybody: from here on the stream is in its next life."""


Item = Asked | Subscribed | Snapshot | Gap | Delivered | Upstream | Refused | Closed | Done | Reborn


class Reading:
    """The items of one reader, in the order in which they came."""

    def __init__(self, name: str, transport: str) -> None:
        self.name = name
        self.transport = transport
        self.items: list[Item] = []
        # What it would resume with: that of the newest event or snapshot.
        self.cursor: str | None = None
        self.delivered = 0

    def add(self, item: Item) -> None:
        """Take down one item."""
        self.items.append(item)
        if isinstance(item, Delivered):
            self.delivered += 1
        if isinstance(item, Delivered | Snapshot) and item.cursor is not None:
            self.cursor = item.cursor

    def take(self, text: str) -> str:
        """Take down one of the hub's messages; its type."""
        message: dict[str, Any] = json.loads(text)
        kind: str = message["type"]
        item = _read(kind, message, text)
        if item is not None:
            self.add(item)
        return kind

    def of(self, kind: type[Item]) -> list[Any]:
        """All items of one kind."""
        return [item for item in self.items if isinstance(item, kind)]

    @property
    def closes(self) -> list[int | None]:
        """Close codes in order."""
        return [item.code for item in self.items if isinstance(item, Closed)]


def _read(kind: str, message: dict[str, Any], text: str) -> Item | None:
    read = _READ.get(kind)
    return None if read is None else read(message, text)


def payload_of(text: str) -> bytes:
    """The payload's own bytes in the text of a `job.progress`; the spaces around it are nobody's."""
    start = text.index(_PAYLOAD) + len(_PAYLOAD)
    while text[start] in " \t\r\n":
        start += 1
    _, end = _decoder.raw_decode(text, start)
    return text[start:end].encode()


_READ: Final[dict[str, Callable[[dict[str, Any], str], Item]]] = {
    "job.progress": lambda message, text: Delivered(message.get("cursor"), payload_of(text)),
    "job.snapshot": lambda message, _: Snapshot(message.get("cursor"), message["snapshot"]),
    "job.gap": lambda message, _: Gap(message["reason"], message.get("from"), message.get("to")),
    "subscribed": lambda message, _: Subscribed(message["durable"], message["upstream"]),
    "upstream": lambda message, _: Upstream(message["status"]),
    "error": lambda message, _: Refused(message["code"], message["message"]),
}
