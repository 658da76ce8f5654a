from __future__ import annotations

import asyncio
import gc

import pytest
from milepost_reporter.cancel import CancelToken
from milepost_runner.async_executor import AsyncExecution, AsyncExecutor
from milepost_runner.executor import CANCELLED, COMPLETED, FAILED, Executor, Outcome

from tests.runner.handlers import handler
from tests.runner.recording_progress import RecordingProgress
from tests.waiting import eventually_async


async def running(executor: AsyncExecutor, name: str, cancel: CancelToken | None = None) -> AsyncExecution:
    progress = RecordingProgress()
    execution = await executor.start(handler(name), None, progress, cancel or CancelToken())
    await eventually_async(lambda: progress.lines)
    return execution


async def test_a_handler_runs_as_a_task_and_its_outcome_can_be_asked_for_again() -> None:
    executor: Executor = AsyncExecutor()
    execution = await executor.start(handler("x_echo_async"), {"a": 1}, RecordingProgress(), CancelToken())
    assert await execution.outcome() == Outcome(COMPLETED, b'{"a":1}')
    assert await execution.outcome() == Outcome(COMPLETED, b'{"a":1}')
    assert await execution.kill()


async def test_handlers_that_are_not_async_are_refused() -> None:
    executor = AsyncExecutor()
    executor.check(handler("x_echo_async"))
    with pytest.raises(ValueError, match="x_echo is not async"):
        executor.check(handler("x_echo"))


async def test_a_result_has_the_executors_bound() -> None:
    execution = await AsyncExecutor(max_result=4).start(
        handler("x_echo_async"), "long", RecordingProgress(), CancelToken()
    )
    assert (await execution.outcome()).final


async def test_a_handler_hears_its_token() -> None:
    cancel = CancelToken()
    execution = await running(AsyncExecutor(), "x_wait_async", cancel)
    cancel.request("enough")
    assert (await execution.outcome()).status == CANCELLED


async def test_a_thousand_handlers_wait_at_once() -> None:
    executor = AsyncExecutor()
    cancel = CancelToken()
    progress = RecordingProgress()
    many = [await executor.start(handler("x_wait_async"), None, progress, cancel) for _ in range(1000)]
    await eventually_async(lambda: len(progress.lines) == 1000)
    cancel.request()
    assert {(await one.outcome()).status for one in many} == {CANCELLED}


async def test_killing_cancels_the_task() -> None:
    """It is cancelled when it was told to stop, and has failed when it was not."""
    executor = AsyncExecutor()
    cancel = CancelToken()
    told = await running(executor, "x_sleep_async", cancel)
    not_told = await running(executor, "x_sleep_async")
    cancel.request()
    assert await told.kill()
    assert await not_told.kill()
    assert (await told.outcome()).status == CANCELLED
    assert (await not_told.outcome()).status == FAILED
    assert executor.written_off == 0


async def test_a_task_can_be_killed_before_its_first_step() -> None:
    execution = await AsyncExecutor().start(handler("x_sleep_async"), None, RecordingProgress(), CancelToken())
    assert await execution.kill()
    assert (await execution.outcome()).status == CANCELLED


async def test_a_task_that_goes_on_is_written_off_and_what_it_returns_later_counts_for_nothing() -> None:
    executor = AsyncExecutor()
    cancel = CancelToken()
    execution = await running(executor, "x_deaf_async", cancel)
    assert not await execution.kill()
    assert executor.written_off == 1
    gc.collect()  # nobody but the executor holds the task
    assert not execution.task.done()
    cancel.request()
    await asyncio.wait({execution.task})
    outcome = await execution.outcome()
    assert outcome.status == FAILED
    assert outcome.error is not None
    assert "written off" in outcome.error["message"]


async def test_whoever_stops_waiting_stops_nobody_else() -> None:
    cancel = CancelToken()
    execution = await running(AsyncExecutor(), "x_wait_async", cancel)
    impatient = asyncio.create_task(execution.outcome())
    patient = asyncio.create_task(execution.outcome())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait({impatient})
    cancel.request()
    assert (await patient).status == CANCELLED


async def test_closing_ends_everything() -> None:
    executor = AsyncExecutor()
    executions = [await running(executor, "x_sleep_async") for _ in range(3)]
    await executor.close()
    assert all(execution.task.done() for execution in executions)
