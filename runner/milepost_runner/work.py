"""One job as it waits in the queue: its message written and read."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from milepost_runner.moment import Moment
from milepost_runner.subject import Place, parse_work

_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class BadWork(ValueError):  # noqa: N818 - what it is
    """It is no job that anybody could run; the message says why."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = Field(min_length=1, max_length=64)
    payload: Any = None
    queuedAt: Moment  # noqa: N815 - as it is written


class Work(NamedTuple):
    """A submitted job."""

    place: Place
    name: str
    payload: Any
    queued_at: datetime


def write_payload(payload: Any) -> bytes:  # noqa: ANN401 - JSON
    """A payload as it stands in the message. ValueError when it is no JSON."""
    try:
        return _encode(payload).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def write_work(name: str, payload: bytes, queued_at: datetime) -> bytes:
    """The message, with a payload that is written already: what was counted of it is what is sent."""
    rest = _encode({"name": name, "queuedAt": queued_at.isoformat()})
    return b'{"payload":' + payload + b"," + rest[1:].encode()


def read_work(subject: str, message: bytes) -> Work:
    """The job in a message of the queue. BadWork when it is none."""
    place = parse_work(subject)
    if place is None:
        raise BadWork(f"no subject of work: {subject:.200}")
    try:
        told = _Message.model_validate_json(message)
    except ValidationError as error:
        raise BadWork(f"no job: {error.errors(include_url=False, include_input=False)[0]['msg']:.200}") from None
    return Work(place, told.name, told.payload, told.queuedAt)
