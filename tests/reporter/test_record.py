"""State records: written, read, merged; and the tail after them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.event import Event, parse_event
from milepost_reporter.record import BadRecord, Record, merge, parse_record, summary_header, write_record
from milepost_reporter.run import Verdict
from milepost_reporter.state import MAX_SNAPSHOT, JobState

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(**fields: Any) -> Event:  # noqa: ANN401 - any payload
    return parse_event(json.dumps(fields).encode())


def at(number: int) -> datetime:
    return NOW + timedelta(seconds=number)


def record_of(reporter: str, state: JobState, count: int, *, seq: int | None = None, owner: bool = True) -> Record:
    """What a reader gets of the record: written and read."""
    written = write_record(state, count=count, seq=count if seq is None else seq, owner=owner, lease=30)
    return parse_record(reporter, written)


def reduced(events: list[Event]) -> JobState:
    state = JobState("1")
    for number, one in enumerate(events):
        state.apply(one, at(number))
    return state


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_case_split_anywhere(path: Path) -> None:
    """A record of the first events and the tail after them amount to the case's state, late verdicts included."""
    case = json.loads(path.read_text(encoding="utf-8"))
    steps = [
        (parse_event(json.dumps(step["payload"]).encode()), datetime.fromisoformat(step["at"]), step.get("run"), step)
        for step in case["events"]
    ]
    for split in range(len(steps) + 1):
        state = JobState("1")
        for one, when, run, _ in steps[:split]:
            state.apply(one, when, run)
        state = merge("1", [record_of("r", state, split)])
        for one, when, run, step in steps[split:]:
            assert (state.apply(one, when, run) is Verdict.LATE) == step.get("late", False)
        snapshot = state.snapshot()
        assert {field: snapshot[field] for field in case["state"]} == case["state"]


STATUSES = ["running", "completed", "failed", "cancelled"]
IDS = st.integers(0, 2) | st.sampled_from(["a", "1"])
TEXTS = st.text(max_size=5)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | TEXTS, lambda inner: st.lists(inner, max_size=2))
WORDS: dict[str, st.SearchStrategy[Any]] = {
    "fraction": st.floats(0, 1),
    "message": TEXTS,
    "rowCount": st.integers(-5, 200),
    "total": st.integers(-5, 100),
    "run": st.integers(1, 3),
    "error": st.fixed_dictionaries({"message": TEXTS}, optional={"details": JSON}),
    "at": st.sampled_from(["2026-02-01T00:00:00Z", "2025-01-01T01:00:00.123456+01:00"]),
}
PAYLOADS = st.one_of(
    st.fixed_dictionaries({"nodeId": IDS, "status": st.sampled_from(STATUSES)}, optional=WORDS),
    st.fixed_dictionaries(
        {"kind": st.just("job"), "status": st.sampled_from([*STATUSES, "queued", "cancelling"])},
        optional={**WORDS, "name": TEXTS, "willRetry": st.booleans()},
    ),
    st.fixed_dictionaries({"kind": st.just("progress"), "fraction": st.floats(0, 1)}, optional={"message": TEXTS}),
    st.fixed_dictionaries({"kind": st.just("log"), "message": TEXTS}, optional={"run": st.integers(1, 3)}),
    st.fixed_dictionaries(
        {
            "kind": st.just("artifact"),
            "data": st.fixed_dictionaries({"name": TEXTS, "uri": TEXTS}, optional={"x": JSON}),
        },
        optional={"at": WORDS["at"]},
    ),
    st.fixed_dictionaries({"kind": st.just("result"), "data": JSON}),
    st.fixed_dictionaries(
        {
            "kind": st.just("plan"),
            "data": st.fixed_dictionaries(
                {
                    "nodes": st.lists(
                        st.fixed_dictionaries({"nodeId": IDS}, optional={"weight": st.floats(0, 9)}), max_size=3
                    )
                }
            ),
        }
    ),
)


def events_of(payloads: list[dict[str, Any]]) -> list[Event]:
    return [event(**payload) for payload in payloads]


@given(st.lists(PAYLOADS, max_size=25), st.integers(0, 25))
def test_a_record_and_the_tail_are_the_whole(payloads: list[dict[str, Any]], split: int) -> None:
    """For one reporter: any events, split anywhere."""
    events = events_of(payloads)
    split = min(split, len(events))
    state = merge("1", [record_of("r", reduced(events[:split]), split)])
    assert state.ended == reduced(events[:split]).ended
    verdicts = [state.apply(one, at(split + number)) for number, one in enumerate(events[split:])]
    whole = reduced(events[:split])
    assert verdicts == [whole.apply(one, at(split + number)) for number, one in enumerate(events[split:])]
    assert state.snapshot() == whole.snapshot()
    assert (state.run, state.ended, state.will_retry, state.name) == (
        whole.run,
        whole.ended,
        whole.will_retry,
        whole.name,
    )


REPORTERS = ("owner", "child", "other")


def told_by(reporter: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """What one of several reporters tells: nodes and artifacts of its own; about the job, only the owner."""
    node = st.fixed_dictionaries({"nodeId": st.sampled_from([f"{reporter}-{n}" for n in range(2)])} | {
        "status": st.sampled_from(STATUSES), "rowCount": st.integers(0, 9)
    })  # fmt: skip
    line = st.fixed_dictionaries({"kind": st.just("log"), "message": TEXTS})
    artifact = st.fixed_dictionaries(
        {"kind": st.just("artifact"), "data": st.fixed_dictionaries({"name": st.just(reporter), "uri": TEXTS})}
    )
    job = st.one_of(
        st.fixed_dictionaries({"fraction": st.floats(0, 1)}, optional={"message": TEXTS}),
        st.fixed_dictionaries({"kind": st.just("result"), "data": st.integers()}),
        st.fixed_dictionaries({"status": st.sampled_from(["running", "cancelling"]), "name": TEXTS}),
    )
    mine = st.one_of(node, line, artifact, job) if reporter == "owner" else st.one_of(node, line, artifact)
    return mine.map(lambda payload: (reporter, payload))


@given(
    st.lists(st.sampled_from(REPORTERS).flatmap(told_by), max_size=30),
    st.tuples(*[st.integers(0, 30) for _ in REPORTERS]),
    st.booleans(),
)
def test_records_of_several_and_the_tail_are_the_whole(
    told: list[tuple[str, dict[str, Any]]], splits: tuple[int, ...], ends: bool
) -> None:
    """Each record counts as much of its reporter's as it likes; the tail is what none of them counts.

    Only an end is not counted before everything else is.
    """
    log = [("owner", event(status="running")), *((who, event(**payload)) for who, payload in told)]
    if ends:
        log.append(("owner", event(status="failed", error={"message": "e"})))
    owners = sum(who == "owner" for who, _ in log)
    counted = dict(zip(REPORTERS, splits, strict=True)) | {"owner": min(max(splits[0], 1), owners - ends)}
    states = {who: JobState("1") for who in REPORTERS}
    counts = dict.fromkeys(REPORTERS, 0)
    seqs = dict.fromkeys(REPORTERS, 0)
    tail = []
    for seq, (who, one) in enumerate(log, 1):
        if counts[who] < counted[who]:
            states[who].apply(one, at(seq))
            counts[who] += 1
            seqs[who] = seq
        else:
            tail.append((seq, one))
    records = [
        record_of(who, states[who], counts[who], seq=seqs[who], owner=who == "owner")
        for who in REPORTERS
        if counts[who]
    ]
    merged = merge("1", records)
    whole = JobState("1")
    for seq, one in tail:
        merged.apply(one, at(seq))
    for seq, (_, one) in enumerate(log, 1):
        whole.apply(one, at(seq))
    assert orderless(merged.snapshot()) == orderless(whole.snapshot())


def orderless(snapshot: dict[str, Any]) -> dict[str, Any]:
    """With the lists in which the order between reporters may differ sorted."""
    for field in ("nodes", "artifacts", "logTail"):
        snapshot[field] = sorted(snapshot[field], key=lambda item: json.dumps(item, sort_keys=True))
    return snapshot


def test_only_the_highest_run_counts() -> None:
    old = record_of("old", reduced([event(status="running"), event(nodeId=1, status="running")]), 2)
    new = record_of("new", reduced([event(status="queued", run=2)]), 1)
    for records in ([old, new], [new, old]):
        state = merge("1", records)
        assert (state.run, state.status, state.snapshot()["nodes"]) == (2, "queued", [])


def test_of_several_owners_the_furthest_counts_and_the_others_fill_in() -> None:
    """A reporter that goes on under another id tells only what comes after."""
    before = record_of("a", reduced([event(status="running", name="N"), event(fraction=0.2, message="m")]), 2, seq=5)
    after = record_of("b", reduced([event(fraction=0.7)]), 1, seq=9)
    snapshot = merge("1", [before, after]).snapshot()
    assert (snapshot["fraction"], snapshot["message"], snapshot["name"]) == (0.7, "m", "N")
    assert snapshot["startedAt"] == "2026-01-01T00:00:00.000Z"


def test_nodes_of_several_stand_in_the_order_in_which_they_began() -> None:
    """As the steps of a script, each a process of its own."""
    steps = [JobState("1") for _ in range(3)]
    for number, state in enumerate(steps):
        state.apply(event(nodeId=f"step-{number}", status="running"), at(2 * number))
        state.apply(event(nodeId=f"step-{number}", status="completed"), at(2 * number + 1))
    records = [record_of(f"r{number}", state, 2, seq=2 * number + 2) for number, state in enumerate(steps)]
    nodes = merge("1", reversed(records)).snapshot()["nodes"]
    assert [node["nodeId"] for node in nodes] == ["step-0", "step-1", "step-2"]


def test_a_child_makes_a_job_running_and_what_it_tells_gives_way_to_the_owner() -> None:
    child = record_of(
        "c", reduced([event(fraction=0.9, nodeId=1, status="running"), event(message="c")]), 2, owner=False
    )
    assert merge("1", [child]).status == "running"
    owner = record_of("o", reduced([event(status="cancelling", message="o")]), 1)
    state = merge("1", [child, owner])
    assert (state.status, state.snapshot()["message"]) == ("cancelling", "o")
    assert len(state.snapshot()["nodes"]) == 1


def test_an_end_told_by_a_child_is_the_runs_end() -> None:
    owner = record_of("o", reduced([event(status="running"), event(message="m", fraction=0.5)]), 2, seq=10)
    child = record_of("c", reduced([event(status="completed", willRetry=True)]), 1, seq=9, owner=False)
    state = merge("1", [owner, child])
    assert (state.status, state.ended, state.will_retry) == ("completed", True, True)
    assert state.snapshot()["endedAt"] == "2026-01-01T00:00:00.000Z"
    assert state.apply(event(status="failed"), NOW) is Verdict.LATE


def test_the_latest_node_artifact_and_lines_win() -> None:
    one = reduced([event(nodeId=1, status="running", at="2026-01-01T00:00:09Z")])
    two = reduced([event(nodeId=1, status="completed", at="2026-01-01T00:00:10Z")])
    for which, state in enumerate((one, two)):
        for number in range(150):
            state.apply(event(kind="log", message=f"{which} {number}", at=at(number).isoformat()), NOW)
        state.apply(event(kind="artifact", data={"name": "a", "uri": str(which)}), at(which))
    for records in ([one, two], [two, one]):
        snapshot = merge("1", [record_of(str(n), state, 1) for n, state in enumerate(records)]).snapshot()
        assert [node["status"] for node in snapshot["nodes"]] == ["completed"]
        assert [artifact["uri"] for artifact in snapshot["artifacts"]] == ["1"]
        times = [line["at"] for line in snapshot["logTail"]]
        assert times == sorted(times)
        assert len(times) == 200


def test_no_records_are_no_job() -> None:
    assert merge("1", []).snapshot() == JobState("1").snapshot()


@pytest.mark.parametrize(
    ("payloads", "truncated"),
    [
        ([{"kind": "log", "message": "ä" * 2_000}] * 200, ["logTail"]),
        (
            [{"nodeId": n, "status": "running", "message": "x" * 500} for n in range(2_000)]
            + [{"kind": "result", "data": "r" * 60_000}, {"kind": "plan", "data": {"nodes": [{"nodeId": 1}]}}],
            ["logTail", "artifacts", "plan", "result", "nodes"],
        ),
    ],
)
def test_a_record_has_a_largest_size(payloads: list[dict[str, Any]], truncated: list[str]) -> None:
    """What gave way is said, also by a snapshot made of the record, and the tail goes on from there."""
    state = reduced(events_of([{"status": "running", "name": "n" * 60_000}, *payloads]))
    written = write_record(state, count=2**63 - 1, seq=2**63 - 1, owner=True, lease=30.123456789)
    assert MAX_SNAPSHOT - 5_000 < len(written) <= MAX_SNAPSHOT
    record = parse_record("r", written)
    assert record.truncated == truncated
    merged = merge("1", [record])
    assert merged.snapshot()["truncated"] == truncated
    merged.apply(event(nodeId=1, status="completed"), NOW)
    merged.apply(event(status="running", run=2), NOW)
    assert "truncated" not in merged.snapshot(), "another run starts from nothing"


GOOD = {"count": 1, "seq": 1, "run": 1, "owner": True, "job": {"status": "running"}}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"x" * (MAX_SNAPSHOT + 1), "too_large"),
        (b"{", "not_json"),
        (b'{"count":NaN}', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[]", "not_object"),
        (b"{}", "bad_field"),
        (json.dumps({**GOOD, "job": {"status": "sleeping"}}).encode(), "bad_field"),
        (json.dumps({**GOOD, "run": 0}).encode(), "bad_field"),
        (json.dumps({**GOOD, "plan": {"nodes": 5}}).encode(), "bad_field"),
        (json.dumps({**GOOD, "nodes": [{"nodeId": 1}]}).encode(), "bad_field"),
    ],
)
def test_what_is_no_record(payload: bytes, reason: str) -> None:
    with pytest.raises(BadRecord) as refused:
        parse_record("r", payload)
    assert refused.value.reason == reason


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([*STATUSES, "2026-01-01T00:00:00Z"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*Record.model_fields, "status", "nodeId", "at", "name", "uri", "fraction", "error"]),
                inner,
            )
        ),
        max_leaves=30,
    ).map(lambda value: json.dumps({**GOOD, **value} if isinstance(value, dict) else value).encode())
)
def test_any_bytes_are_a_record_that_merges_or_a_bad_one(payload: bytes) -> None:
    """Records are written by tenants: reading them raises BadRecord and nothing else."""
    try:
        record = parse_record("r", payload)
    except BadRecord:
        return
    assert record.reporter == "r"
    state = merge("1", [record, record])
    state.apply(event(nodeId=1, status="running"), NOW)
    json.dumps(state.snapshot(), allow_nan=False)


def test_fields_given_as_null_are_as_good_as_absent() -> None:
    node = {"nodeId": 1, "at": "2026-01-01T00:00:00Z", "fraction": None, "error": None, "status": None}
    payload = {**GOOD, "nodes": [node], "plan": {"nodes": [{"nodeId": 1}]}, "lease": None, "lastEventAt": None}
    snapshot = merge("1", [parse_record("r", json.dumps(payload).encode())]).snapshot()
    assert snapshot["nodes"] == [{"nodeId": 1, "at": "2026-01-01T00:00:00.000Z"}]
    assert snapshot["fraction"] == 0


def test_times_at_the_calendars_ends_are_written() -> None:
    state = reduced([event(nodeId=1, status="running", at="0001-01-01T00:00:00+01:00")])
    assert record_of("r", state, 1).nodes[0].at.year == 1


def test_the_summary_header_is_short_ascii_on_one_line() -> None:
    state = reduced([event(status="running", name="ä", message="ö\r\n" * 1_000)])
    header = summary_header(state)
    assert header.isascii()
    assert header.isprintable()
    summary = json.loads(header)
    assert summary == {**state.summary(), "message": ("ö\r\n" * 1_000)[:1_000]}
