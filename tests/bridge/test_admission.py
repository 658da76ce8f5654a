"""One rule for what is live and what is stored: each event once, in whatever order a fault has left it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from milepost_bridge.admission import Admission


def had(counts: list[int], reporter: bytes = b"R") -> list[bool]:
    admission = Admission()
    return [admission.has_had(reporter, count, 8) for count in counts]


def test_what_is_sent_again_has_been_here() -> None:
    """A window that goes again after a lost connection."""
    assert had([1, 2, 3, 2, 3, 4]) == [False, False, False, True, True, False]


def test_what_was_passed_over_may_still_come_once() -> None:
    """A fault has put 2 behind 3 and 4: it is late, not lost."""
    assert had([1, 3, 4, 2, 2, 5]) == [False, False, False, False, True, False]


def test_where_a_reader_begins_nothing_is_missing() -> None:
    """In the middle of a log nothing can be said about what came before."""
    assert had([7, 6, 8]) == [False, True, False]


@given(st.permutations(list(range(1, 30))))
def test_every_event_counts_once_behind_the_first(order: list[int]) -> None:
    """Whatever the order, nothing behind the first count is dropped, and nothing counts twice."""
    admission = Admission()
    assert not admission.has_had(b"R", 0, 8)
    assert not any(admission.has_had(b"R", count, 8) for count in order)
    assert all(admission.has_had(b"R", count, 8) for count in order)


@given(st.lists(st.integers(1, 10**6), max_size=200))
def test_any_counts_are_taken_at_most_once_each(counts: list[int]) -> None:
    """Also forged ones; what is remembered stays small."""
    taken = [count for count, known in zip(counts, had(counts), strict=True) if not known]
    assert len(taken) == len(set(taken))
