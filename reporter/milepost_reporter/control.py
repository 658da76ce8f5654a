"""Requests to a job on its `.control`, read and answered (sans-I/O). Source: protocol, *Subjects*.

ValueError
 └── BadRequest     a payload asks for nothing that a job does; its text is the answer's message
"""

import json
from typing import Final

CANCEL: Final = "cancel"

ACCEPTED: Final = b'{"ok":true}'
"""The job will stop."""

_MAX_REQUEST: Final = 4_096
"""Bytes of a request; what is larger is not even parsed."""


class BadRequest(ValueError):  # noqa: N818 - as BadEvent
    """A request that is none, or asks for what no job does."""


def read_action(payload: bytes) -> str:
    """The action that is asked for: `CANCEL`. BadRequest, and nothing else, when it is no such request."""
    if len(payload) > _MAX_REQUEST:
        raise BadRequest(f"{len(payload)} bytes are more than a request's {_MAX_REQUEST}")
    try:
        request = json.loads(payload)
    except (ValueError, RecursionError):
        raise BadRequest("not JSON") from None
    action = request.get("action") if isinstance(request, dict) else None
    if action != CANCEL:
        raise BadRequest(f'no action that a job knows: {{"action":"{CANCEL}"}} is one')
    return CANCEL


def refusal(message: str) -> bytes:
    """The answer to a request that comes to nothing; `message` says why, for people."""
    return json.dumps({"ok": False, "message": message}, separators=(",", ":")).encode()
