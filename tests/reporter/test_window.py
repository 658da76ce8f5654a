"""What is in flight."""

from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.window import Window


def test_numbers_start_at_one_and_have_no_gaps() -> None:
    window = Window(10, 1_000)
    assert [window.add("s", b"x").number for _ in range(3)] == [1, 2, 3]
    assert [sent.number for sent in window.unconfirmed()] == [1, 2, 3]


def test_a_confirmation_covers_all_before() -> None:
    window = Window(10, 1_000)
    for _ in range(5):
        window.add("s", b"x")
    window.confirm(3)
    assert [sent.number for sent in window.unconfirmed()] == [4, 5]
    window.confirm(2)
    assert window.confirmed == 3


def test_room_ends_with_events_and_with_bytes() -> None:
    events = Window(2, 1_000)
    events.add("s", b"x")
    assert events.room == 1
    events.add("s", b"x")
    assert events.room == 0
    sizes = Window(10, 100)
    sizes.add("s", b"x" * 99)
    assert sizes.room == 9
    sizes.add("s", b"x" * 99)
    assert sizes.room == 0
    sizes.confirm(1)
    assert sizes.room_bytes == 1


@given(st.lists(st.integers(-1, 12), max_size=40))
def test_what_is_confirmed_and_what_is_not_are_one_unbroken_row(steps: list[int]) -> None:
    """-1 adds, any other number confirms up to it, also more than once and more than was sent."""
    window = Window(1_000, 1_000_000)
    for step in steps:
        if step < 0:
            window.add("s", b"xy")
        else:
            window.confirm(min(step, window.last))
    numbers = [sent.number for sent in window.unconfirmed()]
    assert numbers == list(range(window.confirmed + 1, window.last + 1))
    assert window.room_bytes == 1_000_000 - 2 * len(numbers)
