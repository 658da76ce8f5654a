"""The HTTP routes of jobs: their list, a snapshot, events by polling, events as a stream; and cancelling one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json
from starlette.exceptions import HTTPException

from milepost_hub import message
from milepost_hub.action import ALL_JOBS
from milepost_hub.allowed import Who, allowed, named_job
from milepost_hub.answer import JOBS, NO_STORE, json_answer
from milepost_hub.carrier import AsgiCarrier, Carrier
from milepost_hub.delivery import deliver
from milepost_hub.desk import Desk
from milepost_hub.errors import (
    BadCursor,
    CursorGone,
    DeskUnavailable,
    JobEnded,
    JobSilent,
    LogUnavailable,
    UpstreamDown,
)
from milepost_hub.grant import Grant
from milepost_hub.history import is_over
from milepost_hub.http_protocol import PROTOCOL
from milepost_hub.job_id import write_job_id
from milepost_hub.job_log import Gap, JobLog, Snapshot
from milepost_hub.problem import PROBLEM_TOLD, ProblemRoute, come_back
from milepost_hub.replay import START, Wish
from milepost_hub.sse import Stream, StreamResponse

if TYPE_CHECKING:
    from milepost_hub.bare_hub import BareHub

_TEXT = {"type": "string"}
_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events", "content": {"text/event-stream": {"schema": _TEXT}}},
    # said here, because FastAPI takes problems for what the route streams
    "default": PROBLEM_TOLD,
}
_CANCEL = b'{"action":"cancel"}'
_LONGEST_REASON = 1000


class JobSummary(BaseModel):
    """One job in a list: the fields of `job.summary`."""

    model_config = ConfigDict(extra="allow")

    jobId: int | str  # noqa: N815 - the wire's names, here and below
    name: str | None = None
    status: str
    run: int | None = None
    fraction: float | None = None
    message: str | None = None
    startedAt: str | None = None  # noqa: N815
    endedAt: str | None = None  # noqa: N815
    lastEventAt: str | None = None  # noqa: N815
    stalled: bool | None = None


class JobPage(BaseModel):
    """Jobs, newest first; `next` as `before` gives those that come after them, null says that there are none."""

    jobs: list[JobSummary]
    next: str | None


class JobSnapshot(BaseModel):
    """What a job amounts to, and the cursor from which its events go on."""

    jobId: int | str  # noqa: N815
    snapshot: dict[str, Any]
    cursor: str | None


class EventPage(BaseModel):
    """Messages as on the WebSocket; `cursor` as `after` gives the next ones; `more` says that some are stored now."""

    events: list[dict[str, Any]]
    cursor: str | None
    more: bool


class JobCancelling(BaseModel):
    """The job's program has taken the request; the job's own events tell what comes of it."""

    jobId: int | str  # noqa: N815
    status: Literal["cancelling"] = "cancelling"


class _Summary(NamedTuple):
    """What a list is searched by."""

    status: str
    text: str
    age: tuple[str, str]
    """What the list is sorted by, descending; see `JobLog.jobs`."""


@lru_cache(maxsize=16_384)
def _summary(fields: bytes) -> _Summary:
    told = from_json(fields)
    job = str(told["jobId"])
    name = told.get("name")
    text = job if name is None else f"{job}\n{name}"
    at = str(told.get("startedAt") or told.get("lastEventAt") or "")
    return _Summary(str(told.get("status")), text.casefold(), (at, job))


def jobs_router(hub: BareHub, who: Who) -> APIRouter:
    """The routes, for one hub and those whom `who` lets in."""
    router = APIRouter(prefix=JOBS, route_class=ProblemRoute)
    may_watch = allowed(who, "watch", "watching")
    _add_reading(router, hub, may_watch)
    _add_streams(router, hub, may_watch)
    _add_cancelling(router, hub, allowed(who, "cancel", "cancelling"))
    return router


def _add_reading(router: APIRouter, hub: BareHub, may_watch: Any) -> None:  # noqa: ANN401 - as FastAPI types `Depends`

    @router.get("", response_model=JobPage)
    async def list_jobs(
        status: Annotated[list[str], Query(description="one of these; repeated, or with commas between")] = [],  # noqa: B006
        q: Annotated[str, Query(max_length=256, description="in the name or the id, in any case")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        before: Annotated[str | None, Query(max_length=256, description="`next` of the page before")] = None,
        grant: Grant = may_watch,
    ) -> Response:
        """The tenant's jobs that the token may see, newest first."""
        log = _log(hub)
        key = ("jobs", grant.tenant, grant.jobs)
        listed = await _answer(hub.shared.ask(key, lambda: log.jobs(grant.tenant, grant.jobs)))
        if before is not None:
            listed = listed[_place(listed, before) :]
        wanted = frozenset(word for given in status for word in given.split(",") if word)
        page, more = _search(listed, wanted, q.casefold(), limit)
        after = json.dumps(_name(page[-1])) if more else "null"
        return json_answer(b'{"jobs":[%b],"next":%b}' % (b",".join(page), after.encode()))

    @router.get("/{job}", response_model=JobSnapshot)
    async def read_job(job: str, grant: Grant = may_watch) -> Response:
        """What the job amounts to by now; 404 when nobody has heard of it."""
        job = named_job(grant, "watch", job)
        snapshot = await _snapshot(hub, grant.tenant, job)
        if not snapshot.known:
            raise _unknown(job)
        parts = (write_job_id(job), snapshot.json, json.dumps(snapshot.cursor).encode())
        return json_answer(b'{"jobId":%b,"snapshot":%b,"cursor":%b}' % parts)

    @router.get("/{job}/events", response_model=EventPage)
    async def read_events(
        job: str,
        after: Annotated[str | None, Query(max_length=128, description="a cursor, or `start`")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        grant: Grant = may_watch,
    ) -> Response:
        """The events behind a cursor; without one a snapshot, and the cursor to go on from.

        Where events are no longer stored, a `job.gap` and a `job.snapshot` are among the messages.
        """
        job = named_job(grant, "watch", job)
        if after is None:
            return _events(*await _state(hub, grant.tenant, job, None))
        log = _log(hub)
        _check(log, after)
        cursor = None if after == START else after
        try:
            key = ("events", grant.tenant, job, cursor, limit)
            events = await _answer(hub.shared.ask(key, lambda: log.read(grant.tenant, job, cursor, limit)))
            # A page may be shorter than it was asked to be, and more be stored all the same.
            more = bool(events) and await _answer(_more(hub, log, grant.tenant, job, events[-1].cursor))
        except CursorGone as gone:
            hub.gaps[gone.gap.reason] = hub.gaps.get(gone.gap.reason, 0) + 1
            return _events(*await _state(hub, grant.tenant, job, gone.gap))
        # who has a cursor of this job has heard of it
        if not events and cursor is None and not (await _snapshot(hub, grant.tenant, job)).known:
            raise _unknown(job)
        head = message.progress_head(job)
        messages = [deliver(head, event).message for event in events]
        return _events(messages, events[-1].cursor if events else after, more=more)


async def _afterwards() -> AsyncIterator[contextlib.ExitStack]:
    """What is to be done when a request is over, however that came."""
    with contextlib.ExitStack() as stack:
        yield stack


Afterwards = Annotated[contextlib.ExitStack, Depends(_afterwards)]


def _add_streams(router: APIRouter, hub: BareHub, may_watch: Any) -> None:  # noqa: ANN401
    @router.get("/*/stream", status_code=200, response_class=StreamResponse, responses=_STREAMED)
    async def stream_jobs(request: Request, afterwards: Afterwards, grant: Grant = may_watch) -> Response:
        """Summaries of all jobs that the token allows, newest first, then of each that changes; it never ends."""
        return _begin(hub, request, grant, Wish(ALL_JOBS, None, False, None), afterwards)

    @router.get(
        "/{job}/stream",
        status_code=200,
        response_class=StreamResponse,
        responses={
            **_STREAMED,
            204: {"description": "The job has ended and the cursor stands behind its end: do not come back"},
        },
    )
    async def stream(
        request: Request,
        job: str,
        afterwards: Afterwards,
        *,
        after: Annotated[str | None, Query(max_length=128, description="a cursor, or `start`")] = None,
        last_event_id: Annotated[str | None, Header(max_length=128, description="goes before `after`")] = None,
        grant: Grant = may_watch,
    ) -> Response:
        """A job's events as they come: a snapshot first, or what comes behind a cursor; until its final end."""
        job = named_job(grant, "watch", job)
        after = last_event_id or after
        over: bool | None = False
        if hub.log is not None and after is not None:
            _check(hub.log, after)
            over = after != START and await _is_over(hub, hub.log, grant.tenant, job, after)
        if over:
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=NO_STORE)
        wish = Wish(job, after, False, None, doubtful=over is None)
        return _begin(hub, request, grant, wish, afterwards)


def _add_cancelling(router: APIRouter, hub: BareHub, may_cancel: Any) -> None:  # noqa: ANN401
    @router.delete("/{job}", status_code=HTTPStatus.ACCEPTED, response_model=JobCancelling)
    async def cancel_job(job: str, grant: Grant = may_cancel) -> Response:
        """Have a job stopped, submitted here or not: 202 when it will, 409 when it has ended, refuses or is silent."""
        job = named_job(grant, "cancel", job)
        # A job that waits may have no event yet: whoever took it is asked before the log is.
        if hub.desk is not None and await _cancelled_at(hub, hub.desk, grant.tenant, job):
            return _cancelling(job)
        if hub.log is not None:
            snapshot = await _snapshot(hub, grant.tenant, job)
            if not snapshot.known:
                raise _unknown(job)
            if snapshot.final:
                raise _ended(hub, job)
        await _cancel(hub, grant.tenant, job)
        return _cancelling(job)


def _begin(hub: BareHub, request: Request, grant: Grant, wish: Wish, afterwards: contextlib.ExitStack) -> Response:
    if hub.leaving:
        raise come_back("the server is going down")
    stream = Stream(hub, grant, _carrier(request))
    why = hub.join(stream)
    if why is None and (why := hub.enter(stream, grant.tenant)) is not None:
        stream.grant = None
        hub.left(stream)
    if why is not None:
        raise come_back(why)
    # An app's dependency that fails as it is left keeps the response from ever being carried.
    afterwards.callback(stream.over)
    hub.subscribe(stream, wish)
    return StreamResponse(stream)


def _carrier(request: Request) -> Carrier:
    """The connection, where it is the hub's own protocol; else what ASGI has."""
    protocol = request.scope.get("state", {}).get(PROTOCOL)
    return AsgiCarrier(request.receive, request.scope["http_version"]) if protocol is None else protocol


async def _cancelled_at(hub: BareHub, desk: Desk, tenant: str, job: str) -> bool:
    """Whether the job was submitted here, and is being stopped."""
    try:
        taken = await desk.cancel(tenant, job)
    except JobEnded as error:
        raise _ended(hub, job) from error
    except DeskUnavailable as error:
        hub.cancels["unavailable"] += 1
        raise come_back(f"job {job} cannot be cancelled just now: {error}") from error
    hub.cancels["accepted"] += taken
    return taken


async def _cancel(hub: BareHub, tenant: str, job: str) -> None:
    """Have the job's program agree to stop; else say why it does not."""
    try:
        answer = await hub.ask(tenant, job, _CANCEL)
    except JobSilent as error:
        hub.cancels["silent"] += 1
        raise HTTPException(HTTPStatus.CONFLICT, f"job {job} cannot be cancelled: {error}") from error
    except UpstreamDown as error:
        hub.cancels["unavailable"] += 1
        why = "NATS is out of reach, and so is the job; try again a little later"
        raise come_back(why) from error
    told = _read_answer(answer)
    if told.get("ok") is not True:
        hub.cancels["refused"] += 1
        told_why = told.get("message")
        why = told_why[:_LONGEST_REASON] if isinstance(told_why, str) and told_why else "it gave no reason"
        raise HTTPException(HTTPStatus.CONFLICT, f"job {job} will not be cancelled: {why}")
    hub.cancels["accepted"] += 1


def _read_answer(answer: bytes) -> dict[str, Any]:
    try:
        told = from_json(answer)
    except ValueError:
        return {"message": "its answer is no JSON"}
    return told if isinstance(told, dict) else {"message": "its answer is no JSON object"}


def _log(hub: BareHub) -> JobLog:
    if hub.log is None:
        why = "this hub has no job log: events are to be had live only"
        raise come_back(why)
    return hub.log


def _check(log: JobLog, after: str) -> None:
    try:
        if after != START:
            log.check(after)
    except BadCursor as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from error


async def _answer(ask: Any) -> Any:  # noqa: ANN401 - whatever the log is asked for
    try:
        return await ask
    except LogUnavailable as error:
        why = "the job log cannot be read just now; try again a little later"
        raise come_back(why) from error


async def _snapshot(hub: BareHub, tenant: str, job: str) -> Snapshot:
    log = _log(hub)
    found = await _answer(hub.shared.ask(("snapshot", tenant, job), lambda: log.snapshot(tenant, job)))
    assert isinstance(found, Snapshot)  # noqa: S101
    return found


async def _state(hub: BareHub, tenant: str, job: str, gap: Gap | None) -> tuple[list[bytes], str | None]:
    snapshot = await _snapshot(hub, tenant, job)
    if not snapshot.known:
        raise _unknown(job)
    told = [] if gap is None else [message.gap(job, gap)]
    return [*told, message.snapshot(job, snapshot)], snapshot.cursor


async def _more(hub: BareHub, log: JobLog, tenant: str, job: str, cursor: str | None) -> bool:
    return bool(await hub.shared.ask(("events", tenant, job, cursor, 1), lambda: log.read(tenant, job, cursor, 1)))


async def _is_over(hub: BareHub, log: JobLog, tenant: str, job: str, after: str) -> bool | None:
    """Whether nothing comes behind this cursor, nor will; None when that cannot be read.

    Not a 503: an EventSource comes back from a connection that broke, never from a status. The stream finds out later.
    """
    try:
        snapshot = await hub.shared.ask(("snapshot", tenant, job), lambda: log.snapshot(tenant, job))
        return await is_over(log, snapshot, tenant, job, after)
    except LogUnavailable:
        return None


def _ended(hub: BareHub, job: str) -> HTTPException:
    hub.cancels["ended"] += 1
    return HTTPException(HTTPStatus.CONFLICT, f"job {job} has ended")


def _cancelling(job: str) -> Response:
    return json_answer(b'{"jobId":%b,"status":"cancelling"}' % write_job_id(job), HTTPStatus.ACCEPTED)


def _unknown(job: str) -> HTTPException:
    return HTTPException(HTTPStatus.NOT_FOUND, f"nobody has heard of job {job}")


def _name(fields: bytes) -> str:
    return "~".join(_summary(fields).age)


def _place(listed: Sequence[bytes], before: str) -> int:
    """Where the page begins that comes after this job, also when the job has moved or gone meanwhile."""
    at, mark, job = before.rpartition("~")
    if not mark:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "before is `next` of a page, as it came")
    key = (at, job)
    return next((place for place, fields in enumerate(listed) if _summary(fields).age < key), len(listed))


def _search(listed: Sequence[bytes], status: frozenset[str], text: str, limit: int) -> tuple[list[bytes], bool]:
    """The first that match, at most `limit`, and whether there are more."""
    if not status and not text:
        return list(listed[:limit]), len(listed) > limit
    found: list[bytes] = []
    for fields in listed:
        summary = _summary(fields)
        if (not status or summary.status in status) and text in summary.text:
            if len(found) == limit:
                return found, True
            found.append(fields)
    return found, False


def _events(messages: list[bytes], cursor: str | None, *, more: bool = False) -> Response:
    parts = (b",".join(messages), json.dumps(cursor).encode(), b"true" if more else b"false")
    return json_answer(b'{"events":[%b],"cursor":%b,"more":%b}' % parts)
