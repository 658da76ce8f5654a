"""Jobs over HTTP: their list, a snapshot, polling; who may see them, and what cannot be had."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
from milepost_hub.errors import HubError, JobSilent, UpstreamDown
from milepost_hub.token import issue

from tests.hub.live_hub import LiveHub, Source, live_hub
from tests.hub.memory_desk import MemoryDesk
from tests.hub.memory_log import MemoryLog
from tests.hub.signers import SECRET

PROBLEM = "application/problem+json"


@contextlib.asynccontextmanager
async def api(token: str | None = None) -> AsyncIterator[tuple[httpx.AsyncClient, MemoryLog, LiveHub]]:
    log = MemoryLog()
    async with live_hub(source=Source(log=log)) as hub:
        headers = {"Authorization": f"Bearer {token or issue(SECRET, 'acme')}"}
        async with httpx.AsyncClient(base_url=hub.url, trust_env=False, headers=headers) as http:
            yield http, log, hub


def a_job(log: MemoryLog, job: int, status: str = "running", tenant: str = "acme") -> None:
    log.store(tenant, str(job), {"status": status})


async def test_jobs_are_listed_newest_first_a_page_at_a_time() -> None:
    async with api() as (http, log, _):
        for number in range(120):
            a_job(log, number)
        a_job(log, 500, tenant="globex")
        got: list[int] = []
        before: dict[str, str] = {}
        sizes = []
        while True:
            page = (await http.get("/api/jobs", params=before)).json()
            sizes.append(len(page["jobs"]))
            got += [job["jobId"] for job in page["jobs"]]
            if page["next"] is None:
                break
            before = {"before": page["next"]}
        assert got == list(range(119, -1, -1))
        assert sizes == [50, 50, 20]


async def test_jobs_are_found_by_status_and_by_what_they_are_called() -> None:
    async with api() as (http, log, _):
        for number, status in enumerate(["running", "failed", "completed", "cancelled"] * 3):
            a_job(log, number, status)

        async def found(**asked: str | int | list[str]) -> list[int]:
            return [job["jobId"] for job in (await http.get("/api/jobs", params=asked)).json()["jobs"]]

        assert await found(status="failed") == [9, 5, 1]
        assert await found(status=["failed", "completed"]) == await found(status="failed,completed")
        assert await found(status="failed,completed", limit=2) == [10, 9]
        assert await found(q="JOB 1") == [11, 10, 1]
        assert await found(q="job 1", status="failed") == [1]
        assert await found(status="never") == []


async def test_ten_thousand_jobs_are_listed_in_pages() -> None:
    async with api() as (http, log, _):
        for number in range(10_000):
            a_job(log, number)
        page = (await http.get("/api/jobs", params={"limit": 500, "q": "999"})).json()
        assert len(page["jobs"]) == 19
        page = (await http.get("/api/jobs", params={"limit": 500})).json()
        assert [job["jobId"] for job in page["jobs"]] == list(range(9_999, 9_499, -1))


async def test_a_page_goes_on_when_the_job_it_ended_with_has_gone() -> None:
    async with api() as (http, log, _):
        for number in range(4):
            a_job(log, number)
        page = (await http.get("/api/jobs", params={"limit": 2})).json()
        del log.stored["acme", "2"]
        assert (await http.get("/api/jobs", params={"before": page["next"]})).status_code == 200
        assert (await http.get("/api/jobs", params={"before": "nonsense"})).status_code == 400


async def test_a_job_that_speaks_between_two_pages_hides_none_and_shows_none_twice() -> None:
    """The page ended with it, and its last event is no longer what it was."""
    async with api() as (http, log, _):
        for number in range(6):
            a_job(log, number)
        log.store("acme", "3", {"message": "of an old job the latest news"})
        first = (await http.get("/api/jobs", params={"limit": 3})).json()
        for number in (3, 0, 5):
            log.store("acme", str(number), {"message": "still at it"})
        second = (await http.get("/api/jobs", params={"limit": 3, "before": first["next"]})).json()
        assert [job["jobId"] for page in (first, second) for job in page["jobs"]] == [5, 4, 3, 2, 1, 0]


async def test_a_jobs_snapshot_comes_with_its_cursor() -> None:
    async with api() as (http, log, _):
        event = log.store("acme", "7", {"status": "running"})
        told = (await http.get("/api/jobs/7")).json()
        assert (told["jobId"], told["cursor"], told["snapshot"]["status"]) == (7, event.cursor, "running")
        assert (await http.get("/api/jobs/8")).status_code == 404


async def test_polling_starts_with_a_snapshot_and_goes_on_from_cursor_to_cursor() -> None:
    """Messages as on the WebSocket, every event once."""
    async with api() as (http, log, _):
        for number in range(7):
            log.store("acme", "7", {"message": "", "n": number})
        first = (await http.get("/api/jobs/7/events")).json()
        assert [message["type"] for message in first["events"]] == ["job.snapshot"]
        assert first["more"] is False
        for number in range(7, 12):
            log.store("acme", "7", {"message": "", "n": number})
        got, cursor, more = [], first["cursor"], True
        while more:
            page = (await http.get("/api/jobs/7/events", params={"after": cursor, "limit": 2})).json()
            got += [message["payload"]["n"] for message in page["events"]]
            cursor, more = page["cursor"], page["more"]
        assert got == [7, 8, 9, 10, 11]
        page = (await http.get("/api/jobs/7/events", params={"after": "start"})).json()
        assert [message["payload"]["n"] for message in page["events"]] == list(range(12))
        assert page["events"][-1] == {
            **{"type": "job.progress", "jobId": 7, "payload": {"message": "", "n": 11}},
            **{"cursor": cursor, "at": "2026-01-01T00:00:00.000Z"},
        }


async def test_polling_over_a_gap_is_told_it_and_gets_a_snapshot() -> None:
    async with api() as (http, log, _):
        events = [log.store("acme", "7", {"message": "", "n": number}) for number in range(9)]
        log.drop("acme", "7", 5)
        page = (await http.get("/api/jobs/7/events", params={"after": events[1].cursor})).json()
        assert [message["type"] for message in page["events"]] == ["job.gap", "job.snapshot"]
        assert page["events"][0]["reason"] == "retention"
        assert page["cursor"] == events[-1].cursor


@pytest.mark.parametrize("path", ["/api/jobs", "/api/jobs/7", "/api/jobs/7/events", "/api/jobs/7/stream"])
async def test_only_a_good_token_gets_an_answer(path: str) -> None:
    """In the header or in the URL; told why not as a problem."""
    async with api() as (http, log, hub):
        a_job(log, 7)
        for headers in ({"Authorization": ""}, {"Authorization": "Bearer nonsense"}):
            refused = await http.get(path, headers=headers)
            assert (refused.status_code, refused.headers["content-type"]) == (401, PROBLEM)
            assert refused.headers["www-authenticate"] == "Bearer"
            assert "token" in refused.json()["detail"]
        unscoped = issue(SECRET, "acme", scopes=["submit"])
        assert (await http.get(path, headers={"Authorization": f"Bearer {unscoped}"})).status_code == 403
        async with httpx.AsyncClient(base_url=hub.url, trust_env=False) as bare, contextlib.AsyncExitStack() as stack:
            token = issue(SECRET, "acme")
            response = await stack.enter_async_context(bare.stream("GET", path, params={"token": token}))
            assert response.status_code == 200


async def test_a_token_with_a_list_sees_those_jobs_and_another_tenants_none() -> None:
    async with api(issue(SECRET, "acme", jobs=[2])) as (http, log, _):
        for number in (1, 2, 3):
            a_job(log, number)
        assert [job["jobId"] for job in (await http.get("/api/jobs")).json()["jobs"]] == [2]
        assert (await http.get("/api/jobs/2")).status_code == 200
        for path in ("/api/jobs/1", "/api/jobs/1/events", "/api/jobs/1/stream", "/api/jobs/99"):
            assert (await http.get(path)).status_code == 403
        theirs = {"Authorization": f"Bearer {issue(SECRET, 'globex')}"}
        assert (await http.get("/api/jobs", headers=theirs)).json() == {"jobs": [], "next": None}
        assert (await http.get("/api/jobs/2", headers=theirs)).status_code == 404
        assert (await http.get("/api/jobs/2/events", headers=theirs)).status_code == 404


@pytest.mark.parametrize("path", ["/api/jobs", "/api/jobs/7", "/api/jobs/7/events", "/api/jobs/7/events?after=start"])
async def test_without_its_log_the_hub_says_when_to_come_back(path: str) -> None:
    async with api() as (http, log, hub):
        log.unavailable = True
        for _ in range(2):
            refused = await http.get(path)
            assert (refused.status_code, refused.headers["content-type"]) == (503, PROBLEM)
            assert int(refused.headers["retry-after"]) > 0
            hub.source.log = None
            hub.upstream_changed()


@pytest.mark.parametrize("path", ["/api/jobs/7/events?after=yesterday", "/api/jobs/7/stream?after=yesterday"])
async def test_what_is_no_cursor_is_a_bad_request(path: str) -> None:
    async with api() as (http, _, _hub):
        refused = await http.get(path)
        assert (refused.status_code, refused.headers["content-type"]) == (400, PROBLEM)


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=many"])
async def test_a_limit_out_of_range_is_refused(query: str) -> None:
    async with api() as (http, _, _hub):
        refused = await http.get(f"/api/jobs?{query}")
        assert (refused.status_code, refused.headers["content-type"]) == (422, PROBLEM)
        assert [reason["loc"] for reason in refused.json()["errors"]] == [["query", "limit"]]


# -- cancelling -------------------------------------------------------------------------------------------------------

CANCELLER = issue(SECRET, "acme", scopes=["cancel"])


async def test_a_job_is_asked_to_stop() -> None:
    """202 with what it says; asked in its own tenant, by a token that need not watch."""
    async with api(CANCELLER) as (http, log, hub):
        a_job(log, 7)
        hub.source.answer = b'{"ok":true}'
        response = await http.delete("/api/jobs/7")
        assert (response.status_code, response.json()) == (202, {"jobId": 7, "status": "cancelling"})
        assert response.headers["cache-control"] == "no-store"
        assert hub.source.asked == [("acme", "7", b'{"action":"cancel"}')]
        assert b'milepost_hub_cancels_total{outcome="accepted"} 1.0' in hub.metrics.exposition()


@pytest.mark.parametrize(
    ("answer", "status", "words", "outcome"),
    [
        (JobSilent("nobody listens there"), 409, "nobody listens there", "silent"),
        (UpstreamDown("no connection"), 503, "NATS is out of reach", "unavailable"),
        (b'{"ok":false,"message":"it is too late"}', 409, "it is too late", "refused"),
        (b'{"ok":"true"}', 409, "it gave no reason", "refused"),
        (b'{"ok":false,"message":{"a":[1e999]}}', 409, "it gave no reason", "refused"),
        (b"[true]", 409, "no JSON object", "refused"),
        (b"\xff", 409, "no JSON", "refused"),
        (b"", 409, "no JSON", "refused"),
    ],
)
async def test_a_job_that_does_not_agree_is_told_in_words(
    answer: bytes | HubError, status: int, words: str, outcome: str
) -> None:
    async with api(CANCELLER) as (http, log, hub):
        a_job(log, 7)
        hub.source.answer = answer
        response = await http.delete("/api/jobs/7")
        assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
        assert words in response.json()["detail"]
        assert f'milepost_hub_cancels_total{{outcome="{outcome}"}} 1.0'.encode() in hub.metrics.exposition()


async def test_only_a_job_that_goes_on_is_asked() -> None:
    """404 for one nobody has heard of, 409 for one that has ended; one that will be tried again is asked."""
    async with api(CANCELLER) as (http, log, hub):
        hub.source.answer = b'{"ok":true}'
        a_job(log, 1, "completed")
        log.store("acme", "2", {"status": "failed", "willRetry": True})
        a_job(log, 3, tenant="globex")
        for job, status in {"1": 409, "2": 202, "3": 404, "a.b": 404, "*": 404, "%2A": 404}.items():
            assert (await http.delete(f"/api/jobs/{job}")).status_code == status, job
        assert [job for _, job, _ in hub.source.asked] == ["2"]
        log.unavailable = True
        assert (await http.delete("/api/jobs/2")).status_code == 503


async def test_without_a_log_the_job_itself_is_asked() -> None:
    """Nobody else knows whether there is one."""
    async with live_hub() as hub:
        headers = {"Authorization": f"Bearer {CANCELLER}"}
        async with httpx.AsyncClient(base_url=hub.url, trust_env=False, headers=headers) as http:
            assert (await http.delete("/api/jobs/7")).status_code == 409
            hub.source.answer = b'{"ok":true}'
            assert (await http.delete("/api/jobs/7")).status_code == 202


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (issue(SECRET, "acme"), 403),
        (issue(SECRET, "acme", scopes=["watch", "submit"]), 403),
        (issue(SECRET, "acme", scopes=["cancel"], jobs=[8]), 403),
        (issue(SECRET, "acme", scopes=["cancel"], jobs=[7]), 202),
        (issue(SECRET, "globex", scopes=["cancel"]), 404),
        ("nonsense", 401),
    ],
)
async def test_cancelling_needs_a_token_for_it(token: str, status: int) -> None:
    async with api(token) as (http, log, hub):
        a_job(log, 7)
        hub.source.answer = b'{"ok":true}'
        assert (await http.delete("/api/jobs/7")).status_code == status
        assert len(hub.source.asked) == (status == 202)


async def test_a_job_that_was_submitted_here_is_cancelled_here() -> None:
    """Also one that waits, and has no event yet; its program is not asked."""
    async with api(CANCELLER) as (http, log, hub):
        hub.source.answer = b'{"ok":true}'
        desk = MemoryDesk()
        hub.employ(desk)
        waiting, running = [await desk.submit("acme", "import", {"rows": 1}, None) for _ in range(2)]
        log.store("acme", running, {"status": "running"})
        for job in (waiting, running):
            response = await http.delete(f"/api/jobs/{job}")
            assert (response.status_code, response.json()["status"]) == (202, "cancelling")
            assert response.headers["cache-control"] == "no-store"
        assert desk.cancelled == [("acme", waiting), ("acme", running)]
        assert hub.source.asked == []
        assert b'milepost_hub_cancels_total{outcome="accepted"} 2.0' in hub.metrics.exposition()


async def test_a_submitted_job_that_has_ended_is_not_cancelled() -> None:
    """Whatever the log has heard of it so far."""
    async with api(CANCELLER) as (http, log, hub):
        desk = MemoryDesk()
        hub.employ(desk)
        job = await desk.submit("acme", "import", {"rows": 1}, None)
        desk.ended.add(("acme", job))
        a_job(log, int(job))
        response = await http.delete(f"/api/jobs/{job}")
        assert (response.status_code, response.headers["content-type"]) == (409, PROBLEM)
        assert response.json()["detail"] == f"job {job} has ended"
        assert b'milepost_hub_cancels_total{outcome="ended"} 1.0' in hub.metrics.exposition()


async def test_a_job_that_was_not_submitted_here_is_asked_itself() -> None:
    """As if there were no desk; while the desk is away nobody knows which it is."""
    async with api(CANCELLER) as (http, log, hub):
        hub.source.answer = b'{"ok":true}'
        desk = MemoryDesk()
        hub.employ(desk)
        await desk.submit("globex", "import", {"rows": 1}, None)  # their job 7 is not ours
        a_job(log, 7)
        a_job(log, 8, "completed")
        for job, status in {"7": 202, "8": 409, "9": 404}.items():
            assert (await http.delete(f"/api/jobs/{job}")).status_code == status
        assert hub.source.asked == [("acme", "7", b'{"action":"cancel"}')]
        assert desk.cancelled == []
        desk.away = True
        response = await http.delete("/api/jobs/7")
        assert (response.status_code, int(response.headers["retry-after"]) > 0) == (503, True)
        assert len(hub.source.asked) == 1


async def test_a_token_for_other_jobs_does_not_reach_the_desk() -> None:
    async with api(issue(SECRET, "acme", scopes=["cancel"], jobs=[8])) as (http, _, hub):
        desk = MemoryDesk()
        hub.employ(desk)
        job = await desk.submit("acme", "import", {"rows": 1}, None)
        assert (await http.delete(f"/api/jobs/{job}")).status_code == 403
        assert desk.cancelled == []
