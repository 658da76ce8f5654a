"""What goes over a page's WebSockets, seen from outside the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from playwright.async_api import Page, WebSocket

from tests.waiting import eventually_async

Message = dict[str, Any]


class Wire:
    """Every message a page has received since it was opened, over however many WebSockets."""

    def __init__(self, page: Page) -> None:
        self.sockets = 0
        self.messages: list[Message] = []
        page.on("websocket", self._opened)

    def _opened(self, socket: WebSocket) -> None:
        self.sockets += 1
        socket.on("framereceived", lambda frame: self.messages.append(json.loads(frame)))

    def of(self, kind: str) -> list[Message]:
        """Those of one type."""
        return [message for message in self.messages if message["type"] == kind]

    async def until(self, kind: str, which: Callable[[Message], bool] = lambda _: True) -> Message:
        """The first one like that, waited for if need be."""
        found = await eventually_async(lambda: [message for message in self.of(kind) if which(message)])
        return found[0]

    async def subscribed(self, times: int = 1) -> None:
        """Return once that many subscriptions have brought what there is: what comes from now on is told."""
        await eventually_async(lambda: len(self.of("job.snapshot") + self.of("listed")) >= times)
