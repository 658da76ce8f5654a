"""The hub's messages as JSON bytes, one function a type."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from milepost_hub.action import ALL_JOBS, MessageId
from milepost_hub.event import Event
from milepost_hub.job_id import write_job_id

_LAST = 253_402_300_799.0
"""The end of the year 9999, the last that RFC 3339 can write; a token's `exp` may be that, and leeway comes on top."""


def progress_head(job: str) -> bytes:
    """What stands before the payload of a `job.progress`; behind it stands `progress_tail`."""
    return b'{"type":"job.progress","jobId":%b,"payload":' % write_job_id(job)


def progress_tail(event: Event) -> bytes:
    """What stands behind the payload: its place in the log, if there is one."""
    if event.cursor is None:
        return b"}"
    return b',"cursor":"%b","at":"%b"}' % (event.cursor.encode(), (event.at or "").encode())


SUMMARY_HEAD = b'{"type":"job.summary",'
"""What stands before a summary's fields; behind them stands a closing brace."""


def subscribed(topic: str, *, durable: bool, up: bool, id: MessageId) -> bytes:
    """From now on the client hears of this job."""
    return _message("subscribed", id, topic, durable=durable, upstream=_status(up))


def unsubscribed(topic: str, id: MessageId) -> bytes:
    """From now on it does not."""
    return _message("unsubscribed", id, topic)


def authenticated(expires_at: float, id: MessageId) -> bytes:
    """The token is good, until then (unix seconds)."""
    return _message("authenticated", id, expiresAt=rfc3339(expires_at))


def token_expiring(expires_at: float) -> bytes:
    """The token will soon have expired (unix seconds)."""
    return _message("token.expiring", expiresAt=rfc3339(expires_at))


def upstream(up: bool) -> bytes:
    """The hub's own source of events is there, or away."""
    return _message("upstream", status=_status(up))


def heartbeat(at: float) -> bytes:
    """Nothing has happened, and the hub is alive (unix seconds)."""
    return _message("heartbeat", at=rfc3339(at))


def error(code: str, message: str, id: MessageId = None) -> bytes:
    """What a client asked for cannot be; `code` is for programs, `message` for people."""
    return _message("error", id, code=code, message=message)


def rfc3339(at: float) -> str:
    """Unix seconds as RFC 3339 in UTC, with milliseconds; the end of the year 9999 for whatever is beyond."""
    return datetime.fromtimestamp(min(at, _LAST), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _status(up: bool) -> str:
    return "up" if up else "down"


def _message(type: str, id: MessageId = None, topic: str | None = None, **fields: str | bool) -> bytes:
    message: dict[str, object] = {"type": type}
    if topic is not None:
        message["jobId"] = topic if topic == ALL_JOBS else json.loads(write_job_id(topic))
    message |= fields
    if id is not None:
        message["id"] = id
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()
