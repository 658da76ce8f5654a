"""Handlers to try a worker with: `milepost worker examples.jobs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milepost_runner import CancelToken, Progress, job
from pydantic import BaseModel, Field


class Build(BaseModel):
    """What is to be built."""

    rows: int = Field(ge=1, le=10_000_000)


@job("build", timeout=600, retries=2)
def build(payload: Build, progress: Progress, cancel: CancelToken) -> dict[str, int]:
    """Counts rows, and stops between any two of them when it is told to."""
    for _ in progress.track(range(payload.rows), "Rows"):
        cancel.raise_if_requested()
    return {"rows": payload.rows}


@job("wait-for")
def wait_for(payload: str, progress: Progress, cancel: CancelToken) -> None:
    """Waits until there is such a file; blocks, and yet stops at once when it is told to."""
    progress(message=f"waiting for {payload}")
    while not Path(payload).exists():
        if cancel.wait(0.2):
            cancel.raise_if_requested()


@job("echo")
async def echo(payload: Any, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401 - any JSON
    """Returns what it was given."""
    return payload
