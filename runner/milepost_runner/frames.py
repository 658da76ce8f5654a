"""What goes through the pipe between a worker and a job's process: frames of a kind and a body (sans-I/O)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

ORDER: Final = b"o"
"""To the job, first of all: what to run, pickled."""

CANCEL: Final = b"c"
"""To the job: it is to stop; the reason as JSON."""

EVENT: Final = b"e"
"""From the job: an event's kind, a zero byte, and its payload."""

OUTCOME: Final = b"r"
"""From the job, last of all: a JSON object as `Outcome`, the result in it as text."""

_HEAD: Final = struct.Struct("!cI")


class Frame(NamedTuple):
    """One message."""

    kind: bytes
    body: bytes


def write(kind: bytes, body: bytes) -> bytes:
    """A frame as bytes."""
    return _HEAD.pack(kind, len(body)) + body


class FrameReader:
    """Frames out of bytes as they come."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete with these bytes."""
        held = self._held
        held += data
        frames = []
        at = 0
        while len(held) - at >= _HEAD.size:
            kind, size = _HEAD.unpack_from(held, at)
            body = at + _HEAD.size
            if len(held) - body < size:
                break
            frames.append(Frame(kind, bytes(held[body : body + size])))
            at = body + size
        del held[:at]
        return frames
