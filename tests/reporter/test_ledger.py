"""When a reporter's record is due, and what it counts."""

import json
from typing import Any

from milepost_reporter.acks import STALL, Arrived
from milepost_reporter.ledger import APART, Ledger
from milepost_reporter.record import SUMMARY_HEADER, parse_record
from milepost_reporter.window import Sent


def arrived(number: int, seq: int | None = None, *, kept: bool = True, **fields: Any) -> Arrived:  # noqa: ANN401
    return Arrived(Sent(number, "s", json.dumps(fields).encode()), seq, kept)


def ledger() -> Ledger:
    return Ledger("1", 2, owner=True)


def test_at_once_for_the_first_then_apart_and_at_once_when_the_status_changes() -> None:
    book = ledger()
    assert book.due(10) is None
    book.take(arrived(1, 1, status="running"), 10)
    assert book.due(10) == 10
    book.acknowledged(book.write(10, 30).number)
    assert book.due(11) is None
    book.take(arrived(2, 2, message="m"), 10)
    assert book.due(11) == 10 + APART
    book.take(arrived(3, 3, status="completed"), 10)
    assert book.due(11) == 11


def test_the_first_record_counts_nothing_and_holds_nothing_up() -> None:
    """It says the run before any event has; the next is due with the first stored event, whatever that says."""
    book = ledger()
    assert book.unopened
    opening = book.open(30)
    record = parse_record("r", opening.payload)
    assert (record.count, record.seq, record.run, record.owner, record.lease) == (0, 0, 2, True, 30)
    assert json.loads(opening.summary[SUMMARY_HEADER])["run"] == 2
    assert book.due(10) is None, "without a stored event there is nothing more to tell"
    book.acknowledged(opening.number)
    assert not book.unopened
    assert book.due(10) is None
    book.take(arrived(1, 1, kind="job", name="no status"), 10)
    assert book.due(10) == 10


def test_a_stored_event_that_is_none_is_counted_all_the_same() -> None:
    """A record that counts nothing has readers read the whole log."""
    book = ledger()
    book.acknowledged(book.open(None).number)
    book.take(Arrived(Sent(1, "s", b"no event"), 4, kept=True), 10)
    assert book.due(10) == 10
    record = parse_record("r", book.write(10, None).payload)
    assert (record.count, record.seq) == (1, 4)


def test_an_unacknowledged_record_is_written_again() -> None:
    book = ledger()
    book.take(arrived(1, 1, status="running"), 10)
    first = book.write(10, None)
    assert not book.settled
    assert book.due(10) == 10 + STALL
    second = book.write(12, None)
    book.acknowledged(first.number)
    assert not book.settled
    book.acknowledged(second.number)
    assert book.settled


def test_leaving_there_is_no_waiting() -> None:
    book = ledger()
    book.take(arrived(1, 1, status="running"), 10)
    book.acknowledged(book.write(10, None).number)
    book.hurry()
    assert book.due(10) is None
    book.take(arrived(2, 2, message="m"), 10)
    book.hurry()
    assert book.due(10) == 10


def test_nothing_is_due_before_something_is_stored() -> None:
    book = ledger()
    book.take(arrived(1, status="running"), 10)
    assert book.due(10) is None


def test_what_is_counted() -> None:
    """Refused events count, and say nothing; events without a run are of this one."""
    book = ledger()
    book.take(arrived(1, 5, nodeId=1, status="running"), 10)
    book.take(arrived(2, None, kept=False, message="refused"), 10)
    book.take(Arrived(Sent(3, "s", b"no event"), 6, kept=True), 10)
    writing = book.write(10, 30)
    record = parse_record("r", writing.payload)
    assert (record.count, record.seq, record.run, record.owner, record.lease) == (3, 6, 2, True, 30)
    assert record.job.message is None
    assert json.loads(writing.summary[SUMMARY_HEADER])["run"] == 2


def test_a_record_that_is_not_early_waits_for_the_end_or_two_seconds() -> None:
    """Nothing goes ahead of the first event; after the first record all is as with others."""
    book = Ledger("1", 2, owner=True, early=False)
    assert not book.unopened
    book.take(arrived(1, 1, status="running"), 10)
    assert book.due(10) == 10 + APART
    book.take(arrived(2, 2, message="m"), 11)
    assert book.due(11) == 10 + APART
    book.acknowledged(book.write(12, None).number)
    book.take(arrived(3, 3, status="cancelling"), 12.5)
    assert book.due(12.5) == 12.5
    short = Ledger("1", 2, owner=True, early=False)
    short.take(arrived(1, 1, status="running"), 10)
    short.take(Arrived(Sent(2, "s", b'{"status":"completed"}', end=True), 2, kept=True), 10.1)
    assert short.due(10.1) == 10.1
