"""The browser's reducer beside the reporter's: the same events amount to the same state."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from milepost_reporter.event import BadEvent, parse_event
from milepost_reporter.state import JobState, rfc3339

from tests.client.node import program
from tests.reporter.test_state import CASES, EVENTS, FRACTIONS, PLANS

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
REDUCE = Path(__file__).with_name("reduce.js")
NODES = st.fixed_dictionaries(
    {"nodeId": st.integers(0, 3) | st.sampled_from(["0", "a"])},
    optional={
        "status": st.sampled_from(["idle", "running", "completed", "failed", "cancelled"]),
        "rowCount": st.integers(-5, 200) | st.floats(-5, 5),
        "total": st.integers(-5, 100) | st.floats(-5, 5),
        "fraction": st.floats(0, 1),
        "nodeName": st.none() | st.text(max_size=3),
        "unit": st.text(max_size=3),
        "error": st.fixed_dictionaries({}, optional={"message": st.text(max_size=3), "details": st.integers()}),
        "at": st.sampled_from(
            ["2025-12-31T23:59:59Z", "2026-01-01T02:00:00.1234567+02:00", "2026-01-02T00:00:00.5+00:30", None]
        ),
        "run": st.integers(1, 3),
        "extra": st.integers() | st.text(max_size=3),
    },
)
WEIGHED = st.fixed_dictionaries(
    {
        "kind": st.just("plan"),
        "data": st.fixed_dictionaries(
            {
                "nodes": st.lists(
                    st.fixed_dictionaries(
                        {"nodeId": st.integers(0, 3)}, optional={"weight": st.none() | st.floats(0, 10)}
                    ),
                    max_size=4,
                )
            },
            optional={"edges": st.none() | st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=2), max_size=3)},
        ),
    }
)
LOGS = st.fixed_dictionaries(
    {"kind": st.just("log"), "message": st.text(max_size=3)},
    optional={
        "nodeId": st.integers(0, 3),
        "data": st.none() | st.fixed_dictionaries({}, optional={"level": st.none() | st.text(max_size=3)}),
    },
)
JOBS = st.lists(EVENTS | NODES | LOGS | FRACTIONS, max_size=30) | st.lists(
    EVENTS | NODES | LOGS | PLANS | WEIGHED, max_size=30
)


def reduced(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the browser's reducer makes of these; one node for all of them."""
    done = subprocess.run(
        [program("node"), str(REDUCE)],
        input="".join(json.dumps(job) + "\n" for job in jobs),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [as_numbers(json.loads(line)) for line in done.stdout.split("\n") if line]


def as_numbers(value: object) -> Any:  # noqa: ANN401 - JSON
    """As JavaScript reads it, where all numbers are doubles."""
    if isinstance(value, dict):
        return {key: as_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_numbers(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def expected(events: list[dict[str, Any]]) -> tuple[list[str], Any]:
    """What the reporter's reducer makes of them, in the browser's shape."""
    state = JobState("1")
    verdicts = [
        state.apply(
            parse_event(json.dumps(event["payload"]).encode()), datetime.fromisoformat(event["at"]), event.get("run")
        ).value
        for event in events
    ]
    return verdicts, viewed(state)


def viewed(state: JobState) -> Any:  # noqa: ANN401 - JSON
    """A reporter's state in the browser's shape."""
    return as_numbers({"willRetry": False, "truncated": [], **state.snapshot()})


def admitted(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that a hub lets through, each with its time."""
    events = []
    for number, payload in enumerate(payloads):
        try:
            parse_event(json.dumps(payload).encode())
        except BadEvent:
            continue
        events.append({"at": rfc3339(BEGAN + timedelta(seconds=number)), "payload": payload})
    return events


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_case_of_the_reporters_reducer(path: Path) -> None:
    """From nothing, and started anew from the snapshot after each event."""
    case = json.loads(path.read_text(encoding="utf-8"))
    events = case["events"]
    for split, done in enumerate(reduced([{"events": events, "split": split} for split in range(len(events) + 1)])):
        assert done["verdicts"] == expected(events)[0]
        assert [verdict == "late" for verdict in done["verdicts"]] == [event.get("late", False) for event in events]
        assert {field: done["view"][field] for field in case["state"]} == case["state"], case["name"]
        assert done["resumed"] == done["view"], f"from the snapshot after {split} events"


# a batch for each start of node; shrinking a batch would start it by the thousand
@settings(
    max_examples=8,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    deadline=None,
)
@given(st.lists(st.tuples(JOBS, st.integers(0, 30)), min_size=20, max_size=40))
def test_any_events_amount_to_the_same(jobs: list[tuple[list[dict[str, Any]], int]]) -> None:
    """Whole, and begun anew from a snapshot in the middle, which is equal by nature where no plan and a given
    fraction of the same value meet."""
    asked = [{"events": admitted(payloads), "split": split} for payloads, split in jobs]
    for job, done in zip(asked, reduced(asked), strict=True):
        events, split = job["events"], job["split"]
        assert isinstance(events, list)
        assert isinstance(split, int)
        verdicts, view = expected(events)
        assert done["verdicts"] == verdicts
        assert done["view"] == view
        first = JobState("1")
        for event in events[:split]:
            first.apply(parse_event(json.dumps(event["payload"]).encode()), datetime.fromisoformat(event["at"]))
        resumed = JobState.of_snapshot("1", json.loads(json.dumps(first.snapshot())))
        for event in events[split:]:
            resumed.apply(parse_event(json.dumps(event["payload"]).encode()), datetime.fromisoformat(event["at"]))
        assert done["resumed"] == viewed(resumed)
