from __future__ import annotations

import asyncio
import json
import os
import resource
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from milepost_reporter.cancel import CancelToken
from milepost_runner.executor import CANCELLED, COMPLETED, FAILED, Executor, Outcome
from milepost_runner.handler import Handler
from milepost_runner.process_executor import ProcessExecution, ProcessExecutor
from milepost_runner.progress import Progress

from tests.runner.handlers import handler
from tests.runner.marked import NAME, marked
from tests.runner.recording_progress import RecordingProgress
from tests.waiting import eventually, eventually_async

MODULES = ["tests.runner.handlers"]

QUIET = 10
"""Processes of a quiet family: three shells with a sleep each, an orphan, a fork, the job's own, and the server."""

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What every process that comes of the test has in its environment; afterwards there is none."""
    mark = secrets.token_hex(8)
    monkeypatch.setenv(NAME, mark)
    yield mark
    left = marked(mark)
    for process in left:
        process.kill()
    assert not left


@pytest.fixture
async def executor(mark: str) -> AsyncIterator[ProcessExecutor]:
    executor = ProcessExecutor(MODULES)
    yield executor
    await executor.close()


async def ran(executor: ProcessExecutor, name: str, payload: Any = None) -> Outcome:  # noqa: ANN401
    execution = await executor.start(handler(name), payload, RecordingProgress(), CancelToken())
    return await asyncio.wait_for(execution.outcome(), 60)


async def running(
    executor: ProcessExecutor,
    name: str,
    payload: Any = None,  # noqa: ANN401
    *,
    cancel: CancelToken | None = None,
    progress: RecordingProgress | None = None,
) -> ProcessExecution:
    """An execution whose handler has reported that it runs."""
    progress = progress or RecordingProgress()
    execution = await executor.start(handler(name), payload, progress, cancel or CancelToken())
    await eventually_async(lambda: progress.lines)
    return execution


def message(outcome: Outcome) -> str:
    assert outcome.error is not None
    return outcome.error["message"]


async def server_alone(mark: str) -> psutil.Process:
    """The one process that is left: the one that forks."""
    (server,) = marked(mark)
    return server


# How it comes out


async def test_a_handler_runs_in_a_process_of_its_own_that_leads_its_session(executor: ProcessExecutor) -> None:
    typed: Executor = executor
    execution = await typed.start(handler("x_pid"), None, RecordingProgress(), CancelToken())
    pid, session, parent = json.loads((await execution.outcome()).result)
    assert pid == session
    assert parent not in {pid, os.getpid()}
    assert not psutil.pid_exists(pid)
    assert psutil.Process(parent).ppid() == os.getpid()


CALLS = [
    ("x_echo", {"a": [1, "ä"]}, COMPLETED, False),
    ("x_echo_async", None, COMPLETED, False),
    ("x_rows", {"rows": 3}, COMPLETED, False),
    ("x_rows", {"rows": "many"}, FAILED, True),
    ("x_large", 60_000, FAILED, True),
    ("x_object", None, FAILED, True),
    ("x_raise", "value", FAILED, False),
    ("x_raise", "cancelled", CANCELLED, False),
    ("x_raise", "asyncio", FAILED, False),
    ("x_raise", "interrupt", FAILED, False),
    ("x_raise", "exit:", COMPLETED, False),
    ("x_raise", "exit:3", FAILED, False),
]


async def test_outcomes_are_those_of_a_call(executor: ProcessExecutor) -> None:
    for name, payload, status, final in CALLS:
        outcome = await ran(executor, name, payload)
        assert (outcome.status, outcome.final) == (status, final), (name, payload)


async def test_a_result_arrives_byte_for_byte(executor: ProcessExecutor) -> None:
    assert (await ran(executor, "x_rows", {"rows": 2})).result == b'{"count":2,"at":"2024-02-29T12:00:00Z"}'
    assert (await ran(executor, "x_large", 49_000)).result == b'"' + b"x" * 49_000 + b'"'


async def test_a_large_payload_arrives(executor: ProcessExecutor) -> None:
    assert (await ran(executor, "x_echo", ["y" * 1_000_000])).final


@pytest.mark.parametrize("kind", ["asyncio", "interrupt", "cancelled"])
async def test_a_handler_that_was_told_to_stop_and_is_left_so_is_cancelled(
    executor: ProcessExecutor, kind: str
) -> None:
    cancel = CancelToken()
    execution = await running(executor, "x_raise_told", kind, cancel=cancel)
    cancel.request()
    assert (await execution.outcome()).status == CANCELLED


async def test_a_handler_that_the_modules_do_not_register_fails(executor: ProcessExecutor) -> None:
    def function(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
        """Known to nobody."""

    execution = await executor.start(Handler("x_nobody", function), None, RecordingProgress(), CancelToken())
    assert "no handler named x_nobody" in message(await execution.outcome())


def test_a_handler_of_the_programs_own_file_is_refused() -> None:
    def function(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
        """Of a script."""

    executor = ProcessExecutor(MODULES)
    executor.check(Handler("x_fine", function))
    function.__module__ = "__main__"
    with pytest.raises(ValueError, match="__main__"):
        executor.check(Handler("x_script", function))


async def test_a_job_for_which_the_system_has_no_room_fails_and_the_next_does_not(executor: ProcessExecutor) -> None:
    await ran(executor, "x_echo")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        execution = await executor.start(handler("x_echo"), None, RecordingProgress(), CancelToken())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "no process could be started" in message(await execution.outcome())
    assert await execution.kill()
    assert (await ran(executor, "x_echo")).status == COMPLETED


def test_a_system_without_fork_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    with pytest.raises(ValueError, match=r"needs fork\(\)"):
        ProcessExecutor(MODULES)


async def test_a_handler_that_forks_and_returns_twice_has_one_outcome(executor: ProcessExecutor) -> None:
    assert await ran(executor, "x_returns_twice") == Outcome(COMPLETED, b'"parent"')


# Reports


async def test_reports_come_in_order_and_all_before_the_outcome(executor: ProcessExecutor) -> None:
    progress = RecordingProgress()
    execution = await executor.start(handler("x_steps"), 3000, progress, CancelToken())
    assert (await execution.outcome()).status == COMPLETED
    assert progress.lines == [str(number) for number in range(3000)]
    events = progress.events
    logs = [at for at, event in enumerate(events) if event.get("kind") == "log"]
    load = [at for at, event in enumerate(events) if event.get("nodeId") == "load"]
    (table,) = [at for at, event in enumerate(events) if event.get("kind") == "artifact"]
    assert events[0]["kind"] == "plan"
    assert [events[load[0]]["status"], events[load[-1]]["status"]] == ["running", "completed"]
    assert events[load[-1]]["rowCount"] == 3000
    assert load[0] < logs[0] < logs[-1] < load[-1] < table


async def test_a_node_that_the_handler_leaves_open_ends_as_the_handler_did(executor: ProcessExecutor) -> None:
    progress = RecordingProgress()
    await (await executor.start(handler("x_steps"), 1, progress, CancelToken())).outcome()
    assert progress.last_of("left")["status"] == "completed"


async def test_a_progress_that_is_disabled_costs_the_job_nothing(executor: ProcessExecutor) -> None:
    execution = await executor.start(handler("x_steps"), 3, Progress.disabled(), CancelToken())
    assert (await execution.outcome()).result == b'"done"'


# Cancelling and killing


@pytest.mark.parametrize("name", ["x_wait", "x_wait_async"])
async def test_a_handler_hears_its_token_and_why(executor: ProcessExecutor, name: str) -> None:
    cancel = CancelToken()
    progress = RecordingProgress()
    execution = await running(executor, name, cancel=cancel, progress=progress)
    cancel.request("enough")
    assert (await execution.outcome()).status == CANCELLED
    assert progress.lines[-1] == "told: enough"


async def test_a_request_before_the_start_is_heard(executor: ProcessExecutor) -> None:
    cancel = CancelToken()
    cancel.request("early")
    progress = RecordingProgress()
    execution = await executor.start(handler("x_wait"), None, progress, cancel)
    assert (await execution.outcome()).status == CANCELLED
    assert progress.lines[-1] == "told: early"


@pytest.mark.parametrize(("told", "status"), [(True, CANCELLED), (False, FAILED)])
async def test_a_deaf_handler_is_killed_and_its_node_ends(
    executor: ProcessExecutor,
    mark: str,
    told: bool,
    status: str,
) -> None:
    cancel = CancelToken()
    progress = RecordingProgress()
    execution = await running(executor, "x_deaf", cancel=cancel, progress=progress)
    if told:
        cancel.request()
    assert await execution.kill()
    await server_alone(mark)
    outcome = await execution.outcome()
    assert outcome.status == status
    assert progress.last_of("step")["status"] == status
    assert told or message(outcome) == "its process was killed by SIGKILL"
    assert executor.written_off == 0


async def test_killing_leaves_no_process_whatever_the_handler_has_started(executor: ProcessExecutor, mark: str) -> None:
    """Deaf shells with children, sessions of their own, orphans, forks, and a shell that starts ever new ones."""
    execution = await running(executor, "x_family", "deaf")
    assert len(marked(mark)) > 8
    assert await execution.kill()
    await server_alone(mark)


async def test_a_kill_can_come_at_once_and_twice(executor: ProcessExecutor, mark: str) -> None:
    await ran(executor, "x_echo")
    execution = await executor.start(handler("x_deaf"), None, RecordingProgress(), CancelToken())
    assert all(await asyncio.gather(execution.kill(), execution.kill()))
    await server_alone(mark)
    assert (await execution.outcome()).status == FAILED


@pytest.mark.parametrize(
    ("then", "status", "said"),
    [
        ("return", COMPLETED, ""),
        ("exit", FAILED, "its process ended with exit code 7 before its handler returned"),
        ("kill", FAILED, "its process was killed by SIGKILL"),
        ("segfault", FAILED, "its process was killed by SIGSEGV"),
    ],
)
async def test_a_process_that_ends_leaves_no_child(
    executor: ProcessExecutor, mark: str, then: str, status: str, said: str
) -> None:
    """Also while another job runs, whose own processes are left alone."""
    other = await running(executor, "x_family", "quiet")
    await eventually_async(lambda: len(marked(mark)) == QUIET)
    others = set(marked(mark))
    outcome = await ran(executor, "x_family", then)
    assert outcome.status == status
    assert not said or message(outcome) == said
    assert set(marked(mark)) == others
    assert await other.kill()
    await server_alone(mark)


async def test_closing_ends_everything(mark: str) -> None:
    executor = ProcessExecutor(MODULES)
    executions = [await running(executor, "x_family", "deaf") for _ in range(3)]
    await executor.close()
    assert not marked(mark)
    assert {(await execution.outcome()).status for execution in executions} == {FAILED}
    with pytest.raises(RuntimeError, match="closed"):
        await executor.start(handler("x_echo"), None, RecordingProgress(), CancelToken())


async def test_fifty_jobs_leave_neither_descriptors_nor_zombies(executor: ProcessExecutor, mark: str) -> None:
    await ran(executor, "x_echo")
    server = await server_alone(mark)

    def held() -> tuple[int, int, int]:
        return psutil.Process().num_fds(), server.num_fds(), len(server.children())

    before = held()
    ways = ["x_echo", "x_raise", "x_family", "x_deaf", "x_rows"]
    payloads = {"x_raise": "value", "x_family": "exit"}
    for number in range(50):
        name = ways[number % len(ways)]
        execution = await executor.start(handler(name), payloads.get(name), RecordingProgress(), CancelToken())
        if name == "x_deaf":
            assert await execution.kill()
        await execution.outcome()
    assert held() == before


# Those above it


def worker(cwd: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.runner.executor_worker", *arguments],
        stdout=subprocess.PIPE,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(("name", "forks"), [("x_family", ""), ("x_holds_gil", ""), ("x_holds_gil", "forks")])
def test_a_worker_that_is_killed_takes_its_jobs_and_all_that_came_of_them(mark: str, name: str, forks: str) -> None:
    """Also a job that can run no thread of its own, and when a child of the worker's holds its sockets open."""
    parent = worker(ROOT, *MODULES, name, "deaf", forks)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"running\n"
    assert len(marked(mark)) > 9
    forked = [child for child in psutil.Process(parent.pid).children() if child.cmdline() == _command(parent)]
    assert len(forked) == bool(forks)
    parent.kill()
    parent.wait()
    eventually(lambda: {process.pid for process in marked(mark)} == {child.pid for child in forked})
    for child in forked:
        child.kill()
    eventually(lambda: not marked(mark))
    parent.stdout.close()


def _command(process: subprocess.Popen[bytes]) -> list[str]:
    return psutil.Process(process.pid).cmdline()


def test_handlers_may_be_in_the_working_directory_and_what_they_print_comes_out(mark: str, tmp_path: Path) -> None:
    (tmp_path / "only_here.py").write_text(
        "from milepost_runner import registry\n"
        "@registry.job('greet')\n"
        "def greet(payload, progress, cancel):\n"
        "    print('hello', payload)\n"
        "    return payload\n"
    )
    parent = worker(tmp_path, "only_here", "greet", "you")
    told, _ = parent.communicate(timeout=60)
    assert sorted(told.split(b"\n")) == [b"", b'completed "you"', b"hello you", b"running"]


async def test_when_the_process_that_forks_is_killed_its_jobs_fail_and_the_next_has_another(
    executor: ProcessExecutor, mark: str
) -> None:
    await ran(executor, "x_echo")
    server = await server_alone(mark)
    execution = await running(executor, "x_family", "deaf")
    os.kill(server.pid, signal.SIGKILL)
    outcome = await execution.outcome()
    assert outcome.status == FAILED
    assert "has ended" in message(outcome)
    await ran(executor, "x_echo")
    assert (await server_alone(mark)).pid != server.pid


async def test_modules_that_cannot_be_loaded_fail_the_job(mark: str, capfd: pytest.CaptureFixture[str]) -> None:
    executor = ProcessExecutor(["tests.runner.no_such_module"])
    outcome = await ran(executor, "x_echo")
    assert outcome.status == FAILED
    assert not outcome.final
    assert "no_such_module" in capfd.readouterr().err
    await executor.close()


async def test_a_kill_is_bounded_while_modules_are_being_loaded(mark: str) -> None:
    executor = ProcessExecutor(["tests.runner.slow_module"])
    cancel = CancelToken()
    execution = await executor.start(handler("x_echo"), None, RecordingProgress(), cancel)
    cancel.request()
    assert not await execution.kill()
    assert (await execution.outcome()).status == CANCELLED
    assert executor.written_off == 1
    await executor.close()
