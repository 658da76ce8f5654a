"""One call for all who ask for the same at the same time."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from milepost_hub.shared import Shared


class Source:
    """Counts its calls; each answers with its number, when told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.open = asyncio.Event()

    async def call(self) -> int:
        self.calls += 1
        number = self.calls
        await self.open.wait()
        return number

    async def fail(self) -> int:
        await self.open.wait()
        raise LookupError("no")


def shared() -> tuple[Shared, Counter[str]]:
    counts: Counter[str] = Counter()
    return Shared(asyncio.get_running_loop().create_task, counts), counts


async def test_a_hundred_share_one_call_and_the_next_one_makes_its_own() -> None:
    source, (asked, counts) = Source(), shared()
    waiting = [asyncio.create_task(asked.ask("it", source.call)) for _ in range(100)]
    await asyncio.sleep(0)
    source.open.set()
    assert await asyncio.gather(*waiting) == [1] * 100
    assert counts["shared"] == 99
    assert await asked.ask("it", source.call) == 2


async def test_one_who_leaves_takes_nobody_along() -> None:
    source, (asked, _) = Source(), shared()
    waiting = [asyncio.create_task(asked.ask("it", source.call)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    source.open.set()
    assert await asyncio.gather(*waiting[1:]) == [1, 1]


async def test_whoever_asks_anew_gets_what_was_begun_later() -> None:
    """And shares that with all who do."""
    source, (asked, _) = Source(), shared()
    first = asyncio.create_task(asked.ask("it", source.call))
    await asyncio.sleep(0)
    anew = [asyncio.create_task(asked.ask_anew("it", source.call)) for _ in range(5)]
    await asyncio.sleep(0)
    source.open.set()
    assert await first == 1
    assert await asyncio.gather(*anew) == [2] * 5


async def test_a_failure_is_everybodys_and_is_not_remembered() -> None:
    source, (asked, _) = Source(), shared()
    source.open.set()
    for _ in range(2):
        with pytest.raises(LookupError):
            await asked.ask("it", source.fail)
    assert await asked.ask("it", source.call) == 1


async def test_closing_ends_what_runs() -> None:
    source, (asked, _) = Source(), shared()
    waiting = asyncio.create_task(asked.ask("it", source.call))
    await asyncio.sleep(0)
    asked.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
