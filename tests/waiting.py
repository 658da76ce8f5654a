"""Waiting for something to become true, with a deadline: what tests use in place of a sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL = 0.01


def eventually(predicate: Callable[[], T], timeout: float = 20.0) -> T:
    """What `predicate` returns once that is true; TimeoutError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still {value!r} after {timeout:g} s")
        time.sleep(_POLL)
    return value


async def eventually_async(predicate: Callable[[], T], timeout: float = 20.0) -> T:  # noqa: ASYNC109 - bounds a poll
    """`eventually` for a predicate that comes true by what runs on this event loop."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still {value!r} after {timeout:g} s")
        await asyncio.sleep(_POLL)
    return value
