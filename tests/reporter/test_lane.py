"""One reporter's lane, without a connection: what it publishes when, and what it makes of the answers."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_reporter.lane import Lane
from milepost_reporter.ledger import APART, SHORT
from milepost_reporter.outbox import Outbox
from milepost_reporter.settings import Settings

PROGRESS = "tenant.acme.job.1.progress"
END = "tenant.acme.job.1.end.1"
STATE = "tenant.acme.job.1.state.r"
ALIVE = "tenant.acme.job.1.alive"


class Message(NamedTuple):
    """What a lane gave away to be published."""

    subject: str
    payload: bytes
    headers: Mapping[str, str]
    reply: str


class Road:
    """A lane, what it has published, and a stream that stores what it is told to."""

    def __init__(self, *, early_record: bool = True, begun: bool = True, **more: Any) -> None:  # noqa: ANN401 - any setting
        self.outbox = Outbox(interval=0, max_events=10_000, max_bytes=1 << 20)
        self.published: list[Message] = []
        self.complaints: list[str] = []
        self.moment = 100.0
        self.most = 1 << 20
        self.broken = False
        self._seq = 0
        self.lane = Lane(
            Settings(nats_url="nats://localhost", tenant="acme", job="1", **more),
            "r",
            self.outbox,
            owner=True,
            begun=lambda: begun,
            complain=lambda sort, *_: self.complaints.append(sort),
            early_record=early_record,
        )

    def connect(self, *, jetstream: bool = True, clustered: bool = False) -> None:
        self.lane.connected(jetstream=jetstream, clustered=clustered, inbox="_INBOX.x", moment=self.moment)

    def say(self, status: str | None = None, **fields: Any) -> None:  # noqa: ANN401 - any field
        self.outbox.put("job" if status else "log", event(status=status, **fields))

    def end(self, status: str = "completed") -> None:
        self.outbox.put_end(event(status=status))

    def pump(self) -> list[Message]:
        """What is published now."""
        before = len(self.published)
        self.lane.pump(self._publish, self.moment)
        return self.published[before:]

    def store(self, message: Message) -> None:
        """The stream has taken it, and says so."""
        self._seq += 1
        self.answer(message, {"stream": "LOG", "seq": self._seq})

    def refuse(self, message: Message, err_code: int, code: int = 400) -> None:
        self.answer(message, {"error": {"code": code, "err_code": err_code, "description": "no"}})

    def answer(self, message: Message, told: dict[str, Any]) -> None:
        address = message.reply.removeprefix("_INBOX.x.")
        assert address.count(".") == 1
        self.lane.answered(address, None, json.dumps(told).encode(), self.moment)

    def run(self) -> list[Message]:
        """Everything that is published while a stream takes whatever asks for an answer."""
        told: list[Message] = []
        while messages := self.pump():
            told += messages
            for message in messages:
                if message.reply:
                    self.store(message)
        return told

    def _publish(self, subject: str, payload: bytes, headers: Mapping[str, str], reply: str) -> bool:
        if self.broken:
            raise RuntimeError("broken")
        if len(payload) > self.most:
            return False
        self.published.append(Message(subject, payload, dict(headers), reply))
        return True


def event(**fields: Any) -> bytes:  # noqa: ANN401 - any field
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def subjects(messages: list[Message]) -> list[str]:
    return [message.subject for message in messages]


@pytest.fixture
def road() -> Iterator[Road]:
    road = Road(lease=30.0)
    road.connect()
    yield road
    assert not road.complaints


def test_one_call_sends_all_that_may_go(road: Road) -> None:
    """The first event goes alone, behind a record; when it is stored, all others up to the end; then the end."""
    road.say(status="running")
    for number in range(300):
        road.say(message=f"line {number}")
    road.end()
    opening, first, beat = road.pump()
    assert [opening.subject, first.subject, beat.subject] == [STATE, PROGRESS, ALIVE]
    assert road.pump() == []
    road.store(first)
    rest = road.pump()
    assert subjects(rest) == [PROGRESS] * 300 + [STATE]
    for message in rest:
        road.store(message)
    assert not road.lane.ended
    (end,) = road.pump()
    assert (end.subject, end.headers["Nats-Expected-Last-Subject-Sequence"]) == (END, "0")
    road.store(end)
    assert (road.lane.ended, road.lane.idle, road.lane.settled) == (True, True, False)
    beat, record = road.pump()
    assert json.loads(beat.payload) == {"run": 1, "lease": 30, "ended": True}
    assert (record.subject, json.loads(record.payload)["count"]) == (STATE, 302)
    assert not road.lane.settled
    road.store(record)
    assert road.lane.settled
    assert road.lane.next_due(road.moment) is None
    assert [road.lane.sent, road.lane.confirmed] == [302, 302]


def test_what_an_event_says_of_itself(road: Road) -> None:
    road.say(status="running")
    opening, first, _ = road.pump()
    assert first.headers == {
        "Nats-Msg-Id": "acme-1-r-1",
        "Milepost-Reporter": "r",
        "Milepost-Count": "1",
        "Milepost-Run": "1",
        "Milepost-Lease": "30",
    }
    assert set(opening.headers) == {"Milepost-Summary", "Milepost-Run", "Milepost-Lease"}


@pytest.mark.parametrize("progress", [0, 3])
def test_without_an_early_record_a_short_job_has_none_and_its_end_sums_it_up(progress: int) -> None:
    """Also when that end goes once more over another connection."""
    road = Road(early_record=False, lease=0)
    road.connect()
    road.say(status="running")
    for number in range(progress):
        road.say(message=f"line {number}")
    told = road.run()
    assert subjects(told) == [PROGRESS] * (1 + progress)
    assert (road.lane.idle, road.lane.settled) == (True, False)
    road.moment += APART / 2
    assert road.run() == []
    road.end()
    (end,) = road.pump()
    road.connect()
    (again,) = road.run()
    assert (end.subject, end.headers) == (END, again.headers)
    summary = json.loads(end.headers["Milepost-Summary"])
    assert (summary["status"], summary["run"]) == ("completed", 1)
    assert None not in (summary["startedAt"], summary["endedAt"])
    assert road.lane.settled


def test_without_an_early_record_a_job_of_many_events_has_one_with_its_end() -> None:
    """Its log would be long to read."""
    road = Road(early_record=False, lease=0)
    road.connect()
    road.say(status="running")
    for number in range(SHORT):
        road.say(message=f"line {number}")
    road.end()
    *_, end, record = road.run()
    assert (end.subject, record.subject) == (END, STATE)
    assert "Milepost-Summary" not in end.headers
    assert json.loads(record.payload)["job"]["status"] == "completed"
    assert road.lane.settled


def test_without_an_early_record_an_end_too_long_for_a_header_has_one() -> None:
    road = Road(early_record=False, lease=0)
    road.connect()
    road.outbox.put_end(event(status="failed", message="x" * 10_000))
    end, record = road.run()
    assert "Milepost-Summary" not in end.headers
    assert record.subject == STATE


def test_without_an_early_record_a_long_job_has_one_after_two_seconds() -> None:
    """From then on it is written as anybody's."""
    road = Road(early_record=False, lease=0)
    road.connect()
    road.say(status="running")
    road.run()
    assert road.lane.next_due(road.moment) == road.moment + APART
    road.moment += APART
    assert subjects(road.run()) == [STATE]
    road.say(status="cancelling")
    assert subjects(road.run()) == [PROGRESS, STATE]
    assert road.lane.settled


def test_an_end_that_somebody_else_told_first_is_one_all_the_same() -> None:
    road = Road(early_record=False, lease=0)
    road.connect()
    road.say(status="running")
    road.run()
    road.end()
    (end,) = road.pump()
    road.refuse(end, 10071)
    assert road.lane.ended
    assert road.complaints == ["ended"]
    assert road.run() == []
    assert road.lane.settled


def test_the_end_of_a_lane_that_reports_nothing_else_of_others_runs() -> None:
    """Nothing of it is in the log, so there is nothing to keep a record of."""
    road = Road(early_record=False, lease=0)
    road.connect()
    road.end()
    (end,) = road.pump()
    road.refuse(end, 10071)
    assert road.run() == []
    assert road.lane.settled


def test_over_a_new_connection_everything_unconfirmed_goes_again_under_its_number(road: Road) -> None:
    road.say(status="running")
    _, first, _ = road.pump()
    road.store(first)
    for number in range(3):
        road.say(message=f"line {number}")
    sent = road.pump()[:3]
    road.connect()
    again = [message for message in road.run() if message.subject == PROGRESS]
    assert [message.headers["Milepost-Count"] for message in again] == ["2", "3", "4"]
    assert [message.payload for message in again] == [message.payload for message in sent]


def test_in_a_cluster_one_event_is_in_flight() -> None:
    road = Road(lease=0)
    road.connect(clustered=True)
    for number in range(3):
        road.say(message=f"line {number}")
    assert subjects(road.pump()) == [STATE, PROGRESS]
    assert road.lane.room == 0
    assert subjects(road.run()) == []
    road.store(road.published[1])
    assert subjects(road.pump()) == [PROGRESS, STATE]


def test_without_jetstream_events_arrive_by_pong() -> None:
    """Nothing asks for an answer, and there are no records."""
    road = Road(lease=0)
    road.connect(jetstream=False)
    for number in range(5):
        road.say(message=f"line {number}")
    told = road.pump()
    assert [(message.subject, message.reply) for message in told] == [(PROGRESS, "")] * 5
    assert (road.lane.wants_pong, road.lane.idle) == (5, False)
    road.lane.ponged(5, road.moment)
    assert (road.lane.wants_pong, road.lane.idle, road.lane.settled) == (None, True, True)
    road.end()
    assert subjects(road.pump()) == [END]
    road.lane.ponged(6, road.moment)
    assert road.lane.ended


def test_an_event_that_is_too_large_is_left_out() -> None:
    road = Road(lease=0, window_events=4)
    road.connect()
    road.most = 400
    road.say(message="x" * 500)
    road.say(message="y")
    told = [message for message in road.run() if message.subject == PROGRESS]
    assert [message.headers["Milepost-Count"] for message in told] == ["2"]
    assert (road.lane.refused, road.lane.idle) == (1, True)
    assert "refused" in road.complaints


def test_no_stream_is_told_and_tried_again() -> None:
    road = Road(lease=0)
    road.connect()
    road.say(message="x")
    _, first = road.pump()
    road.lane.answered(first.reply.removeprefix("_INBOX.x."), "503", b"", road.moment)
    assert (road.lane.nobody_since, road.complaints) == (road.moment, ["nobody"])
    assert "has a hub ever run here" in road.lane.trouble
    assert road.pump() == []
    due = road.lane.next_due(road.moment)
    assert due is not None
    road.moment = due
    assert road.run()
    assert road.lane.idle
    assert road.lane.nobody_since is None


def test_a_beat_is_due_three_times_a_lease_once_the_job_has_begun() -> None:
    road = Road(lease=30.0)
    road.connect()
    assert subjects(road.pump()) == [ALIVE]
    assert road.lane.next_due(road.moment) == road.moment + 10
    road.moment += 10
    assert subjects(road.pump()) == [ALIVE]
    silent = Road(lease=30.0, begun=False)
    silent.connect()
    assert silent.pump() == []
    assert silent.lane.next_due(silent.moment) is None


def test_it_takes_no_more_than_its_window() -> None:
    road = Road(lease=0, window_events=4)
    road.connect(jetstream=False)
    for number in range(10):
        road.say(message=f"line {number}")
    assert len(road.pump()) == 4
    assert (road.lane.room, len(road.outbox)) == (0, 6)
    assert road.lane.next_due(road.moment) is None


def test_whatever_goes_wrong_it_does_not_raise() -> None:
    """The lanes beside it go on; it waits, and what it holds goes out when it can."""
    road = Road(lease=0)
    road.connect()
    road.say(message="x")
    road.broken = True
    assert road.pump() == []
    assert road.complaints == ["broken"]
    assert road.lane.next_due(road.moment) == road.moment + 1
    road.broken = False
    assert road.pump() == []
    road.moment += 10
    assert PROGRESS in subjects(road.run())
    assert road.lane.idle


@given(
    address=st.one_of(st.text(max_size=20), st.from_regex(r"\A(record|[0-9]{1,3})\.[0-9]{1,3}\Z")),
    status=st.sampled_from([None, "100", "503"]),
    payload=st.one_of(st.binary(max_size=20), st.sampled_from([b'{"stream":"L","seq":1}', b'{"error":{"code":400}}'])),
)
@settings(max_examples=200)
def test_any_answer_is_survived(address: str, status: str | None, payload: bytes) -> None:
    """Afterwards what was said still gets out."""
    road = Road(lease=0)
    road.connect()
    road.say(message="x")
    road.pump()
    road.lane.answered(address, status, payload, road.moment)
    road.moment += 10
    road.connect()
    road.run()
    assert road.lane.idle
