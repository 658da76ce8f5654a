"""Three nats-servers in one cluster, with the job log's streams on all three."""

import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from milepost.nats_server import NatsServer
from tests.reporter.job_log import LOG, ask, make_streams

_SIZE = 3


class Cluster:
    """`n0`, `n1` and `n2`. A context manager: inside, both streams are there, in three copies."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.servers: dict[str, NatsServer] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            ports = _free_ports()
            for number, port in enumerate(ports):
                routes = ", ".join(f'"nats://127.0.0.1:{other}"' for other in ports if other != port)
                config = folder / f"n{number}.conf"
                config.write_text(
                    f"server_name: n{number}\n"
                    f'cluster {{name: jobs, listen: "127.0.0.1:{port}", routes: [{routes}], no_advertise: true}}\n'
                )
                self.servers[f"n{number}"] = stack.enter_context(NatsServer(config=config))
            make_streams(self.servers["n0"].url, copies=_SIZE)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def leader(self, through: str = "n0") -> str:
        """Who leads the log's stream, as that server tells; TimeoutError when nobody does."""
        deadline = time.monotonic() + 30
        url = self.servers[through].url
        while not (name := ask(url, f"$JS.API.STREAM.INFO.{LOG}").get("cluster", {}).get("leader")):
            if time.monotonic() > deadline:
                raise TimeoutError("the stream has no leader")
            time.sleep(0.05)
        return str(name)

    def step_down(self) -> None:
        """Have another server lead the log's stream."""
        before = self.leader()
        ask(self.servers["n0"].url, f"$JS.API.STREAM.LEADER.STEPDOWN.{LOG}")
        deadline = time.monotonic() + 30
        while self.leader() == before:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{before} goes on leading")
            time.sleep(0.05)


def _free_ports() -> list[int]:
    """For routes, which have to be known before the servers start."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(_SIZE)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
