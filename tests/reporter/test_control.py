"""Requests to a job: what they say, and what a job program that listens makes of them."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter import Cancelled, Reporter
from milepost_reporter.control import ACCEPTED, CANCEL, BadRequest, read_action, refusal

from milepost.nats_server import NatsServer
from tests.reporter.job_log import Requests, stored
from tests.reporter.subscriber import Subscriber
from tests.reporter.test_process import fork
from tests.waiting import eventually

CONTROL = "tenant.acme.job.1.control"
DEEP = b'{"action":' + b"[" * 2_000 + b"]" * 2_000 + b"}"
NO_REQUESTS = [
    b"",
    b"cancel",
    b'"cancel"',
    b"[]",
    b"{}",
    b'{"action":null}',
    b'{"action":["cancel"]}',
    b'{"action":"pause"}',
    b'{"action":"cancel"',
    b'\xff{"action":"cancel"}',
    DEEP,
    b'{"action":"cancel","why":"' + b"x" * 100_000 + b'"}',
]


def reporter(url: str, **more: Any) -> Reporter:  # noqa: ANN401 - any setting
    return Reporter(nats_url=url, tenant="acme", job=1, **more)


@contextlib.contextmanager
def asking(url: str) -> Iterator[Requests]:
    requests = Requests(url)
    try:
        yield requests
    finally:
        requests.close()


def cancel(requests: Requests) -> dict[str, Any]:
    """The answer, when somebody listens; until then there is none."""
    return eventually(lambda: requests.ask(CONTROL, {"action": "cancel"}))


def listening(requests: Requests) -> None:
    """Return when the job listens, having asked it nothing."""
    eventually(lambda: requests.ask(CONTROL, {"action": "nothing"}))


def test_what_asks_to_cancel() -> None:
    assert read_action(b'{"action":"cancel"}') == read_action(b' {"action": "cancel", "by": "ann"} ') == CANCEL
    assert json.loads(ACCEPTED) == {"ok": True}


@pytest.mark.parametrize("payload", NO_REQUESTS)
def test_what_asks_for_nothing(payload: bytes) -> None:
    with pytest.raises(BadRequest) as told:
        read_action(payload)
    assert json.loads(refusal(str(told.value))) == {"ok": False, "message": str(told.value)}


@given(st.one_of(st.binary(), st.dictionaries(st.text(), st.text()).map(lambda d: json.dumps(d).encode())))
def test_whatever_comes_it_is_a_request_or_a_bad_one(payload: bytes) -> None:
    try:
        assert read_action(payload) == CANCEL == json.loads(payload)["action"]
    except BadRequest as refused:
        told = json.loads(refusal(str(refused)))
    else:
        return
    assert told["ok"] is False


def test_a_job_that_is_told_to_stop_stops(shared_nats: NatsServer) -> None:
    """Asked twice it says `cancelling` once; what leaves the `with` is its own `Cancelled`."""
    with Subscriber(shared_nats.url, "acme") as subscriber, asking(shared_nats.url) as requests:
        job = reporter(shared_nats.url)

        def work() -> None:
            with job:
                assert job.cancellation is job.cancellation
                assert cancel(requests) == cancel(requests) == {"ok": True}
                assert job.cancellation.wait(20)
                with job.node(1, "Load"):
                    job.cancellation.raise_if_requested()

        with pytest.raises(Cancelled):
            work()
        subscriber.until(status="cancelled", kind="job")
        said = [event["status"] for event in subscriber.events if event.get("kind") == "job"]
        assert said == ["running", "cancelling", "cancelled"]
        assert [event["status"] for event in subscriber.of(nodeId=1)][-1:] == ["cancelled"]
    assert job.stats.late == job.stats.refused == 0


def test_it_is_said_before_the_job_knows(log_nats: NatsServer) -> None:
    """A job that ends the moment it is told has said `cancelling` all the same; with a log, too."""
    with asking(log_nats.url) as requests, reporter(log_nats.url) as job:
        job.cancellation.on_request(job.cancel)
        assert cancel(requests) == {"ok": True}
    said = [message.event["status"] for message in stored(log_nats.url)]
    assert said == ["running", "cancelling", "cancelled"]


def test_what_is_no_request_hurts_nothing(shared_nats: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """Each is answered with its reason, counted, and warned of once; the next good one is heard."""
    with asking(shared_nats.url) as requests, reporter(shared_nats.url) as job:
        assert not job.cancellation.requested
        listening(requests)
        before = job.stats.refused
        for payload in NO_REQUESTS:
            answer = requests.ask_raw(CONTROL, payload)
            assert (answer["ok"], bool(answer["message"])) == (False, True)
        assert job.stats.refused == before + len(NO_REQUESTS)
        assert not job.cancellation.requested
        assert cancel(requests) == {"ok": True}
        assert job.cancellation.requested
        assert job.stats.connections == 1
    assert [record.getMessage()[:27] for record in caplog.records] == ["a request to job 1 is refus"]


def test_after_the_runs_end(shared_nats: NatsServer) -> None:
    with asking(shared_nats.url) as requests, reporter(shared_nats.url, run=3) as job:
        assert not job.cancellation.requested
        listening(requests)
        job.complete()
        assert cancel(requests) == {"ok": False, "message": "run 3 has ended"}
        assert not job.cancellation.requested


def test_nobody_listens_for_a_job_that_did_not_ask(shared_nats: NatsServer) -> None:
    """Nor when it asks only after its end."""
    with asking(shared_nats.url) as requests, reporter(shared_nats.url) as job:
        eventually(lambda: job.stats.confirmed == 1)
        assert requests.ask(CONTROL, {"action": "cancel"}) == {}
        job.complete()
        assert not job.cancellation.requested
        eventually(lambda: job.stats.confirmed == 2)
        assert requests.ask(CONTROL, {"action": "cancel"}) == {}


def test_it_listens_before_anything_is_reported(shared_nats: NatsServer) -> None:
    job = reporter(shared_nats.url)
    with asking(shared_nats.url) as requests:
        token = job.cancellation
        assert cancel(requests) == {"ok": True}
        assert token.requested
    job.close()


def test_it_goes_on_listening_when_nats_comes_back(nats_server: NatsServer) -> None:
    with reporter(nats_server.url) as job:
        token = job.cancellation
        with asking(nats_server.url) as requests:
            listening(requests)
        nats_server.kill()
        nats_server.start()
        with asking(nats_server.url) as requests:
            assert cancel(requests) == {"ok": True}
        assert token.requested
        assert job.stats.connections == 2


def test_a_request_that_wants_no_answer_is_heard(shared_nats: NatsServer) -> None:
    """And one whose answer would go to a subject of a job's, or of the server's, gets none."""
    with Subscriber(shared_nats.url, "acme") as subscriber, asking(shared_nats.url) as requests:
        with reporter(shared_nats.url) as job:
            token = job.cancellation
            listening(requests)
            body = '{"action":"cancel"}'
            for reply in (" tenant.acme.job.2.progress", " $JS.API.STREAM.PURGE.X", ""):
                requests._socket.sendall(f"PUB {CONTROL}{reply} {len(body)}\r\n{body}\r\n".encode())
            assert token.wait(20)
            assert requests.ask(CONTROL, {"action": "cancel"}) == {"ok": True}
        subscriber.until(status="completed", kind="job")
        assert all("ok" not in message.event for message in subscriber.messages if "job.2." in message.subject)


def test_an_answer_that_cannot_be_written_hurts_nothing(
    shared_nats: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asks names the place, with any bytes."""
    body = b'{"action":"cancel"}'
    with asking(shared_nats.url) as requests, reporter(shared_nats.url) as job:
        token = job.cancellation
        listening(requests)
        requests._socket.sendall(b"PUB %b _INBOX.\xff\xfe %d\r\n%b\r\n" % (CONTROL.encode(), len(body), body))
        assert token.wait(20)
        assert cancel(requests) == {"ok": True}
        assert job.stats.connections == 1
    assert "is not answered" in caplog.text


def test_a_callback_that_raises_does_not_end_the_reporting(shared_nats: NatsServer) -> None:
    def broken() -> None:
        raise Cancelled("in the wrong thread")

    with Subscriber(shared_nats.url, "acme") as subscriber, asking(shared_nats.url) as requests:
        with reporter(shared_nats.url) as job:
            job.cancellation.on_request(broken)
            assert cancel(requests) == {"ok": True}
            job.log("still there")
        subscriber.until(message="still there")
    assert job.stats.connections == 1


def test_an_account_that_may_not_listen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The job reports on, and hears nothing."""
    config = tmp_path / "users.conf"
    config.write_text(
        "authorization { users: [{user: acme, password: a, permissions: {publish: '>', subscribe: ['_INBOX.>']}}, "
        "{user: all, password: b}] }"
    )
    with NatsServer(config=config, jetstream=False) as server:
        address = server.url.removeprefix("nats://")
        with (
            Subscriber(f"nats://all:b@{address}", "acme") as subscriber,
            reporter(f"nats://acme:a@{address}") as job,
        ):
            assert not job.cancellation.requested
            eventually(lambda: "does not let this job" in caplog.text)
            job.log("still there")
            subscriber.until(message="still there")
            assert job.stats.connections == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_does_not_listen(shared_nats: NatsServer) -> None:
    """The parent's token is not the child's, and the child does not speak for the job."""
    with Subscriber(shared_nats.url, "acme") as subscriber, asking(shared_nats.url) as requests:
        with reporter(shared_nats.url) as job:

            def child() -> None:
                assert job.cancellation.request()
                job.log("from the child")
                eventually(lambda: job.stats.confirmed == 1)
                with asking(shared_nats.url) as asked:
                    assert asked.ask(CONTROL, {"action": "cancel"}) == {}
                assert job.close()

            assert fork(child) == 0
            subscriber.until(message="from the child")
            assert not job.cancellation.requested
            assert cancel(requests) == {"ok": True}
        subscriber.until(status="completed", kind="job")
        assert len(subscriber.of(status="cancelling")) == 1


def test_a_handle_in_another_process_does_not_listen(shared_nats: NatsServer) -> None:
    job = reporter(shared_nats.url)
    handle = Reporter.from_settings(job._settings, owner=False)
    with asking(shared_nats.url) as requests:
        handle.cancellation.request()
        handle.log("x")
        eventually(lambda: handle.stats.confirmed == 1)
        assert requests.ask(CONTROL, {"action": "cancel"}) == {}
    handle.close()
    job.close()


def test_without_nats_a_token_that_nobody_requests() -> None:
    job = Reporter.disabled()
    with job:
        assert not job.cancellation.wait(0)
        assert job.cancellation.request()
    assert job.stats.late == 0


def test_a_test_requests_a_recording_reporters_token_itself() -> None:
    job = Reporter.recording()
    with contextlib.suppress(Cancelled), job:
        stopping = threading.Thread(target=job.cancellation.request)
        stopping.start()
        assert job.cancellation.wait(20)
        stopping.join(20)
        job.cancellation.raise_if_requested()
    assert [event["status"] for event in job.events] == ["running", "cancelling", "cancelled"]
