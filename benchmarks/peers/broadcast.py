"""`websockets.broadcast` behind one NATS subscription: websockets' own server, uvloop, no compression.

python -m benchmarks.peers.broadcast NATS_URL PORT
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict

import jwt
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from benchmarks.peers.intake import subscribe
from benchmarks.peers.token import check_target


class Server:
    """Who watches which job."""

    def __init__(self) -> None:
        self._watchers: defaultdict[int, set[ServerConnection]] = defaultdict(set)

    async def deliver(self, job: int, message: bytes) -> None:
        broadcast(self._watchers[job], message, text=True)

    async def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        try:
            check_target(connection.request.path)
        except (jwt.InvalidTokenError, KeyError):
            await connection.close(4500, "bad token")
            return
        job = int(json.loads(await connection.recv())["jobId"])
        await connection.send(f'{{"type":"subscribed","jobId":{job}}}')
        self._watchers[job].add(connection)
        try:
            await connection.wait_closed()
        finally:
            self._watchers[job].discard(connection)


async def _main(nats_url: str, port: int) -> None:
    server = Server()
    await subscribe(nats_url, server.deliver)
    async with serve(server.handle, "127.0.0.1", port, compression=None, backlog=2048):
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2])))
