"""A page that knows the original protocol alone sees a job through."""

from __future__ import annotations

import asyncio
import threading

import pytest
from milepost_reporter import Reporter
from playwright.async_api import Page, expect

from milepost.nats_server import NatsServer
from tests.browser.page_server import PageServer
from tests.browser.wire import Wire
from tests.milepost.conftest import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

NODES = {"Extract": 30_000, "Transform": 20_000, "Load": 10_000}


def pipeline(nats_url: str, tenant: str, job: int, *, prefix: str = "", seen: threading.Event | None = None) -> None:
    """A job of three nodes, reported as a program of a user's reports it; half of each done, it waits for `seen`."""
    with Reporter(nats_url=nats_url, tenant=tenant, job=job) as reporter:
        for number, (name, total) in enumerate(NODES.items(), 1):
            with reporter.node(number, f"{prefix}{name}", total=total, unit="rows") as node:
                node.advance(total // 2)
                if seen is not None:
                    assert seen.wait(30)
                    seen.clear()
                node.advance(total // 2)


async def test_a_job_is_shown_live_from_its_start_to_its_end(
    *, page: Page, wire: Wire, hub: Service, site: PageServer, shared_nats: NatsServer, tenant: str
) -> None:
    await page.goto(site.url("progress.html", hub=hub.url, token=hub.token(tenant), job="123"))
    await wire.subscribed()
    seen = threading.Event()
    job = asyncio.create_task(asyncio.to_thread(pipeline, shared_nats.url, tenant, 123, seen=seen))
    rows = page.locator("#nodes li")
    for index, total in enumerate(NODES.values()):
        await expect(rows).to_have_count(index + 1)
        await expect(rows.last).to_contain_text(f"{total // 2} rows")
        assert await rows.last.locator("progress").evaluate("bar => bar.position") == 0.5
        assert await page.locator("#status").inner_text() == "running"
        seen.set()
    await job
    await expect(page.locator("#status")).to_have_text("completed")
    for row, (name, total) in zip(await rows.all(), NODES.items(), strict=True):
        assert await row.locator("span").all_inner_texts() == [name, f"{total} rows", "completed"]
        assert await row.locator("progress").evaluate("bar => bar.position") == 1
    assert await page.locator("#connection").inner_text() == "open"


@pytest.mark.parametrize("job", ["7", '"*"'])
async def test_two_tenants_side_by_side_see_their_own_job_of_the_same_id(
    *,
    page: Page,
    other_page: Page,
    hub: Service,
    site: PageServer,
    shared_nats: NatsServer,
    tenant: str,
    job: str,
) -> None:
    """Both ask for the same, by id and by everything, while both jobs run."""
    tenants = {f"{tenant}-a": page, f"{tenant}-b": other_page}
    wires = {name: Wire(tab) for name, tab in tenants.items()}
    for name, tab in tenants.items():
        await tab.goto(site.url("progress.html", hub=hub.url, token=hub.token(name), job=job))
        await wires[name].subscribed()
    await asyncio.gather(
        *(asyncio.to_thread(pipeline, shared_nats.url, name, 7, prefix=f"{name} ") for name in tenants),
    )
    for name in tenants:
        kind = "job.summary" if "*" in job else "job.progress"
        await wires[name].until(kind, lambda message: "completed" in (message.get("status"), _status(message)))
    ours, theirs = (str(wire.messages) for wire in wires.values())
    assert f"{tenant}-b" not in ours
    assert f"{tenant}-a" not in theirs
    if "*" not in job:
        assert f"{tenant}-a Load" in await page.inner_text("#nodes")
        assert f"{tenant}-b Load" in await other_page.inner_text("#nodes")
        assert await page.locator("#nodes li").count() == len(NODES)


def _status(message: dict[str, object]) -> object:
    """The job's own status in an event, None for a node's."""
    payload = message.get("payload")
    return payload.get("status") if isinstance(payload, dict) and "nodeId" not in payload else None
