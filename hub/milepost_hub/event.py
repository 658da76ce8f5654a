"""One event on its way to clients."""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """What the hub is given of an event, live and from the log alike."""

    payload: bytes
    """A JSON object in UTF-8, valid: it goes out byte for byte."""
    kind: str
    """`progress`, `job`, `log`, `artifact`, `plan` or `result`."""
    key: str | None
    """Of progress with the same key a slow `latest` client gets the newest; None is kept for everybody."""
    end: str | None
    """`completed`, `failed` or `cancelled` when it is its run's end."""
    final: bool
    """That end, and no retry was promised: nothing follows by itself."""
    position: int | None
    """Its place in the log, ascending within a job. This and what follows are None without a log."""
    cursor: str | None
    """What a client resumes from when this is the last it has seen: letters, digits and `-` only."""
    at: str | None
    """When it was stored, RFC 3339."""
