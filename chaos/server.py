"""nats-server under control: one, or three that are a cluster."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Final, Self

from chaos.port import free_port
from milepost.nats_server import NatsServer

CLUSTER_SIZE: Final = 3

_NODE: Final = """\
server_name: n{number}
cluster {{
  name: chaos
  listen: "127.0.0.1:{port}"
  routes: [{routes}]
}}
"""


class Server:
    """One nats-server on a fixed port, with a store directory that outlives it. Its calls do not hold up the loop."""

    def __init__(
        self, directory: Path, *, port: int | None = None, jetstream: bool = True, config: Path | None = None
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._config = config
        self._nats = self._make(jetstream)

    def _make(self, jetstream: bool) -> NatsServer:
        return NatsServer(store_dir=self.directory, port=self.port, jetstream=jetstream, config=self._config)

    async def start(self) -> None:
        """Start it; it accepts connections when this returns."""
        await asyncio.to_thread(self._nats.start)

    async def kill(self) -> None:
        """SIGKILL."""
        await asyncio.to_thread(self._nats.kill)

    async def stop(self) -> None:
        """End it in good order."""
        await asyncio.to_thread(self._nats.stop)

    async def with_jetstream(self) -> None:
        """End it and start it with JetStream, at the same place."""
        await self.stop()
        self._nats = self._make(jetstream=True)
        await self.start()

    def pause(self) -> None:
        """SIGSTOP."""
        self._nats.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._nats.resume()

    def keep_copy(self, place: Path) -> None:
        """Copy the store, while the server does not run."""
        shutil.copytree(self.directory, place)

    def restore_copy(self, place: Path) -> None:
        """Put a copy in the store's place, while the server does not run."""
        shutil.rmtree(self.directory)
        shutil.copytree(place, self.directory)


class Cluster:
    """Three nats-servers with routes to each other."""

    def __init__(self, directory: Path) -> None:
        ports = [free_port() for _ in range(CLUSTER_SIZE)]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
        self.nodes: list[Server] = []
        for number, port in enumerate(ports, 1):
            config = directory / f"n{number}.conf"
            config.write_text(_NODE.format(number=number, port=port, routes=routes), encoding="utf-8")
            self.nodes.append(Server(directory / f"n{number}", config=config))
        self.url = ",".join(node.url for node in self.nodes)

    async def start(self) -> Self:
        """Start all three."""
        await asyncio.gather(*(node.start() for node in self.nodes))
        return self

    def place(self, name: str | None) -> int:
        """Where in `nodes` the server of this name is; LookupError for none."""
        for place in range(CLUSTER_SIZE):
            if name == f"n{place + 1}":
                return place
        raise LookupError(f"no node of the cluster is called {name}")

    async def stop(self) -> None:
        """End all three."""
        await asyncio.gather(*(node.stop() for node in self.nodes))
