"""Server-sent events of an app's stream, as they come."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import nats


class Told(NamedTuple):
    """One event."""

    event: str
    id: str
    message: dict[str, Any]

    @property
    def row(self) -> int | None:
        """What `publish` has counted in it."""
        count: int | None = self.message.get("payload", {}).get("rowCount")
        return count


def parse(lines: Iterable[str]) -> list[Told]:
    """All whole ones."""
    parser = _Parser()
    return [told for line in lines if (told := parser.take(line)) is not None]


class _Parser:
    def __init__(self) -> None:
        self._fields: dict[str, str] = {}

    def take(self, line: str) -> Told | None:
        """What this line completes."""
        if line:
            name, _, value = line.partition(": ")
            self._fields[name] = value
            return None
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            return None
        return Told(fields["event"], fields.get("id", ""), json.loads(fields["data"]))


class Stream:
    """A response under way."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self._lines = response.aiter_lines()
        self._parser = _Parser()

    async def next(self) -> Told | None:
        """The next one but for heartbeats; None when the stream has ended in good order."""
        async for line in self._lines:
            told = self._parser.take(line)
            if told is not None and told.event != "heartbeat":
                return told
        return None

    async def rest(self) -> list[Told]:
        """All until its end."""
        found: list[Told] = []
        while (told := await self.next()) is not None:
            found.append(told)
        return found


@asynccontextmanager
async def streaming(url: str, headers: Mapping[str, str]) -> AsyncIterator[Stream]:
    """A stream, read when it is asked for more."""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
        client.stream("GET", url, headers=dict(headers)) as response,
    ):
        yield Stream(response)


async def publish(
    nats_url: str, tenant: str, job: str, rows: Iterable[int], *, padding: int = 0, end: bool = False
) -> None:
    """Events that are counted, each stored when this returns; then perhaps the job's end."""
    subject = f"tenant.{tenant}.job.{job}.progress"
    async with await nats.connect(nats_url) as client:
        stream = client.jetstream()
        for row in rows:
            event = {"kind": "log", "message": "x" * padding or "row", "rowCount": row}
            await stream.publish(subject, json.dumps(event).encode())
        if end:
            await stream.publish(subject, b'{"status":"completed"}')
