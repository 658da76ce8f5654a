"""The hub's messages as JSON bytes, one function a type."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from milepost_hub.action import ALL_JOBS, MessageId
from milepost_hub.job_id import write_job_id
from milepost_hub.job_log import Gap, Snapshot

_LAST = 253_402_300_799.0
"""The end of the year 9999, the last that RFC 3339 can write; a token's `exp` may be that, and leeway comes on top."""


def progress_head(job: str) -> bytes:
    """What stands before the payload of a `job.progress`; see `delivery`."""
    return b'{"type":"job.progress","jobId":%b,"payload":' % write_job_id(job)


def gap(job: str, gap: Gap) -> bytes:
    """Events that were asked for cannot be had; a snapshot follows."""
    places = {"from": gap.start, "to": gap.to}
    return _message("job.gap", None, job, reason=gap.reason, **{name: at for name, at in places.items() if at})


def snapshot(job: str, snapshot: Snapshot) -> bytes:
    """What a job amounts to, and from where its events go on."""
    head = b'{"type":"job.snapshot","jobId":%b,"snapshot":%b' % (write_job_id(job), snapshot.json)
    if snapshot.cursor is None:
        return head + b"}"
    return b'%b,"cursor":"%b"}' % (head, snapshot.cursor.encode())


def unknown_state(job: str) -> bytes:
    """The snapshot object of a job of which nothing is kept."""
    empty = dict.fromkeys(_STATE)
    state = {"jobId": json.loads(write_job_id(job)), **empty, "nodes": [], "artifacts": [], "logTail": []}
    state |= {"status": "unknown", "stalled": False, "durable": False}
    return json.dumps(state, separators=(",", ":")).encode()


_STATE = (
    *("name", "status", "run", "fraction", "message", "nodes", "plan", "artifacts", "logTail", "result", "error"),
    *("queuedAt", "startedAt", "endedAt", "lastEventAt"),
)
"""The protocol's snapshot, in its order."""


def summary(fields: bytes) -> bytes:
    """A job's summary, of a JSON object with its fields."""
    return b"%b%b}" % (SUMMARY_HEAD, fields[1:-1])


def listed(count: int, *, durable: bool) -> bytes:
    """Every summary of a list of so many jobs was sent."""
    told = {"type": "listed", "jobId": ALL_JOBS, "count": count, "durable": durable}
    return json.dumps(told, separators=(",", ":")).encode()


def done(job: str) -> bytes:
    """Nothing follows: an SSE stream ends."""
    return _message("done", None, job)


SUMMARY_HEAD = b'{"type":"job.summary",'
"""What stands before a summary's fields; behind them stands a closing brace."""


def subscribed(topic: str, *, durable: bool, up: bool, id: MessageId) -> bytes:
    """From now on the client hears of this job."""
    return _message("subscribed", id, topic, durable=durable, upstream=_status(up))


def unsubscribed(topic: str, id: MessageId) -> bytes:
    """From now on it does not."""
    return _message("unsubscribed", id, topic)


def authenticated(expires_at: float, at: float, id: MessageId) -> bytes:
    """The token is good, until then; it is now so late here (both unix seconds)."""
    return _message("authenticated", id, expiresAt=rfc3339(expires_at), at=rfc3339(at))


def token_expiring(expires_at: float) -> bytes:
    """The token will soon have expired (unix seconds)."""
    return _message("token.expiring", expiresAt=rfc3339(expires_at))


def upstream(up: bool) -> bytes:
    """The hub's own source of events is there, or away."""
    return _message("upstream", status=_status(up))


def heartbeat(at: float) -> bytes:
    """Nothing has happened, and the hub is alive (unix seconds)."""
    return _message("heartbeat", at=rfc3339(at))


def error(code: str, message: str, id: MessageId = None, topic: str | None = None) -> bytes:
    """What a client asked for cannot be; `code` is for programs, `message` for people, `topic` what is not watched."""
    return _message("error", id, topic, code=code, message=message)


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
