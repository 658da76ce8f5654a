from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from milepost_runner.frames import FrameReader, write

KINDS = st.sampled_from([b"o", b"c", b"e", b"r"])


@given(st.lists(st.tuples(KINDS, st.binary(max_size=300))), st.lists(st.integers(1, 50)))
def test_frames_come_out_as_they_were_written_however_the_bytes_come(
    told: list[tuple[bytes, bytes]], sizes: list[int]
) -> None:
    data = b"".join(write(kind, body) for kind, body in told)
    reader = FrameReader()
    read = []
    for size in sizes:
        read += reader.feed(data[:size])
        data = data[size:]
    assert [*read, *reader.feed(data)] == told


def test_half_a_frame_is_held() -> None:
    reader = FrameReader()
    whole = write(b"e", b"body")
    assert reader.feed(whole[:-1]) == []
    assert reader.feed(whole[-1:]) == [(b"e", b"body")]
