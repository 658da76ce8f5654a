"""One message of a channel, encoded for clients: once for everybody."""

from __future__ import annotations

import re
from typing import NamedTuple

from milepost_hub.event import Event
from milepost_hub.frame import text_frame, text_of

_LINE_ENDS = re.compile(rb"\r\n|\r|\n")


class Delivery(NamedTuple):
    """A message as a WebSocket frame, with what else has to be known of it."""

    frame: bytes
    key: str | None = None
    """Of those with the same key a slow `latest` client gets the newest."""
    kind: str = "progress"
    """An event's kind, or `snapshot`, `gap`, `summary`, `listed`, `upstream`, `heartbeat`."""
    end: str | None = None
    final: bool = False
    """A run's end behind which nothing follows by itself."""
    position: int | None = None
    cursor: str | None = None

    @property
    def message(self) -> bytes:
        """The JSON in the frame."""
        return text_of(self.frame)


def deliver(head: bytes, event: Event) -> Delivery:
    """An event behind its job's head (see `message.progress_head`), with its place in the log if it has one."""
    cursor = event.cursor
    if cursor is None:
        frame = text_frame(b"%b%b}" % (head, event.payload))
    else:
        place = (head, event.payload, cursor.encode(), (event.at or "").encode())
        frame = text_frame(b'%b%b,"cursor":"%b","at":"%b"}' % place)
    return Delivery(frame, event.key, event.kind, event.end, event.final, event.position, cursor)


def server_sent(delivery: Delivery) -> bytes:
    """The message as a server-sent event.

    JSON may have line ends between its tokens; each line is a `data:` of its own, which clients put together again.
    """
    message = delivery.message
    if b"\n" in message or b"\r" in message:
        message = _LINE_ENDS.sub(b"\ndata: ", message)
    name = (delivery.end or delivery.kind).encode()
    if delivery.cursor is None:
        return b"event: %b\ndata: %b\n\n" % (name, message)
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name, delivery.cursor.encode(), message)
