"""Payloads become events or are refused with a reason."""

import json
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.event import MAX_PAYLOAD, BadEvent, parse_event

ORIGINAL = (
    b'{"nodeId": 1, "nodeName": "DB Input", "status": "running", "rowCount": 5000, "message": "Processing rows..."}'
)


def reason(payload: bytes) -> tuple[str, str]:
    with pytest.raises(BadEvent) as refused:
        parse_event(payload)
    return refused.value.reason, str(refused.value)


def test_the_original_shape_is_complete() -> None:
    event = parse_event(ORIGINAL)
    assert (event.kind, event.nodeId, event.nodeName) == ("progress", 1, "DB Input")
    assert (event.status, event.rowCount, event.message) == ("running", 5000, "Processing rows...")
    assert not event.is_terminal


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ('{"nodeId":1,"status":"completed"}', "progress"),
        ('{"nodeId":"n-1","message":"x"}', "progress"),
        ('{"message":"x"}', "progress"),
        ('{"fraction":0.5}', "progress"),
        ('{"status":"running"}', "job"),
        ('{"status":"running","fraction":0}', "job"),
        ('{"kind":"job","message":"x"}', "job"),
        ('{"kind":null,"status":"failed"}', "job"),
        ('{"kind":"log","message":"x"}', "log"),
        ('{"kind":"log","data":{"level":"info"}}', "log"),
        ('{"kind":"artifact","data":{"name":"a","uri":"u","x":1}}', "artifact"),
        ('{"kind":"plan","data":{"nodes":[{"nodeId":1,"weight":2}],"edges":[[1,"b"]]}}', "plan"),
        ('{"kind":"result","data":null}', "result"),
    ],
)
def test_kinds_and_their_defaults(payload: str, kind: str) -> None:
    assert parse_event(payload.encode()).kind == kind


@pytest.mark.parametrize(
    ("payload", "terminal"),
    [
        ('{"status":"completed"}', True),
        ('{"status":"failed","willRetry":true}', True),
        ('{"kind":"job","status":"cancelled","nodeId":1}', True),
        ('{"status":"cancelling"}', False),
        ('{"nodeId":1,"status":"completed"}', False),
        ('{"kind":"log","status":"completed","message":"x"}', False),
    ],
)
def test_only_a_job_ends(payload: str, terminal: bool) -> None:
    assert parse_event(payload.encode()).is_terminal is terminal


@pytest.mark.parametrize(
    "payload",
    ["{}", '{"nodeId":1}', '{"nodeId":1,"rowCount":5}', '{"kind":"log"}', '{"kind":"result"}', '{"x":1}'],
)
def test_an_event_must_say_something(payload: str) -> None:
    assert reason(payload.encode())[0] == "empty"


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ('{"status":"idle"}', "bad_status"),
        ('{"nodeId":1,"status":"queued"}', "bad_status"),
        ('{"nodeId":1,"status":"Running"}', "bad_status"),
        ('{"kind":"message","message":"x"}', "bad_kind"),
        ("[]", "not_object"),
        ("1", "not_object"),
        ("null", "not_object"),
        ('"x"', "not_object"),
        ("", "not_json"),
        ("x", "not_json"),
        ('{"message":"x"', "not_json"),
    ],
)
def test_reasons(payload: str, why: str) -> None:
    assert reason(payload.encode())[0] == why


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", 1),
        ("status", 1),
        ("nodeId", True),
        ("nodeId", 1.5),
        ("nodeId", ""),
        ("nodeId", "x" * 129),
        ("nodeName", 5),
        ("rowCount", "5"),
        ("rowCount", True),
        ("total", []),
        ("unit", 1),
        ("fraction", 1.1),
        ("fraction", -0.1),
        ("fraction", "1"),
        ("run", 0),
        ("run", "1"),
        ("run", 1.0),
        ("error", "text"),
        ("at", 5),
        ("at", "yesterday"),
        ("at", "2026-01-01T00:00:00"),
        ("willRetry", 1),
        ("name", 1),
    ],
)
def test_a_wrong_type_is_refused_by_its_name(field: str, value: object) -> None:
    why, message = reason(json.dumps({"message": "x", field: value}).encode())
    assert why == "bad_field"
    assert message.startswith(field)


@pytest.mark.parametrize(
    "payload",
    [
        '{"kind":"artifact","data":{"name":"a"}}',
        '{"kind":"artifact","message":"x"}',
        '{"kind":"plan","data":{"nodes":[{"nodeId":1}],"edges":[[1]]}}',
        '{"kind":"plan","data":{"nodes":5}}',
        '{"kind":"log","data":"info"}',
        '{"kind":"result","message":"x"}',
    ],
)
def test_data_has_its_kinds_shape(payload: str) -> None:
    why, message = reason(payload.encode())
    assert why == "bad_field"
    assert message.startswith("data")


def test_unknown_fields_and_null_pass() -> None:
    event = parse_event(b'{"message":"x","nodeId":null,"rowCount":null,"spam":{"a":[1,2]},"run":null}')
    assert event.nodeId is None
    assert event.run is None


def test_the_last_of_a_repeated_field_counts() -> None:
    """As a browser's JSON.parse has it."""
    assert parse_event(b'{"status":"running","status":"failed"}').status == "failed"


def test_size_is_bounded() -> None:
    payload = json.dumps({"message": "x" * MAX_PAYLOAD}).encode()
    assert reason(payload)[0] == "too_large"
    with pytest.raises(BadEvent):
        parse_event(ORIGINAL, max_bytes=10)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"message":"x","y":NaN}',
        b'{"message":"x","y":[Infinity]}',
        b'{"message":"x","y":{"z":-Infinity}}',
        b'\xef\xbb\xbf{"message":"x"}',
        b'{"message":"x"} x',
        b'{"message":"x"}{"message":"x"}',
        b'{"message":"x"}\x00',
        b'{"message":"\xff"}',
        b'{"message":"x","\xc0\x80":1}',
        b'{"message":"\xed\xa0\x80"}',
        b'{"message":"a\x01"}',
        b'{"message":"x","y":01}',
        b'{"message":"x","y":1.}',
        b'{"message":"x","y":.5}',
        b'{"message":"x","y":+1}',
        b'{"message":"x",}',
        b"{'message':'x'}",
        b'{"message":"x","y":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"message":"x","y":NaN,"z":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"message":"x","y":' + b"9" * 5_000 + b"}",
    ],
)
def test_what_a_strict_parser_refuses_is_refused(payload: bytes) -> None:
    """Also inside fields that are not looked at: the bytes go on to browsers as they are."""
    assert reason(payload)[0] == "not_json"


def test_the_words_themselves_may_stand_in_text() -> None:
    assert parse_event(b'{"message":"NaN and Infinity"}').message == "NaN and Infinity"


def strict(payload: bytes) -> object:
    def constant(word: str) -> NoReturn:
        raise ValueError(word)

    return json.loads(payload.decode(), parse_constant=constant)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {"message": st.text() | JSON},
    optional=dict.fromkeys(
        ("kind", "status", "nodeId", "rowCount", "fraction", "run", "data", "error", "at", "x"), JSON
    ),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    payload = bytearray(json.dumps(draw(FIELDS), ensure_ascii=draw(st.booleans())).encode("utf-8", "replace"))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(payload)))
        payload[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(payload)


@given(damaged() | st.binary(max_size=40))
def test_what_is_accepted_is_strict_json_and_nothing_else_is_raised(payload: bytes) -> None:
    try:
        event = parse_event(payload)
    except BadEvent as error:
        refused = error.reason
    else:
        assert isinstance(strict(payload), dict)
        refused = "" if event.kind else "no kind"
    assert refused in {"", "not_json", "not_object", "empty", "bad_kind", "bad_status", "bad_field"}
