"""The list of jobs, in a real browser."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.dashboard.reports import Reports
from tests.milepost.conftest import Service

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("failures")]

# what a list of so many jobs holds of elements for each row in view is what is bounded
MOST_ROWS = 60


async def opened(page: Page, hub: Service, token: str) -> None:
    """The list in this tab, as the hub has it."""
    await page.goto(f"{hub.url}/#token={token}")
    await expect(page.locator(".connection")).to_contain_text("live")


async def test_without_a_job_the_page_says_how_to_report_one_and_the_first_appears_by_itself(
    page: Page, hub: Service, token: str, tenant: str, reports: Reports
) -> None:
    await opened(page, hub, token)
    await expect(page.locator(".empty")).to_contain_text("No job has reported yet")
    await expect(page.locator(".empty")).to_contain_text(f'Reporter(tenant="{tenant}"')
    await reports.say("first", {"kind": "job", "status": "running", "name": "The first"}, {"fraction": 0.64})
    row = page.locator(".row")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("The first")
    await expect(row.locator(".pill")).to_have_text("running")
    await expect(row.locator(".part")).to_have_text("64 %")
    await expect(page.locator(".empty")).to_be_hidden()


async def test_many_jobs_are_searched_filtered_and_walked_through_by_keyboard(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.many(range(1, 301), {"kind": "job", "status": "running", "name": "Import customers"})
    await reports.say(77, {"kind": "job", "status": "failed", "name": "Nightly export"})
    await reports.say(88, {"kind": "job", "status": "completed", "name": "Nightly export"})
    await opened(page, hub, token)
    await expect(page.locator(".total")).to_have_text("300")
    await expect(page.get_by_role("button", name="Running 298")).to_be_visible()
    assert await page.locator(".row").count() < MOST_ROWS

    await page.keyboard.press("/")
    await page.keyboard.type("nightly")
    await expect(page.locator(".row")).to_have_count(2)
    assert page.url.endswith("#/?q=nightly")
    await page.get_by_role("button", name="Failed 1").click()
    await expect(page.locator(".row")).to_have_count(1)
    assert page.url.endswith("#/?q=nightly&status=failed")
    await page.go_back()
    await expect(page.locator(".row")).to_have_count(2)
    await page.keyboard.press("/")
    await page.keyboard.type("nothing has this name")
    await expect(page.locator(".empty")).to_contain_text("No job matches")
    await page.get_by_role("button", name="Show all jobs").click()
    await expect(page.locator(".empty")).to_be_hidden()

    await page.keyboard.press("/")
    await page.keyboard.press("Escape")
    for _ in range(31):
        await page.keyboard.press("ArrowDown")
    focused = page.locator(".row a:focus")
    await expect(focused).to_be_in_viewport(ratio=1)
    assert await focused.locator("..").get_attribute("aria-posinset") == "31"
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Import customers")
    await page.keyboard.press("Escape")
    await expect(focused).to_be_in_viewport(ratio=1)
    assert await focused.locator("..").get_attribute("aria-posinset") == "31"


async def test_new_jobs_wait_behind_a_button_while_somebody_reads_further_down(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.many(range(100, 160), {"kind": "job", "status": "running", "name": "Old"})
    await opened(page, hub, token)
    await expect(page.locator(".total")).to_have_text("60")
    await page.evaluate("scrollTo(0, 800)")
    read = page.locator(".row[aria-posinset='20'] .id")
    await expect(read).to_be_in_viewport()
    before = await read.inner_text()
    await reports.many(range(200, 203), {"kind": "job", "status": "running", "name": "New"})
    await expect(page.locator(".total")).to_have_text("63")
    await expect(page.get_by_role("button", name="3 new")).to_be_visible()
    assert await read.inner_text() == before
    await page.get_by_role("button", name="3 new").click()
    await expect(page.locator(".row[aria-posinset='1']")).to_contain_text("New")
    await expect(page.get_by_role("button", name="3 new")).to_be_hidden()


async def test_ten_thousand_jobs_have_elements_for_those_in_view_only(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.many(range(10_000), {"kind": "job", "status": "running", "name": "One of many"})
    await opened(page, hub, token)
    await expect(page.locator(".total")).to_have_text("10,000", timeout=30_000)
    for share in (0, 0.5, 1):
        await page.evaluate("share => scrollTo(0, share * document.documentElement.scrollHeight)", share)
        await expect(page.locator(".row").first).to_be_attached()
        place = page.locator(f".row[aria-posinset='{max(1, int(10_000 * share))}']")
        await expect(place).to_be_attached()
        assert await page.locator(".row").count() < MOST_ROWS
    assert await page.locator("*").count() < 2_000
