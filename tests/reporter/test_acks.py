"""What answers mean for the window."""

import json
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.acks import PATIENCE, PAUSE, STALL, Acks, Answer, What, read_answer
from milepost_reporter.window import Window

STORED = b'{"stream":"S","seq":%d}'


def stored(seq: int) -> Answer:
    return Answer(What.STORED, seq)


def refused(code: int, err_code: int) -> Answer:
    body = {"type": "x", "error": {"code": code, "err_code": err_code, "description": "words"}}
    return read_answer(None, json.dumps(body).encode())


class Sending:
    """A window of `events`, its rules, and a clock."""

    def __init__(self, events: int, *, jetstream: bool = True, clustered: bool = False, end: bool = False) -> None:
        self.window = Window(512, 1_000_000)
        for _ in range(events):
            self.window.add("s", b"x")
        if end:
            self.window.add("e", b"x", end=True)
        self.acks = Acks(self.window)
        self.moment = 100.0
        self.acks.connected(jetstream=jetstream, clustered=clustered, moment=self.moment)

    def send(self) -> list[str]:
        """Everything that may be sent now: the addresses."""
        addresses = []
        while (sent := self.acks.next(self.moment)) is not None:
            addresses.append(self.acks.sending(sent, self.moment))
        return addresses

    def answer(self, address: str, answer: Answer) -> What:
        return self.acks.answered(address, answer, self.moment)

    def wait(self, seconds: float) -> list[str]:
        self.moment += seconds
        self.acks.tick(self.moment)
        return self.send()

    def open(self) -> list[str]:
        """Have the first event answered; the others."""
        (first,) = self.send()
        self.answer(first, stored(1))
        return self.send()


def numbers(addresses: list[str]) -> list[int]:
    return [int(address.split(".")[1]) for address in addresses]


@pytest.mark.parametrize(
    ("status", "payload", "what"),
    [
        (None, b'{"stream":"S","seq":7}', What.STORED),
        (None, b'{"stream":"S","seq":7,"duplicate":true}', What.STORED),
        ("503", b"", What.NOBODY),
        (None, b"", What.NOTHING),
        (None, b"OK", What.NOTHING),
        (None, b"[" * 100_000, What.NOTHING),
        (None, b"[]", What.NOTHING),
        (None, b'{"stream":"S"}', What.NOTHING),
        (None, b'{"error":{"code":400,"err_code":10054,"description":"d"}}', What.REFUSED),
        (None, b'{"error":{"code":400,"err_code":10071}}', What.REFUSED),
        (None, b'{"error":{"code":400,"err_code":10164}}', What.AGAIN),
        (None, b'{"error":{"code":503,"err_code":10077}}', What.AGAIN),
        (None, b'{"error":{}}', What.AGAIN),
    ],
)
def test_what_an_answer_says(status: str | None, payload: bytes, what: What) -> None:
    assert read_answer(status, payload).what is what


@given(st.binary(max_size=60), st.none() | st.text(max_size=4))
def test_any_bytes_are_some_answer(payload: bytes, status: str | None) -> None:
    """Whoever listens may answer what they like."""
    assert isinstance(read_answer(status, payload), Answer)


def test_one_goes_first_and_the_others_when_it_is_stored() -> None:
    sending = Sending(5)
    (first,) = sending.send()
    assert sending.send() == []
    assert sending.answer(first, stored(10)) is What.STORED
    assert numbers(sending.send()) == [2, 3, 4, 5]
    assert sending.window.confirmed == 1


def test_confirmed_in_order_only() -> None:
    """An answer ahead of a missing one confirms nothing; the missing one goes again, alone, and all is well."""
    sending = Sending(5)
    others = sending.open()
    sending.answer(others[1], stored(3))
    sending.answer(others[2], stored(4))
    assert sending.window.confirmed == 1
    (again,) = sending.send()
    assert numbers([again]) == [2]
    sending.answer(others[3], stored(5))
    assert sending.window.confirmed == 1
    sending.answer(again, stored(2))
    assert sending.window.confirmed == 5
    assert [(a.sent.number, a.seq) for a in sending.acks.take_arrived()] == [(n, n) for n in range(1, 6)]
    assert sending.send() == []


def test_nobody_there() -> None:
    """The first goes again after a pause, alone; what else was in flight is not heard any more."""
    sending = Sending(4)
    others = sending.open()
    assert [sending.answer(address, Answer(What.NOBODY)) for address in others] == [
        What.NOBODY,
        What.NOTHING,
        What.NOTHING,
    ]
    assert sending.acks.nobody_since == sending.moment
    assert sending.acks.room == 0
    assert sending.wait(PAUSE / 2) == []
    (first,) = sending.wait(PAUSE / 2)
    assert numbers([first]) == [2]
    sending.answer(first, stored(2))
    assert sending.acks.nobody_since is None
    assert numbers(sending.send()) == [3, 4]


def test_a_stall_asks_again_with_one_event_and_late_answers_are_enough() -> None:
    sending = Sending(4)
    others = sending.open()
    assert sending.wait(STALL - 0.1) == []
    (first,) = sending.wait(0.2)
    assert numbers([first]) == [2]
    assert sending.wait(STALL - 0.1) == []
    for address in others:
        sending.answer(address, stored(9))
    assert sending.window.confirmed == 4
    sending.window.add("s", b"x")
    assert sending.send() == [], "the answer to the second sending is still to come"
    sending.answer(first, stored(2))
    assert numbers(sending.send()) == [5]


def test_a_new_connection_begins_with_the_first_unconfirmed() -> None:
    sending = Sending(4)
    others = sending.open()
    sending.answer(others[0], stored(2))
    sending.acks.connected(jetstream=True, moment=sending.moment)
    assert numbers(sending.send()) == [3]


def test_never_answered_the_pong_counts_and_nothing_is_sent_twice() -> None:
    sending = Sending(3)
    assert numbers(sending.send()) == [1]
    assert sending.wait(PATIENCE + 1) == [], "without a PONG the connection may be gone"
    assert sending.acks.wants_pong == 1
    sending.acks.ponged(1)
    assert sending.acks.wants_pong is None
    assert numbers(sending.wait(0)) == [2, 3]
    assert sending.acks.by_pong
    assert sending.window.confirmed == 1
    sending.acks.ponged(3)
    assert [a.seq for a in sending.acks.take_arrived()] == [None, None, None]


def test_an_answer_ends_counting_by_pong_for_good() -> None:
    sending = Sending(3)
    sending.send()
    sending.acks.ponged(1)
    _, third = sending.wait(PATIENCE)
    sending.answer(third, stored(1))
    assert sending.acks.ever
    assert not sending.acks.by_pong
    assert [(a.sent.number, a.seq) for a in sending.acks.take_arrived()] == [(1, None), (2, None), (3, 1)]
    sending.window.add("s", b"x")
    assert numbers(sending.send()) == [4]
    sending.acks.ponged(4)
    assert numbers(sending.wait(PATIENCE + STALL)) == [4]
    assert sending.window.confirmed == 3


def test_nobody_there_after_counting_by_pong_keeps_what_follows() -> None:
    sending = Sending(1)
    sending.send()
    sending.acks.ponged(1)
    sending.wait(PATIENCE)
    sending.window.add("s", b"x")
    (second,) = sending.send()
    assert sending.answer(second, Answer(What.NOBODY)) is What.NOBODY
    sending.acks.ponged(2)
    assert sending.window.confirmed == 1
    assert numbers(sending.wait(PAUSE)) == [2]


def test_once_answered_time_alone_is_never_taken_for_it() -> None:
    sending = Sending(2)
    sending.open()
    sending.acks.ponged(2)
    for _ in range(10):
        sending.wait(PATIENCE)
    assert sending.window.confirmed == 1
    sending.acks.connected(jetstream=True, moment=sending.moment)
    sending.send()
    sending.acks.ponged(2)
    sending.wait(PATIENCE)
    assert sending.window.confirmed == 1


def test_a_server_without_jetstream_after_one_with_it() -> None:
    sending = Sending(2)
    sending.open()
    sending.acks.connected(jetstream=False, moment=sending.moment)
    assert not sending.acks.asks
    assert numbers(sending.send()) == [2]
    sending.acks.ponged(2)
    assert sending.window.confirmed == 2


def test_an_event_that_is_never_taken_does_not_block_the_rest() -> None:
    sending = Sending(3)
    (first,) = sending.send()
    assert sending.answer(first, refused(400, 10054)) is What.REFUSED
    others = sending.send()
    sending.answer(others[0], stored(1))
    sending.acks.refuse(3, sending.moment)
    assert sending.window.confirmed == 3
    assert [(a.sent.number, a.seq, a.kept) for a in sending.acks.take_arrived()] == [
        (1, None, False),
        (2, 1, True),
        (3, None, False),
    ]


def test_not_now_is_asked_again() -> None:
    sending = Sending(2)
    (first,) = sending.send()
    assert sending.answer(first, refused(503, 10077)) is What.AGAIN
    assert numbers(sending.wait(PAUSE)) == [1]


def test_the_end_waits_for_everything_before_it() -> None:
    for jetstream in (True, False):
        sending = Sending(2, end=True, jetstream=jetstream)
        if jetstream:
            (second,) = sending.open()
            assert sending.send() == []
            sending.answer(second, stored(2))
        else:
            assert numbers(sending.send()) == [1, 2]
            sending.acks.ponged(2)
        assert numbers(sending.send()) == [3]


def test_a_run_ended_by_others() -> None:
    sending = Sending(0, end=True)
    (end,) = sending.send()
    assert sending.answer(end, refused(400, 10071)) is What.ENDED_BY_OTHERS
    ((_, _, kept),) = sending.acks.take_arrived()
    assert not kept
    assert not len(sending.window)


def test_an_end_sent_again_without_an_answer_is_taken_for_ours() -> None:
    sending = Sending(0, end=True)
    sending.send()
    sending.acks.connected(jetstream=True, moment=sending.moment)
    (again,) = sending.send()
    assert sending.answer(again, refused(400, 10071)) is What.STORED
    assert sending.acks.take_arrived()[0].kept


def test_an_end_that_was_being_decided_and_went_to_others() -> None:
    """10164 says that ours was not stored: a refusal after that is somebody else's doing."""
    sending = Sending(0, end=True)
    (end,) = sending.send()
    assert sending.answer(end, refused(400, 10164)) is What.AGAIN
    (again,) = sending.wait(PAUSE)
    assert sending.answer(again, refused(400, 10071)) is What.ENDED_BY_OTHERS


def test_an_end_in_doubt_stays_in_doubt_when_asked_again() -> None:
    sending = Sending(0, end=True)
    sending.send()
    sending.acks.connected(jetstream=True, moment=sending.moment)
    (second,) = sending.send()
    assert sending.answer(second, Answer(What.NOBODY)) is What.NOBODY
    (third,) = sending.wait(PAUSE)
    assert sending.answer(third, refused(400, 10071)) is What.STORED


def test_one_at_a_time_in_a_cluster() -> None:
    """Also what is sent again; and what waits can still be conflated."""
    sending = Sending(3, clustered=True)
    for number in (1, 2):
        (address,) = sending.send()
        assert numbers([address]) == [number]
        assert sending.acks.room == 0
        sending.answer(address, stored(number))
    assert numbers(sending.send()) == [3]
    assert sending.wait(STALL - 0.1) == []
    (again,) = sending.wait(0.2)
    assert numbers([again]) == [3]
    sending.answer(again, stored(3))
    assert sending.acks.room == 1


def test_what_was_in_flight_goes_one_at_a_time_over_a_connection_to_a_cluster() -> None:
    sending = Sending(4)
    others = sending.open()
    sending.acks.connected(jetstream=True, clustered=True, moment=sending.moment)
    sending.answer(others[1], stored(3))
    (second,) = sending.send()
    assert numbers([second]) == [2]
    sending.answer(second, stored(2))
    assert sending.window.confirmed == 3
    assert numbers(sending.send()) == [4]


def test_a_cluster_without_jetstream_is_sent_everything_at_once() -> None:
    assert numbers(Sending(3, jetstream=False, clustered=True).send()) == [1, 2, 3]


def test_the_first_is_what_no_stream_has_ever_answered_to() -> None:
    sending = Sending(2)
    assert sending.acks.is_first
    (first,) = sending.send()
    sending.answer(first, Answer(What.NOBODY))
    assert sending.acks.is_first
    (first,) = sending.wait(PAUSE)
    sending.answer(first, stored(1))
    assert not sending.acks.is_first
    assert not Sending(1, jetstream=False).acks.is_first


STEPS = st.lists(st.sampled_from(["add", "send", "serve", "lose", "hear", "cut", "wait", "stream"]), max_size=120)


@given(STEPS, st.booleans())
def test_stored_once_and_in_order_whatever_happens(steps: list[str], there: bool) -> None:
    """A connection that is cut anywhere, answers that come late or never, a stream that is made at any time.

    The server reads in order, stores by number once, and answers in order.
    """
    sending = Sending(3)
    acks, window = sending.acks, sending.window
    wire: deque[str] = deque()
    answers: deque[tuple[str, Answer]] = deque()
    log: list[int] = []

    def serve(*, lose: bool = False) -> None:
        if not wire:
            return
        address = wire.popleft()
        number = int(address.split(".")[1])
        if there and number not in log:
            log.append(number)
        # A first answer that never comes is for the PONG to replace; that is another test's.
        if not (lose and acks.ever):
            answers.append((address, stored(log.index(number) + 1) if there else Answer(What.NOBODY)))

    def hear() -> None:
        if answers:
            acks.answered(*answers.popleft(), sending.moment)

    def cut() -> None:
        wire.clear()
        answers.clear()
        acks.connected(jetstream=True, moment=sending.moment)

    def one() -> None:
        if (sent := acks.next(sending.moment)) is not None:
            wire.append(acks.sending(sent, sending.moment))

    for step in steps:
        if step == "stream":
            there = True
        elif step == "wait":
            sending.moment += 0.7
            acks.tick(sending.moment)
        else:
            {
                "add": lambda: window.add("s", b"x"),
                "send": one,
                "serve": serve,
                "lose": lambda: serve(lose=True),
                "hear": hear,
                "cut": cut,
            }[step]()
        assert window.confirmed <= len(log), "nothing counts as arrived that is not stored"
    there = True
    for _ in range(100):
        wire.extend(sending.wait(1.0))
        while wire or answers:
            serve()
            hear()
    assert log == list(range(1, window.last + 1))
    assert window.confirmed == window.last
    assert [arrived.sent.number for arrived in acks.take_arrived()] == log


@given(st.lists(st.sampled_from(["add", "send", "lose", "serve", "mute", "hear", "cut", "wait"]), max_size=120))
def test_stored_once_and_in_order_in_a_cluster(steps: list[str]) -> None:
    """Any single event may be lost on its way, and any answer, while the connection stays."""
    sending = Sending(3, clustered=True)
    acks, window = sending.acks, sending.window
    wire: deque[str] = deque()
    answers: deque[tuple[str, Answer]] = deque()
    log: list[int] = []

    def serve(*, mute: bool = False) -> None:
        if not wire:
            return
        address = wire.popleft()
        number = int(address.split(".")[1])
        if number not in log:
            log.append(number)
        if not mute or not acks.ever:
            answers.append((address, stored(log.index(number) + 1)))

    def send() -> None:
        if (sent := acks.next(sending.moment)) is not None:
            wire.append(acks.sending(sent, sending.moment))

    def lose() -> None:
        if wire and acks.ever:
            wire.popleft()

    def hear() -> None:
        if answers:
            acks.answered(*answers.popleft(), sending.moment)

    def cut() -> None:
        wire.clear()
        answers.clear()
        acks.connected(jetstream=True, clustered=True, moment=sending.moment)

    def wait() -> None:
        sending.moment += 0.7
        acks.tick(sending.moment)

    doing = {
        "add": lambda: window.add("s", b"x"),
        "send": send,
        "lose": lose,
        "serve": serve,
        "mute": lambda: serve(mute=True),
        "hear": hear,
        "cut": cut,
        "wait": wait,
    }
    for step in steps:
        doing[step]()
        assert log == list(range(1, len(log) + 1))
    for _ in range(100):
        wire.extend(sending.wait(1.0))
        while wire or answers:
            serve()
            hear()
    assert log == list(range(1, window.last + 1))
    assert window.confirmed == window.last
