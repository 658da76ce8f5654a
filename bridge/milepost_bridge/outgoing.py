"""An event that counts, as the hub takes it."""

from __future__ import annotations

from typing import Final

from milepost_hub.event import Event

from milepost_bridge.admission import Admitted
from milepost_bridge.cursor import Cursor
from milepost_bridge.header import to_rfc3339

_MILLISECONDS: Final = len("2026-01-02T03:04:05.678")


def outgoing(admitted: Admitted, payload: bytes, at: Cursor | None) -> Event:
    """The event on its way to clients. `at`: where it stands in the log, None without one."""
    event = admitted.event
    return Event(
        payload=payload,
        kind=event.kind or "progress",
        key=admitted.key,
        end=event.status if admitted.ends else None,
        final=admitted.ends and not event.willRetry,
        position=None if at is None else at.seq,
        cursor=None if at is None else f"{at.seq}-{at.time}",
        at=None if at is None else f"{to_rfc3339(at.time)[:_MILLISECONDS]}Z",
    )
