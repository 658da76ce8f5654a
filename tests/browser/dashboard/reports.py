"""A job's events from a bare NATS client, each stored before the next."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

import nats
from nats.aio.client import Client

PLAN = {
    "kind": "plan",
    "data": {
        "nodes": [
            {"nodeId": 1, "nodeName": "Scan"},
            {"nodeId": 2, "nodeName": "Tokenize"},
            {"nodeId": 3, "nodeName": "Load"},
            {"nodeId": 4, "nodeName": "Index"},
        ],
        "edges": [[1, 2], [1, 3], [2, 4], [3, 4]],
    },
}


class Reports:
    """What programs of one tenant report."""

    _client: Client

    def __init__(self, url: str, tenant: str) -> None:
        self._url = url
        self._tenant = tenant

    async def __aenter__(self) -> Self:
        self._client = await nats.connect(self._url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def say(self, job: int | str, *events: dict[str, Any]) -> None:
        """Each event, stored when this returns."""
        for event in events:
            answer = await self._client.request(self._subject(job), json.dumps(event).encode(), timeout=10)
            assert "stream" in json.loads(answer.data), answer.data

    async def many(self, jobs: range, event: dict[str, Any]) -> None:
        """The same event of many jobs, all of them stored when this returns."""
        payload = json.dumps(event).encode()
        for job in jobs[:-1]:
            await self._client.publish(self._subject(job), payload)
        await self.say(jobs[-1], event)

    def _subject(self, job: int | str) -> str:
        return f"tenant.{self._tenant}.job.{job}.progress"
