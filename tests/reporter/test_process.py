"""Forks, spawned children, pools, and the process's own end."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext

import pytest
from milepost_reporter import Reporter

from milepost.nats_server import NatsServer
from tests.reporter import children
from tests.reporter.subscriber import Subscriber
from tests.waiting import eventually

TENANT = uuid.uuid4().hex


@pytest.fixture
def subscriber(shared_nats: NatsServer) -> Iterator[Subscriber]:
    with Subscriber(shared_nats.url, TENANT) as subscriber:
        yield subscriber


@pytest.fixture(autouse=True)
def _forks_with_threads() -> Iterator[None]:
    """Python warns of what these tests are about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
        yield


def reporter(nats: NatsServer) -> Reporter:
    # a child on a busy machine may end before it has connected, and is to wait for that
    return Reporter(nats_url=nats.url, tenant=TENANT, job=uuid.uuid4().hex, close_timeout=30, unreachable_timeout=30)


def fork(work: Callable[[], None]) -> int:
    """The exit status of a forked child that does `work`; killed when it hangs."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    try:
        return _reap(child)
    except TimeoutError:
        os.kill(child, signal.SIGKILL)
        raise


def _reap(child: int) -> int:
    found: list[int] = []

    def ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            found.append(status)
        return bool(pid)

    eventually(ended, 15)
    return os.waitstatus_to_exitcode(found[0])


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_report_to_the_same_job(shared_nats: NatsServer, subscriber: Subscriber, method: str) -> None:
    """Under ids of their own; start and end are told once, by the parent."""
    context: BaseContext = multiprocessing.get_context(method)
    with reporter(shared_nats) as job:
        job.log("parent")
        subscriber.until(message="parent")
        processes = [
            context.Process(target=children.log_and_count, args=(job, f"child{which}"))  # type: ignore[attr-defined]
            for which in range(3)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(30)
            assert process.exitcode == 0
        for which in range(3):
            subscriber.until(nodeName=f"child{which}", status="completed", rowCount=10)
        job.log("parent still here")
    eventually(lambda: subscriber.of(status="completed", kind="job"))
    assert len({message.reporter for message in subscriber.once}) == 4
    assert len({message.subject for message in subscriber.once}) == 2
    assert [event["status"] for event in subscriber.of(kind="job")] == ["running", "completed"]
    assert len({event["nodeId"] for event in subscriber.of(status="completed") if "nodeId" in event}) == 3
    assert subscriber.of(message="parent still here")


def test_a_fork_inside_the_with_tells_no_end(shared_nats: NatsServer, subscriber: Subscriber) -> None:
    """Not when the child leaves the block, and none of what waited in the parent."""
    with reporter(shared_nats) as job:
        subscriber.until(status="running")
        node = job.node(1, "Parent's")
        for number in range(100):
            job.log(f"line {number}")

        def child() -> None:
            node.advance(1_000)
            children.inside(job)

        assert fork(child) == 0
        node.advance()
    eventually(lambda: subscriber.of(status="completed", kind="job"))
    assert len(subscriber.of(kind="job")) == 2
    assert len(subscriber.of(message="line 5")) == 1
    assert subscriber.of(nodeId=1)[-1]["rowCount"] == 1
    assert len(subscriber.of(message="inside")) == 1


def test_a_child_may_end_the_job_when_asked(shared_nats: NatsServer, subscriber: Subscriber) -> None:
    job = reporter(shared_nats)
    job.log("x")

    def child() -> None:
        job.complete()
        assert job.close()

    assert fork(child) == 0
    eventually(lambda: subscriber.of(status="completed", kind="job"))
    assert job.close()


def test_a_fork_in_the_middle_of_other_threads_reporting(shared_nats: NatsServer, subscriber: Subscriber) -> None:
    """Whatever lock another thread held at that moment, the child has its own."""
    stop = threading.Event()
    with reporter(shared_nats) as job:

        def report() -> None:
            while not stop.is_set():
                job.report(0.5, "busy")
                job.log("busy")

        threads = [threading.Thread(target=report) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for which in range(10):
                assert fork(lambda which=which: children.log_twice(job, f"fork{which}") and None) == 0  # type: ignore[misc]
        finally:
            stop.set()
            for thread in threads:
                thread.join()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_has_one_handle_for_each_process(shared_nats: NatsServer, subscriber: Subscriber, method: str) -> None:
    """However many tasks carry the reporter, and everything is sent when the pool ends."""
    with reporter(shared_nats) as job:
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
            tasks = [pool.submit(children.log_twice, job, f"task{which}") for which in range(20)]
            ran = {task.result(30) for task in tasks}
        for which in range(20):
            subscriber.until(message=f"task{which} b")
    assert len(ran) == len({pid for pid, _ in ran})
    assert job.id not in {reporter_id for _, reporter_id in ran}


def test_a_handle_is_no_owner_and_a_node_is_not_handed_on(shared_nats: NatsServer) -> None:
    job = reporter(shared_nats)
    handle = pickle.loads(pickle.dumps(job))  # noqa: S301 - our own
    assert (handle.tenant, handle.job, handle.run) == (job.tenant, job.job, job.run)
    assert handle.id != job.id
    assert pickle.loads(pickle.dumps(job)) is handle  # noqa: S301 - our own
    with pytest.raises(TypeError, match="belongs to the process that made it"):
        pickle.dumps(job.node(1, "Load"))
    disabled = pickle.loads(pickle.dumps(Reporter.disabled()))  # noqa: S301 - our own
    assert not disabled.enabled
    job.close()


SCRIPT = """
import sys
from milepost_reporter import Reporter
job = Reporter(nats_url=sys.argv[1], tenant=sys.argv[2], job="exit")
for number in range(200):
    job.log(f"line {number}")
job.node(1, "Load").advance(5)
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_reporter_nobody_closed_is_flushed_at_exit(shared_nats: NatsServer, subscriber: Subscriber) -> None:
    """By name too: looking it up must not need threads that are refused at exit. No end is made up."""
    ended = run(SCRIPT, shared_nats.url.replace("127.0.0.1", "localhost"), TENANT)
    assert (ended.returncode, ended.stderr) == (0, "")
    subscriber.until(nodeId=1, rowCount=5)
    assert len(subscriber.of(kind="log")) == 200
    assert not subscriber.of(kind="job")


def test_an_exit_without_nats_is_short_and_clean() -> None:
    ended = run(SCRIPT, "nats://127.0.0.1:1", TENANT)
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("202 events of job exit have not reached NATS: ")


def test_importing_the_plugin_or_the_contract_does_not_import_nats() -> None:
    ended = run(
        "import sys, milepost_reporter, milepost_reporter.pytest_plugin, milepost_reporter.event\n"
        "sys.exit('nats' in sys.modules)"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
