"""The hub's HTTP endpoints in a FastAPI app of one's own, whose own authentication says who asks.

milepost = Milepost(grant)  # a dependency of the app's
app.include_router(milepost.router, prefix="/progress")
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, Self, TypeVar

from fastapi import APIRouter, Depends, HTTPException
from milepost_bridge.settings import BridgeSettings
from milepost_client import PAGES
from milepost_hub.bare_hub import BareHub
from milepost_hub.grant import SCOPES
from milepost_hub.grant import Grant as HubGrant
from milepost_hub.job_id import read_job_id
from milepost_hub.jobs_api import jobs_router
from milepost_hub.pages import Pages
from milepost_hub.problem import PROBLEM_TOLD, Problem
from milepost_hub.settings import HubSettings
from milepost_hub.submit_api import submit_router
from milepost_reporter.names import check_tenant
from milepost_runner.settings import RunnerSettings
from pydantic import BaseModel

from milepost import nats_access
from milepost.backing import backed
from milepost.errors import UsageError
from milepost.last_call import heard
from milepost.nats_access import NatsAccess
from milepost.options import Group, from_environment

__all__ = ["Grant", "Milepost"]

M = TypeVar("M", bound=BaseModel)

GROUPS: Final[dict[type[BaseModel], Group]] = {
    HubSettings: Group(
        "Hub", without=frozenset({"host", "port", "allow_origins", "trusted_proxies", "access_log", "auth_wait"})
    ),
    NatsAccess: nats_access.GROUP,
    BridgeSettings: Group("Bridge", prefix="bridge_", without=nats_access.FIELDS),
    RunnerSettings: Group("Jobs", prefix="runner_", without=nats_access.FIELDS),
}
"""What the environment says of each, by the names that `milepost serve` knows; but for what is the app's server's."""

_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {"default": {**PROBLEM_TOLD, "model": Problem}}


@dataclass(frozen=True)
class Grant:
    """What the app lets whoever asks see and do. ValueError for what can be no tenant, job or scope.

    tenant: the only one this client will ever hear of. scope: of `watch`, `submit` and `cancel`; a string with spaces
    between them does too. jobs: the only ones it is for; None is every job of the tenant. expires_at: when it ends, as
    an aware datetime or in unix seconds; streams end then, and clients ask again. subject: whom it is for, as
    `Milepost.revoke` calls them.
    """

    tenant: str
    scope: Iterable[str] = frozenset({"watch"})
    jobs: Iterable[int | str] | None = None
    expires_at: datetime | float | None = None
    subject: str | None = None
    told: HubGrant = field(init=False, repr=False, compare=False)
    """The same, in the hub's words."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "told", self._tell())

    def _tell(self) -> HubGrant:
        scopes = frozenset(self.scope.split() if isinstance(self.scope, str) else self.scope)
        if unknown := scopes - SCOPES:
            raise ValueError(f"a scope is one of {', '.join(sorted(SCOPES))}, not {', '.join(map(repr, unknown))}")
        if isinstance(self.jobs, str | bytes):
            raise ValueError("jobs is a list of job ids, or None for all of them")  # noqa: TRY004 - as everything here
        jobs = None if self.jobs is None else frozenset(map(read_job_id, self.jobs))
        return HubGrant(check_tenant(self.tenant), _unix(self.expires_at), self.subject, jobs, scopes)


class Milepost:
    """The routes, and what stands behind them while the app runs.

    `router` goes into the app by `include_router`, which has it started and ended with the app. Where that cannot be,
    as in an app that is mounted in another, `lifespan` is the outer app's, or `async with milepost:` stands in its own.
    """

    def __init__(
        self,
        grant: Callable[..., Any],
        *,
        nats_url: str | None = None,
        hub: HubSettings | None = None,
        bridge: BridgeSettings | None = None,
        runner: RunnerSettings | None = None,
        jobs: bool = True,
        watchdog: bool = True,
        client: bool = True,
    ) -> None:
        """Make the routes; nothing is started.

        grant: a FastAPI dependency: a `Grant` for whoever asks, None for nobody (401), or an HTTPException of its own.
        nats_url: where NATS is. It, `hub`, `bridge` and `runner`, where not given, are what the environment says
        (`NATS_URL`, `MILEPOST_…`), as for `milepost serve`. jobs: whether jobs may be submitted. watchdog: whether jobs
        that died are ended here. client: whether the browser's client is served, below `client/`.

        Raises:
            ValueError: a setting cannot be used; it says which.
        """
        try:
            nats = from_environment(NatsAccess, GROUPS[NatsAccess])
            if nats_url is not None:
                nats = nats.model_copy(update={"url": nats_url})
            self._bridge = bridge or nats.given_to(_read(BridgeSettings))
            self._runner = (runner or nats.given_to(_read(RunnerSettings))) if jobs else None
            self._hub = BareHub(hub or _read(HubSettings))
        except UsageError as error:
            raise ValueError(str(error)) from error
        self._nats_url = nats.url
        self._watchdog = watchdog
        # How many have entered, and have not left: the router's lifespan, and whoever else.
        self._inside = 0
        self._running = contextlib.AsyncExitStack()
        self.router = self._make_router(grant, client=client)

    async def __aenter__(self) -> Self:
        """Begin; again while it runs changes nothing. Does not wait for NATS."""
        self._inside += 1
        if self._inside == 1:
            try:
                await self._begin()
            except BaseException:
                self._inside = 0
                raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what still streams, and everything behind it, when the last who has entered leaves."""
        self._inside -= 1
        if self._inside == 0:
            await self._running.aclose()

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """For `FastAPI(lifespan=…)`."""
        async with self:
            yield

    @property
    def up(self) -> bool:
        """Whether events arrive from NATS just now."""
        return self._hub.up

    def leave(self) -> None:
        """Tell every client to come back, and let in nobody more.

        SIGINT and SIGTERM do this by themselves. To be called before a server is stopped in another way, for servers
        wait for their clients to go.
        """
        if self._inside:
            self._hub.leave()

    def revoke(self, tenant: str, subject: str | None = None) -> int:
        """End the streams of a tenant, or of one `subject` of it; return how many. Who comes back is asked again."""
        return self._hub.revoke(tenant, subject)

    async def _begin(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._hub)
            await stack.enter_async_context(
                backed(self._hub, self._nats_url, self._bridge, self._runner, watchdog=self._watchdog)
            )
            stack.enter_context(heard(self.leave))
            self._running = stack.pop_all()

    def _make_router(self, grant: Callable[..., Any], *, client: bool) -> APIRouter:
        router = APIRouter(lifespan=self.lifespan, responses=_RESPONSES)
        who = self._asking(grant)
        router.include_router(jobs_router(self._hub, who))
        router.include_router(submit_router(self._hub, who))
        if client:
            Pages(PAGES).add_folder(router, "client")
        return router

    def _asking(self, grant: Callable[..., Any]) -> Callable[..., Any]:
        dependency = Depends(grant)

        async def who(granted: Any = dependency) -> HubGrant:  # noqa: ANN401 - what it is, is looked at
            if not self._inside:
                raise RuntimeError("Milepost has not begun: see `lifespan` of milepost.fastapi.Milepost")
            if granted is None:
                raise HTTPException(HTTPStatus.UNAUTHORIZED, "nobody is signed in")
            if not isinstance(granted, Grant):
                raise TypeError(f"the dependency that Milepost was given returns a Grant or None, not {granted!r:.80}")
            if granted.told.expires_at <= time.time():
                raise HTTPException(HTTPStatus.UNAUTHORIZED, "what was granted has expired")
            return granted.told

        return who


def _read(model: type[M]) -> M:
    return from_environment(model, GROUPS[model])


def _unix(moment: datetime | float | None) -> float:
    if moment is None:
        return math.inf
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError("expires_at is an aware datetime: it says its time zone")
        return moment.timestamp()
    if math.isnan(moment := float(moment)):
        raise ValueError("expires_at is no moment: no clock ever comes to NaN")
    return moment
