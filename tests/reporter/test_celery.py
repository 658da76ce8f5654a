"""Celery's tasks as jobs: a real broker, real workers in processes of their own, and what a job's readers see."""

import base64
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from celery import Celery, Signature, chord, group
from celery.exceptions import TimeLimitExceeded
from celery.result import AsyncResult
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_reporter import shared_link
from milepost_reporter.celery import meta as metas
from milepost_reporter.celery import report_tasks
from milepost_reporter.celery.count import can_count, is_last, redeliveries
from milepost_reporter.celery.execution import Execution
from milepost_reporter.celery.place import HEADER, Place, ids_of, job_id, node_id, read_place
from milepost_reporter.event import parse_event
from milepost_reporter.names import is_name
from milepost_reporter.run import Verdict
from milepost_reporter.settings import Settings
from milepost_reporter.state import JobState
from milepost_reporter.subject import parse

from milepost.nats_server import NatsServer
from tests.docs.block import ROOT
from tests.reporter import celery_worker
from tests.reporter.celery_tasks import (
    CANCEL,
    TENANT,
    add,
    app,
    calls,
    dies,
    dies_once,
    fails,
    flaky,
    gives_up,
    hands_on,
    hears_its_limit,
    logs,
    looks,
    nothing,
    owns_its_state,
    refuses,
    returns,
    steps,
    stops_itself,
    threads,
    times_out_once,
    total,
    waits,
)
from tests.reporter.job_log import LOG, Requests, make_streams
from tests.waiting import eventually

needs_redis = pytest.mark.skipif(celery_worker.redis_server() is None, reason=celery_worker.MISSING)


class Told(NamedTuple):
    """What the log holds of one job."""

    state: JobState
    events: list[dict[str, Any]]
    headers: list[bytes]
    ends: list[str]
    late: int

    @property
    def nodes(self) -> list[tuple[str, str]]:
        return sorted((node.get("nodeName", ""), node["status"]) for node in self.state.snapshot()["nodes"])


class Stage:
    """The servers and the folder that a worker shares with its test."""

    def __init__(self, nats: NatsServer, folder: Path) -> None:
        self.nats = nats
        self.folder = folder

    def told(self, job: str, tenant: str = TENANT) -> Told:
        state, events, ends, late = JobState(job), [], [], 0
        headers: list[bytes] = []
        for message in self._messages(job, tenant):
            subject = parse(message["subject"])
            assert subject is not None
            event = parse_event(message["data"])
            late += state.apply(event, datetime.now(UTC), subject.run) is Verdict.LATE
            events.append(event.model_dump(exclude_none=True))
            headers.append(message["hdrs"])
            ends += [message["subject"]] if subject.leaf == "end" else []
        return Told(state, events, headers, ends, late)

    def _messages(self, job: str, tenant: str) -> Iterator[dict[str, Any]]:
        requests, seq = Requests(self.nats.url), 1
        try:
            while True:
                wanted = {"seq": seq, "next_by_subj": f"tenant.{tenant}.job.{job}.>"}
                message = requests.ask(f"$JS.API.STREAM.MSG.GET.{LOG}", wanted).get("message")
                if message is None:
                    return
                yield {name: _unpacked(name, message.get(name)) for name in ("subject", "data", "hdrs")}
                seq = message["seq"] + 1
        finally:
            requests.close()

    def ended(self, job: str, tenant: str = TENANT) -> Told:
        """When its last run has ended for good."""

        def over() -> bool:
            state = self.told(job, tenant).state
            return state.ended and not state.will_retry

        eventually(over)
        return self.told(job, tenant)

    def began(self, name: str) -> None:
        eventually((self.folder / f"{name}.began").exists)

    def let(self, name: str) -> None:
        (self.folder / name).touch()

    def cancel(self, job: str) -> dict[str, Any]:
        requests = Requests(self.nats.url)
        try:
            return requests.ask(f"tenant.{TENANT}.job.{job}.control", {"action": "cancel"})
        finally:
            requests.close()


def _unpacked(name: str, value: str | None) -> Any:  # noqa: ANN401
    return value if name == "subject" else base64.b64decode(value or "")


def environ(nats: NatsServer) -> dict[str, str]:
    return {"NATS_URL": nats.url, "MILEPOST_TENANT": TENANT, "MILEPOST_LEASE_SECONDS": "7"}


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with celery_worker.redis(tmp_path_factory.mktemp("redis")) as url:
        celery_worker.connect(url)
        yield url
        app.close()


@pytest.fixture(scope="module")
def stage(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A prefork worker with three processes; a request to cancel revokes."""
    folder = tmp_path_factory.mktemp("stage")
    with NatsServer() as nats:
        make_streams(nats.url)
        with celery_worker.worker(redis_url, folder, {**environ(nats), CANCEL: "1"}, "--concurrency", "3"):
            yield Stage(nats, folder)


def call(task: Signature, **options: Any) -> str:  # noqa: ANN401
    return str(task.apply_async(**options).id)


@needs_redis
def test_a_task_is_a_job_with_its_name_and_result(stage: Stage) -> None:
    job = call(add.s(1, 2))
    told = stage.ended(job)
    assert told.state.summary()["name"] == "add"
    assert told.state.status == "completed"
    assert told.state.snapshot()["result"] == 3
    assert [event["status"] for event in told.events if event["kind"] == "job"] == ["running", "completed"]
    assert told.ends == [f"tenant.{TENANT}.job.{job}.end.1"]
    assert all(b"Milepost-Lease: 7" in headers for headers in told.headers)


@needs_redis
def test_an_id_that_no_job_can_have_is_mapped_and_stays_so(stage: Stage) -> None:
    task = f"order {uuid.uuid4()}.*.>"
    assert stage.ended(job_id(call(add.s(1), task_id=task))).state.status == "completed"


@needs_redis
def test_a_failure_has_its_message_and_traceback(stage: Stage) -> None:
    error = stage.ended(call(fails.s())).state.snapshot()["error"]
    assert error["message"] == "ValueError: no such row"
    assert "celery_tasks.py" in error["details"]


@needs_redis
@pytest.mark.parametrize("value", ["x" * 20_000, [[0] * 20_000], None])
def test_a_result_that_is_large_or_nothing_is_not_told(stage: Stage, value: object) -> None:
    told = stage.ended(call(returns.s(value)))
    assert told.state.status == "completed"
    assert "result" not in [event["kind"] for event in told.events]


@needs_redis
def test_a_retry_is_the_next_run(stage: Stage) -> None:
    """Another process may have begun it before the first has told its end: what comes out is the same."""
    job = call(flaky.s(2))
    eventually(lambda: len(stage.told(job).ends) == 3)
    told = stage.ended(job)
    ends = {event["run"]: event for event in told.events if event.get("status") in ("failed", "completed")}
    assert [(run, ends[run]["status"], ends[run].get("willRetry")) for run in sorted(ends)] == [
        *((1, "failed", True), (2, "failed", True), (3, "completed", None)),
    ]
    assert ends[1]["error"]["message"] == "OSError: not yet"
    assert (told.state.status, told.state.run, told.state.snapshot()["result"]) == ("completed", 3, 2)


@needs_redis
def test_the_last_retry_fails_for_good(stage: Stage) -> None:
    told = stage.ended(call(flaky.s(9)))
    assert (told.state.status, told.state.run) == ("failed", 3)


@needs_redis
def test_update_state_is_progress_and_does_what_it_did(stage: Stage) -> None:
    last = {"current": 3, "total": 10, "status": "third"}
    task = steps.delay([{"odd": True}, {"current": 1, "total": 10}, last])
    told = stage.ended(task.id)
    progress = [event for event in told.events if event["kind"] == "progress"]
    assert (progress[-1]["fraction"], progress[-1]["message"]) == (0.3, "third")
    assert told.state.snapshot()["result"] == last


@needs_redis
def test_an_update_state_of_the_tasks_own_is_called_as_it_was(stage: Stage) -> None:
    assert stage.ended(call(owns_its_state.s())).state.snapshot()["result"] == "done"


@needs_redis
def test_a_soft_time_limit_is_heard_wherever_it_strikes(stage: Stage) -> None:
    assert stage.ended(call(hears_its_limit.s())).state.snapshot()["result"] == 2


@needs_redis
def test_what_a_task_runs_itself_is_no_job(stage: Stage) -> None:
    [eager] = stage.ended(call(calls.s("eager"))).state.snapshot()["result"]
    # What the same process tells later is there, so this would be.
    assert stage.told(eager).events == []


@needs_redis
@pytest.mark.parametrize(
    ("task", "status"),
    [
        (lambda: fails.s(tenant="other"), "failed"),
        (lambda: dies.s(tenant="other"), "failed"),
        (lambda: dies.s(tenant="other").set(expires=datetime(2020, 1, 1, tzinfo=UTC)), "cancelled"),
        (lambda: app.signature("nobody-knows", kwargs={"tenant": "other"}), "failed"),
    ],
    ids=["where it runs", "killed", "expired", "unknown"],
)
def test_every_end_is_told_to_the_tenant_of_its_request(
    stage: Stage, task: Callable[[], Signature], status: str
) -> None:
    job = call(task())
    assert stage.ended(job, "other").state.status == status
    assert stage.told(job).events == []


@needs_redis
def test_a_tasks_code_finds_its_reporter(stage: Stage) -> None:
    job = call(logs.s("a line"))
    told = stage.ended(job)
    snapshot = told.state.snapshot()
    assert snapshot["result"] == job
    assert [line["message"] for line in snapshot["logTail"]] == ["a line"]
    assert told.nodes == [("Rows", "completed")]


CANVASES: Mapping[str, tuple[Callable[[], Signature], str, list[str]]] = {
    "chain": (lambda: add.s(1) | add.s(2) | total.si([3]), "add | add | total", ["add", "add", "total"]),
    "group": (lambda: group(add.s(n) for n in range(4)), "4 x add", ["add"] * 4),
    "chord": (lambda: chord([add.s(1), add.s(2)], total.s()), "2 x add | total", ["add", "add", "total"]),
    "group in a chain": (
        lambda: add.s(1) | group(add.s(1), add.s(2)) | total.s(),
        "add | 2 x add | total",
        ["add", "add", "add", "total"],
    ),
    "group at a chain's end": (lambda: add.s(1) | group(add.s(1), nothing.s()), "add | (add, nothing)", []),
    "chains in a group": (lambda: group(add.s(1) | add.s(2), nothing.s()), "(add | add, nothing)", []),
    "chord in a group": (
        lambda: group(nothing.s(), chord([add.s(1), add.s(2)], total.s())),
        "(nothing, 2 x add | total)",
        ["add", "add", "nothing", "total"],
    ),
    "groups in groups": (
        lambda: group(add.s(1), group(add.s(2), add.s(3) | group(add.s(4), add.s(5)))),
        "(add, add | 2 x add)",
        ["add"] * 5,
    ),
    "chains in a chord": (
        lambda: chord([add.s(1) | add.s(2), add.s(3)], total.s()),
        "(add | add, add) | total",
        ["add", "add", "add", "total"],
    ),
    "group after a chord": (
        lambda: chord([add.s(1), add.s(2)], group(total.s(), total.s())),
        "2 x add | 2 x total",
        ["add", "add", "total", "total"],
    ),
}


@needs_redis
def test_a_canvas_is_one_job_with_a_node_for_each_task(stage: Stage) -> None:
    """All at the same time, as they would meet in a worker."""
    jobs = {what: _job_of(canvas()) for what, (canvas, _, _) in CANVASES.items()}
    for what, (_, name, tasks) in CANVASES.items():
        told = stage.ended(jobs[what])
        snapshot = told.state.snapshot()
        assert (snapshot["name"], snapshot["status"], snapshot["fraction"]) == (name, "completed", 1.0), what
        assert {status for _, status in told.nodes} == {"completed"}, what
        assert [task for task, _ in told.nodes] == tasks or not tasks, what
        assert {node["nodeId"] for node in snapshot["nodes"]} == {node["nodeId"] for node in snapshot["plan"]["nodes"]}
        assert (len(told.ends), told.late) == (1, 0), what
        assert not any(b"Milepost-Lease" in headers for headers in told.headers), what


def _job_of(canvas: Signature) -> str:
    """The job that a canvas is: a group's, or that of its first task."""
    result = canvas.apply_async()
    while getattr(result, "parent", None) is not None:
        result = result.parent
    return str(result.id)


@needs_redis
def test_a_groups_job_goes_on_until_its_last_member_is_done(stage: Stage) -> None:
    name = uuid.uuid4().hex
    job = _job_of(group(nothing.s(), waits.s(name)))
    stage.began(name)
    eventually(lambda: ("nothing", "completed") in stage.told(job).nodes)
    # What begins now ends later than the group would if it did not wait.
    stage.ended(_job_of(nothing.s() | nothing.si()))
    assert not stage.told(job).state.ended
    stage.let(name)
    assert stage.ended(job).nodes == [("nothing", "completed"), ("waits", "completed")]


@needs_redis
def test_a_chains_plan_has_its_edges_and_its_last_result(stage: Stage) -> None:
    snapshot = stage.ended(_job_of(add.s(1) | add.s(2))).state.snapshot()
    first, second = (node["nodeId"] for node in snapshot["plan"]["nodes"])
    assert snapshot["plan"]["edges"] == [[first, second]]
    assert snapshot["result"] == 3


@needs_redis
def test_a_members_progress_is_its_nodes(stage: Stage) -> None:
    told = stage.ended(_job_of(steps.s([{"done": 3, "total": 4, "description": "nearly"}]) | nothing.s()))
    node = next(node for node in told.state.snapshot()["nodes"] if node["nodeName"] == "steps")
    assert (node["rowCount"], node["total"], node["message"]) == (3, 4, "nearly")


@needs_redis
def test_a_members_failure_fails_the_job_once(stage: Stage) -> None:
    canvases = (
        add.s(1) | fails.s() | add.s(3),
        chord([add.s(1), fails.s()], total.s()),
        group(add.s(1), fails.s(), fails.s()),
    )
    for job in [_job_of(canvas) for canvas in canvases]:
        told = stage.ended(job)
        snapshot = told.state.snapshot()
        assert (snapshot["status"], snapshot["error"]["message"]) == ("failed", "ValueError: no such row")
        assert ("fails", "failed") in told.nodes
        assert len(told.ends) == 1


@needs_redis
def test_a_member_that_is_retried_is_the_same_node_of_the_same_run(stage: Stage) -> None:
    told = stage.ended(_job_of(flaky.s(1) | nothing.s()))
    assert (told.state.status, told.state.run, len(told.ends)) == ("completed", 1, 1)
    assert told.nodes == [("flaky", "completed"), ("nothing", "completed")]


@needs_redis
def test_a_member_that_is_killed_fails_the_job(stage: Stage) -> None:
    told = stage.ended(_job_of(dies.si() | nothing.s()))
    assert told.state.status == "failed"
    assert told.nodes == [("dies", "failed")]
    assert len(told.ends) == 1


@needs_redis
def test_a_task_that_is_replaced_is_the_same_job(stage: Stage) -> None:
    results = {"chain": 3, "task": 3, "group": [1, 2]}
    jobs = {how: call(hands_on.s(how)) for how in results}
    for how, job in jobs.items():
        told = stage.ended(job)
        assert (told.state.status, told.state.snapshot()["result"], len(told.ends)) == ("completed", results[how], 1)


@needs_redis
def test_what_a_task_calls_is_a_job_of_its_own(stage: Stage) -> None:
    nodes = {"chain": 2, "chord": 3, "group": 2, "plain": 0}
    jobs = {how: call(calls.s(how)) for how in nodes}
    for how, job in jobs.items():
        told = stage.ended(job)
        assert told.nodes == [], how
        called = stage.ended(told.state.snapshot()["result"][0])
        assert (called.state.status, len(called.nodes)) == ("completed", nodes[how]), how


@needs_redis
def test_a_killed_process_is_told_by_the_worker_once(stage: Stage) -> None:
    told = stage.ended(call(dies.s()))
    assert "SIGKILL" in told.state.snapshot()["error"]["message"]
    assert len(told.ends) == 1


@needs_redis
def test_what_is_delivered_again_is_the_next_run(stage: Stage) -> None:
    name = uuid.uuid4().hex
    job = call(dies_once.s(name))
    eventually(lambda: stage.told(job).state.snapshot()["logTail"])
    stage.let(f"{name}.seen")
    told = stage.ended(job)
    assert (told.state.status, told.state.run) == ("completed", 2)
    assert told.ends == [f"tenant.{TENANT}.job.{job}.end.2"]


@needs_redis
def test_a_time_limit_fails_the_job(stage: Stage) -> None:
    told = stage.ended(call(waits.s(uuid.uuid4().hex), time_limit=0.2))
    assert TimeLimitExceeded.__name__ in told.state.snapshot()["error"]["message"]
    assert len(told.ends) == 1


@needs_redis
def test_a_task_whose_time_limit_sends_it_back_to_the_queue_runs_again(stage: Stage) -> None:
    told = stage.ended(call(times_out_once.s(uuid.uuid4().hex)))
    assert (told.state.status, told.state.run) == ("completed", 2)
    ends = [event for event in told.events if event.get("status") in {"failed", "completed"}]
    assert {event["run"]: event.get("willRetry", False) for event in ends} == {1: True, 2: False}


@needs_redis
def test_a_task_that_is_revoked_is_cancelled(stage: Stage) -> None:
    name = uuid.uuid4().hex
    job = call(waits.s(name))
    stage.began(name)
    app.control.revoke(job, terminate=True)
    told = stage.ended(job)
    assert (told.state.status, len(told.ends)) == ("cancelled", 1)


@needs_redis
def test_a_task_that_expires_before_it_begins_is_cancelled(stage: Stage) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    cleanup = call(app.signature("celery.backend_cleanup"), expires=past)
    told = stage.ended(call(nothing.s(), expires=past))
    assert [(event["status"], event["message"], event["name"]) for event in told.events] == [
        ("cancelled", "expired", "nothing")
    ]
    assert stage.told(cleanup).events == [], "Celery's own"


@needs_redis
def test_a_request_to_cancel_revokes_the_task_where_that_was_asked_for(stage: Stage) -> None:
    name = uuid.uuid4().hex
    job = call(waits.s(name))
    stage.began(name)
    assert eventually(lambda: stage.cancel(job)) == {"ok": True}
    told = stage.ended(job)
    assert [event["status"] for event in told.events] == ["running", "cancelling", "cancelled"]
    eventually(lambda: AsyncResult(job, app=app).state == "REVOKED")


@needs_redis
@pytest.mark.parametrize(
    ("task", "status"),
    [
        (lambda: gives_up.s("FAILURE"), "failed"),
        (lambda: gives_up.s("REVOKED"), "cancelled"),
        (lambda: gives_up.s("PROGRESS"), "completed"),
        (refuses.s, "failed"),
        (stops_itself.s, "cancelled"),
        (lambda: app.signature("nobody-knows"), "failed"),
    ],
    ids=["ignored, failed", "ignored, revoked", "ignored", "rejected", "cancelled", "unknown"],
)
def test_other_ends(stage: Stage, task: Callable[[], Signature], status: str) -> None:
    told = stage.ended(call(task()))
    assert (told.state.status, len(told.ends)) == (status, 1)


@needs_redis
def test_a_worker_has_one_thread_for_all_its_tasks(stage: Stage) -> None:
    jobs = [call(nothing.s()) for _ in range(30)]
    for job in jobs:
        stage.ended(job)
    assert {threads.delay().get(20) for _ in range(6)} == {2}


@needs_redis
def test_without_the_line_where_tasks_are_called_a_plain_groups_members_are_jobs(stage: Stage, redis_url: str) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "tests.reporter.celery_plain_client"],
        env={**os.environ, "MILEPOST_TEST_REDIS": redis_url},
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    jobs = [stage.ended(job) for job in said.stdout.split()]
    assert [job.state.status for job in jobs] == ["completed"] * 4
    assert [len(job.nodes) for job in jobs] == [2, 0, 0, 3]


@needs_redis
def test_threads_and_a_nats_that_is_away(redis_url: str, tmp_path: Path) -> None:
    """In one worker: several tasks at a time in one process, then the same while nobody listens."""
    queue = {"queue": "threads"}
    with NatsServer() as nats:
        make_streams(nats.url)
        stage = Stage(nats, tmp_path)
        with celery_worker.worker(redis_url, tmp_path, environ(nats), "-P", "threads", "-c", "4", "-Q", "threads"):
            jobs = [call(logs.s(f"line {n}"), **queue) for n in range(8)]
            for number, job in enumerate(jobs):
                lines = stage.ended(job).state.snapshot()["logTail"]
                assert [line["message"] for line in lines] == [f"line {number}"]
            name = uuid.uuid4().hex
            stoppable = call(looks.s(name), **queue)
            stage.began(name)
            assert eventually(lambda: stage.cancel(stoppable)) == {"ok": True}
            assert stage.ended(stoppable).state.status == "cancelled"
            nats.kill()
            away = [add.apply_async((n, 1), **queue) for n in range(20)]
            assert [task.get(20) for task in away] == list(range(1, 21))
            nats.start()
            for task in away:
                assert stage.ended(task.id).state.status == "completed"


@needs_redis
def test_a_cold_shutdown_promises_no_run_of_a_message_that_is_acknowledged(redis_url: str, tmp_path: Path) -> None:
    name = uuid.uuid4().hex
    with NatsServer() as nats:
        make_streams(nats.url)
        stage = Stage(nats, tmp_path)
        with celery_worker.worker(redis_url, tmp_path, environ(nats), "-c", "1", "-Q", "cold") as worker:
            job = call(waits.s(name), queue="cold")
            stage.began(name)
            worker.send_signal(signal.SIGQUIT)
            told = stage.ended(job)
    assert (told.state.status, told.state.run) == ("failed", 1)
    assert told.state.snapshot()["error"]["message"] == "stopped by its worker"


def test_a_member_whose_result_backend_fails_is_over_all_the_same(log_nats: NatsServer, tmp_path: Path) -> None:
    other = Celery("other", broker="memory://", backend=f"file://{tmp_path}")
    task = other.task(name="member")(node_id)
    settings = Settings(nats_url=log_nats.url, tenant=TENANT, job="group", name=None)
    execution = Execution("a", task, Place(job="group", canvas=True, path=(("g", 2, 0),)), frozenset(), settings)
    execution.begin()
    task.backend.path = str(tmp_path / "gone").encode()
    with pytest.raises(OSError, match="gone"):
        execution.end("SUCCESS", None)
    eventually(lambda: not len(shared_link.of(settings)))
    assert shared_link.close()
    other.close()


def test_without_settings_tasks_are_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NATS_URL", raising=False)
    other = Celery("other", broker="memory://")
    report_tasks(other)
    report_tasks(other)
    other.signature("x").delay()
    with pytest.raises(ValueError, match="tenant"):
        report_tasks(other, tenant="a.b")
    other.close()


@pytest.mark.parametrize("backend", ["file://{}", "cache+memory://"])
def test_the_last_of_a_group_finds_the_others_marks_and_one_that_runs_twice_counts_once(
    backend: str, tmp_path: Path
) -> None:
    """Keys are bytes in some backends, as in the first; some give only what is there, by key, as Memcached's does."""
    other = Celery("other", broker="memory://", backend=backend.format(tmp_path))
    paths = [(("outer", 2, 0),), *((("outer", 2, 1), ("inner", 60, index)) for index in range(60))]
    assert can_count(other)
    assert not any(is_last(other.backend, path) for path in paths[:-1] * 2)
    assert is_last(other.backend, paths[-1])
    assert [redeliveries(other.backend, "a", counting=counting) for counting in (True, True, False)] == [1, 2, 2]
    other.close()


@given(st.text())
def test_any_task_id_has_a_job_and_a_node_and_always_the_same(task: str) -> None:
    assert is_name(job_id(task))
    assert job_id(task) == job_id(task)
    assert 0 < len(node_id(task)) <= 128


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["current", "total", "options", "kwargs"]), inner),
)


@given(_JSON)
@settings(max_examples=50)
def test_whatever_stands_in_a_header_a_task_has_a_place(header: object) -> None:
    assert read_place({HEADER: header, "id": "a", "retries": 2}) == read_place({"id": "a", "retries": 2})


@given(st.dictionaries(st.sampled_from(["current", "total", "percent", "progress", "status", "done"]), _JSON) | _JSON)
@settings(max_examples=50)
def test_any_meta_is_read_or_left_alone(meta: object) -> None:
    told = metas.read(meta)
    assert told is None or told.fraction is None or 0 <= told.fraction <= 1


@given(_JSON)
@settings(max_examples=50)
def test_ids_are_found_in_whatever_is_said_to_be_a_signature(signature: object) -> None:
    assert all(isinstance(one, str) for one in ids_of(signature))


@pytest.mark.parametrize(
    ("meta", "told"),
    [
        ({"current": 3, "total": 10, "status": "x"}, (3, 10, 0.3, "x")),
        ({"pending": False, "current": 1, "total": 4, "percent": 25.0, "description": "d"}, (1, 4, 0.25, "d")),
        ({"done": 2, "total": 4}, (2, 4, 0.5, None)),
        ({"percent": 40}, (None, None, 0.4, None)),
        ({"progress": 40}, (None, None, 0.4, None)),
        ({"progress": 0.4}, (None, None, 0.4, None)),
        ({"progress": 1.0}, (None, None, 1.0, None)),
        ({"progress": 1}, (None, None, 0.01, None)),
        ({"current": 12, "total": 10}, (12, 10, 1.0, None)),
        ({"current": 3}, (3, None, None, None)),
        ({"message": "only words"}, (None, None, None, "only words")),
        ({"exc_type": "ValueError"}, None),
        ({"current": True, "total": float("nan")}, None),
        ("words", None),
    ],
)
def test_customary_metas(meta: object, told: tuple[object, ...] | None) -> None:
    assert metas.read(meta) == told
