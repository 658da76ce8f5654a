"""What waits: conflation, order, bounds. The clock is the test's own."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.outbox import Item, Outbox
from milepost_reporter.payload import encode

ALL = 1_000_000


def outbox(interval: float = 1.0, max_events: int = 100, max_bytes: int = 1_000_000) -> Outbox:
    return Outbox(interval=interval, max_events=max_events, max_bytes=max_bytes)


def log(number: int) -> bytes:
    return encode({"kind": "log", "message": str(number)})


def told(items: list[Item]) -> list[str]:
    """Each event in one word: a log's message, a node's id and count, or the end."""
    words = []
    for item in items:
        event = json.loads(item.payload)
        words.append("end" if item.end else event.get("message") or f"{event['nodeId']}:{event['rowCount']}")
    return words


def rows(node: int, count: int) -> dict[str, Any]:
    return {"nodeId": node, "rowCount": count, "status": "running"}


def test_the_newest_value_of_a_node_takes_the_place_of_the_one_before() -> None:
    box = outbox()
    for count in range(5):
        box.put_progress(1, rows(1, count))
    assert told(box.take(0, ALL, ALL)) == ["1:0"]
    assert told(box.take(1, ALL, ALL)) == ["1:4"]
    assert box.conflated == 3
    assert len(box) == 0


def test_at_most_one_an_interval_and_the_newest_gets_out_without_another_call() -> None:
    box = outbox(interval=1.0)
    sent = []
    for tick in range(100):
        box.put_progress(1, rows(1, tick))
        sent += [(tick / 10, word) for word in told(box.take(tick / 10, ALL, ALL))]
    sent += [(11.0, word) for word in told(box.take(11.0, ALL, ALL))]
    times = [at for at, _ in sent]
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(times))
    assert sent[0] == (0.0, "1:0")
    assert sent[-1][1] == "1:99"


def test_it_says_when_there_will_be_something() -> None:
    box = outbox(interval=1.0)
    assert box.next_due(5) is None
    box.put_progress(1, rows(1, 0))
    assert box.next_due(5) == 5
    box.take(5, ALL, ALL)
    box.put_progress(1, rows(1, 1))
    assert box.take(5.5, ALL, ALL) == []
    assert box.next_due(5.5) == 6
    assert told(box.take(6, ALL, ALL)) == ["1:1"]


def test_first_and_last_go_at_once_and_are_never_replaced_by_values_between() -> None:
    box = outbox(interval=100)
    for count in range(5):
        box.put_progress(1, rows(1, count))
    box.put_progress(1, rows(1, 9), last=True)
    assert told(box.take(0, ALL, ALL)) == ["1:0", "1:9"]


def test_the_last_value_goes_behind_what_was_put_before_it() -> None:
    box = outbox()
    box.put_progress(1, rows(1, 0))
    box.put_progress(1, rows(1, 1))
    box.put("log", log(7))
    box.put_progress(1, rows(1, 2), last=True)
    box.put("log", log(8))
    assert told(box.take(0, ALL, ALL)) == ["1:0", "7", "1:2", "8"]


def test_one_node_does_not_wait_for_another() -> None:
    box = outbox(interval=1)
    box.put_progress(1, rows(1, 0))
    assert told(box.take(0, ALL, ALL)) == ["1:0"]
    box.put_progress(1, rows(1, 1))
    box.put_progress(2, rows(2, 0))
    assert told(box.take(0.5, ALL, ALL)) == ["2:0"]


def test_the_end_is_last_and_waits_for_nobodys_interval() -> None:
    box = outbox(interval=100, max_events=2)
    box.put_progress(1, rows(1, 0))
    box.take(0, ALL, ALL)
    box.put("log", log(1))
    box.put("log", log(2))
    box.put_progress(1, rows(1, 5))
    box.put_end(b"{}")
    assert told(box.take(0, 2, ALL)) == ["1", "2"]
    assert told(box.take(0, ALL, ALL)) == ["1:5", "end"]
    assert len(box) == 0


def test_over_the_bound_events_are_dropped_counted_and_told_of_when_there_is_room() -> None:
    box = outbox(max_events=4)
    assert [box.put("log", log(number)) for number in range(6)] == [True] * 4 + [False] * 2
    assert not box.put("artifact", b"{}")
    assert box.dropped == {"log": 2, "artifact": 1}
    assert told(box.take(0, 1, ALL)) == ["0"]
    words = told(box.take(0, 1, ALL)) + told(box.take(0, ALL, ALL))
    assert words[:3] == ["1", "2", "3"]
    assert words[3].startswith("3 events were dropped")
    assert box.take(0, ALL, ALL) == []


def test_what_was_dropped_is_told_before_the_end() -> None:
    box = outbox(max_events=1)
    box.put("log", log(0))
    box.put("log", log(1))
    box.put_end(b"{}")
    words = told(box.take(0, ALL, ALL)) + told(box.take(0, ALL, ALL))
    assert words[0] == "0"
    assert words[1].startswith("1 event was dropped")
    assert words[2] == "end"


def test_bytes_are_bounded_too() -> None:
    box = outbox(max_bytes=100)
    assert box.put("log", b"x" * 60)
    assert not box.put("log", b"x" * 60)
    assert box.put("log", b"x" * 40)


def test_endless_nodes_are_bounded_too() -> None:
    """A job that makes a node for every file, with NATS away."""
    box = outbox(max_events=50)
    for node in range(1_000):
        box.put_progress(node, rows(node, 0))
        box.put_progress(node, rows(node, 1), last=True)
    assert len(box) <= 50
    assert box.dropped["progress"] == 2_000 - 50


def test_a_batch_is_bounded_in_bytes() -> None:
    box = outbox()
    for _ in range(10):
        box.put("log", b"x" * 1_000)
    assert len(box.take(0, ALL, 2_500)) == 3


def test_nodes_that_are_over_are_forgotten() -> None:
    """Millions of nodes, one after the other, leave nothing behind."""
    box = outbox(interval=0.1)
    for node in range(5_000):
        box.put_progress(node, rows(node, 0))
        box.take(node, ALL, ALL)
    assert len(box._sent_at) < 2_500


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("log"), st.just(0)),
            st.tuples(st.just("node"), st.integers(0, 2)),
            st.tuples(st.just("last"), st.integers(0, 2)),
            st.tuples(st.just("take"), st.integers(1, 5)),
        ),
        max_size=60,
    ),
    st.sampled_from([0.0, 3.0, 1_000.0]),
)
def test_kept_events_come_once_in_order_and_nodes_end_with_their_newest_value(
    steps: list[tuple[str, int]], interval: float
) -> None:
    box = outbox(interval=interval)
    out: list[str] = []
    newest: dict[int, int] = {}
    logs = []
    for clock, (what, which) in enumerate(steps):
        if what == "take":
            out += told(box.take(clock, which, ALL))
        elif what == "log":
            box.put("log", log(clock))
            logs.append(str(clock))
        else:
            newest[which] = clock
            box.put_progress(which, rows(which, clock), last=what == "last")
    box.put_end(b"{}")
    while len(box):
        out += told(box.take(len(steps), 7, ALL))
    assert out.pop() == "end"
    assert [word for word in out if ":" not in word] == logs
    for node in range(3):
        counts = [int(word.split(":")[1]) for word in out if word.startswith(f"{node}:")]
        assert counts == sorted(set(counts)), "a node never goes back"
        assert (counts[-1] if counts else None) == newest.get(node)


@pytest.mark.parametrize("fields", [{"nodeId": 1, "rowCount": 10**5_000}, {"nodeId": 1, "x": object()}])
def test_progress_that_json_cannot_say_is_counted(fields: dict[str, Any]) -> None:
    box = outbox()
    box.put_progress(1, fields)
    box.put("log", log(1))
    assert told(box.take(0, ALL, ALL)) == ["1"]
    assert box.refused == 1
