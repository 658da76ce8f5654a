"""A page of somebody's own app, with Milepost in it: the app's cookie says who asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.async_api import Page, expect

from milepost.nats_server import NatsServer
from tests.milepost.app_process import App, app_running
from tests.milepost.jobs_console import working

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    """The example, and a worker of its jobs."""
    with NatsServer() as nats, working(nats.url, modules=("examples.jobs",)), app_running(nats.url) as running:
        running.submit("echo", 1)  # until that works, nobody would take the page's
        yield running


async def test_a_signed_in_page_starts_a_job_and_follows_it_to_its_end(page: Page, app: App) -> None:
    complaints: list[str] = []
    tried: list[str] = []
    page.on("console", lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("websocket", lambda socket: tried.append(socket.url))
    page.on("request", lambda request: tried.append(request.url) if request.url.endswith("/stream") else None)
    # a browser asks for a picture of the page, which this app has none of
    await page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    await page.goto(app.url)
    await page.get_by_label("API key").fill("key-of-ann")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("button", name="Build").click()
    job = page.locator("milepost-job .shown")
    await expect(job).to_contain_text("completed", timeout=30_000)
    await expect(job).to_contain_text("3,000,000 of 3,000,000")
    assert len(tried) == 1
    assert tried[0].startswith(f"{app.url}/progress/api/jobs/")
    assert not complaints
