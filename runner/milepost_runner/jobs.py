"""`Jobs`: submitted jobs of all tenants, over one connection that never gives up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from milepost_reporter.jetstream.access import servers
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.jetstream.errors import JetStreamError, Unavailable

from milepost_runner import subject
from milepost_runner.registry import Registry
from milepost_runner.settings import RunnerSettings
from milepost_runner.store import JobStore
from milepost_runner.streams import RECORDS_HEARD, ensure
from milepost_runner.submission import Submissions

_logger: Final = logging.getLogger("milepost_runner")

_AGAIN: Final = 5.0
"""Seconds until streams that could not be made are tried again."""

OnChange = Callable[[str | None], None]


class Jobs:
    """Submissions and stores, as an async context manager that does not wait for NATS. Belongs to one event loop.

    Args:
        nats_url: one server or several, with commas between.
        settings: of queue and store.
        registry: handlers of this very program, asked before the catalog that workers fill.
    """

    def __init__(
        self, nats_url: str, settings: RunnerSettings | None = None, *, registry: Registry | None = None
    ) -> None:
        self._settings = settings or RunnerSettings()
        self._complaints = Complaints(_logger)
        self._api = Api(
            servers(nats_url), self._settings, self._changed, self._complaints, on_heard=self._heard, purpose="jobs"
        )
        self.submissions = Submissions(self._api, self._settings, registry)
        self._listeners: dict[str, set[OnChange]] = {}
        self._news = asyncio.Event()
        self._ready = asyncio.Event()
        self._preparing: asyncio.Task[None] | None = None
        self.trouble: str | None = None
        """Why no job can be taken just now, in words; None when they can."""

    async def __aenter__(self) -> Self:
        self.trouble = "NATS has not been reached yet"
        self._api.start()
        self._preparing = asyncio.create_task(self._prepare(), name="milepost-jobs")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._preparing is not None:
            self._preparing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._preparing
        await self._api.close()

    async def ready(self) -> None:
        """Return when jobs can be taken for the first time."""
        await self._ready.wait()

    @property
    def up(self) -> bool:
        """Whether NATS is there."""
        return self._api.up

    def store(self, tenant: str) -> JobStore:
        """One tenant's jobs."""
        return JobStore(self.submissions.records, tenant, self._listen)

    def _listen(self, tenant: str, job: str, on_change: OnChange) -> Callable[[], None]:
        heard = RECORDS_HEARD + subject.record(tenant, job)
        self._listeners.setdefault(heard, set()).add(on_change)
        listening = self._api.hear(heard)
        if listening is not None:
            # What changes until then is told to nobody.
            listening.add_done_callback(lambda _: on_change(None))

        def unlisten() -> None:
            listeners = self._listeners.get(heard, set())
            listeners.discard(on_change)
            if not listeners and self._listeners.pop(heard, None) is not None:
                self._api.unhear(heard)

        return unlisten

    def _heard(self, subject: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> None:
        heard = subject.decode("utf-8", "replace")
        for on_change in list(self._listeners.get(heard, ())):
            on_change(heard.rpartition(".")[2])

    def _changed(self) -> None:
        self._news.set()
        for listeners in list(self._listeners.values()):
            for on_change in list(listeners):
                on_change(None)

    async def _prepare(self) -> None:
        """Have the streams there, from now on and after whatever happens to NATS."""
        while True:
            self._news.clear()
            if not self._api.up:
                self.trouble = "NATS is out of reach"
            else:
                await self._ensure()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN if self.trouble else None):
                    await self._news.wait()

    async def _ensure(self) -> None:
        try:
            for difference in await ensure(self._api, self._settings):
                self._complaints.tell("not as set", difference)
        except Unavailable as error:
            self.trouble = str(error)
        except JetStreamError as error:
            self.trouble = str(error)
            self._complaints.tell("no jobs can be taken", str(error))
        else:
            self.trouble = None
            self._ready.set()
