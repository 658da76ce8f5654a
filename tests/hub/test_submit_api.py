"""Jobs submitted over HTTP: taken, refused, submitted once more; by whom, and what the answer's token is good for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from milepost_hub.errors import SubmitRefused
from milepost_hub.signer import Signer
from milepost_hub.token import issue

from tests.hub.live_hub import LiveHub, Source, live_hub
from tests.hub.memory_desk import Job, MemoryDesk
from tests.hub.memory_log import MemoryLog
from tests.hub.raw_client import RawClient
from tests.hub.signers import SECRET

PROBLEM = "application/problem+json"
SUBMITTER = issue(SECRET, "acme", scopes=["submit"], subject="anna")
GOOD = {"name": "import", "payload": {"rows": 3}}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@contextlib.asynccontextmanager
async def api(
    token: str = SUBMITTER, *, job_token_seconds: float = 3600
) -> AsyncIterator[tuple[httpx.AsyncClient, MemoryDesk, LiveHub]]:
    """A hub with a log and a desk, and a client of it."""
    desk = MemoryDesk()
    async with live_hub(
        source=Source(log=MemoryLog()), signer=Signer(SECRET), job_token_seconds=job_token_seconds
    ) as hub:
        hub.employ(desk)
        async with httpx.AsyncClient(base_url=hub.url, trust_env=False, headers=bearer(token)) as http:
            yield http, desk, hub


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == PROBLEM
    told = response.json()
    assert told["status"] == response.status_code
    assert isinstance(told, dict)
    return told


def counted(hub: LiveHub, outcome: str, times: int = 1) -> bool:
    return f'milepost_hub_submits_total{{outcome="{outcome}"}} {times}.0'.encode() in hub.metrics.exposition()


# -- taken ------------------------------------------------------------------------------------------------------------


async def test_a_job_is_taken() -> None:
    """201: its id as JSON has ids, where it is to be read and watched; nobody on the way keeps the answer."""
    async with api() as (http, desk, hub):
        for job, written in {"7": 7, "job-1": "job-1"}.items():
            response = await http.post("/api/jobs", json=GOOD)
            assert response.status_code == 201
            assert (response.headers["location"], response.headers["cache-control"]) == (f"/api/jobs/{job}", "no-store")
            told = response.json()
            assert (set(told), told["jobId"]) == ({"jobId", "token", "stream"}, written)
            assert told["stream"] == f"/api/jobs/{job}/stream"
        assert desk.jobs == {("acme", job): Job("import", {"rows": 3}) for job in ("7", "job-1")}
        assert counted(hub, "accepted", 2)


async def test_the_same_key_is_the_same_job() -> None:
    """And another job under it is refused."""
    async with api() as (http, desk, hub):
        keyed = GOOD | {"key": "order 17"}
        ids = {(await http.post("/api/jobs", json=keyed)).json()["jobId"] for _ in range(2)}
        assert (ids, len(desk.jobs)) == ({7}, 1)
        refused = await http.post("/api/jobs", json=keyed | {"payload": {"rows": 4}})
        assert (refused.status_code, problem(refused)["detail"]) == (409, "the key is another job's")
        assert counted(hub, "refused")


async def test_a_body_is_json_whatever_is_said_of_it() -> None:
    async with api() as (http, _, _hub):
        for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
            body = b'{"name":"import","payload":{"rows":1}}'
            assert (await http.post("/api/jobs", content=body, headers={"Content-Type": kind})).status_code == 201


# -- the token --------------------------------------------------------------------------------------------------------


async def test_the_answers_token_watches_that_job_and_nothing_else() -> None:
    """By the hub's own doors: HTTP, the stream, and the WebSocket."""
    async with api() as (http, _, hub):
        log = hub.source.log
        assert isinstance(log, MemoryLog)
        for _ in range(2):
            told = (await http.post("/api/jobs", json=GOOD)).json()
        mine, others = told["jobId"], 7
        for job in (mine, others):
            log.store("acme", str(job), {"status": "running"})
        http.headers = httpx.Headers(bearer(told["token"]))
        assert (await http.get(f"/api/jobs/{mine}")).status_code == 200
        assert [job["jobId"] for job in (await http.get("/api/jobs")).json()["jobs"]] == [mine]
        async with http.stream("GET", told["stream"]) as stream:
            assert stream.status_code == 200
        assert (await http.get(f"/api/jobs/{mine}/submission")).json() == {"name": "import"}
        for path in (f"/api/jobs/{others}", f"/api/jobs/{others}/stream", f"/api/jobs/{others}/submission"):
            assert (await http.get(path)).status_code == 403, path
        for path in ("/api/jobs", f"/api/jobs/{mine}/again"):
            assert (await http.post(path, json=GOOD)).status_code == 403, path
        assert (await http.delete(f"/api/jobs/{mine}")).status_code == 403
        async with await RawClient.connect(hub.port, told["token"]) as client:
            assert (await client.subscribe(mine))["type"] == "subscribed"
            assert (await client.subscribe(others))["code"] == "forbidden"


async def test_the_token_of_who_may_cancel_cancels_that_job_and_no_other() -> None:
    async with api(issue(SECRET, "acme", scopes=["submit", "cancel"])) as (http, desk, _):
        others, mine = [(await http.post("/api/jobs", json=GOOD)).json() for _ in range(2)]
        headers = bearer(mine["token"])
        assert (await http.delete(f"/api/jobs/{mine['jobId']}", headers=headers)).status_code == 202
        assert (await http.delete(f"/api/jobs/{others['jobId']}", headers=headers)).status_code == 403
        assert desk.cancelled == [("acme", "job-1")]


async def test_the_token_is_in_the_submitters_name_and_ends_as_set() -> None:
    async with api(job_token_seconds=60) as (http, _, hub):
        own = hub.verifier.verify(SUBMITTER)
        grant = hub.verifier.verify((await http.post("/api/jobs", json=GOOD)).json()["token"])
        assert (grant.tenant, grant.subject, grant.jobs) == ("acme", "anna", frozenset({"7"}))
        assert grant.scopes == {"watch"}
        assert grant.expires_at < own.expires_at - 3000
        async with await RawClient.connect(hub.port, issue(SECRET, "acme", subject="anna")) as client:
            assert (await client.subscribe(7))["type"] == "subscribed"


async def test_it_does_not_outlive_the_submitters() -> None:
    short = issue(SECRET, "acme", scopes=["submit"], ttl=30)
    async with api(short) as (http, _, hub):
        grant = hub.verifier.verify((await http.post("/api/jobs", json=GOOD)).json()["token"])
        assert grant.expires_at == hub.verifier.verify(short).expires_at


async def test_without_a_signer_there_is_no_token() -> None:
    """The job is taken all the same."""
    async with live_hub() as hub:
        hub.employ(MemoryDesk())
        async with httpx.AsyncClient(base_url=hub.url, trust_env=False, headers=bearer(SUBMITTER)) as http:
            response = await http.post("/api/jobs", json=GOOD)
            assert (response.status_code, response.json()["token"]) == (201, None)


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (b"", 400, "not JSON"),
        (b'{"name":"import","payload":1e999}', 400, "not JSON"),
        (b"[]", 422, "must be a JSON object"),
        (b'{"name":"import"}', 422, "payload: Field required"),
        (b'{"name":"import","payload":{"rows":1},"run":2}', 422, "run: Extra inputs are not permitted"),
        (b'{"name":"no such","payload":null}', 422, "name: "),
        (b'{"name":"export","payload":null}', 404, "there is no handler export"),
        (b'{"name":"import","payload":{"rows":1,"text":"%b"}}' % (b"x" * 65_000), 413, "longer than 60000 characters"),
        (b'{"name":"import","payload":{"rows":1,"text":"%b"}}' % (b"x" * 70_000), 413, "longer than 69632 bytes"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_what_cannot_be_taken_is_told_in_words(sent: bytes, status: int, words: str) -> None:
    """By the hub or by the desk alike; and nothing is submitted."""
    async with api() as (http, desk, hub):
        response = await http.post("/api/jobs", content=sent)
        assert response.status_code == status
        assert words in problem(response)["detail"]
        assert desk.jobs == {}
        assert counted(hub, "refused")


async def test_reasons_are_told_with_their_places() -> None:
    """The desk's as the hub's own; nothing but place and words. Where there are none there is no `errors`."""
    async with api() as (http, _, _hub):
        told = problem(await http.post("/api/jobs", json={"name": "import", "payload": {"rows": "many"}}))
        assert told["errors"] == [{"loc": ["payload", "rows"], "msg": "must be a whole number"}]
        told = problem(await http.post("/api/jobs", json={"nmae": "import", "payload": 1}))
        assert [reason["loc"] for reason in told["errors"]] == [["name"], ["nmae"]]
        assert "errors" not in problem(await http.post("/api/jobs", content=b"{"))


async def test_a_flood_of_reasons_is_cut_short() -> None:
    class Pedant(MemoryDesk):
        async def submit(self, tenant: str, name: str, payload: Any, key: str | None) -> str:  # noqa: ANN401
            raise SubmitRefused(422, "all of it", [{"loc": ["payload", n], "msg": "no"} for n in range(30_000)])

    async with api() as (http, _, hub):
        hub.employ(Pedant())
        assert len(problem(await http.post("/api/jobs", json=GOOD))["errors"]) == 100


async def test_while_the_desk_is_away_the_hub_says_when_to_come_back() -> None:
    async with api(issue(SECRET, "acme", scopes=["watch", "submit", "cancel"])) as (http, desk, hub):
        assert (await http.post("/api/jobs", json=GOOD)).status_code == 201
        desk.away = True
        for method, path in {"POST": "/api/jobs", "GET": "/api/jobs/7/submission", "DELETE": "/api/jobs/7"}.items():
            response = await http.request(method, path, json=GOOD)
            assert (response.status_code, int(response.headers["retry-after"]) > 0) == (503, True)
            assert "the queue is out of reach" in problem(response)["detail"]
        assert (await http.post("/api/jobs/7/again")).status_code == 503
        assert counted(hub, "unavailable", 2)


async def test_without_a_desk_the_hub_takes_no_jobs_and_says_so() -> None:
    """501, because to try again does not help; also when the desk has been taken away."""
    async with api(issue(SECRET, "acme", scopes=["watch", "submit"])) as (http, _, hub):
        hub.employ(None)
        for path in ("/api/jobs", "/api/jobs/7/again"):
            response = await http.post(path, json=GOOD)
            assert response.status_code == 501
            assert "this hub takes no jobs" in problem(response)["detail"]
        assert (await http.get("/api/jobs/7/submission")).status_code == 404


# -- once more --------------------------------------------------------------------------------------------------------


async def test_a_job_is_submitted_once_more_with_what_it_had() -> None:
    """Under an id of its own, with a token for that one; who asks need not know the payload."""
    async with api() as (http, desk, hub):
        first = (await http.post("/api/jobs", json=GOOD)).json()
        response = await http.post(f"/api/jobs/{first['jobId']}/again")
        told = response.json()
        assert (response.status_code, told["jobId"]) == (201, "job-1")
        assert (response.headers["location"], told["stream"]) == ("/api/jobs/job-1", "/api/jobs/job-1/stream")
        assert hub.verifier.verify(told["token"]).jobs == frozenset({"job-1"})
        assert desk.jobs["acme", "job-1"] == desk.jobs["acme", "7"]
        assert counted(hub, "accepted", 2)


async def test_only_what_was_submitted_here_can_be_once_more() -> None:
    """And a page can ask before it offers to."""
    async with api(issue(SECRET, "acme", scopes=["watch", "submit"])) as (http, _, hub):
        await http.post("/api/jobs", json=GOOD)
        assert (await http.get("/api/jobs/7/submission")).json() == {"name": "import"}
        log = hub.source.log
        assert isinstance(log, MemoryLog)
        log.store("acme", "8", {"status": "running"})  # a program reports it, nobody submitted it
        for job in ("8", "99", "a.b", "*"):
            for response in (await http.post(f"/api/jobs/{job}/again"), await http.get(f"/api/jobs/{job}/submission")):
                assert response.status_code == 404, job
                assert problem(response)["detail"]
        assert counted(hub, "unknown", 2)


# -- who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("nonsense", 401),
        (issue(SECRET, "acme"), 403),
        (issue(SECRET, "acme", scopes=["watch", "cancel"]), 403),
        (issue(SECRET, "acme", scopes=["submit"], jobs=[7]), 403),
        (issue(SECRET, "acme", scopes=["submit"], jobs=[]), 403),
        (issue(SECRET, "acme", scopes=["submit"]), 201),
    ],
)
async def test_submitting_needs_a_token_for_it(token: str, status: int) -> None:
    """One with a list of jobs is no such token: the new one would not be on it. Nothing is read of the body."""
    async with api(token) as (http, desk, _):
        desk.jobs["acme", "7"] = Job("import", {"rows": 1})
        for path in ("/api/jobs", "/api/jobs/7/again"):
            response = await http.post(path, json=GOOD if status == 201 else None)
            assert response.status_code == status
        assert len(desk.jobs) == (3 if status == 201 else 1)


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (issue(SECRET, "acme", scopes=["submit"]), 403),
        (issue(SECRET, "acme", jobs=[8]), 403),
        (issue(SECRET, "acme", jobs=[7]), 200),
        (issue(SECRET, "globex"), 404),
    ],
)
async def test_only_who_may_watch_a_job_learns_what_it_was_submitted_as(token: str, status: int) -> None:
    async with api(token) as (http, desk, _):
        desk.jobs["acme", "7"] = Job("import", {"rows": 1})
        assert (await http.get("/api/jobs/7/submission")).status_code == status


async def test_another_tenant_can_do_nothing_with_a_job() -> None:
    """Nor with its key; what it is told is what it is told of a job that never was."""
    async with api() as (http, desk, _):
        await http.post("/api/jobs", json=GOOD | {"key": "k"})
        http.headers = httpx.Headers(bearer(issue(SECRET, "globex", scopes=["watch", "submit", "cancel"])))
        for method, path in [
            ("POST", "/api/jobs/{}/again"),
            ("GET", "/api/jobs/{}/submission"),
            ("GET", "/api/jobs/{}"),
            ("DELETE", "/api/jobs/{}"),
        ]:
            theirs, nobodys = [await http.request(method, path.format(job)) for job in ("7", "99")]
            assert theirs.status_code == nobodys.status_code == 404
            assert problem(theirs)["detail"].replace("7", "99") == problem(nobodys)["detail"]
        response = await http.post("/api/jobs", json={"name": "import", "payload": {"rows": 9}, "key": "k"})
        assert (response.status_code, response.json()["jobId"]) == (201, "job-1")
        assert desk.jobs["acme", "7"] == Job("import", {"rows": 3})
        assert desk.cancelled == []
