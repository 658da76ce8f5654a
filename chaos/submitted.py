"""The handlers that the chaos run's workers have: `milepost worker chaos.submitted`."""

from __future__ import annotations

import asyncio
from typing import Any

from milepost_reporter.cancel import CancelToken
from milepost_runner import job
from milepost_runner.progress import Progress

LINES = 5


@job("chaos_step", deaths=1_000)
async def step(payload: dict[str, Any], progress: Progress, cancel: CancelToken) -> int:
    """Takes `seconds`, and says so in a few lines on its way."""
    for number in range(LINES):
        progress.log(f"line {number}")
        progress((number + 1) / LINES, f"{number + 1} of {LINES}")
        await asyncio.sleep(payload["seconds"] / LINES)
        cancel.raise_if_requested()
    return int(payload["number"])
