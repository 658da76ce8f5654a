"""A FastAPI WebSocket endpoint behind one NATS subscription: a set of sockets a job, one send for each.

python -m benchmarks.peers.fastapi_app NATS_URL PORT
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import jwt
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from benchmarks.peers.intake import subscribe
from benchmarks.peers.token import check_target


def make_app(nats_url: str) -> FastAPI:
    """The application: `/ws?token=…`, subscribed to one job by its first message."""
    watchers: defaultdict[int, set[WebSocket]] = defaultdict(set)

    async def deliver(job: int, message: bytes) -> None:
        text = message.decode()
        for websocket in tuple(watchers[job]):
            await websocket.send_text(text)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        connection = await subscribe(nats_url, deliver)
        yield
        await connection.close()

    app = FastAPI(lifespan=lifespan)

    @app.websocket("/ws")
    async def watch(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            check_target(str(websocket.url))
        except (jwt.InvalidTokenError, KeyError):
            await websocket.close(4500, "bad token")
            return
        job = int((await websocket.receive_json())["jobId"])
        await websocket.send_text(f'{{"type":"subscribed","jobId":{job}}}')
        watchers[job].add(websocket)
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect:
            pass
        finally:
            watchers[job].discard(websocket)

    return app


if __name__ == "__main__":
    uvicorn.run(
        make_app(sys.argv[1]),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        ws_per_message_deflate=False,
        log_level="warning",
    )
