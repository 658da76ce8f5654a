"""The reducer: events in, state out."""

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.event import BadEvent, parse_event
from milepost_reporter.run import Verdict
from milepost_reporter.state import MAX_ARTIFACTS, MAX_KEPT, MAX_NODES, MAX_SNAPSHOT, JobState

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


@pytest.mark.parametrize("kind", ["artifacts", "nodes", "logTail"])
def test_what_is_kept_is_bounded_in_bytes(kind: str) -> None:
    """The oldest go, long before there are too many of them."""
    text = "x" * 30_000
    of: dict[str, Callable[[int], dict[str, Any]]] = {
        "artifacts": lambda n: {"kind": "artifact", "data": {"name": str(n), "uri": text}},
        "nodes": lambda n: {"nodeId": n, "status": "failed", "error": {"message": text}},
        "logTail": lambda n: {"kind": "log", "message": text},
    }
    state = reduced([of[kind](number) for number in range(100)])
    held = state._body()[kind]
    assert len(held) == MAX_KEPT // 30_100
    assert state.snapshot()["truncated"][0] == "logTail"


EVENTS = st.one_of(
    st.fixed_dictionaries(
        {"nodeId": st.integers(0, 3)},
        optional={
            "status": st.sampled_from(["running", "completed"]),
            "rowCount": st.integers(0, 20),
            "total": st.integers(0, 20),
            "message": st.text(max_size=5),
            "run": st.integers(1, 3),
        },
    ),
    st.fixed_dictionaries(
        {"kind": st.just("job")},
        optional={
            "status": st.sampled_from(["queued", "running", "completed", "failed"]),
            "name": st.text(max_size=5),
            "message": st.text(max_size=5),
            "willRetry": st.booleans(),
            "error": st.fixed_dictionaries({"message": st.text(max_size=5)}),
            "run": st.integers(1, 3),
        },
    ),
    st.fixed_dictionaries({"kind": st.just("log"), "message": st.text(max_size=5)}),
    st.fixed_dictionaries({"kind": st.just("result"), "data": st.none() | st.integers() | st.lists(st.text())}),
    st.fixed_dictionaries(
        {
            "kind": st.just("artifact"),
            "data": st.fixed_dictionaries({"name": st.sampled_from("abc"), "uri": st.text(max_size=5)}),
        }
    ),
)
FRACTIONS = st.fixed_dictionaries({"fraction": st.floats(0, 1)})
PLANS = st.fixed_dictionaries(
    {
        "kind": st.just("plan"),
        "data": st.fixed_dictionaries(
            {"nodes": st.lists(st.fixed_dictionaries({"nodeId": st.integers(0, 3)}), max_size=4)}
        ),
    }
)


def taken_in(state: JobState, payloads: list[dict[str, Any]], since: int) -> JobState:
    for number, payload in enumerate(payloads):
        with contextlib.suppress(BadEvent):
            state.apply(parse_event(json.dumps(payload).encode()), NOW + timedelta(seconds=since + number))
    return state


@given(st.lists(EVENTS | FRACTIONS, max_size=30) | st.lists(EVENTS | PLANS, max_size=30), st.integers(0, 30))
def test_a_state_goes_on_from_its_snapshot(payloads: list[dict[str, Any]], split: int) -> None:
    """The snapshot of the first part, and the rest on top, are the whole.

    Not equal are, by nature: what a truncated snapshot has left out; a job that has both a plan and a fraction
    given for itself, when they happen to agree in the snapshot; times, below a millisecond.
    """
    first = taken_in(JobState("1"), payloads[:split], 0).snapshot()
    resumed = JobState.of_snapshot("1", json.loads(json.dumps(first)))
    assert resumed.snapshot() == first
    resumed = taken_in(resumed, payloads[split:], len(payloads[:split]))
    assert resumed.snapshot() == taken_in(JobState("1"), payloads, 0).snapshot()
    assert resumed.will_retry == taken_in(JobState("1"), payloads, 0).will_retry


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
WHOLE = reduced(
    [
        {"kind": "plan", "data": {"nodes": [{"nodeId": 1}]}},
        {"nodeId": 1, "status": "running", "total": 4, "rowCount": 1, "error": {"message": "m"}},
        {"kind": "artifact", "data": {"name": "a", "uri": "u"}},
        {"kind": "log", "message": "m"},
    ]
).snapshot()


@given(JSON)
def test_anything_else_is_no_snapshot(value: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    with pytest.raises(ValueError, match="no snapshot"):
        JobState.of_snapshot("1", value)


@given(st.sampled_from(sorted(WHOLE)), JSON)
def test_a_snapshot_with_one_field_replaced_is_none_or_goes_on(field: str, value: Any) -> None:  # noqa: ANN401
    """Never does it break later, on an event."""
    try:
        state = JobState.of_snapshot("1", {**WHOLE, field: value})
    except ValueError:
        return
    taken_in(state, [{"nodeId": 1, "rowCount": 2, "message": "m"}, {"kind": "log", "message": "m"}], 0)
    told = json.loads(json.dumps(state.snapshot()))
    assert told["jobId"] == 1
    assert {"nodes", "logTail", "status", "run"} <= told.keys()


@given(st.sampled_from(sorted(WHOLE)))
def test_a_snapshot_without_one_of_its_fields_is_none(field: str) -> None:
    """But for those that say nothing about the state."""
    lacking = {name: value for name, value in WHOLE.items() if name != field}
    if field in ("jobId", "stalled", "durable"):
        assert JobState.of_snapshot("1", lacking).snapshot() == WHOLE
    else:
        with pytest.raises(ValueError, match="no snapshot"):
            JobState.of_snapshot("1", lacking)
