"""Nothing that a handler does ends its worker, holds up another job, or leaves its own job without its one end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from milepost_runner.worker import Worker

from milepost.nats_server import NatsServer
from tests.runner.odd_handlers import RESULTS, odd_registry
from tests.runner.stand import Held, Stand, standing, worker_settings
from tests.waiting import eventually_async

EXECUTORS = ["async", "thread", "process"]


class Odd(NamedTuple):
    stand: Stand
    worker: Worker

    async def goes_on(self) -> None:
        """The worker has let go of all that it had, and runs another job."""
        assert (await self.stand.ended(await self.stand.submit("o_echo", 1))).result == 1
        await self.stand.acknowledged()
        await eventually_async(lambda: not self.worker._tasks)
        assert self.worker.counts["faults"] == 0


@contextlib.asynccontextmanager
async def odd(server: NatsServer, executor: str) -> AsyncIterator[Odd]:
    registry = odd_registry()
    settings = worker_settings(executor=executor)
    async with (
        standing(server, registry=registry) as stand,
        Worker(server.url, settings, registry=registry, modules=["tests.runner.odd_handlers"]) as worker,
    ):
        await worker.ready()
        yield Odd(stand, worker)


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_how_a_run_ends_is_the_runner_s_to_tell(nats_server: NatsServer, executor: str) -> None:
    """A handler that ends or closes its reporter goes on reporting, and the log says what the store says."""
    async with odd(nats_server, executor) as it:
        for way in ("complete", "fail", "cancel", "close", "with"):
            job = await it.stand.submit("o_ends_itself", way)
            ended = await it.stand.ended(job)
            log = await it.stand.told(job)
            assert (ended.status, ended.result, log.ends) == ("completed", way, {1: "completed"}), way
            assert "still here" in [line["message"] for line in log.of_kind("log")], way
            assert log.state.snapshot()["result"] == way
        await it.goes_on()


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_the_reporter_s_cancellation_is_the_handler_s_token(
    nats_server: NatsServer, executor: str, tmp_path: Path
) -> None:
    held = Held(tmp_path)
    async with odd(nats_server, executor) as it:
        job = await it.stand.submit("o_by_reporter", held.payload)
        await held.begun()
        await it.stand.cancel(job)
        assert (await it.stand.ended(job)).status == "cancelled"
        assert (await it.stand.told(job)).course == ["queued 1", "running 1", "cancelling 1", "cancelled 1"]
        await it.goes_on()


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_result_that_nobody_could_read_is_a_failure_in_words(nats_server: NatsServer, executor: str) -> None:
    async with odd(nats_server, executor) as it:
        for what in RESULTS:
            job = await it.stand.submit("o_result", what)
            ended = await it.stand.ended(job)
            assert ended.status == "failed", what
            assert ended.error is not None
            assert "o_result" in ended.error["message"], what
            assert (await it.stand.told(job)).ends == {1: "failed"}
        await it.goes_on()


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_whatever_leaves_a_handler_is_one_failure(nats_server: NatsServer, executor: str) -> None:
    """What it says is cut to what the store and the log take."""
    async with odd(nats_server, executor) as it:
        for what in ("long", "control", "surrogates", "sly"):
            job = await it.stand.submit("o_error", what)
            assert (await it.stand.ended(job)).status == "failed", what
            assert (await it.stand.told(job)).ends == {1: "failed"}, what
        await it.goes_on()


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_child_that_comes_back_from_a_handler_is_no_second_worker(
    nats_server: NatsServer, executor: str
) -> None:
    async with odd(nats_server, executor) as it:
        for way in ("returns", "raises"):
            job = await it.stand.submit("o_forks", way)
            ended = await it.stand.ended(job)
            assert (ended.status, ended.result) == ("completed", 0), way
            assert (await it.stand.told(job)).ends == {1: "completed"}, way
        await it.goes_on()


@pytest.mark.parametrize("blocks", [False, True], ids=["ends its thread", "never comes back"])
@pytest.mark.parametrize("executor", EXECUTORS)
async def test_what_a_handler_has_called_back_is_its_own_affair(
    nats_server: NatsServer, executor: str, blocks: bool, tmp_path: Path
) -> None:
    held = Held(tmp_path)
    async with odd(nats_server, executor) as it:
        job = await it.stand.submit("o_callback", {**held.payload, "blocks": blocks})
        await held.begun()
        await it.stand.cancel(job)
        assert (await it.stand.ended(job)).status == "cancelled"
        assert (await it.stand.told(job)).ends == {1: "cancelled"}
        await it.goes_on()
