"""Which reporter the code that asks belongs to."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from milepost_reporter import Reporter, current


def reporter(job: str) -> Reporter:
    return Reporter(nats_url="nats://127.0.0.1:1", tenant="acme", job=job, close_timeout=0, unreachable_timeout=0)


def elsewhere() -> Reporter:
    """The reporter of a thread that knows no block."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(current.current).result()


def test_it_is_that_of_the_innermost_block() -> None:
    with reporter("1") as outer:
        with reporter("2") as inner:
            assert current.current() is inner
        assert current.current() is outer


def test_a_thread_has_that_of_its_process_when_it_is_the_only_one() -> None:
    with reporter("1") as one:
        assert elsewhere() is one


def test_a_thread_guesses_none_of_several() -> None:
    with reporter("1"), reporter("2"):
        assert not elsewhere().enabled


def test_a_reporter_that_was_closed_is_nobodys() -> None:
    with reporter("1") as outer, reporter("2") as inner:
        inner.close()
        assert current.current() is outer
        assert elsewhere() is outer


def test_who_wants_nothing_reported_gets_that() -> None:
    with reporter("1"), Reporter.disabled() as nothing:
        assert current.current() is nothing


async def test_each_task_has_its_own() -> None:
    inside = asyncio.Barrier(2)

    async def task(job: str) -> bool:
        async with reporter(job) as mine:
            await inside.wait()
            same = current.current() is mine
            await inside.wait()
            return same

    assert all(await asyncio.gather(task("1"), task("2")))


async def test_a_task_that_outlives_its_job_tells_nothing_as_anothers() -> None:
    others = asyncio.Event()

    async def outliving() -> Reporter:
        await others.wait()
        return current.current()

    async with reporter("1"):
        task = asyncio.create_task(outliving())
    async with reporter("2"):
        others.set()
        assert not (await task).enabled


def test_a_block_left_in_another_context_is_left() -> None:
    """As asynchronous fixtures and generators do."""
    stack = contextlib.ExitStack()
    one = reporter("1")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(stack.enter_context, one).result()
    stack.close()
    with reporter("2") as two:
        assert elsewhere() is two


def test_without_a_block_and_without_an_environment_there_is_one_that_does_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NATS_URL", raising=False)
    assert not current.current().enabled
