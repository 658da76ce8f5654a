"""Handlers for the tests of `milepost worker`: `milepost worker tests.milepost.handlers`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from milepost_reporter.cancel import CancelToken
from milepost_runner.progress import Progress
from milepost_runner.registry import job
from pydantic import BaseModel


class Rows(BaseModel):
    rows: int


@job("count")
def count(payload: Rows, progress: Progress, cancel: CancelToken) -> dict[str, int]:
    with progress.node(1, "Count", total=payload.rows) as node:
        node.advance(payload.rows)
    return {"rows": payload.rows}


@job("echo")
def echo(payload: Any, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401 - any JSON
    return payload


@job("fail")
def fail(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
    raise ValueError("this cannot be")


@job("listen")
def listen(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
    progress(0.5, "waiting to be told")
    cancel.wait()
    cancel.raise_if_requested()


@job("deaf")
def deaf(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
    progress(0.5, "not listening")
    while True:
        time.sleep(60)


@job("until-there", retries=0)
def until_there(payload: str, progress: Progress, cancel: CancelToken) -> None:
    """Runs until there is such a file, and looks at nothing else."""
    progress(0.5, "looking")
    while not Path(payload).exists():
        time.sleep(0.02)
