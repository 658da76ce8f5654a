"""`Worker`: pulls submitted jobs from NATS and runs their handlers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from milepost_reporter.jetstream.access import servers
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.jetstream.errors import JetStreamError, Unavailable
from milepost_reporter.names import check_tenant
from milepost_reporter.settings import Settings

from milepost_runner.async_executor import AsyncExecutor
from milepost_runner.catalog import Catalog
from milepost_runner.claim import take
from milepost_runner.control import Control
from milepost_runner.events import Events
from milepost_runner.executor import Executor
from milepost_runner.process_executor import ProcessExecutor
from milepost_runner.puller import Delivery, Puller
from milepost_runner.queues import queue_names
from milepost_runner.records import Records
from milepost_runner.registry import REGISTRY, Registry
from milepost_runner.run import Floor, Run
from milepost_runner.settings import WorkerSettings
from milepost_runner.streams import ensure
from milepost_runner.subject import WORK, QueueName, parse_consumer
from milepost_runner.thread_executor import ThreadExecutor
from milepost_runner.work import BadWork, Work, read_work

_logger: Final = logging.getLogger("milepost_runner")

_BEATS_PER_CLAIM: Final = 3
_AGAIN: Final = 2.0
"""Seconds until NATS is asked again for what it could not give."""
_UNKNOWN_PAUSE: Final = 5.0
"""Seconds until a job is delivered again whose handler is not here: a newer worker may have it."""
_LAST_WORDS: Final = 5.0
"""Seconds for what runs have left to say when the worker ends."""
_NAMES_PAGE: Final = 1024
_CREATED: Final = f"$JS.EVENT.ADVISORY.CONSUMER.CREATED.{WORK}."


class Worker:
    """Runs jobs, as an async context manager that does not wait for NATS. Belongs to one event loop.

    Leaving it drains: no more work is pulled, running jobs have `drain` seconds, what is left goes back to the queue.

    Args:
        nats_url: one server or several, with commas between.
        settings: of queue and worker.
        registry: the handlers.
        modules: whose import fills the registry in a job's process; for the process executor.
        tenant: pull this tenant's work only, with the tenant's own NATS account; None: everybody's.
    """

    def __init__(
        self,
        nats_url: str,
        settings: WorkerSettings | None = None,
        *,
        registry: Registry = REGISTRY,
        modules: Sequence[str] = (),
        tenant: str | None = None,
    ) -> None:
        self.settings = settings = settings or WorkerSettings()
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._url = nats_url
        self._registry = registry
        self._tenant = None if tenant is None else check_tenant(tenant)
        self._executor = executor_for(settings, modules)
        for handler in registry:
            self._executor.check(handler)
        self._queue_names = {handler.queue for handler in registry}
        self._complaints = Complaints(_logger)
        self.counts: Counter[str] = Counter()
        """What became of jobs: completed, failed, cancelled, retried, given_back, lost, refused, unknown, …"""
        self._running: set[Run] = set()
        self._leaving = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._taken = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._keeping: list[asyncio.Task[None]] = []
        self._ready = asyncio.Event()
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._api = Api(
            servers(self._url), self.settings, self._changed, self._complaints, on_heard=self._heard, purpose="jobs"
        )
        self._records = Records(self._api)
        self._catalog = Catalog(self._api)
        self._events = Events(self._api, self._complaints)
        self._control = Control(self._api)
        self._puller = Puller(self._api, self.settings.poll, lambda: self.room, self._take)
        self._floor = Floor(
            self._api, self.settings, self._reporter(), self._executor, self._events, self._control, self.counts
        )
        self._executor.open()
        self._events.start()
        if self._tenant is None:
            self._api.hear(f"{_CREATED}>")
        self._api.start()
        loop = asyncio.get_running_loop()
        self._keeping = [loop.create_task(self._keep()), loop.create_task(self._beat())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain(self.settings.drain)

    @property
    def running(self) -> int:
        """Jobs that run here now."""
        return len(self._running)

    @property
    def room(self) -> int:
        """How many more may run."""
        return self.settings.concurrency - self._taken

    @property
    def up(self) -> bool:
        """Whether NATS is there."""
        return self._api.up

    async def ready(self) -> None:
        """Return when work was asked for the first time."""
        await self._ready.wait()

    async def drain(self, seconds: float) -> None:
        """End in good order: running jobs may go on for so long, what is left goes back to the queue."""
        self._puller.stop()
        for task in self._keeping[:1]:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
        self._leaving = True
        for run in list(self._running):
            run.leave()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=self.settings.cancel_wait + _LAST_WORDS)
        await self._executor.close()
        if self._tasks and self._api.up:
            await asyncio.wait(set(self._tasks), timeout=_LAST_WORDS)
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(_LAST_WORDS):
                await self._events.settled()
                # What was handed over last, a job given back, is not lost with the connection. A tenant's own user may
                # not publish to itself, but listen: that is confirmed behind all that was sent before.
                if (heard := self._api.hear(f"_INBOX.{secrets.token_hex(16)}")) is not None:
                    await heard
        for task in (*self._keeping, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._keeping, *self._tasks, return_exceptions=True)
        await self._api.close()

    def _reporter(self) -> Settings:
        # Tenant, job and run are each run's own. No lease: the claim on the queue is one.
        return Settings(nats_url=self._url, tenant="nobody", job="none", lease=0)

    # What the connection brings

    def _heard(self, place: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> None:
        if self._puller.heard(place, payload, headers, reply) or self._events.heard(place, payload, headers):
            return
        if place.startswith(_CREATED.encode()):
            created = parse_consumer(place.decode("utf-8", "replace").removeprefix(_CREATED))
            if created is not None:
                self._learn(created)
        else:
            self._control.heard(place, payload, reply)

    def _changed(self) -> None:
        self._news.set()
        self._puller.forget()
        self._events.changed()
        if self._api.up:
            for run in self._running:
                run.check()

    def _learn(self, queue: QueueName) -> None:
        """There is such a queue: ask it too, if it is for handlers that are here."""
        if queue.queue in self._queue_names:
            self._puller.add(queue)

    # What goes on beside the jobs

    async def _keep(self) -> None:
        """Have streams, catalog and queues there, whatever happens to NATS."""
        announced, connection = 0.0, 0
        loop = asyncio.get_running_loop()
        # No work is asked for that would have to wait, its time running, until modules are loaded.
        await self._executor.ready()
        self._puller.start()
        while True:
            self._news.clear()
            try:
                if self._api.up:
                    # Another server may be there now, or another life of this one, which has heard of no handler.
                    now = self._api.connections
                    if now != connection or loop.time() >= announced + self.settings.announce:
                        await self._announce()
                        announced, connection = loop.time(), now
                    await self._find_queues()
                    self._ready.set()
            except Unavailable as error:
                self._complaints.tell("NATS cannot be asked for work", str(error))
            except JetStreamError as error:
                self._complaints.tell("no work can be had", str(error))
            except Exception as error:  # a handler's schema is the user's
                self._complaints.tell("no work can be had", repr(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.look if self._ready.is_set() else _AGAIN):
                    await self._news.wait()

    async def _announce(self) -> None:
        if self._tenant is None:
            for difference in await ensure(self._api, self.settings):
                self._complaints.tell("not as set", difference)
        await self._catalog.tell(self._registry, self._tenant)

    async def _find_queues(self) -> None:
        if self._tenant is not None:
            for name in self._queue_names:
                self._puller.add(QueueName(self._tenant, name))
            return
        async for queue in queue_names(self._api):
            self._learn(queue)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.settings.claim / _BEATS_PER_CLAIM)
            for run in list(self._running):
                run.beat()

    # Jobs

    def _take(self, delivery: Delivery) -> None:
        self._taken += 1
        task = asyncio.get_running_loop().create_task(self._run(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.counts["faults"] += 1
            self._complaints.tell("a job could not be run", repr(error))

    async def _run(self, delivery: Delivery) -> None:
        released = False

        def release() -> None:
            nonlocal released
            if not released:
                released = True
                self._taken -= 1
                self._puller.wake()

        try:
            await self._claim_and_run(delivery, release)
        except Unavailable as error:
            # nothing is known of it: it is delivered again
            self._complaints.tell("a job could not be claimed", str(error))
        finally:
            release()

    async def _claim_and_run(self, delivery: Delivery, release: object) -> None:
        work = self._read(delivery)
        handler = work and self._registry.get(work.name)
        if work is None or handler is None:
            return
        # NATS forgets its last deliveries when it is killed, and a worker that was held up may be taken for dead.
        if any([await run.goes_on(delivery.reply) for run in list(self._running) if run.place == work.place]):
            return
        claim = await take(self._api, self._records, work, delivery, worker=self.name, deaths=handler.deaths)
        if claim is None:
            return
        run = Run(self._floor, claim, handler, release)  # type: ignore[arg-type]
        self._running.add(run)
        if self._leaving:
            run.leave()
        try:
            await run.go()
        finally:
            self._running.discard(run)

    def _read(self, delivery: Delivery) -> Work | None:
        """The job delivered; None, having said what becomes of it, when it cannot be run here."""
        try:
            work = read_work(delivery.subject, delivery.payload)
        except BadWork as error:
            self.counts["refused"] += 1
            self._complaints.tell("a message of the queue is thrown away", str(error))
            self._api.send(delivery.reply, b"+TERM")
            return None
        if self._registry.get(work.name) is None:
            self.counts["unknown"] += 1
            self._complaints.tell("a job's handler is not here", f"{work.name}: it is left for another worker")
            self._api.send(delivery.reply, b'-NAK {"delay":%d}' % round(_UNKNOWN_PAUSE * 10**9))
            return None
        return work


def executor_for(settings: WorkerSettings, modules: Sequence[str]) -> Executor:
    """The executor that the settings ask for."""
    bound = settings.result_max_bytes
    if settings.executor == "async":
        return AsyncExecutor(max_result=bound)
    if settings.executor == "process":
        return ProcessExecutor(list(modules), max_result=bound)
    return ThreadExecutor(max_result=bound)
