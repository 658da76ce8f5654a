"""A job program's process, seen from outside."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

from chaos.process import Process
from chaos.program import Spec


class JobProcess:
    """`chaos.program` with a spec, reporting for one tenant; `lease` in seconds, None promises none."""

    def __init__(self, nats_url: str, tenant: str, spec: Spec, log: Path, *, lease: float | None = None) -> None:
        self.spec = spec
        environment = {"NATS_URL": nats_url, "MILEPOST_TENANT": tenant, "MILEPOST_CLOSE_TIMEOUT": "30"}
        if lease is not None:
            environment["MILEPOST_LEASE_SECONDS"] = str(lease)
        self.process = Process(f"job {spec.jobs[0]}", ["-m", "chaos.program", spec.as_argument()], environment, log)
        self.closed: bool | None = None
        self.events: int | None = None
        """How many it has reported, once it is done."""
        self._all_told = False
        self._told: list[dict[str, Any]] = []
        self._listening: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()

    async def start(self) -> None:
        """Start it."""
        await self.process.start()
        self._listening = asyncio.create_task(self._listen())

    async def reported(self, number: int, seconds: float = 60.0) -> None:
        """Return when it has reported this many events; they must be among its marks."""
        await self._hear({"mark": number}, seconds)

    async def begun(self, seconds: float = 30.0) -> None:
        """Return when the job has begun."""
        await self._hear({"begun": 0}, seconds)

    async def finished(self, seconds: float = 120.0) -> int:
        """Its exit status, once it has ended; minus 9 when it was killed."""
        status = await asyncio.wait_for(self.process.ended(), seconds)
        if self._listening is not None:
            await self._listening
        return status

    def go_on(self) -> None:
        """Let it pass where it holds."""
        self.process.say("go on")

    def pause(self) -> None:
        """SIGSTOP."""
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send(signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL."""
        await self.process.kill()

    async def _hear(self, what: dict[str, Any], seconds: float) -> None:
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: what in self._told or self._all_told)
        if what not in self._told:
            raise EOFError(f"{self.process.name} ended before it said {what}: {self.process.log_tail()}")

    async def _listen(self) -> None:
        while True:
            try:
                told = json.loads(await self.process.line(3600))
            except EOFError:
                break
            async with self._news:
                self._told.append(told)
                self._news.notify_all()
            self.closed = told.get("closed", self.closed)
            self.events = told.get("events", self.events)
        async with self._news:
            self._all_told = True
            self._news.notify_all()
