"""Many reporters over one connection and one thread."""

import os
import threading
import warnings
from collections.abc import Iterator

import pytest
from milepost_reporter import lanes, shared_link
from milepost_reporter.ending import Ending
from milepost_reporter.settings import Settings
from milepost_reporter.shared_reporter import SharedReporter

from milepost.nats_server import NatsServer
from tests.reporter.job_log import Requests, make_streams, stored
from tests.reporter.subscriber import Received, Subscriber
from tests.waiting import eventually

TENANT = "acme"
COMPLETED = Ending("completed")


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
        yield
    shared_link.close(0.2)


def settings_of(url: str, job: str, **more: object) -> Settings:
    return Settings(nats_url=url, tenant=TENANT, job=job, name=f"name of {job}", **more)  # type: ignore[arg-type]


def reporter(url: str, job: str, *, owner: bool = True, alone: bool = True, **more: object) -> SharedReporter:
    return SharedReporter.of(settings_of(url, job, **more), owner=owner, alone=alone)


def link(url: str) -> shared_link.SharedLink:
    return shared_link.of(settings_of(url, "any"))


def by_job(messages: list[Received]) -> dict[str, list[Received]]:
    found: dict[str, list[Received]] = {}
    for message in messages:
        found.setdefault(message.subject.split(".")[3], []).append(message)
    return found


def run(url: str, job: str, lines: int = 20) -> None:
    one = reporter(url, job)
    one.begin()
    for number in range(lines):
        one.log(f"line {number}")
    one.finish(COMPLETED)


def assert_whole(messages: list[Received], lines: int = 20) -> None:
    assert [message.event.get("message") for message in messages[1:-1]] == [f"line {n}" for n in range(lines)]
    assert [message.event.get("status") for message in (messages[0], messages[-1])] == ["running", "completed"]
    assert [message.number for message in messages] == list(range(1, lines + 3))


def test_many_jobs_share_a_thread_and_a_connection_and_each_keeps_its_order(log_nats: NatsServer) -> None:
    before = threading.active_count()

    def work(worker: int) -> None:
        for job in range(25):
            run(log_nats.url, f"{worker}-{job}")

    workers = [threading.Thread(target=work, args=[worker]) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert threading.active_count() <= before + 1
    shared = link(log_nats.url)
    eventually(lambda: not len(shared))
    assert shared.connections == 1
    jobs = by_job(stored(log_nats.url))
    assert len(jobs) == 100
    for messages in jobs.values():
        assert_whole(messages)


def test_what_was_under_way_when_nats_died_arrives_once(log_nats: NatsServer) -> None:
    run(log_nats.url, "first")
    shared = link(log_nats.url)
    eventually(lambda: not len(shared))
    log_nats.kill()
    for number in range(20):
        run(log_nats.url, f"away-{number}")
    log_nats.start()
    eventually(lambda: not len(shared))
    for messages in by_job(stored(log_nats.url)).values():
        assert_whole(messages)


def test_without_jetstream_it_is_confirmed_by_pongs(shared_nats: NatsServer) -> None:
    with Subscriber(shared_nats.url, TENANT) as subscriber:
        for number in range(5):
            run(shared_nats.url, f"live-{number}")
        eventually(lambda: not len(link(shared_nats.url)))
        subscriber.caught_up()
        jobs = by_job(subscriber.messages)
    assert len(jobs) == 5
    for messages in jobs.values():
        assert_whole(messages)


def test_a_counter_gets_out_without_another_call(log_nats: NatsServer) -> None:
    one = reporter(log_nats.url, "counting")
    one.begin()
    with Subscriber(log_nats.url, TENANT) as subscriber:
        node = one.node(1, "Rows", total=10)
        node.advance(4)
        subscriber.until(nodeId=1, rowCount=4)
        node.advance(3)
        subscriber.until(nodeId=1, rowCount=7)
    one.finish(COMPLETED)


def test_a_request_is_heard_while_the_job_runs(log_nats: NatsServer) -> None:
    one = reporter(log_nats.url, "stoppable")
    one.begin()
    token = one.cancellation
    requests = Requests(log_nats.url)
    place = f"tenant.{TENANT}.job.stoppable.control"
    answer = eventually(lambda: requests.ask(place, {"action": "cancel"}))
    assert answer == {"ok": True}
    assert token.requested
    one.finish(Ending("cancelled"))
    eventually(lambda: not len(link(log_nats.url)))
    eventually(lambda: not requests.ask(place, {"action": "cancel"}))
    requests.close()
    assert [m.event["status"] for m in stored(log_nats.url)] == ["running", "cancelling", "cancelled"]


def test_all_of_a_job_hear_a_request_and_one_that_ends_does_not_end_the_others_hearing(log_nats: NatsServer) -> None:
    first, second, third = several = [reporter(log_nats.url, "stoppable") for _ in range(3)]
    for one in several:
        one.begin()
        assert not one.cancellation.requested
    third.begin_close()
    eventually(lambda: len(link(log_nats.url)) == 2)
    requests = Requests(log_nats.url)
    place = f"tenant.{TENANT}.job.stoppable.control"
    assert eventually(lambda: requests.ask(place, {"action": "cancel"})) == {"ok": True}
    assert (first.cancellation.requested, second.cancellation.requested) == (True, True)
    first.finish(Ending("cancelled"))
    second.begin_close()
    eventually(lambda: not len(link(log_nats.url)))
    eventually(lambda: not requests.ask(place, {"action": "cancel"}))
    requests.close()


def test_a_retry_is_said_at_the_end_and_the_next_run_follows(log_nats: NatsServer) -> None:
    for number, ending in ((1, Ending.failed("no luck")), (2, COMPLETED)):
        one = reporter(log_nats.url, "again", run=number)
        one.queued("2024-02-29T12:00:00.000Z")
        one.begin()
        one.finish(ending, will_retry=number == 1)
        eventually(lambda: not len(link(log_nats.url)))
    events = [message.event for message in stored(log_nats.url)]
    assert [(event["run"], event["status"], event.get("willRetry")) for event in events] == [
        *((1, "queued", None), (1, "running", None), (1, "failed", True)),
        *((2, "queued", None), (2, "running", None), (2, "completed", None)),
    ]


def test_what_comes_later_comes_at_the_latest_with_the_processs_end(log_nats: NatsServer) -> None:
    late, soon = reporter(log_nats.url, "late"), reporter(log_nats.url, "soon")
    late.finish_later(3_600, COMPLETED)
    soon.finish_later(0.01, COMPLETED)
    eventually(lambda: "soon" in by_job(stored(log_nats.url)))
    assert "late" not in by_job(stored(log_nats.url))
    assert shared_link.close()
    assert "late" in by_job(stored(log_nats.url))


def test_one_of_several_whose_end_comes_second_is_nothing_to_warn_of(
    log_nats: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    for alone in (False, True):
        for _ in range(2):
            reporter(log_nats.url, f"alone-{alone}", alone=alone).finish(COMPLETED)
            eventually(lambda: not len(link(log_nats.url)))
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1
    assert "alone-True" in warned[0]


def test_a_forked_child_has_a_link_of_its_own_and_sends_all_before_it_ends(log_nats: NatsServer) -> None:
    run(log_nats.url, "parent")
    child = os.fork()
    if not child:
        run(log_nats.url, "child")
        os._exit(0 if shared_link.close() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    run(log_nats.url, "parent-again")
    eventually(lambda: not len(link(log_nats.url)))
    jobs = by_job(stored(log_nats.url))
    assert jobs.keys() == {"parent", "child", "parent-again"}
    for messages in jobs.values():
        assert_whole(messages)


def test_what_waits_for_nats_is_bounded(bare_nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest jobs are kept."""
    monkeypatch.setattr(lanes, "MAX_CLOSED", 10)
    bare_nats.kill()
    for number in range(100):
        run(bare_nats.url, f"job-{number}", lines=0)
    shared = link(bare_nats.url)
    assert len(shared) == 10
    bare_nats.start()
    make_streams(bare_nats.url)
    eventually(lambda: not len(shared))
    assert by_job(stored(bare_nats.url)).keys() == {f"job-{number}" for number in range(90, 100)}


def test_closing_is_bounded_while_nats_is_away(nats_server: NatsServer) -> None:
    nats_server.kill()
    run(nats_server.url, "never")
    assert not shared_link.close()


def test_a_log_that_is_made_later_has_it_all(bare_nats: NatsServer) -> None:
    run(bare_nats.url, "early")
    shared = link(bare_nats.url)
    eventually(lambda: shared.connected)
    make_streams(bare_nats.url)
    eventually(lambda: not len(shared))
    assert_whole(stored(bare_nats.url))
