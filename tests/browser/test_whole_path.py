"""From a job program through NATS and a hub to the dashboard in a browser, whatever goes down on the way."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from milepost.nats_server import NatsServer
from milepost.pipeline import NAME
from tests.browser.chatty_job import ChattyJob
from tests.browser.dashboard_page import DashboardPage
from tests.browser.wire import Wire
from tests.milepost.conftest import Service, serving
from tests.milepost.console import environment
from tests.waiting import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

NODES = ["Scan sources", "Tokenize", "Load into SQLite", "Index", "Query report"]
QUICKLY_BACK = ("--bridge-reconnect-wait", "0.05", "--bridge-reconnect-wait-max", "0.2")


async def test_the_demos_graph_runs_to_completed(
    page: Page, hub: Service, shared_nats: NatsServer, tenant: str, tmp_path: Path
) -> None:
    """Opened before the job has begun, by a link as the demo prints it: idle, running, completed, with counts."""
    dashboard = DashboardPage(page)
    await dashboard.open(hub.url, hub.token(tenant), "1")
    await expect(page.locator("main")).to_contain_text("Nobody has heard of job 1 yet")
    job = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "milepost.pipeline", "--database", str(tmp_path / "names.sqlite")),
        env=environment({"NATS_URL": shared_nats.url, "MILEPOST_TENANT": tenant, "MILEPOST_JOB": "1"}),
    )
    try:
        await expect(dashboard.nodes).to_have_count(5)
        assert await dashboard.nodes.locator(".name").all_inner_texts() == NODES
        await expect(dashboard.pill).to_contain_text("running")
        await expect(page.locator(".graph li.node[data-state=running]").first).to_be_visible()
        await expect(page.locator(".graph li.node[data-state=completed]")).to_have_count(5, timeout=60_000)
        await dashboard.ended("completed")
        assert await job.wait() == 0
    finally:
        if job.returncode is None:
            job.kill()
            await job.wait()
    await expect(page.locator("h1")).to_have_text(NAME)
    await expect(page.locator(".artifacts-panel")).to_contain_text("names.sqlite")
    await expect(page.locator(".result-panel")).to_contain_text("most used names")
    assert "files under" in (await dashboard.lines())[0]
    # what a reader that comes now is told is what this one has seen
    late = await page.context.new_page()
    await DashboardPage(late).open(hub.url, hub.token(tenant), "1")
    await DashboardPage(late).ended("completed")
    counts = ".graph li.node .second"
    assert await late.locator(counts).all_inner_texts() == await page.locator(counts).all_inner_texts()


async def test_hub_and_nats_are_killed_mid_job_and_nothing_is_missing(
    page: Page, wire: Wire, nats_server: NatsServer, tenant: str
) -> None:
    """SIGKILL for each in turn and for both; the same ports again, and NATS with what it had stored."""
    dashboard = DashboardPage(page)
    with serving(nats_server.url, *QUICKLY_BACK) as first, ChattyJob(nats_server.url, tenant, "1") as job:
        again = ("--port", first.url.rpartition(":")[2], *QUICKLY_BACK)
        await dashboard.open(first.url, first.token(tenant), "1")
        await expect(page.locator(".log")).to_contain_text("line 20", timeout=20_000)
        nats_server.kill()
        await expect(dashboard.connection).to_contain_text("NATS is away")
        await expect(dashboard.pill).to_contain_text("running")
        nats_server.start()
        await dashboard.is_live()
        await _kill(first)
        await dashboard.says_no_more_live()
        with serving(nats_server.url, *again) as second:
            await dashboard.is_live()
            before = job.written
            await eventually_async(lambda: job.written > before + 20)
            nats_server.kill()
            await _kill(second)
            await dashboard.says_no_more_live()
        nats_server.start()
        with serving(nats_server.url, *again):
            await dashboard.is_live()
            job.finish()
            await dashboard.ended("completed")
            # the page's own log, and what came over the wire, over all its sockets
            await eventually_async(lambda: len(_lines(wire)) >= job.written)
            assert _lines(wire) == job.lines
            assert await dashboard.lines() == job.lines
            assert not wire.of("job.gap")
            await expect(page.locator(".nodes .amount")).to_contain_text(f"{job.written:,}")


async def _kill(service: Service) -> None:
    service.process.process.kill()
    await asyncio.to_thread(service.process.end)


def _lines(wire: Wire) -> list[str]:
    """What the page was told: of the first snapshot, and live."""
    snapshot = wire.of("job.snapshot")[0]["snapshot"]
    told = [line["message"] for line in snapshot["logTail"]]
    live = [message["payload"] for message in wire.of("job.progress")]
    return told + [payload["message"] for payload in live if payload.get("kind") == "log"]


async def test_two_tenants_side_by_side_see_nothing_of_each_other(
    *, page: Page, other_page: Page, wire: Wire, hub: Service, shared_nats: NatsServer, tenant: str
) -> None:
    """The same job id, the same hub, the same moment; in the list, on the job's page and on the wire."""
    theirs = f"{tenant}-theirs"
    other_wire = Wire(other_page)
    ours, other = DashboardPage(page), DashboardPage(other_page)
    await ours.open(hub.url, hub.token(tenant))
    await other.open(hub.url, hub.token(theirs))
    await expect(page.locator("main")).to_contain_text("No job has reported yet")
    with ChattyJob(shared_nats.url, theirs, "1") as secret:
        await expect(other_page.locator(".rows")).to_contain_text("Chatter")
        await other.open(hub.url, hub.token(theirs), "1")
        await expect(other_page.locator(".log")).to_contain_text("line 5")
        # what another tenant's token is shown of a job with that id is what is shown of one that nobody knows
        await ours.open(hub.url, hub.token(tenant), "1")
        await expect(page.locator("main")).to_contain_text("Nobody has heard of job 1 yet")
        secret.finish()
    await other.ended("completed")
    await ours.open(hub.url, hub.token(tenant))
    await expect(page.locator("main")).to_contain_text("No job has reported yet")
    assert "Chatter" not in await page.content()
    assert not wire.of("job.summary")
    assert not wire.of("job.progress")
    assert [message["snapshot"]["status"] for message in wire.of("job.snapshot")] == ["unknown"]
    assert other_wire.of("job.progress")


async def test_a_refused_token_is_told_and_not_tried_again(
    page: Page, wire: Wire, hub: Service, shared_nats: NatsServer, tenant: str
) -> None:
    """The hub's own reason, and the box for another token; which then works, without a reload."""
    await page.clock.install()
    await DashboardPage(page).open(hub.url, "eyJhbGciOiJub25lIn0.e30.", "1")
    await expect(page.locator("#token-why")).to_contain_text("token")
    await page.clock.run_for(120_000)
    assert wire.sockets == 1
    with ChattyJob(shared_nats.url, tenant, "1"):
        await page.get_by_role("textbox", name="Token").fill(hub.token(tenant))
        await page.get_by_role("button", name="Sign in").click()
        await eventually_async(lambda: wire.of("job.snapshot"))
    assert "#token" not in page.url
