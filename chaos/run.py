"""Scenarios one after the other, each on a stage of its own."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from chaos.catalogue import SCENARIOS
from chaos.stage import Stage
from chaos.verdict import Verdict


async def run(names: Sequence[str], seed: int, *, quick: bool) -> AsyncIterator[Verdict]:
    """A verdict for each name, as soon as it is there."""
    for name in names:
        with tempfile.TemporaryDirectory(prefix="milepost-chaos-", ignore_cleanup_errors=True) as directory:
            stage = Stage(name, seed, Path(directory), quick=quick)
            async with stage.set():
                await SCENARIOS[name](stage)
            yield stage.verdict
