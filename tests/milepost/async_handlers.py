"""Async handlers for the tests of `milepost worker`: `milepost worker tests.milepost.async_handlers`."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

from milepost_reporter.cancel import CancelToken
from milepost_runner.progress import Progress
from milepost_runner.registry import job


@job("exit-in-a-task")
async def exit_in_a_task(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401 - any JSON
    async def leave() -> None:
        sys.exit("it leaves")

    await asyncio.gather(leave(), cancel)


@job("never-back")
async def never_back(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
    """Leaves behind a thread and a task that do not end."""
    progress(0.5, "not coming back")
    thread = asyncio.create_task(asyncio.to_thread(threading.Event().wait))
    while True:
        try:
            await asyncio.shield(thread)
        except asyncio.CancelledError:
            """It does not listen."""


@job("echo")
async def echo(payload: Any, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401
    return payload
