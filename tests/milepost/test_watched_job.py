"""What one who watches knows follows from the hub's messages alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.event import parse_event
from milepost_reporter.state import JobState

from milepost.watched_job import News, WatchedJob, plain

AT = datetime(2026, 1, 1, tzinfo=UTC)


def progress(**payload: object) -> dict[str, Any]:
    return {"type": "job.progress", "jobId": 1, "payload": payload}


def take(job: WatchedJob, now: float, **payload: object) -> News:
    return job.take(progress(**payload), now, AT)


def test_rate_and_time_left_are_derived_from_counts() -> None:
    job = WatchedJob("1")
    for second in range(5):
        take(job, second, nodeId=1, nodeName="Load", status="running", rowCount=second * 100, total=1000)
    (node,) = job.nodes(4)
    assert (node.name, node.count, node.total) == ("Load", 400, 1000)
    assert node.rate == 100
    assert node.left == 6


def test_a_node_that_has_ended_has_no_rate() -> None:
    job = WatchedJob("1")
    take(job, 0, nodeId=1, status="running", rowCount=0)
    take(job, 1, nodeId=1, status="completed", rowCount=10)
    assert (job.nodes(1)[0].rate, job.nodes(1)[0].left) == (None, None)


def test_nodes_of_the_plan_come_in_its_order_and_before_they_begin() -> None:
    job = WatchedJob("1")
    plan = {"nodes": [{"nodeId": 2, "nodeName": "first"}, {"nodeId": 1, "nodeName": "second"}]}
    take(job, 0, nodeId=9, status="running")
    take(job, 0, kind="plan", data=plan)
    assert [(node.name, node.status) for node in job.nodes(0)] == [
        ("first", "idle"),
        ("second", "idle"),
        ("9", "running"),
    ]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_the_end_is_told_once(status: str) -> None:
    job = WatchedJob("1")
    assert not take(job, 0, status="running").ended
    assert take(job, 1, status=status).ended
    assert not take(job, 2, status=status).ended


def test_an_end_with_a_retry_to_come_is_none() -> None:
    job = WatchedJob("1")
    assert not take(job, 0, status="failed", willRetry=True).ended
    assert take(job, 1, status="completed", run=2).ended


def test_a_new_run_begins_without_the_old_one_s_nodes() -> None:
    job = WatchedJob("1")
    take(job, 0, nodeId=1, status="running", rowCount=500)
    take(job, 1, status="running", run=2)
    assert job.nodes(1) == []
    assert take(job, 2, nodeId=1, status="running", rowCount=5).changed == [1]


def test_log_lines_and_artifacts_are_news() -> None:
    job = WatchedJob("1")
    assert take(job, 0, kind="log", message="hello", data={"level": "warning"}).lines == ["warning: hello"]
    artifact = take(job, 0, kind="artifact", data={"name": "a.csv", "uri": "s3://b/a.csv"})
    assert artifact.lines == ["artifact: a.csv s3://b/a.csv"]


def test_the_hub_s_own_words_are_news() -> None:
    job = WatchedJob("1")
    job.take({"type": "subscribed", "jobId": 1, "durable": False, "upstream": "down"}, 0, AT)
    assert (job.upstream, job.durable) == ("down", False)
    assert "is back" in job.take({"type": "upstream", "status": "up"}, 0, AT).lines[0]
    assert job.upstream == "up"
    assert job.take({"type": "error", "code": "x", "message": "no"}, 0, AT).lines == ["the hub says: no"]


def test_nothing_a_job_says_can_steer_the_terminal() -> None:
    job = WatchedJob("1")
    evil = "a\x1b[2Jb\r\nc\x07\x9bd\u202ee"
    take(job, 0, nodeId=1, nodeName=evil, status="running", message=evil)
    told = take(job, 0, kind="log", message=evil)
    for text in (job.nodes(0)[0].name, job.nodes(0)[0].message, *told.lines):
        assert text.isprintable(), text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
payloads = st.fixed_dictionaries(
    {},
    optional={
        "nodeId": st.integers(0, 3) | st.text(max_size=2) | st.none(),
        "status": st.sampled_from(["running", "completed", "failed", "idle", "nonsense"]),
        "rowCount": st.integers() | st.floats() | st.text(max_size=2),
        "total": st.integers(),
        "fraction": st.floats(),
        "run": st.integers(-1, 3),
        "kind": st.sampled_from(["progress", "job", "log", "plan", "artifact", "result", "x"]),
        "message": st.text(max_size=4),
        "data": json_values,
    },
)
messages = st.one_of(
    payloads.map(lambda payload: progress(**payload)),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["job.progress", "subscribed", "upstream", "error", "job.gap", "?"])},
        optional={"payload": json_values, "status": json_values, "message": json_values, "at": json_values},
    ),
)


@given(st.lists(messages, max_size=20))
def test_no_message_of_a_hub_makes_it_fail(given_messages: list[dict[str, Any]]) -> None:
    job = WatchedJob("1")
    for now, message in enumerate(given_messages):
        job.take(message, now, AT)
        assert all(node.name == plain(node.name) for node in job.nodes(now))
        fraction, left = job.fraction_left(now)
        assert fraction is None or 0 <= fraction <= 1
        assert left is None or left >= 0


@given(st.text())
def test_plain_text_is_safe_on_a_terminal(text: str) -> None:
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in plain(text))


def test_a_snapshot_is_what_is_known_from_then_on() -> None:
    """Of a job that began before: its nodes, its fraction by the plan, and its end when it has one."""
    state = JobState("1")
    state.apply(parse_event(b'{"kind":"plan","data":{"nodes":[{"nodeId":1},{"nodeId":2}]}}'), AT)
    state.apply(parse_event(b'{"nodeId":1,"status":"completed"}'), AT)
    job = WatchedJob("1")
    take(job, 0, nodeId=9, status="running")
    news = job.take({"type": "job.snapshot", "jobId": 1, "snapshot": state.snapshot(), "cursor": "1-1"}, 1, AT)
    assert (news.changed, news.ended) == ([1], False)
    assert [(node.id, node.status) for node in job.nodes(1)] == [(1, "completed"), (2, "idle")]
    assert job.fraction_left(1)[0] == 0.5
    take(job, 2, nodeId=2, status="completed")
    assert job.fraction_left(2)[0] == 1
    state.apply(parse_event(b'{"status":"failed"}'), AT)
    assert job.take({"type": "job.snapshot", "snapshot": state.snapshot()}, 3, AT).ended


@pytest.mark.parametrize("snapshot", [None, 1, {}, {"nodes": 1}, {"status": "running"}])
def test_a_snapshot_that_is_none_changes_nothing(snapshot: object) -> None:
    """A newer hub may speak another language."""
    job = WatchedJob("1")
    take(job, 0, nodeId=9, status="running")
    job.take({"type": "job.snapshot", "jobId": 1, "snapshot": snapshot}, 1, AT)
    assert [node.id for node in job.nodes(1)] == [9]
