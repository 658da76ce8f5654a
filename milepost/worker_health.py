"""How a worker is, over HTTP: /healthz, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING

import uvicorn
from milepost_hub.metrics import CONTENT_TYPE, Metrics
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from milepost_runner.worker import Worker


class _Server(uvicorn.Server):
    """uvicorn, leaving the signals to the worker."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def answering(worker: Worker, listener: socket.socket) -> AsyncIterator[None]:
    """Answer for the worker while this block runs."""
    config = uvicorn.Config(_app(worker), log_config=None, access_log=False, lifespan="off", ws="none")
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _app(worker: Worker) -> Starlette:
    metrics = _metrics(worker)

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        if worker.up:
            return JSONResponse({"status": "ready"})
        why = "NATS is out of reach; it tries again by itself"
        return JSONResponse({"status": "not ready", "reason": why}, HTTPStatus.SERVICE_UNAVAILABLE)

    async def exposition(request: Request) -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", exposition)])


def _metrics(worker: Worker) -> Metrics:
    metrics = Metrics()
    metrics.count(
        "milepost_worker_runs", "What became of runs, and of what came instead.", "outcome", lambda: worker.counts
    )
    metrics.gauge("milepost_worker_running", "Jobs that run here now.", lambda: worker.running)
    metrics.gauge("milepost_worker_room", "How many more may run.", lambda: worker.room)
    metrics.gauge("milepost_worker_up", "Whether NATS is there.", lambda: worker.up)
    return metrics
