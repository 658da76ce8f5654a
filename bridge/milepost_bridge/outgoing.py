"""An event that counts, as the hub takes it."""

from __future__ import annotations

from milepost_hub.event import Event
from milepost_reporter.jetstream.header import to_rfc3339_cut

from milepost_bridge.admission import Admitted
from milepost_bridge.cursor import Cursor


def outgoing(admitted: Admitted, payload: bytes, at: Cursor | None) -> Event:
    """The event on its way to clients. `at`: where it stands in the log, None without one."""
    event, ends = admitted
    kind = event.kind or "progress"
    end = event.status if ends else None
    final = ends and not event.willRetry
    if at is None:
        return Event(payload, kind, admitted.key, end, final, None, None, None)
    seq, time = at
    return Event(payload, kind, admitted.key, end, final, seq, f"{seq}-{time}", to_rfc3339_cut(time))
