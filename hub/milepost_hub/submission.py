"""What a client submits, read from a request's body (sans-I/O)."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from milepost_hub.errors import SubmitRefused
from milepost_hub.problem import in_words, reasons_of

_NAME = r"^[A-Za-z0-9_-]{1,64}$"
_LONGEST_KEY = 256


class Submission(BaseModel):
    """A job to be done."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=_NAME)]
    """What is to be done: the name of a handler."""
    payload: Any
    """What it is to be done with: any JSON, also null."""
    key: Annotated[str, Field(min_length=1, max_length=_LONGEST_KEY)] | None = None
    """Your own name for this submission: sent again with it, the same is the same job."""


def read_submission(body: bytes) -> Submission:
    """A request's body as a submission.

    Raises:
        SubmitRefused: 400, it is no JSON (RFC 8259, in UTF-8; numbers that a double can hold); 422, it is no
            submission, with the reasons.
    """
    try:
        told = from_json(body, allow_inf_nan=False)
        json.dumps(told, allow_nan=False)  # 1e999 is JSON, and read as infinity, which nobody could write down again
    except ValueError as error:
        raise SubmitRefused(HTTPStatus.BAD_REQUEST, f"the body is not JSON that can be read: {error}") from error
    if not isinstance(told, dict):
        why = "the body must be a JSON object"
        raise SubmitRefused(HTTPStatus.UNPROCESSABLE_ENTITY, why, [{"loc": [], "msg": why}])
    try:
        return Submission.model_validate(told)
    except ValidationError as error:
        reasons = reasons_of(error)
        raise SubmitRefused(HTTPStatus.UNPROCESSABLE_ENTITY, in_words(reasons), reasons) from error
