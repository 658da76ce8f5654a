"""Handlers for the worker's tests, all of them async, so that every executor takes them; job processes import this.

What a test must know at once a handler tells by a line in a file, and what it waits for is a file, too: that works
alike in the worker's loop, in a thread and in a process.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Final

from milepost_reporter.cancel import CancelToken
from milepost_runner.handler import Handler
from milepost_runner.progress import Progress
from milepost_runner.registry import REGISTRY, Registry, job
from pydantic import BaseModel

_LOOK: Final = 0.005


class Order(BaseModel):
    """A payload with a model."""

    rows: int


def registry_of(*names: str) -> Registry:
    """A registry with some of the below; all of them when none is named."""
    registry = Registry()
    for handler in REGISTRY:
        if handler.function.__module__ == __name__ and (not names or handler.name in names):
            registry.add(handler)
    return registry


def handler_named(name: str) -> Handler:
    """One of the below."""
    found = REGISTRY.get(name)
    assert found is not None, name
    return found


def mark(payload: dict[str, Any], line: str) -> int:
    """Write a line into the payload's `marks`, and return how many there are then."""
    path = Path(payload["marks"])
    with path.open("a") as file:
        file.write(f"{line}\n")
    return len(path.read_text().splitlines())


def released(payload: dict[str, Any]) -> bool:
    """Whether the file `go` is there."""
    return Path(payload["go"]).exists()


@job("w_echo")
async def echo(payload: Any, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401
    return payload


@job("w_steps")
async def steps(payload: Any, progress: Progress, cancel: CancelToken) -> dict[str, Any]:  # noqa: ANN401
    """Uses all that a handler can tell."""
    progress.plan([("load", "Load", 1)])
    async with progress.node("load", "Load", total=3) as node:
        for _ in range(3):
            node.advance(1)
    progress.log("loaded")
    progress.artifact("table", "s3://bucket/table")
    progress(0.5, "half way")
    return {"rows": 3}


@job("w_none")
async def nothing(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
    return None


@job("w_fail")
async def fail(payload: str, progress: Progress, cancel: CancelToken) -> None:
    raise ValueError(payload)


@job("w_flaky", retries=2, backoff=0.05)
async def flaky(payload: dict[str, Any], progress: Progress, cancel: CancelToken) -> int:
    """Fails until it was begun more often than `fails` says."""
    begun = mark(payload, f"run {progress.run}")
    if begun <= payload["fails"]:
        raise ValueError(f"not at the {begun}. time")
    return begun


@job("w_slow_retry", retries=1, backoff=30)
async def slow_retry(payload: dict[str, Any], progress: Progress, cancel: CancelToken) -> None:
    """Fails, and would be tried again much later."""
    mark(payload, f"run {progress.run}")
    raise ValueError("not now")


@job("w_hold", deaths=3)
async def hold(payload: dict[str, Any], progress: Progress, cancel: CancelToken) -> str:
    """Goes on when the file `go` is there, or stops when it is told."""
    progress(0.25, "holding")
    mark(payload, f"run {progress.run}")
    while not released(payload):
        if cancel.requested:
            mark(payload, f"told {cancel.reason}")
            cancel.raise_if_requested()
        await asyncio.sleep(_LOOK)
    return "went on"


@job("w_hold_once", deaths=1)
async def hold_once(payload: dict[str, Any], progress: Progress, cancel: CancelToken) -> str:
    """The same, but its worker may not die."""
    return await hold(payload, progress, cancel)


@job("w_deaf")
async def deaf(payload: dict[str, Any], progress: Progress, cancel: CancelToken) -> str:
    """Goes on when the file `go` is there, and not before, whatever it is told."""
    mark(payload, f"run {progress.run}")
    while not released(payload):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(_LOOK)
    progress.log("what nobody waits for any more")
    mark(payload, "over")
    return "late"


@job("w_dawdle", timeout=0.2)
async def dawdle(payload: dict[str, Any], progress: Progress, cancel: CancelToken) -> None:
    """Takes longer than it may, and listens."""
    mark(payload, f"run {progress.run}")
    await cancel
    cancel.raise_if_requested()


@job("w_dawdle_deaf", timeout=0.2)
async def dawdle_deaf(payload: dict[str, Any], progress: Progress, cancel: CancelToken) -> str:
    """Takes longer than it may, and does not listen."""
    return await deaf(payload, progress, cancel)


@job("w_large")
async def large(payload: int, progress: Progress, cancel: CancelToken) -> str:
    return "x" * payload


@job("w_strict", retries=5)
async def strict(payload: Order, progress: Progress, cancel: CancelToken) -> int:
    return payload.rows


@job("w_sleep")
async def sleep(payload: float, progress: Progress, cancel: CancelToken) -> float:
    """Takes so many seconds."""
    await asyncio.sleep(payload)
    return payload


@job("w_patient_sleep", deaths=1000)
async def patient_sleep(payload: float, progress: Progress, cancel: CancelToken) -> float:
    """The same, however often its worker dies."""
    progress(0.5, "half way")
    return await sleep(payload, progress, cancel)


@job("w_finish_anyway")
async def finish_anyway(payload: dict[str, Any], progress: Progress, cancel: CancelToken) -> str:
    """Hears that it is told to stop, and completes all the same."""
    mark(payload, f"run {progress.run}")
    await cancel
    return "done all the same"
