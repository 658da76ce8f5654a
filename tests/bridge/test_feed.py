"""The gap rule: what the live path brings is delivered only when nothing can be missing before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_bridge.admission import Admission
from milepost_bridge.cursor import Cursor
from milepost_bridge.feed import MOST_HELD, Feed, Live, Step, live_of, read_live
from milepost_bridge.place import Place, place_of
from milepost_reporter.jetstream.header import to_rfc3339

PROGRESS = b"tenant.acme.job.7.progress"
END = b"tenant.acme.job.7.end.1"
SECOND = 1_000_000_000


def place(subject: bytes) -> Place:
    known = place_of(subject)
    assert known is not None
    return known


def live(seq: int, last: int, subject: bytes = PROGRESS, time: int | None = None) -> Live:
    return live_of(place(subject), subject, seq, last, time or seq * SECOND, b"{}", None)


def feed(seq: int = 0, last_on_progress: int | None = None) -> Feed:
    begun = Feed()
    begun.begin(Cursor(seq, seq * SECOND), seq if last_on_progress is None else last_on_progress, seq, Admission())
    begun.filling = False
    return begun


def test_the_next_one_is_delivered() -> None:
    """Behind exactly the one before it on its subject; other jobs' sequences between do not matter."""
    assert feed(10).step(live(25, last=10)) is Step.DELIVER
    assert feed(0).step(live(3, last=0)) is Step.DELIVER


def test_what_has_been_here_is_dropped() -> None:
    """The same sequence, or an older one, stored no later."""
    assert feed(10).step(live(10, last=4)) is Step.DROP
    assert feed(10).step(live(4, last=0)) is Step.DROP


def test_a_lost_predecessor_asks_the_log() -> None:
    """Also when the one before it is older than what was had: then something is wrong with the stream."""
    assert feed(10).step(live(25, last=20)) is Step.FILL
    assert feed(10).step(live(25, last=3)) is Step.FILL


def test_another_life_of_the_stream_is_not_taken_for_old_messages() -> None:
    """A lower sequence, stored later."""
    assert feed(10).step(live(2, last=1, time=99 * SECOND)) is Step.FILL


def test_an_end_asks_the_log_first() -> None:
    """Its subject knows nothing of what may be missing on `.progress`."""
    assert feed(10).step(live(11, last=0, subject=END)) is Step.FILL


def test_the_next_progress_after_an_end_is_told_by_progress_alone() -> None:
    """A run's end stands between, on a subject of its own."""
    following = feed(10)
    following.took(place(END), Cursor(11, 11 * SECOND))
    assert following.step(live(12, last=10)) is Step.DELIVER


def test_what_is_held_is_bounded() -> None:
    """Beyond the bound it is let go, and the log must be read again."""
    following = feed()
    for seq in range(1, MOST_HELD + 2):
        following.hold(live(seq, seq - 1))
    held, again = following.held()
    assert (len(held), again) == (1, True)
    assert following.held() == ([], False)


@given(st.lists(st.integers(1, 50), unique=True))
def test_what_is_held_comes_out_in_order(seqs: list[int]) -> None:
    """Whatever order it came in."""
    following = feed()
    for seq in seqs:
        following.hold(live(seq, 0))
    assert [each.seq for each in following.held()[0]] == sorted(seqs)


def test_the_servers_own_headers_are_read() -> None:
    """The last of a repeated one: a publisher's forgery stands before it."""
    headers = (
        b"NATS/1.0\r\nNats-Sequence: 1\r\nNats-Last-Sequence: 0\r\nNats-Time-Stamp: 1999-01-01T00:00:00Z\r\n"
        b"Nats-Sequence: 8\r\nNats-Last-Sequence: 5\r\n"
        b"Nats-Time-Stamp: %b\r\n\r\n" % to_rfc3339(7 * SECOND + 1).encode()
    )
    read = read_live(place(PROGRESS), PROGRESS, b"{}", headers)
    assert read is not None
    assert (read.seq, read.last, read.time) == (8, 5, 7 * SECOND + 1)


@pytest.mark.parametrize("headers", [None, b"", b"NATS/1.0\r\n\r\n", b"NATS/1.0\r\nNats-Sequence: x\r\n\r\n"])
def test_what_the_stream_has_not_passed_on_is_not_live(headers: bytes | None) -> None:
    """Somebody published to the log's own subjects."""
    assert read_live(place(PROGRESS), PROGRESS, b"{}", headers) is None
