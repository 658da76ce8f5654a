"""A job reported by a bare NATS client, each event acknowledged by the log."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator

import nats
from nats.js import JetStreamContext


class Job:
    """Job 1 of a tenant; its events are numbered from 0."""

    def __init__(self, stream: JetStreamContext, tenant: str, token: str) -> None:
        self.token = token
        self.headers = {"Authorization": f"Bearer {token}"}
        self.count = 0
        self._stream = stream
        self._subject = f"tenant.{tenant}.job.1.progress"

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, nats_url: str, tenant: str, token: str) -> AsyncIterator[Job]:
        """Connected until the block ends."""
        client = await nats.connect(nats_url)
        try:
            yield cls(client.jetstream(), tenant, token)
        finally:
            await client.close()

    async def report(self, count: int = 1) -> None:
        """So many events more, stored."""
        for _ in range(count):
            await self._publish({"message": "working", "n": self.count})
            self.count += 1

    async def complete(self) -> None:
        """The job's end."""
        await self._publish({"status": "completed"})

    async def _publish(self, event: dict[str, object]) -> None:
        await self._stream.publish(self._subject, json.dumps(event).encode())
