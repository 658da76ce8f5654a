"""Waits grow, are spread, and have a bound."""

from __future__ import annotations

from milepost.backoff import Backoff


def test_waits_double_up_to_the_bound_and_are_spread_below_it() -> None:
    backoff = Backoff(first=1, most=10)
    for whole in [1, 2, 4, 8, 10, 10, 10]:
        assert whole / 2 <= backoff.next() <= whole


def test_success_begins_anew() -> None:
    backoff = Backoff(first=1, most=10)
    for _ in range(5):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 1


def test_a_thousand_failures_do_not_overflow() -> None:
    backoff = Backoff(first=0.5, most=15)
    assert all(0 < backoff.next() <= 15 for _ in range(2_000))
