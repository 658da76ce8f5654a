"""Scenarios, each on a stage of its own: one after the other, or several side by side."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from chaos.catalogue import SCENARIOS
from chaos.stage import Stage
from chaos.verdict import Verdict


async def run(names: Sequence[str], seed: int, *, quick: bool, together: int = 1) -> AsyncIterator[Verdict]:
    """A verdict for each name, as soon as it is there; at most `together` scenarios run at the same time."""
    places = asyncio.Semaphore(together)

    async def one(name: str) -> Verdict:
        async with places:
            return await _played(name, seed, quick=quick)

    playing = [asyncio.create_task(one(name)) for name in names]
    try:
        for verdict in asyncio.as_completed(playing):
            yield await verdict
    finally:
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)


async def _played(name: str, seed: int, *, quick: bool) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="milepost-chaos-", ignore_cleanup_errors=True) as directory:
        stage = Stage(name, seed, Path(directory), quick=quick)
        async with stage.set():
            await SCENARIOS[name](stage)
        return stage.verdict
