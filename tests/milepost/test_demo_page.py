"""`milepost demo` on a terminal and on its page: its job is cancelled and run again from both."""

from __future__ import annotations

import asyncio
import re
from typing import Any, NamedTuple

import httpx
import jwt
import pytest
from playwright.async_api import Browser, expect

from tests.browser.dashboard_page import DashboardPage
from tests.milepost.terminal import Open, Terminal
from tests.waiting import eventually


class Links(NamedTuple):
    """What the demo has printed for others."""

    url: str
    token: str
    job: str

    def ask(self, method: str, path: str) -> dict[str, Any]:
        """The hub's answer, as the page's buttons get it."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx.request(method, f"{self.url}/api/jobs{path}", headers=headers, trust_env=False, timeout=20)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def status(self, job: str) -> str:
        """How the job stands."""
        return str(self.ask("GET", f"/{job}")["snapshot"]["status"])


def links(screen: Terminal) -> Links:
    screen.until("nats sub")
    plain = screen.text.replace("\r", "").replace("\n", "")
    return Links(*re.findall(r"(http://[\d.:]+)/#token=([\w.-]+)&job=(\w+) ", plain)[0])


def test_on_a_terminal_there_are_bars_and_it_serves_on_and_enter_submits_again(terminal: Open) -> None:
    screen = terminal("demo")
    screen.until("━━━")
    screen.until("Still serving")
    hub = links(screen)
    assert hub.status(hub.job) == "completed"
    assert len(hub.ask("GET", "")["jobs"]) == 1
    screen.press(b"\r")
    newest = eventually(lambda: hub.ask("GET", "")["jobs"][1:] and hub.ask("GET", "")["jobs"][0])
    assert newest["jobId"] != hub.job
    screen.press(b"\x03")
    assert screen.end() in (0, 130)


def test_its_links_open_the_dashboard_where_the_job_is_cancelled_and_submitted_again(terminal: Open) -> None:
    """By the requests that the page's buttons make; the job that the page submits runs, and can be cancelled too."""
    screen = terminal("demo")
    hub = links(screen)
    scopes = jwt.decode(hub.token, options={"verify_signature": False})["scope"]
    assert set(scopes.split()) == {"watch", "submit", "cancel"}
    eventually(lambda: hub.status(hub.job) == "running")
    assert hub.ask("DELETE", f"/{hub.job}")["status"] == "cancelling"
    screen.until(r"names\S*  cancelled")
    assert hub.status(hub.job) == "cancelled"
    assert hub.ask("GET", f"/{hub.job}/submission") == {"name": "names"}
    again = hub.ask("POST", f"/{hub.job}/again")["jobId"]
    eventually(lambda: hub.status(again) == "running")
    hub.ask("DELETE", f"/{again}")
    eventually(lambda: hub.status(again) == "cancelled")
    screen.press(b"\x03")
    assert screen.end() == 1


@pytest.mark.asyncio(loop_scope="session")
async def test_in_a_browser_its_page_cancels_the_job_and_runs_it_again(terminal: Open, browser: Browser) -> None:
    screen = terminal("demo")
    hub = await asyncio.to_thread(links, screen)
    async with await browser.new_context() as context:
        page = await context.new_page()
        dashboard = DashboardPage(page)
        await dashboard.open(hub.url, hub.token, hub.job)
        await page.get_by_role("button", name="Cancel").click()
        await page.get_by_role("button", name="Cancel the job").click()
        await dashboard.ended("cancelled")
        await page.get_by_role("button", name="Run again").click()
        await page.wait_for_url(lambda url: f"job={hub.job}" not in url)
        await expect(page.locator(".graph li.node")).to_have_count(5)
        await dashboard.ended("completed", 60)
    screen.press(b"\x03")
    assert await asyncio.to_thread(screen.end) == 1
