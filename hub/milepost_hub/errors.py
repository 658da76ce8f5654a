"""The hub's exceptions.

* HubError
    * KeyConfigError: a secret, key file or key set cannot be used; raised at start
    * TokenError: this token does not let its bearer in
        * KeysNotReady: not yet; read the keys again and verify once more
    * ActionError: this message of a client cannot be done
    * BadCursor: this is no cursor
    * CursorGone: the log has not what a cursor stands for
    * LogUnavailable: the log cannot be read just now
    * JobSilent: the job's own program does not answer
    * UpstreamDown: it cannot be asked just now
    * DeskError: whoever takes submitted jobs will not, or cannot
        * SubmitRefused: this job cannot be taken as it is
        * JobUnknown: no such job was submitted here
        * JobEnded: there is nothing left to cancel
        * DeskUnavailable: it cannot be done just now

Codes are stable and for programs; messages are sentences a person can act on, and never repeat the token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from milepost_hub.job_log import Gap

TokenCode = Literal[
    "token_missing",
    "token_malformed",
    "token_expired",
    "token_not_yet_valid",
    "bad_signature",
    "bad_algorithm",
    "unknown_key",
    "keys_unavailable",
    "bad_issuer",
    "bad_audience",
    "bad_claim",
]
"""Why a token was refused. All of them last as long as the token, except `token_not_yet_valid`, `unknown_key`
and `keys_unavailable`, where the same token may be accepted later."""


class HubError(Exception):
    """Whatever the hub raises on purpose."""


class KeyConfigError(HubError, ValueError):
    """A secret, key file or key set cannot be used; the message says which one and what to do."""


class TokenError(HubError):
    """A token was refused."""

    def __init__(self, code: TokenCode, message: str) -> None:
        super().__init__(message)
        self.code: TokenCode = code
        self.message = message


class KeysNotReady(TokenError):  # noqa: N818 - a state that passes, not a fault of the token
    """No key at hand verifies the token, but newer ones may: await `KeySource.refresh()`, verify again."""


class ActionError(HubError):
    """A client's message was refused.

    `id` is the message's own, echoed, or None when it had none; `topic` the job whose subscription is refused or has
    ended, or `*`.
    """

    def __init__(self, code: str, message: str, id: str | int | None = None, topic: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id
        self.topic = topic


class BadCursor(HubError, ValueError):  # noqa: N818 - what a client has sent, not a fault
    """This is no cursor; the message is a sentence for the client."""


class CursorGone(HubError):  # noqa: N818 - what retention and new streams do, not a fault
    """What stood behind a cursor cannot be had event by event any more."""

    def __init__(self, gap: Gap) -> None:
        super().__init__(f"the log has a gap: {gap.reason}")
        self.gap = gap


class LogUnavailable(HubError):  # noqa: N818 - a state that passes
    """The log cannot be read just now; ask again a little later."""


class JobSilent(HubError):  # noqa: N818 - a way a job may be, not a fault
    """The job's own program was asked, and does not answer; the message is a sentence for the client that says why."""


class UpstreamDown(HubError):  # noqa: N818 - a state that passes
    """The source of events is out of reach, and jobs behind it; ask again a little later."""


class DeskError(HubError):
    """What a `Desk` answers instead of doing what it was asked for; messages are sentences for the client."""


class SubmitRefused(DeskError):  # noqa: N818 - an answer, not a fault
    """A job cannot be taken as it is.

    status: 404, nothing is known under its name; 409, its key is taken by another job; 413, it is too large; 422, its
    payload does not fit, for `reasons`: `{"loc": ["payload", "rows", 0], "msg": "…"}` each, and more keys pass unseen.
    """

    def __init__(self, status: int, message: str, reasons: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reasons = list(reasons)


class JobUnknown(DeskError):  # noqa: N818 - an answer
    """No such job was submitted here, or it is forgotten by now."""


class JobEnded(DeskError):  # noqa: N818 - an answer
    """The job has ended: there is nothing left to cancel."""


class DeskUnavailable(DeskError):  # noqa: N818 - a state that passes
    """It cannot be done just now; ask again a little later. It may have been done all the same."""
