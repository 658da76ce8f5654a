"""taskiq's tasks as jobs: a real broker, and workers in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.current import current
from milepost_reporter.names import is_name
from milepost_reporter.taskiq import MilepostMiddleware, job_id
from taskiq import AsyncBroker, InMemoryBroker, SimpleRetryMiddleware
from taskiq.kicker import AsyncKicker

from milepost.nats_server import NatsServer
from tests.docs.block import ROOT
from tests.docs.printed import printed
from tests.milepost.conftest import Service, serving
from tests.milepost.console import running
from tests.recipes.recipe import as_told
from tests.reporter.job_log import ask, stored, stored_of
from tests.reporter.subscriber import Received
from tests.reporter.taskiq_tasks import DURABLE, make_broker
from tests.waiting import eventually, eventually_async

TENANT = "taskiq"
LEASE = 1.0
NOBODY = "nats://127.0.0.1:1"


class Worker:
    """A `taskiq worker` under way."""

    def __init__(
        self,
        url: str,
        folder: Path,
        queue: str,
        *arguments: str,
        nats_url: str | None = None,
        retry: str = "simple",
        broker: str = "tests.reporter.taskiq_tasks:broker",
    ) -> None:
        self._log = folder / f"{queue}.log"
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "MILEPOST_"))},
            "TASKS_URL": url,
            "TASKS_QUEUE": queue,
            "TASKS_RETRY": retry,
            "NATS_URL": nats_url or url,
            "MILEPOST_TENANT": TENANT,
            "MILEPOST_LEASE_SECONDS": str(LEASE),
            "MILEPOST_UNREACHABLE_TIMEOUT": "0.2",
            "PYTHONPATH": str(ROOT),
        }
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "taskiq"), "worker", broker, "--workers", "1", *arguments],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    def listening(self) -> Worker:
        """It, when it takes tasks."""
        eventually(lambda: "Listening started" in self.said)
        return self

    def terminate(self) -> None:
        self._process.terminate()

    def ended(self) -> int:
        """Its exit code; nothing is left of it."""
        try:
            return self._process.wait(20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


class Around:
    """A server, a hub with its watchdog, and a broker to send with."""

    def __init__(self, url: str, broker: AsyncBroker) -> None:
        self.url = url
        self._broker = broker

    async def send(self, name: str, *values: object, task_id: str | None = None, **labels: object) -> str:
        """The task's job."""
        kicker: AsyncKicker[Any, Any] = AsyncKicker(name, self._broker, dict(labels))
        task = await kicker.with_task_id(task_id).kiq(*values)
        return job_id(task.task_id)

    def log(self, job: str) -> list[Received]:
        return stored_of(self.url, f"tenant.{TENANT}.job.{job}.>")

    def events(self, job: str, **fields: object) -> list[dict[str, Any]]:
        events = [message.event for message in self.log(job)]
        return [event for event in events if all(event.get(name) == fields[name] for name in fields)]

    def ends(self, job: str) -> list[tuple[str, str, bool]]:
        """Where each end is stored, how it came out, and whether it promises another run."""
        found = [message for message in self.log(job) if ".end." in message.subject]
        return [
            (one.subject.partition(".end.")[2], one.event["status"], bool(one.event.get("willRetry"))) for one in found
        ]

    async def ended(self, job: str) -> list[tuple[str, str, bool]]:
        """All ends of the job, when one of them is the last."""
        await eventually_async(lambda: (ends := self.ends(job)) and not ends[-1][2])
        return self.ends(job)

    async def cancel(self, job: str) -> bytes:
        """What the job answers."""
        client = await nats.connect(self.url)
        try:
            request = await client.request(f"tenant.{TENANT}.job.{job}.control", b'{"action":"cancel"}', timeout=5)
            return request.data
        finally:
            await client.close()

    def unacknowledged(self, queue: str) -> int:
        info = ask(self.url, f"$JS.API.CONSUMER.INFO.{queue}.{DURABLE}")
        return int(info["num_ack_pending"]) + int(info["num_pending"])


def jobs_of(url: str) -> set[str]:
    """Every job that has an event stored."""
    return {message.subject.split(".")[3] for message in stored(url)}


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as started:
        yield started


@pytest.fixture(scope="module", autouse=True)
def service(server: NatsServer) -> Iterator[Service]:
    """With its watchdog, on a log that is there."""
    with serving(server.url) as started:
        eventually(lambda: "config" in ask(server.url, "$JS.API.STREAM.INFO.MILEPOST_LOG"))
        yield started


@pytest.fixture(scope="module", autouse=True)
def workers(
    server: NatsServer, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Worker]]:
    """All that the tests need, by their queues: their starts, which take the longest, are one."""
    url, folder = server.url, tmp_path_factory.mktemp("workers")
    pool = ("--use-process-pool", "--max-process-pool-processes", "2")
    started = {
        "tasks": Worker(url, folder, "tasks"),
        "pooled": Worker(url, folder, "pooled", *pool, retry="smart"),
        "example": Worker(url, folder, "example", broker="examples.taskiq_tasks:broker"),
        "away": Worker(url, folder, "away", nats_url=NOBODY),
    }
    yield started
    for worker in started.values():
        worker.terminate()
    for worker in started.values():
        worker.ended()


@asynccontextmanager
async def sending(url: str, queue: str) -> AsyncIterator[Around]:
    broker = make_broker(url, queue, MilepostMiddleware(nats_url=url, tenant=TENANT))
    await broker.startup()
    try:
        yield Around(url, broker)
    finally:
        await broker.shutdown()


@pytest_asyncio.fixture
async def around(server: NatsServer, workers: dict[str, Worker]) -> AsyncIterator[Around]:
    workers["tasks"].listening()
    async with sending(server.url, "tasks") as one:
        yield one


async def test_a_task_is_a_job_from_when_it_was_sent_to_its_result(around: Around) -> None:
    job = await around.send("load", 500)
    assert await around.ended(job) == [("1", "completed", False)]
    told = around.events(job)
    assert [event["status"] for event in told if event.get("kind") == "job"] == ["queued", "running", "completed"]
    assert {event.get("name") for event in told if event.get("kind") == "job"} == {"load"}
    assert around.events(job, nodeId=1)[-1]["rowCount"] == 500
    assert around.events(job, kind="result")[0]["data"] == {"rows": 500}
    assert told[0]["at"] <= told[1]["at"]


async def test_tasks_in_threads_know_whose_they_are(around: Around) -> None:
    jobs = await asyncio.gather(*(around.send("in a thread", f"mark {number}") for number in range(20)))
    for number, job in enumerate(jobs):
        assert await around.ended(job) == [("1", "completed", False)]
        assert [event["message"] for event in around.events(job, kind="log")] == [f"mark {number}"]
        assert around.events(job, kind="result")[0]["data"] == job


async def test_a_failure_is_told_with_its_reason(around: Around, tmp_path: Path) -> None:
    job = await around.send("flaky", str(tmp_path), 1)
    assert await around.ended(job) == [("1", "failed", False)]
    assert around.events(job, status="failed")[0]["error"]["message"] == "ValueError: failure 1"


async def test_retries_are_the_next_runs_and_each_has_one_end(around: Around, tmp_path: Path) -> None:
    job = await around.send("flaky", str(tmp_path), 2, retry_on_error=True, max_retries=3)
    assert await around.ended(job) == [("1", "failed", True), ("2", "failed", True), ("3", "completed", False)]
    # each run's end is behind all of that run, and before all of the next: to no reader it is late
    assert [event["run"] for event in around.events(job)] == sorted(event["run"] for event in around.events(job))


async def test_the_last_retry_promises_no_other(around: Around, tmp_path: Path) -> None:
    job = await around.send("flaky", str(tmp_path), 9, retry_on_error=True, max_retries=2)
    assert await around.ended(job) == [("1", "failed", True), ("2", "failed", False)]


async def test_a_task_that_requeues_itself_runs_again(around: Around, tmp_path: Path) -> None:
    job = await around.send("again", str(tmp_path))
    assert await around.ended(job) == [("1", "cancelled", True), ("2", "completed", False)]


async def test_an_asynchronous_task_is_cancelled_where_it_awaits(around: Around) -> None:
    job = await around.send("endless", retry_on_error=True)
    await eventually_async(lambda: around.events(job, kind="log"))
    assert await around.cancel(job) == b'{"ok":true}'
    assert await around.ended(job) == [("1", "cancelled", False)]
    assert [event["status"] for event in around.events(job, kind="job")][-2:] == ["cancelling", "cancelled"]
    # taskiq has gone on: the message is acknowledged, and no retry was sent
    await eventually_async(lambda: not around.unacknowledged("tasks"))


async def test_a_task_in_a_thread_is_told_by_its_token(around: Around) -> None:
    job = await around.send("asking", retry_on_error=True)
    await eventually_async(lambda: around.events(job, kind="log"))
    assert await around.cancel(job) == b'{"ok":true}'
    assert await around.ended(job) == [("1", "cancelled", False)]
    await eventually_async(lambda: not around.unacknowledged("tasks"))


async def test_nothing_but_the_function_is_ever_cancelled(around: Around) -> None:
    job = await around.send("load", 1, lingering=True)
    await eventually_async(lambda: around.events(job, message="lingering"))
    assert await around.cancel(job) == b'{"ok":true}'
    # the work was done, and taskiq has gone on
    assert await around.ended(job) == [("1", "completed", False)]
    await eventually_async(lambda: not around.unacknowledged("tasks"))


async def test_a_killed_workers_task_is_declared_lost_and_runs_again(around: Around, tmp_path: Path) -> None:
    job = await around.send("deadly", str(tmp_path))
    await eventually_async(lambda: around.events(job, nodeId=1))
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    await eventually_async(lambda: len(around.ends(job)) > 1)
    assert around.ends(job) == [("1", "failed", False), ("2", "completed", False)]
    assert around.events(job, status="failed")[0]["error"]["message"] == "lost"
    assert around.events(job, kind="result")[0] | {"at": ""} == {
        "kind": "result",
        "data": "survived",
        "run": 2,
        "at": "",
    }


async def test_what_fails_around_a_task_ends_its_run_too(around: Around) -> None:
    job = await around.send("load", 1, spoiled=True)
    ends = await eventually_async(lambda: around.ends(job))
    assert ends[0] == ("1", "failed", False)
    assert around.events(job, status="failed")[0]["error"]["message"] == "RuntimeError: a middleware has failed"


async def test_any_task_id_has_a_job(around: Around) -> None:
    job = await around.send("load", 1, task_id="nightly: a.b *")
    assert re.fullmatch(r"task-[0-9a-f]{32}", job)
    assert await around.ended(job) == [("1", "completed", False)]


@given(st.text(min_size=1))
def test_a_job_id_is_one_and_stays_the_same(task_id: str) -> None:
    job = job_id(task_id)
    assert is_name(job)
    assert job == job_id(task_id)
    assert (job == task_id) is is_name(task_id)


async def test_a_pools_tasks_begin_and_end_and_have_no_reporter(
    server: NatsServer, workers: dict[str, Worker], tmp_path: Path
) -> None:
    before = jobs_of(server.url)
    workers["pooled"].listening()
    async with sending(server.url, "pooled") as around:
        jobs = [await around.send("in a pool") for _ in range(3)]
        for job in jobs:
            assert await around.ended(job) == [("1", "completed", False)]
            assert around.events(job, kind="result")[0]["data"] is False
    # nor did a process of the pool begin a job of its own
    assert jobs_of(server.url) - before == set(jobs)


async def test_retries_of_the_other_middleware_are_runs_as_well(
    server: NatsServer, workers: dict[str, Worker], tmp_path: Path
) -> None:
    workers["pooled"].listening()
    async with sending(server.url, "pooled") as around:
        job = await around.send("flaky", str(tmp_path), 1, retry_on_error=True)
        assert await around.ended(job) == [("1", "failed", True), ("2", "completed", False)]


def test_the_example_prints_what_its_page_shows(
    server: NatsServer, service: Service, workers: dict[str, Worker]
) -> None:
    env = {**os.environ, "NATS_URL": server.url, "MILEPOST_TENANT": TENANT}
    workers["example"].listening()
    with running("watch", "import-1", env=service.environment(TENANT)) as watching:
        watching.until("connected")
        subprocess.run([sys.executable, "examples/taskiq_tasks.py", "import-1"], cwd=ROOT, env=env, check=True)
        lines = watching.rest()
        assert watching.end() == 0
    shown = printed("taskiq.md", "milepost watch import-1")
    assert as_told("\n".join(lines)) == as_told(shown), "\n".join(lines)


def test_the_page_shows_the_example() -> None:
    assert (ROOT / "examples" / "taskiq_tasks.py").read_text() in (ROOT / "docs" / "taskiq.md").read_text()


async def test_without_nats_tasks_run_as_ever(server: NatsServer, workers: dict[str, Worker], tmp_path: Path) -> None:
    worker = workers["away"].listening()
    async with sending(server.url, "away") as around:
        for number in range(3):
            await around.send("touch", str(tmp_path / f"touched-{number}"))
        await eventually_async(lambda: len(list(tmp_path.glob("touched-*"))) == 3)
        await eventually_async(lambda: not around.unacknowledged("away"))
    worker.terminate()
    assert worker.ended() == 0
    assert worker.said.count("Traceback") == 0


async def test_a_task_that_runs_where_another_sends_it_leaves_that_one_its_own_end(log_nats: NatsServer) -> None:
    middleware = MilepostMiddleware(nats_url=log_nats.url, tenant=TENANT)
    broker = InMemoryBroker(await_inplace=True).with_middlewares(SimpleRetryMiddleware(), middleware)

    @broker.task(task_name="inner", retry_on_error=True, max_retries=2)
    async def inner() -> int:
        if current().run == 1:
            raise OSError("not yet")
        return 2

    @broker.task(task_name="outer")
    async def outer() -> str:
        return (await inner.kiq()).task_id

    await broker.startup()
    around = Around(log_nats.url, broker)
    job = (await outer.kiq()).task_id
    assert await around.ended(job) == [("1", "completed", False)]
    within = around.events(job, kind="result")[0]["data"]
    ends = await eventually_async(lambda: len(ends := around.ends(within)) == 2 and sorted(ends))
    assert ends == [("1", "failed", True), ("2", "completed", False)]
    await broker.shutdown()


def test_without_settings_nothing_is_told_and_wrong_ones_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NATS_URL", raising=False)
    MilepostMiddleware()
    with pytest.raises(ValueError, match="tenant"):
        MilepostMiddleware(nats_url="nats://127.0.0.1:4222", tenant="a.b")
