"""One job's page, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.browser.dashboard.reports import PLAN, Reports
from tests.milepost.conftest import Service

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("failures")]


async def opened(page: Page, hub: Service, token: str, job: int | str) -> None:
    """The job's page in this tab."""
    await page.goto(f"{hub.url}/#token={token}&job={job}")
    await expect(page.locator(".connection")).to_contain_text("live")


def card(page: Page, name: str) -> Locator:
    """A node in the graph."""
    return page.locator(".graph .node", has=page.locator(".name", has_text=name))


async def test_a_plans_graph_runs_to_completed_with_its_counts(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await opened(page, hub, token, 42)
    await expect(page.locator(".waiting")).to_have_text(
        "Nobody has heard of job 42 yet. This page will show it when it reports."
    )
    await reports.say(42, {"kind": "job", "status": "running", "name": "Import customers"}, PLAN)
    await expect(page.locator("h1")).to_have_text("Import customers")
    await expect(page.locator(".graph .node[data-state=idle]")).to_have_count(4)
    await reports.say(42, {"nodeId": 1, "status": "running", "rowCount": 519, "total": 812, "unit": "files"})
    await expect(card(page, "Scan")).to_have_attribute("data-state", "running")
    await expect(card(page, "Scan")).to_contain_text("519 of 812 files")
    await expect(page.locator(".nodes li").first).to_contain_text("63 %")
    await reports.say(
        42,
        {"nodeId": 1, "status": "completed", "rowCount": 812},
        {"nodeId": 2, "status": "completed", "rowCount": 812, "total": 812, "unit": "files"},
        {"nodeId": 3, "status": "running", "rowCount": 301_220, "unit": "rows"},
    )
    await expect(card(page, "Load")).to_contain_text("301,220 rows")
    await expect(page.get_by_role("progressbar", name="progress of the job")).to_have_attribute("aria-valuenow", "50")
    await reports.say(
        42,
        {"nodeId": 3, "status": "completed"},
        {"nodeId": 4, "status": "completed"},
        {"nodeId": 9, "nodeName": "Unplanned", "status": "completed"},
        {"kind": "log", "message": "all is well"},
        {"kind": "artifact", "data": {"name": "names.csv", "uri": "https://example.com/names.csv"}},
        {"kind": "result", "data": {"rows": 301_220}},
        {"kind": "job", "status": "completed"},
    )
    await expect(page.locator(".job-head .pill")).to_have_text("completed")
    await expect(page.locator(".graph .node[data-state=completed]")).to_have_count(5)
    await expect(page.locator(".timeline li[data-state=completed]")).to_have_count(5)
    await expect(page.locator(".job-head")).to_contain_text(re.compile(r"took \d+ ms|took \d\.\d s"))
    await expect(page.locator(".log li")).to_contain_text("all is well")
    await expect(page.get_by_role("link", name="names.csv")).to_have_attribute("href", "https://example.com/names.csv")
    await expect(page.get_by_role("link", name="names.csv")).to_have_attribute("rel", "noopener noreferrer")
    await expect(page.locator(".result-panel pre")).to_contain_text('"rows": 301220')
    await expect(page.locator("[role=status][aria-live=polite]")).to_have_text("Import customers completed")
    await expect(page.get_by_role("button", name="Cancel")).to_be_hidden()


async def test_a_failed_job_says_why_before_anything_else(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.say(
        40,
        {"kind": "job", "status": "running", "name": "Build docs"},
        PLAN,
        {"nodeId": 3, "status": "failed", "error": {"message": "database is locked"}},
        {
            "kind": "job",
            "status": "failed",
            "error": {"message": "the load failed", "details": {"traceback": "File load.py"}},
        },
    )
    await opened(page, hub, token, 40)
    error = page.locator(".panel.error")
    await expect(error.locator(".message")).to_have_text("the load failed")
    await expect(error).to_contain_text("Failed in Load")
    await expect(error.get_by_text("File load.py")).to_be_hidden()
    await error.get_by_text("Details").click()
    await expect(error.get_by_text("File load.py")).to_be_visible()
    await expect(card(page, "Load")).to_have_attribute("data-state", "failed")
    assert await error.evaluate("error => error.compareDocumentPosition(document.querySelector('.graph'))") == 4


async def test_a_job_of_which_nothing_was_heard_is_stalled_and_not_failed(
    page: Page, impatient_hub: Service, tenant: str, reports: Reports
) -> None:
    await reports.say(41, {"kind": "job", "status": "running", "name": "Nightly"}, {"fraction": 0.22})
    await page.goto(f"{impatient_hub.url}/#token={impatient_hub.token(tenant)}")
    row = page.locator(".row")
    await expect(row.locator(".pill")).to_have_text("stalled")
    await row.click()
    await expect(page.locator(".job-head .pill")).to_have_text("stalled")
    await expect(page.locator(".job-head")).to_contain_text("no event for")
    await expect(page.locator(".job-head .percent")).to_have_text("22 %")
    await reports.say(41, {"fraction": 0.23})
    await expect(page.locator(".job-head .pill")).to_have_text("running")


async def test_runs_are_read_when_there_was_more_than_one(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.say(
        7,
        {"kind": "job", "status": "running", "name": "Reconcile", "run": 1},
        {"kind": "log", "message": "of the first run"},
        {"kind": "job", "status": "failed", "run": 1, "willRetry": True, "error": {"message": "lost"}},
    )
    await opened(page, hub, token, 7)
    await expect(page.locator(".notes")).to_contain_text("Failed, another run follows.")
    await reports.say(7, {"kind": "job", "status": "running", "run": 2})
    await expect(page.locator(".log-box")).to_have_text("No log line yet.", use_inner_text=True)
    await reports.say(7, {"kind": "log", "message": "of the second run"})
    await expect(page.locator(".job-head")).to_contain_text("run 2")
    await expect(page.locator(".runs li")).to_have_count(2)
    await expect(page.locator(".runs li").last).to_contain_text("lost")
    await expect(page.locator(".log li")).to_have_count(1)
    await expect(page.locator(".log li")).to_contain_text("of the second run")


async def test_nodes_stand_in_the_plans_order_whenever_it_came(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.say(8, {"nodeId": 4, "status": "running"}, {"nodeId": 2, "status": "running"})
    await opened(page, hub, token, 8)
    await expect(page.locator(".nodes .name")).to_have_text(["node 4", "node 2"])
    await reports.say(8, PLAN)
    for part in (".nodes .name", ".timeline .name"):
        await expect(page.locator(part)).to_have_text(["Scan", "Tokenize", "Load", "Index"])


async def test_a_plan_larger_than_the_window_opens_where_it_runs_and_stays_where_it_is_read(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    nodes = [{"nodeId": number, "nodeName": f"Step {number}."} for number in range(40)]
    edges = [[number, number + 1] for number in range(39)]
    await reports.say(12, {"kind": "plan", "data": {"nodes": nodes, "edges": edges}})
    await reports.say(12, {"nodeId": 20, "status": "running"})
    await opened(page, hub, token, 12)
    await expect(card(page, "Step 20.")).to_be_in_viewport(ratio=1)
    graph = page.get_by_role("region", name="graph of nodes")
    await graph.evaluate("graph => graph.scrollTo(0, 0)")
    await reports.say(12, {"nodeId": 20, "status": "completed"}, {"nodeId": 21, "status": "running"})
    await expect(card(page, "Step 21.")).to_have_attribute("data-state", "running")
    assert await graph.evaluate("graph => graph.scrollLeft") == 0


async def test_many_artifacts_scroll_in_their_own_place(page: Page, hub: Service, token: str, reports: Reports) -> None:
    made = ({"kind": "artifact", "data": {"name": f"part-{number}", "uri": "a"}} for number in range(60))
    await reports.say(13, {"kind": "job", "status": "running"}, *made)
    await opened(page, hub, token, 13)
    await expect(page.locator(".artifacts li")).to_have_count(60)
    panel = page.get_by_role("region", name="artifacts")
    assert await panel.evaluate("panel => panel.scrollHeight > panel.clientHeight && panel.clientHeight <= 480")
    await expect(panel).to_have_attribute("tabindex", "0")


async def test_what_took_no_time_at_the_end_is_seen_in_the_timeline(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.say(10, {"nodeId": 1, "status": "running"}, {"nodeId": 1, "status": "completed"})
    await reports.say(10, {"nodeId": 2, "status": "completed"}, {"kind": "job", "status": "completed"})
    await opened(page, hub, token, 10)
    lane = await page.locator(".timeline .lane").last.bounding_box()
    bar = await page.locator(".timeline .stretch").last.bounding_box()
    assert lane is not None
    assert bar is not None
    assert bar["x"] + bar["width"] <= lane["x"] + lane["width"] + 0.5


async def test_a_page_that_is_left_reads_no_more_of_the_log(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.say(11, {"kind": "job", "status": "running", "name": "Import"})
    await opened(page, hub, token, 11)

    async def never(route: Route) -> None:
        """No answer."""

    await page.route("**/api/jobs/11/events*", never)
    async with page.expect_request("**/api/jobs/11/events*"):
        await page.get_by_role("button", name="Show runs").click()
    async with page.expect_event("requestfailed"):
        await page.locator(".crumb").click()


async def test_the_log_is_followed_until_somebody_scrolls_up(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.say(5, *({"kind": "log", "message": f"line {number}"} for number in range(80)))
    await opened(page, hub, token, 5)
    log = page.get_by_role("log")
    await expect(log.get_by_text("line 79")).to_be_visible()
    end = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
    assert await log.evaluate(end) < 1
    follow = page.locator(".follow")
    await expect(follow).to_be_hidden()
    await log.evaluate("log => { log.scrollTop = 100; }")
    await expect(follow).to_be_visible()
    await reports.say(5, {"kind": "log", "message": "one more", "data": {"level": "warning"}})
    await expect(log.get_by_text("one more")).to_be_attached()
    assert await log.evaluate("log => log.scrollTop") == 100
    await expect(follow).to_have_text("↓ Follow, there is more")
    await follow.click()
    await expect(follow).to_be_hidden()
    assert await log.evaluate(end) < 1


async def test_without_the_scope_nothing_can_be_cancelled_and_with_it_the_hubs_answer_is_shown(
    *, page: Page, hub: Service, tenant: str, token: str, reports: Reports, failures: list[str]
) -> None:
    await reports.say(6, {"kind": "job", "status": "running", "name": "Nobody answers"})
    await opened(page, hub, hub.token(tenant), 6)
    await expect(page.locator(".job-head .pill")).to_have_text("running")
    await expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    await page.goto("about:blank")
    await opened(page, hub, token, 6)
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.get_by_role("button", name="Let it run").click()
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Cancel the job").click()
    # no program listens to this job: the hub says so, and the page says what the hub has said
    await expect(page.locator(".answer")).to_contain_text("Not cancelled: ")
    await expect(page.locator(".job-head .pill")).to_have_text("running")
    # the browser itself notes the answer's status
    failures.clear()
