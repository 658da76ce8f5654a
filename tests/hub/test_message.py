"""The hub's messages are the protocol's: one JSON object each, compact, with the client's id echoed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_hub import message
from milepost_hub.job_id import read_job_id
from milepost_hub.token import MAX_TIME

NOON = 1_767_268_800.25
NOON_TEXT = "2026-01-01T12:00:00.250Z"


@pytest.mark.parametrize(
    ("sent", "fields"),
    [
        (
            message.subscribed("123", durable=False, up=True, id=None),
            {"type": "subscribed", "jobId": 123, "durable": False, "upstream": "up"},
        ),
        (
            message.listed(12, durable=True),
            {"type": "listed", "jobId": "*", "count": 12, "durable": True},
        ),
        (
            message.subscribed("*", durable=True, up=False, id="q1"),
            {"type": "subscribed", "jobId": "*", "durable": True, "upstream": "down", "id": "q1"},
        ),
        (message.unsubscribed("007", 5), {"type": "unsubscribed", "jobId": "007", "id": 5}),
        (message.unsubscribed("a", 0), {"type": "unsubscribed", "jobId": "a", "id": 0}),
        (
            message.authenticated(NOON, NOON, ""),
            {"type": "authenticated", "expiresAt": NOON_TEXT, "at": NOON_TEXT, "id": ""},
        ),
        (message.token_expiring(NOON), {"type": "token.expiring", "expiresAt": NOON_TEXT}),
        (message.upstream(True), {"type": "upstream", "status": "up"}),
        (message.upstream(False), {"type": "upstream", "status": "down"}),
        (message.heartbeat(NOON), {"type": "heartbeat", "at": NOON_TEXT}),
        (message.error("forbidden", "why", 1), {"type": "error", "code": "forbidden", "message": "why", "id": 1}),
        (message.error("forbidden", "why"), {"type": "error", "code": "forbidden", "message": "why"}),
        (
            message.error("forbidden", "why", topic="7"),
            {"type": "error", "jobId": 7, "code": "forbidden", "message": "why"},
        ),
    ],
)
def test_every_message_has_the_protocols_fields(sent: bytes, fields: dict[str, Any]) -> None:
    assert json.loads(sent) == fields
    assert sent == json.dumps(fields, separators=(",", ":")).encode()


def test_an_event_is_the_payload_between_head_and_brace() -> None:
    """Byte for byte as published, blanks and order of fields too."""
    payload = b'{ "nodeId":1,  "message":"\xc3\xa9", "b":1e2, "a":1 }'
    sent = message.progress_head("123") + payload + b"}"
    assert sent == b'{"type":"job.progress","jobId":123,"payload":' + payload + b"}"
    assert json.loads(sent)["payload"] == json.loads(payload)


def test_a_summary_is_its_fields_between_head_and_brace() -> None:
    fields = b'"jobId":1,"status":"running"'
    assert json.loads(message.SUMMARY_HEAD + fields + b"}") == {"type": "job.summary", "jobId": 1, "status": "running"}


@given(st.text("abcXYZ019_-", min_size=1, max_size=64))
def test_a_head_names_its_job_as_a_client_would(job: str) -> None:
    shown = json.loads(message.progress_head(job) + b"null}")["jobId"]
    assert read_job_id(shown) == job


@given(st.none() | st.text(max_size=128) | st.integers(-(2**53), 2**53), st.text())
def test_any_id_and_any_words_make_one_json_object_in_utf8(id: str | int | None, words: str) -> None:
    sent = json.loads(message.error("code", words, id))
    assert sent["message"] == words
    assert sent.get("id") == id


@given(st.floats(0, MAX_TIME + 1e6))
def test_any_time_a_token_can_name_is_written(at: float) -> None:
    """The last second of the year 9999 is a good `exp`, and a leeway comes on top of it."""
    written = message.rfc3339(at)
    assert len(written) == len(NOON_TEXT)
    assert written.endswith("Z")
