"""The judge finds whatever is planted, and nothing where nothing is off."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.judge import Finding, differences, judge, pictures
from chaos.ledger import Ledger
from chaos.reading import Asked, Closed, Delivered, Gap, Item, Reborn, Refused, Snapshot
from tests.chaos.logs import a_log, a_reading, entry, sent

END = entry(11, kind="job", status="completed")


def counts(finding: Finding) -> tuple[int, int, int]:
    return finding.lost, finding.duplicated, finding.disordered


def a_snapshot(ledger: Ledger, count: int) -> Snapshot:
    return Snapshot(ledger.live[count - 1].cursor if count else None, ledger.reduced(count))


def test_a_reading_that_is_right() -> None:
    ledger = a_log(10, END)
    finding = judge(a_reading(*sent(ledger.live)), [ledger])
    assert finding == Finding(delivered=11, ends={1: 1})


@given(st.integers(1, 30), st.randoms(use_true_random=False))
def test_every_planted_loss_duplicate_and_swap_is_counted(events: int, chance: random.Random) -> None:
    """One of each at a random place: the counts are exact, and name the right one."""
    ledger = a_log(events + 1)
    frames = sent(ledger.live)
    place = chance.randrange(events)
    without = [frame for number, frame in enumerate(frames) if number != place]
    finding = judge(a_reading(*without), [ledger])
    assert (counts(finding), finding.holes) == ((1, 0, 0), [" to ".join([ledger.live[place].cursor] * 2)])
    twice = [*frames[: place + 1], *frames[place:]]
    assert counts(judge(a_reading(*twice), [ledger])) == (0, 1, 0)
    swapped = [*frames[:place], frames[place + 1], frames[place], *frames[place + 2 :]]
    assert counts(judge(a_reading(*swapped), [ledger])) == (0, 0, 1)


def test_a_tail_that_never_came_is_lost() -> None:
    ledger = a_log(10)
    reading = a_reading(*sent(ledger.live[:7]))
    assert counts(judge(reading, [ledger])) == (3, 0, 0)
    assert counts(judge(reading, [ledger], whole=False)) == (0, 0, 0)


def test_what_came_again_over_a_reconnect_is_double() -> None:
    ledger = a_log(10)
    again: list[Item] = [Closed(None), Asked(ledger.live[4].cursor), *sent(ledger.live[4:])]
    assert counts(judge(a_reading(*sent(ledger.live[:5]), *again), [ledger])) == (0, 1, 0)


def test_what_fell_between_two_connections_is_lost() -> None:
    ledger = a_log(10)
    again: list[Item] = [Closed(1006), Asked(ledger.live[4].cursor), *sent(ledger.live[6:])]
    assert counts(judge(a_reading(*sent(ledger.live[:5]), *again), [ledger])) == (1, 0, 0)


def test_a_second_end_is_counted() -> None:
    ledger = a_log(10, END)
    finding = judge(a_reading(*sent(ledger.live), *sent(ledger.live[-1:])), [ledger])
    assert finding.ends == {1: 2}


def test_a_late_event_that_is_delivered_is_a_problem() -> None:
    late = entry(12, kind="job", status="failed")
    ledger = a_log(10, END, late)
    assert [each.seq for each in ledger.late] == [12]
    finding = judge(a_reading(*sent(ledger.entries)), [ledger])
    assert ["late event" in problem for problem in finding.problems] == [True]


def test_other_bytes_and_strangers_are_problems() -> None:
    ledger = a_log(2)
    first, second = ledger.live
    altered = Delivered(second.cursor, b'{"kind": "log", "message": "#7"}')
    stranger = Delivered("3-17", b'{"message": "x"}')
    finding = judge(a_reading(*sent([first]), altered, stranger), [ledger])
    assert ["other bytes" in finding.problems[0], "never stored" in finding.problems[1]] == [True, True]


def test_without_a_cursor_the_snapshot_says_where_events_begin() -> None:
    ledger = a_log(10)
    right = judge(a_reading(a_snapshot(ledger, 6), *sent(ledger.live[6:]), after=None), [ledger])
    assert (counts(right), right.problems) == ((0, 0, 0), [])
    assert counts(judge(a_reading(a_snapshot(ledger, 6), *sent(ledger.live[7:]), after=None), [ledger])) == (1, 0, 0)
    assert counts(judge(a_reading(a_snapshot(ledger, 6), *sent(ledger.live[5:]), after=None), [ledger])) == (0, 1, 0)


def test_a_snapshot_nobody_asked_for_is_a_problem() -> None:
    ledger = a_log(4)
    finding = judge(a_reading(*sent(ledger.live[:2]), a_snapshot(ledger, 3), *sent(ledger.live[3:])), [ledger])
    assert len(finding.problems) == 1


def test_a_snapshot_that_says_the_end_counts_as_one() -> None:
    ledger = a_log(10, END)
    assert judge(a_reading(a_snapshot(ledger, 11), after=None), [ledger]).ends == {1: 1}
    both = judge(a_reading(a_snapshot(ledger, 11), *sent(ledger.live[10:]), after=None), [ledger])
    assert (both.ends, both.duplicated) == ({1: 2}, 1)


def test_who_comes_with_the_cursor_of_the_end_knows_it() -> None:
    ledger = a_log(10, END)
    finding = judge(a_reading(after=END.cursor), [ledger])
    assert (counts(finding), finding.ends) == ((0, 0, 0), {1: 1})
    assert judge(a_reading(*sent(ledger.live[10:]), after=ledger.live[9].cursor), [ledger]).ends == {1: 1}


def test_a_gap_excuses_what_lies_before_its_snapshot_and_nothing_else() -> None:
    ledger = a_log(20)
    gap = Gap("retention", None, None)
    items = [*sent(ledger.live[:5]), gap, a_snapshot(ledger, 12), *sent(ledger.live[13:])]
    finding = judge(a_reading(*items), [ledger], gaps=["retention"])
    assert (counts(finding), finding.problems, finding.gaps["retention"]) == ((1, 0, 0), [], 1)
    assert len(judge(a_reading(*items), [ledger]).problems) == 1, "it was not due"


def test_a_hole_before_a_gap_is_not_excused() -> None:
    ledger = a_log(20)
    frames = sent(ledger.live)
    reading = a_reading(*frames[:3], *frames[4:6], Gap("retention", None, None), a_snapshot(ledger, 20))
    assert counts(judge(reading, [ledger], gaps=["retention"])) == (1, 0, 0)


def test_events_where_a_snapshot_was_due_are_a_problem() -> None:
    ledger = a_log(5)
    reading = a_reading(*sent(ledger.live[:2]), Gap("retention", None, None), *sent(ledger.live[3:]))
    assert "before the snapshot" in judge(reading, [ledger], gaps=["retention"]).problems[0]


def test_a_cursor_of_another_life_must_be_told_to_be_foreign() -> None:
    """Both lives have the same sequence numbers; only their times differ."""
    old, new = a_log(5), a_log(8, life=1)
    told: list[Item] = [Gap("epoch", None, None), a_snapshot(new, 3), *sent(new.live[3:])]
    items: list[Item] = [*sent(old.live), Closed(None), Reborn()]
    right = judge(a_reading(*items, *told), [old, new], gaps=["epoch"])
    assert (counts(right), right.problems) == ((0, 0, 0), [])
    silent = judge(a_reading(*items, *sent(new.live[5:])), [old, new], gaps=["epoch"])
    assert "another life" in silent.problems[0]
    assert "never told" in judge(a_reading(*items), [old, new]).problems[0]


def test_a_cursor_that_both_lives_share_goes_on_without_a_word() -> None:
    shared = [entry(seq) for seq in range(1, 6)]
    old = Ledger("1", [*shared, *(entry(seq) for seq in range(6, 9))])
    new = Ledger("1", [*shared, *(entry(seq, life=1) for seq in range(6, 11))])
    reading = a_reading(*sent(old.live[:5]), Reborn(), *sent(new.live[5:]))
    finding = judge(reading, [old, new])
    assert (counts(finding), finding.problems) == ((0, 0, 0), [])


def test_latest_may_miss_what_a_newer_one_replaces_and_nothing_else() -> None:
    events = [entry(seq, nodeId=seq % 2, rowCount=seq, status="running") for seq in range(1, 9)]
    ledger = Ledger("1", [*events, entry(9)])
    kept = [*sent(events[6:]), *sent(ledger.live[8:])]
    assert counts(judge(a_reading(*kept), [ledger], conflated=True)) == (0, 0, 0)
    assert counts(judge(a_reading(*kept[1:]), [ledger], conflated=True)) == (1, 0, 0)
    assert counts(judge(a_reading(*kept[:-1]), [ledger], conflated=True)) == (1, 0, 0)
    assert counts(judge(a_reading(*kept), [ledger])) == (6, 0, 0)


def test_errors_that_a_reader_was_told_are_problems() -> None:
    assert judge(a_reading(Refused("bad_cursor", "what is that?")), [a_log(0)]).problems


@pytest.mark.parametrize("field", ["artifacts", "nodes", "logTail", "status"])
def test_a_snapshot_that_is_not_the_reduction_is_found(field: str) -> None:
    ledger = a_log(5, entry(6, nodeId=1, status="running"))
    right = a_snapshot(ledger, 6)
    assert pictures(a_reading(right, after=None), ledger) == []
    wrong = Snapshot(right.cursor, {**right.snapshot, field: "something else"})
    assert [field in told for told in pictures(a_reading(wrong, after=None), ledger)] == [True]
    assert differences(wrong.snapshot, right.snapshot) == {field}
