"""Whatever a client sends becomes an action, or a refusal it can read."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from milepost_hub.action import Action, Auth, MessageId, Subscribe, Unsubscribe, parse_action
from milepost_hub.errors import ActionError
from milepost_reporter.names import is_name

SECRET = "eyJhbGciOiJIUzI1NiJ9.eyJ0ZW5hbnQiOiJhY21lIn0.c2lnbmF0dXJl"


def parse(**fields: object) -> Action:
    return parse_action(json.dumps(fields).encode())


def refusal(message: bytes | str | dict[str, object]) -> tuple[str, MessageId]:
    """What the client is told, and the id that comes with it."""
    if isinstance(message, dict):
        message = json.dumps(message)
    with pytest.raises(ActionError) as error:
        parse_action(message if isinstance(message, bytes) else message.encode())
    assert error.value.code == "bad_message"
    return error.value.message, error.value.id


def outcome(message: bytes) -> Action | ActionError:
    try:
        return parse_action(message)
    except ActionError as error:
        return error


def test_the_original_clients_message_is_understood() -> None:
    assert parse_action(b'{"action":"subscribe","jobId":123}') == Subscribe(action="subscribe", jobId="123")


def test_every_field_of_a_subscription_is_read() -> None:
    wanted = parse(action="subscribe", jobId="etl-7", after="12-3", mode="latest", id="q1")
    assert isinstance(wanted, Subscribe)
    assert (wanted.job, wanted.after, wanted.mode, wanted.id) == ("etl-7", "12-3", "latest", "q1")


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
def test_all_jobs_are_one_star(action: str) -> None:
    wanted = parse(action=action, jobId="*")
    assert isinstance(wanted, Subscribe | Unsubscribe)
    assert wanted.job == "*"


def test_a_number_and_its_digits_are_one_job() -> None:
    assert parse(action="unsubscribe", jobId=7) == parse(action="unsubscribe", jobId="7")


def test_a_token_is_read_and_not_shown() -> None:
    """An action may end up in a log."""
    sent = parse(action="auth", token=SECRET, id=1)
    assert isinstance(sent, Auth)
    assert sent.token == SECRET
    assert SECRET not in repr(sent)


def test_fields_of_later_clients_are_ignored() -> None:
    assert parse(action="unsubscribe", jobId=7, colour="red") == parse(action="unsubscribe", jobId=7)


@pytest.mark.parametrize("id", ["", "q1", "x" * 128, "ü", 0, -1, 2**53 - 1, None])
def test_an_id_is_kept_as_it_is(id: MessageId) -> None:
    kept = parse(action="unsubscribe", jobId=7, id=id)
    assert kept.id == id
    assert type(kept.id) is type(id)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "the message is not JSON"),
        (b"{", "the message is not JSON"),
        (b"\xff\xfe", "the message is not JSON"),
        (b"[" * 4000, "the message is not JSON"),
        (b'{"action":"subscribe","jobId":"\\ud800"}', "the message is not JSON"),
        (b"[]", "the message is not a JSON object"),
        (b"null", "the message is not a JSON object"),
        (b'"subscribe"', "the message is not a JSON object"),
        (b"{}", 'unknown action: "action" is one of "subscribe", "unsubscribe", "auth"'),
        (b'{"action":"publish","jobId":1}', "unknown action"),
        (b'{"action":["auth"]}', "unknown action"),
        (b'{"action":"subscribe"}', "jobId is missing"),
        (b'{"action":"subscribe","jobId":"a.b"}', "jobId must be a whole number below 2^53 or 1 to 64"),
        (b'{"action":"subscribe","jobId":">"}', "jobId must be a whole number"),
        (b'{"action":"subscribe","jobId":1.5}', "jobId must be a whole number"),
        (b'{"action":"subscribe","jobId":true}', "jobId must be a whole number"),
        (b'{"action":"subscribe","jobId":{"id":3}}', "jobId must be a whole number"),
        (b'{"action":"subscribe","jobId":1,"mode":"newest"}', 'mode must be "all" or "latest"'),
        (b'{"action":"subscribe","jobId":1,"after":7}', "after must be text"),
        (b'{"action":"auth"}', "token is missing"),
        (b'{"action":"auth","token":null}', "token must be text"),
    ],
)
def test_a_refusal_says_what_is_wrong(message: bytes, why: str) -> None:
    told, id = refusal(message)
    assert told.startswith(why)
    assert id is None


@pytest.mark.parametrize(
    "message",
    [
        {"action": "subscribe"},
        {"action": "subscribe", "jobId": "a.b"},
        {"action": "subscribe", "jobId": {"id": "another"}},
        {"action": "subscribe", "jobId": 1, "mode": "x"},
        {"action": "unsubscribe", "jobId": []},
        {"action": "auth", "token": 5},
        {"action": "nothing"},
        {},
    ],
)
@pytest.mark.parametrize("id", ["q1", 7])
def test_a_refusal_carries_the_messages_id(message: dict[str, object], id: str | int) -> None:
    """A client with several messages under way knows by it which one failed."""
    assert refusal(message | {"id": id})[1] == id


@pytest.mark.parametrize("id", ["x" * 129, 2**53, -(2**53), 10**3000, 1.5, True, [], {"id": 1}])
def test_an_id_that_cannot_be_echoed_is_refused(id: object) -> None:
    told, echoed = refusal({"action": "unsubscribe", "jobId": 1, "id": id})
    assert told == "id must be text of at most 128 characters, or a whole number below 2^53"
    assert echoed is None


def holding(value: object) -> st.SearchStrategy[dict[str, object]]:
    """Objects with the protocol's fields in them, mostly wrong."""
    junk = st.sampled_from([value, None, 1, "*", "a.b", "subscribe", "auth", "latest", [value], {"token": value}])
    fields = ["action", "jobId", "token", "mode", "after", "id", "other"]
    return st.dictionaries(st.sampled_from(fields), junk)


@given(holding(SECRET))
@example({"action": "auth", "token": [SECRET]})
@example({"action": "auth", "token": {"jwt": SECRET}})
@example({"action": "subscribe", "jobId": SECRET})
@example({"action": SECRET})
def test_a_refusal_never_repeats_a_token(message: dict[str, object]) -> None:
    """Wherever a client has put it by mistake, but for the id, which it asked to be echoed."""
    found = outcome(json.dumps(message).encode())
    if isinstance(found, ActionError):
        assert SECRET not in found.message
        assert found.id is None or found.id == message["id"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
LIKELY = st.fixed_dictionaries(
    {"action": st.sampled_from(["subscribe", "unsubscribe", "auth"])},
    optional={"jobId": JSON, "token": JSON, "mode": JSON, "after": JSON, "id": JSON},
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | LIKELY.map(lambda v: json.dumps(v).encode()))
def test_nothing_but_an_action_or_a_refusal_comes_of_any_bytes(message: bytes) -> None:
    found = outcome(message)
    if isinstance(found, ActionError):
        assert found.code == "bad_message"
        assert 0 < len(found.message) < 200
        assert found.message.isprintable()
    else:
        assert isinstance(found, Auth) or found.job == "*" or is_name(found.job)
