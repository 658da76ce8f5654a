"""A channel owes each message once, as one frame made once for everybody."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from milepost_hub.channel import Batch, Channel
from milepost_hub.message import progress_head
from milepost_hub.ring import Ring, Rings

from tests.hub.live_hub import an_event
from tests.hub.test_frame import read_back

TOPIC = ("acme", "1")


def channel() -> Channel:
    return Channel(TOPIC, progress_head("1"), Ring(Rings(1000, 1_000_000, 1_000_000)))


def keys(batch: Batch) -> list[str | None]:
    return [delivery.key for delivery in batch.deliveries]


def test_a_payload_becomes_a_frame_around_its_own_bytes() -> None:
    owing = channel()
    owing.append(an_event(b'{"message" : "hi"}'))
    (frame,) = read_back(owing.take().data)
    assert frame.data == b'{"type":"job.progress","jobId":1,"payload":{"message" : "hi"}}'


def test_taking_hands_over_everything_and_leaves_nothing() -> None:
    owing = channel()
    owing.append(an_event(b"{}", "a"))
    owing.dirty = True
    assert keys(owing.take()) == ["a"]
    assert (owing.size, owing.dirty) == (0, False)
    again = owing.take()
    assert (again.frames, keys(again), again.data) == ([], [], b"")


def test_a_lone_frame_is_not_copied() -> None:
    """Most flushes of a quiet job bring one."""
    owing = channel()
    owing.append(an_event(b"{}"))
    batch = owing.take()
    assert batch.data is batch.frames[0]


def test_a_batch_taken_is_not_changed_by_what_comes_later() -> None:
    """It may wait for slow clients for long."""
    owing = channel()
    owing.append(an_event(b'{"fraction":0.1}'))
    taken = owing.take()
    before = taken.data
    owing.append(an_event(b'{"fraction":0.2}'))
    assert (len(taken.frames), len(taken.deliveries), taken.data) == (1, 1, before)
    assert taken.channel is owing


@given(st.lists(st.tuples(st.dictionaries(st.text(), st.integers()), st.none() | st.text()), max_size=30))
def test_frames_keys_and_bytes_agree(events: list[tuple[dict[str, int], str | None]]) -> None:
    """Message by message, in the order they came; and the size told is the size handed over."""
    owing = channel()
    for payload, key in events:
        owing.append(an_event(json.dumps(payload).encode(), key))
    size, batch = owing.size, owing.take()
    assert keys(batch) == [key for _, key in events]
    assert len(batch.frames) == len(events)
    assert size == len(batch.data) == sum(map(len, batch.frames))
    read = [bytes(frame.data) for frame in read_back(batch.data)]
    assert [json.loads(data)["payload"] for data in read] == [payload for payload, _ in events]
