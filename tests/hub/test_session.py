"""A client's conversation, decided without its socket: each rule of the protocol, and some that hold always."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, get_args

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from milepost_hub.action import ALL_JOBS, MessageId
from milepost_hub.close import CloseCode
from milepost_hub.errors import ActionError, KeysNotReady, TokenCode, TokenError
from milepost_hub.grant import Grant
from milepost_hub.message import rfc3339
from milepost_hub.session import Attach, Close, Detach, Effect, Enter, Reply, Session, State, Verify
from milepost_hub.settings import HubSettings

NOW = 1_767_268_800.0
SETTINGS = HubSettings()  # auth within 10 s, notice of 60 s, 100 subscriptions, 20 messages/s, 10 bad ones
ACME = Grant("acme", NOW + 3600)
LATER_OK: set[TokenCode] = {"token_not_yet_valid", "unknown_key", "keys_unavailable"}
"""Why a token is refused that the same hub may accept a little later."""


def send(session: Session, **fields: object) -> list[Effect]:
    return session.received(SETTINGS, json.dumps(fields).encode(), NOW)


def opened(grant: Grant = ACME, *topics: str | int) -> Session:
    """A session with a token, subscribed to these."""
    session = Session(SETTINGS, NOW)
    session.verified(grant, None, told=False, now=NOW)
    for topic in topics:
        send(session, action="subscribe", jobId=topic)
    return session


def said(effects: Sequence[Effect]) -> list[dict[str, Any]]:
    """The messages among the effects."""
    return [json.loads(effect.message) for effect in effects if isinstance(effect, Reply)]


def codes(effects: Sequence[Effect]) -> list[str | CloseCode]:
    """Error codes and close codes, in order."""
    found: list[str | CloseCode] = []
    for effect in effects:
        if isinstance(effect, Reply) and effect.error is not None:
            found.append(effect.error)
        elif isinstance(effect, Close):
            found.append(effect.code)
    return found


class TestToken:
    """The first one, and those after it."""

    def test_one_from_the_url_opens_without_a_word(self) -> None:
        """The original client expects no message that it did not ask for."""
        session = Session(SETTINGS, NOW)
        assert session.verified(ACME, None, told=False, now=NOW) == [Enter("acme")]
        assert session.state is State.OPEN

    def test_one_in_the_first_message_is_verified_and_answered(self) -> None:
        session = Session(SETTINGS, NOW)
        assert send(session, action="auth", token="t", id="a1") == [Verify("t", "a1")]
        effects = session.verified(ACME, "a1", told=True, now=NOW)
        assert effects[0] == Enter("acme")
        assert said(effects) == [
            {"type": "authenticated", "expiresAt": rfc3339(ACME.expires_at), "at": rfc3339(NOW), "id": "a1"}
        ]

    @pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
    def test_nothing_can_be_asked_before_it(self, action: str) -> None:
        """And the client may still send one."""
        session = Session(SETTINGS, NOW)
        effects = send(session, action=action, jobId=1, id=7)
        assert codes(effects) == ["unauthenticated"]
        assert said(effects)[0]["id"] == 7
        assert session.state is State.WAITING

    def test_who_sends_none_in_time_is_told_and_closed(self) -> None:
        session = Session(SETTINGS, NOW)
        assert session.next_check(SETTINGS) == NOW + 10
        assert session.passed(SETTINGS, NOW + 9.9) == []
        assert codes(session.passed(SETTINGS, NOW + 10)) == ["token_missing", CloseCode.BAD_TOKEN]

    def test_a_token_whose_keys_are_being_fetched_has_come_in_time(self) -> None:
        """A slow key server must not send clients away for good."""
        session = Session(SETTINGS, NOW)
        session.verifying()
        assert session.passed(SETTINGS, NOW + 1000) == []
        assert session.next_check(SETTINGS) == math.inf
        assert session.verified(ACME, None, told=False, now=NOW) == [Enter("acme")]

    @pytest.mark.parametrize("code", get_args(TokenCode))
    def test_a_refused_one_is_told_and_closed(self, code: TokenCode) -> None:
        """With a code that says whether to come back: what passes by itself is worth another try."""
        session = Session(SETTINGS, NOW)
        effects = session.refused(TokenError(code, "a sentence"), "a1")
        assert said(effects) == [{"type": "error", "code": code, "message": "a sentence", "id": "a1"}]
        assert codes(effects) == [code, CloseCode.GOING_AWAY if code in LATER_OK else CloseCode.BAD_TOKEN]
        assert session.state is State.CLOSED

    def test_keys_that_are_not_ready_are_a_reason_to_come_back(self) -> None:
        session = Session(SETTINGS, NOW)
        assert codes(session.refused(KeysNotReady("keys_unavailable", "later"), None))[-1] == CloseCode.GOING_AWAY

    def test_a_verdict_that_comes_after_the_close_changes_nothing(self) -> None:
        """Keys may take long, and the client may be gone or sent away meanwhile."""
        verdicts: list[Callable[[Session], list[Effect]]] = [
            lambda session: session.verified(ACME, None, told=True, now=NOW),
            lambda session: session.refused(TokenError("bad_signature", "no"), None),
            lambda session: session.crowded("full"),
        ]
        for verdict in verdicts:
            session = Session(SETTINGS, NOW)
            session.close(CloseCode.GOING_AWAY)
            assert verdict(session) == []
            assert session.state is State.CLOSED
            assert session.grant is None

    def test_it_is_announced_once_that_it_will_expire(self) -> None:
        session = opened()
        assert session.next_check(SETTINGS) == ACME.expires_at - 60
        assert session.passed(SETTINGS, ACME.expires_at - 60.1) == []
        effects = session.passed(SETTINGS, ACME.expires_at - 60)
        assert said(effects) == [{"type": "token.expiring", "expiresAt": rfc3339(ACME.expires_at)}]
        assert session.next_check(SETTINGS) == ACME.expires_at
        assert session.passed(SETTINGS, ACME.expires_at - 1) == []

    def test_a_short_lived_one_is_announced_at_once(self) -> None:
        session = opened(Grant("acme", NOW + 5))
        assert said(session.passed(SETTINGS, NOW))[0]["type"] == "token.expiring"

    def test_it_ends_the_connection_when_it_expires(self) -> None:
        session = opened()
        assert session.passed(SETTINGS, ACME.expires_at) == [Close(CloseCode.TOKEN_EXPIRED)]
        assert session.passed(SETTINGS, ACME.expires_at + 1) == []


class TestRefresh:
    """A newer token on an open connection."""

    def test_it_takes_the_place_of_the_old_one(self) -> None:
        """Subscriptions go on, the expiry moves, and it will be announced again."""
        session = opened(ACME, 1, "*")
        session.passed(SETTINGS, ACME.expires_at - 60)
        newer = Grant("acme", ACME.expires_at + 3600)
        assert send(session, action="auth", token="t2") == [Verify("t2", None)]
        effects = session.verified(newer, None, told=True, now=NOW)
        assert said(effects) == [{"type": "authenticated", "expiresAt": rfc3339(newer.expires_at), "at": rfc3339(NOW)}]
        assert len(effects) == 1
        assert set(session.topics) == {"1", ALL_JOBS}
        assert session.passed(SETTINGS, ACME.expires_at) == []
        assert said(session.passed(SETTINGS, newer.expires_at - 60))[0]["type"] == "token.expiring"

    def test_a_refused_one_leaves_the_old_one_in_force(self) -> None:
        session = opened(ACME, 1)
        effects = session.refused(TokenError("token_expired", "old"), 3)
        assert codes(effects) == ["token_expired"]
        assert said(effects)[0]["id"] == 3
        assert set(session.topics) == {"1"}
        assert session.passed(SETTINGS, ACME.expires_at) == [Close(CloseCode.TOKEN_EXPIRED)]

    def test_another_tenants_is_forbidden(self) -> None:
        """A connection never changes hands."""
        session = opened(ACME, 1)
        effects = session.verified(Grant("rival", NOW + 3600), "a2", told=True, now=NOW)
        assert codes(effects) == ["forbidden", CloseCode.FORBIDDEN]
        assert said(effects)[0]["id"] == "a2"
        assert session.grant == ACME

    def test_narrower_jobs_end_subscriptions_and_say_so(self) -> None:
        session = opened(ACME, 1, 2, 3)
        effects = session.verified(Grant("acme", NOW + 7200, jobs=frozenset({"2"})), None, told=True, now=NOW)
        assert [effect.topic for effect in effects if isinstance(effect, Detach)] == ["1", "3"]
        assert codes(effects) == ["forbidden", "forbidden"]
        assert [error["jobId"] for error in said(effects) if error["type"] == "error"] == [1, 3]
        assert set(session.topics) == {"2"}

    def test_without_the_scope_all_subscriptions_end(self) -> None:
        session = opened(ACME, 1, "*")
        effects = session.verified(Grant("acme", NOW + 7200, scopes=frozenset({"submit"})), None, told=True, now=NOW)
        assert {effect.topic for effect in effects if isinstance(effect, Detach)} == {"1", ALL_JOBS}
        assert {error["jobId"] for error in said(effects) if error["type"] == "error"} == {1, ALL_JOBS}
        assert set(session.topics) == frozenset()

    def test_all_jobs_come_to_mean_those_of_the_new_list(self) -> None:
        session = opened(ACME, "*")
        effects = session.verified(Grant("acme", NOW + 7200, jobs=frozenset({"2"})), None, told=True, now=NOW)
        assert effects[1:] == [Detach(ALL_JOBS), Attach(ALL_JOBS, "latest", None)]
        assert set(session.topics) == {ALL_JOBS}


class TestSubscribe:
    """What may be watched, and how it is asked for."""

    def test_the_original_message_attaches(self) -> None:
        session = opened()
        assert send(session, action="subscribe", jobId=123) == [Attach("123", "all", None)]
        assert set(session.topics) == {"123"}

    def test_mode_and_id_are_passed_on(self) -> None:
        assert send(opened(), action="subscribe", jobId="a", mode="latest", id=0) == [Attach("a", "latest", 0)]

    def test_asking_again_changes_the_mode(self) -> None:
        session = opened(ACME, 1)
        assert send(session, action="subscribe", jobId="1", mode="latest") == [Attach("1", "latest", None)]
        assert set(session.topics) == {"1"}

    @pytest.mark.parametrize("after", ["start", "17-1767268800", ""])
    def test_a_place_to_resume_from_is_passed_on(self, after: str) -> None:
        """Whether it is one, the log knows."""
        session = opened()
        effects = send(session, action="subscribe", jobId=1, after=after, id="q")
        assert effects == [Attach("1", "all", "q", after)]

    def test_all_jobs_have_no_place_to_resume_from(self) -> None:
        session = opened()
        effects = send(session, action="subscribe", jobId="*", after="start", id="q")
        assert codes(effects) == ["bad_cursor"]
        assert said(effects)[0]["id"] == "q"
        assert set(session.topics) == frozenset()

    @pytest.mark.parametrize(("watching", "topics"), [(False, frozenset()), (True, frozenset({"1"}))])
    def test_a_cursor_that_is_none_is_told_and_an_earlier_subscription_goes_on(
        self, watching: bool, topics: frozenset[str]
    ) -> None:
        session = opened(ACME, 1)
        effects = session.not_attached(ActionError("bad_cursor", "it is none", "q"), "1", watching=watching)
        assert codes(effects) == ["bad_cursor"]
        assert set(session.topics) == topics

    @pytest.mark.parametrize(
        ("grant", "topic"),
        [
            (Grant("acme", NOW + 60, jobs=frozenset({"1"})), 2),
            (Grant("acme", NOW + 60, jobs=frozenset({"1"})), "01"),
            (Grant("acme", NOW + 60, jobs=frozenset()), 1),
            (Grant("acme", NOW + 60, scopes=frozenset({"submit", "cancel"})), 1),
            (Grant("acme", NOW + 60, scopes=frozenset()), "*"),
        ],
    )
    def test_what_the_token_does_not_allow_is_forbidden(self, grant: Grant, topic: str | int) -> None:
        """Known jobs and unknown ones alike, so that nothing is learnt by asking. The connection stays."""
        session = opened(grant)
        effects = send(session, action="subscribe", jobId=topic, id=9)
        assert codes(effects) == ["forbidden"]
        assert said(effects)[0]["id"] == 9
        assert session.state is State.OPEN

    def test_all_jobs_are_open_to_a_token_with_a_list(self) -> None:
        """They are then those of the list, which is the hub's to see to."""
        session = opened(Grant("acme", NOW + 60, jobs=frozenset({"1"})))
        assert send(session, action="subscribe", jobId="*") == [Attach(ALL_JOBS, "all", None)]

    def test_one_subscription_too_many_is_refused(self) -> None:
        """Those there are go on, may be asked for again, and make room when they end."""
        session = opened(ACME, *range(100))
        effects = send(session, action="subscribe", jobId="more", id="q")
        assert codes(effects) == ["too_many_subscriptions"]
        assert said(effects)[0]["id"] == "q"
        assert send(session, action="subscribe", jobId=5) == [Attach("5", "all", None)]
        send(session, action="unsubscribe", jobId=5)
        assert send(session, action="subscribe", jobId="more") == [Attach("more", "all", None)]

    def test_unsubscribing_detaches_and_is_answered(self) -> None:
        session = opened(ACME, 1)
        effects = send(session, action="unsubscribe", jobId=1, id="u")
        assert effects[0] == Detach("1")
        assert said(effects) == [{"type": "unsubscribed", "jobId": 1, "id": "u"}]
        assert set(session.topics) == frozenset()

    @pytest.mark.parametrize("topic", ["1", ALL_JOBS])
    def test_unsubscribing_from_what_is_not_subscribed_is_answered_and_does_nothing(self, topic: str) -> None:
        """A count of who watches would otherwise go below what it is."""
        effects = send(opened(), action="unsubscribe", jobId=topic)
        assert len(effects) == 1
        assert said(effects)[0]["type"] == "unsubscribed"


class TestTooMuch:
    """What ends a conversation that goes on too long about nothing."""

    def test_bad_messages_are_told_apart_and_the_tenth_closes(self) -> None:
        session = opened()
        for _ in range(9):
            assert codes(session.received(SETTINGS, b"junk", NOW)) == ["bad_message"]
        assert codes(session.binary(SETTINGS)) == ["bad_message", CloseCode.BAD_MESSAGE]

    def test_a_refused_action_is_not_a_bad_message(self) -> None:
        """A client that asks for what it may not have can still be understood."""
        session = opened(Grant("acme", NOW + 60, jobs=frozenset()))
        for _ in range(50):
            assert codes(send(session, action="subscribe", jobId=1)) == ["forbidden"]

    def test_ten_seconds_worth_of_messages_may_come_at_once(self) -> None:
        session = opened()
        for _ in range(200):
            assert session.spend(SETTINGS, NOW) == []
        assert codes(session.spend(SETTINGS, NOW)) == ["too_many_messages", CloseCode.TOO_MANY]

    def test_twenty_a_second_may_come_for_ever(self) -> None:
        session = opened()
        for number in range(2000):
            assert session.spend(SETTINGS, NOW + number / 20) == []

    def test_a_clock_set_back_takes_nothing_away(self) -> None:
        session = opened()
        session.spend(SETTINGS, NOW)
        for _ in range(199):
            assert session.spend(SETTINGS, NOW - 1000) == []

    def test_too_many_connections_are_told_and_closed(self) -> None:
        assert codes(opened().crowded("full")) == ["too_many_connections", CloseCode.TOO_MANY]


def test_nothing_follows_a_close() -> None:
    """Whatever still arrives is left unread."""
    session = opened(ACME, 1)
    assert session.close(CloseCode.TOO_SLOW) == [Close(CloseCode.TOO_SLOW)]
    assert session.close(CloseCode.GOING_AWAY) == []
    assert send(session, action="subscribe", jobId=2) == []
    assert session.received(SETTINGS, b"junk", NOW) == []
    assert session.binary(SETTINGS) == []
    assert session.spend(SETTINGS, NOW) == []
    assert session.passed(SETTINGS, math.inf) == []


LIMITED = HubSettings(max_subscriptions=3, max_messages_per_second=2, max_bad_messages=5, auth_wait=10, token_notice=5)
JOBS = ["1", "2", "3", "a", "b"]
grants = st.builds(
    Grant,
    st.sampled_from(["acme", "acme", "acme", "rival"]),
    st.floats(NOW, NOW + 100),
    jobs=st.none() | st.frozensets(st.sampled_from(JOBS)),
    scopes=st.frozensets(st.sampled_from(["watch", "submit"])),
)
topics = st.sampled_from([*JOBS, 1, 2, 3, "*"])
ids = st.none() | st.integers(0, 9) | st.text(max_size=3)


class Conversation(RuleBasedStateMachine):
    """Any sequence of messages, verdicts and moments, carried out as the connection would."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.session = Session(LIMITED, NOW)
        self.attached: set[str] = set()
        self.tenant: str | None = None
        self.closed = False
        self.verifying: Verify | None = None

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert not self.closed, f"{effect} after the close"
            match effect:
                case Enter(tenant):
                    assert self.tenant is None
                    self.tenant = tenant
                case Attach(topic):
                    grant = self.session.grant
                    assert grant is not None
                    assert grant.tenant == self.tenant
                    assert grant.allows("watch")
                    assert topic == ALL_JOBS or grant.may_watch(topic)
                    self.attached.add(topic)
                case Detach(topic):
                    self.attached.remove(topic)
                case Verify():
                    assert self.verifying is None
                    self.verifying = effect
                case Close():
                    self.closed = True
                case Reply(data, error):
                    told = json.loads(data)
                    assert told.get("code") == error

    def messages_are_read(self) -> bool:
        # the connection reads no further while a token is being verified
        return self.verifying is None

    @initialize(grant=st.none() | grants)
    def token_in_the_url(self, grant: Grant | None) -> None:
        if grant is not None:
            self.carry_out(self.session.verified(grant, None, told=False, now=NOW))

    @precondition(messages_are_read)
    @rule(topic=topics, mode=st.sampled_from(["all", "latest"]), after=st.none() | st.text(max_size=3), id=ids)
    def subscribe(self, topic: str | int, mode: str, after: str | None, id: MessageId) -> None:
        self.message(action="subscribe", jobId=topic, mode=mode, after=after, id=id)

    @precondition(messages_are_read)
    @rule(topic=topics, id=ids)
    def unsubscribe(self, topic: str | int, id: MessageId) -> None:
        self.message(action="unsubscribe", jobId=topic, id=id)

    @precondition(messages_are_read)
    @rule(id=ids)
    def auth(self, id: MessageId) -> None:
        self.message(action="auth", token="t", id=id)

    @precondition(messages_are_read)
    @rule(data=st.binary(max_size=8) | st.sampled_from([b"{}", b"[]", b'{"action":"subscribe","jobId":">"}']))
    def junk(self, data: bytes) -> None:
        self.carry_out(self.session.received(LIMITED, data, self.now))

    @precondition(messages_are_read)
    @rule()
    def binary(self) -> None:
        self.carry_out(self.session.binary(LIMITED))

    @precondition(lambda self: self.verifying is not None)
    @rule(verdict=grants | st.sampled_from([TokenError("bad_signature", "no"), TokenError("unknown_key", "not yet")]))
    def verdict_comes(self, verdict: Grant | TokenError) -> None:
        asked, self.verifying = self.verifying, None
        assert asked is not None
        if isinstance(verdict, Grant):
            self.carry_out(self.session.verified(verdict, asked.id, told=True, now=NOW))
        else:
            self.carry_out(self.session.refused(verdict, asked.id))

    @precondition(lambda self: self.verifying is not None)
    @rule()
    def keys_are_fetched(self) -> None:
        self.session.verifying()

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out(self.session.passed(LIMITED, self.now))

    @rule(count=st.integers(1, 10))
    def frames_come(self, count: int) -> None:
        for _ in range(count):
            self.carry_out(self.session.spend(LIMITED, self.now))

    @rule()
    def hub_is_full(self) -> None:
        self.carry_out(self.session.crowded("full"))

    def message(self, **fields: object) -> None:
        data = json.dumps({name: value for name, value in fields.items() if value is not None}).encode()
        self.carry_out(self.session.received(LIMITED, data, self.now))

    @invariant()
    def what_is_attached_is_allowed_and_bounded(self) -> None:
        grant = self.session.grant
        assert self.closed == (self.session.state is State.CLOSED)
        assert self.attached == set(self.session.topics)
        assert len(self.attached) <= LIMITED.max_subscriptions
        if self.attached:
            assert grant is not None
            assert grant.tenant == self.tenant
            assert all(
                grant.allows("watch") if topic == ALL_JOBS else grant.may_watch(topic) for topic in self.attached
            )

    @invariant()
    def an_open_session_looks_at_the_clock_in_time(self) -> None:
        """Just before the moment it names, time has nothing to say."""
        due_at = self.session.next_check(LIMITED)
        if not self.closed and math.nextafter(due_at, 0) > self.now and due_at < math.inf:
            assert self.session.passed(LIMITED, math.nextafter(due_at, 0)) == []


TestConversation = Conversation.TestCase
TestConversation.settings = hypothesis_settings(stateful_step_count=60)
