"""What a subject says: whose job, and what it carries. Tenant and job are never taken from anywhere else."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from milepost_reporter.subject import parse

_KEPT: Final = 16_384

LONGEST: Final = len("tenant..job..state.") + 3 * 64
"""Bytes of the longest subject of ours."""

LIVE: Final = b"live."
"""What the log puts before the subject of an event that it has stored and passes on."""


class Place(NamedTuple):
    """One of our subjects, read. `run`: of an `.end.<run>`."""

    tenant: str
    job: str
    carries_events: bool
    run: int | None
    key: tuple[str, str]
    """Which job of which tenant."""


def place_of(subject: bytes) -> Place | None:
    """What `subject` says; None when it is not one of ours."""
    return _place(subject) if len(subject) <= LONGEST else None


@lru_cache(maxsize=_KEPT)
def _place(subject: bytes) -> Place | None:
    try:
        parsed = parse(subject.decode("ascii"))
    except UnicodeDecodeError:
        return None
    if parsed is None:
        return None
    carries_events = parsed.leaf in ("progress", "end")
    return Place(parsed.tenant, parsed.job, carries_events, parsed.run, (parsed.tenant, parsed.job))
