"""The original interface."""

import uuid
from typing import Any

import pytest
from milepost_reporter import Progress, ProgressReporter

from milepost.nats_server import NatsServer
from tests.reporter.subscriber import Subscriber
from tests.waiting import eventually


def test_the_original_payload_and_nothing_else(shared_nats: NatsServer) -> None:
    tenant = uuid.uuid4().hex
    with Subscriber(shared_nats.url, tenant) as subscriber:
        reporter = ProgressReporter(shared_nats.url, tenant, 123)
        report = reporter.report_func()
        report(Progress(1, "DB Input", "running", 5000, "Processing rows..."))
        report(Progress(nodeId=1, nodeName="DB Input", status="completed", rowCount=9000, message="Done"))
        report(Progress(2, "Output", "idle"))
        assert reporter.close()
        eventually(lambda: len(subscriber.messages) == 3)
    assert subscriber.events == [
        {
            "nodeId": 1,
            "nodeName": "DB Input",
            "status": "running",
            "rowCount": 5000,
            "message": "Processing rows...",
        },
        {"nodeId": 1, "nodeName": "DB Input", "status": "completed", "rowCount": 9000, "message": "Done"},
        {"nodeId": 2, "nodeName": "Output", "status": "idle", "rowCount": 0, "message": ""},
    ]
    assert {message.subject for message in subscriber.messages} == {f"tenant.{tenant}.job.123.progress"}


def test_close_drains_the_newest_of_every_node(shared_nats: NatsServer) -> None:
    tenant = uuid.uuid4().hex
    with Subscriber(shared_nats.url, tenant) as subscriber:
        reporter = ProgressReporter(shared_nats.url, tenant, "job")
        report = reporter.report_func()
        for count in range(1_000):
            for node in range(5):
                report(Progress(node, "Node", "running", count, ""))
        assert reporter.close()
        eventually(lambda: len(subscriber.messages) == reporter.reporter.stats.sent)
    for node in range(5):
        assert subscriber.of(nodeId=node)[-1]["rowCount"] == 999
    assert reporter.reporter.stats.conflated >= 4_900


@pytest.mark.parametrize(
    "wrong",
    [None, 5, "x", Progress(1, "n", "bogus"), Progress(1.5, "n", "running"), Progress(1, None, "running")],  # type: ignore[arg-type]
)
def test_wrong_values_never_raise(wrong: Any) -> None:  # noqa: ANN401 - anything
    reporter = ProgressReporter("nats://127.0.0.1:1", "acme", 1)
    reporter.report_func()(wrong)
    assert reporter.reporter.stats.refused == 1
    reporter.close()


def test_a_wrong_argument_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="tenant"):
        ProgressReporter("nats://127.0.0.1:1", "a.b", 1)
