"""What a worker tells of a run beside what its handler reports."""

from __future__ import annotations

import pytest
from milepost_runner.executor import CANCELLED, COMPLETED, FAILED, Outcome

from milepost.nats_server import NatsServer
from tests.runner.test_events import wired


async def test_a_run_is_told_from_its_beginning_to_its_end(nats_server: NatsServer) -> None:
    """Begun, told to stop, ended with a reason."""
    async with wired(nats_server) as it:
        progress = it.run("job", run=3)
        progress(0.5, "half way")
        assert progress.said == (0.5, "half way")
        progress.tell_cancelling()
        await progress.finish(Outcome(CANCELLED), "enough", will_retry=False)
        log = await it.log("job")
        assert log.course == ["running 3", "cancelling 3", "cancelled 3"]
        assert log.state.snapshot()["message"] == "enough"


@pytest.mark.parametrize("result", [b"0", b"false", b'""', b"[]", b'{"rows":[1,2.5,null]}'])
async def test_a_result_is_told_ahead_of_the_end(nats_server: NatsServer, result: bytes) -> None:
    """Whatever JSON it is, but nothing."""
    async with wired(nats_server) as it:
        await it.run("job").finish(Outcome(COMPLETED, result), None, will_retry=False)
        entries = (await it.log("job")).entries
        assert [entry.event.kind for entry in entries] == ["job", "result", "job"]


async def test_a_failure_that_is_followed_by_another_run_says_so(nats_server: NatsServer) -> None:
    async with wired(nats_server) as it:
        failed = Outcome(FAILED, error={"message": "no", "details": "line 1"})
        await it.run("job").finish(failed, None, will_retry=True)
        await it.run("job", run=2).finish(failed, None, will_retry=False)
        log = await it.log("job")
        assert log.course == ["running 1", "failed 1+", "running 2", "failed 2"]
        assert log.state.snapshot()["error"] == {"message": "no", "details": "line 1"}


async def test_nothing_is_told_after_the_end(nats_server: NatsServer) -> None:
    """By a handler that was written off, or a request that came too late."""
    async with wired(nats_server) as it:
        progress = it.run("job")
        await progress.finish(Outcome(COMPLETED), None, will_retry=False)
        progress.log("late")
        progress.tell_cancelling()
        progress(0.9)
        await it.api.round_trip()
        log = await it.log("job")
        assert (log.course, log.late) == (["running 1", "completed 1"], [])
