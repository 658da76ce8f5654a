"""One hub for all tests of a module that leave it as they found it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.hub.live_hub import LiveHub, live_hub


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def module_hub() -> AsyncIterator[LiveHub]:
    async with live_hub(allow_origins=["https://app.example"], max_messages_per_second=100_000) as hub:
        yield hub
