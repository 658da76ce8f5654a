"""What tests of workers stand on: one tenant's jobs submitted, and what log, store and queue say of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import LOG
from milepost_bridge.streams import ensure as ensure_log
from milepost_reporter.event import Event, parse_event
from milepost_reporter.jetstream.api import Api, Stored
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.run import Verdict
from milepost_reporter.state import JobState
from milepost_reporter.subject import parse
from milepost_runner.jobs import Jobs
from milepost_runner.registry import Registry
from milepost_runner.settings import RunnerSettings, WorkerSettings
from milepost_runner.store import Job, JobStore
from milepost_runner.subject import WORK
from milepost_runner.worker import Worker

from milepost.nats_server import NatsServer
from tests.runner.work_handlers import registry_of
from tests.waiting import eventually_async

A = TypeVar("A", bound=Api)

IMPATIENT: dict[str, Any] = {
    "ping_interval": 0.5,
    "connect_timeout": 0.5,
    "reconnect_wait": 0.05,
    "reconnect_wait_max": 0.2,
}
MODULES = ["tests.runner.work_handlers"]
ENDS = {"completed", "failed", "cancelled"}
_LOGGER = logging.getLogger("milepost_runner")
_PAGE = 500


class Entry(NamedTuple):
    """One stored event. `run`: of an end's subject. `verdict`: by the readers' rule."""

    seq: int
    run: int | None
    event: Event
    raw: dict[str, Any]
    verdict: Verdict


class JobLog:
    """One job's whole log, as every reader has to take it."""

    def __init__(self, job: str, stored: Sequence[Stored]) -> None:
        self.entries: list[Entry] = []
        self.state = JobState(job)
        self.ends: dict[int, str] = {}
        for message in stored:
            place = parse(message.subject)
            assert place is not None
            run = int(place.tail) if place.tail is not None else None
            event = parse_event(message.payload)
            verdict = self.state.apply(event, datetime.fromtimestamp(message.time / 1e9, UTC), run)
            self.entries.append(Entry(message.seq, run, event, json.loads(message.payload), verdict))
            if verdict is Verdict.END:
                assert self.state.run not in self.ends
                self.ends[self.state.run] = str(event.status)

    @property
    def course(self) -> list[str]:
        """The job's own events that count, in order: status and run; `+` for an end after which it is tried again."""
        return [
            f"{entry.event.status} {entry.run or entry.event.run}" + ("+" if entry.raw.get("willRetry") else "")
            for entry in self.entries
            if entry.event.kind == "job" and entry.event.status and entry.verdict is not Verdict.LATE
        ]

    @property
    def late(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.verdict is Verdict.LATE]

    @property
    def final(self) -> bool:
        return self.state.ended and not self.state.will_retry

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [entry.raw for entry in self.entries if entry.event.kind == kind and entry.verdict is not Verdict.LATE]


class Stand:
    """One tenant's jobs. Made by `standing`."""

    def __init__(self, server: NatsServer, api: Api, jobs: Jobs, tenant: str, registry: Registry) -> None:
        self.server = server
        self.api = api
        self.jobs = jobs
        self.tenant = tenant
        self.registry = registry
        self.store: JobStore = jobs.store(tenant)

    def of(self, tenant: str) -> Self:
        """Another tenant's, over the same connections."""
        return type(self)(self.server, self.api, self.jobs, tenant, self.registry)

    async def submit(self, name: str, payload: Any = None) -> str:  # noqa: ANN401 - JSON
        return (await self.jobs.submissions.submit(self.tenant, name, payload)).job

    async def cancel(self, job: str, reason: str | None = None) -> str:
        return (await self.jobs.submissions.cancel(self.tenant, job, reason)).status

    async def ended(self, job: str) -> Job:
        """The job, as the store has it when it has ended."""
        async with asyncio.timeout(30):
            return await self.store.wait(job)

    async def log(self, job: str) -> JobLog:
        """The job's log as it is now."""
        return JobLog(job, await read_log(self.api, f"tenant.{self.tenant}.job.{job}.>"))

    async def told(self, job: str, *ends: str) -> JobLog:
        """The job's log when it has its last end, or these of its runs in order."""
        async with asyncio.timeout(30):
            while True:
                log = await self.log(job)
                if [*log.ends.values()] == [*ends] if ends else log.final:
                    return log
                await asyncio.sleep(0.01)

    async def says(self, job: str, told: str) -> None:
        """Return when the job's own events have this one: status and run."""
        async with asyncio.timeout(30):
            while told not in (await self.log(job)).course:  # noqa: ASYNC110 - NATS tells nobody
                await asyncio.sleep(0.01)

    async def waiting(self) -> int:
        """Jobs that are in the queue, those that run among them."""
        info = await self.api.request(f"$JS.API.STREAM.INFO.{WORK}", {"subjects_filter": f"tenant.{self.tenant}.>"})
        return sum((info["state"].get("subjects") or {}).values())

    async def acknowledged(self) -> None:
        """Return when nothing of the tenant's is in the queue any more."""
        async with asyncio.timeout(30):
            while await self.waiting():  # noqa: ASYNC110 - NATS tells nobody
                await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def worker(
        self,
        executor: str = "async",
        registry: Registry | None = None,
        **more: Any,  # noqa: ANN401 - settings
    ) -> AsyncIterator[Worker]:
        """A worker that asks for work."""
        async with Worker(
            self.server.url,
            worker_settings(executor=executor, **more),
            registry=registry or self.registry,
            modules=MODULES,
        ) as worker:
            await worker.ready()
            yield worker


def worker_settings(**more: Any) -> WorkerSettings:  # noqa: ANN401 - fields
    """Short waits; what a test gives wins."""
    quick = {"claim": 2.0, "cancel_wait": 0.3, "drain": 5.0, "record_interval": 0.05, "look": 0.5}
    return WorkerSettings.model_validate({**IMPATIENT, **quick, **more})


@contextlib.asynccontextmanager
async def standing(
    server: NatsServer,
    *,
    log: bool = True,
    registry: Registry | None = None,
    **settings: Any,  # noqa: ANN401
) -> AsyncIterator[Stand]:
    """A new tenant on a server, with a job log as a hub makes it, or none."""
    registry = registry or registry_of()
    async with live_api(server, Api) as api:
        if log:
            await ensure_log(api, BridgeSettings())
        shared = RunnerSettings.model_validate({**IMPATIENT, "claim": 2.0, **settings})
        async with Jobs(server.url, shared, registry=registry) as jobs:
            async with asyncio.timeout(20):
                await jobs.ready()
            yield Stand(server, api, jobs, f"t{uuid.uuid4().hex[:12]}", registry)


@contextlib.asynccontextmanager
async def live_api(server: NatsServer, kind: type[A]) -> AsyncIterator[A]:
    """A connection of the test's own."""
    api = kind([server.url], RunnerSettings.model_validate(IMPATIENT), lambda: None, Complaints(_LOGGER))
    api.start()
    try:
        await eventually_async(lambda: api.up)
        yield api
    finally:
        await api.close()


async def read_log(api: Api, subject: str) -> list[Stored]:
    """Every stored event under a subject, in order."""
    found: list[Stored] = []
    at = 1
    while True:
        page = await api.direct_get(LOG, seq=at, next_by_subj=subject, batch=_PAGE)
        found += page.messages
        if not page.messages or not page.pending:
            return found
        at = page.messages[-1].seq + 1


class Held:
    """The files by which a handler tells that it runs, and hears that it may go on."""

    def __init__(self, directory: Path, name: str = "job") -> None:
        self.marks = directory / f"{name}.marks"
        self.go = directory / f"{name}.go"

    @property
    def payload(self) -> dict[str, str]:
        return {"marks": str(self.marks), "go": str(self.go)}

    @property
    def lines(self) -> list[str]:
        return self.marks.read_text().splitlines() if self.marks.exists() else []

    async def begun(self, times: int = 1) -> None:
        """Return when the handler has been begun so often."""
        await eventually_async(lambda: sum(line.startswith("run ") for line in self.lines) >= times)

    async def heard(self, line: str) -> None:
        await eventually_async(lambda: line in self.lines)

    def release(self) -> None:
        self.go.touch()
