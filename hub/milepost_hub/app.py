"""The hub's HTTP side: health, metrics and the contract. Errors are `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from milepost_hub.allowed import ByToken
from milepost_hub.jobs_api import jobs_router
from milepost_hub.metrics import CONTENT_TYPE
from milepost_hub.problem import PROBLEM_CONTENT, Problem, http_problem, invalid
from milepost_hub.submit_api import submit_router

if TYPE_CHECKING:
    from milepost_hub.hub import Hub


class Health(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether the hub can do its work, and if not, why."""

    status: Literal["ready", "not ready"]
    upstream: Literal["up", "down"]
    """Whether events arrive."""
    durable: bool
    """Whether a job log stands behind them; without one clients see events live, and nothing from before."""
    reason: str | None = None


class _App(FastAPI):
    """FastAPI, describing errors with the media type that they have."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            for path in super().openapi()["paths"].values():
                for operation in path.values():
                    # FastAPI describes every model as the media type of the route's own response.
                    operation["responses"]["default"]["content"] = PROBLEM_CONTENT
        return super().openapi()


def make_app(hub: Hub) -> FastAPI:
    """The ASGI application for one hub."""
    app = _App(
        title="Milepost",
        summary="Live job progress from any program to every browser that may see it",
        description=f"Events arrive on the WebSocket at `{hub.ws_path}`, which OpenAPI cannot describe.",
        docs_url=None,
        redoc_url=None,
        responses={"default": {"model": Problem, "description": "What went wrong"}},
    )
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(hub.settings.allow_origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
        expose_headers=["Location", "Retry-After"],
    )
    app.add_exception_handler(HTTPException, http_problem)
    app.add_exception_handler(RequestValidationError, invalid)

    @app.get("/healthz")
    async def healthz() -> Health:
        """The process is alive."""
        return Health()

    @app.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready, and why"}})
    async def readyz(response: Response) -> Readiness:
        """NATS is reachable, and the job log there if one is wanted; `reason` says what is not so."""
        readiness = _readiness(hub)
        if readiness.status != "ready":
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return readiness

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """What is counted, in Prometheus' text format."""
        return Response(hub.metrics.exposition(), media_type=CONTENT_TYPE)

    who = ByToken(hub)
    app.include_router(jobs_router(hub, who))
    app.include_router(submit_router(hub, who, hub.job_token))
    if hub.pages is None:
        app.add_route("/", _no_pages(hub.ws_path), include_in_schema=False)
    else:
        hub.pages.add_to(app)
    return app


def _no_pages(ws_path: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        where = f"jobs are at /api/jobs, the WebSocket is at {ws_path}, the contract at /openapi.json"
        raise HTTPException(HTTPStatus.NOT_FOUND, f"this hub serves no pages; {where}")

    return answer


def _readiness(hub: Hub) -> Readiness:
    if hub.up:
        if hub.trouble is not None:
            return Readiness(status="not ready", upstream="up", durable=hub.durable, reason=hub.trouble)
        why = None if hub.durable else "there is no job log: clients see events live, and none from before"
        return Readiness(status="ready", upstream="up", durable=hub.durable, reason=why)
    why = "the hub's source of events (NATS) is out of reach; it tries again by itself"
    return Readiness(status="not ready", upstream="down", durable=hub.durable, reason=why)
