"""Rate and time left come from counts and times alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.rate import WINDOW, Rate


def test_nothing_is_known_before_two_counts() -> None:
    rate = Rate()
    assert rate.per_second(0) is None
    rate.add(0, 100)
    assert rate.per_second(1) is None
    assert rate.seconds_left(1, 1000) is None


def test_a_steady_count_has_its_rate_and_its_time_left() -> None:
    rate = Rate()
    for second in range(6):
        rate.add(second, second * 50)
    assert rate.per_second(5) == 50
    assert rate.seconds_left(5, 1000) == 15


def test_only_the_last_seconds_count() -> None:
    rate = Rate()
    for second in range(100):
        rate.add(second, second)
    for second in range(100, 100 + int(WINDOW) + 2):
        rate.add(second, 100 + (second - 100) * 10)
    assert rate.per_second(100 + WINDOW + 1) == pytest.approx(10)


def test_who_falls_silent_slows_down_and_then_has_no_rate() -> None:
    rate = Rate()
    rate.add(0, 0)
    rate.add(1, 100)
    assert rate.per_second(2) == 50
    assert rate.per_second(1 + WINDOW + 1) is None


def test_a_count_that_falls_begins_anew() -> None:
    rate = Rate()
    rate.add(0, 0)
    rate.add(1, 100)
    rate.add(2, 5)
    assert rate.per_second(2) is None


def test_the_time_left_is_never_below_zero() -> None:
    rate = Rate()
    rate.add(0, 0)
    rate.add(1, 100)
    assert rate.seconds_left(1, 50) == 0


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1e12)), max_size=60))
def test_no_history_makes_it_negative_or_fail(steps: list[tuple[float, float]]) -> None:
    rate, now = Rate(), 0.0
    for pause, count in steps:
        now += pause
        rate.add(now, count)
        speed, left = rate.per_second(now), rate.seconds_left(now, 1e12)
        assert speed is None or speed >= 0
        assert left is None or left >= 0
