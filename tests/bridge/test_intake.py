"""One message in, a decision out: who is told what, and what is counted."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_bridge.intake import Intake
from milepost_bridge.settings import BridgeSettings
from milepost_reporter.jetstream.complaints import Complaints

ORIGINAL = b'{"nodeId": 1, "nodeName": "DB Input", "status": "running", "rowCount": 5000, "message": "Processing"}'
SUBJECT = b"tenant.acme.job.7.progress"
END = b'{"kind":"job","status":"completed"}'


class Hub:
    """Which jobs are wanted, as a hub would say."""

    def __init__(self, *wanted: tuple[str, str]) -> None:
        self.wanted = set(wanted)
        self.asked = 0

    def wants(self, tenant: str, job: str) -> bool:
        self.asked += 1
        return (tenant, job) in self.wanted


def make(hub: Hub, summarised: set[str] | None = None, **settings: float) -> Intake:
    complaints = Complaints(logging.getLogger("milepost_bridge"))
    return Intake(BridgeSettings.model_validate(settings), hub.wants, summarised or set(), complaints)


@pytest.fixture
def intake() -> Intake:
    return make(Hub(("acme", "7")))


def headers(reporter: str | bytes, count: object) -> bytes:
    name = reporter if isinstance(reporter, bytes) else reporter.encode()
    return b"NATS/1.0\r\nMilepost-Reporter: %b\r\nMilepost-Count: %b\r\n\r\n" % (name, str(count).encode())


def test_an_event_of_a_watched_job_is_taken(intake: Intake) -> None:
    """Tenant, job and node come out; nothing else is counted."""
    taken = intake.take(SUBJECT, ORIGINAL, None)
    assert taken is not None
    assert (taken.tenant, taken.job, taken.admitted.key, taken.run, taken.watched) == ("acme", "7", "1", None, True)
    assert {name: count for name, count in intake.counts.items() if count} == {"received": 1, "taken": 1}


def test_an_unwatched_job_is_not_even_parsed(intake: Intake) -> None:
    """What nobody watches is passed over, valid or not, and nothing is remembered of it."""
    assert intake.take(b"tenant.acme.job.8.progress", b"nonsense", None) is None
    assert intake.take(b"tenant.other.job.7.progress", b"nonsense", None) is None
    assert intake.counts["passed"] == 2
    assert intake.jobs == 0


def test_summaries_want_every_job_of_the_tenant() -> None:
    """An event may count for the summary without being delivered."""
    intake = make(Hub(), {"acme"})
    taken = intake.take(SUBJECT, ORIGINAL, None)
    assert taken is not None
    assert not taken.watched
    assert intake.take(b"tenant.other.job.7.progress", ORIGINAL, None) is None


@pytest.mark.parametrize("leaf", [b"state.R1", b"alive", b"control"])
def test_what_carries_no_event_is_passed_over(intake: Intake, leaf: bytes) -> None:
    """State records, beats and requests are not for clients."""
    assert intake.take(b"tenant.acme.job.7." + leaf, ORIGINAL, None) is None
    assert intake.counts["passed"] == 1


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        (b'{"nodeId":1,"status":"running"}', "1"),
        (b'{"nodeId":"1","status":"running"}', '"1'),
        (b'{"nodeId":-1,"status":"completed"}', "-1"),
        (b'{"fraction":0.5}', ""),
        (b'{"status":"running"}', None),
        (b'{"nodeId":1,"kind":"log","message":"m"}', None),
        (b'{"kind":"artifact","data":{"name":"a","uri":"u"}}', None),
        (b'{"kind":"result","data":1}', None),
    ],
)
def test_only_progress_may_be_conflated_and_by_its_node(intake: Intake, payload: bytes, key: str | None) -> None:
    """1 and "1" are two nodes; a job's own progress is one more; every other kind is kept."""
    taken = intake.take(SUBJECT, payload, None)
    assert taken is not None
    assert taken.admitted.key == key


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b'{"status":"running","x":"\xff"}', "not_json"),
        (b'{"status":"running","x":NaN}', "not_json"),
        (b"[1]", "not_object"),
        (b"{}", "empty"),
        (b'{"nodeId":1,"status":"sleeping"}', "bad_status"),
        (b'{"kind":"poem","message":"m"}', "bad_kind"),
        (b'{"status":"running","rowCount":"many"}', "bad_field"),
        (b'{"message":"' + b"x" * 65_536 + b'"}', "too_large"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else value,
)
def test_what_is_no_event_is_counted_by_reason(
    intake: Intake, payload: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing comes of it but a number and a line in the log, and the next event is taken."""
    assert intake.take(SUBJECT, payload, None) is None
    assert intake.counts[f"invalid_{reason}"] == 1
    assert f"invalid_{reason}" in caplog.text
    assert intake.take(SUBJECT, ORIGINAL, None) is not None


def test_a_flood_of_nonsense_is_one_line(intake: Intake, caplog: pytest.LogCaptureFixture) -> None:
    """All of it is counted, and the log stays readable."""
    for _ in range(1000):
        intake.take(SUBJECT, b"nonsense", None)
    assert intake.counts["invalid_not_json"] == 1000
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "subject",
    [
        b"",
        b"tenant.acme.job.7",
        b"tenant.acme.job.7.progress.more",
        b"tenant.acme.job.7.end.x",
        b"tenant.acme.job.\xff.progress",
        b"tenant.acme.job.a\x0bb.progress",
        b"tenant.acme.job.*.progress",
        b"tenant.acme.job." + b"9" * 65 + b".progress",
        b"tenant.acme.job.7." + b"p" * 4000,
    ],
    ids=lambda value: repr(value[:40]),
)
def test_a_subject_that_is_not_ours_is_counted(intake: Intake, subject: bytes) -> None:
    """Subjects are the publisher's to write, too."""
    assert intake.take(subject, ORIGINAL, None) is None
    assert intake.counts["invalid_subject"] == 1


def test_what_follows_a_runs_end_is_late(intake: Intake) -> None:
    """One end per run, on whichever subject; the next run opens the job again."""
    assert intake.take(b"tenant.acme.job.7.end.1", END, None) is not None
    assert intake.take(SUBJECT, END, None) is None
    assert intake.take(SUBJECT, ORIGINAL, None) is None
    assert intake.counts["late"] == 2
    assert intake.take(SUBJECT, b'{"kind":"job","status":"running","run":2}', None) is not None
    assert intake.take(b"tenant.acme.job.7.end.1", END, None) is None
    ended = intake.take(b"tenant.acme.job.7.end.2", END, None)
    assert ended is not None
    assert ended.run == 2


def test_an_end_must_be_one(intake: Intake) -> None:
    """Progress on a subject for ends is refused, and the run stays open."""
    assert intake.take(b"tenant.acme.job.7.end.1", ORIGINAL, None) is None
    assert intake.counts["invalid_not_an_end"] == 1
    assert intake.take(SUBJECT, ORIGINAL, None) is not None


def test_a_reporters_resends_are_dropped(intake: Intake) -> None:
    """A count that the reporter has reached is not delivered twice; other reporters count for themselves."""
    for count, taken in [(1, True), (2, True), (2, False), (1, False), (5, True), (4, False)]:
        assert (intake.take(SUBJECT, ORIGINAL, headers("R1", count)) is not None) is taken
    assert intake.take(SUBJECT, ORIGINAL, headers("R2", 1)) is not None
    assert intake.counts["duplicate"] == 3


def test_jobs_do_not_share_counts() -> None:
    """The same reporter and count on another job is another event."""
    intake = make(Hub(("acme", "7"), ("acme", "8"), ("other", "7")))
    for subject in (SUBJECT, b"tenant.acme.job.8.progress", b"tenant.other.job.7.progress"):
        assert intake.take(subject, ORIGINAL, headers("R1", 1)) is not None


@pytest.mark.parametrize(
    "block",
    [
        headers("R.1", 1),
        headers(b"\xff", 1),
        headers("", 1),
        headers("R" * 65, 1),
        headers("R1", 0),
        headers("R1", -1),
        headers("R1", "1.5"),
        headers("R1", "٣"),
        headers("R1", "9" * 17),
        b"NATS/1.0\r\nMilepost-Reporter: R1\r\n\r\n",
        b"NATS/1.0\r\nMilepost-Count: 1\r\n\r\n",
        b"NATS/1.0\r\nMilepost-Reporter:",
    ],
)
def test_a_malformed_header_is_counted_and_left_aside(intake: Intake, block: bytes) -> None:
    """The event is taken as if the header were not there, as often as it comes."""
    for _ in range(2):
        assert intake.take(SUBJECT, ORIGINAL, block) is not None
    assert intake.counts["bad_header"] == 2


@pytest.mark.parametrize("block", [b"", b"abc", b"NATS/1.0", b"NATS/1.0\r\nNats-Msg-Id: x\r\n\r\n"])
def test_other_headers_say_nothing(intake: Intake, block: bytes) -> None:
    """They are not even looked at."""
    for _ in range(2):
        assert intake.take(SUBJECT, ORIGINAL, block) is not None
    assert intake.counts["bad_header"] == 0


def test_of_a_repeated_header_the_last_counts(intake: Intake) -> None:
    """Whoever repeats one cannot hide the real one behind it."""
    block = b"NATS/1.0\r\nMilepost-Reporter:R1\r\nMilepost-Count:9\r\nMilepost-Count:1\r\n\r\n"
    assert intake.take(SUBJECT, ORIGINAL, block) is not None
    assert intake.take(SUBJECT, ORIGINAL, headers("R1", 2)) is not None


def test_memory_is_bounded_in_jobs_and_in_reporters() -> None:
    """Beyond the bound the longest silent is forgotten, nothing else."""
    hub = Hub(*(("acme", str(job)) for job in range(100)))
    intake = make(hub, max_jobs=10, max_reporters=4)
    for job in range(100):
        intake.take(b"tenant.acme.job.%d.progress" % job, ORIGINAL, None)
    assert intake.jobs == 10
    for reporter in range(5):
        assert intake.take(b"tenant.acme.job.99.progress", ORIGINAL, headers(f"R{reporter}", 1)) is not None
    assert intake.take(b"tenant.acme.job.99.progress", ORIGINAL, headers("R4", 1)) is None
    assert intake.take(b"tenant.acme.job.99.progress", ORIGINAL, headers("R0", 1)) is not None


def test_a_job_nobody_watches_is_forgotten_after_a_while() -> None:
    """A reload finds the job's run still known; an hour later there is nothing to know."""
    hub = Hub(("acme", "7"))
    intake = make(hub, job_memory=60)
    intake.take(SUBJECT, END, None)
    intake.sweep(0)
    hub.wanted.clear()
    intake.sweep(10)
    intake.sweep(69)
    assert intake.jobs == 1
    hub.wanted.add(("acme", "7"))
    intake.sweep(71)
    assert intake.take(SUBJECT, ORIGINAL, None) is None
    hub.wanted.clear()
    intake.sweep(80)
    intake.sweep(140)
    assert intake.jobs == 0


subjects = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from(
            [b"tenant", b"job", b"acme", b"other", b"7", b"progress", b"end", b"1", b"*", b">", b"", b"\xff"]
        ),
        max_size=8,
    ).map(b".".join),
)
blocks = st.one_of(
    st.none(),
    st.binary(max_size=80),
    st.lists(
        st.tuples(
            st.sampled_from([b"Milepost-Reporter", b"Milepost-Count", b"Nats-Subject", b"Milepost-Tenant", b"Status"]),
            st.one_of(st.binary(max_size=12), st.sampled_from([b"acme", b"1", b"tenant.acme.job.7.progress"])),
        ),
        max_size=5,
    ).map(lambda fields: b"NATS/1.0\r\n" + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"),
)
payloads = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([ORIGINAL, END, b'{"tenant":"acme","jobId":7,"job":"7","subject":"x","message":"m"}']),
)


@given(subjects, payloads, blocks)
def test_no_message_counts_for_anybody_but_the_tenant_in_its_subject(
    subject: bytes, payload: bytes, block: bytes | None
) -> None:
    """Whatever is written, nothing is raised, and tenant and job are the subject's own tokens."""
    every = make(Hub(), {"acme", "other"})
    taken = every.take(subject, payload, block)
    if taken is not None:
        tokens = subject.split(b".")
        assert tokens[0::2][:2] == [b"tenant", b"job"]
        assert (taken.tenant.encode(), taken.job.encode()) == (tokens[1], tokens[3])
    outcomes = {name: count for name, count in every.counts.items() if name not in ("received", "bad_header")}
    assert sum(outcomes.values()) == every.counts["received"] == 1


@given(st.lists(st.tuples(st.sampled_from(["R1", "R2"]), st.integers(1, 6)), max_size=30))
def test_each_reporters_counts_only_rise(sent: list[tuple[str, int]]) -> None:
    """In any order of arrival, what is taken of one reporter has rising counts."""
    intake = make(Hub(("acme", "7")))
    taken: dict[str, list[int]] = {"R1": [], "R2": []}
    for reporter, count in sent:
        if intake.take(SUBJECT, ORIGINAL, headers(reporter, count)) is not None:
            taken[reporter].append(count)
    for counts in taken.values():
        assert counts == sorted(set(counts))
