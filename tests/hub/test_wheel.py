"""Timers are never early, and at most one tick late."""

from __future__ import annotations

import gc
import weakref
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from milepost_hub.wheel import Wheel

EPSILON = 1e-6
"""Floats of this size are this coarse."""

ticks = st.sampled_from([1.0, 0.75, 0.1, 0.003, 0.25])
times = st.floats(0, 1000)


@given(ticks, times, st.lists(times, max_size=20), st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_nothing_wakes_early_and_nothing_oversleeps_a_tick(
    tick: float, start: float, whens: list[float], steps: list[float]
) -> None:
    """Turned at any moments, the wheel gives each entry once, with its slot, within a tick of its time."""
    wheel: Wheel[int] = Wheel(tick, start)
    slots = {number: wheel.add(when, number) for number, when in enumerate(whens)}
    now, woken = start, list[int]()
    for step in steps:
        now += step
        for slot, number in wheel.turn(now):
            assert slots[number] == slot
            assert number not in woken
            assert now > whens[number] or whens[number] < start
            woken.append(number)
        asleep = set(slots) - set(woken)
        assert all(now < max(whens[number], start) + tick + EPSILON for number in asleep)


@given(ticks, st.lists(times, min_size=1, max_size=20))
def test_entries_wake_in_the_order_of_their_slots(tick: float, whens: list[float]) -> None:
    wheel: Wheel[float] = Wheel(tick, 0)
    slots = [wheel.add(when, when) for when in whens]
    assert [slot for slot, _ in wheel.turn(1001 + tick)] == sorted(slots)


def test_an_entry_for_the_past_wakes_at_the_next_turn() -> None:
    wheel: Wheel[str] = Wheel(1, 100)
    slot = wheel.add(3, "late")
    assert list(wheel.turn(100.9)) == []
    assert list(wheel.turn(101)) == [(slot, "late")]


def test_what_is_added_while_turning_is_not_lost() -> None:
    """A client that is woken asks for its next time at once, also when the turn has a long way to go."""
    wheel: Wheel[int] = Wheel(1, 0)
    wheel.add(0, 0)
    woken = []
    for slot, number in wheel.turn(10):
        woken.append((slot, number))
        if number < 3:
            wheel.add(0, number + 1)
    assert woken == [(1, 0), (2, 1), (3, 2), (4, 3)]


def test_a_turned_wheel_keeps_nothing() -> None:
    """Or every client that ever was would be remembered."""

    class Client:
        pass

    wheel: Wheel[Client] = Wheel(1, 0)
    wheel.add(5, Client())
    (alive,) = [weakref.ref(client) for _, client in wheel.turn(100)]
    gc.collect()
    assert alive() is None


@given(st.fractions(1, 1000, max_denominator=4))
def test_the_slot_told_is_the_one_woken(when: Fraction) -> None:
    """`Connection` tells its newest slot from older ones by this number."""
    wheel: Wheel[str] = Wheel(0.25, 0)
    slot = wheel.add(float(when), "x")
    assert list(wheel.turn(2000)) == [(slot, "x")]
    assert slot * 0.25 > when >= (slot - 1) * 0.25
