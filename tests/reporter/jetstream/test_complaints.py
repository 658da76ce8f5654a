"""Warnings at a bounded rate."""

from __future__ import annotations

import logging

import pytest
from milepost_reporter.jetstream.complaints import Complaints


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def complaints(clock: Clock) -> Complaints:
    return Complaints(logging.getLogger("milepost_bridge"), interval=10, clock=clock)


def test_a_thousand_of_a_kind_are_one_line(complaints: Complaints, caplog: pytest.LogCaptureFixture) -> None:
    """Within the interval only the first is written."""
    for number in range(1000):
        complaints.tell("bad", f"number {number}")
    assert caplog.messages == ["bad: number 0"]


def test_the_next_line_tells_how_many_were_left_out(
    complaints: Complaints, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """After the interval the next is written, with the number of those between."""
    for number in range(5):
        complaints.tell("bad", f"number {number}")
    clock.now = 10
    complaints.tell("bad", "later")
    clock.now = 20
    complaints.tell("bad", "last")
    assert caplog.messages == ["bad: number 0", "bad: later (4 more of these not shown)", "bad: last"]


def test_reasons_do_not_silence_each_other(complaints: Complaints, caplog: pytest.LogCaptureFixture) -> None:
    """Each reason has its own interval."""
    complaints.tell("one", "a")
    complaints.tell("other", "b")
    assert caplog.messages == ["one: a", "other: b"]


def test_details_are_shortened(complaints: Complaints, caplog: pytest.LogCaptureFixture) -> None:
    """What a tenant wrote cannot fill the log."""
    complaints.tell("bad", "x" * 100_000)
    assert len(caplog.messages[0]) < 400
