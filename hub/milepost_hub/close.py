"""Close codes of `/ws`. 4000-4499: come back; 4500-4999: coming back will not help.

The range carries the policy, so that a client needs no table of its own.
"""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """Why the hub ended a connection."""

    GOING_AWAY = 4001
    TOO_SLOW = 4002
    TOKEN_EXPIRED = 4003
    REVOKED = 4004
    BAD_TOKEN = 4500
    FORBIDDEN = 4501
    BAD_MESSAGE = 4502
    TOO_MANY = 4503

    @property
    def reason(self) -> str:
        """The words that go with the code, at most 123 bytes (RFC 6455, section 5.5)."""
        return REASONS[self]


REASONS = {
    CloseCode.GOING_AWAY: "the hub is going away: reconnect",
    CloseCode.TOO_SLOW: "too slow: reconnect and resume by cursor",
    CloseCode.TOKEN_EXPIRED: "the token has expired: reconnect with a new one",
    CloseCode.REVOKED: "the token was revoked or replaced: reconnect with another",
    CloseCode.BAD_TOKEN: "the token was refused",
    CloseCode.FORBIDDEN: "the token does not allow this",
    CloseCode.BAD_MESSAGE: "too many messages the hub cannot read",
    CloseCode.TOO_MANY: "too many connections, subscriptions or messages",
}
