"""A desk in a dictionary, as a program that embeds the hub may have one: it takes jobs, and never runs them."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from milepost_hub.errors import DeskUnavailable, JobEnded, JobUnknown, SubmitRefused

LONGEST = 60_000
"""Characters of a payload's `text`."""


class Job(NamedTuple):
    name: str
    payload: Any


class MemoryDesk:
    """Knows one handler, `import`, whose payload is an object with `rows`, a whole number."""

    def __init__(self) -> None:
        self.jobs: dict[tuple[str, str], Job] = {}
        self.cancelled: list[tuple[str, str]] = []
        self.ended: set[tuple[str, str]] = set()
        self.away = False
        self._keys: dict[tuple[str, str], str] = {}

    async def submit(self, tenant: str, name: str, payload: Any, key: str | None) -> str:  # noqa: ANN401
        await self._asked()
        wanted = Job(name, payload)
        _check(wanted)
        if key is not None and (job := self._keys.get((tenant, key))) is not None:
            if self.jobs[tenant, job] != wanted:
                raise SubmitRefused(409, "the key is another job's")
            return job
        # The first is a number in JSON, the others are not.
        job = "7" if not self.jobs else f"job-{len(self.jobs)}"
        self.jobs[tenant, job] = wanted
        if key is not None:
            self._keys[tenant, key] = job
        return job

    async def submit_again(self, tenant: str, job: str) -> str:
        known = self.jobs.get((tenant, job))
        if known is None:
            await self._asked()
            raise JobUnknown(f"job {job} was not submitted here")
        return await self.submit(tenant, known.name, known.payload, None)

    async def submitted_as(self, tenant: str, job: str) -> str | None:
        await self._asked()
        known = self.jobs.get((tenant, job))
        return None if known is None else known.name

    async def cancel(self, tenant: str, job: str) -> bool:
        await self._asked()
        if (tenant, job) not in self.jobs:
            return False
        if (tenant, job) in self.ended:
            raise JobEnded(f"job {job} has ended")
        self.cancelled.append((tenant, job))
        return True

    async def _asked(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise DeskUnavailable("the queue is out of reach")


def _check(wanted: Job) -> None:
    if wanted.name != "import":
        raise SubmitRefused(404, f"there is no handler {wanted.name}")
    rows = wanted.payload.get("rows") if isinstance(wanted.payload, dict) else None
    if not isinstance(rows, int):
        reason = {"loc": ["payload", "rows"], "msg": "must be a whole number", "type": "int_type"}
        raise SubmitRefused(422, "the payload does not fit: rows must be a whole number", [reason])
    if len(str(wanted.payload.get("text", ""))) > LONGEST:
        raise SubmitRefused(413, f"the text is longer than {LONGEST} characters")
