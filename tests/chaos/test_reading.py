"""Frames are taken down as they came."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from chaos.polling_reader import messages_in
from chaos.reading import Delivered, Gap, Reading, Snapshot, payload_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON), st.booleans())
def test_a_payload_keeps_its_bytes(payload: dict[str, object], ascii: bool) -> None:
    written = json.dumps(payload, ensure_ascii=ascii)
    text = f'{{"type":"job.progress","jobId":1,"payload": {written} ,"cursor":"1-2"}}'
    assert payload_of(text) == written.encode("utf-8", "surrogatepass")


@given(st.lists(st.dictionaries(st.text(), JSON), max_size=5))
def test_a_pages_messages_keep_their_bytes(messages: list[dict[str, object]]) -> None:
    written = [json.dumps(message) for message in messages]
    assert messages_in(f'{{"events":[{", ".join(written)}],"cursor":null}}', len(written)) == written


def test_messages_become_items_and_the_cursor_follows() -> None:
    reading = Reading("reader", "WebSocket")
    for text in (
        '{"type":"job.gap","jobId":1,"reason":"retention","from":"1-1","to":"4-4"}',
        '{"type":"job.snapshot","jobId":1,"snapshot":{"status":"running"},"cursor":"4-4"}',
        '{"type":"job.progress","jobId":1,"payload":{"message":"a"},"cursor":"5-5","at":"x"}',
        '{"type":"heartbeat","at":"x"}',
    ):
        reading.take(text)
    assert reading.items == [
        Gap("retention", "1-1", "4-4"),
        Snapshot("4-4", {"status": "running"}),
        Delivered("5-5", b'{"message":"a"}'),
    ]
    assert (reading.cursor, reading.delivered) == ("5-5", 1)
