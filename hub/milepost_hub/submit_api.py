"""The HTTP routes of submitting: a job, the same job once more, and whether that can be."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from milepost_hub.allowed import Who, allowed, named_job
from milepost_hub.answer import JOBS, json_answer
from milepost_hub.body import read_body
from milepost_hub.desk import Desk
from milepost_hub.errors import DeskUnavailable, JobUnknown, SubmitRefused
from milepost_hub.grant import Grant
from milepost_hub.job_id import read_job_id, write_job_id
from milepost_hub.problem import PROBLEM_CONTENT, ProblemRoute, Refusal, come_back
from milepost_hub.submission import Submission, read_submission

if TYPE_CHECKING:
    from milepost_hub.bare_hub import BareHub

_NO_DESK = "this hub takes no jobs: nothing is behind it that would run them"
_BODY = {"required": True, "content": {"application/json": {"schema": Submission.model_json_schema()}}}
_LOCATION = {"Location": {"description": "Where the job is to be read", "schema": {"type": "string"}}}


JobToken = Callable[[Grant, str], str | None]
"""A token for one job, for whoever has submitted it; None when there is none to be had."""


class Submitted(BaseModel):
    """A job that was taken: how to call it, and how to watch it."""

    jobId: int | str  # noqa: N815 - the wire's name
    token: str | None
    """Good for this job alone, and not for long; null when this hub signs no tokens."""
    stream: str
    """Where its events are to be had as server-sent events: a path on this server."""


class SubmittedAs(BaseModel):
    """What a job was submitted as."""

    name: str


def _told(**problems: str) -> dict[int | str, dict[str, Any]]:
    """Problems for the contract: `_409="…"`."""
    return {int(name[1:]): {"description": text, "content": PROBLEM_CONTENT} for name, text in problems.items()}


_TAKEN: dict[int | str, dict[str, Any]] = {201: {"description": "The job was taken", "headers": _LOCATION}}
_NOT_TAKEN = _told(
    _401="Nobody knows who asks: there is no token, or it was refused",
    _403="The scope `submit` was not granted, or certain jobs only",
    _409="The key belongs to another submission already",
    _413="The body, or the payload, is too large",
    _422="It is no submission, or its payload does not fit; `errors` says what is wrong where",
    _501="This hub takes no jobs",
    _503="Jobs cannot be taken just now: come back after `Retry-After`",
)
_NOT_READ = _told(
    _400="The body is not JSON",
    _404="There is no handler of this name",
    _408="The body did not come in time",
)
_NOT_KNOWN = _told(_404="No such job was submitted here")


def submit_router(hub: BareHub, who: Who, job_token: JobToken | None = None) -> APIRouter:
    """The routes, for one hub and those whom `who` lets in.

    job_token: makes the token that answers a submitted job; without it there is none.
    """
    router = APIRouter(prefix=JOBS, route_class=ProblemRoute)
    may_submit = _may_submit(who)
    _add_submitting(router, hub, may_submit, job_token)
    _add_again(router, hub, may_submit, job_token)
    _add_looking_back(router, hub, allowed(who, "watch", "watching"))
    return router


def _add_submitting(
    router: APIRouter,
    hub: BareHub,
    may_submit: Any,  # noqa: ANN401 - as FastAPI types `Depends`
    job_token: JobToken | None,
) -> None:
    @router.post(
        "",
        status_code=HTTPStatus.CREATED,
        response_model=Submitted,
        responses=_TAKEN | _NOT_READ | _NOT_TAKEN,
        openapi_extra={"requestBody": _BODY},
    )
    async def submit_job(request: Request, grant: Grant = may_submit) -> Response:
        """Have a job run: its id at once, and with it a token to watch it by."""
        desk = _desk(hub)

        async def submit() -> str:
            body = await read_body(request, hub.settings.submit_max_bytes, hub.settings.body_wait)
            wanted = read_submission(body)
            return await desk.submit(grant.tenant, wanted.name, wanted.payload, wanted.key)

        return _submitted(request, await _taken(hub, submit), grant, job_token)


def _add_again(router: APIRouter, hub: BareHub, may_submit: Any, job_token: JobToken | None) -> None:  # noqa: ANN401
    @router.post(
        "/{job}/again",
        status_code=HTTPStatus.CREATED,
        response_model=Submitted,
        responses=_TAKEN | _NOT_TAKEN | _NOT_KNOWN,
    )
    async def submit_again(request: Request, job: str, grant: Grant = may_submit) -> Response:
        """Have the same job run once more, with the payload it had, under an id of its own."""
        job = named_job(grant, "submit", job)
        desk = _desk(hub)
        again = await _taken(hub, lambda: desk.submit_again(grant.tenant, job))
        return _submitted(request, again, grant, job_token)


def _add_looking_back(router: APIRouter, hub: BareHub, may_watch: Any) -> None:  # noqa: ANN401
    @router.get("/{job}/submission", response_model=SubmittedAs, responses=_NOT_KNOWN)
    async def read_submission_of(job: str, grant: Grant = may_watch) -> Response:
        """What the job was submitted as; 404 when it was not submitted here, and cannot be once more."""
        job = named_job(grant, "watch", job)
        try:
            name = None if hub.desk is None else await hub.desk.submitted_as(grant.tenant, job)
        except DeskUnavailable as error:
            raise come_back(f"it cannot be told just now whether job {job} was submitted here: {error}") from error
        if name is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"job {job} was not submitted here")
        return json_answer(json.dumps({"name": name}).encode())


def _may_submit(who: Who) -> Any:  # noqa: ANN401
    asking = allowed(who, "submit", "submitting")

    async def may_submit(grant: Grant = asking) -> Grant:
        """Who asks, if they may submit."""
        if grant.jobs is not None:
            why = "certain jobs were granted, and a new one would not be among them"
            raise HTTPException(HTTPStatus.FORBIDDEN, why)
        return grant

    return Depends(may_submit)


def _desk(hub: BareHub) -> Desk:
    if hub.desk is None:
        hub.submits["unavailable"] += 1
        raise HTTPException(HTTPStatus.NOT_IMPLEMENTED, _NO_DESK)
    return hub.desk


async def _taken(hub: BareHub, submit: Callable[[], Awaitable[str]]) -> str:
    """The id of the job that this submits; else say why there is none."""
    try:
        job = read_job_id(await submit())
    except HTTPException:  # the body's
        hub.submits["refused"] += 1
        raise
    except SubmitRefused as error:
        hub.submits["refused"] += 1
        raise Refusal(error.status, error.message, error.reasons) from error
    except JobUnknown as error:
        hub.submits["unknown"] += 1
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from error
    except DeskUnavailable as error:
        hub.submits["unavailable"] += 1
        raise come_back(f"jobs cannot be taken just now: {error}") from error
    hub.submits["accepted"] += 1
    return job


def _submitted(request: Request, job: str, grant: Grant, job_token: JobToken | None) -> Response:
    token = None if job_token is None else job_token(grant, job)
    # an app of somebody's own has the routes behind a prefix
    where = f"{request.url.path.rpartition(JOBS)[0]}{JOBS}/{job}"
    parts = (write_job_id(job), json.dumps(token).encode(), json.dumps(f"{where}/stream").encode())
    body = b'{"jobId":%b,"token":%b,"stream":%b}' % parts
    return json_answer(body, HTTPStatus.CREATED, {"Location": where})
