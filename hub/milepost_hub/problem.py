"""What went wrong over HTTP, as `application/problem+json` (RFC 9457), with reasons where there are some."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

PROBLEM = "application/problem+json"
PROBLEM_CONTENT: dict[str, Any] = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
"""A problem in the contract."""
PROBLEM_TOLD: dict[str, Any] = {"description": "What went wrong", "content": PROBLEM_CONTENT}
"""The same as a route's response."""

_COME_BACK = {"Retry-After": "2"}
_MOST_REASONS = 100

Reasons = Sequence[dict[str, Any]]
"""`{"loc": ["payload", "rows", 0], "msg": "…"}` each: what is wrong where."""


class Reason(BaseModel):
    """One thing that is wrong with what was sent, and the way to it."""

    loc: list[str | int]
    msg: str


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it; `errors` says where, when there are places to name: the first 100."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Reason] | None = None


class Refusal(HTTPException):
    """An HTTPException with reasons."""

    def __init__(self, status: int, detail: str, reasons: Reasons) -> None:
        super().__init__(status, detail)
        self.reasons = reasons


def come_back(why: str) -> HTTPException:
    """A 503 that says when to try again."""
    return HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, why, _COME_BACK)


def reasons_of(error: ValidationError | RequestValidationError) -> Reasons:
    """What pydantic complains about, without what was sent."""
    return [{"loc": list(told["loc"]), "msg": told["msg"]} for told in error.errors()]


def in_words(reasons: Reasons) -> str:
    """The first of the reasons, with the way to it."""
    where = ".".join(map(str, reasons[0]["loc"]))
    return f"{where}: {reasons[0]['msg']}" if where else str(reasons[0]["msg"])


async def http_problem(request: Request, error: Exception) -> JSONResponse:
    """For FastAPI: an HTTPException as a problem, with its headers."""
    assert isinstance(error, HTTPException)  # noqa: S101 - what this handler is registered for
    reasons = error.reasons if isinstance(error, Refusal) else ()
    response = _answer(error.status_code, str(error.detail), reasons)
    response.headers.update(error.headers or {})
    return response


async def invalid(request: Request, error: Exception) -> JSONResponse:
    """For FastAPI: a parameter that is out of range."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    reasons = reasons_of(error)
    return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, in_words(reasons), reasons)


class ProblemRoute(APIRoute):
    """A route whose refusals are problems in whichever app it is."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, with what it raises told."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except HTTPException as error:
                return await http_problem(request, error)
            except RequestValidationError as error:
                return await invalid(request, error)

        return handled


def _answer(status: int, detail: str, reasons: Reasons) -> JSONResponse:
    errors = [Reason.model_validate(reason) for reason in reasons[:_MOST_REASONS]] or None
    problem = Problem(title=_title(status), status=status, detail=detail, errors=errors)
    return JSONResponse(problem.model_dump(exclude_none=True), status, media_type=PROBLEM)


def _title(status: int) -> str:
    """An app of somebody's own may use one that no standard has."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP {status}"
