"""Events into the log of a cluster: exactly once and in order, whoever leads."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from milepost_reporter import Reporter
from milepost_reporter.record import parse_record

from tests.reporter.cluster import Cluster
from tests.reporter.job_log import STATE, stored
from tests.waiting import eventually


@contextmanager
def writing(job: Reporter) -> Iterator[list[str]]:
    """A thread that logs line after line until it is left; the lines."""
    halt = threading.Event()
    lines: list[str] = []

    def write() -> None:
        while not halt.is_set():
            lines.append(f"line {len(lines)}")
            job.log(lines[-1])
            if len(lines) % 10 == 0:
                time.sleep(0.02)  # a job does something between its lines

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield lines
    finally:
        halt.set()
        writer.join()


@pytest.mark.timeout(180)
def test_five_changes_of_leader_and_a_killed_one_under_load() -> None:
    """The reporter's own connection stays: nothing but answers tells it that anything has happened."""
    with Cluster() as cluster:
        survivor = next(name for name in cluster.servers if name != cluster.leader())
        url = cluster.servers[survivor].url
        job = Reporter(nats_url=url, tenant="acme", job=1, max_events=1_000_000, max_bytes=2**28, close_timeout=90)
        with job, writing(job) as lines:
            for _ in range(5):
                confirmed_more(job, 300)
                cluster.step_down()
            while cluster.leader() == survivor:
                cluster.step_down()
            confirmed_more(job, 300)
            cluster.servers[cluster.leader(survivor)].kill()
            confirmed_more(job, 300)
        assert job.close()
        assert (job.stats.connections, job.stats.dropped) == (1, {})
        messages = stored(url)
        assert [message.number for message in messages] == list(range(1, job.stats.sent + 1))
        told = [message.event["message"] for message in messages if message.event["kind"] == "log"]
        assert told == lines
        assert messages[-1].subject == "tenant.acme.job.1.end.1"
        (record,) = stored(url, STATE)
        assert parse_record(job.id, record.payload).count == len(messages)


def confirmed_more(job: Reporter, events: int) -> None:
    before = job.stats.confirmed
    eventually(lambda: job.stats.confirmed >= before + events, 60)
