"""Cursors are written and read again, and nothing else is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_bridge.cursor import Cursor, read_cursor
from milepost_hub.errors import BadCursor

NUMBERS = st.integers(min_value=1, max_value=10**19 - 1)


@given(seq=NUMBERS, time=NUMBERS)
def test_what_is_written_is_read(seq: int, time: int) -> None:
    """`<seq>-<time>`, both positive."""
    assert str(Cursor(seq, time)) == f"{seq}-{time}"
    assert read_cursor(str(Cursor(seq, time))) == (seq, time)


@given(text=st.text())
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    """Whatever a client sends, the answer is a cursor that is written the same way, or BadCursor."""
    try:
        cursor = read_cursor(text)
    except BadCursor:
        return
    assert str(cursor) == text


@pytest.mark.parametrize(
    "text", ["", "start", "0-1", "1-0", "01-1", "1-01", "1", "-1-1", "1-1 ", "1-1\n", "\u0661-1", "1-1-1"]
)
def test_near_misses_are_refused_in_words(text: str) -> None:
    """A person reads why."""
    with pytest.raises(BadCursor, match="cursor"):
        read_cursor(text)
