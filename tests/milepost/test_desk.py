"""The hub's desk on the runner's queue: every refusal over HTTP, and NATS away in every way."""

from __future__ import annotations

import re
from typing import Any

import httpx
import jwt

from milepost.nats_server import NatsServer
from tests.milepost.conftest import SECRET, Service, serving
from tests.milepost.jobs_console import Client, working
from tests.waiting import eventually


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    return told


def submitted(client: Client, name: str, payload: object) -> str:
    answer = client.ask("POST", "", {"name": name, "payload": payload})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["jobId"])


def taking(service: Service) -> Client:
    """A client of a service that takes jobs by now."""
    client = Client(service, "acme")
    eventually(lambda: client.ask("POST", "", {"name": "nobody-has-it", "payload": None}).status_code == 404)
    return client


def test_every_refusal_of_the_runner_s_is_the_hub_s(nats_server: NatsServer) -> None:
    """Unknown names, payloads that do not fit or are too large, taken keys, unknown and ended jobs."""
    with serving(nats_server.url, "--runner-payload-max-bytes", "1000") as service, working(nats_server.url):
        client = taking(service)
        assert "count" in problem(client.ask("POST", "", {"name": "nobody-has-it", "payload": 1}), 404)["detail"]
        unfit = problem(client.ask("POST", "", {"name": "count", "payload": {"rows": "many"}}), 422)
        assert [reason["loc"] for reason in unfit["errors"]] == [["payload", "rows"]]
        large = problem(client.ask("POST", "", {"name": "echo", "payload": "x" * 1_001}), 413)
        assert "1,000" in large["detail"]
        job = client.ask("POST", "", {"name": "echo", "payload": 1, "key": "k"}).json()["jobId"]
        assert client.ask("POST", "", {"name": "echo", "payload": 1, "key": "k"}).json()["jobId"] == job
        problem(client.ask("POST", "", {"name": "echo", "payload": True, "key": "k"}), 409)
        eventually(lambda: client.status(job) == "completed")
        problem(client.ask("DELETE", f"/{job}"), 409)
        problem(client.ask("DELETE", "/never-submitted"), 404)
        problem(client.ask("POST", "/never-submitted/again"), 404)
        problem(client.ask("GET", "/never-submitted/submission"), 404)
        assert client.ask("GET", f"/{job}/submission").json() == {"name": "echo"}
        again = client.ask("POST", f"/{job}/again")
        assert again.status_code == 201
        eventually(lambda: client.snapshot(again.json()["jobId"]).get("result") == 1)


def test_a_job_that_waits_is_cancelled_before_it_starts(nats_server: NatsServer) -> None:
    """There is no worker that would hear of it: a first one has told of its handlers, and gone."""
    with serving(nats_server.url) as service:
        with working(nats_server.url):
            client = taking(service)
        job = submitted(client, "echo", 1)
        assert client.status(job) == "queued"
        assert client.ask("DELETE", f"/{job}").status_code == 202
        eventually(lambda: client.status(job) == "cancelled")
        with working(nats_server.url):
            later = submitted(client, "echo", 2)
            eventually(lambda: client.status(later) == "completed")
        assert client.status(job) == "cancelled"


def test_the_token_that_answers_is_good_for_that_job_and_a_verifier_s_issuer_and_audience(
    nats_server: NatsServer,
) -> None:
    parties = ("--jwt-issuer", "us", "--jwt-audience", "hub")
    with serving(nats_server.url, *parties) as service, working(nats_server.url):
        token = service.token("acme", scopes=["submit"], subject="ann", issuer="us", audience="hub")
        body = {"name": "echo", "payload": 1}
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=service.url, trust_env=False) as http:
            answer = http.post("/api/jobs", json=body, headers=headers)
            assert answer.status_code == 201, answer.text
            told = answer.json()
            own = {"Authorization": f"Bearer {told['token']}"}
            assert http.get(f"/api/jobs/{told['jobId']}", headers=own).status_code == 200
            assert http.get("/api/jobs/another", headers=own).status_code == 403
            assert http.post("/api/jobs", json=body, headers=own).status_code == 403
        claims = jwt.decode(told["token"], SECRET, ["HS256"], audience="hub", issuer="us")
        assert (claims["jobs"], claims["sub"], claims["scope"]) == ([told["jobId"]], "ann", "watch")


def test_without_jobs_none_are_taken(nats_server: NatsServer) -> None:
    with serving(nats_server.url, "--no-jobs") as service:
        problem(Client(service, "acme").ask("POST", "", {"name": "echo", "payload": 1}), 501)


def test_with_several_workers_each_of_them_takes_jobs(nats_server: NatsServer) -> None:
    with serving(nats_server.url, "--workers", "2") as service, working(nats_server.url):
        client = taking(service)
        jobs = [submitted(client, "echo", number) for number in range(12)]
        for number, job in enumerate(jobs):
            eventually(lambda job=job: client.status(job) == "completed")  # type: ignore[misc]
            assert client.snapshot(job)["result"] == number

        def metric(name: str) -> list[str]:
            text = httpx.get(f"{service.url}/metrics", trust_env=False).text
            return re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)

        eventually(lambda: metric("milepost_jobs_open") == ["1.0"])
        eventually(lambda: metric(r'milepost_hub_submits_total\{outcome="accepted"\}') == ["12.0"])


def test_with_nats_away_at_the_start_the_reason_is_told_until_it_comes() -> None:
    with NatsServer() as server:
        url = server.url
        server.kill()
        with serving(url) as service:
            client = Client(service, "acme")
            answer = client.ask("POST", "", {"name": "echo", "payload": 1})
            assert "NATS" in problem(answer, 503)["detail"]
            assert answer.headers["retry-after"]
            problem(client.ask("DELETE", "/1"), 503)
            problem(client.ask("GET", "/1/submission"), 503)
            server.start()
            taking(service)


def test_without_jetstream_the_reason_is_told_and_plain_jobs_are_cancelled_as_ever() -> None:
    with NatsServer(jetstream=False) as server, serving(server.url) as service:
        client = Client(service, "acme")
        eventually(
            lambda: "JetStream" in problem(client.ask("POST", "", {"name": "echo", "payload": 1}), 503)["detail"]
        )
        # its own program is asked, and there is none
        assert "job 1" in problem(client.ask("DELETE", "/1"), 409)["detail"]


def test_nats_that_goes_and_comes_back_takes_jobs_again(nats_server: NatsServer) -> None:
    with serving(nats_server.url) as service, working(nats_server.url):
        client = taking(service)
        nats_server.kill()
        eventually(lambda: client.ask("POST", "", {"name": "echo", "payload": 1}).status_code == 503)
        nats_server.start()
        taking(service)
        job = submitted(client, "echo", 1)
        eventually(lambda: client.status(job) == "completed")
