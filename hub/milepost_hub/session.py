"""One client's conversation, without its socket: messages and time in, effects out.

    WAITING ── token verified ──▶ OPEN ── expired, forbidden, too much ──▶ CLOSED
       └────── no token in time, or a refused one ────────────────────────▶ CLOSED

The connection carries the effects out in order. Whatever is refused leaves the connection open unless a `Close`
follows, and never touches another client.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

from milepost_hub import message
from milepost_hub.action import ALL_JOBS, Action, Auth, MessageId, Mode, Subscribe, Unsubscribe, parse_action
from milepost_hub.close import CloseCode
from milepost_hub.errors import ActionError, TokenError
from milepost_hub.grant import Grant
from milepost_hub.settings import HubSettings

_BURST_SECONDS = 10.0
_MAY_PASS = frozenset({"keys_unavailable", "unknown_key", "token_not_yet_valid"})


class State(Enum):
    """How far the conversation has come."""

    WAITING = auto()
    OPEN = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this message; `error` is its code when it is an error."""

    message: bytes
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Verify:
    """Verify this token, then call `verified` or `refused`; the client's next message waits until then."""

    token: str
    id: MessageId


@dataclass(frozen=True, slots=True)
class Enter:
    """Count the client to its tenant, which may be full: then call `crowded`."""

    tenant: str


@dataclass(frozen=True, slots=True)
class Attach:
    """Subscribe to this topic, and answer `subscribed` once it is in effect."""

    topic: str
    mode: Mode
    id: MessageId
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Detach:
    """Unsubscribe from this topic."""

    topic: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection; nothing follows."""

    code: CloseCode


Effect = Reply | Verify | Enter | Attach | Detach | Close


class Session:
    """What one client may do and has asked for. Times are unix seconds."""

    __slots__ = ("_allowance", "_bad", "_counted_at", "_deadline", "_told", "grant", "state", "topics")

    def __init__(self, settings: HubSettings, now: float) -> None:
        self.state = State.WAITING
        self.grant: Grant | None = None
        self.topics: tuple[str, ...] = ()
        self._deadline = now + settings.auth_wait
        self._told = False
        self._bad = 0
        self._allowance = settings.max_messages_per_second * _BURST_SECONDS
        self._counted_at = now

    def received(self, settings: HubSettings, data: bytes, now: float) -> list[Effect]:
        """A text message has come."""
        if self.state is State.CLOSED:
            return []
        try:
            action = parse_action(data)
        except ActionError as refused:
            return self._bad_message(settings, refused)
        try:
            return self._carry_out(settings, action)
        except ActionError as refused:
            return self._answer(refused)

    def spend(self, settings: HubSettings, now: float) -> list[Effect]:
        """Any frame has come, pings included: is it one too many?"""
        if self.state is State.CLOSED:
            return []
        full = settings.max_messages_per_second * _BURST_SECONDS
        earned = max(0.0, now - self._counted_at) * settings.max_messages_per_second
        self._allowance = min(full, self._allowance + earned)
        self._counted_at = now
        if self._allowance < 1:
            why = f"too many messages: at most {settings.max_messages_per_second:g} a second"
            return [*self._answer(ActionError("too_many_messages", why)), *self.close(CloseCode.TOO_MANY)]
        self._allowance -= 1
        return []

    def binary(self, settings: HubSettings) -> list[Effect]:
        """A binary message has come; there are none in this protocol."""
        if self.state is State.CLOSED:
            return []
        return self._bad_message(settings, ActionError("bad_message", "send JSON as text, not binary"))

    def verified(self, grant: Grant, id: MessageId, *, told: bool, now: float) -> list[Effect]:
        """The token is good. `told`: the client sent it as a message and gets an answer."""
        if self.state is State.CLOSED:  # while the keys were fetched
            return []
        first, known = self.grant is None, self.grant
        if known is not None and known.tenant != grant.tenant:
            why = "a connection belongs to one tenant: open another one for this token"
            return [*self._answer(ActionError("forbidden", why, id)), *self.close(CloseCode.FORBIDDEN)]
        self.grant, self.state, self._told = grant, State.OPEN, False
        effects: list[Effect] = [Enter(grant.tenant)] if first else []
        if told:
            effects.append(Reply(message.authenticated(grant.expires_at, now, id)))
        for topic in sorted(self.topics):
            if not _may_watch(grant, topic) or topic == ALL_JOBS:
                effects += self._drop(topic, grant, known)
        return effects

    def refused(self, error: TokenError, id: MessageId) -> list[Effect]:
        """The token is not good. Who has a good one already keeps it until it expires."""
        if self.state is State.CLOSED:
            return []
        effects = self._answer(ActionError(error.code, error.message, id))
        if self.grant is None:
            # What the same token may be good for a little later is no reason to stay away.
            passing = error.code in _MAY_PASS
            effects += self.close(CloseCode.GOING_AWAY if passing else CloseCode.BAD_TOKEN)
        return effects

    def verifying(self) -> None:
        """A token has come and its keys are being fetched: the time until a token must have come is over."""
        self._deadline = math.inf

    def crowded(self, why: str) -> list[Effect]:
        """There are too many connections already."""
        if self.state is State.CLOSED:
            return []
        return [*self._answer(ActionError("too_many_connections", why)), *self.close(CloseCode.TOO_MANY)]

    def passed(self, settings: HubSettings, now: float) -> list[Effect]:
        """Time has passed: is the token near its end, or has none come?"""
        if self.state is State.CLOSED:
            return []
        if self.grant is None:
            if now < self._deadline:
                return []
            why = f"no token came within {settings.auth_wait:g} s: send one in the URL or as the first message"
            return [*self._answer(ActionError("token_missing", why)), *self.close(CloseCode.BAD_TOKEN)]
        expires_at = self.grant.expires_at
        if now >= expires_at:
            return self.close(CloseCode.TOKEN_EXPIRED)
        if now >= expires_at - settings.token_notice and not self._told:
            self._told = True
            return [Reply(message.token_expiring(expires_at))]
        return []

    def next_check(self, settings: HubSettings) -> float:
        """When `passed` may have something to say again, in unix seconds."""
        if self.grant is None:
            return self._deadline
        return self.grant.expires_at - (0 if self._told else settings.token_notice)

    def close(self, code: CloseCode) -> list[Effect]:
        """End the conversation."""
        if self.state is State.CLOSED:
            return []
        self.state = State.CLOSED
        return [Close(code)]

    def _carry_out(self, settings: HubSettings, action: Action) -> list[Effect]:
        if isinstance(action, Auth):
            return [Verify(action.token, action.id)]
        if self.grant is None:
            raise ActionError("unauthenticated", 'send {"action":"auth","token":"…"} first', action.id)
        if isinstance(action, Subscribe):
            return self._subscribe(settings, action, self.grant)
        return self._unsubscribe(action)

    def _subscribe(self, settings: HubSettings, action: Subscribe, grant: Grant) -> list[Effect]:
        if not _may_watch(grant, action.job):
            raise ActionError("forbidden", "the token does not allow watching this job", action.id, action.job)
        if action.after is not None and action.job == ALL_JOBS:
            why = "`after` is a place in one job's log: subscribe to all jobs without it, or to that job with it"
            raise ActionError("bad_cursor", why, action.id, action.job)
        if action.job not in self.topics and len(self.topics) >= settings.max_subscriptions:
            why = f"at most {settings.max_subscriptions} subscriptions: unsubscribe from a job first"
            raise ActionError("too_many_subscriptions", why, action.id, action.job)
        if action.job not in self.topics:
            self.topics = (*self.topics, action.job)
        return [Attach(action.job, action.mode, action.id, action.after)]

    def not_attached(self, refused: ActionError, topic: str, *, watching: bool) -> list[Effect]:
        """What was asked for with a subscription cannot be; an earlier one of the same topic goes on."""
        if not watching:
            self._forget(topic)
        return self._answer(refused)

    def _unsubscribe(self, action: Unsubscribe) -> list[Effect]:
        reply = Reply(message.unsubscribed(action.job, action.id))
        if action.job not in self.topics:
            return [reply]
        self._forget(action.job)
        return [Detach(action.job), reply]

    def _forget(self, topic: str) -> None:
        self.topics = tuple(other for other in self.topics if other != topic)

    def _drop(self, topic: str, grant: Grant, known: Grant | None) -> list[Effect]:
        if topic == ALL_JOBS and grant.allows("watch"):
            # The same words, but which jobs they stand for may have changed with the token's list.
            same = known is not None and known.jobs == grant.jobs
            return [] if same else [Detach(topic), Attach(topic, "latest", None)]
        self._forget(topic)
        why = f"the new token does not allow watching {topic}: its subscription has ended"
        return [Detach(topic), *self._answer(ActionError("forbidden", why, None, topic))]

    def _bad_message(self, settings: HubSettings, refused: ActionError) -> list[Effect]:
        self._bad += 1
        effects = self._answer(refused)
        if self._bad >= settings.max_bad_messages:
            effects += self.close(CloseCode.BAD_MESSAGE)
        return effects

    @staticmethod
    def _answer(refused: ActionError) -> list[Effect]:
        return [Reply(message.error(refused.code, refused.message, refused.id, refused.topic), refused.code)]


def _may_watch(grant: Grant, topic: str) -> bool:
    return grant.allows("watch") if topic == ALL_JOBS else grant.may_watch(topic)
