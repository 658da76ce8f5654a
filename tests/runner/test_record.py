"""The table of a job's changes: each row, and that nothing leads out of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import milepost_runner.record as module
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from milepost_runner.record import (
    CANCELLED,
    CANCELLING,
    COMPLETED,
    ENDS,
    FAILED,
    QUEUED,
    RUNNING,
    BadRecord,
    JobRecord,
    Turn,
    cancelled,
    completed,
    decide,
    failed,
    given_back,
    read_record,
    to_be_tried_again,
    told_to_stop,
    waiting,
)
from milepost_runner.subject import Place
from milepost_runner.work import Work

from tests.runner.any_json import JSON

AT: Final = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)
LATER: Final = AT + timedelta(seconds=60)
DEATHS: Final = 3
ERROR: Final = {"message": "no rows", "details": "Traceback"}

Change = Callable[[JobRecord], JobRecord]


def queued(run: int = 1) -> JobRecord:
    """A job that waits: for the first time, or once more."""
    work = Work(Place("acme", "default", "1"), "build", {"rows": 1}, AT)
    return waiting(work).changed(run=run)


def running(run: int = 1, deaths: int = 0) -> JobRecord:
    return decide(queued(run).changed(deaths=deaths), worker="a", claim="secret", deaths=DEATHS, at=AT).record


def cancelling() -> JobRecord:
    return told_to_stop(running(), "enough", AT)


def claimed(record: JobRecord) -> JobRecord:
    decision = decide(record, worker="b", claim="another", deaths=DEATHS, at=LATER)
    assert decision.turn == (Turn.END if decision.record.ended else Turn.RUN)
    return decision.record


def stopped(record: JobRecord) -> JobRecord:
    return told_to_stop(record, "enough", LATER)


class Row(NamedTuple):
    """One row of the table in `record`, for one of the states before."""

    before: JobRecord
    change: Change
    status: str
    run: int
    more: dict[str, Any]


ROWS: Final = {
    "nothing, claimed": Row(queued(), claimed, RUNNING, 1, {"worker": "b", "claim": "another", "started_at": LATER}),
    "nothing, cancelled": Row(queued(), stopped, CANCELLED, 1, {"cancel_reason": "enough", "started_at": None}),
    "queued, claimed": Row(queued(4), claimed, RUNNING, 4, {"worker": "b", "deaths": 0}),
    "queued, cancelled": Row(queued(4), stopped, CANCELLED, 4, {"cancel_reason": "enough"}),
    "running, its worker died, claimed by another": Row(
        running(), claimed, RUNNING, 2, {"deaths": 1, "worker": "b", "claim": "another", "started_at": LATER}
    ),
    "running, its worker died, once too often": Row(
        running(3, deaths=2), claimed, FAILED, 3, {"deaths": 3, "error": {"message": "its workers died, 3 of them"}}
    ),
    "running, told to stop": Row(running(2), stopped, CANCELLING, 2, {"cancel_reason": "enough", "claim": "secret"}),
    "cancelling, its worker died": Row(cancelling(), claimed, CANCELLED, 1, {"deaths": 1, "error": None}),
    "running, the handler completed": Row(
        running(2), lambda record: completed(record, [1], LATER), COMPLETED, 2, {"result": [1]}
    ),
    "running, the handler failed": Row(
        running(2), lambda record: failed(record, ERROR, LATER), FAILED, 2, {"error": ERROR}
    ),
    "running, the handler stopped": Row(running(2), lambda record: cancelled(record, LATER), CANCELLED, 2, {}),
    "cancelling, the handler completed": Row(
        cancelling(), lambda record: completed(record, None, LATER), COMPLETED, 1, {"cancel_reason": "enough"}
    ),
    "cancelling, the handler failed": Row(cancelling(), lambda record: failed(record, ERROR, LATER), FAILED, 1, {}),
    "cancelling, the handler stopped": Row(cancelling(), lambda record: cancelled(record, LATER), CANCELLED, 1, {}),
    "running, the handler failed and is tried again": Row(
        running(2), to_be_tried_again, QUEUED, 3, {"failures": 1, "worker": None, "claim": None}
    ),
    "running, its worker leaves": Row(
        running(2), given_back, QUEUED, 3, {"failures": 0, "deaths": 0, "worker": None, "claim": None}
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_row_leads_where_the_table_says(row: Row) -> None:
    """To its status and run, with an end's time and no claim when that is an end, and what was submitted untouched."""
    before = row.before.write()
    after = row.change(row.before)
    assert (after.status, after.run) == (row.status, row.run)
    assert {name: getattr(after, name) for name in row.more} == row.more
    assert after.ended == (after.status in ENDS)
    assert after.ended_at == (LATER if after.ended else None)
    assert after.claim is None or not after.ended
    assert (after.name, after.queue, after.payload, after.queued_at) == ("build", "default", {"rows": 1}, AT)
    assert row.before.write() == before


def test_every_row_of_the_page_is_tried() -> None:
    """A row added to the table in the module's docstring is missed here."""
    told = re.findall(r"^\| (\w.*?) \| (.+?) \| (.+?) \| (?:\d|same|next) \|", str(module.__doc__), re.MULTILINE)
    paths = {(before, to) for befores, _, tos in told for before in befores.split(", ") for to in tos.split(", ")}
    first = {row.before.status for row in ROWS.values()} | {"nothing"}
    tried = {(row.before.status, row.status) for row in ROWS.values()} | {("nothing", RUNNING), ("nothing", CANCELLED)}
    assert len(told) == 11
    # A job that was told to stop and whose worker died is not run again, nor has it failed.
    assert paths - tried <= {(CANCELLING, RUNNING)}
    assert first == {before for before, _ in paths}


@pytest.mark.parametrize(("run", "deaths", "limit"), [(1, 0, 1), (5, 1, 2), (9, 7, 3)])
def test_a_job_is_given_up_after_so_many_deaths(run: int, deaths: int, limit: int) -> None:
    """Also when the handler was made less patient since."""
    decision = decide(running(run, deaths), worker="b", claim="c", deaths=limit, at=LATER)
    assert (decision.turn, decision.record.status, decision.record.deaths) == (Turn.END, FAILED, deaths + 1)


def test_a_retry_is_no_death() -> None:
    """A job that waits again after as many deaths as its handler bears is still run."""
    decision = decide(queued(4).changed(deaths=7), worker="b", claim="c", deaths=DEATHS, at=LATER)
    assert (decision.turn, decision.record.deaths) == (Turn.RUN, 7)


def test_the_first_reason_to_stop_stays() -> None:
    assert told_to_stop(cancelling(), "another", LATER).cancel_reason == "enough"
    assert told_to_stop(running(), None, LATER).cancel_reason is None
    assert told_to_stop(running(), "x" * 100_000, LATER).cancel_reason == "x" * 1_000
    assert told_to_stop(told_to_stop(running(), None, LATER), "then", LATER).cancel_reason == "then"


def test_a_new_run_shows_nothing_of_the_last_one() -> None:
    reported = running().changed(fraction=0.9, message="nearly")
    again = claimed(reported)
    assert (again.fraction, again.message) == (None, None)


@pytest.mark.parametrize("end", [completed(running(), 1, AT), failed(running(), ERROR, AT), cancelled(running(), AT)])
def test_an_ended_record_is_only_told_again(end: JobRecord) -> None:
    assert decide(end, worker="b", claim="c", deaths=1, at=LATER) == (Turn.TOLD, end)


class Life(RuleBasedStateMachine):
    """One job's record, through whatever may happen to it, in any order, written and read between."""

    def __init__(self) -> None:
        super().__init__()
        self.record = queued()
        self.before = self.record
        self.clock = AT

    def become(self, record: JobRecord) -> None:
        self.before, self.record = self.record, read_record(record.write())
        assert self.record == record
        self.clock += timedelta(seconds=1)

    @initialize(first=st.integers(1, 5))
    def begin(self, first: int) -> None:
        self.record = self.before = queued(first)

    @rule(deaths=st.integers(1, 4))
    def a_worker_gets_it(self, deaths: int) -> None:
        turn, record = decide(self.record, worker="w", claim="c", deaths=deaths, at=self.clock)
        assert (turn is Turn.TOLD) == self.record.ended
        assert (turn is Turn.RUN) == (record.status == RUNNING)
        self.become(record)

    @precondition(lambda self: not self.record.ended)
    @rule(reason=st.none() | st.text())
    def somebody_cancels(self, reason: str | None) -> None:
        self.become(told_to_stop(self.record, reason, self.clock))

    @precondition(lambda self: self.record.status in (RUNNING, CANCELLING))
    @rule(result=JSON)
    def it_completes(self, result: object) -> None:
        self.become(completed(self.record, result, self.clock))

    @precondition(lambda self: self.record.status in (RUNNING, CANCELLING))
    @rule()
    def it_fails(self) -> None:
        self.become(failed(self.record, ERROR, self.clock))

    @precondition(lambda self: self.record.status in (RUNNING, CANCELLING))
    @rule()
    def it_stops(self) -> None:
        self.become(cancelled(self.record, self.clock))

    @precondition(lambda self: self.record.status == RUNNING)
    @rule()
    def it_fails_and_is_tried_again(self) -> None:
        self.become(to_be_tried_again(self.record))

    @precondition(lambda self: self.record.status == RUNNING)
    @rule()
    def its_worker_leaves(self) -> None:
        self.become(given_back(self.record))

    @precondition(lambda self: self.record.status == RUNNING)
    @rule(fraction=st.none() | st.floats(0, 1), message=st.none() | st.text())
    def it_reports(self, fraction: float | None, message: str | None) -> None:
        self.become(self.record.changed(fraction=fraction, message=message))

    @invariant()
    def it_is_in_the_table(self) -> None:
        paths = {(row.before.status, row.status) for row in ROWS.values()}
        step = (self.before.status, self.record.status)
        assert step in paths or step[0] == step[1]
        assert self.before == self.record or not self.before.ended
        assert self.record.run - self.before.run in (0, 1)
        assert self.record.deaths - self.before.deaths in (0, 1)
        assert self.record.failures - self.before.failures in (0, 1)
        assert (self.record.ended_at is not None) == self.record.ended
        assert (self.record.claim is not None) == (self.record.status in (RUNNING, CANCELLING))


TestLife = Life.TestCase


@given(JSON, JSON, st.dictionaries(st.text(), st.text()))
def test_a_record_is_read_as_it_was_written(payload: object, result: object, error: dict[str, str]) -> None:
    """Whatever was submitted and came of it."""
    record = completed(running().changed(payload=payload, error=error, fraction=0.5, message="é\x00"), result, LATER)
    assert read_record(record.write()) == record


GOOD: Final = json.loads(running().write())


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"")
@example(b"{}")
@example(b"[" * 100_000)
def test_nothing_else_is_read_and_nothing_else_is_raised(payload: bytes) -> None:
    with pytest.raises(BadRecord):
        read_record(payload)


@given(st.sampled_from(sorted({*GOOD, "deaths", "endedAt", "error", "fraction", "cancelReason"})), JSON)
@example("run", 10**4_000)
@example("run", 0)
@example("run", True)
@example("deaths", -1)
@example("status", "lost")
@example("name", "x" * 65)
@example("queuedAt", "2026-01-01T00:00:00")
@example("queuedAt", "0001-01-01T00:00:00+14:00")
@example("endedAt", "9999-12-31T23:59:59-14:00")
@example("error", {"message": 5})
def test_a_record_with_one_odd_field_is_read_or_bad(field: str, value: object) -> None:
    """And what is read can be compared, decided about and written again."""
    try:
        record = read_record(json.dumps({**GOOD, field: value}).encode())
    except BadRecord as bad:
        told = str(bad)
    else:
        told = record.queued_at.astimezone(UTC).isoformat()
        assert record.queued_at <= LATER or record.queued_at > LATER
        assert len(f"end.{claimed(record).run if not record.ended else record.run}") < 64
        assert read_record(record.write()) == record
    assert told


def test_a_number_that_is_none_is_no_fraction() -> None:
    for written in (b"NaN", b"Infinity", b"1e400"):
        with pytest.raises(BadRecord, match="fraction"):
            read_record(running().write()[:-1] + b',"fraction":' + written + b"}")


def test_half_a_character_does_not_keep_a_record_from_being_written() -> None:
    """An error that names an odd file, a reason from a careless client."""
    record = failed(told_to_stop(running(), "\ud800", AT), {"message": "no \udcff"}, LATER)
    read = read_record(record.write())
    assert (read.cancel_reason, read.error) == ("?", {"message": "no ?"})
    assert read == record.changed(cancel_reason="?", error={"message": "no ?"})


def test_a_field_of_a_later_version_is_no_harm() -> None:
    assert read_record(running().write()[:-1] + b',"more":{"a":1}}') == running()
