"""A body is a submission, or is refused with words: whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_hub.errors import SubmitRefused
from milepost_hub.submission import Submission, read_submission

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
names = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
keys = st.none() | st.text(min_size=1, max_size=256)


def refusal(body: bytes) -> SubmitRefused:
    with pytest.raises(SubmitRefused) as refused:
        read_submission(body)
    return refused.value


@given(names, json_values, keys)
def test_what_is_submitted_is_what_was_sent(name: str, payload: Any, key: str | None) -> None:  # noqa: ANN401
    """Numbers, nesting and all; an absent key is none."""
    sent = {"name": name, "payload": payload} | ({} if key is None else {"key": key})
    read = read_submission(json.dumps(sent).encode())
    assert (read.name, read.payload, read.key) == (name, payload, key)


def outcome(body: bytes) -> Submission | SubmitRefused:
    try:
        return read_submission(body)
    except SubmitRefused as refused:
        return refused


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_read_or_refused_with_words(body: bytes) -> None:
    """400 for what is no JSON, 422 with the reasons for what is no submission; what is read can be written again."""
    read = outcome(body)
    if isinstance(read, Submission):
        json.dumps(read.payload, allow_nan=False)
        return
    assert read.message
    assert (read.status, bool(read.reasons)) in {(400, False), (422, True)}


@given(st.dictionaries(st.sampled_from(["name", "payload", "key", "tenant", "run"]), json_values))
def test_only_a_submission_is_taken(sent: dict[str, Any]) -> None:
    """An object with these fields, of these types, and no others; every reason names its field."""
    read = outcome(json.dumps(sent).encode())
    if isinstance(read, Submission):
        assert {"name", "payload"} <= set(sent) <= {"name", "payload", "key"}
        assert (read.name, read.payload, read.key) == (sent["name"], sent["payload"], sent.get("key"))
        return
    assert read.status == 422
    assert {reason["loc"][0] for reason in read.reasons} <= {*sent, "name", "payload"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"name=import",
        b'{"name":"a","payload":NaN}',
        b'{"name":"a","payload":-Infinity}',
        b'{"name":"a","payload":1e999}',
        b'{"name":"a","payload":%b}' % (b"9" * 5000),
        b'{"name":"a","payload":"\\ud800"}',
        b'{"name":"a","payload":"\xff"}',
        b'{"name":"a","payload":1} x',
        '{"name":"a","payload":1}'.encode("utf-16"),
        b'{"name":"a","payload":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b"[" * 68_000,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_json_is_a_bad_request(body: bytes) -> None:
    """Nor is what could not be written down as JSON again, or nests without end."""
    refused = refusal(body)
    assert (refused.status, refused.reasons) == (400, [])


@pytest.mark.parametrize(
    ("sent", "loc"),
    [
        ([], []),
        ("import", []),
        (None, []),
        ({"payload": 1}, ["name"]),
        ({"name": "import"}, ["payload"]),
        ({"name": 7, "payload": 1}, ["name"]),
        ({"name": "", "payload": 1}, ["name"]),
        ({"name": "a.b", "payload": 1}, ["name"]),
        ({"name": "a\n", "payload": 1}, ["name"]),
        ({"name": "é", "payload": 1}, ["name"]),
        ({"name": "a" * 65, "payload": 1}, ["name"]),
        ({"name": "a", "payload": 1, "key": ""}, ["key"]),
        ({"name": "a", "payload": 1, "key": "k" * 257}, ["key"]),
        ({"name": "a", "payload": 1, "key": 7}, ["key"]),
        ({"name": "a", "payload": 1, "tenant": "globex"}, ["tenant"]),
    ],
)
def test_what_is_no_submission_is_refused_by_name(sent: object, loc: list[str]) -> None:
    refused = refusal(json.dumps(sent).encode())
    assert (refused.status, [reason["loc"] for reason in refused.reasons]) == (422, [loc])


def test_what_is_no_object_is_told_so() -> None:
    assert refusal(b"[]").message == "the body must be a JSON object"


def test_all_that_is_wrong_is_told_at_once() -> None:
    refused = refusal(b'{"nmae":"import","key":""}')
    assert [reason["loc"] for reason in refused.reasons] == [["name"], ["payload"], ["key"], ["nmae"]]
    assert refused.message.startswith("name: ")


def test_a_refusal_repeats_nothing_of_the_payload() -> None:
    assert "hunter2" not in json.dumps(refusal(b'{"name":7,"payload":"hunter2"}').reasons)
