"""One job as it waits in the queue: its message written and read."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from milepost_runner.subject import Place, parse_work


class BadWork(ValueError):  # noqa: N818 - what it is
    """It is no job that anybody could run; the message says why."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = Field(min_length=1, max_length=64)
    payload: Any = None
    queuedAt: datetime  # noqa: N815 - as it is written


class Work(NamedTuple):
    """A submitted job."""

    place: Place
    name: str
    payload: Any
    queued_at: datetime


def write_work(name: str, payload: Any, queued_at: datetime) -> bytes:  # noqa: ANN401 - JSON
    """The message. ValueError when the payload is no JSON."""
    return _Message(name=name, payload=payload, queuedAt=queued_at).model_dump_json().encode()


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
