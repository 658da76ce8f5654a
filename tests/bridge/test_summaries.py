"""Job summaries: at once, then at most one in an interval, and the last one always."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from milepost_bridge.admission import Admission, Admitted
from milepost_bridge.cursor import Cursor
from milepost_bridge.feed import Live, live_of
from milepost_bridge.history import Loaded
from milepost_bridge.intake import Taken
from milepost_bridge.place import place_of
from milepost_bridge.settings import BridgeSettings
from milepost_bridge.summaries import Summaries, Summary
from milepost_reporter.event import Event, parse_event
from milepost_reporter.state import JobState

START = datetime(2026, 1, 1, tzinfo=UTC)


def take(summaries: Summaries, now: float, tenant: str = "acme", job: str = "7", **fields: object) -> Summary | None:
    event = parse_event(json.dumps(fields or {"fraction": 0.5}).encode())
    return summaries.take(
        Taken(tenant, job, Admitted(event, ends=False), None, watched=True), START + timedelta(seconds=now), now
    )


def said(summary: Summary | None) -> dict[str, Any]:
    assert summary is not None
    fields: dict[str, Any] = json.loads(summary.json)
    return fields


def make(**settings: float) -> Summaries:
    return Summaries(BridgeSettings.model_validate(settings))


def test_the_first_change_is_told_at_once_in_the_protocols_shape() -> None:
    """All fields of `job.summary`, the job's id as a number when it is one."""
    summary = said(take(make(), 0, kind="job", status="running", name="Nightly", fraction=0.25))
    assert summary == {
        "jobId": 7,
        "name": "Nightly",
        "status": "running",
        "run": 1,
        "fraction": 0.25,
        "message": None,
        "startedAt": "2026-01-01T00:00:00.000Z",
        "endedAt": None,
        "lastEventAt": "2026-01-01T00:00:00.000Z",
        "stalled": False,
    }


def test_what_follows_is_told_once_at_the_end_of_the_interval() -> None:
    """A burst is two summaries: the first event's, and the last one's a second later."""
    summaries = make()
    assert take(summaries, 10.0, fraction=0.0) is not None
    assert all(take(summaries, 10 + n / 100, fraction=n / 100) is None for n in range(1, 100))
    assert summaries.next_due == 11.0
    assert list(summaries.due(10.99)) == []
    [last] = summaries.due(11.0)
    assert said(last)["fraction"] == 0.99
    assert summaries.next_due is None
    assert take(summaries, 11.5) is None
    assert take(summaries, 12.5, job="8") is not None


def test_jobs_do_not_wait_for_each_other() -> None:
    """The interval is each job's own, and tenants with jobs of the same id are two."""
    summaries = make()
    assert take(summaries, 0) is not None
    assert take(summaries, 0, job="8") is not None
    assert take(summaries, 0, tenant="other") is not None


def test_late_events_change_nothing() -> None:
    """After the end there is nothing to tell."""
    summaries = make()
    assert said(take(summaries, 0, kind="job", status="completed"))["status"] == "completed"
    assert take(summaries, 5, nodeId=1, status="running") is None
    assert summaries.next_due is None


def test_a_silent_job_is_told_to_be_stalled_once_and_recovers() -> None:
    """A running job without an event for a while is stalled; one that has ended is not, nor one that waits."""
    summaries = make(stalled_after=120)
    take(summaries, 0, kind="job", status="running")
    take(summaries, 0, job="9", kind="job", status="queued")
    take(summaries, 0, job="8", kind="job", status="completed")
    assert list(summaries.stalled(119)) == []
    [stalled] = summaries.stalled(120)
    assert (stalled.job, said(stalled)["stalled"]) == ("7", True)
    assert list(summaries.stalled(300)) == []
    assert said(take(summaries, 301))["stalled"] is False


def test_memory_is_bounded() -> None:
    """Beyond the bound the longest silent job is forgotten; its held summary is not told."""
    summaries = make(summary_jobs=10)
    take(summaries, 0, job="first")
    take(summaries, 0.1, job="first")
    for job in range(10):
        take(summaries, 0.2, job=str(job))
    assert len(summaries) == 10
    assert list(summaries.due(5)) == []


def test_a_forgotten_tenant_is_told_no_more() -> None:
    """When nobody wants a tenant's summaries its jobs go, and others' stay."""
    summaries = make()
    for tenant in ("acme", "other"):
        take(summaries, 0, tenant=tenant)
        take(summaries, 0.5, tenant=tenant)
    summaries.forget("acme")
    assert [summary.tenant for summary in summaries.due(5)] == ["other"]
    assert len(summaries) == 1


@given(st.lists(st.tuples(st.floats(0, 2, allow_nan=False), st.sampled_from(["1", "2"]), st.floats(0, 1)), max_size=40))
def test_never_two_in_an_interval_and_never_without_the_last(steps: list[tuple[float, str, float]]) -> None:
    """Whatever the timing, summaries of a job are a second apart and end with its latest state."""
    summaries = make()
    told: dict[str, list[tuple[float, float]]] = {"1": [], "2": []}
    latest: dict[str, float] = {}
    now = 0.0

    def note(summary: Summary | None, when: float) -> None:
        if summary is not None:
            told[summary.job].append((when, said(summary)["fraction"]))

    def ring(until: float) -> None:
        while (due := summaries.next_due) is not None and due <= until:
            for summary in summaries.due(due):
                note(summary, due)

    for pause, job, fraction in steps:
        now += pause
        ring(now)
        note(take(summaries, now, job=job, fraction=fraction), now)
        latest[job] = fraction
    ring(now + 1)
    for job, moments in told.items():
        times = [when for when, _ in moments]
        assert all(later - earlier > 0.999 for earlier, later in pairwise(times))
        assert not moments or moments[-1][1] == latest[job]
        assert bool(moments) == (job in latest)


# -- with a log -------------------------------------------------------------------------------------------------------


def live(seq: int, last: int, headers: bytes | None = None, **fields: object) -> tuple[Live, Event]:
    place = place_of(b"tenant.acme.job.7.progress")
    assert place is not None
    payload = json.dumps(fields or {"fraction": 0.5}).encode()
    at = int(START.timestamp() + seq) * 10**9
    return live_of(place, b"tenant.acme.job.7.progress", seq, last, at, payload, headers), parse_event(payload)


def loaded(seq: int, *, leased: bool = False) -> Loaded:
    state = JobState("7")
    state.apply(parse_event(b'{"kind":"job","status":"running","name":"n"}'), START + timedelta(seconds=seq))
    at = Cursor(seq, int(START.timestamp() + seq) * 10**9)
    return Loaded(state, at, seq, at, Admission(), leased=leased, known=True)


def test_a_job_that_promises_a_lease_is_never_stalled() -> None:
    """Told by its first event, live; also by a child's after it. The next run promises for itself."""
    summaries = make(stalled_after=10)
    leased = b"NATS/1.0\r\nMilepost-Lease: 30\r\n\r\n"
    assert summaries.take_stored(*live(1, 0, leased, kind="job", status="running", run=1), 0) is not None
    summaries.take_stored(*live(2, 1, nodeId=1, status="running", run=1), 1)
    assert list(summaries.stalled(100)) == []
    summaries.take_stored(*live(3, 2, kind="job", status="running", run=2), 100)
    [told] = summaries.stalled(110)
    assert said(told)["stalled"] is True


def test_a_leased_job_without_a_log_is_not_stalled() -> None:
    """Its beats tell of it, not its events."""
    summaries = make(stalled_after=10)
    event = parse_event(b'{"kind":"job","status":"running"}')
    summaries.take(Taken("acme", "7", Admitted(event, ends=False), None, watched=True, leased=True), START, 0)
    assert list(summaries.stalled(100)) == []


def test_a_stalled_job_that_speaks_behind_a_gap_is_not_stalled() -> None:
    """What comes does not follow upon what was seen, so its state is read: with what it has said, it is awake."""
    summaries = make(stalled_after=10)
    summaries.take_stored(*live(1, 0, kind="job", status="running"), 0)
    assert [said(told)["stalled"] for told in summaries.stalled(20)] == [True]
    assert summaries.take_stored(*live(30, 29), 30) is None
    assert summaries.some_wanting(9) == [("acme", "7")]
    assert said(summaries.rebase("acme", "7", loaded(30), 30, START + timedelta(seconds=30)))["stalled"] is False


def test_what_was_read_is_stalled_from_its_last_event_on() -> None:
    """Not from when this hub has read it."""
    summaries = make(stalled_after=10)
    summaries.take_stored(*live(5, 4), 0)
    told = summaries.rebase("acme", "7", loaded(6), 0, START + timedelta(seconds=12))
    assert said(told)["stalled"] is False
    assert list(summaries.stalled(3)) == []
    assert [said(each)["stalled"] for each in summaries.stalled(4.1)] == [True]
    summaries.doubt()
    told = summaries.rebase("acme", "7", loaded(6, leased=True), 9, START + timedelta(seconds=21))
    assert said(told)["stalled"] is False


def test_one_that_cannot_be_read_does_not_stand_in_the_way() -> None:
    """It is put off behind the others; one that will never be read is dropped."""
    summaries = make()
    for job in "12":
        summaries.listed("acme", job, 0, silent=timedelta(), doubtful=True)
    assert summaries.some_wanting(1) == [("acme", "1")]
    summaries.put_off("acme", "1")
    assert summaries.some_wanting(9) == [("acme", "2"), ("acme", "1")]
    summaries.give_up("acme", "2")
    assert (summaries.some_wanting(9), len(summaries)) == ([("acme", "1")], 1)


def test_a_listed_job_that_falls_silent_is_read_before_it_is_told() -> None:
    """This hub has not seen any event of it."""
    summaries = make(stalled_after=10, summary_jobs=1)
    summaries.listed("acme", "7", 0, silent=timedelta(seconds=4), doubtful=False)
    summaries.listed("acme", "8", 0, silent=timedelta(), doubtful=False)
    assert len(summaries) == 1
    assert list(summaries.stalled(5)) == []
    assert not summaries.wanting
    assert list(summaries.stalled(6)) == []
    assert summaries.some_wanting(9) == [("acme", "7")]
    told = summaries.rebase("acme", "7", loaded(0), 6, START + timedelta(seconds=10))
    assert (said(told)["stalled"], said(told)["name"]) == (True, "n")
