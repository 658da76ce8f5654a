"""Jobs that are submitted: they wait, are cancelled, run a second time, and are submitted again from their page."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.dashboard.reports import Reports
from tests.browser.dashboard.test_access import violations
from tests.milepost.conftest import Service

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("failures")]

SUBMITTER = ["watch", "cancel", "submit"]
QUEUED = {"kind": "job", "status": "queued", "name": "Build report"}
RUNNING = {"kind": "job", "status": "running"}


async def opened(page: Page, hub: Service, token: str, job: int | str) -> None:
    """The job's page in this tab."""
    await page.goto(f"{hub.url}/#token={token}&job={job}")
    await expect(page.locator(".connection")).to_contain_text("live")


async def submitted(hub: Service, token: str, payload: dict[str, Any]) -> str:
    """The id of a job that this token has submitted."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as client:
        answer = await client.post(f"{hub.url}/api/jobs", json={"name": "count", "payload": payload})
    assert answer.status_code == HTTPStatus.CREATED, answer.text
    return str(answer.json()["jobId"])


async def test_a_job_that_waits_says_for_how_long_and_can_be_cancelled(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.say(42, QUEUED)
    await page.goto(f"{hub.url}/#token={token}")
    row = page.locator(".row")
    await expect(row.locator(".pill")).to_have_text("queued")
    await expect(row).to_contain_text("Build report")
    await expect(page.get_by_role("button", name="Queued 1")).to_be_visible()
    await row.click()
    head = page.locator(".job-head")
    await expect(head.locator(".pill")).to_have_text("queued")
    await expect(head).to_contain_text(re.compile(r"since \d\d:\d\d:\d\d"))
    await expect(head).to_contain_text(re.compile(r"queued [0-9]+ s"))
    for nothing in ("started", "for 0:", "heard of", "took"):
        await expect(head).not_to_contain_text(nothing)
    for panel in (".graph-panel", ".nodes-panel", ".timeline-panel", ".panel.error", ".result-panel"):
        await expect(page.locator(panel)).to_be_hidden()
    await expect(page.get_by_role("button", name="Cancel")).to_be_enabled()
    await expect(page).to_have_title("queued · Build report \N{EN DASH} Milepost")
    await reports.say(42, RUNNING)
    await expect(head.locator(".pill")).to_have_text("running")
    await expect(head).to_contain_text("started")
    await expect(head).not_to_contain_text("queued")


async def test_a_job_that_waits_is_not_stalled(
    page: Page, impatient_hub: Service, tenant: str, reports: Reports
) -> None:
    """Here a job is stalled after a second; one that runs beside it tells when that has passed."""
    await reports.say(42, QUEUED)
    await reports.say(43, RUNNING)
    await page.goto(f"{impatient_hub.url}/#token={impatient_hub.token(tenant)}")
    pills = page.locator(".row .pill")
    await expect(pills.filter(has_text="stalled")).to_have_count(1)
    await expect(pills.filter(has_text="queued")).to_have_count(1)
    await page.goto(f"{impatient_hub.url}/#/jobs/42")
    await expect(page.locator(".job-head .pill")).to_have_text("queued")


async def test_a_job_that_is_being_cancelled_shows_that_it_has_been_asked(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.say(42, QUEUED, RUNNING)
    await opened(page, hub, token, 42)
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await reports.say(42, {"kind": "job", "status": "cancelling"})
    asked = page.get_by_role("button", name="Cancelling…")
    await expect(asked).to_be_disabled()
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(page.locator(".job-head .pill")).to_have_text("cancelling")
    await reports.say(42, {"kind": "job", "status": "cancelled"})
    await expect(page.locator(".job-head .pill")).to_have_text("cancelled")
    await expect(asked).to_be_hidden()


async def test_a_job_cancelled_before_it_began_has_no_start_and_took_no_time(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.say(42, QUEUED, {"kind": "job", "status": "cancelled"})
    await opened(page, hub, token, 42)
    head = page.locator(".job-head")
    await expect(head).to_contain_text(re.compile(r"queued \d\d:\d\d:\d\d"))
    await expect(head).to_contain_text("ended")
    for nothing in ("started", "took"):
        await expect(head).not_to_contain_text(nothing)


async def test_a_run_that_another_followed_was_not_finished_and_the_current_one_goes_on(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.say(42, QUEUED, RUNNING | {"run": 1}, {"nodeId": 1, "nodeName": "Count", "status": "running"})
    await opened(page, hub, token, 42)
    await expect(page.locator(".nodes li")).to_have_count(1)
    await reports.say(42, RUNNING | {"run": 2})
    runs = page.locator(".runs li")
    await expect(runs).to_have_count(2)
    await expect(runs.first).to_contain_text("Run 2running")
    await expect(runs.last).to_contain_text("Run 1not finished")
    await expect(page.locator(".nodes-panel")).to_be_hidden()
    await expect(page.locator(".job-head")).to_contain_text("run 2")
    await reports.say(42, {"kind": "job", "status": "completed", "run": 2})
    await expect(runs.first).to_contain_text("Run 2completed")
    await expect(runs.first).to_contain_text("took")
    await page.reload()
    await expect(runs.first).to_contain_text("Run 2completed")
    await expect(runs.last).to_contain_text("Run 1not finished")


async def test_between_a_failed_run_and_the_next_one_the_job_waits(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.say(42, QUEUED, RUNNING | {"run": 1}, {"nodeId": 1, "nodeName": "Count", "status": "running"})
    await opened(page, hub, token, 42)
    failed = {"kind": "job", "status": "failed", "run": 1, "willRetry": True, "error": {"message": "disk full"}}
    await reports.say(42, failed)
    await expect(page.locator(".notes")).to_have_text("Failed, another run follows.")
    await expect(page.locator(".panel.error .message")).to_have_text("disk full")
    await expect(page.get_by_role("button", name="Cancel")).to_be_enabled()
    await reports.say(42, QUEUED | {"run": 2})
    head = page.locator(".job-head")
    await expect(head.locator(".pill")).to_have_text("queued")
    await expect(head).to_contain_text("run 2")
    await expect(head).to_contain_text(re.compile(r"queued [0-9]+ s"))
    for gone in (".notes li", ".panel.error", ".nodes-panel"):
        await expect(page.locator(gone)).to_be_hidden()
    runs = page.locator(".runs li")
    await expect(runs.first).to_contain_text("Run 2queued")
    await expect(runs.last).to_contain_text("disk full")
    await expect(page.get_by_role("button", name="Cancel")).to_be_enabled()


async def test_an_ended_job_is_run_again_by_keyboard_and_the_new_ones_page_follows(
    page: Page, desk_hub: Service, tenant: str
) -> None:
    token = desk_hub.token(tenant, scopes=SUBMITTER)
    job = await submitted(desk_hub, token, {"rows": 7})
    await opened(page, desk_hub, token, job)
    button = page.get_by_role("button", name="Run again")
    await expect(button).to_be_enabled()
    await expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        """The question, passed on when it is told to."""
        await held.wait()
        await route.continue_()

    await page.route("**/again", hold)
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(button).to_be_disabled()
    await expect(page.locator(".answer")).to_have_text("Submitting the job again…")
    await expect(page.locator(".answer")).to_have_attribute("role", "status")
    held.set()
    await page.wait_for_url(lambda url: "#/jobs/count-" in url and not url.endswith(f"/{job}"))
    again = page.url.rpartition("/")[2]
    await expect(page.locator("[role=status][aria-live=polite]")).to_have_text(
        re.compile(rf"Submitted as job {again}|Count rows completed")
    )
    await expect(page.locator(".job-head .pill")).to_have_text("completed")
    await expect(page.locator(".result-panel pre")).to_contain_text('"rows": 7')
    await expect(page.locator(".answer")).to_be_empty()
    await page.go_back()
    await expect(page.locator(".job-head")).to_contain_text(job)


async def test_a_refusal_is_told_where_cancels_are_with_the_reasons(
    page: Page, desk_hub: Service, tenant: str, failures: list[str]
) -> None:
    token = desk_hub.token(tenant, scopes=SUBMITTER)
    job = await submitted(desk_hub, token, {"rows": 7, "once": True})
    await opened(page, desk_hub, token, job)
    button = page.get_by_role("button", name="Run again")
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".answer")).to_have_text(
        "Not run again: the payload does not fit any more; payload.once: it was once"
    )
    await expect(button).to_be_enabled()
    await expect(button).to_be_focused()
    assert page.url.endswith(f"#/jobs/{job}")
    assert await violations(page) == []
    # the browser itself notes the answer's status
    failures.clear()


async def test_it_is_offered_for_ended_jobs_that_were_submitted_to_those_who_may_submit(
    page: Page, desk_hub: Service, tenant: str, reports: Reports, failures: list[str]
) -> None:
    token = desk_hub.token(tenant, scopes=SUBMITTER)
    job = await submitted(desk_hub, token, {"rows": 7})
    button = page.get_by_role("button", name="Run again")
    pill = page.locator(".job-head .pill")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/submission" in request.url else None)
    for unfit in (
        desk_hub.token(tenant, scopes=["watch", "cancel"]),
        desk_hub.token(tenant, scopes=SUBMITTER, jobs=[job]),
    ):
        await opened(page, desk_hub, unfit, job)
        await expect(pill).to_have_text("completed")
        await expect(button).to_be_hidden()
        await page.goto("about:blank")
    assert asked == []
    await reports.say(42, RUNNING | {"name": "A program of its own"})
    await opened(page, desk_hub, token, 42)
    await expect(pill).to_have_text("running")
    assert asked == []
    async with page.expect_response("**/submission") as answer:
        await reports.say(42, {"kind": "job", "status": "completed"})
    assert (await answer.value).status == HTTPStatus.NOT_FOUND
    await expect(pill).to_have_text("completed")
    await expect(button).to_be_hidden()
    # the browser itself notes the answer's status
    failures.clear()
    await page.goto(f"{desk_hub.url}/#/jobs/{job}")
    await expect(button).to_be_visible()
