"""A reader of the SSE stream."""

from __future__ import annotations

from typing import ClassVar, Final

import httpx

from chaos.dice import Dice
from chaos.event_stream import EventStream, StreamEvent
from chaos.http_client import http_client
from chaos.reader import Reader, Target
from chaos.reading import Done, Refused
from chaos.waiting import WaitedInVainError, until

_SILENCE: Final = 30.0
_ENDINGS: Final = frozenset({"completed", "failed", "cancelled"})


class SseReader(Reader):
    """As an EventSource: resumes with the last `id`, and stays away when it is answered 204."""

    transport: ClassVar[str] = "SSE"

    def __init__(self, name: str, target: Target, *, dice: Dice, after: str | None = None) -> None:
        super().__init__(name, target, dice=dice, after=after)
        self._last_id: str | None = None
        self.done = False

    @property
    def after(self) -> str | None:
        """The last `id`."""
        return self._last_id or self.first

    async def quiesce(self) -> None:
        """A stream of a job that has ended ends itself, and a reconnect is answered 204."""
        if self.done:
            try:
                await until(lambda: self.over, f"{self.name}: answered 204", 10)
            except WaitedInVainError as error:
                self.reading.add(Refused("not_over", str(error)))

    async def _attend(self) -> None:
        headers = {"Authorization": f"Bearer {self.target.token}", "Accept": "text/event-stream"}
        query = {}
        if self._last_id is not None:
            headers["Last-Event-ID"] = self._last_id
        elif self.first is not None:
            query["after"] = self.first
        try:
            async with (
                http_client(self.target.url, timeout=_SILENCE, headers=headers) as http,
                http.stream("GET", f"/api/jobs/{self.target.job}/stream", params=query) as answer,
            ):
                await self._read(answer)
        except (httpx.HTTPError, OSError) as error:
            self._lost(None, repr(error))
        else:
            self._lost(answer.status_code)

    async def _read(self, answer: httpx.Response) -> None:
        if answer.status_code == httpx.codes.NO_CONTENT:
            self.reading.add(Done(answer.status_code))
            self.over = True
        elif answer.status_code != httpx.codes.OK:
            await answer.aread()
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                self.reading.add(Refused(str(answer.status_code), answer.text))
                self.over = True
        else:
            stream = EventStream()
            # by "\n" alone: httpx's own lines also end where a payload has a Unicode line separator
            rest = ""
            async for chunk in answer.aiter_text():
                *lines, rest = (rest + chunk).split("\n")
                for line in lines:
                    event = stream.line(line.removesuffix("\r"))
                    if event is not None:
                        self._take(event)

    def _take(self, event: StreamEvent) -> None:
        if event.id:
            self._last_id = event.id
        if event.kind == "done":
            self.done = True
            self.reading.add(Done(httpx.codes.OK))
            return
        before = self.reading.cursor
        kind = self.reading.take(event.data)
        if kind in {"job.progress", "job.snapshot"}:
            self._check(event, before)

    def _check(self, event: StreamEvent, before: str | None) -> None:
        """The event's id is its message's cursor."""
        cursor = self.reading.cursor
        if event.id and event.id != cursor:
            self.reading.add(Refused("bad_id", f"id {event.id} on a message with cursor {cursor} behind {before}"))
