"""Handlers for tests of what submits: a registry, a runner with a tenant of its own, and looks into NATS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from milepost_bridge import BridgeSettings
from milepost_bridge.streams import LOG
from milepost_bridge.streams import ensure as ensure_log
from milepost_reporter.cancel import CancelToken
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.complaints import Complaints
from milepost_runner import subject
from milepost_runner.jobs import Jobs
from milepost_runner.progress import Progress
from milepost_runner.record import ENDS, JobRecord, completed, decide
from milepost_runner.records import Records
from milepost_runner.registry import Registry
from milepost_runner.runner import JobRunner
from milepost_runner.settings import RunnerSettings
from pydantic import BaseModel, Field

from tests.bridge.live_api import live_api
from tests.waiting import eventually_async


class Build(BaseModel):
    """What `build` takes."""

    rows: int = Field(ge=1)


HANDLERS = Registry()


@HANDLERS.job("build", queue="slow")
def build(payload: Build, progress: Progress, cancel: CancelToken) -> int:
    return payload.rows


@HANDLERS.job("anything")
def anything(payload: Any, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401 - any JSON
    return payload


@HANDLERS.job("only-rows")
def only_rows(payload: Build, progress: Progress, cancel: CancelToken) -> int:
    return payload.rows


@HANDLERS.job("waits")
async def waits(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401 - any JSON
    """Runs until it is told to stop."""
    await cancel
    cancel.raise_if_requested()


def own_tenant() -> str:
    """A tenant that nobody else has."""
    return f"t-{secrets.token_hex(6)}"


def impatient(**settings: object) -> RunnerSettings:
    """Settings that soon notice that NATS is back. A busy machine's late answers are none of its business."""
    return RunnerSettings.model_validate({"reconnect_wait": 0.05, "reconnect_wait_max": 0.2, **settings})


@contextlib.asynccontextmanager
async def runner_on(
    url: str, tenant: str, *, registry: Registry = HANDLERS, **settings: object
) -> AsyncIterator[JobRunner]:
    async with JobRunner(url, tenant, registry=registry, settings=impatient(**settings)) as runner:
        yield runner


@contextlib.asynccontextmanager
async def jobs_on(url: str, registry: Registry | None = HANDLERS, **settings: object) -> AsyncIterator[Jobs]:
    async with Jobs(url, impatient(**settings), registry=registry) as jobs:
        await jobs.ready()
        yield jobs


@contextlib.asynccontextmanager
async def looking_at(url: str) -> AsyncIterator[Api]:
    """A connection beside the runner's; there is a log, too."""
    async with live_api(url) as api:
        await ensure_log(api, BridgeSettings())
        yield api


@contextlib.asynccontextmanager
async def api_of(kind: type[Api], url: str) -> AsyncIterator[Api]:
    """A connection of a kind that does something wrong on purpose."""
    api = kind([url], impatient(), lambda: None, Complaints(logging.getLogger("milepost_runner")))
    api.start()
    try:
        await eventually_async(lambda: api.up)
        yield api
    finally:
        await api.close()


async def log_of(api: Api, tenant: str, job: str) -> list[dict[str, Any]]:
    """A job's events, in order."""
    page = await api.direct_get(LOG, seq=1, next_by_subj=f"tenant.{tenant}.job.{job}.>", batch=100)
    return [json.loads(message.payload) for message in page.messages]


async def told_of(api: Api, tenant: str, job: str) -> list[str]:
    """The statuses that a job went through by its log, once that has its end: the record has it a little earlier."""
    async with asyncio.timeout(20):
        while True:
            told = [event["status"] for event in await log_of(api, tenant, job) if "status" in event]
            if ENDS & {*told}:
                return told


async def queued_of(api: Api, tenant: str) -> list[str]:
    """Ids of what is in a tenant's queues."""
    return [work.place.job async for work in Records(api).all_waiting(tenant)]


async def written(api: Api, tenant: str, job: str, record: JobRecord, after: int) -> int:
    """A record put into the store as a worker does; its revision."""
    revision = await Records(api).write(tenant, job, record, after)
    assert revision is not None
    return revision


async def done_with(api: Api, tenant: str, job: str) -> None:
    """Take a job's message out of the queue, as its acknowledgement does."""
    page = await api.direct_get(subject.WORK, multi_last=[subject.work(tenant, "*", job)])
    await api.request(f"$JS.API.STREAM.MSG.DELETE.{subject.WORK}", {"seq": page.messages[-1].seq})


async def claimed(api: Api, tenant: str, job: str) -> int:
    """As a worker does that begins to run a job; the record's revision."""
    kept = await Records(api).find(tenant, job)
    assert kept is not None
    record = decide(kept.record, worker="w", claim="c", deaths=3, at=datetime.now(UTC)).record
    return await written(api, tenant, job, record, kept.revision)


async def ended(api: Api, tenant: str, job: str) -> None:
    """As a worker does that has run a job to its end."""
    revision = await claimed(api, tenant, job)
    kept = await Records(api).find(tenant, job)
    assert kept is not None
    await written(api, tenant, job, completed(kept.record, 7, datetime.now(UTC)), revision)
    await done_with(api, tenant, job)
