"""The dashboard as a person finds it in a tab."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

from milepost.hub_url import dashboard_url


class DashboardPage:
    """One tab with the dashboard in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.connection: Locator = page.locator("header .connection")
        self.pill: Locator = page.locator(".job-head .pill")
        self.nodes: Locator = page.locator(".graph li.node")

    async def open(self, url: str, token: str, job: str | None = None) -> None:
        """By the link that `milepost token --link` makes."""
        await self.page.goto(dashboard_url(url, token, job))

    async def is_live(self, transport: str = "WebSocket", seconds: float = 20) -> None:
        """Wait until it says so, and how."""
        await expect(self.connection).to_have_text(f"live{transport}", timeout=seconds * 1_000)

    async def says_no_more_live(self, seconds: float = 20) -> None:
        """Wait until it says that the connection is lost."""
        await expect(self.connection).not_to_contain_text("live", timeout=seconds * 1_000)

    async def ended(self, how: str, seconds: float = 30) -> None:
        """Wait until the job's own state is that."""
        await expect(self.pill).to_contain_text(how, timeout=seconds * 1_000)

    async def lines(self) -> list[str]:
        """The log as it can be read there."""
        return await self.page.locator(".log li .said").all_text_contents()
