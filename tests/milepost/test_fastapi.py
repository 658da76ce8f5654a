"""The hub's endpoints in an app of one's own: who asks is the app's to say, and what they see is their tenant's."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.openapi.models import OpenAPI
from milepost_hub.settings import HubSettings
from starlette.middleware.base import RequestResponseEndpoint

from milepost.fastapi import Grant, Milepost
from milepost.nats_server import NatsServer
from tests.hub.raw_client import RawClient
from tests.milepost.app_process import ANN, BOB, App, app_running
from tests.milepost.jobs_console import working
from tests.milepost.sse_reader import publish, streaming
from tests.waiting import eventually, eventually_async

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    """The example's tenants are always the same: a server of this file's own."""
    with NatsServer() as server:
        yield server


@pytest.fixture(scope="module")
def app(nats: NatsServer) -> Iterator[App]:
    """The example, and a worker of its jobs."""
    with working(nats.url, modules=("examples.jobs",)), app_running(nats.url) as running:
        yield running


class Seen(Milepost):
    """As it is, with a window for the tests to look through."""

    @property
    def clients(self) -> int:
        return len(self._hub._clients)

    @property
    def empty(self) -> bool:
        hub = self._hub
        return not (hub._clients or hub._channels or hub._tenants or hub._tasks)


@asynccontextmanager
async def served(app: FastAPI, http: str = "h11") -> AsyncIterator[int]:
    """The port of real uvicorn in this event loop."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=http, log_config=None))
    serving = asyncio.create_task(server.serve())
    try:
        await eventually_async(lambda: server.started or serving.done())
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


def an_app(milepost: Milepost) -> FastAPI:
    app = FastAPI()
    app.include_router(milepost.router)
    return app


# -- the example, from outside ----------------------------------------------------------------------------------------


def test_a_job_is_submitted_watched_and_submitted_again_under_the_prefix(app: App) -> None:
    job = app.submit("echo", {"rows": 3})
    eventually(lambda: app.status(job) == "completed")
    assert app.ask("GET", f"/{job}").json()["snapshot"]["result"] == {"rows": 3}
    assert app.ask("GET", f"/{job}/submission").json() == {"name": "echo"}
    again = app.ask("POST", f"/{job}/again")
    told = again.json()
    assert again.status_code == 201
    assert again.headers["location"] == f"/progress/api/jobs/{told['jobId']}"
    assert (told["stream"], told["token"]) == (f"{again.headers['location']}/stream", None)
    eventually(lambda: app.status(told["jobId"]) == "completed")
    eventually(lambda: {job, told["jobId"]} <= app.listed())
    events = app.ask("GET", f"/{job}/events?after=start").json()["events"]
    assert events[-1]["payload"]["status"] == "completed"


def test_a_running_job_is_cancelled(app: App, tmp_path: Path) -> None:
    job = app.submit("wait-for", str(tmp_path / "never"))
    eventually(lambda: app.status(job) == "running")
    assert app.ask("DELETE", f"/{job}").status_code == 202
    eventually(lambda: app.status(job) == "cancelled")
    assert app.ask("DELETE", f"/{job}").status_code == 409


def test_what_goes_wrong_is_told_as_the_hub_tells_it(app: App) -> None:
    for answer, status in (
        (app.ask("GET", "", {}), 401),
        (app.ask("GET", "/nobody-has-heard-of-it"), 404),
        (app.ask("GET", "?limit=0"), 422),
        (app.ask("GET", "/a/events?after=nonsense"), 400),
        (app.ask("POST", "", ANN, {"name": "no-such-handler", "payload": 1}), 404),
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
        assert answer.json()["status"] == status
    refused = app.ask("POST", "", ANN, {"name": "build", "payload": {"rows": "many"}})
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["payload", "rows"])


def test_the_apps_own_routes_and_their_errors_stay_as_they_are(app: App) -> None:
    with httpx.Client(base_url=app.url, trust_env=False) as client:
        assert client.post("/sign-in", content="key=wrong").json() == {"detail": "nobody has this key"}
        assert client.get("/nothing").json() == {"detail": "Not Found"}


def test_the_apps_contract_has_the_routes(app: App) -> None:
    contract = httpx.get(f"{app.url}/openapi.json", trust_env=False).json()
    OpenAPI.model_validate(contract)
    paths = {path.removeprefix("/progress/api/jobs") for path in contract["paths"] if path.startswith("/progress/")}
    assert paths == {"", "/{job}", "/{job}/events", "/{job}/stream", "/*/stream", "/{job}/again", "/{job}/submission"}
    assert "/progress/client/{path}" not in contract["paths"]
    stream = contract["paths"]["/progress/api/jobs/{job}/stream"]["get"]
    assert stream["responses"]["default"]["content"].keys() == {PROBLEM}
    assert "x-api-key" in {parameter["name"] for parameter in stream["parameters"]}


def test_the_browsers_client_is_served_and_nothing_beside_it(app: App) -> None:
    with httpx.Client(base_url=f"{app.url}/progress", trust_env=False) as client:
        module = client.get("/client/mounted.js")
        assert (module.status_code, module.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        for path in ("/", "/index.html", "/dashboard/main.js", "/client/../index.html", "/client/%2e%2e/index.html"):
            assert client.get(path).status_code == 404


def test_a_session_cookie_lets_in_until_the_sign_out(app: App) -> None:
    with httpx.Client(base_url=app.url, trust_env=False) as client:
        assert "Sign in" in client.get("/").text
        assert client.post("/sign-in", content="key=key-of-ann").status_code == 303
        assert "milepost-job" in client.get("/").text
        assert client.get("/progress/api/jobs").status_code == 200
        with client.stream("GET", "/progress/api/jobs/a-long-one/stream") as stream:
            lines = stream.iter_lines()
            assert any(line == "event: snapshot" for line in lines)
            httpx.post(f"{app.url}/sign-out", headers={"cookie": f"session={client.cookies['session']}"})
            assert not [line for line in lines if line.startswith("event:")]
        assert client.get("/progress/api/jobs").status_code == 401


# -- walls -------------------------------------------------------------------------------------------------------------

NAMING: list[tuple[str, dict[str, str]]] = [
    ("", {}),
    ("?tenant=acme", {}),
    ("?token=key-of-ann", {}),
    ("?x_api_key=key-of-ann&x-api-key=key-of-ann", {}),
    ("", {"X-Tenant": "acme", "Milepost-Tenant": "acme"}),
    ("", {"Authorization": "Bearer key-of-ann"}),
    ("", {"Cookie": "session=acme; tenant=acme"}),
]


@pytest.fixture(scope="module")
def anns(app: App) -> str:
    """A job of hers, over."""
    job = app.submit("echo", "secret")
    eventually(lambda: app.status(job) == "completed" and job in app.listed())
    return job


@pytest.mark.parametrize(("query", "more"), NAMING)
def test_nothing_that_a_client_sends_names_another_tenant(
    app: App, anns: str, query: str, more: dict[str, str]
) -> None:
    """For list, snapshot, events and all that is asked of a job; neither by the job's own name nor by a path to it."""
    bob = {**BOB, **more}
    listed = app.ask("GET", query, bob)
    assert (listed.status_code, listed.json()["jobs"]) == (200, [])
    for name in (anns, f"acme.job.{anns}", f"..%2Facme%2F{anns}", f"acme%2F{anns}", "*", "%3E", "%2A"):
        for method, path in (
            ("GET", ""),
            ("GET", "/events"),
            ("GET", "/submission"),
            ("POST", "/again"),
            ("DELETE", ""),
        ):
            answer = app.ask(method, f"/{name}{path}{query}", bob)
            assert answer.status_code in {404, 405}, (method, name, path, answer.text)
            assert "secret" not in answer.text


async def test_a_stream_brings_its_own_tenants_events_only(nats: NatsServer, app: App) -> None:
    """Also when another tenant has a job of the same name, and for the list."""
    url = f"{app.url}/progress/api/jobs"
    async with streaming(f"{url}/same/stream", BOB) as stream, streaming(f"{url}/*/stream", BOB) as jobs:
        first = await stream.next()
        assert first is not None
        assert first.message["snapshot"]["status"] == "unknown"
        listed = await jobs.next()
        assert listed is not None
        assert listed.event == "listed"
        await publish(nats.url, "acme", "same", [1], end=True)
        await publish(nats.url, "globex", "same", [2])
        told = await stream.next()
        assert told is not None
        assert told.row == 2
        summary = await jobs.next()
        assert summary is not None
        assert (summary.event, summary.message["status"]) == ("summary", "running")


# -- what is granted ---------------------------------------------------------------------------------------------------


def test_a_grant_says_what_it_can_not_be() -> None:
    for wrong in (
        {"tenant": "a.b"},
        {"tenant": ""},
        {"tenant": "a", "scope": {"watch", "rule"}},
        {"tenant": "a", "jobs": ["a.b"]},
        {"tenant": "a", "jobs": "abc"},
        {"tenant": "a", "expires_at": datetime(2030, 1, 1)},
        {"tenant": "a", "expires_at": math.nan},
    ):
        with pytest.raises(ValueError, match=r"tenant|scope|job|expires_at"):
            Grant(**wrong)


def test_a_grant_takes_what_apps_have() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    told = Grant("a", "watch cancel", (job for job in (7, "seven")), moment, "ann").told
    assert told.scopes == {"watch", "cancel"}
    assert told.jobs == frozenset({"7", "seven"})
    assert (told.expires_at, told.subject) == (moment.timestamp(), "ann")
    assert Grant("a").told.expires_at == math.inf


def test_a_setting_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_QUEUE_MESSAGES", "none")
    with pytest.raises(ValueError, match="MILEPOST_QUEUE_MESSAGES"):
        Milepost(lambda: None)
    monkeypatch.delenv("MILEPOST_QUEUE_MESSAGES")
    with pytest.raises(ValueError, match="NATS_URL"):
        Milepost(lambda: None, nats_url="http://nowhere")


async def test_scopes_and_jobs_bound_what_may_be_done(nats: NatsServer) -> None:
    async def grant(who: Annotated[str, Header()]) -> Grant:
        if who == "nobody":
            raise HTTPException(419, {"why": "not today"}, {"X-Why": "said"})
        return {
            "watcher": Grant("bounds", jobs=[1]),
            "starter": Grant("bounds", "submit", jobs=[1]),
            "late": Grant("bounds", expires_at=time.time() - 1),
        }[who]

    milepost = Milepost(grant, nats_url=nats.url, jobs=False, watchdog=False, client=False)
    async with served(an_app(milepost)) as port, httpx.AsyncClient(trust_env=False) as client:
        await eventually_async(lambda: milepost.up)

        async def ask(who: str, method: str, path: str) -> httpx.Response:
            return await client.request(method, f"http://127.0.0.1:{port}/api/jobs{path}", headers={"Who": who})

        assert (await ask("watcher", "GET", "/1")).status_code == 404
        assert (await ask("watcher", "GET", "/2")).status_code == 403
        assert (await ask("watcher", "GET", "/2/stream")).status_code == 403
        assert (await ask("watcher", "DELETE", "/1")).status_code == 403
        assert (await ask("watcher", "POST", "")).status_code == 403
        assert (await ask("starter", "GET", "")).status_code == 403
        assert "certain jobs" in (await ask("starter", "POST", "")).json()["detail"]
        assert (await ask("late", "GET", "")).status_code == 401
        own = await ask("nobody", "GET", "")
        assert (own.status_code, own.headers["x-why"], own.headers["content-type"]) == (419, "said", PROBLEM)
        assert (await client.get(f"http://127.0.0.1:{port}/client/milepost.js")).status_code == 404


async def test_a_stream_ends_when_what_was_granted_does(nats: NatsServer) -> None:
    asked: list[float] = []

    async def grant() -> Grant:
        asked.append(time.time())
        return Grant("expiring", expires_at=asked[0] + 0.2)

    milepost = Seen(grant, nats_url=nats.url, jobs=False, watchdog=False)
    async with served(an_app(milepost)) as port:
        await eventually_async(lambda: milepost.up)
        url = f"http://127.0.0.1:{port}/api/jobs/1/stream"
        async with streaming(url, {}) as stream:
            assert stream.status == 200
            assert [told.event for told in await stream.rest()] == ["snapshot"]
        async with streaming(url, {}) as stream:
            assert stream.status == 401
        assert len(asked) == 2
        await eventually_async(lambda: milepost.empty)


# -- life --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_a_client_that_goes_leaves_nothing_behind(nats: NatsServer, http: str) -> None:
    before = asyncio.all_tasks()
    milepost = Seen(lambda: Grant("leaving"), nats_url=nats.url, jobs=False, watchdog=False)
    async with served(an_app(milepost), http) as port:
        await eventually_async(lambda: milepost.up)
        within = len(asyncio.all_tasks())
        for path in ("/1/stream", "/*/stream"):
            async with await RawClient.open(port) as client:
                await client.write(f"GET /api/jobs{path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
                assert (await client.response()).status == 200
                await eventually_async(lambda: milepost.clients == 1)
            await eventually_async(lambda: milepost.empty)
            await eventually_async(lambda: len(asyncio.all_tasks()) == within)
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}


async def test_streams_pass_an_apps_middleware_as_they_come(nats: NatsServer) -> None:
    """One that compresses and one that wraps `send` and `receive` among them; and clients' ends come through too."""
    milepost = Seen(lambda: Grant("middle"), nats_url=nats.url, jobs=False, watchdog=False)
    app = an_app(milepost)
    app.add_middleware(GZipMiddleware, minimum_size=1)

    @app.middleware("http")
    async def mark(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-seen"] = "by the app"
        return response

    async with served(app) as port:
        await eventually_async(lambda: milepost.up)
        async with streaming(f"http://127.0.0.1:{port}/api/jobs/1/stream", {"Accept-Encoding": "gzip"}) as stream:
            assert (first := await stream.next()) is not None
            assert first.event == "snapshot"
            await publish(nats.url, "middle", "1", [1])
            assert (told := await stream.next()) is not None
            assert told.row == 1
            assert milepost.clients == 1
        await eventually_async(lambda: milepost.empty)


async def test_a_dependency_of_the_function_is_left_before_a_stream_goes_on_for_hours(nats: NatsServer) -> None:
    """As docs/fastapi.md has it for database sessions."""
    left: list[str] = []

    async def session() -> AsyncIterator[str]:
        yield "open"
        left.append("session")

    dependency = Depends(session, scope="function")

    async def grant(opened: str = dependency) -> Grant:
        assert (opened, left) == ("open", [])
        return Grant("sessions")

    milepost = Milepost(grant, nats_url=nats.url, jobs=False, watchdog=False)
    async with served(an_app(milepost)) as port:
        await eventually_async(lambda: milepost.up)
        async with streaming(f"http://127.0.0.1:{port}/api/jobs/1/stream", {}) as stream:
            assert await stream.next() is not None
            assert left == ["session"]


async def test_a_dependency_that_fails_as_it_is_left_leaves_no_stream_behind(nats: NatsServer) -> None:
    left = 0

    async def session() -> AsyncIterator[None]:
        nonlocal left
        yield
        left += 1
        raise HTTPException(500, "nothing was committed")

    dependency = Depends(session, scope="function")

    async def grant(_: None = dependency) -> Grant:
        return Grant("leaving")

    milepost = Seen(grant, nats_url=nats.url, jobs=False, watchdog=False)
    async with served(an_app(milepost)) as port, httpx.AsyncClient(trust_env=False) as client:
        for path in ("1/stream", "*/stream"):
            answer = await client.get(f"http://127.0.0.1:{port}/api/jobs/{path}")
            assert answer.status_code == 500
        assert left == 2
        await eventually_async(lambda: milepost.empty)


async def test_leaving_ends_streams_and_lets_in_nobody(nats: NatsServer) -> None:
    """For servers that are stopped without a signal."""
    milepost = Seen(lambda: Grant("left"), nats_url=nats.url, hub=HubSettings(drain_seconds=0), jobs=False)
    async with served(an_app(milepost)) as port:
        await eventually_async(lambda: milepost.up)
        url = f"http://127.0.0.1:{port}/api/jobs/1/stream"
        async with streaming(url, {}) as stream:
            assert await stream.next() is not None
            milepost.leave()
            assert await stream.rest() == []
        async with streaming(url, {}) as stream:
            assert stream.status == 503


async def test_it_runs_once_however_often_it_is_begun_and_again_after_its_end(nats: NatsServer) -> None:
    """As in tests of an app, which begin and end it time and again."""
    milepost = Seen(lambda: Grant("begun"), nats_url=nats.url)
    for _ in range(2):
        async with milepost:
            async with milepost:
                await eventually_async(lambda: milepost.up)
            async with served(an_app(milepost)) as port, httpx.AsyncClient(trust_env=False) as client:
                assert (await client.get(f"http://127.0.0.1:{port}/api/jobs")).is_success
            assert milepost.up


async def test_a_beginning_that_fails_is_none(nats: NatsServer) -> None:
    """What was wrong may be mended, and the app be begun again."""
    milepost = Seen(lambda: Grant("failing"), nats_url=nats.url, jobs=False, watchdog=False)
    given, milepost._nats_url = milepost._nats_url, "no://server"
    with pytest.raises(ValueError, match="a NATS URL"):
        await milepost.__aenter__()
    milepost._nats_url = given
    async with milepost:
        await eventually_async(lambda: milepost.up)


async def test_an_app_within_another_says_that_nobody_has_begun_it() -> None:
    milepost = Milepost(lambda: Grant("within"))
    outer = FastAPI()
    outer.mount("/inner", an_app(milepost))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(outer), base_url="http://here") as client:
        with pytest.raises(RuntimeError, match="lifespan"):
            await client.get("/inner/api/jobs")


async def test_a_dependency_that_gives_something_else_is_told() -> None:
    given: Any = {"tenant": "acme"}
    milepost = Milepost(lambda: given)
    async with (
        milepost,
        httpx.AsyncClient(transport=httpx.ASGITransport(an_app(milepost)), base_url="http://here") as client,
    ):
        with pytest.raises(TypeError, match=r"returns a Grant or None, not \{'tenant'"):
            await client.get("/api/jobs")
