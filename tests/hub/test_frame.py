"""A frame is what websockets' own client reads back as one text message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_hub.frame import text_frame
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol


def read_back(data: bytes) -> list[Frame]:
    """What a client's parser makes of these bytes."""
    client = Protocol(CLIENT, max_size=None)
    client.receive_data(data)
    assert client.parser_exc is None
    return [event for event in client.events_received() if isinstance(event, Frame)]


@pytest.mark.parametrize(
    ("size", "head"),
    [(0, 2), (1, 2), (125, 2), (126, 4), (127, 4), (65_535, 4), (65_536, 10), (1_000_000, 10)],
)
def test_every_length_has_its_shortest_head(size: int, head: int) -> None:
    """RFC 6455, section 5.2: the length takes one, three or nine bytes, and never more than it needs."""
    payload = b"x" * size
    data = text_frame(payload)
    assert read_back(data) == [Frame(Opcode.TEXT, payload)]
    assert len(data) == size + head
    assert data == Frame(Opcode.TEXT, payload).serialize(mask=False)


@given(st.lists(st.text(max_size=300).map(str.encode), max_size=5))
def test_joined_frames_are_read_as_the_messages_in_order(payloads: list[bytes]) -> None:
    """Frames need no separator: this is what one write per flush stands on."""
    data = b"".join(map(text_frame, payloads))
    assert read_back(data) == [Frame(Opcode.TEXT, payload) for payload in payloads]
