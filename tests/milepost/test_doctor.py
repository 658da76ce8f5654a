"""`milepost doctor` says what works, what does not, and what to do about it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import LOG, STATE, ensure
from milepost_hub.token import issue
from milepost_reporter.jetstream.stream import OLDEST_SERVER

from milepost.doctor.finding import Finding, Level
from milepost.doctor.nats import examine_version
from milepost.doctor.streams import examine_streams
from milepost.doctor.token import examine_token
from milepost.nats_access import NatsAccess
from milepost.nats_server import NatsServer
from tests.bridge.live_api import live_api
from tests.milepost.conftest import SECRET, Service
from tests.milepost.console import milepost

Findings = dict[str, dict[str, str]]


def examined(*arguments: str, env: dict[str, str]) -> tuple[int, Findings]:
    """The exit code and the findings, by what was looked at."""
    ended = milepost("doctor", "--json", *arguments, env=env)
    assert "Traceback" not in ended.stderr
    findings = [json.loads(line) for line in ended.stdout.splitlines()]
    return ended.returncode, {finding["what"]: finding for finding in findings}


async def stream_findings(server: NatsServer) -> dict[str, Finding]:
    return {finding.what: finding for finding in await examine_streams(NatsAccess(url=server.url))}


@pytest.fixture
def healthy(service: Service, shared_nats: NatsServer) -> dict[str, str]:
    """The environment of somebody for whom all is well."""
    deadline = time.monotonic() + 20
    while httpx.get(f"{service.url}/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    token = service.token("doctor", ttl=3600)
    return {
        "NATS_URL": shared_nats.url,
        "MILEPOST_URL": service.url,
        "MILEPOST_TOKEN": token,
        "MILEPOST_JWT_SECRET": SECRET,
    }


def test_when_all_is_well_everything_is_ok(healthy: dict[str, str]) -> None:
    code, findings = examined(env=healthy)
    assert code == 0
    assert {what: finding["level"] for what, finding in findings.items()} == dict.fromkeys(
        ["NATS", "NATS version", "JetStream", "job log", "job queue", "hub", "hub ready", "clock", "token signature",
         "token", "token expiry", "WebSocket"],
        "ok",
    )  # fmt: skip


def test_for_people_each_line_begins_with_how_it_is(healthy: dict[str, str]) -> None:
    ended = milepost("doctor", env=healthy)
    assert ended.returncode == 0
    assert all(line.startswith("ok    ") for line in ended.stdout.splitlines())


def test_nats_away_and_hub_away_are_both_told_with_what_to_do() -> None:
    code, findings = examined("--nats", "nats://127.0.0.1:1", "--url", "http://127.0.0.1:1", env={})
    assert code == 1
    assert findings["NATS"]["level"] == findings["hub"]["level"] == "fail"
    assert "NATS_URL" in findings["NATS"]["advice"]
    assert "milepost serve" in findings["hub"]["advice"]
    assert findings["token"]["level"] == "warn"


def test_nats_without_jetstream_is_a_warning(healthy: dict[str, str]) -> None:
    with NatsServer(jetstream=False) as plain:
        code, findings = examined(env={**healthy, "NATS_URL": plain.url})
    assert code == 0
    assert findings["JetStream"]["level"] == "warn"
    assert "live only" in findings["JetStream"]["advice"]


def test_the_oldest_server_is_the_bridge_s_own() -> None:
    """Whatever the bridge refuses fails here, and says what to use instead."""
    oldest = ".".join(map(str, OLDEST_SERVER))
    assert examine_version(oldest).level is Level.OK
    too_old = examine_version("2.10.26")
    assert too_old.level is Level.FAIL
    assert oldest in too_old.advice


async def test_streams_that_are_not_there_are_told_and_not_made(nats_server: NatsServer) -> None:
    for _ in range(2):
        finding = (await stream_findings(nats_server))["job log"]
        assert finding.level is Level.WARN
        assert LOG in finding.found
        assert STATE in finding.found
        assert "milepost serve" in finding.advice


async def test_how_much_the_log_keeps_is_told_whatever_was_chosen(nats_server: NatsServer) -> None:
    """Retention is the operator's choice: another one than the default is no fault."""
    async with live_api(nats_server.url) as api:
        await ensure(api, BridgeSettings(log_max_age=86_400, log_events_per_job=500, log_max_bytes=0))
        await api.publish("tenant.acme.job.1.progress", b'{"fraction":0.5}')
    finding = (await stream_findings(nats_server))["job log"]
    assert finding.level is Level.OK
    assert "1 events" in finding.found
    assert "keeps 500 of a job, for 1 days, 1 on disk" in finding.found


@pytest.mark.parametrize(
    ("changed", "what", "level", "told"),
    [
        ({"discard": "new"}, "log settings", Level.WARN, "discard is new, should be old"),
        ({"max_age": 0}, "log settings", Level.WARN, "max_age is off, should be 604800 s"),
        ({"allow_direct": False}, "job log", Level.FAIL, "it could not be read"),
    ],
)
async def test_a_stream_that_is_not_as_it_should_be_is_told_and_left(
    nats_server: NatsServer, changed: dict[str, object], what: str, level: Level, told: str
) -> None:
    async with live_api(nats_server.url) as api:
        await ensure(api, BridgeSettings())
        config = (await api.request(f"$JS.API.STREAM.INFO.{LOG}"))["config"] | changed
        await api.request(f"$JS.API.STREAM.UPDATE.{LOG}", config)
        worst = (await stream_findings(nats_server))[what]
        assert worst.level is level
        assert told in worst.found
        assert worst.advice
        assert (await api.request(f"$JS.API.STREAM.INFO.{LOG}"))["config"] == config


async def test_a_url_that_serve_would_not_take_is_told(nats_server: NatsServer) -> None:
    (finding,) = await examine_streams(NatsAccess(url=f"127.0.0.1:{nats_server.port}"))
    assert finding.level is Level.FAIL
    assert "nats://host:4222" in finding.found


def test_a_tenant_s_own_user_is_told_that_jetstream_is_not_its_business(healthy: dict[str, str]) -> None:
    given = {"NATS_HUB_PASSWORD": '"hub"', "NATS_ACME_PASSWORD": '"acme"'}
    before = dict(os.environ)
    os.environ.update(given)
    try:
        with NatsServer(config=Path(__file__).parents[2] / "docker" / "nats.conf") as walled:
            env = {**healthy, "NATS_URL": walled.url, "NATS_USER": "acme", "NATS_PASSWORD": "acme"}
            code, findings = examined(env=env)
            _, wrong = examined(env={**env, "NATS_PASSWORD": "x"})
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert code == 0
    assert findings["NATS"]["level"] == "ok"
    assert findings["JetStream"]["level"] == "warn"
    assert "refused the credentials" in wrong["NATS"]["found"]
    assert "NATS_PASSWORD" in wrong["NATS"]["advice"]


@pytest.mark.parametrize(
    ("token", "what", "told"),
    [
        ("nonsense", "token", "cannot be read"),
        (issue("b" * 40, "acme"), "token signature", "is not by MILEPOST_JWT_SECRET"),
        (issue("b" * 40, "acme"), "WebSocket", "refused the token"),
    ],
)
def test_a_token_that_is_refused_is_told(healthy: dict[str, str], token: str, what: str, told: str) -> None:
    code, findings = examined(env={**healthy, "MILEPOST_TOKEN": token})
    assert code == 1
    assert findings[what]["level"] == "fail"
    assert told in findings[what]["found"]
    assert findings[what]["advice"]


def levels(token: str, now: float, secret: str | None = None) -> dict[str, Level]:
    return {finding.what: finding.level for finding in examine_token(token, secret, now)}


def test_expiry_and_clock_are_read_from_the_token() -> None:
    token, now = issue(SECRET, "acme", ttl=3600), time.time()
    assert levels(token, now)["token expiry"] is Level.OK
    assert levels(token, now + 3400)["token expiry"] is Level.WARN
    assert levels(token, now + 4000)["token expiry"] is Level.FAIL
    assert levels(token, now - 600)["token clock"] is Level.WARN


def test_an_expired_token_s_signature_is_still_told() -> None:
    token = issue(SECRET, "acme", ttl=1)
    assert levels(token, time.time() + 10, SECRET)["token signature"] is Level.OK


def test_a_token_that_cannot_watch_is_a_warning() -> None:
    assert levels(issue(SECRET, "acme", scopes=["submit"]), time.time())["token"] is Level.WARN


@pytest.fixture
def slow_clock() -> Iterator[str]:
    """A hub whose clock is two minutes behind, and that is not ready."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ready = self.path == "/healthz"
            body = b'{"status":"ok"}' if ready else b'{"status":"not ready","upstream":"down"}'
            self.send_response_only(200 if ready else 503)
            self.send_header("Date", formatdate(time.time() - 120, usegmt=True))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_clock_that_differs_and_a_hub_that_is_not_ready_are_told(slow_clock: str, healthy: dict[str, str]) -> None:
    code, findings = examined("--url", slow_clock, env=healthy)
    assert code == 1
    assert findings["clock"]["level"] == "fail"
    assert "120 s" in findings["clock"]["found"]
    assert "NTP" in findings["clock"]["advice"]
    assert findings["hub ready"]["level"] == "fail"
    assert "upstream down" in findings["hub ready"]["found"]
    assert findings["WebSocket"]["level"] == "fail"
