"""`pages/client.html`: a page of somebody's own that imports the hub's client, and gives it options."""

from __future__ import annotations

import json
from typing import Any

from playwright.async_api import Page

from tests.browser.page_server import PageServer

QUICK = {"minBackoff": 50, "maxBackoff": 200, "pollInterval": 100}
"""A client that comes back soon, in milliseconds."""

IMPATIENT = {"connectTimeout": 1_500}
"""One that soon takes a silent rung for one that does not work: also a slow one, on a machine with much to do."""


class ClientPage:
    """One tab with that page in it."""

    def __init__(self, page: Page, site: PageServer) -> None:
        self.page = page
        self._site = site

    async def open(self, hub: str, job: str, options: dict[str, object], **asked: str) -> None:
        """Import from `hub`, and connect to it, or `through` a proxy before it."""
        await self.page.goto(
            self._site.url("client.html", hub=hub, job=job, options=json.dumps({**QUICK, **options}), **asked)
        )
        await self.page.wait_for_function("() => window.seen")

    async def until(self, script: str, argument: object = None, seconds: float = 20) -> None:
        """Wait until this is true on the page."""
        await self.page.wait_for_function(script, arg=argument, timeout=seconds * 1_000)

    async def is_connected(self, transport: str = "websocket", seconds: float = 20) -> None:
        """Wait until it is, in this way, and has the job's state."""
        script = "way => hub.status.state === 'connected' && hub.status.transport === way && job.synced"
        await self.until(script, transport, seconds)

    async def has_line(self, line: str) -> None:
        """Wait until it has seen this line, live or in the job's state."""
        await self.until(
            "line => [...seen.lines, ...job.state.logTail.map(({ message }) => message)].includes(line)", line
        )

    async def seen(self) -> dict[str, Any]:
        """What it has seen."""
        seen: dict[str, Any] = await self.page.evaluate("seen")
        return seen

    async def lines(self) -> list[str]:
        """The lines of the job's state, the last 200."""
        lines: list[str] = await self.page.evaluate("job.state.logTail.map(({ message }) => message)")
        return lines
