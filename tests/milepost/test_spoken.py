"""What is told of what a command says: its lines at a bounded rate, and its bars as nodes."""

from __future__ import annotations

import math
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.recording import RecordingReporter
from milepost_reporter.reporter import Reporter
from tqdm import tqdm

from milepost.spoken import Bucket, Spoken


class Heard:
    """A command's outputs, and what came of them."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - Spoken's own
        self.reporter: RecordingReporter = Reporter.recording()
        self.reporter.begin()
        self.spoken = Spoken(self.reporter, **settings)
        self.spoken.output()

    def say(self, data: bytes, now: float = 0.0, output: int = 0) -> None:
        self.spoken.feed(output, data, now)

    @property
    def logs(self) -> list[str]:
        return [event["message"] for event in self.reporter.of_kind("log")]

    @property
    def nodes(self) -> list[tuple[Any, ...]]:
        """Each node's name, count, total, unit, status."""
        fields = ("nodeName", "rowCount", "total", "unit", "status")
        return [tuple(node.get(field) for field in fields) for node in self.reporter.state.snapshot()["nodes"]]

    def settled(self) -> list[tuple[Any, ...]]:
        """The same at the end, when the last counts have been told."""
        self.spoken.finish(99.0)
        self.reporter.close()
        return self.nodes


def test_a_bucket_holds_its_burst_and_fills_at_its_rate() -> None:
    bucket = Bucket(2, 3)
    assert [bucket.take(1, 10.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(1, 11.0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(4, 1_000.0)
    assert bucket.take(3, 1_000.0)


def test_lines_are_log_lines_and_the_unfinished_one_is_told_at_the_end() -> None:
    heard = Heard()
    heard.say(b"one\n\n\x1b[32mtwo\x1b[0m\nthr")
    assert heard.logs == ["one", "two"]
    heard.say(b"ee")
    heard.spoken.finish(1.0)
    assert heard.logs == ["one", "two", "three"]
    assert heard.spoken.last_lines(0) == "one\ntwo\nthree"


def test_beyond_the_rate_lines_are_counted_and_the_last_of_them_told() -> None:
    heard = Heard(rate=5, burst=10)
    heard.say(b"".join(b"line %d\n" % number for number in range(1_000)))
    assert heard.logs == [f"line {number}" for number in range(10)]
    heard.say(b"later\n", 0.5)
    heard.spoken.look(0.9)
    assert len(heard.logs) == 10
    heard.spoken.look(1.0)
    told = ["987 lines were left out here: too many a second", "line 997", "line 998", "line 999", "later"]
    assert heard.logs[10:] == told
    heard.say(b"and on\n", 5.0)
    assert heard.logs[-1] == "and on"


def test_at_the_end_nothing_waits() -> None:
    heard = Heard(rate=5, burst=10)
    heard.say(b"".join(b"line %d\n" % number for number in range(100_000)) + b"the last word")
    heard.spoken.finish(0.1)
    assert heard.logs[10] == "99,987 lines were left out here: too many a second"
    assert heard.logs[-1] == "the last word"
    assert heard.spoken.last_lines(0).endswith("line 99999\nthe last word")


def test_one_line_too_many_is_told_when_there_is_room() -> None:
    heard = Heard(rate=5, burst=2)
    heard.say(b"one\ntwo\nthree\n")
    heard.spoken.look(2.0)
    assert heard.logs == ["one", "two", "three"]


@given(
    st.lists(st.tuples(st.integers(1, 3_000), st.floats(0, 2)), max_size=20), st.integers(1, 300), st.floats(0.1, 100)
)
def test_every_line_is_told_or_counted(bursts: list[tuple[int, float]], burst: int, rate: float) -> None:
    heard = Heard(rate=rate, burst=burst)
    now, said = 0.0, 0
    for number, pause in bursts:
        heard.say(b"".join(b"%d\n" % line for line in range(said, said + number)), now)
        said += number
        now += pause
    heard.spoken.finish(now)
    told = [line for line in heard.logs if line.isdigit()]
    left_out = [int(line.partition(" ")[0].replace(",", "")) for line in heard.logs if not line.isdigit()]
    assert len(told) + sum(left_out) == said
    assert told == sorted(set(told), key=int)
    assert len(heard.logs) <= burst + rate * now + 12 + len(bursts)


def test_two_outputs_share_the_rate_and_their_last_words_do_not_mix() -> None:
    heard = Heard(rate=1, burst=3)
    heard.spoken.output()
    heard.say(b"out 1\nout 2\n", 0.0, 0)
    heard.say(b"err 1\nerr 2\n", 0.0, 1)
    assert heard.logs == ["out 1", "out 2", "err 1"]
    assert (heard.spoken.last_lines(0), heard.spoken.last_lines(1)) == ("out 1\nout 2", "err 1\nerr 2")


def test_a_rate_of_nothing_tells_no_line_and_still_bars() -> None:
    heard = Heard(rate=0)
    heard.say(b"secret\n" * 10_000 + b"\r" + tqdm.format_meter(5, 10, 1.0).encode())
    heard.spoken.look(5.0)
    assert heard.settled()[0][1:3] == (5, 10)
    assert heard.logs == []
    assert heard.spoken.last_lines(0).startswith("secret")


def bar(n: int, total: int | None, name: str = "", unit: str = "it", postfix: str = "") -> bytes:
    return b"\r" + tqdm.format_meter(n, total or 0, 1.0, prefix=name, unit=unit, postfix=postfix).encode()


def test_a_rate_without_bounds_tells_every_line() -> None:
    heard = Heard(rate=math.inf, burst=2)
    heard.say(b"line\n" * 50)
    assert heard.logs == ["line"] * 50


def test_a_bar_is_a_node_and_no_log_line() -> None:
    heard = Heard()
    for n in range(11):
        heard.say(bar(n, 10, "Load", unit=" rows", postfix=f"loss={n}"))
    heard.say(b"\ndone\n")
    assert heard.nodes == [("Load", 10, 10, "rows", "completed")]
    assert heard.reporter.state.snapshot()["nodes"][0]["message"] == "loss=10"
    assert heard.logs == ["done"]


def test_what_is_printed_behind_a_bar_is_a_line() -> None:
    heard = Heard()
    heard.say(b"\rLoad:  50%|#    | 1/2 [00:00<00:00,  1.00it/s]row 1 has no date\n")
    heard.say(b"\rLoad:  50%|#    | 1/2 [00:00<00:00,  1.00it/s]")
    heard.say(b"Traceback (most recent call last):\nValueError: x\n")
    assert heard.logs == ["row 1 has no date", "Traceback (most recent call last):", "ValueError: x"]
    assert heard.spoken.last_lines(0) == "\n".join(heard.logs)
    assert heard.settled() == [("Load", 1, 2, "it", "running")]


def test_a_bar_that_line_feeds_push_down_is_the_same_node() -> None:
    heard = Heard()
    for rows in range(4):
        heard.say(f"\rLoad:  {rows}0%|#    | {rows}/10 [00:00<00:00,  1.00it/s]".encode())
        heard.say(b"printed\n" if rows % 2 else b"\nprinted\n")
    assert heard.logs == ["printed"] * 4
    assert heard.settled() == [("Load", 3, 10, "it", "running")]


def test_a_bar_without_a_name_and_without_a_total() -> None:
    heard = Heard()
    heard.say(bar(7, None) + b"\n")
    heard.reporter.complete()
    assert heard.nodes == [("progress", 7, None, "it", "completed")]


def test_bars_may_be_left_as_lines() -> None:
    heard = Heard(bars=False)
    heard.say(bar(1, 10) + bar(10, 10) + b"\n")
    assert heard.nodes == []
    assert len(heard.logs) == 1


def test_a_bar_that_begins_again_is_the_same_node() -> None:
    heard = Heard()
    for _ in range(3):
        heard.say(bar(0, 3, "epoch") + bar(3, 3, "epoch") + b"\n")
    heard.say(bar(1, 3, "epoch"))
    assert heard.settled() == [("epoch", 1, 3, "it", "running")]


def test_bars_of_one_name_at_the_same_time_are_several_nodes_also_when_they_scroll() -> None:
    heard = Heard()
    heard.say(bar(1, 10) + b"\n" + bar(2, 20) + b"\x1b[A")
    # as tqdm.write: cleared, a line above, drawn again one row below
    heard.say(b"\r" + b" " * 80 + b"\r\n" + b"\r" + b" " * 80 + b"\r\x1b[A" + b"a line\n")
    heard.say(bar(3, 10) + b"\n" + bar(4, 20) + b"\x1b[A")
    assert [node[1:3] for node in heard.settled()] == [(3, 10), (4, 20)]
    assert heard.logs == ["a line"]


def test_bars_are_bounded_in_number() -> None:
    heard = Heard()
    for number in range(1_000):
        heard.say(bar(1, 10, f"file {number}") + b"\n")
    assert len({event["nodeId"] for event in heard.reporter.events if "nodeId" in event}) == 256


def test_bars_are_seen_in_the_middle_of_a_flood() -> None:
    heard = Heard()
    heard.say(b"y\n" * 100_000 + bar(5, 10))
    assert heard.nodes == []
    heard.spoken.look(1.0)
    assert heard.settled() == [("progress", 5, 10, "it", "running")]


def test_a_line_that_changes_all_the_time_is_not_read_to_the_last_byte() -> None:
    heard = Heard()
    for n in range(2_000):
        heard.say(bar(n, 10_000) * 100, 0.001 * n)
    heard.spoken.look(9.0)
    assert heard.settled() == [("progress", 1_999, 10_000, "it", "running")]
    assert heard.logs == []


@given(st.lists(st.binary(max_size=200) | st.just(bar(1, 2)) | st.just(b"\n" * 9_000), max_size=50), st.randoms())
def test_whatever_is_said_nothing_is_raised_and_little_is_kept(pieces: list[bytes], order: random.Random) -> None:
    heard = Heard(rate=1, burst=5)
    now = 0.0
    for piece in pieces:
        heard.say(piece, now)
        now += order.random()
    heard.settled()
    assert heard.reporter.stats.refused == 0
    assert len(heard.spoken.last_lines(0)) <= 20 * 4_098
