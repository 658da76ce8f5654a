"""The no-op job under Milepost's runner."""

from milepost_reporter.cancel import CancelToken
from milepost_runner.progress import Progress
from milepost_runner.registry import job

from benchmarks.queues.starts import note


@job("noop")
async def noop(number: int, progress: Progress, cancel: CancelToken) -> None:
    note(number)
