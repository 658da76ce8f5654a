"""Whatever a payload holds, it is text: no script runs, no element is made, nobody is asked for anything."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import Page, expect

from tests.browser.dashboard.reports import Reports
from tests.milepost.conftest import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVIL = (
    "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script><svg onload='window.pwned=1'>"
    "\"'><a href=\"javascript:window.pwned=1\">x</a>{{constructor.constructor('window.pwned=1')()}}"
    "\u202edlrow\u0000\u001b[31m"
)
EVENTS = (
    {"kind": "job", "status": "queued", "name": EVIL, "message": EVIL},
    {"kind": "job", "status": "running", "message": EVIL},
    {
        "kind": "plan",
        "data": {
            "nodes": [{"nodeId": EVIL[:128], "nodeName": EVIL}, {"nodeId": 2, "nodeName": EVIL}],
            "edges": [[EVIL[:128], 2]],
        },
    },
    {
        "nodeId": EVIL[:128],
        "nodeName": EVIL,
        "status": "failed",
        "rowCount": 3,
        "total": 5,
        "unit": EVIL,
        "message": EVIL,
        "error": {"message": EVIL, "details": {EVIL: EVIL}},
    },
    {"nodeId": 2, "status": "running", "rowCount": 3, "unit": EVIL, "message": EVIL},
    {"nodeId": "beyond the plan", "status": "running", "message": EVIL},
    {"kind": "log", "message": EVIL, "data": {"level": EVIL}, "nodeId": EVIL[:128]},
    {"kind": "artifact", "data": {"name": EVIL, "uri": "javascript:window.pwned=1"}},
    {"kind": "artifact", "data": {"name": "data", "uri": "data:text/html,<script>window.pwned=1</script>"}},
    {"kind": "artifact", "data": {"name": "file", "uri": EVIL, "size": EVIL}},
    {"kind": "result", "data": {EVIL: [EVIL, {"__proto__": EVIL, "toString": EVIL}]}},
    {"kind": "job", "status": "failed", "message": EVIL, "error": {"message": EVIL, "details": EVIL}},
)


async def test_payloads_are_text_in_the_list_and_on_the_jobs_page(
    page: Page, hub: Service, token: str, reports: Reports, failures: list[str]
) -> None:
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    await reports.say(42, *EVENTS)
    await page.goto(f"{hub.url}/#token={token}")
    row = page.locator(".row")
    await expect(row).to_contain_text('<img src=x onerror="window.pwned=1">')
    await row.click()
    await expect(page.locator("h1")).to_contain_text("<script>window.pwned=1</script>")
    await page.get_by_role("button", name="Show runs").click()
    await expect(page.locator(".runs li")).to_contain_text("<img")
    for summary in await page.locator("summary").all():
        await summary.click()
    for part in (".error .message", ".error pre", ".result-panel pre", ".log li", ".artifacts", ".graph", ".nodes"):
        await expect(page.locator(part).first).to_contain_text("window.pwned=1")
    assert await page.evaluate("window.pwned") is None
    main = page.locator("main")
    assert await main.locator("img, script, iframe, object, svg[onload], style").count() == 0
    links = await main.locator("a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert [link for link in links if not link.startswith("#/")] == []
    shown = await main.inner_text()
    assert "\u202e" not in shown
    assert "\\u202e" in shown
    assert all(url.startswith(f"{hub.url}/") for url in asked)
    assert failures == []


async def test_a_jobs_id_in_the_address_is_text_too(page: Page, hub: Service, token: str, failures: list[str]) -> None:
    for id in ("%3Cimg%20src=x%20onerror=window.pwned=1%3E", "__proto__", "constructor", "*"):
        await page.goto(f"{hub.url}/#/jobs/{id}?token={token}")
        await expect(page.locator(".connection")).to_contain_text("live")
        assert await page.evaluate("window.pwned") is None
        await page.goto("about:blank")
    assert failures == []


async def test_the_pages_policy_forbids_scripts_that_are_not_its_own(page: Page, hub: Service) -> None:
    answer = await page.goto(hub.url)
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    refused = await page.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return 'set'; } catch (error) { return error.name; } }"
    )
    assert refused == "TypeError", json.dumps(refused)
