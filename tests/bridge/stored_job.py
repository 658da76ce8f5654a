"""A job whose events are stored, and a bridge to read it: what tests of the log share."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator

import nats
import nats.errors
from milepost_bridge.bridge import Bridge
from milepost_bridge.log import Log
from milepost_bridge.settings import BridgeSettings
from milepost_hub.upstream import Interest
from milepost_reporter.record import SUMMARY_HEADER, summary_header, write_record
from milepost_reporter.state import JobState
from nats.aio.client import Client

from milepost.nats_server import NatsServer
from tests.bridge.recording_sink import RecordingSink
from tests.waiting import eventually_async

IMPATIENT = {"ping_interval": 0.2, "connect_timeout": 0.5, "reconnect_wait": 0.05, "reconnect_wait_max": 0.2}


def a_tenant() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


class Publisher:
    """Publishes one job's events, acknowledged, and remembers what it stored."""

    def __init__(self, client: Client, tenant: str, job: str) -> None:
        self.js = client.jetstream()
        self.tenant, self.job = tenant, job
        self.payloads: list[bytes] = []
        self.seqs: list[int] = []

    async def progress(self, headers: dict[str, str] | None = None, **fields: object) -> int:
        return await self.put(
            "progress", headers, **({"nodeId": 1, "rowCount": len(self.payloads), "status": "running"} | fields)
        )

    async def put(self, leaf: str, headers: dict[str, str] | None = None, **fields: object) -> int:
        payload = json.dumps(fields).encode()
        ack = await self.js.publish(f"tenant.{self.tenant}.job.{self.job}.{leaf}", payload, headers=headers)
        self.payloads.append(payload)
        self.seqs.append(ack.seq)
        return ack.seq

    async def record(
        self, reporter: str, state: JobState, count: int, *, owner: bool = True, seq: int | None = None
    ) -> None:
        payload = write_record(state, count=count, seq=self.seqs[-1] if seq is None else seq, owner=owner, lease=None)
        headers = {SUMMARY_HEADER: summary_header(state)}
        await self.js.publish(f"tenant.{self.tenant}.job.{self.job}.state.{reporter}", payload, headers=headers)


@contextlib.asynccontextmanager
async def bridged(server: NatsServer, sink: RecordingSink, **figures: object) -> AsyncIterator[Bridge]:
    chosen = BridgeSettings.model_validate(IMPATIENT | figures)
    async with Bridge(server.url, sink, settings=chosen) as bridge:
        await eventually_async(lambda: bridge.up)
        yield bridge


def log_of(bridge: Bridge) -> Log:
    assert isinstance(bridge.log, Log)
    return bridge.log


async def watch(bridge: Bridge, tenant: str, interest: Interest = Interest.EVENTS) -> None:
    waiting = bridge.interest(tenant, interest)
    if waiting is not None:
        await waiting


@contextlib.asynccontextmanager
async def client_of(server: NatsServer) -> AsyncIterator[Client]:
    client = await nats.connect(server.url)
    try:
        yield client
    finally:
        await client.close()


async def stored_some_time(job: Publisher) -> None:
    """Publish until there is a stream that takes it."""
    for _ in range(200):
        with contextlib.suppress(nats.errors.Error):
            await job.progress()
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("no stream has come")


def delivered(sink: RecordingSink, tenant: str) -> list[bytes]:
    return [event.payload for of, _, event in sink.events if of == tenant]
