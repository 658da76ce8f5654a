"""The job is never hurt: NATS away, dying, hanging, coming back."""

import os
import threading
import time
from typing import Any

import psutil
import pytest
from milepost_reporter import Reporter

from milepost.nats_server import NatsServer
from tests.reporter.relay import Relay
from tests.reporter.stopping import stop
from tests.reporter.subscriber import Received, Subscriber, once
from tests.waiting import eventually

STOP_SECONDS = float(os.environ.get("MILEPOST_TEST_STOP_SECONDS", "8"))
"""How long NATS hangs. 60 is what the promise is for: long enough for the connection to be given up."""
TIGHT_SECONDS = 5.0
"""How long of that the job leaves the machine no rest."""

TENANT = "acme"


def reporter(url: str, **more: Any) -> Reporter:  # noqa: ANN401 - any setting
    return Reporter(nats_url=url, tenant=TENANT, job=1, **more)


def messages_of(received: list[Received], prefix: str) -> list[str]:
    """The log messages that begin so, as a reader keeps them."""
    return [m for message in once(received) if (m := message.event.get("message") or "").startswith(prefix)]


def test_absent_from_the_start_then_arriving(nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """One warning, one info, and everything that was kept arrives. Nobody listens until the relay does."""
    caplog.set_level("INFO")
    port = _free_port()
    with Subscriber(nats_server.url, TENANT) as subscriber, reporter(f"nats://127.0.0.1:{port}") as job:
        for number in range(500):
            job.log(f"line {number}")
            job.report(number / 500)
        eventually(lambda: "not reachable" in caplog.text)
        assert job.stats.waiting > 500
        with Relay(nats_server.port, port):
            eventually(lambda: job.stats.waiting == 0 and job.stats.confirmed == job.stats.sent)
            job.complete()
            assert job.close()
        eventually(lambda: subscriber.of(status="completed"))
        assert messages_of(subscriber.messages, "line") == [f"line {number}" for number in range(500)]
        assert subscriber.of(fraction=499 / 500)
    told = [record.levelname for record in caplog.records if record.name == "milepost_reporter"]
    assert told == ["WARNING", "INFO"]


def test_never_there(caplog: pytest.LogCaptureFixture) -> None:
    """A no-op after one warning, with a short close that says what was lost."""
    with reporter("nats://127.0.0.1:1", close_timeout=3_600) as job:
        job.log("x")
        with job.node(1, "Load") as node:
            node.advance(5)
        eventually(lambda: "not reachable" in caplog.text)
    assert job.stats.sent == 0
    assert job.stats.waiting == 5
    assert len(caplog.records) == 2
    assert "5 events of job 1 have not reached NATS: " in caplog.records[1].getMessage()


def test_a_name_that_cannot_be_looked_up_is_like_no_nats(caplog: pytest.LogCaptureFixture) -> None:
    with reporter("nats://no-such-host.invalid:4222") as job:
        job.log("x")
        eventually(lambda: "not reachable" in caplog.text)
    assert job.stats.waiting == 3


def test_over_the_bound_while_away(nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """The bound holds, the end has room, and readers are told how many are missing."""
    port = _free_port()
    job = reporter(f"nats://127.0.0.1:{port}", max_events=100)
    with Subscriber(nats_server.url, TENANT) as subscriber, job:
        for number in range(1_000):
            job.log(f"line {number}")
        assert job.stats.waiting == 100
        assert job.stats.dropped == {"log": 901}
        job.complete()
        with Relay(nats_server.port, port):
            eventually(lambda: subscriber.of(status="completed"))
            assert job.close()
    assert messages_of(subscriber.messages, "line") == [f"line {number}" for number in range(99)]
    assert "901 events were dropped" in subscriber.events[-2]["message"]
    assert len([record for record in caplog.records if "some are dropped" in record.getMessage()]) == 1


def test_killed_and_restarted_under_load(nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """SIGKILL in the middle, three times: every log line once and in order, and the job's end.

    Without a job log, NATS keeps nothing for a reader that is away: the gate keeps the reporter out until it is back.
    And a server that is killed may have confirmed what it has not passed on yet: what it confirms before it goes, the
    reader has got first.
    """
    caplog.set_level("INFO")
    received: list[Received] = []
    halt = threading.Event()
    written = 0
    with Relay(nats_server.port) as relay, reporter(relay.url, max_events=200_000, max_bytes=2**28) as job:

        def write() -> None:
            nonlocal written
            while not halt.is_set():
                job.log(f"line {written}")
                written += 1
                if written % 20 == 0:
                    time.sleep(0.001)  # a job does something between its lines

        writer = threading.Thread(target=write)
        subscriber = Subscriber(nats_server.url, TENANT, received)
        subscriber.__enter__()
        writer.start()
        try:
            for _ in range(3):
                before = len(received)
                eventually(lambda before=before: len(received) > before + 2_000)  # type: ignore[misc]
                relay.mute = True
                subscriber.caught_up()
                relay.open = False
                nats_server.kill()
                eventually(lambda: not job.stats.connected)
                assert subscriber.ended()
                subscriber.__exit__(None, None, None)
                nats_server.start()
                subscriber = Subscriber(nats_server.url, TENANT, received)
                subscriber.__enter__()
                relay.mute = False
                relay.open = True
        finally:
            halt.set()
            writer.join()
        job.complete()
        assert job.close(timeout=60)
        eventually(lambda: subscriber.of(status="completed"))
        subscriber.__exit__(None, None, None)
    assert messages_of(received, "line") == [f"line {number}" for number in range(written)]
    assert job.stats.dropped == {}
    assert job.stats.connections == 4
    assert len([message for message in once(received) if ".end." in message.subject]) == 1
    away = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(away) == 1, "one warning a minute, however often NATS goes"


@pytest.mark.timeout(240)
def test_stopped_under_a_tight_loop(nats_server: NatsServer) -> None:
    """SIGSTOP: the loop never waits, memory stays bounded, and on SIGCONT everything kept arrives.

    The job writes a line now and then, and reports as fast as it can; after some seconds in bursts, because only the
    time changes anything then, and other tests want the machine.
    """
    with Subscriber(nats_server.url, TENANT) as subscriber, reporter(nats_server.url) as job:
        job.log("line 0")
        subscriber.until(message="line 0")
        node = job.node(1, "Load", total=10**9)
        memory = psutil.Process().memory_info().rss
        stop(nats_server)
        lines, calls, slow = 1, 0, 0
        began = time.monotonic()
        end, bursts = began + STOP_SECONDS, began + TIGHT_SECONDS
        next_line = 0.0
        while (moment := time.monotonic()) < end:
            node.advance()
            job.report(0.5, f"at {calls}")
            calls += 1
            if moment >= next_line:
                job.log(f"line {lines}")
                lines += 1
                next_line = moment + 0.01
            slow += time.monotonic() - moment > 1.0
            if moment > bursts and calls % 100 == 0:
                time.sleep(0.001)
        grown = psutil.Process().memory_info().rss - memory
        assert calls > 1_000 * STOP_SECONDS
        assert slow == 0, "a call waited for NATS"
        assert grown < 64 * 2**20
        assert job.stats.waiting + job.stats.sent - job.stats.confirmed <= lines + 512
        nats_server.resume()
        job.complete()
        assert job.close(timeout=60)
        eventually(lambda: subscriber.of(status="completed"))
    assert messages_of(subscriber.messages, "line") == [f"line {number}" for number in range(lines)]
    assert subscriber.of(nodeId=1)[-1]["rowCount"] == calls
    assert subscriber.of(fraction=0.5)[-1]["message"] == f"at {calls - 1}"
    assert job.stats.dropped == {}


def test_an_unread_megabyte_does_not_hold_up_what_comes_after(nats_server: NatsServer) -> None:
    """Stopped with more in flight than the kernel takes: no more than the window is ever given to nats-py."""
    with Subscriber(nats_server.url, TENANT) as subscriber:
        with reporter(nats_server.url, max_bytes=2**26, window_bytes=2**20) as job:
            job.log("first")
            subscriber.until(message="first")
            stop(nats_server)
            for number in range(4_000):
                job.artifact(f"a{number}", "u" * 4_000)
            eventually(lambda: job.stats.sent > 200)
            in_flight = job.stats.sent - job.stats.confirmed
            assert in_flight <= 512
            assert in_flight * 4_000 < 2**20 + 8_000
            nats_server.resume()
            eventually(lambda: job.stats.waiting == 0)
        eventually(lambda: subscriber.of(status="completed"))
    assert [e["data"]["name"] for e in subscriber.of(kind="artifact")] == [f"a{n}" for n in range(4_000)]


def test_close_keeps_its_bound_while_stopped(nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """It returns although nothing was confirmed, says so, and its thread has ended."""
    with Subscriber(nats_server.url, TENANT) as subscriber, reporter(nats_server.url) as job:
        job.log("x")
        subscriber.until(message="x")
        eventually(lambda: job.stats.confirmed == job.stats.sent)
        stop(nats_server)
        job.log("y")
        assert not job.close(timeout=0.5)
        assert not job.stats.connected
        assert job.stats.sent - job.stats.confirmed + job.stats.waiting >= 1
        assert not [thread for thread in threading.enumerate() if thread.name == "milepost-reporter"]
        assert not job.close()
        nats_server.resume()
    assert len([record for record in caplog.records if "have not reached NATS" in record.getMessage()]) == 1


def test_a_hanging_connection_is_given_up_for_a_new_one(nats_server: NatsServer) -> None:
    """When two pings have gone unanswered; what was in flight is sent again."""
    with Subscriber(nats_server.url, TENANT) as subscriber:
        with reporter(nats_server.url, ping_interval=0.2, connect_timeout=0.5) as job:
            job.log("line 0")
            subscriber.until(message="line 0")
            stop(nats_server)
            for number in range(1, 100):
                job.log(f"line {number}")
            eventually(lambda: not job.stats.connected)
            nats_server.resume()
            eventually(lambda: job.stats.connections >= 2)
        eventually(lambda: subscriber.of(status="completed"))
    assert messages_of(subscriber.messages, "line") == [f"line {number}" for number in range(100)]


def test_stopped_from_the_start(nats_server: NatsServer) -> None:
    """The kernel accepts connections for a stopped server; the reporter takes that for no NATS."""
    with Subscriber(nats_server.url, TENANT) as subscriber:
        stop(nats_server)
        with reporter(nats_server.url, connect_timeout=0.3) as job:
            job.log("x")
            assert not job.close(timeout=1)
        nats_server.resume()
    assert job.stats.waiting == 2
    assert not subscriber.messages


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
