"""`JobRunner`: a tenant's jobs submitted, watched and cancelled, from any program."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Final, Self

from milepost_reporter.names import check_tenant

from milepost_runner.errors import QueueUnavailable
from milepost_runner.jobs import Jobs
from milepost_runner.registry import REGISTRY, Registry
from milepost_runner.settings import RunnerSettings
from milepost_runner.store import JobStore

_PATIENCE: Final = 10.0
"""Seconds that NATS may take to be there when a runner starts."""


class JobRunner:
    """Submits one tenant's jobs. An async context manager; belongs to one event loop.

        async with JobRunner("nats://localhost:4222", tenant="acme") as runner:
            job = await runner.submit("build_investigation", {"rows": 1000})
            print(await runner.store.wait(job))

    Args:
        nats_url: one server or several, with commas between.
        tenant: whose jobs.
        settings: of queue and store; the same as the workers'.
        registry: handlers of this very program. Others are known from what workers have told within a day.
    """

    def __init__(
        self,
        nats_url: str,
        tenant: str,
        *,
        settings: RunnerSettings | None = None,
        registry: Registry = REGISTRY,
    ) -> None:
        self._tenant = check_tenant(tenant)
        self._jobs = Jobs(nats_url, settings, registry=registry)
        self.store: JobStore = self._jobs.store(tenant)

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._jobs)
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._jobs.ready()
            except TimeoutError:
                raise QueueUnavailable(self._jobs.trouble or "NATS did not answer in time") from None
            stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._jobs.__aexit__(kind, error, trace)

    async def submit(self, name: str, payload: Any = None, *, key: str | None = None) -> str:  # noqa: ANN401 - JSON
        """Take a job, and return its id; it is in the queue then.

        Args:
            name: its handler's.
            payload: any JSON that the handler takes.
            key: makes it safe to submit again: the same key, name and payload are the same job.

        Raises:
            UnknownHandler, BadPayload, TooLarge, KeyTaken: it cannot be taken; see `reasons`.
            QueueUnavailable: nobody knows whether it was taken.
        """
        return (await self._jobs.submissions.submit(self._tenant, name, payload, key=key)).job

    async def submit_again(self, job: str) -> str:
        """Take a job once more as a new one, and return its id. NoSuchJob when it is not known; else as `submit`."""
        return (await self._jobs.submissions.submit_again(self._tenant, job)).job

    async def cancel(self, job: str, reason: str | None = None) -> str:
        """Tell a job to stop, and return its status: cancelled when it was waiting, else cancelling.

        Raises:
            NoSuchJob, HasEnded, QueueUnavailable
        """
        return (await self._jobs.submissions.cancel(self._tenant, job, reason)).status
