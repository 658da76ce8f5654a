"""Whoever takes submitted jobs, in memory: each runs at once, in a thread, and reports with the real reporter."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, NamedTuple

from milepost_hub.errors import DeskUnavailable, JobEnded, JobUnknown, SubmitRefused
from milepost_reporter import Reporter

_UNPROCESSABLE = 422


class _Taken(NamedTuple):
    name: str
    payload: Any
    work: asyncio.Task[None]


class MemoryDesk:
    """Takes `count` with `{"rows": n}`; of `absent` it says that nobody is there to take it."""

    def __init__(self, nats_url: str) -> None:
        self._nats_url = nats_url
        self._numbers = itertools.count(1)
        self._taken: dict[tuple[str, str], _Taken] = {}
        self._keys: dict[tuple[str, str], str] = {}

    async def submit(self, tenant: str, name: str, payload: Any, key: str | None) -> str:  # noqa: ANN401 - any JSON
        """Begun when this returns."""
        if name == "absent":
            raise DeskUnavailable("nobody is there")
        if name != "count":
            raise SubmitRefused(404, f"there is no handler {name}")
        rows = payload.get("rows") if isinstance(payload, dict) else None
        if not isinstance(rows, int) or rows < 1:
            reasons = [{"loc": ["payload", "rows"], "msg": "it is to be a number from 1"}]
            raise SubmitRefused(_UNPROCESSABLE, "the payload does not fit", reasons)
        known = self._keys.get((tenant, key)) if key is not None else None
        return known or self._take(tenant, name, payload, key)

    async def submit_again(self, tenant: str, job: str) -> str:
        """As a job of its own."""
        taken = self._taken.get((tenant, job))
        if taken is None:
            raise JobUnknown(f"job {job} was not submitted here")
        if "once" in taken.payload:
            reasons = [{"loc": ["payload", "once"], "msg": "it was once"}]
            raise SubmitRefused(_UNPROCESSABLE, "the payload does not fit any more", reasons)
        return self._take(tenant, taken.name, taken.payload, None)

    async def submitted_as(self, tenant: str, job: str) -> str | None:
        """The name it was submitted with."""
        taken = self._taken.get((tenant, job))
        return None if taken is None else taken.name

    async def cancel(self, tenant: str, job: str) -> bool:
        """Its jobs end by themselves, and soon."""
        taken = self._taken.get((tenant, job))
        if taken is None:
            return False
        await taken.work
        raise JobEnded(f"job {job} has ended")

    def _take(self, tenant: str, name: str, payload: Any, key: str | None) -> str:  # noqa: ANN401
        job = f"{name}-{next(self._numbers)}"
        work = asyncio.create_task(asyncio.to_thread(self._run, tenant, job, payload))
        self._taken[tenant, job] = _Taken(name, payload, work)
        if key is not None:
            self._keys[tenant, key] = job
        return job

    def _run(self, tenant: str, job: str, payload: dict[str, Any]) -> None:
        with Reporter(nats_url=self._nats_url, tenant=tenant, job=job, name="Count rows") as reporter:
            for _ in reporter.track(range(payload["rows"]), "Count", unit="rows"):
                pass
            reporter.result(payload)
