"""Durations are read as people write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost import duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("7d", 604_800), (" 1.5H ", 5400), ("0", 0)],
)
def test_reads_what_people_write(text: str, seconds: float) -> None:
    assert duration.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1x", "-5", "1 h", "1h30", "inf", "nan", "1e9"])
def test_refuses_the_rest_and_says_what_is_understood(text: str) -> None:
    with pytest.raises(ValueError, match="write 90s, 15m"):
        duration.parse(text)


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert duration.parse(text) >= 0


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (750, "12:30"), (3723, "1:02:03")]
)
def test_is_shown_as_a_clock(seconds: float, shown: str) -> None:
    assert duration.clock(seconds) == shown
