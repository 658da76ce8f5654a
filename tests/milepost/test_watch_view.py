"""The bars fit the terminal, whatever the job is like."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from milepost.watch_view import WatchView, amount, speed
from milepost.watched_job import Link, Node, WatchedJob

AT = datetime(2026, 1, 1, tzinfo=UTC)


def rendered(job: WatchedJob, *, width: int = 120, height: int = 30, now: float = 0) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(WatchView(job, lambda: now))
    text: str = console.file.getvalue()  # type: ignore[attr-defined] # the StringIO above
    return text


def watched(**payload: object) -> WatchedJob:
    job = WatchedJob("42")
    job.link = Link.CONNECTED
    job.take({"type": "job.progress", "payload": payload}, 0, AT)
    return job


def test_a_node_shows_name_count_rate_and_time_left() -> None:
    job = watched(nodeId=1, nodeName="Load rows", status="running", rowCount=0, total=10_000, unit="rows")
    again = {"nodeId": 1, "rowCount": 5_000, "status": "running", "message": "part 7"}
    job.take({"type": "job.progress", "payload": again}, 10, AT)
    text = rendered(job, now=10)
    for part in ("Load rows", "5,000/10,000 rows", "500/s", "0:10", "part 7"):
        assert part in text


def test_connection_and_upstream_are_told() -> None:
    job = watched(nodeId=1, status="running")
    job.upstream = "down"
    assert "has lost NATS" in rendered(job)
    job.link = Link.RECONNECTING
    assert "reconnecting" in rendered(job)


def test_an_unknown_job_is_waited_for() -> None:
    job = WatchedJob("42")
    job.link = Link.CONNECTED
    assert "waiting for the job's first event" in rendered(job)


def test_what_a_run_failed_with_is_shown_until_the_next_begins() -> None:
    job = watched(status="failed", error={"message": "RuntimeError: no\nroom"}, willRetry=True, run=1)
    assert "RuntimeError: no room" in rendered(job)
    assert job.outcome == "job 42: failed: RuntimeError: no room"
    job.take({"type": "job.progress", "payload": {"status": "running", "run": 2}}, 0, AT)
    assert "RuntimeError" not in rendered(job)
    assert job.outcome == "job 42: running"


def test_what_a_job_returned_is_shown_in_one_line_when_it_has_ended() -> None:
    job = watched(kind="result", data={"text": "long \u202e" * 100})
    assert "result" not in rendered(job)
    job.take({"type": "job.progress", "payload": {"status": "completed"}}, 0, AT)
    (line,) = (line for line in rendered(job, width=60).splitlines() if "result" in line)
    assert line.startswith('result: {"text": "long  long')
    assert line.rstrip().endswith("…")
    assert json.loads(job.result) == {"text": "long \u202e" * 100}


def test_markup_in_a_name_is_text() -> None:
    assert "[bold]x[/]" in rendered(watched(nodeId=1, nodeName="[bold]x[/]", status="running"))


@pytest.mark.parametrize("height", [8, 12, 40])
def test_more_nodes_than_lines_show_those_that_run(height: int) -> None:
    job = watched(nodeId=0, nodeName="node 0", status="completed")
    for node in range(1, 300):
        status = "running" if node == 150 else "completed"
        payload = {"nodeId": node, "nodeName": f"node {node}", "status": status}
        job.take({"type": "job.progress", "payload": payload}, 0, AT)
    text = rendered(job, height=height)
    assert "node 150 " in text
    assert "more" in text
    assert text.count("\n") <= height


@settings(deadline=None, max_examples=50)
@given(
    width=st.integers(20, 200),
    name=st.text(max_size=80),
    message=st.text(max_size=80),
    count=st.integers(0, 10**15),
)
def test_no_line_is_wider_than_the_terminal(width: int, name: str, message: str, count: int) -> None:
    job = watched(nodeId=1, nodeName=name, message=message, status="running", rowCount=count, total=10**15)
    for line in rendered(job, width=width).splitlines():
        assert cell_len(line) <= width


def test_numbers_are_written_for_people() -> None:
    assert amount(Node(1, "n", count=1_204_551, unit="rows")) == "1,204,551 rows"
    assert amount(Node(1, "n", count=2.5, total=10)) == "2.50/10"
    assert amount(Node(1, "n", fraction=0.47)) == "47%"
    assert amount(Node(1, "n")) == ""
    assert (speed(Node(1, "n", rate=5120.4)), speed(Node(1, "n", rate=0.25)), speed(Node(1, "n"))) == (
        "5,120/s",
        "0.2/s",
        "",
    )
