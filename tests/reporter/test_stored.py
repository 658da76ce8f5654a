"""Events into the job log: each stored exactly once and in order, whatever happens to NATS, and what is known of it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from milepost_reporter import Reporter
from milepost_reporter.event import parse_event
from milepost_reporter.record import SUMMARY_HEADER, Record, merge, parse_record
from milepost_reporter.state import JobState
from milepost_reporter.subject import parse

from milepost.nats_server import NatsServer
from tests.reporter.job_log import STATE, ask, last_seq, make_streams, stored
from tests.reporter.relay import Relay
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
    stop = threading.Event()
    written = 0
    with job:

        def write() -> None:
            nonlocal written
            while not stop.is_set():
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
            stop.set()
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
