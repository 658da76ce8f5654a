"""Submitting from a page of the hub's own, as docs/client.md has it."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.docs.block import Block, all_blocks
from tests.milepost.conftest import Service
from tests.waiting import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="session")


def the_block() -> Block:
    """The one that submits."""
    (block,) = (block for block in all_blocks() if block.page == "docs/client.md" and "/client/submit.js" in block.text)
    return block


async def run(page: Page, hub: Service, token: str, text: str) -> list[str]:
    """What the page's console tells while the block runs, and after."""
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(f"error: {error}"))
    await page.add_init_script(f"globalThis.token = {token!r}")
    await page.goto(f"{hub.url}/healthz")
    await page.evaluate(f"async () => {{\n{text}\n}}")
    return told


async def test_the_pages_program_submits_a_job_and_sees_it_end(page: Page, desk_hub: Service, tenant: str) -> None:
    token = desk_hub.token(tenant, scopes=["watch", "submit"])
    told = await run(page, desk_hub, token, the_block().text)
    await eventually_async(lambda: any("has completed" in line for line in told))
    assert not any(line.startswith(("error", "not submitted")) for line in told), told


async def test_the_pages_program_tells_why_a_payload_does_not_fit(page: Page, desk_hub: Service, tenant: str) -> None:
    token = desk_hub.token(tenant, scopes=["watch", "submit"])
    text = the_block().text
    assert "rows: 1_000" in text
    told = await run(page, desk_hub, token, text.replace("rows: 1_000", 'rows: "many"'))
    assert told[-2:] == ["not submitted: the payload does not fit", "payload.rows it is to be a number from 1"]
