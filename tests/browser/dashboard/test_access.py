"""The pages by axe, on a phone, without motion."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python  # type: ignore[import-untyped] # it says nothing of its types; only its file is used
import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.dashboard.reports import PLAN, Reports
from tests.milepost.conftest import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
LONG = "AVeryLongNameWithoutASingleSpaceInItThatNobodyShouldHaveChosenButSomebodyDid" * 3

RUNNING = (
    {"kind": "job", "status": "running", "name": "Import customers", "message": "half way"},
    PLAN,
    {"nodeId": 1, "status": "completed", "rowCount": 812, "total": 812, "unit": "files"},
    {"nodeId": 2, "nodeName": LONG, "status": "running", "rowCount": 519, "total": 812, "unit": "files"},
    {"nodeId": 3, "status": "running", "rowCount": 1_234_567_890, "unit": LONG},
    {"kind": "log", "message": LONG, "data": {"level": "warning"}},
    {"kind": "log", "message": "debugged", "data": {"level": "debug"}},
    {"kind": "artifact", "data": {"name": LONG, "uri": f"https://example.com/{LONG}", "bytes": 12_345}},
    {"kind": "result", "data": {"rows": [1, 2, LONG]}},
)
WAITING = ({"kind": "job", "status": "queued", "name": LONG},)
CANCELLING = ({"kind": "job", "status": "running", "name": LONG, "run": 2}, {"kind": "job", "status": "cancelling"})
FAILED = (
    {"kind": "job", "status": "running", "name": LONG},
    {"nodeId": 1, "nodeName": "Load", "status": "failed", "error": {"message": "database is locked"}},
    {"kind": "log", "message": "database is locked", "data": {"level": "error"}},
    {"kind": "job", "status": "failed", "error": {"message": "database is locked", "details": "File load.py"}},
)


async def violations(page: Page) -> list[str]:
    """What axe finds serious or critical, with the elements concerned."""
    if not await page.evaluate("typeof axe === 'object'"):
        await page.evaluate(AXE)
    found = await page.evaluate("axe.run()")
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious(page: Page, hub: Service, token: str, reports: Reports, scheme: str) -> None:
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    await reports.say(42, *RUNNING)
    await reports.say(40, *FAILED)
    await reports.say(41, *WAITING)
    await reports.say(37, *CANCELLING)
    await reports.say(39, {"kind": "job", "status": "cancelled", "name": "Cancelled"})
    await reports.say(38, {"kind": "job", "status": "completed", "name": "Completed"})
    await page.goto(hub.url)
    await expect(page.get_by_label("Token", exact=True)).to_be_visible()
    assert await violations(page) == []
    await page.get_by_label("Token", exact=True).fill(token)
    await page.keyboard.press("Enter")
    await expect(page.locator(".row")).to_have_count(6)
    assert await violations(page) == []
    for job in (42, 40, 41, 37):
        await page.goto(f"{hub.url}/#/jobs/{job}")
        await expect(page.locator(".job-head")).to_contain_text(f"job {job}")
        assert await violations(page) == []
    await page.goto(f"{hub.url}/#token=refused")
    await expect(page.locator(".refused")).to_be_visible()
    assert await violations(page) == []


@pytest.mark.parametrize("width", [320, 390, 768])
async def test_no_page_scrolls_sideways(
    browser: Browser, hub: Service, token: str, reports: Reports, width: int
) -> None:
    await reports.say(42, *RUNNING)
    await reports.say(40, *FAILED)
    await reports.say(41, *WAITING)
    await reports.say(37, *CANCELLING)
    context = await browser.new_context(
        viewport={"width": width, "height": 700}, is_mobile=width < 700, has_touch=True, reduced_motion="reduce"
    )
    page = await context.new_page()
    await page.goto(hub.url)
    pages = ("sign-in", "#/", "#/jobs/42", "#/jobs/40", "#/jobs/41", "#/jobs/37", "#/jobs/7")
    for place in pages:
        if place != "sign-in":
            await page.goto(f"{hub.url}/{place}?token={token}")
            await expect(
                page.locator(".row:visible, .job-head .pill:visible, .waiting p:visible").first
            ).to_be_visible()
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, place
        small = await page.locator("button:visible, input:visible").evaluate_all(
            "all => all.filter(one => one.getBoundingClientRect().height < 44).map(one => one.textContent)"
        )
        assert small == [], place
    await context.close()


async def test_nothing_moves_where_motion_is_not_wanted(page: Page, hub: Service, token: str, reports: Reports) -> None:
    await reports.say(42, *RUNNING)
    await page.emulate_media(reduced_motion="reduce")
    await page.goto(f"{hub.url}/#token={token}&job=42")
    await expect(page.locator(".job-head .sign")).to_have_attribute("data-state", "running")
    moving = "() => document.getAnimations().length"
    assert await page.evaluate(moving) == 0
    await page.emulate_media(reduced_motion="no-preference")
    assert await page.evaluate(moving) > 0
