"""Waiting for something to become true, with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

_POLL: Final = 0.01


class WaitedInVainError(Exception):
    """Something did not happen in time; the message says what."""


async def until(predicate: Callable[[], T], what: str, seconds: float = 30.0, *, every: float = _POLL) -> T:
    """What `predicate` returns once that is true, asked `every` so many seconds; WaitedInVainError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise WaitedInVainError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(every)
    return value


async def until_async(predicate: Callable[[], Awaitable[T]], what: str, seconds: float = 30.0) -> T:
    """`until` for a predicate that has to ask somebody."""
    deadline = time.monotonic() + seconds
    while not (value := await predicate()):
        if time.monotonic() > deadline:
            raise WaitedInVainError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(_POLL)
    return value
