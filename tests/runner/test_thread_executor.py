from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
from milepost_reporter.cancel import CancelToken
from milepost_runner.executor import CANCELLED, COMPLETED, FAILED, Executor, Outcome
from milepost_runner.handler import Handler
from milepost_runner.progress import Progress
from milepost_runner.thread_executor import ThreadExecution, ThreadExecutor

from tests.runner.handlers import handler
from tests.runner.recording_progress import RecordingProgress
from tests.waiting import eventually_async


async def running(
    executor: ThreadExecutor, given: Handler, cancel: CancelToken, progress: RecordingProgress
) -> ThreadExecution:
    execution = await executor.start(given, None, progress, cancel)
    await eventually_async(lambda: progress.lines)
    return execution


class Deaf:
    """A handler that does not look at its token, and ends when the test says so."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.handler = Handler("deaf", self.run)

    def run(self, payload: Any, progress: Progress, cancel: CancelToken) -> str:  # noqa: ANN401
        progress.log(threading.current_thread().name)
        self.end.wait()
        return "late"


async def test_functions_and_coroutine_functions_run_in_a_thread() -> None:
    executor: Executor = ThreadExecutor()
    for name in ("x_echo", "x_echo_async"):
        execution = await executor.start(handler(name), [name], RecordingProgress(), CancelToken())
        assert await execution.outcome() == Outcome(COMPLETED, f'["{name}"]'.encode())
        assert await execution.kill()
    ThreadExecutor().check(handler("x_echo"))


@pytest.mark.parametrize("name", ["x_wait", "x_wait_async"])
async def test_a_handler_hears_its_token(name: str) -> None:
    cancel = CancelToken()
    progress = RecordingProgress()
    execution = await running(ThreadExecutor(), handler(name), cancel, progress)
    cancel.request("enough")
    assert (await execution.outcome()).status == CANCELLED
    assert progress.lines[-1] == "told: enough"


async def test_a_thread_has_its_jobs_name_and_does_not_hold_up_the_exit() -> None:
    deaf = Deaf()
    progress = RecordingProgress("build-7")
    execution = await running(ThreadExecutor(), deaf.handler, CancelToken(), progress)
    assert progress.lines == ["job build-7"]
    assert execution.thread.daemon
    deaf.end.set()
    assert await execution.outcome() == Outcome(COMPLETED, b'"late"')


async def test_a_thread_that_goes_on_is_written_off_and_what_it_returns_later_counts_for_nothing() -> None:
    deaf, executor, cancel = Deaf(), ThreadExecutor(), CancelToken()
    execution = await running(executor, deaf.handler, cancel, RecordingProgress())
    cancel.request()
    assert not await execution.kill()
    assert executor.written_off == 1
    deaf.end.set()
    await eventually_async(lambda: not execution.thread.is_alive())
    assert (await execution.outcome()).status == CANCELLED
    assert not await execution.kill()


async def test_killing_cancels_an_async_handlers_task_in_its_thread() -> None:
    executor = ThreadExecutor()
    execution = await running(executor, handler("x_sleep_async"), CancelToken(), RecordingProgress())
    assert await execution.kill()
    await eventually_async(lambda: not execution.thread.is_alive())
    assert (await execution.outcome()).status == FAILED
    assert executor.written_off == 0


async def test_closing_ends_what_listens_and_does_not_wait_for_what_is_written_off() -> None:
    deaf, executor = Deaf(), ThreadExecutor()
    execution = await running(executor, deaf.handler, CancelToken(), RecordingProgress())
    await running(executor, handler("x_sleep_async"), CancelToken(), RecordingProgress())
    await executor.close()
    assert execution.thread.is_alive()
    assert executor.written_off == 1
    deaf.end.set()
    await eventually_async(lambda: not execution.thread.is_alive())


def test_a_program_ends_although_a_handler_goes_on() -> None:
    """The thread that was written off neither holds up its exit nor complains of the closed loop."""
    program = """
import asyncio
from milepost_reporter.cancel import CancelToken
from milepost_runner.thread_executor import ThreadExecutor
from tests.runner.handlers import handler
from tests.runner.recording_progress import RecordingProgress

async def main():
    executor = ThreadExecutor()
    await executor.start(handler("x_deaf"), None, RecordingProgress(), CancelToken())
    await executor.close()
    print(executor.written_off)

asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert (ran.stdout, ran.stderr) == (b"1\n", b"")
