"""A bar as one line of text."""

from __future__ import annotations

import sys
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from milepost_reporter.bar_line import Pace, Reading, last_line, line, plain


def reading(n: float = 3_000, total: float | None = 10_000, **more: Any) -> Reading:  # noqa: ANN401
    given: dict[str, Any] = {"name": "Load", "unit": "rows", "message": None, "elapsed": 2.5, "rate": 1_200.0}
    return Reading(n=n, total=total, **{**given, **more})


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (reading(), "Load: 3,000/10,000 rows, 30 %, 1,200 rows/s, 6 s left"),
        (reading(message="loss=0.5"), "Load: 3,000/10,000 rows, 30 %, 1,200 rows/s, 6 s left, loss=0.5"),
        (reading(rate=None), "Load: 3,000/10,000 rows, 30 %"),
        (reading(rate=0.25), "Load: 3,000/10,000 rows, 30 %, 0.2 rows/s, 7 h 46 min left"),
        (reading(rate=60.0), "Load: 3,000/10,000 rows, 30 %, 60 rows/s, 1 min 57 s left"),
        (reading(total=None), "Load: 3,000 rows, 1,200 rows/s"),
        (reading(total=0, n=0), "Load: 0 rows, 1,200 rows/s"),
        (reading(n=12, total=10, unit=""), "Load: 12, 1,200/s"),
        (reading(n=0.25, total=1.0, rate=None), "Load: 0.25/1 rows, 25 %"),
        (reading(n=9_999, total=10_000, rate=None), "Load: 9,999/10,000 rows, 99 %"),
        (reading(n=29, total=100, rate=None), "Load: 29/100 rows, 29 %"),
        (
            reading(n=3_000_000, total=10_000_000, unit="B", divisor=1000, rate=1.25e6),
            "Load: 3.0/10.0 MB, 30 %, 1.2 MB/s, 6 s left",
        ),
        (reading(n=512, total=None, unit="B", divisor=1024, rate=None), "Load: 512 B"),
    ],
)
def test_what_it_says(read: Reading, said: str) -> None:
    assert line(read) == said


def test_its_end_says_how_long_it_took_and_how_it_ended() -> None:
    over = reading(n=10_000, elapsed=8.2)
    assert last_line(over, "completed") == "Load: 10,000/10,000 rows, 100 %, 1,200 rows/s, in 8 s"
    assert last_line(reading(), "failed") == "Load: 3,000/10,000 rows, 30 %, 1,200 rows/s, failed after 2 s"


def test_colours_and_line_breaks_are_left_out() -> None:
    assert plain("\x1b[31mLoad\x1b[0m\r\n now ") == "Load  now"


def test_a_line_is_due_at_once_and_then_at_intervals() -> None:
    pace = Pace()
    assert [moment for moment in (0.0, 1.0, 9.9, 10.0, 19.0, 20.5) if pace.due(moment, 10)] == [0.0, 10.0, 20.5]


AMOUNTS: Final = st.one_of(st.integers(-(10**24), 10**24), st.floats())


READINGS: Final = st.builds(
    Reading,
    name=st.text().map(plain),
    n=AMOUNTS,
    total=st.one_of(st.none(), AMOUNTS),
    unit=st.just("rows"),
    message=st.one_of(st.none(), st.text().map(plain)),
    elapsed=st.floats(0, 1e9),
    rate=st.one_of(st.none(), st.floats()),
    divisor=st.sampled_from([None, 1000, 1024, 0]),
)


@given(READINGS)
@example(reading(n=sys.float_info.max, total=sys.float_info.max))
def test_whatever_a_bar_shows_is_one_line(read: Reading) -> None:
    for said in (line(read), last_line(read, "completed")):
        assert len(said.splitlines()) == 1
        assert said.startswith(f"{read.name}: ")
