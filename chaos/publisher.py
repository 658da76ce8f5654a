"""A publisher that is not our library: it numbers its events and asks JetStream for an acknowledgement of each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from chaos.observer import connected
from chaos.waiting import until

_WINDOW = 200


class RawPublisher:
    """Publishes one job's events. What `publish` has returned from is stored; the order is that of the calls."""

    def __init__(self, client: Client, tenant: str, job: str, published: int) -> None:
        self._client = client
        self.subject = f"tenant.{tenant}.job.{job}.progress"
        self.published = published
        self._id = secrets.token_hex(4)
        self._ids = 0

    async def say(self, text: str = "", **fields: object) -> None:
        """The next numbered log line, acknowledged."""
        self.published += 1
        await self.publish({"kind": "log", "message": f"#{self.published} {text}", **fields})

    async def publish(
        self, event: Mapping[str, Any], subject: str | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """One event; published again, under the same id, until JetStream has answered. Its answer."""
        self._ids += 1
        named = {"Nats-Msg-Id": f"chaos-{self._id}-{self._ids}", **(headers or {})}
        payload = json.dumps(event).encode()
        while True:
            try:
                answer = await self._client.request(subject or self.subject, payload, timeout=1, headers=named)
            except (NatsError, OSError):
                await asyncio.sleep(0.05)
                continue
            told: dict[str, Any] = json.loads(answer.data)
            if "error" in told and told["error"]["code"] == 503:
                await asyncio.sleep(0.05)
                continue
            return told

    async def flood(self, count: int, text: str = "") -> None:
        """So many numbered log lines, acknowledged, with some on their way at once. Only while the server is well."""
        answers = [0]

        async def take(_: Msg) -> None:
            answers[0] += 1

        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox, cb=take)
        for sent in range(1, count + 1):
            self.published += 1
            payload = json.dumps({"kind": "log", "message": f"#{self.published} {text}"}).encode()
            await self._client.publish(self.subject, payload, inbox)
            if sent % _WINDOW == 0 or sent == count:
                await until(lambda goal=sent: answers[0] >= goal, f"{sent} acknowledgements")  # type: ignore[misc]
        await subscription.unsubscribe()

    async def flood_live(self, count: int) -> None:
        """So many numbered log lines, unacknowledged: for a server without JetStream."""
        for _ in range(count):
            self.published += 1
            payload = json.dumps({"kind": "log", "message": f"#{self.published}"}).encode()
            await self._client.publish(self.subject, payload)
        await self._client.flush()


@contextlib.asynccontextmanager
async def publisher(url: str, tenant: str, job: str, published: int = 0) -> AsyncIterator[RawPublisher]:
    """A publisher with a connection of its own, which goes on counting from `published`."""
    async with connected(url) as client:
        yield RawPublisher(client, tenant, job, published)
