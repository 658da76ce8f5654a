"""What a page has of a stream of server-sent events: the standard's parser, on a real response."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, NamedTuple

import httpx


class Event(NamedTuple):
    """One event as the standard's parser gives it to a page; the id is the last one seen."""

    name: str
    id: str
    data: str

    @property
    def message(self) -> dict[str, Any]:
        message = json.loads(self.data)
        assert isinstance(message, dict)
        return message


class Reader:
    """The standard's parser (HTML, section 9.2.6), on lines."""

    def __init__(self) -> None:
        self.id = ""
        self.retry = 0
        self._name = ""
        self._data: list[str] = []

    def line(self, line: str) -> Event | None:
        if not line:
            event = Event(self._name, self.id, "\n".join(self._data)) if self._data else None
            self._name, self._data = "", []
            return event
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        elif field == "id":
            self.id = value
        elif field == "retry":
            self.retry = int(value)
        return None


class Page:
    """What a page has of one stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.reader = Reader()
        self._lines = response.aiter_lines()

    async def event(self) -> Event:
        async with asyncio.timeout(10):
            async for line in self._lines:
                if (event := self.reader.line(line)) is not None:
                    return event
        raise EOFError

    async def events(self, count: int) -> list[Event]:
        return [await self.event() for _ in range(count)]

    async def rest(self) -> list[Event]:
        got = []
        with contextlib.suppress(EOFError):
            while True:
                got.append(await self.event())
        return got
