"""Events into the job log: each stored exactly once and in order, whatever happens to NATS, and what is known of it."""

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from milepost_reporter import Reporter, Settings
from milepost_reporter.event import parse_event
from milepost_reporter.record import SUMMARY_HEADER, Record, merge, parse_record
from milepost_reporter.state import JobState
from milepost_reporter.subject import parse

from milepost.nats_server import NatsServer
from tests.reporter.job_log import LOG, STATE, ask, last_seq, make_streams, stored
from tests.reporter.relay import Relay
from tests.reporter.stopping import stop
from tests.reporter.subscriber import Received, Subscriber
from tests.waiting import eventually

TENANT = "acme"


def reporter(url: str, job: str | int = 1, **more: Any) -> Reporter:  # noqa: ANN401 - any setting
    return Reporter(nats_url=url, tenant=TENANT, job=job, **more)


def assert_once_in_order(messages: list[Received], job: Reporter) -> None:
    """The stream holds each of the reporter's events once, in order, and nothing of its is missing."""
    assert [message.number for message in messages if message.reporter == job.id] == list(range(1, job.stats.sent + 1))


def lines_of(messages: list[Received]) -> list[str]:
    return [m.event["message"] for m in messages if m.event.get("kind") == "log"]


def records_of(url: str) -> list[Record]:
    records = []
    for message in stored(url, STATE):
        subject = parse(message.subject)
        assert subject is not None
        assert subject.tail is not None
        records.append(parse_record(subject.tail, message.payload))
    return records


def test_a_job_is_stored_with_its_end_and_its_record(log_nats: NatsServer) -> None:
    with reporter(log_nats.url, name="Import", run=2) as job:
        with job.node(1, "Load", total=10) as node:
            node.advance(10)
        for number in range(1_000):
            job.log(f"line {number}")
    assert job.stats.confirmed == job.stats.sent
    messages = stored(log_nats.url)
    assert_once_in_order(messages, job)
    assert lines_of(messages) == [f"line {number}" for number in range(1_000)]
    assert messages[-1].subject == "tenant.acme.job.1.end.2"
    assert messages[-1].headers["Nats-Expected-Last-Subject-Sequence"] == "0"
    for message in messages:
        assert message.headers["Milepost-Run"] == "2"
        assert message.headers["Milepost-Lease"] == "30"
    (record,) = records_of(log_nats.url)
    assert (record.reporter, record.count, record.seq) == (job.id, len(messages), len(messages))
    assert (record.owner, record.lease, record.run) == (True, 30, 2)
    (written,) = stored(log_nats.url, STATE)
    summary = json.loads(written.headers[SUMMARY_HEADER])
    assert (summary["name"], summary["status"], summary["run"]) == ("Import", "completed", 2)
    assert written.headers["Milepost-Lease"] == "30"
    assert_record_and_tail_are_the_whole(log_nats.url)


def test_a_record_goes_ahead_of_the_first_event(log_nats: NatsServer) -> None:
    """Readers know that there are events which no record counts, also while the log takes none."""
    ask(log_nats.url, "$JS.API.STREAM.UPDATE.MILEPOST_LOG", {"name": LOG, "deny_delete": False})
    ask(log_nats.url, f"$JS.API.STREAM.DELETE.{LOG}")
    with Relay(log_nats.port) as relay, reporter(relay.url, run=2) as job:
        eventually(lambda: last_seq(log_nats.url, STATE))
        (record,) = records_of(log_nats.url)
        assert (record.count, record.seq, record.run, record.owner, record.lease) == (0, 0, 2, True, 30)
        assert record.job.status == "unknown"
        make_streams(log_nats.url)
        eventually(lambda: [record.count for record in records_of(log_nats.url)] == [1])
        assert relay.sent.index(b".state.") < relay.sent.index(b".progress")
        job.log("x")
    assert_once_in_order(stored(log_nats.url), job)
    assert records_of(log_nats.url)[0].count == 3


def test_who_reports_nothing_writes_no_record(log_nats: NatsServer) -> None:
    with Reporter.from_settings(Settings(nats_url=log_nats.url, tenant=TENANT, job="1"), owner=False):
        pass
    assert last_seq(log_nats.url, STATE) == 0


def assert_record_and_tail_are_the_whole(url: str) -> None:
    """In everything but times of ours; what the record counts, the tail leaves out."""
    records = records_of(url)
    counted = {record.reporter: record.count for record in records}
    merged, whole = merge("1", records), JobState("1")
    for message in stored(url):
        subject = parse(message.subject)
        event = parse_event(message.payload)
        assert subject is not None
        assert event.at is not None
        whole.apply(event, event.at, subject.run)
        if message.number > counted.get(message.reporter, 0):
            merged.apply(event, event.at, subject.run)
    assert merged.snapshot() == whole.snapshot()


@pytest.mark.timeout(120)
def test_three_sigkills_under_load(log_nats: NatsServer) -> None:
    """Every event is stored exactly once and in order; the record and the tail are the whole."""
    job = reporter(log_nats.url, max_events=1_000_000, max_bytes=2**28)
    halt = threading.Event()
    written = 0
    with job:

        def write() -> None:
            nonlocal written
            while not halt.is_set():
                job.log(f"line {written}")
                written += 1
                if written % 20 == 0:
                    time.sleep(0.002)  # a job does something between its lines

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(3):
                before = job.stats.confirmed
                eventually(lambda before=before: job.stats.confirmed > before + 2_000)  # type: ignore[misc]
                log_nats.kill()
                eventually(lambda: not job.stats.connected)
                log_nats.start()
        finally:
            halt.set()
            writer.join()
        job.complete()
        assert job.close(timeout=60)
    assert job.stats.connections == 4
    assert job.stats.dropped == {}
    messages = stored(log_nats.url)
    assert_once_in_order(messages, job)
    assert lines_of(messages) == [f"line {number}" for number in range(written)]
    assert [parse(message.subject).run for message in messages if ".end." in message.subject] == [1]  # type: ignore[union-attr]
    assert_record_and_tail_are_the_whole(log_nats.url)


def test_answers_that_are_lost(log_nats: NatsServer) -> None:
    """Three in ten never come, in any order of loss: sent again, stored once."""
    chance = random.Random(7)  # noqa: S311 - the same losses in every run
    with Relay(log_nats.port) as relay:
        relay.swallows = lambda subject: subject.startswith("_INBOX") and chance.random() < 0.3
        with reporter(relay.url, window_events=64) as job:
            for number in range(300):
                job.log(f"line {number}")
            eventually(lambda: job.stats.confirmed > 100, 60)
            relay.swallows = lambda _: False
            job.complete()
            assert job.close(timeout=60)
    messages = stored(log_nats.url)
    assert_once_in_order(messages, job)
    assert lines_of(messages) == [f"line {number}" for number in range(300)]


def test_an_end_whose_answer_was_lost_is_ours(log_nats: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """Sent again it is refused, because it is there already; nobody is warned of that."""
    with Relay(log_nats.port) as relay:
        with reporter(relay.url) as job:
            eventually(lambda: job.stats.confirmed == 1)
            relay.swallows = lambda subject: subject.startswith("_INBOX") and last_seq(log_nats.url) >= 2
            job.complete()
            eventually(lambda: relay.swallowed > 0)
            relay.swallows = lambda _: False
            assert job.close(timeout=30)
        assert relay.sent.count(b".end.1 ") >= 2
    assert [message.event["status"] for message in stored(log_nats.url)] == ["running", "completed"]
    assert not caplog.records


def test_two_race_for_one_end(log_nats: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """One is stored, and the other is told in its program's log."""
    jobs = [reporter(log_nats.url) for _ in range(2)]
    for job in jobs:
        job.__enter__()
        eventually(lambda job=job: job.stats.confirmed == 1)  # type: ignore[misc]
    threads = [threading.Thread(target=job.__exit__, args=(None, None, None)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ends = [message for message in stored(log_nats.url) if ".end." in message.subject]
    assert len(ends) == 1
    (told,) = [record.getMessage() for record in caplog.records]
    assert "run 1 of job 1 had been ended by somebody else" in told
    assert [job.stats.sent - job.stats.confirmed for job in jobs] == [0, 0]
    (loser,) = [job for job in jobs if job.id != ends[0].reporter]
    (record,) = [record for record in records_of(log_nats.url) if record.reporter == loser.id]
    assert record.job.status == "running", "an end that does not count is in no record"


def test_a_run_declared_lost_stays_lost(log_nats: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    with reporter(log_nats.url) as job:
        eventually(lambda: job.stats.confirmed == 1)
        lost = {"kind": "job", "status": "failed", "run": 1, "error": {"message": "lost"}}
        assert ask(log_nats.url, "tenant.acme.job.1.end.1", lost)["seq"] == 2
    assert [message.event["status"] for message in stored(log_nats.url)] == ["running", "failed"]
    assert len(caplog.records) == 1


def test_a_stream_made_late(bare_nats: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """Everything is kept until then, and stored from the first event on."""
    with reporter(bare_nats.url) as job:
        for number in range(1_000):
            job.log(f"line {number}")
        eventually(lambda: "no stream takes the events" in caplog.text)
        assert job.stats.confirmed == 0
        assert job.stats.waiting >= 1_000, "what waits can still be conflated"
        make_streams(bare_nats.url)
    messages = stored(bare_nats.url)
    assert_once_in_order(messages, job)
    assert len(messages) == 1_002
    assert len(caplog.records) == 1


def test_a_stream_taken_away_and_made_again(log_nats: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """What was not acknowledged goes into the new one, in order."""
    with reporter(log_nats.url) as job:
        job.log("before")
        eventually(lambda: job.stats.confirmed == 2)
        ask(log_nats.url, "$JS.API.STREAM.DELETE.MILEPOST_LOG")
        for number in range(500):
            job.log(f"line {number}")
        eventually(lambda: "no stream takes the events" in caplog.text)
        make_streams(log_nats.url)
    messages = stored(log_nats.url)
    assert [message.number for message in messages] == list(range(3, 504))


def test_no_stream_at_all_is_like_no_nats(bare_nats: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """A short close that says what is missing."""
    with reporter(bare_nats.url, close_timeout=3_600) as job:
        job.log("x")
    assert not job.close()
    assert "3 events of job 1 have not reached NATS: no stream takes the events" in caplog.text


def test_listeners_and_no_stream_and_then_one(bare_nats: NatsServer) -> None:
    """Without an answer, ever, PONGs count, and nothing is sent twice; from the first answer on, answers count."""
    with Subscriber(bare_nats.url, TENANT) as subscriber:
        with reporter(bare_nats.url) as job:
            for number in range(700):
                job.log(f"line {number}")
            eventually(lambda: job.stats.confirmed == 701)
            make_streams(bare_nats.url)
            for number in range(700):
                job.log(f"more {number}")
        eventually(lambda: len(subscriber.messages) == 1_402)
        assert [message.number for message in subscriber.messages] == list(range(1, 1_403))
    messages = stored(bare_nats.url)
    assert [message.number for message in messages] == list(range(702, 1_403))
    (record,) = records_of(bare_nats.url)
    assert (record.count, record.seq, record.job.status) == (1_402, 701, "completed")


def test_jetstream_off_and_then_on(nats_server: NatsServer) -> None:
    """What a server without it has not confirmed, the one with it stores, in order; and back again."""
    with reporter(nats_server.url) as job:
        job.log("live only")
        eventually(lambda: job.stats.confirmed == 2)
        nats_server.kill()
        eventually(lambda: not job.stats.connected)
        for number in range(500):
            job.log(f"line {number}")
        with NatsServer(port=nats_server.port) as durable:
            make_streams(durable.url)
            eventually(lambda: job.stats.confirmed == 502)
            messages = stored(durable.url)
        assert [message.number for message in messages] == list(range(3, 503))
        eventually(lambda: not job.stats.connected)
        nats_server.start()
        job.log("live only again")
        eventually(lambda: job.stats.confirmed == 503)


def test_a_hanging_server_is_not_flooded(log_nats: NatsServer) -> None:
    """While it hangs one event asks again now and then; what it answers late is not sent a second time."""
    with Relay(log_nats.port) as relay:
        with reporter(relay.url, ping_interval=3_600) as job:
            eventually(lambda: job.stats.confirmed == 1)
            stop(log_nats)
            for number in range(400):
                job.log(f"line {number}")
            eventually(lambda: relay.sent.count(f"-{job.id}-2\r\n".encode()) >= 3)
            log_nats.resume()
        assert relay.sent.count(b"Nats-Msg-Id") <= job.stats.sent + 5
        assert job.stats.connections == 1
    assert_once_in_order(stored(log_nats.url), job)


def test_a_hanging_connection_is_given_up_for_a_new_one(log_nats: NatsServer) -> None:
    """What the server reads of the old one when it goes on, and what comes over the new one, is stored once."""
    with reporter(log_nats.url, ping_interval=0.2, connect_timeout=0.5) as job:
        eventually(lambda: job.stats.confirmed == 1)
        stop(log_nats)
        for number in range(400):
            job.log(f"line {number}")
        eventually(lambda: not job.stats.connected)
        log_nats.resume()
    assert job.stats.connections >= 2
    assert_once_in_order(stored(log_nats.url), job)


def test_close_keeps_its_bound_while_stopped(log_nats: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    with reporter(log_nats.url) as job:
        eventually(lambda: job.stats.confirmed == 1)
        stop(log_nats)
        for number in range(2_000):
            job.log(f"line {number}")
        assert not job.close(timeout=0.5)
        assert 0 < job.stats.sent - job.stats.confirmed <= 512
        assert not [thread for thread in threading.enumerate() if thread.name == "milepost-reporter"]
        log_nats.resume()
    assert "2000 events of job 1 have not reached NATS: it did not answer in time" in caplog.text


def test_an_event_the_stream_never_takes(bare_nats: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """It is left out, counted and told once; those behind it are stored."""
    make_streams(bare_nats.url, max_msg_size=2_000)
    with reporter(bare_nats.url) as job:
        for number in range(20):
            job.log(f"line {number}" if number % 5 else "x" * 3_000)
    messages = stored(bare_nats.url)
    assert lines_of(messages) == [f"line {number}" for number in range(20) if number % 5]
    assert job.stats.refused == 4
    assert job.stats.confirmed == job.stats.sent == 22
    (told,) = caplog.records
    assert "message size exceeds maximum allowed" in told.getMessage()
    assert records_of(bare_nats.url)[0].count == 22


def test_more_than_the_server_takes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Headers count as well: the server would end the connection, again and again."""
    config = tmp_path / "small.conf"
    config.write_text("max_payload: 4000")
    with NatsServer(config=config) as server:
        make_streams(server.url)
        with reporter(server.url) as job:
            job.log("x" * 3_850)
            job.log("y")
        assert lines_of(stored(server.url)) == ["y"]
    assert (job.stats.connections, job.stats.refused) == (1, 1)
    assert [record.getMessage() for record in caplog.records] == [
        "event 2 of job 1 is left out: the server takes no messages of its size"
    ]


ACCOUNTS = """
jetstream {}
accounts {
  HUB {
    jetstream: enabled
    users: [{user: hub, password: h}]
    exports: [EXPORTS]
  }
  ACME {
    users: [{user: acme, password: a, permissions: {publish: [SUBJECTS], subscribe: ["_INBOX.>"]}}]
    imports: [IMPORTS]
  }
}
"""


def accounts() -> str:
    """An account for one tenant, which may publish its own jobs' messages into another that keeps the log."""
    leaves = ("progress", "end.*", "state.*", "alive")
    exports = ", ".join(f'{{service: "tenant.*.job.*.{leaf}", accounts: [ACME]}}' for leaf in leaves)
    imports = ", ".join(f'{{service: {{account: HUB, subject: "tenant.acme.job.*.{leaf}"}}}}' for leaf in leaves)
    subjects = ", ".join(f'"tenant.acme.job.*.{leaf}"' for leaf in leaves)
    return ACCOUNTS.replace("EXPORTS", exports).replace("IMPORTS", imports).replace("SUBJECTS", subjects)


def test_from_an_account_of_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Answers, the record and the refusal of a second end come through the import; beats go."""
    config = tmp_path / "accounts.conf"
    config.write_text(accounts())
    with NatsServer(config=config) as server:
        hub = server.url.replace("://", "://hub:h@")
        with reporter(server.url, user="acme", password="a") as job:
            for number in range(300):
                job.log(f"line {number}")
            eventually(lambda: job.stats.sent)
            make_streams(hub)
            with Subscriber(hub, TENANT) as subscriber:
                job.complete()
                assert job.close(timeout=20)
                eventually(lambda: [beat for beat in subscriber.beats if "ended" in beat.event])
        messages = stored(hub)
        assert [m for m in caplog.records if "no stream" not in m.getMessage()] == []
        assert_once_in_order(messages, job)
        assert len(messages) == 302
        assert records_of(hub)[0].count == 302
        with reporter(server.url, user="acme", password="a"):
            pass
        assert len([message for message in stored(hub) if ".end." in message.subject]) == 1
        assert "had been ended by somebody else" in caplog.text


KILLED = """
import sys
from milepost_reporter import Reporter, Settings
job = Reporter(nats_url=sys.argv[1], tenant="acme", job=1).__enter__()
number = 0
while True:
    job.log(f"line {number}")
    number += 1
    if number % 50 == 0:
        print(job.stats.confirmed, flush=True)
"""


def test_a_job_that_is_killed(log_nats: NatsServer) -> None:
    """What it knew to have arrived is stored, its record too, and the tail goes on from there."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, log_nats.url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        confirmed = 0
        for line in process.stdout:
            confirmed = int(line)
            if confirmed > 3_000:
                break
        process.kill()
    messages = stored(log_nats.url)
    assert len(messages) >= confirmed
    assert [message.number for message in messages] == list(range(1, len(messages) + 1))
    assert not [message for message in messages if ".end." in message.subject]
    (record,) = records_of(log_nats.url)
    assert 0 < record.count <= len(messages)
    assert record.seq == record.count
    assert_record_and_tail_are_the_whole(log_nats.url)


def test_a_child_writes_a_record_of_its_own(log_nats: NatsServer) -> None:
    """It does not speak for the job: no lease, no beats."""
    with Subscriber(log_nats.url, TENANT) as subscriber, reporter(log_nats.url) as job:
        eventually(lambda: job.stats.confirmed == 1)
        child = Reporter.from_settings(Settings(nats_url=log_nats.url, tenant=TENANT, job="1"), owner=False)
        with child, child.node("c", "Child"):
            child.log("x")
        eventually(lambda: subscriber.beats)
    told = {record.reporter: record for record in records_of(log_nats.url)}
    assert told.keys() == {job.id, child.id}
    assert (told[child.id].owner, told[child.id].lease, told[child.id].job.status) == (False, None, "running")
    assert (told[job.id].owner, told[job.id].lease, told[job.id].job.status) == (True, 30, "completed")
    for message in stored(log_nats.url):
        assert ("Milepost-Lease" in message.headers) == (message.reporter == job.id)
    assert_record_and_tail_are_the_whole(log_nats.url)


def test_records_are_few_and_a_lost_one_is_written_again(log_nats: NatsServer) -> None:
    """One at the start, one every two seconds, one at the end; without its stream, until there is one."""
    ask(log_nats.url, f"$JS.API.STREAM.DELETE.{STATE}")
    with reporter(log_nats.url) as job:
        eventually(lambda: job.stats.confirmed == 1)
        make_streams(log_nats.url)
        eventually(lambda: last_seq(log_nats.url, STATE) == 1)
        for number in range(2_000):
            job.log(f"line {number}")
        eventually(lambda: job.stats.confirmed == 2_001)
        eventually(lambda: last_seq(log_nats.url, STATE) == 2)
        (record,) = records_of(log_nats.url)
        assert 1 < record.count <= 2_001
    assert last_seq(log_nats.url, STATE) <= 5
    assert records_of(log_nats.url)[0].count == 2_002


def test_beats_until_the_end(log_nats: NatsServer) -> None:
    """Every third of the lease, and a last one that says it was the last."""
    with Subscriber(log_nats.url, TENANT) as subscriber, reporter(log_nats.url, lease=0.3) as job:
        eventually(lambda: len(subscriber.beats) >= 4)
        log_nats.kill()
        eventually(lambda: not job.stats.connected)
        log_nats.start()
        with Subscriber(log_nats.url, TENANT) as again:
            eventually(lambda: again.beats)
            job.complete()
            assert job.close()
            eventually(lambda: "ended" in again.beats[-1].event)
    assert subscriber.beats[0].subject == "tenant.acme.job.1.alive"
    assert subscriber.beats[0].event == {"run": 1, "lease": 0.3}
    assert [beat for beat in again.beats if "ended" in beat.event] == again.beats[-1:]
    assert again.beats[-1].event == {"run": 1, "lease": 0.3, "ended": True}


def test_who_promises_no_lease_does_not_beat(log_nats: NatsServer) -> None:
    """A lease of 0; and whoever never says that the job is running, because nobody would end it."""
    with Subscriber(log_nats.url, TENANT) as subscriber:
        with reporter(log_nats.url, 1, lease=0) as job:
            job.log("x")
        loose = reporter(log_nats.url, 2)
        loose.log("x")
        assert loose.close()
        loose = reporter(log_nats.url, 3)
        loose.complete()
        assert loose.close()
        closed = reporter(log_nats.url, 4)
        closed.__enter__()
        assert closed.close()
        eventually(lambda: [beat for beat in subscriber.beats if ".job.4." in beat.subject])
    messages = stored(log_nats.url)
    assert len(messages) == 6
    assert {message.subject for message in messages if "Milepost-Lease" in message.headers} == {
        "tenant.acme.job.4.progress"
    }
    assert [beat.subject for beat in subscriber.beats if "ended" in beat.event] == []
    assert {beat.subject for beat in subscriber.beats} == {"tenant.acme.job.4.alive"}
