"""Logs and readings made by hand, to be judged."""

from __future__ import annotations

import json
from collections.abc import Iterable

from chaos.ledger import Entry, Ledger
from chaos.reading import Asked, Delivered, Item, Reading

BASE = 1_700_000_000_000_000_000


def entry(seq: int, number: int | None = None, *, life: int = 0, run: int | None = None, **event: object) -> Entry:
    """A numbered log line, or the event that is given."""
    payload = event or {"kind": "log", "message": f"#{seq if number is None else number}"}
    return Entry(seq, BASE + life * 10**12 + seq, json.dumps(payload).encode(), run)


def a_log(events: int, *more: Entry, life: int = 0) -> Ledger:
    """So many log lines, and what else there is."""
    return Ledger("1", [*(entry(seq, life=life) for seq in range(1, events + 1)), *more])


def sent(entries: Iterable[Entry]) -> list[Item]:
    """As they are delivered."""
    return [Delivered(each.cursor, each.payload) for each in entries]


def a_reading(*items: Item, after: str | None = "start") -> Reading:
    """What a reader was sent after it asked."""
    reading = Reading("reader", "WebSocket")
    for item in [Asked(after), *items]:
        reading.add(item)
    return reading
