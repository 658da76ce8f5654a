"""A client's message, parsed: what it wants, or an ActionError that tells it what is wrong."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from milepost_hub.errors import ActionError
from milepost_hub.job_id import read_job_id

ALL_JOBS = "*"
"""The `jobId` that stands for every job of the tenant."""

MessageId = str | int | None
Mode = Literal["all", "latest"]


def _read_topic(value: object) -> str:
    return ALL_JOBS if value == ALL_JOBS else read_job_id(value)


Topic = Annotated[str, BeforeValidator(_read_topic)]


class _Action(BaseModel):
    # Fields that a later client adds are no reason to refuse what this hub understands.
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    id: Annotated[str, Field(max_length=128)] | int | None = None
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


def parse_action(message: bytes) -> Action:
    """Parse one message of a client.

    Raises:
        ActionError: with code `bad_message`, and the message's id when it can be told.
    """
    try:
        return _ACTIONS.validate_json(message)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> ActionError:
    first = error.errors(include_url=False, include_context=False)[0]
    kind, path = first["type"], ".".join(str(part) for part in first["loc"][1:])
    if kind == "json_invalid":
        why = "the message is not JSON"
    elif kind in {"model_attributes_type", "model_type", "dict_type"}:
        why = 'the message is not a JSON object: send {"action":"subscribe","jobId":…}'
    elif kind.startswith("union_tag"):
        why = 'unknown action: "action" is one of "subscribe", "unsubscribe", "auth"'
    else:
        why = f"{path}: {first['msg'].removeprefix('Value error, ')}"
    return ActionError("bad_message", why, _id_of(first["input"]))


def _id_of(given: object) -> MessageId:
    found = given.get("id") if isinstance(given, dict) else None
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None
