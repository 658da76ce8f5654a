"""Tenants and tabs of a test's own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page


@pytest.fixture
def tenant() -> str:
    """One that no other test uses."""
    return f"client-{uuid.uuid4().hex[:12]}"


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab of its own, without anything of another test's."""
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()
