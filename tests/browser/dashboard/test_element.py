"""`<milepost-job>` in a page of somebody else's, from another origin than the hub's."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, WebSocket, expect

from tests.browser.dashboard.reports import PLAN, Reports
from tests.browser.page_server import PageServer
from tests.milepost.conftest import Service
from tests.waiting import eventually_async

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("failures")]

RUNNING = (
    {"kind": "job", "status": "running", "name": "Import customers"},
    PLAN,
    {"nodeId": 1, "status": "completed", "rowCount": 812, "total": 812, "unit": "files"},
    {"nodeId": 3, "status": "running", "rowCount": 301_220, "unit": "rows"},
)


def sockets(page: Page) -> list[WebSocket]:
    """The page's connections, open or not."""
    opened: list[WebSocket] = []

    def take(socket: WebSocket) -> None:  # Playwright cannot call a builtin
        opened.append(socket)

    page.on("websocket", take)
    return opened


async def test_it_draws_a_job_from_its_attributes_until_it_is_taken_away(
    page: Page, hub: Service, site: PageServer, token: str, reports: Reports
) -> None:
    opened = sockets(page)
    await reports.say(42, *RUNNING)
    await reports.say(43, {"kind": "job", "status": "failed", "name": "Other", "error": {"message": "no disk"}})
    await page.goto(site.url("element.html", hub=hub.url, token=token, job="42"))
    element = page.locator("milepost-job")
    await expect(element.locator("h2")).to_have_text("Import customers")
    await expect(element.locator(".graph .node")).to_have_count(4)
    await expect(element.locator(".graph .node", has=page.locator(".name", has_text="Load"))).to_contain_text(
        "301,220 rows"
    )
    await expect(element.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "25")
    await reports.say(42, {"nodeId": 3, "status": "completed", "rowCount": 400_000})
    await expect(element.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")

    await element.evaluate("element => element.setAttribute('job', '43')")
    await expect(element.locator("h2")).to_have_text("Other")
    await expect(element.locator(".broken")).to_have_text("no disk")
    assert len(opened) == 1

    await element.evaluate("element => element.remove()")
    await eventually_async(opened[0].is_closed)


async def test_elements_of_one_hub_and_token_share_a_connection_and_a_page_may_bring_its_own(
    page: Page, hub: Service, site: PageServer, token: str, reports: Reports
) -> None:
    opened = sockets(page)
    await reports.say(42, *RUNNING)
    await page.goto(site.url("element.html", hub=hub.url, token=token, job="42"))
    await expect(page.locator("milepost-job h2")).to_have_text("Import customers")
    await page.evaluate(
        "() => document.body.append(document.querySelector('milepost-job').cloneNode())",
    )
    await expect(page.locator("milepost-job h2")).to_have_text(["Import customers", "Import customers"])
    assert len(opened) == 1
    await page.evaluate(
        """([url, token]) => {
            const own = document.createElement("milepost-job");
            own.hub = new Milepost(url, { token });
            own.setAttribute("job", "42");
            document.body.append(own);
        }""",
        [hub.url, token],
    )
    await expect(page.locator("milepost-job h2")).to_have_text(["Import customers"] * 3)
    assert len(opened) == 2


async def test_a_refused_token_and_an_unknown_job_are_told_in_words(
    page: Page, hub: Service, site: PageServer, token: str
) -> None:
    await page.goto(site.url("element.html", hub=hub.url, token=token, job="7"))
    note = page.locator("milepost-job .note")
    await expect(note).to_have_text("nobody has heard of this job yet")
    await page.evaluate("document.querySelector('milepost-job').setAttribute('token', 'none')")
    await expect(note).to_contain_text("refused: ")
