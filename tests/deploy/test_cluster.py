"""The manifests run by hand: their configuration, commands and variables, on this machine's ports.

Three nats-servers of the ConfigMap, a hub, a worker and the job that reports; probes are asked as Kubernetes asks them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest
from milepost_bridge.streams import LOG, STATE
from milepost_hub.settings import HubSettings
from milepost_hub.token import issue
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from milepost.nats_server import NatsServer, find_binary
from tests.deploy.manifest import Pods, one, pods
from tests.milepost.console import environment, milepost, running
from tests.waiting import eventually

NATS = pods("StatefulSet/nats")
HUB = pods("Deployment/milepost")
WORKER = pods("Deployment/worker-acme")
JOB = pods("CronJob/names-nightly")
NIGHT = "names-nightly-29384756"
"""A job's name as a CronJob makes them."""

pytestmark = pytest.mark.timeout(180)


class Server:
    """One pod of the StatefulSet."""

    def __init__(self, folder: Path, name: str, routes: dict[str, int]) -> None:
        """`routes`: where each pod's cluster port is on this machine."""
        self.monitor = _free_port()
        data = one("ConfigMap", "nats-config")["data"]
        text = data["nats.conf"].replace("0.0.0.0:6222", f"127.0.0.1:{routes[name]}")
        assert "lame_duck_grace_period: 5s" in text
        text = text.replace("lame_duck_grace_period: 5s", "lame_duck_grace_period: 500ms")
        for other, port in routes.items():
            address = f"{other}.nats-headless:6222"
            assert address in text
            text = text.replace(address, f"127.0.0.1:{port}")
        own = folder / name
        own.mkdir()
        (own / "nats.conf").write_text(f'http: "127.0.0.1:{self.monitor}"\n{text}', "utf-8")
        (own / "tenants.conf").write_text(data["tenants.conf"], "utf-8")
        self.process = NatsServer(config=own / "nats.conf", store_dir=own / "data")
        # as the pod has them; the quotes around passwords too
        self._environment = NATS.environment({"metadata.name": name})

    @property
    def url(self) -> str:
        return self.process.url

    def start(self) -> None:
        with _environment(self._environment):
            self.process.start()

    def answers(self, probe: str) -> bool:
        """Whether this probe of the container is content."""
        path = NATS.container[probe]["httpGet"]["path"]
        return httpx.get(f"http://127.0.0.1:{self.monitor}{path}", trust_env=False).is_success

    def pre_stop(self) -> None:
        """What Kubernetes runs in the container before it ends it, where nats-server is process 1."""
        program, *arguments, last = NATS.container["lifecycle"]["preStop"]["exec"]["command"]
        assert program == "nats-server"
        sent = [find_binary(), *arguments, re.sub("=1$", f"={self.process.pid}", last)]
        subprocess.run(sent, check=True, capture_output=True)


@contextmanager
def _environment(given: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """All pods of the StatefulSet; the first has been alone for a moment, and was not well then."""
    folder = tmp_path_factory.mktemp("nats")
    routes = {f"nats-{number}": _free_port() for number in range(NATS.owner["spec"]["replicas"])}
    with ExitStack() as stack:
        started = []
        for name in routes:
            server = Server(folder, name, routes)
            stack.callback(server.process.stop)
            server.start()
            started.append(server)
            if len(started) == 1:
                assert not server.answers("startupProbe")
                assert server.answers("livenessProbe")
        for server in started:
            eventually(lambda server=server: server.answers("startupProbe"), 60)  # type: ignore[misc]
        yield started


def commanded(made: Pods, url: str, **changed: str) -> tuple[list[str], dict[str, str]]:
    """A container's arguments behind the program, and its environment with NATS where it is here."""
    pod = {"metadata.labels['batch.kubernetes.io/job-name']": NIGHT}
    return made.container["command"][1:], made.environment(pod, NATS_URL=url, **changed)


@pytest.fixture(scope="module")
def hub(servers: list[Server]) -> Iterator[str]:
    """Where the Deployment's hub answers; its readiness probe is content."""
    assert HUB.container["ports"][0]["containerPort"] == HubSettings().port
    arguments, env = commanded(HUB, every(servers), MILEPOST_HOST="127.0.0.1", MILEPOST_PORT="0")
    with running(*arguments, env=env) as process:
        url = process.until("Milepost serves").split()[2]
        eventually(lambda: probed(HUB, "readinessProbe", url), 60)
        yield url


def every(servers: list[Server]) -> str:
    """All of them, as the service's name leads to any of them."""
    return ",".join(server.url for server in servers)


def probed(made: Pods, probe: str, url: str) -> bool:
    path = made.container[probe]["httpGet"]["path"]
    return httpx.get(f"{url}{path}", trust_env=False).is_success


def test_every_probe_of_nats_is_content(servers: list[Server]) -> None:
    assert all(server.answers(probe) for server in servers for probe in NATS.container if probe.endswith("Probe"))


async def test_the_log_has_a_copy_on_each(servers: list[Server], hub: str) -> None:
    """And so have queue and store, which the hub makes once it is ready."""
    client = await nats.connect(servers[1].url, user="hub", password="replace-me-hub")
    try:
        for stream in (LOG, STATE, "MILEPOST_WORK", "KV_MILEPOST_JOBS"):
            async with asyncio.timeout(30):
                while (copies := await copies_of(client, stream)) is None:  # noqa: ASYNC110 - another process makes it
                    await asyncio.sleep(0.05)
            assert (stream, copies) == (stream, len(servers))
    finally:
        await client.close()


async def copies_of(client: Client, stream: str) -> int | None:
    """How many there are to be; None while there is no such stream."""
    with contextlib.suppress(NotFoundError):
        return (await client.jetstream().stream_info(stream)).config.num_replicas
    return None


def test_the_hub_lives_where_its_probe_asks(hub: str) -> None:
    assert probed(HUB, "livenessProbe", hub)


def test_the_job_reports_under_the_name_that_kubernetes_gave_it(
    servers: list[Server], hub: str, tmp_path: Path
) -> None:
    """To whichever server; a client of another tenant's token would not see it."""
    (tmp_path / "small.py").write_text("name = other(name)\n")
    # a busy machine takes its time to connect, and this job is over at once
    patience = {"MILEPOST_CLOSE_TIMEOUT": "60", "MILEPOST_UNREACHABLE_TIMEOUT": "60"}
    (module, *arguments), env = commanded(JOB, servers[2].url, **patience)
    assert module == "-m"
    arguments[-1] = str(tmp_path / "names.sqlite")
    done = subprocess.run(
        [sys.executable, module, *arguments, "--root", str(tmp_path)], env=environment(env), check=False, timeout=60
    )
    assert done.returncode == 0
    # a copy of the log may be a moment behind the one that acknowledged
    eventually(lambda: snapshot(hub, NIGHT).get("status") == "completed")


def snapshot(hub: str, job: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token()}"}
    told: dict[str, Any] = (
        httpx.get(f"{hub}/api/jobs/{job}", headers=headers, trust_env=False).json().get("snapshot", {})
    )
    return told


def token(*scopes: str) -> str:
    """With the example's secret."""
    return issue(HUB.environment({})["MILEPOST_JWT_SECRET"], "acme", scopes=list(scopes) or None)


@contextmanager
def working(url: str) -> Iterator[int]:
    """The Deployment's worker; its port for probes."""
    port = _free_port()
    arguments, env = commanded(
        WORKER, url, MILEPOST_WORKER_HEALTH_HOST="127.0.0.1", MILEPOST_WORKER_HEALTH_PORT=str(port)
    )
    with running(*arguments, env=env) as process:
        process.until("Milepost runs jobs")
        yield port


def test_a_server_that_is_told_to_go_takes_nothing_with_it(servers: list[Server], hub: str) -> None:
    """One goes as Kubernetes has it go; what is submitted then is run."""
    assert (
        int(WORKER.variables["MILEPOST_WORKER_HEALTH_PORT"]["value"]) == WORKER.container["ports"][0]["containerPort"]
    )
    with working(every(servers)) as port:
        url = f"http://127.0.0.1:{port}"
        assert probed(WORKER, "readinessProbe", url)
        assert probed(WORKER, "livenessProbe", url)
        env = {"MILEPOST_URL": hub, "MILEPOST_TOKEN": token("submit", "watch")}
        leaving = servers[0].process
        with connected(leaving):
            servers[0].pre_stop()
            eventually(lambda: "Entering lame duck mode" in leaving.log_file.read_text())
            # Kubernetes sends this next; a server that goes already takes its time all the same
            os.kill(leaving.pid, signal.SIGTERM)
            eventually(lambda: not leaving.running, 60)
        assert "Closing existing clients" in leaving.log_file.read_text()
        done = milepost("submit", "names", '{"files": 20}', "--wait", env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert probed(HUB, "readinessProbe", hub)
        assert probed(WORKER, "readinessProbe", url)


@contextmanager
def connected(server: NatsServer) -> Iterator[None]:
    """A client of that very server: one without any would be gone at once."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client, client.makefile("rb") as told:
        client.sendall(b'CONNECT {"user":"hub","pass":"replace-me-hub","verbose":false}\r\nPING\r\n')
        while told.readline() != b"PONG\r\n":
            pass
        yield
