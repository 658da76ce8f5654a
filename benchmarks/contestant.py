"""The servers that are compared, each started fresh beside a fresh nats-server of its own."""

from __future__ import annotations

import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from benchmarks.child import Child, ChildFailedError
from benchmarks.nats_accounts import make_accounts
from benchmarks.peers.token import SECRET, make_token
from benchmarks.ports import free_port, wait_for_listener
from milepost.nats_server import NatsServer

_NATS_FIRST = "SUB tenant.bench.job.@.progress 1\r\nPING\r\n"
_JSON_FIRST = '{"action":"subscribe","jobId":@}'


class Contestant(StrEnum):
    """Who fans out; the value is the name shown."""

    HUB = "milepost"
    LIVE = "milepost, live only"
    GATEWAY = "nats gateway"
    BROADCAST = "websockets.broadcast"
    FASTAPI = "FastAPI"
    PLAIN = "one plain subscriber"


@dataclass(frozen=True)
class Running:
    """A contestant that is up, and how a client of it speaks.

    Attributes:
        pid: of the process that serves the WebSockets (nats-server itself for the gateway).
        dialect: `json` or `nats`, as native/load_client.c knows them.
        first: a client's first message; `@` stands for its job number.
    """

    contestant: Contestant
    nats_port: int
    nats_pid: int
    pid: int
    port: int
    dialect: str
    target: str
    first: str


@contextmanager
def running(contestant: Contestant, *, jwt_checks: bool = False) -> Iterator[Running]:
    """Start the contestant and what it needs, and end it all afterwards.

    `jwt_checks` puts nats-server in operator mode for the gateway; the others check a JWT always.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="milepost-bench-")))
        port = free_port()
        connect = "{}"
        config = f"websocket {{ host: 127.0.0.1, port: {port}, no_tls: true }}\n"
        if contestant is Contestant.GATEWAY and jwt_checks:
            accounts = make_accounts()
            config += accounts.config
            connect = f'{{"jwt":"{accounts.user_jwt}"}}'
        path = directory / "websocket.conf"
        path.write_text(config)
        # As people run it: with the job log. Nobody else has anything to store.
        nats = stack.enter_context(NatsServer(jetstream=contestant is Contestant.HUB, config=path))
        if contestant is Contestant.GATEWAY:
            first = f"CONNECT {connect}\r\n{_NATS_FIRST}"
            yield Running(contestant, nats.port, nats.pid, nats.pid, port, "nats", "/", first)
            return
        port = free_port()
        command, environment = _command(contestant, nats.url, port)
        server = stack.enter_context(Child(contestant.value, command, environment))
        wait_for_listener(server, port)
        if contestant in (Contestant.HUB, Contestant.LIVE):
            _wait_until_ready(server, port)
        target = f"/ws?token={make_token()}"
        yield Running(contestant, nats.port, nats.pid, server.pid, port, "json", target, _JSON_FIRST)


def _command(contestant: Contestant, nats_url: str, port: int) -> tuple[list[str], dict[str, str]]:
    if contestant in (Contestant.HUB, Contestant.LIVE):
        milepost = str(Path(sys.executable).with_name("milepost"))
        command = [milepost, "serve", "--nats", nats_url, "--host", "127.0.0.1", "--port", str(port)]
        command.append("--bridge-log" if contestant is Contestant.HUB else "--no-bridge-log")
        return command, {"MILEPOST_JWT_SECRET": SECRET}
    module = {
        Contestant.BROADCAST: "benchmarks.peers.broadcast",
        Contestant.FASTAPI: "benchmarks.peers.fastapi_app",
        Contestant.PLAIN: "benchmarks.peers.plain",
    }[contestant]
    return [sys.executable, "-m", module, nats_url, str(port)], {}


def _wait_until_ready(server: Child, port: int, timeout: float = 20.0) -> None:
    """Wait for the hub's own word that it reaches NATS."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return
        except (urllib.error.URLError, OSError) as error:
            if not server.running or time.monotonic() > deadline:
                raise ChildFailedError(server.name, "ended", f"not ready: {error}") from None
            time.sleep(0.02)
