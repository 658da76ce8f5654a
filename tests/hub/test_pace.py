"""Flushes are answered at once when events come one by one, and spaced when they come in crowds; never for long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from milepost_hub.pace import Pace

FACTOR, SHORTEST, LONGEST = 6.0, 0.002, 0.02

times = st.floats(0, 1e6)
costs = st.floats(0, 10)
depths = st.floats(0, 1e6)
factors = st.floats(0, 100)


def test_a_hub_that_has_flushed_nothing_answers_at_once() -> None:
    assert Pace(FACTOR, SHORTEST, LONGEST).delay(12_345.0) == 0


@given(factors, times, costs, depths)
def test_an_idle_hub_answers_at_once(factor: float, started: float, cost: float, depth: float) -> None:
    """Whatever the last flush was, after the longest pause there is nothing left to wait for."""
    pace = Pace(factor, SHORTEST, LONGEST)
    pace.flushed(started, started + cost, depth)
    assert pace.delay(started + cost + 2 * LONGEST) == 0


@given(times, costs)
def test_single_events_wait_for_nothing_but_the_shortest_time(started: float, cost: float) -> None:
    """There is nothing to gain by waiting for company that does not come."""
    pace = Pace(FACTOR, SHORTEST, LONGEST)
    ended = started + cost
    pace.flushed(started, ended, 1)
    # measured as the pace measures it, for floats of this size are coarse
    assert pace.delay(ended) <= max(0.0, SHORTEST - (ended - started)) + 1e-9


def test_two_flushes_never_start_within_the_shortest_time() -> None:
    pace = Pace(FACTOR, SHORTEST, LONGEST)
    pace.flushed(1.0, 1.0005, 1)
    assert pace.delay(1.0) >= SHORTEST - 1e-9


def test_a_deeper_flush_does_not_make_for_an_ever_longer_pause() -> None:
    """At a steady rate, with room to spare, depth and pause settle well under the longest pause."""
    pace, interval, cost, at = Pace(FACTOR, SHORTEST, LONGEST), 0.005, 0.0045, 0.0
    pace.flushed(at, at + cost, 4)
    for _ in range(100):
        start = at + cost + pace.delay(at + cost)
        pace.flushed(start, start + cost, max(1.0, (start - at) / interval))
        at = start
    assert pace.delay(at + cost) < LONGEST / 10


@given(factors, times, costs, depths)
def test_no_pause_is_longer_than_the_longest(factor: float, started: float, cost: float, depth: float) -> None:
    pace = Pace(factor, SHORTEST, LONGEST)
    pace.flushed(started, started + cost, depth)
    assert 0 <= pace.delay(started + cost) <= LONGEST + 1e-9


@given(costs, depths, depths)
def test_the_deeper_the_flush_the_longer_the_pause(cost: float, one: float, other: float) -> None:
    shallow, deep = Pace(FACTOR, SHORTEST, LONGEST), Pace(FACTOR, SHORTEST, LONGEST)
    shallow.flushed(0, cost, min(one, other))
    deep.flushed(0, cost, max(one, other))
    assert shallow.delay(cost) <= deep.delay(cost)


def test_under_load_the_pause_is_the_factor_times_the_cost() -> None:
    pace = Pace(FACTOR, SHORTEST, LONGEST)
    pace.flushed(0, 0.001, 100)
    assert pace.delay(0.001) == FACTOR * 0.001


def test_a_flush_that_reached_nobody_is_no_reason_to_wait() -> None:
    pace = Pace(FACTOR, SHORTEST, LONGEST)
    pace.flushed(0, 1, 0)
    assert pace.delay(1) == 0


def test_a_factor_of_nothing_never_waits() -> None:
    pace = Pace(0, SHORTEST, LONGEST)
    pace.flushed(0, 1, 1000)
    assert pace.delay(1) == 0
