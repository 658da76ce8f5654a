"""A worker that runs one job with the process executor, for tests that kill it.

Arguments: module, handler, payload, and whether the worker forks a child of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from milepost_reporter.cancel import CancelToken
from milepost_runner.process_executor import ProcessExecutor
from milepost_runner.registry import REGISTRY, load

from tests.runner.recording_progress import RecordingProgress
from tests.waiting import eventually_async


async def main(module: str, name: str, payload: str, forks: str = "") -> None:
    """Say `running` when the handler does, then its outcome."""
    load([module])
    handler = REGISTRY.get(name)
    assert handler is not None
    executor = ProcessExecutor([module])
    progress = RecordingProgress()
    execution = await executor.start(handler, payload, progress, CancelToken())
    waiting = asyncio.ensure_future(execution.outcome())
    await eventually_async(lambda: progress.lines or waiting.done())
    # A child of the worker's own, which has all its sockets.
    if forks and os.fork() == 0:
        signal.pause()
    sys.stdout.write("running\n")
    sys.stdout.flush()
    outcome = await waiting
    sys.stdout.write(f"{outcome.status} {outcome.result.decode()}\n")
    await executor.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
