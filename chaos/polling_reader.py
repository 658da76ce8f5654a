"""A reader that polls over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar, Final

import httpx

from chaos.dice import Dice
from chaos.http_client import http_client
from chaos.reader import Reader, Target
from chaos.reading import Asked, Refused
from chaos.waiting import WaitedInVainError, until

_PAUSE: Final = 0.05
_LIMIT: Final = 200
_TIMEOUT: Final = 10.0


class PollingReader(Reader):
    """Asks for the events behind its cursor, for a snapshot when it has none, and again when there were none."""

    transport: ClassVar[str] = "HTTP"

    def __init__(self, name: str, target: Target, *, dice: Dice, after: str | None = None) -> None:
        super().__init__(name, target, dice=dice, after=after)
        self._next: str | None = None
        self._empty = 0

    @property
    def after(self) -> str | None:
        """What the last answer gave to go on from."""
        return self._next or self.first

    async def quiesce(self) -> None:
        """Two empty answers that were asked for from now on."""
        goal = self._empty + 2
        try:
            await until(lambda: self._empty >= goal or self.over, f"{self.name}: quiet", 10)
        except WaitedInVainError:
            return  # whatever came instead is judged

    async def _attend(self) -> None:
        headers = {"Authorization": f"Bearer {self.target.token}"}
        try:
            async with http_client(self.target.url, timeout=_TIMEOUT, headers=headers) as http:
                while not self.over:
                    await self._poll(http)
        except (httpx.HTTPError, OSError) as error:
            self._lost(None, repr(error))

    async def _poll(self, http: httpx.AsyncClient) -> None:
        query: dict[str, str | int] = {"limit": _LIMIT}
        if self.after is not None:
            query["after"] = self.after
        answer = await http.get(f"/api/jobs/{self.target.job}/events", params=query)
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or answer.status_code == httpx.codes.NOT_FOUND:
            await asyncio.sleep(_PAUSE)
            return
        if answer.status_code != httpx.codes.OK:
            self.reading.add(Refused(str(answer.status_code), answer.text))
            self.over = True
            return
        await self._take(answer.text)

    async def _take(self, text: str) -> None:
        page = json.loads(text)
        messages: list[dict[str, Any]] = page["events"]
        for message in messages_in(text, len(messages)):
            self.reading.take(message)
        self._next = page["cursor"] or self._next
        if messages and self.after is None:
            # a job that is known and has said nothing yet: its snapshot has no cursor, and is asked for again
            self.reading.add(Asked(None))
        if not messages:
            self._empty += 1
            await asyncio.sleep(_PAUSE)


def messages_in(text: str, count: int) -> list[str]:
    """The messages of a page, each in its own bytes."""
    decoder = json.JSONDecoder()
    place = text.index("[") + 1
    found = []
    for _ in range(count):
        while text[place] in " ,\r\n\t":
            place += 1
        _, end = decoder.raw_decode(text, place)
        found.append(text[place:end])
        place = end
    return found
