"""The reducer: events in, state out."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.event import parse_event
from milepost_reporter.run import Verdict
from milepost_reporter.state import MAX_ARTIFACTS, MAX_NODES, MAX_SNAPSHOT, JobState

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def reduced(payloads: list[dict[str, Any]]) -> JobState:
    state = JobState("1")
    for payload in payloads:
        state.apply(parse_event(json.dumps(payload).encode()), NOW)
    return state


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    state = JobState("1")
    for step in case["events"]:
        before = state.snapshot()
        event = parse_event(json.dumps(step["payload"]).encode())
        verdict = state.apply(event, datetime.fromisoformat(step["at"]), step.get("run"))
        assert (verdict is Verdict.LATE) == step.get("late", False)
        if verdict is Verdict.LATE:
            assert state.snapshot() == before
    snapshot = state.snapshot()
    assert {field: snapshot[field] for field in case["state"]} == case["state"], case["name"]


def test_there_are_cases() -> None:
    assert len(CASES) >= 10


def test_the_summary_has_its_fields() -> None:
    state = reduced([{"status": "running", "name": "N", "fraction": 0.5, "message": "m"}])
    assert state.summary(stalled=True) == {
        "jobId": 1,
        "name": "N",
        "status": "running",
        "run": 1,
        "fraction": 0.5,
        "message": "m",
        "startedAt": "2026-01-01T00:00:00.000Z",
        "endedAt": None,
        "lastEventAt": "2026-01-01T00:00:00.000Z",
        "stalled": True,
    }


def test_the_log_tail_is_the_last_200() -> None:
    state = reduced([{"kind": "log", "message": str(number)} for number in range(250)])
    tail = state.snapshot()["logTail"]
    assert [line["message"] for line in tail] == [str(number) for number in range(50, 250)]


def test_nodes_and_artifacts_are_bounded() -> None:
    """The oldest go first, so that a job of endless nodes stays small."""
    nodes = reduced([{"nodeId": number, "status": "running"} for number in range(MAX_NODES + 5)])
    assert len(nodes.snapshot()["nodes"]) <= MAX_NODES
    artifacts = reduced([{"kind": "artifact", "data": {"name": str(n), "uri": "u"}} for n in range(MAX_ARTIFACTS + 5)])
    assert artifacts.snapshot()["artifacts"][0]["name"] == "5"


@pytest.mark.parametrize(
    ("payloads", "truncated"),
    [
        ([{"kind": "log", "message": "ä" * 2_000}] * 200, ["logTail"]),
        (
            [{"kind": "artifact", "data": {"name": str(n), "uri": "u" * 2_000}} for n in range(200)],
            ["logTail", "artifacts"],
        ),
        (
            [{"nodeId": n, "status": "running", "message": "x" * 500} for n in range(2_000)]
            + [{"kind": "result", "data": "r" * 60_000}],
            ["logTail", "artifacts", "plan", "result", "nodes"],
        ),
    ],
)
def test_a_snapshot_has_a_largest_size(payloads: list[dict[str, Any]], truncated: list[str]) -> None:
    """What gives way is said, and the state itself keeps it."""
    state = reduced(payloads)
    snapshot = state.snapshot()
    assert len(json.dumps(snapshot, separators=(",", ":"), ensure_ascii=False).encode()) <= MAX_SNAPSHOT
    assert snapshot["truncated"] == truncated
    assert state.snapshot() == snapshot


PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "nodeId": st.integers(0, 3),
        "status": st.sampled_from(["running", "completed", "failed", "cancelled"]),
        "rowCount": st.integers(-5, 200),
        "total": st.integers(-5, 100),
        "fraction": st.floats(0, 1),
        "message": st.text(max_size=5),
        "run": st.integers(1, 3),
    },
)


@given(st.lists(PAYLOADS, max_size=30))
def test_any_sequence_reduces_to_a_sound_state(payloads: list[dict[str, Any]]) -> None:
    state = JobState("a")
    for number, payload in enumerate(payloads):
        try:
            event = parse_event(json.dumps(payload).encode())
        except ValueError:
            continue
        before = state.snapshot()
        if state.apply(event, NOW + timedelta(seconds=number)) is Verdict.LATE:
            assert state.snapshot() == before
    snapshot = json.loads(json.dumps(state.snapshot(), allow_nan=False))
    fractions = [snapshot["fraction"], *(node.get("fraction") for node in snapshot["nodes"])]
    assert all(share is None or 0 <= share <= 1 for share in fractions)
    assert snapshot["run"] >= 1
