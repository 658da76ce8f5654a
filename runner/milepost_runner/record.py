"""One job as the store has it, and every change that it can go through (sans-I/O).

| from | what happens | to | run | told in the log by |
|---|---|---|---|---|
| nothing | claimed | running | 1 | running |
| nothing | cancelled | cancelled | 1 | the end |
| queued | claimed | running | same | running |
| queued | cancelled | cancelled | same | the end |
| running, cancelling | its worker died, claimed by another | running | next | running |
| running, cancelling | its worker died, once too often | failed | same | the end |
| running | told to stop | cancelling | same | cancelling |
| cancelling | its worker died | cancelled | same | the end |
| running, cancelling | the handler came out | completed, failed, cancelled | same | the end |
| running | the handler failed and is tried again | queued | next | the end, which says so; queued |
| running | its worker leaves | queued | next | queued |

`run` is always the run that the log was told of last, or is about to be. A record that has ended changes no more.
"""

from __future__ import annotations

import json
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from milepost_runner.moment import Moment
from milepost_runner.work import Work

QUEUED: Final = "queued"
RUNNING: Final = "running"
CANCELLING: Final = "cancelling"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

ENDS: Final = frozenset({COMPLETED, FAILED, CANCELLED})

_MAX_REASON: Final = 1_000
"""Characters of why a job is to stop: they stand in the record, and in the run's end."""

_MOST: Final = 2**53 - 1
"""Counts that every reader can hold; a run stands in a subject, too."""


class BadRecord(ValueError):  # noqa: N818 - what it is
    """It is no record; the message says why."""


class JobRecord(NamedTuple):
    """What is known of one job. Times are aware; `result` and `payload` are any JSON.

    `deaths`: how many workers have died with it. `failures`: how many runs have failed and been followed by another.
    `claim`: who may change it while it runs, a secret of one claim. `delivered`: how often its
    message had been delivered when it was claimed. `started_at`: when the last run began.
    """

    name: str
    queue: str
    payload: Any
    status: str
    run: int
    queued_at: datetime
    deaths: int = 0
    failures: int = 0
    worker: str | None = None
    claim: str | None = None
    delivered: int = 0
    cancel_reason: str | None = None
    fraction: float | None = None
    message: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: Any = None
    error: dict[str, str] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDS

    def write(self) -> bytes:
        """As it is kept."""
        kept = {name: value for name, value in zip(_NAMES, self, strict=True) if value is not None}
        try:
            return to_json(kept)
        except ValueError:
            # Half a surrogate pair, as in the names of odd files, is not Unicode: it becomes a question mark.
            return json.dumps(kept, ensure_ascii=False, default=datetime.isoformat).encode("utf-8", "replace")

    def changed(self, **fields: Any) -> JobRecord:  # noqa: ANN401 - its own fields
        """The same but for these."""
        return self._replace(**fields)


_NAMES: Final = tuple(map(to_camel, JobRecord._fields))


class _Kept(BaseModel):
    """A record as it is read: whoever wrote it may have been anybody."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel)

    name: str = Field(max_length=64)
    queue: str = Field(max_length=64)
    payload: Any = None
    status: Literal["queued", "running", "cancelling", "completed", "failed", "cancelled"]
    run: int = Field(ge=1, le=_MOST)
    queued_at: Moment
    deaths: int = Field(default=0, ge=0, le=_MOST)
    failures: int = Field(default=0, ge=0, le=_MOST)
    worker: str | None = None
    claim: str | None = None
    delivered: int = Field(default=0, ge=0, le=_MOST)
    cancel_reason: str | None = None
    fraction: float | None = Field(default=None, allow_inf_nan=False)
    message: str | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None
    result: Any = None
    error: dict[str, str] | None = None


class Turn(Enum):
    """What is to be done with a job whose message has come."""

    RUN = "run"
    END = "end"
    """It ends without running; the record says how."""
    TOLD = "told"
    """It has ended: that is told again, in case that nobody was left to."""


class Decision(NamedTuple):
    """`record` is to be written, unless it is `TOLD`."""

    turn: Turn
    record: JobRecord


def read_record(payload: bytes) -> JobRecord:
    """A record as it is kept. BadRecord when it is none."""
    try:
        kept = _Kept.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadRecord(f"{'.'.join(map(str, first['loc']))}: {first['msg']:.200}") from None
    return JobRecord(**kept.__dict__)


def waiting(work: Work) -> JobRecord:
    """What there is to know of a job that nobody has claimed."""
    return JobRecord(work.name, work.place.queue, work.payload, QUEUED, 1, work.queued_at)


def decide(record: JobRecord, *, worker: str, claim: str, deaths: int, at: datetime) -> Decision:
    """What is to be done with a job whose message came to `worker`. `deaths`: how many its handler bears."""
    if record.ended:
        return Decision(Turn.TOLD, record)
    died = record.status != QUEUED
    lost = record.deaths + died
    if record.status == CANCELLING:
        return Decision(Turn.END, cancelled(record, at).changed(deaths=lost))
    if lost >= deaths and died:
        words = "its worker died" if lost == 1 else f"its workers died, {lost} of them"
        return Decision(Turn.END, _end(record, FAILED, at, error={"message": words}).changed(deaths=lost))
    running = {"status": RUNNING, "worker": worker, "claim": claim, "started_at": at, "fraction": None, "message": None}
    return Decision(Turn.RUN, record.changed(**running, run=record.run + died, deaths=lost))


def told_to_stop(record: JobRecord, reason: str | None, at: datetime) -> JobRecord:
    """After a request to cancel a job that has not ended."""
    reason = reason[:_MAX_REASON] if reason is not None else None
    if record.status == QUEUED:
        return cancelled(record.changed(cancel_reason=reason), at)
    return record.changed(status=CANCELLING, cancel_reason=record.cancel_reason or reason)


def completed(record: JobRecord, result: Any, at: datetime) -> JobRecord:  # noqa: ANN401 - JSON
    """After its handler has returned."""
    return _end(record, COMPLETED, at, result=result)


def failed(record: JobRecord, error: dict[str, str] | None, at: datetime) -> JobRecord:
    """After its handler has failed for the last time."""
    return _end(record, FAILED, at, error=error)


def cancelled(record: JobRecord, at: datetime) -> JobRecord:
    """After it has stopped because it was told to."""
    return _end(record, CANCELLED, at)


def to_be_tried_again(record: JobRecord) -> JobRecord:
    """After its handler has failed, and not for the last time."""
    return _queued(record).changed(failures=record.failures + 1)


def given_back(record: JobRecord) -> JobRecord:
    """After its worker has left it."""
    return _queued(record)


def _queued(record: JobRecord) -> JobRecord:
    return record.changed(status=QUEUED, run=record.run + 1, worker=None, claim=None)


def _end(record: JobRecord, status: str, at: datetime, **fields: Any) -> JobRecord:  # noqa: ANN401
    return record.changed(status=status, ended_at=at, claim=None, **fields)
