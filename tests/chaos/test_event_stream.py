"""An event stream as the HTML standard reads it."""

from __future__ import annotations

from chaos.event_stream import EventStream, StreamEvent


def events(text: str) -> list[StreamEvent]:
    stream = EventStream()
    return [event for line in text.split("\n") if (event := stream.line(line)) is not None]


def test_fields_make_events_and_the_last_id_stays() -> None:
    got = events("event: log\nid: 1-2\ndata: {}\n\n: a comment\n\ndata:a\ndata: b\n\nevent: empty\n\n")
    assert got == [StreamEvent("log", "{}", "1-2"), StreamEvent("message", "a\nb", "1-2")]
