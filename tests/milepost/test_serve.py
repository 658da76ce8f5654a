"""`milepost serve`: hub and bridge as one service, started, watched and ended from outside."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import nats
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect

from milepost.nats_server import NatsServer
from tests.milepost.conftest import SECRET, Service, serving
from tests.milepost.console import Running, milepost, running

ENV = {"MILEPOST_JWT_SECRET": SECRET}


def websocket(service: Service, tenant: str) -> str:
    return f"{service.url.replace('http', 'ws')}/ws?token={service.token(tenant)}"


async def message(connection: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of this kind."""
    while True:
        got: dict[str, Any] = json.loads(await asyncio.wait_for(connection.recv(), 20))
        if got["type"] == kind:
            return got


async def ready(url: str) -> None:
    """Return once the service has its NATS."""
    async with httpx.AsyncClient() as client, asyncio.timeout(20):
        while (await client.get(f"{url}/readyz")).status_code != 200:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)


async def test_an_event_goes_from_nats_to_a_client(service: Service, shared_nats: NatsServer) -> None:
    await ready(service.url)
    async with connect(websocket(service, "serve-through")) as connection:
        await connection.send('{"action":"subscribe","jobId":123}')
        assert (await message(connection, "subscribed"))["upstream"] == "up"
        client = await nats.connect(shared_nats.url)
        payload = b'{"nodeId": 1, "nodeName": "DB Input", "status": "running", "rowCount": 5000}'
        await client.publish("tenant.serve-through.job.123.progress", payload)
        await client.close()
        got = await message(connection, "job.progress")
        assert got["jobId"] == 123
        assert got["payload"] == json.loads(payload)


def test_it_refuses_to_start_without_a_key_and_says_how_to_make_one() -> None:
    ended = milepost("serve", "--port", "0")
    assert ended.returncode == 2
    assert "MILEPOST_JWT_SECRET" in ended.stderr
    assert "secrets.token_urlsafe" in ended.stderr
    assert "--jwks-url" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--jwt-secret", "short"], "HS256 needs"),
        (["--jwt-public-key", "/nowhere.pem"], "/nowhere.pem"),
        (["--nats", "http://x"], "NATS_URL"),
        (["--nats-user", "hub"], "go together"),
        (["--nats-ca", "/nowhere"], "--nats-ca"),
        (["--ping-interval", "90"], "ping_interval"),
        (["--queue-messages", "0"], "--queue-messages (or MILEPOST_QUEUE_MESSAGES)"),
        (["--bridge-linger", "-1"], "--bridge-linger (or MILEPOST_BRIDGE_LINGER)"),
        (["--store-dir", "x"], "--embedded"),
        (["--workers", "0"], "workers"),
        (["--port", "many"], "--port"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(arguments: list[str], told: str) -> None:
    ended = milepost("serve", "--port", "0", *arguments, env=ENV)
    assert ended.returncode == 2, ended.stderr
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = milepost("serve", "--port", port, env=ENV)
    assert ended.returncode == 1
    assert f"port {port}" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_one_signal_ends_it_and_clients_are_told_to_come_back(
    shared_nats: NatsServer, number: signal.Signals
) -> None:
    with serving(shared_nats.url) as service:
        async with connect(websocket(service, "serve-signal")) as connection:
            await connection.send('{"action":"subscribe","jobId":1}')
            await message(connection, "subscribed")
            service.process.process.send_signal(number)
            await asyncio.wait_for(connection.wait_closed(), 20)
            assert connection.close_code == 4001
        assert await asyncio.to_thread(service.process.end) == 0
        assert not [line for line in service.process.rest() if "Traceback" in line or "rror" in line]


def test_embedded_brings_its_own_nats_and_takes_it_along(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--embedded", "--embedded-port", "0", "--store-dir", str(tmp_path))
    with running("serve", *arguments, env=ENV) as process:
        line = process.until("Milepost serves")
        url = re.findall(r"nats://\S+", line)[0]
        assert milepost("pub", "1", "--tenant", "a", "--status", "running", "--nats", url).returncode == 0
        children = psutil.Process(process.process.pid).children(recursive=True)
        assert any(child.name() == "nats-server" for child in children)
        process.interrupt()
        assert process.end() == 0
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive
    assert (tmp_path / "nats-server.log").is_file()


async def test_nats_may_be_away_at_the_start(nats_server: NatsServer) -> None:
    url = nats_server.url
    nats_server.kill()
    with serving(url) as service:
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{service.url}/healthz")).status_code == 200
            assert (await client.get(f"{service.url}/readyz")).status_code == 503
        nats_server.start()
        await ready(service.url)


async def test_the_log_is_json_off_a_terminal_and_shows_no_token(shared_nats: NatsServer) -> None:
    with serving(shared_nats.url, "--access-log", "--log-level", "debug") as service:
        async with connect(websocket(service, "serve-log")) as connection:
            await connection.send('{"action":"subscribe","jobId":1}')
            await message(connection, "subscribed")
        async with httpx.AsyncClient() as client:
            await client.get(f"{service.url}/healthz?token={service.token('x')}")
        service.process.interrupt()
        lines = service.process.rest()
    records = [json.loads(line) for line in lines if not line.startswith(("Milepost serves", "The dashboard"))]
    assert any("/healthz" in record["message"] for record in records)
    assert not any("eyJ" in json.dumps(record) for record in records)
    assert all({"at", "level", "logger", "message"} <= set(record) for record in records)


async def test_the_pages_are_served_and_said_to_be_unless_they_are_not_wanted(shared_nats: NatsServer) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        with serving(shared_nats.url) as service:
            assert f"{service.url}/" in service.process.until("The dashboard is at")
            index = await client.get(f"{service.url}/")
            assert (index.status_code, index.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert "trusted-types" in index.headers["content-security-policy"]
            assert (await client.get(f"{service.url}/client/milepost.js")).status_code == 200
        with serving(shared_nats.url, "--no-pages") as service:
            assert (await client.get(f"{service.url}/")).status_code == 404
            service.process.interrupt()
            assert not any("dashboard" in line for line in service.process.rest())


async def test_the_metrics_tell_of_the_bridge_too(service: Service) -> None:
    await ready(service.url)
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{service.url}/metrics")).text
    assert "milepost_bridge_connections 1.0" in text
    assert "milepost_hub_upstream_up 1.0" in text


# Several workers


def workers_of(process: Running) -> list[psutil.Process]:
    """The processes that serve, without Python's own helpers."""
    children = psutil.Process(process.process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(_command(child))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # it has ended since it was listed
        return []


async def metric(url: str, name: str) -> float:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{url}/metrics")).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if re.match(rf"{name}[{{ ]", line))


async def eventually(check: Any, seconds: float = 20) -> None:  # noqa: ANN401
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while True:
        held = check()
        if asyncio.iscoroutine(held):
            held = await held
        if held:
            return
        assert time.monotonic() < deadline, "it never came to hold"
        await asyncio.sleep(0.05)


async def test_workers_share_the_port_and_their_metrics_add_up(shared_nats: NatsServer) -> None:
    with serving(shared_nats.url, "--workers", "3") as service:
        assert len(workers_of(service.process)) == 3
        connections = [await connect(websocket(service, "workers")) for _ in range(12)]

        async def all_counted() -> bool:
            return await metric(service.url, "milepost_hub_connections") == 12

        await eventually(all_counted)
        for connection in connections:
            await connection.close()


async def test_a_worker_that_is_killed_comes_again_and_is_counted_no_more(shared_nats: NatsServer) -> None:
    with serving(shared_nats.url, "--workers", "2") as service:
        connections = [await connect(websocket(service, "workers")) for _ in range(8)]
        before = workers_of(service.process)
        before[0].kill()

        def two_again() -> bool:
            now = workers_of(service.process)
            return len(now) == 2 and before[0].pid not in {worker.pid for worker in now}

        await eventually(two_again)

        async def only_the_living() -> bool:
            alive = sum(connection.close_code is None for connection in connections)
            return await metric(service.url, "milepost_hub_connections") == alive

        await eventually(only_the_living)
        for connection in connections:
            await connection.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_all_workers(shared_nats: NatsServer, number: signal.Signals) -> None:
    with serving(shared_nats.url, "--workers", "2") as service:
        family = psutil.Process(service.process.process.pid).children(recursive=True)
        service.process.process.send_signal(number)
        assert service.process.end() == 0
        _, alive = psutil.wait_procs(family, timeout=10)
        assert not alive
        assert not [line for line in service.process.rest() if "Traceback" in line]


def test_workers_end_when_their_parent_is_killed(shared_nats: NatsServer) -> None:
    with serving(shared_nats.url, "--workers", "2") as service:
        family = psutil.Process(service.process.process.pid).children(recursive=True)
        service.process.process.kill()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive


def test_ctrl_c_before_it_is_ready_ends_it_too(shared_nats: NatsServer) -> None:
    env = {**ENV, "NATS_URL": shared_nats.url}
    with running("serve", "--port", "0", "--workers", "2", env=env) as process:
        process.interrupt()
        try:
            assert process.end() in (0, 130, -signal.SIGINT)
        except subprocess.TimeoutExpired:
            pytest.fail("it did not hear Ctrl-C")
