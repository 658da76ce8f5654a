"""What is put into the queue is what comes out of it, and nothing that comes out raises but BadWork."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from milepost_runner.subject import Place
from milepost_runner.work import BadWork, Work, read_work, write_payload, write_work

from tests.runner.any_json import JSON

AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)
SUBJECT = "tenant.acme.work.default.1"
PLACE = Place("acme", "default", "1")


def nested(depth: int) -> bytes:
    return b'{"name":"x","queuedAt":"2026-01-01T00:00:00Z","payload":' + b"[" * depth + b"]" * depth + b"}"


@given(JSON)
def test_a_job_comes_out_as_it_was_put_in(payload: object) -> None:
    message = write_work("build", write_payload(payload), AT)
    assert read_work(SUBJECT, message) == Work(PLACE, "build", payload, AT)


@given(JSON)
def test_a_payload_takes_as_many_bytes_in_the_message_as_were_counted(payload: object) -> None:
    """So that what is within the bound is within the stream's, too, whatever its numbers and characters."""
    empty = len(write_work("build", b"", AT))
    assert len(write_work("build", write_payload(payload), AT)) == empty + len(write_payload(payload))


@pytest.mark.parametrize(
    "payload",
    [float("nan"), float("inf"), [float("-inf")], {1, 2}, b"bytes", AT, {(1,): 2}, "\ud800", 10**5_000],
    ids=lambda payload: type(payload).__name__,
)
def test_what_is_no_json_is_not_written(payload: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        write_payload(payload)


def test_what_contains_itself_is_not_written() -> None:
    """Nor what is nested so deeply that Python gives up."""
    circle: list[object] = []
    circle.append(circle)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for payload in (circle, deep):
        with pytest.raises(ValueError, match=r"Circular|recursion"):
            write_payload(payload)
    while deep:
        deep = deep.pop()  # type: ignore[assignment] # freed from outside in: the inner one first would overflow


@given(st.text(), st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(SUBJECT, b"")
@example(SUBJECT, b"null")
@example(SUBJECT, b'{"name":"x"}')
@example(SUBJECT, b'{"name":"","queuedAt":"2026-01-01T00:00:00Z"}')
@example(SUBJECT, b'{"name":"x","queuedAt":"2026-01-01T00:00:00"}')
@example(SUBJECT, b'{"name":"x","queuedAt":"0001-01-01T00:00:00+14:00"}')
@example(SUBJECT, b'{"name":"x","queuedAt":"9999-12-31T23:59:59-14:00"}')
@example(SUBJECT, b'{"name":"x","queuedAt":1e400}')
@example(SUBJECT, nested(100_000))
def test_nothing_that_comes_out_raises_anything_else(subject: str, message: bytes) -> None:
    """And a job that is read has a time that can be compared with others, and shown."""
    for where in (subject, SUBJECT):
        try:
            work = read_work(where, message)
        except BadWork as bad:
            told = str(bad)
        else:
            told = work.queued_at.astimezone(UTC).isoformat()
            assert work.queued_at < AT or work.queued_at >= AT
        assert 0 < len(told) < 300


def test_a_field_of_a_later_version_is_no_harm() -> None:
    message = b'{"name":"x","payload":1,"queuedAt":"2026-01-01T00:00:00Z","more":{"a":1}}'
    assert read_work(SUBJECT, message).payload == 1
