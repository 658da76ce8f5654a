"""What a job calls, and what readers get of it, through a real nats-server."""

import asyncio
import logging
import signal
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from milepost_reporter import Reporter
from milepost_reporter.event import parse_event
from milepost_reporter.subject import parse

from milepost.nats_server import NatsServer
from tests.reporter.subscriber import Subscriber
from tests.waiting import eventually


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def subscriber(shared_nats: NatsServer, tenant: str) -> Iterator[Subscriber]:
    with Subscriber(shared_nats.url, tenant) as subscriber:
        yield subscriber


def reporter(nats: NatsServer, tenant: str, **more: Any) -> Reporter:  # noqa: ANN401 - any setting
    return Reporter(nats_url=nats.url, tenant=tenant, job=7, **more)


def ended(subscriber: Subscriber) -> dict[str, Any]:
    """The job's end, when it has come."""
    return eventually(lambda: [m.event for m in subscriber.once if ".end." in m.subject])[0]


def test_a_job_from_start_to_end(shared_nats: NatsServer, tenant: str, subscriber: Subscriber) -> None:
    with reporter(shared_nats, tenant, name="Import", run=3) as job:
        job.plan([1, ("load", "Load", 2.0)], [(1, "load")])
        with job.node(1, "DB Input", total=1_000, unit="rows") as node:
            for _ in range(1_000):
                node.advance()
        job.log("careful", level="warning")
        job.artifact("report", "s3://bucket/report.csv", size=12)
        job.report(0.5, "half")
        job.result({"rows": 1_000})
    ended(subscriber)
    for event in subscriber.events:
        assert event.pop("at").endswith("Z")
        assert event.pop("run") == 3
    assert subscriber.events[0]["at"]
    assert [{k: v for k, v in e.items() if k not in ("at", "run")} for e in subscriber.events] == [
        {"kind": "job", "status": "running", "name": "Import"},
        {
            "kind": "plan",
            "data": {
                "nodes": [{"nodeId": 1}, {"nodeId": "load", "nodeName": "Load", "weight": 2.0}],
                "edges": [[1, "load"]],
            },
        },
        {
            "nodeId": 1,
            "nodeName": "DB Input",
            "status": "running",
            "rowCount": 0,
            "total": 1_000,
            "unit": "rows",
        },
        {
            "nodeId": 1,
            "nodeName": "DB Input",
            "status": "completed",
            "rowCount": 1_000,
            "total": 1_000,
            "unit": "rows",
        },
        {"kind": "log", "message": "careful", "data": {"level": "warning"}},
        {"kind": "artifact", "data": {"name": "report", "uri": "s3://bucket/report.csv", "size": 12}},
        {"fraction": 0.5, "message": "half"},
        {"kind": "result", "data": {"rows": 1_000}},
        {"kind": "job", "status": "completed", "name": "Import"},
    ]


def test_subjects_headers_and_payloads_are_the_protocols(
    shared_nats: NatsServer, tenant: str, subscriber: Subscriber
) -> None:
    with reporter(shared_nats, tenant) as job:
        for number in range(50):
            job.log(str(number))
    ended(subscriber)
    messages = subscriber.messages
    assert [message.number for message in messages] == list(range(1, 53))
    assert {message.reporter for message in messages} == {job.id}
    for message in messages:
        assert message.headers["Nats-Msg-Id"] == f"{tenant}-7-{job.id}-{message.number}"
        parse_event(message.payload)
    assert {message.subject for message in messages[:-1]} == {f"tenant.{tenant}.job.7.progress"}
    end = parse(messages[-1].subject)
    assert end is not None
    assert (end.leaf, end.run) == ("end", 1)
    assert job.stats.sent == job.stats.confirmed == 52
    assert job.stats.waiting == 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("boom"), "failed"),
        (KeyboardInterrupt(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (SystemExit(0), "completed"),
        (SystemExit(3), "failed"),
    ],
)
def test_what_leaves_the_with_is_the_end_and_passes_on_unchanged(
    shared_nats: NatsServer, tenant: str, subscriber: Subscriber, error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)) as raised, reporter(shared_nats, tenant) as job, job.node(1, "Load"):
        raise error
    assert raised.value is error
    end = ended(subscriber)
    assert end["status"] == status
    node = subscriber.of(nodeId=1)[-1]
    assert node["status"] == status
    if isinstance(error, ValueError):
        assert end["error"]["message"] == "ValueError: boom"
        assert "raise error" in end["error"]["details"]
        assert node["message"] == "ValueError: boom"


def test_there_is_one_end_and_what_comes_later_is_counted(
    shared_nats: NatsServer, tenant: str, subscriber: Subscriber
) -> None:
    with reporter(shared_nats, tenant) as job:
        node = job.node(1, "Open")
        node.advance(5)
        job.fail("disk full")
        job.complete()
        job.cancel()
        job.log("too late")
        job.report(0.9)
    ended(subscriber)
    job.log("closed")
    assert job.close()
    assert job.stats.late == 5
    assert [event["status"] for event in subscriber.of(kind="job")] == ["running", "failed"]
    assert subscriber.events[-1]["error"] == {"message": "disk full"}
    assert subscriber.of(nodeId=1)[-1]["rowCount"] == 5
    assert subscriber.of(nodeId=1)[-1]["status"] == "failed"
    assert not subscriber.of(kind="log")


def test_the_newest_value_gets_out_without_another_call(
    shared_nats: NatsServer, tenant: str, subscriber: Subscriber
) -> None:
    job = reporter(shared_nats, tenant)
    node = job.node(1, "Load")
    subscriber.until(nodeId=1, status="running")
    node.advance(41)
    node.advance()
    subscriber.until(nodeId=1, rowCount=42)
    node.report(message="half way", fraction=0.5, total=84)
    assert subscriber.until(nodeId=1, fraction=0.5, message="half way")["total"] == 84
    job.close()


def test_a_node_that_counts_nothing_tells_no_count() -> None:
    job = Reporter.recording()
    with job.node(1, "Check"):
        pass
    with job.node(2, "Load", unit="rows"):
        pass
    back = job.node(3, "Undo")
    back.report(rows=1)
    back.report(rows=0)
    back.complete()
    counts = {node["nodeId"]: node.get("rowCount") for node in job.state.snapshot()["nodes"]}
    assert counts == {1: None, 2: 0, 3: 0}


def test_a_tight_loop_is_sampled_not_sent(shared_nats: NatsServer, tenant: str, subscriber: Subscriber) -> None:
    """At most one event per node and interval: with an endless interval, the first and the last."""
    with reporter(shared_nats, tenant, interval=3_600) as job:
        with job.node(1, "Load") as node:
            for _ in range(100_000):
                node.advance()
        for number in range(1_000):
            job.report(number / 1_000)
    ended(subscriber)
    assert subscriber.of(nodeId=1)[-1]["rowCount"] == 100_000
    assert len(subscriber.of(nodeId=1)) <= 3
    fractions = [event["fraction"] for event in subscriber.events if "fraction" in event]
    assert fractions == [0, 0.999]
    assert job.stats.conflated >= 998


def test_track_counts_what_is_iterated(shared_nats: NatsServer, tenant: str, subscriber: Subscriber) -> None:
    with reporter(shared_nats, tenant) as job:
        assert list(job.track(["a", "b", "c"], "List")) == ["a", "b", "c"]
        assert list(job.track((n for n in range(4)), "Generator", unit="row")) == [0, 1, 2, 3]
        assert list(job.track(iter("ab"), "Told", total=2)) == ["a", "b"]
        assert list(job.track([], "Nothing")) == []
    ended(subscriber)
    last = {event["nodeName"]: event for event in subscriber.events if "nodeName" in event}
    assert {name: (e["status"], e["rowCount"], e.get("total"), e["unit"]) for name, e in last.items()} == {
        "List": ("completed", 3, 3, "it"),
        "Generator": ("completed", 4, None, "row"),
        "Told": ("completed", 2, 2, "it"),
        "Nothing": ("completed", 0, 0, "it"),
    }
    assert len({event["nodeId"] for event in last.values()}) == 4


def test_a_loop_left_early_closes_what_it_iterates(
    shared_nats: NatsServer, tenant: str, subscriber: Subscriber
) -> None:
    closed = []

    def numbers() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.append(True)

    def failing() -> Iterator[int]:
        yield 1
        raise OSError("no disk")

    with reporter(shared_nats, tenant) as job:
        for number in job.track(numbers(), "Early"):
            if number == 2:
                break
        assert closed == [True]
        with pytest.raises(OSError, match="no disk"):
            list(job.track(failing(), "Failing"))
    ended(subscriber)
    assert subscriber.of(nodeName="Early")[-1]["status"] == "cancelled"
    assert subscriber.of(nodeName="Early")[-1]["rowCount"] == 2
    assert subscriber.of(nodeName="Failing")[-1]["status"] == "failed"
    assert subscriber.of(nodeName="Failing")[-1]["message"] == "OSError: no disk"


async def test_asyncio(shared_nats: NatsServer, tenant: str, subscriber: Subscriber) -> None:
    """The same object with `async with`; tasks side by side; the loop goes on while the reporter closes."""

    async def numbers() -> AsyncIterator[int]:
        for number in range(10):
            await asyncio.sleep(0)
            yield number

    async def load(job: Reporter, name: str) -> None:
        async with job.node(None, name) as node:
            async for _ in job.track(numbers(), f"{name} numbers"):
                node.advance()

    async with reporter(shared_nats, tenant) as job:
        await asyncio.gather(load(job, "a"), load(job, "b"))
    end = await asyncio.to_thread(ended, subscriber)
    assert end["status"] == "completed"
    for name in ("a", "b", "a numbers", "b numbers"):
        assert subscriber.of(nodeName=name)[-1]["status"] == "completed"
        assert subscriber.of(nodeName=name)[-1]["rowCount"] == 10


async def test_a_cancelled_task_is_a_cancelled_job(
    shared_nats: NatsServer, tenant: str, subscriber: Subscriber
) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        async with reporter(shared_nats, tenant):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await asyncio.to_thread(ended, subscriber))["status"] == "cancelled"


def test_threads_share_a_reporter_and_a_node(shared_nats: NatsServer, tenant: str, subscriber: Subscriber) -> None:
    """No count is lost between them, and each thread's own log stays in order."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with reporter(shared_nats, tenant) as job, job.node(1, "Load") as node:

            def work(name: str) -> None:
                for number in range(20_000):
                    node.advance()
                    if number % 100 == 0:
                        job.log(f"{name} {number}")

            threads = [threading.Thread(target=work, args=(str(which),)) for which in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(before)
    ended(subscriber)
    assert subscriber.of(nodeId=1)[-1]["rowCount"] == 120_000
    logged = [event["message"].split() for event in subscriber.of(kind="log")]
    for which in range(6):
        mine = [int(number) for name, number in logged if name == str(which)]
        assert mine == list(range(0, 20_000, 100))


def test_a_signal_handler_may_report_in_the_middle_of_a_report(
    shared_nats: NatsServer, tenant: str, subscriber: Subscriber
) -> None:
    """It runs on the thread that is inside already; the locks let it in."""
    with reporter(shared_nats, tenant) as job:
        handled = []

        def handle(_: int, __: object) -> None:
            handled.append(1)
            job.log("signal")
            job.report(0.5, f"{len(handled)}")

        before = signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        try:
            while len(handled) < 200:
                job.report(0.1)
                job.log("loop")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    ended(subscriber)
    assert len(subscriber.of(message="signal", kind="log")) + job.stats.dropped.get("log", 0) >= len(handled)


class Unkind:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError("unkind")


def circular() -> object:
    inner: list[object] = []
    inner.append(inner)
    return inner


def nested() -> object:
    inner: list[object] = []
    for _ in range(5_000):
        inner = [inner]
    return inner


WRONG: dict[str, Callable[[], Any]] = {
    "object": object,
    "unkind": Unkind,
    "nan": lambda: float("nan"),
    "bytes": lambda: b"x",
    "set": lambda: {1, 2},
    "circular": circular,
    "huge number": lambda: 10**5_000,
    "nested": nested,
}


@pytest.mark.parametrize("which", WRONG)
def test_wrong_values_never_reach_the_job(which: str) -> None:
    """They are refused and counted; nothing raises, whatever they are."""
    wrong = WRONG[which]()
    with Reporter.recording() as job:
        calls: list[Callable[[], object]] = [
            lambda: job.report(fraction=wrong),
            lambda: job.report(message=wrong),
            lambda: job.log(wrong),
            lambda: job.log("x", level=wrong),
            lambda: job.artifact(wrong, "uri"),
            lambda: job.artifact("name", "uri", more=wrong),
            lambda: job.plan(wrong),
            lambda: job.plan([1], wrong),
            lambda: job.result([wrong]),
            lambda: job.node(1, wrong).complete(),
            lambda: job.node(1, total=wrong).complete(),
            lambda: job.node(1, unit=wrong).complete(),
            lambda: job.node(1).report(fraction=wrong),
            lambda: job.node(1).report(message=wrong),
            lambda: job.complete(wrong),
            lambda: job.fail(wrong),
        ]
        refused = []
        for call in calls:
            before = job.stats.refused
            call()
            refused.append(job.stats.refused > before)
        with job.node(wrong, "Load") as node:
            node.advance(wrong)
            node.report(wrong, total=wrong)
            node.advance(2)
        list(job.track([1], wrong, total=wrong, unit=wrong))
    accepted = [number for number, one in enumerate(refused) if not one]
    assert accepted == {"bytes": [6], "set": [6]}.get(which, []), "these are numbers to iterate"
    for payload in job.payloads:
        parse_event(payload)
    assert job.state.ended


def test_a_wrong_advance_leaves_the_count_as_it_was() -> None:
    job = Reporter.recording()
    with job, job.node(1, "Load") as node:
        node.advance(5)
        node.advance("x")  # type: ignore[arg-type]
        node.advance(None)  # type: ignore[arg-type]
    assert job.events[-2]["rowCount"] == 5
    assert job.stats.refused == 2


def test_a_wrong_value_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    job = Reporter.recording()
    for _ in range(10):
        job.report(fraction=5)
    assert job.stats.refused == 10
    assert [record.getMessage() for record in caplog.records] == [
        "report() is refused: fraction must be within 0..1, not 5"
    ]


def test_a_handler_that_raises_does_not_reach_the_job() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no log")

    handler = Broken()
    logging.getLogger("milepost_reporter").addHandler(handler)
    try:
        job = Reporter.recording()
        job.report(fraction=5)
        assert job.stats.refused == 1
    finally:
        logging.getLogger("milepost_reporter").removeHandler(handler)


def test_words_of_odd_files_arrive(shared_nats: NatsServer, tenant: str, subscriber: Subscriber) -> None:
    """Names that are no Unicode, control characters, very long lines."""
    with reporter(shared_nats, tenant) as job:
        job.log(b"caf\xe9.txt".decode("utf-8", "surrogateescape"))
        job.log("a\x00\x1b\u2028b")
        job.log("x" * 100_000)
    ended(subscriber)
    messages = [event["message"] for event in subscriber.of(kind="log")]
    assert messages[:2] == ["caf?.txt", "a\x00\x1b\u2028b"]
    assert len(messages[2]) == 4_096
    assert messages[2].endswith("…")


@pytest.mark.parametrize(
    "arguments",
    [
        {"tenant": "a.b"},
        {"tenant": ""},
        {"job": "a b"},
        {"job": True},
        {"nats_url": ""},
        {"nats_url": "http://x"},
        {"nats_url": 5},
        {"run": 0},
        {"run": "1"},
        {"interval": -1},
        {"interval": "x"},
        {"max_events": 0},
        {"creds": "/no/such/file"},
        {"ca": "/no/such/file"},
        {"ca": __file__},
        {"name": 5},
    ],
)
def test_the_programmers_own_mistakes_are_told_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Reporter(**{"nats_url": "nats://127.0.0.1:4222", "tenant": "a", "job": 1, **arguments})


def test_a_password_is_not_told_with_a_mistake() -> None:
    with pytest.raises(ValueError, match="nats_url") as refused:
        Reporter(nats_url="http://user:secret@host", tenant="a", job=1)
    assert "secret" not in str(refused.value)


def test_without_with_nothing_is_begun_or_ended(shared_nats: NatsServer, tenant: str, subscriber: Subscriber) -> None:
    job = reporter(shared_nats, tenant)
    job.log("x")
    assert job.close()
    assert job.close()
    subscriber.until(message="x")
    assert not subscriber.of(kind="job")


def test_a_reporter_that_was_never_used_connects_to_nothing() -> None:
    job = Reporter(nats_url="nats://127.0.0.1:1", tenant="a", job=1)
    assert job.close()
    assert job.stats.connections == 0


def test_the_environment(shared_nats: NatsServer, tenant: str, subscriber: Subscriber) -> None:
    environ = {
        "NATS_URL": shared_nats.url,
        "MILEPOST_TENANT": tenant,
        "MILEPOST_JOB": "9",
        "MILEPOST_RUN": "2",
        "MILEPOST_NAME": "Nightly",
    }
    with Reporter.from_env(environ) as job:
        assert (job.enabled, job.tenant, job.job, job.run) == (True, tenant, "9", 2)
    assert ended(subscriber)["name"] == "Nightly"
    assert subscriber.messages[-1].subject.endswith(".job.9.end.2")


@pytest.mark.parametrize(
    ("environ", "warning"),
    [
        ({}, "NATS_URL, MILEPOST_TENANT, MILEPOST_JOB not set"),
        ({"MILEPOST_JOB": ""}, "MILEPOST_JOB not set"),
        ({"MILEPOST_TENANT": "a.b"}, "tenant must be"),
        ({"NATS_URL": "http://x"}, "nats_url must look like"),
        ({"NATS_CREDS": "/no/such/file"}, "no such file"),
        ({"NATS_CA": "/no/such/file"}, "no such file"),
    ],
)
def test_an_environment_that_is_not_enough_makes_a_reporter_that_does_nothing(
    environ: dict[str, str], warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = {"NATS_URL": "nats://127.0.0.1:1", "MILEPOST_TENANT": "a", "MILEPOST_JOB": "1"}
    with Reporter.from_env({**whole, **environ} if environ else {}) as job:
        assert not job.enabled
        with job.node(1, "Load") as node:
            node.advance()
        assert list(job.track([1, 2], "Loop")) == [1, 2]
        job.report(0.5)
        job.log("x")
        job.result(1)
    assert job.stats.waiting == job.stats.refused == job.stats.late == 0
    assert len(caplog.records) == 1
    assert warning in caplog.text


def test_what_the_environment_says_wrongly_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    whole = {"NATS_URL": "nats://127.0.0.1:1", "MILEPOST_TENANT": "a", "MILEPOST_JOB": "1"}
    job = Reporter.from_env({**whole, "MILEPOST_RUN": "x", "MILEPOST_MODE": "loud", "MILEPOST_INTERVAL": "-1"})
    assert job.enabled
    assert job.run == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3


def test_disabled_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    assert not Reporter.from_env({"MILEPOST_MODE": "disabled"}).enabled
    assert not Reporter.disabled().enabled
    assert not caplog.records


def test_credentials(tmp_path: Path, tenant: str) -> None:
    """A user who may publish nothing but its own job's events, and listens on an inbox of its own."""
    config = tmp_path / "auth.conf"
    config.write_text(
        f"""authorization {{ users: [
            {{user: hub, password: all}}
            {{user: job, password: secret, permissions: {{
                publish: ["tenant.{tenant}.job.*.progress", "tenant.{tenant}.job.*.end.*",
                          "tenant.{tenant}.job.*.alive"]
                subscribe: ["_MY.>"]
            }}}}
        ] }}"""
    )
    with NatsServer(config=config, jetstream=False) as server:
        hub = server.url.replace("://", "://hub:all@")
        with Subscriber(hub, tenant) as subscriber:
            with reporter(server, tenant, user="job", password="secret", inbox_prefix="_MY") as job:
                job.log("x")
            assert ended(subscriber)["status"] == "completed"
        with Subscriber(hub, tenant) as subscriber:
            url = server.url.replace("://", "://job:secret@")
            with Reporter(nats_url=url, tenant=tenant, job=8) as job:
                job.log("x")
            assert ended(subscriber)["status"] == "completed"


def test_a_wrong_password_is_warned_of_once(tmp_path: Path, tenant: str, caplog: pytest.LogCaptureFixture) -> None:
    config = tmp_path / "auth.conf"
    config.write_text("authorization { token: right }")
    with NatsServer(config=config, jetstream=False) as server:
        caplog.set_level("INFO")
        with reporter(server, tenant, token="wrong", reconnect_wait=0.01) as job:
            eventually(lambda: "authorization" in caplog.text.lower())
            assert not job.close()
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
        assert "not reachable" in caplog.records[0].getMessage()
        assert "have not reached" in caplog.records[1].getMessage()


def test_a_missing_permission_is_told(tmp_path: Path, tenant: str, caplog: pytest.LogCaptureFixture) -> None:
    config = tmp_path / "auth.conf"
    config.write_text('authorization { users: [{user: job, password: secret, permissions: {publish: ["other.>"]}}] }')
    with NatsServer(config=config, jetstream=False) as server:
        with reporter(server, tenant, user="job", password="secret") as job:
            for _ in range(50):
                job.log("x")
            eventually(lambda: "does not let this job report" in caplog.text)
        assert len(caplog.records) == 1
