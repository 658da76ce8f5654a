"""What a scenario stands on: its servers, hubs, jobs and readers, ended in order, and the verdict on them."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from chaos.dice import Dice
from chaos.http_client import http_client
from chaos.hub import HubProcess
from chaos.job import JobProcess
from chaos.judge import differences, judge, pictures
from chaos.leaks import MIB, Footprint, complaints, leaked
from chaos.ledger import Ledger
from chaos.observer import connected, read_log, stream_ready
from chaos.polling_reader import PollingReader
from chaos.program import Spec
from chaos.reader import Reader, Target, leave_all
from chaos.recorder import Recorder
from chaos.server import CLUSTER_SIZE, Cluster, Server
from chaos.sse_reader import SseReader
from chaos.verdict import Verdict
from chaos.waiting import WaitedInVainError, until, until_async
from chaos.websocket_reader import WebSocketReader
from chaos.worker import WorkerProcess

T = TypeVar("T")
_R = TypeVar("_R", bound=Reader)

_MEMORY: Final = 48 * MIB
"""What a hub's memory may grow by over a scenario: code loaded late, and caches that are bounded."""
_LEAK_SECONDS: Final = 10.0


class Stage:
    """One scenario's processes and clients. Everything made here is ended with it."""

    def __init__(self, name: str, seed: int, directory: Path, *, quick: bool) -> None:
        self.dice = Dice(seed).branch(name)
        self.directory = directory
        self.quick = quick
        self.verdict = Verdict(name)
        self.tenant = f"t-{self.dice.branch('tenant').text(8)}"
        self.memory = _MEMORY
        self.readers: list[Reader] = []
        self._servers: list[Server] = []
        self._hubs: list[HubProcess] = []
        self._jobs: list[JobProcess] = []
        self._workers: list[WorkerProcess] = []
        self._baselines: dict[HubProcess, Footprint] = {}

    @contextlib.asynccontextmanager
    async def set(self) -> AsyncIterator[Stage]:
        """For the time of the scenario; what it raises is a problem of the verdict."""
        begun = time.monotonic()
        try:
            yield self
            await self._check_leaks()
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.verdict.problems.append(f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})")
        finally:
            await self._strike()
            self.verdict.seconds = time.monotonic() - begun

    def scale(self, full: int, quick: int) -> int:
        """A size, by how long the run may take."""
        return quick if self.quick else full

    def decide(self, name: str, value: T) -> T:
        """Put a decision of chance on record."""
        self.verdict.decisions[name] = value
        return value

    def note(self, text: str) -> None:
        """A figure worth telling."""
        self.verdict.notes.append(text)

    async def nats(self, name: str = "nats", *, jetstream: bool = True) -> Server:
        """A nats-server, running."""
        server = Server(self.directory / name, jetstream=jetstream)
        self._servers.append(server)
        await server.start()
        return server

    async def cluster(self) -> Cluster:
        """Three nats-servers as one cluster, running."""
        cluster = Cluster(self.directory)
        self._servers += cluster.nodes
        await cluster.start()
        return cluster

    async def hub(
        self,
        nats_url: str,
        name: str = "hub",
        *,
        durable: bool = True,
        clock_skew: float | None = None,
        **settings: object,
    ) -> HubProcess:
        """A hub, ready. `settings` are environment variables without their `MILEPOST_`."""
        hub = HubProcess(name, nats_url, self.directory / f"{name}.log", clock_skew=clock_skew, **settings)
        self._hubs.append(hub)
        await hub.start(durable=durable)
        self.rest(hub)
        return hub

    def rest(self, hub: HubProcess) -> None:
        """This is what the hub holds when it has nothing to do: the measure for leaks."""
        self._baselines[hub] = hub.footprint()

    async def program(self, nats_url: str, spec: Spec, *, lease: float | None = None) -> JobProcess:
        """A job program, started; what it says by chance is by this stage's."""
        spec = replace(spec, seed=self.dice.seed)
        job = JobProcess(nats_url, self.tenant, spec, self.directory / f"job-{len(self._jobs)}.log", lease=lease)
        self._jobs.append(job)
        await job.start()
        return job

    async def worker(self, nats_url: str) -> WorkerProcess:
        """A worker, which asks for work."""
        name = f"worker-{len(self._workers)}"
        worker = WorkerProcess(name, nats_url, self.directory / f"{name}.log")
        self._workers.append(worker)
        await worker.start()
        return worker

    def target(self, hub: HubProcess, job: str = "job", url: str | None = None) -> Target:
        """Where a reader finds a job."""
        return Target(url or hub.url, hub.token(self.tenant), job)

    def websocket(
        self,
        hub: HubProcess,
        job: str = "job",
        *,
        url: str | None = None,
        after: str | None = None,
        mode: str = "all",
        slow: bool = False,
    ) -> WebSocketReader:
        """A WebSocket reader, started."""
        name, dice = self._next(WebSocketReader)
        target = self.target(hub, job, url)
        return self._begin(WebSocketReader(name, target, dice=dice, after=after, mode=mode, slow=slow))

    def sse(self, hub: HubProcess, job: str = "job", *, url: str | None = None, after: str | None = None) -> SseReader:
        """An SSE reader, started."""
        name, dice = self._next(SseReader)
        return self._begin(SseReader(name, self.target(hub, job, url), dice=dice, after=after))

    def polling(
        self, hub: HubProcess, job: str = "job", *, url: str | None = None, after: str | None = None
    ) -> PollingReader:
        """A polling reader, started."""
        name, dice = self._next(PollingReader)
        return self._begin(PollingReader(name, self.target(hub, job, url), dice=dice, after=after))

    def audience(
        self,
        hub: HubProcess,
        job: str = "job",
        *,
        websockets: int = 4,
        streams: int = 2,
        polls: int = 2,
        url: str | None = None,
        after: str | None = "start",
    ) -> list[Reader]:
        """Readers of all three sorts, started."""
        return [
            *(self.websocket(hub, job, url=url, after=after) for _ in range(websockets)),
            *(self.sse(hub, job, url=url, after=after) for _ in range(streams)),
            *(self.polling(hub, job, url=url, after=after) for _ in range(polls)),
        ]

    def _next(self, kind: type[Reader]) -> tuple[str, Dice]:
        name = f"{kind.transport} reader {len(self.readers)}"
        return name, self.dice.branch(name)

    def _begin(self, reader: _R) -> _R:
        self.readers.append(reader)
        reader.start()
        return reader

    @contextlib.asynccontextmanager
    async def recording(self, url: str, job: str = "job") -> AsyncIterator[Recorder]:
        """Every event of a job from now on, whatever retention leaves of it."""
        async with connected(url) as client:
            recorder = Recorder(client, self.tenant, job)
            await recorder.start()
            yield recorder

    async def came(self, readers: Sequence[Reader], events: int) -> None:
        """Return when each of these has had so many events."""
        await asyncio.gather(*(reader.came(events) for reader in readers))

    async def ledger(self, url: str, job: str = "job", *, complete: bool = True) -> Ledger:
        """The job's log as the stream has it now."""
        return Ledger(job, await read_log(url, self.tenant, job), complete=complete)

    async def ended(self, url: str, job: str = "job", *, run: int = 1, seconds: float = 60.0) -> Ledger:
        """The job's log, once this run has its end."""
        found: list[Ledger] = []

        async def has_ended() -> bool:
            found[:] = [await self.ledger(url, job)]
            return run in found[0].ends

        await until_async(has_ended, f"the end of {job}", seconds)
        return found[0]

    async def conclude(
        self,
        ledger: Ledger,
        readers: Sequence[Reader],
        *,
        published: int | None,
        before: Sequence[Ledger] = (),
        gaps: Collection[str] = (),
        conflated: Collection[Reader] = (),
        reduce: bool = True,
    ) -> None:
        """Let everybody read to the end of this log, send them away, and judge them.

        `published` numbers were reported, None when the publisher was killed; `before` are the stream's earlier
        lives; `reduce` compares every snapshot with the reduction of the log.
        """
        self.verdict.stored(ledger, published)
        await self.attend(ledger, readers, before=before, gaps=gaps, conflated=conflated)
        if reduce:
            for reader in readers:
                self.verdict.problems += pictures(reader.reading, ledger)

    async def attend(
        self,
        ledger: Ledger,
        readers: Sequence[Reader],
        *,
        before: Sequence[Ledger] = (),
        gaps: Collection[str] = (),
        conflated: Collection[Reader] = (),
    ) -> None:
        """`conclude` for readers alone: the log has been judged, or is the rest of one that was."""
        goal = ledger.live[-1].cursor
        await asyncio.gather(*(reader.stands_at(goal) for reader in readers))
        await asyncio.gather(*(reader.quiesce() for reader in readers))
        await leave_all(list(readers))
        for reader in readers:
            finding = judge(reader.reading, [*before, ledger], gaps=gaps, conflated=reader in conflated)
            self.verdict.read(reader.name, reader.transport, finding, ledger)

    async def snapshot(self, hub: HubProcess, job: str = "job") -> dict[str, Any]:
        """What HTTP says of a job: `{snapshot, cursor}`."""
        headers = {"Authorization": f"Bearer {hub.token(self.tenant)}"}
        async with http_client(hub.url, timeout=10, headers=headers) as http:
            answer = await http.get(f"/api/jobs/{job}")
            answer.raise_for_status()
            body: dict[str, Any] = answer.json()
            return body

    async def check_snapshot(self, hub: HubProcess, ledger: Ledger, *, expected: dict[str, Any] | None = None) -> None:
        """A fresh snapshot over HTTP is what all events amount to."""
        got = (await self.snapshot(hub, ledger.job))["snapshot"]
        wrong = differences(got, expected or ledger.reduced(len(ledger.live)))
        for field in sorted(wrong):
            self.verdict.problems.append(f"{hub.name}: GET /api/jobs/{ledger.job}: {field} is not that of the log")

    async def replicated(self, url: str) -> None:
        """Return when the log has all its replicas, current."""
        await until_async(lambda: stream_ready(url, CLUSTER_SIZE), "three current replicas", 60)

    async def _check_leaks(self) -> None:
        await leave_all(self.readers)
        for hub, before in self._baselines.items():
            if not hub.process.running:
                continue
            told: list[str] = []

            def clean(hub: HubProcess = hub, before: Footprint = before, told: list[str] = told) -> bool:
                told[:] = leaked(before, hub.footprint(), self.memory)
                return not told

            with contextlib.suppress(WaitedInVainError):
                await until(clean, "no leaks", _LEAK_SECONDS)
            self.verdict.problems += [f"{hub.name} leaks: {leak}" for leak in told]
            status = await hub.stop()
            self.verdict.require(status == 0, f"{hub.name} ended with {status} on SIGTERM")

    async def _strike(self) -> None:
        await leave_all(self.readers)
        for job in self._jobs:
            await job.kill()
        for worker in self._workers:
            await worker.kill()
            self.verdict.problems += [
                f"{worker.process.name} says: {line}" for line in complaints(worker.process.log_text())
            ]
        for hub in self._hubs:
            await hub.process.kill()
            self.verdict.problems += [f"{hub.name} says: {line}" for line in complaints(hub.process.log_text())]
        for server in self._servers:
            await server.stop()
