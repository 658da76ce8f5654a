"""A client's message, parsed: what it wants, or an ActionError that tells it what is wrong."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from milepost_hub.errors import ActionError
from milepost_hub.job_id import read_job_id

ALL_JOBS = "*"
"""The `jobId` that stands for every job of the tenant."""

MAX_ID_CHARS = 128
MAX_ID = 2**53 - 1

MessageId = str | int | None
Mode = Literal["all", "latest"]


def _read_topic(value: object) -> str:
    return ALL_JOBS if value == ALL_JOBS else read_job_id(value)


def _read_id(value: object) -> MessageId:
    if value is None or (isinstance(value, str) and len(value) <= MAX_ID_CHARS):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_ID:
        return value
    raise ValueError(f"id must be text of at most {MAX_ID_CHARS} characters, or a whole number below 2^53")


Topic = Annotated[str, BeforeValidator(_read_topic)]


class _Action(BaseModel):
    # Fields that a later client adds are no reason to refuse what this hub understands.
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    id: Annotated[MessageId, BeforeValidator(_read_id)] = None
    """Echoed in the answer."""


class Subscribe(_Action):
    """Send me this job's events, or every job's summary."""

    action: Literal["subscribe"]
    job: Topic = Field(alias="jobId")
    after: str | None = None
    mode: Mode = "all"


class Unsubscribe(_Action):
    """No more of this job."""

    action: Literal["unsubscribe"]
    job: Topic = Field(alias="jobId")


class Auth(_Action):
    """Here is my token, the first or a newer one."""

    action: Literal["auth"]
    token: str = Field(repr=False)


Action = Subscribe | Unsubscribe | Auth
_ACTIONS: TypeAdapter[Action] = TypeAdapter(Annotated[Action, Field(discriminator="action")])


_WORDS = {"token": "token must be text", "after": "after must be text", "mode": 'mode must be "all" or "latest"'}


def parse_action(message: bytes) -> Action:
    """Parse one message of a client.

    Raises:
        ActionError: with code `bad_message`, and the message's id when it can be told.
    """
    try:
        return _ACTIONS.validate_json(message)
    except ValidationError as error:
        raise ActionError("bad_message", _reason(error), _id_of(message)) from None


def _reason(error: ValidationError) -> str:
    """The first complaint in our own words: pydantic's may show what was given, and that may be a token."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    kind, field = first["type"], str(first["loc"][1]) if len(first["loc"]) > 1 else ""
    if kind == "json_invalid":
        return "the message is not JSON"
    if kind == "missing":
        return f"{field} is missing"
    if kind == "value_error":
        return first["msg"].removeprefix("Value error, ")
    if kind.startswith("union_tag"):
        return 'unknown action: "action" is one of "subscribe", "unsubscribe", "auth"'
    return _WORDS.get(field, 'the message is not a JSON object: send {"action":"subscribe","jobId":…}')


def _id_of(message: bytes) -> MessageId:
    try:
        given = from_json(message)
        return _read_id(given.get("id")) if isinstance(given, dict) else None
    except ValueError:
        return None
