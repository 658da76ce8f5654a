"""Who has a signal hears it as before, and what is ours is gone afterwards."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from milepost.last_call import heard
from tests.waiting import eventually_async


@pytest.fixture
def told() -> Iterator[list[int]]:
    """What a server's own handler of SIGTERM hears."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


async def test_a_handler_that_is_there_already_hears_the_signal_too(told: list[int]) -> None:
    ours: list[str] = []
    theirs = signal.getsignal(signal.SIGTERM)
    with heard(lambda: ours.append("stopping")):
        signal.raise_signal(signal.SIGTERM)
        assert told == [signal.SIGTERM]
        await eventually_async(lambda: ours == ["stopping"])
    assert signal.getsignal(signal.SIGTERM) is theirs


async def test_so_does_one_of_the_event_loop() -> None:
    """As hypercorn has them."""
    ours: list[str] = []
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ours.append, "theirs")
    try:
        with heard(lambda: ours.append("ours")):
            signal.raise_signal(signal.SIGTERM)
            await eventually_async(lambda: sorted(ours) == ["ours", "theirs"])
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def test_a_handler_that_came_later_is_left_in_place(told: list[int]) -> None:
    with heard(lambda: None):
        later = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN is not later


def test_a_signal_after_the_loop_s_end_is_heard_by_whoever_was_there_before(told: list[int]) -> None:
    """Two that end in the order in which they began put back what the first has already left."""
    before = signal.getsignal(signal.SIGTERM)

    async def overlap() -> None:
        first, second = heard(lambda: None), heard(lambda: None)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)

    asyncio.run(overlap())
    assert signal.getsignal(signal.SIGTERM) is not before
    signal.raise_signal(signal.SIGTERM)
    assert told == [signal.SIGTERM]


async def test_a_signal_that_nobody_has_is_left_alone() -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with heard(lambda: None):
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_outside_the_main_thread_there_is_nothing_to_hear(told: list[int]) -> None:
    theirs = signal.getsignal(signal.SIGTERM)

    async def listen() -> None:
        with heard(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is theirs

    await asyncio.to_thread(asyncio.run, listen())
