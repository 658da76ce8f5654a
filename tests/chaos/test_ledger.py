"""What the log amounts to, and whether publishers got everything into it."""

from __future__ import annotations

from chaos.ledger import Entry, Ledger, misstored, number_of
from tests.chaos.logs import a_log, entry


def test_numbers_are_found_in_lines_and_artifacts() -> None:
    assert number_of(b'{"kind":"log","message":"#17 ..."}') == 17
    assert number_of(b'{"kind":"artifact","data":{"name":"a","uri":"s3://bucket/#3"}}') == 3
    assert number_of(b'{"nodeId":1,"rowCount":5}') is None


def test_publishers_losses_doubles_and_swaps_are_counted() -> None:
    assert misstored(a_log(5), 5) == (0, 0, 0)
    assert misstored(a_log(5), 7) == (2, 0, 0)
    assert misstored(a_log(5), None) == (0, 0, 0), "a publisher that was killed need not have come to its end"
    holes = Ledger("1", [entry(1, 1), entry(2, 3), entry(3, 4)])
    assert misstored(holes, None) == (1, 0, 0)
    assert misstored(Ledger("1", [entry(1, 1), entry(2, 2), entry(3, 2)]), 2) == (0, 1, 0)
    assert misstored(Ledger("1", [entry(1, 2), entry(2, 1)]), 2) == (0, 0, 1)


def test_a_reporters_event_that_is_stored_twice_is_told() -> None:
    """Readers go by the reporter's own count and never see it; the publisher is at fault all the same."""
    twice = [Entry(seq, seq, entry(seq, 1).payload, source=("r", 1)) for seq in (1, 2)]
    ledger = Ledger("1", twice)
    assert (len(ledger.live), misstored(ledger, 1)) == (1, (0, 1, 0))


def test_a_reporters_event_that_is_stored_behind_later_ones_is_out_of_order() -> None:
    """Progress has no number of its own: the reporter's count tells of it."""
    places = enumerate((1, 2, 4, 3, 6), 1)
    entries = [entry(seq, nodeId=1, status="running")._replace(source=("r", count)) for seq, count in places]
    ledger = Ledger("1", entries)
    assert (len(ledger.live), misstored(ledger, None)) == (5, (1, 0, 1))


def test_the_first_end_of_a_run_is_its_end_and_the_next_run_has_its_own() -> None:
    ledger = a_log(
        2,
        entry(3, kind="job", status="failed", willRetry=True),
        entry(4, kind="job", status="completed"),
        entry(5, kind="job", status="running", run=2),
        entry(6, kind="job", status="completed", run=1),
        entry(7, run=2, kind="job", status="completed"),
        entry(8),
    )
    assert {run: each.seq for run, each in ledger.ends.items()} == {1: 3, 2: 7}
    assert [each.seq for each in ledger.late] == [4, 6, 8]


def test_when_something_was_stored_is_not_rounded_up() -> None:
    """A snapshot shows milliseconds that have passed."""
    stored = Entry(1, 1_700_000_000_897_999_999, b"{}").at
    assert stored.isoformat(timespec="milliseconds") == "2023-11-14T22:13:20.897+00:00"


def test_where_a_reader_stands_behind_a_cursor() -> None:
    late = entry(4, kind="job", status="failed")
    ledger = a_log(2, entry(3, kind="job", status="completed"), late)
    assert [ledger.behind(cursor) for cursor in (None, entry(1).cursor, entry(3).cursor, late.cursor)] == [0, 1, 3, 3]
    assert ledger.holds(late.cursor)
    assert not ledger.holds("4-4")


def test_progress_that_a_newer_one_of_its_node_replaces() -> None:
    ledger = Ledger(
        "1", [entry(seq, nodeId=node, rowCount=seq, status="running") for seq, node in enumerate((1, 2, 1, 1, 2), 1)]
    )
    assert ledger.conflatable() == {0, 1, 2}
