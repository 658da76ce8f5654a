"""A real browser for the tests: the machine's own Chromium, driven through Playwright.

Playwright keeps its event loop running in between its synchronous calls, where no other test could start one;
so the asynchronous interface is used, on the session's loop: `pytest.mark.asyncio(loop_scope="session")`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from playwright.async_api import Browser, async_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
MISSING: Final = "no Chromium on PATH: install the Debian package `chromium` (apt-get install chromium)"
# it is to talk to the test's servers and to nobody else
_ARGUMENTS: Final = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # a page that a test answers for itself has no address, and would not be let talk to this machine's
    "--disable-features=LocalNetworkAccessChecks",
)


def find() -> str | None:
    """The browser's program, None when there is none."""
    return next((found for name in NAMES if (found := shutil.which(name)) is not None), None)


@asynccontextmanager
async def launched(program: str) -> AsyncIterator[Browser]:
    """The browser, started headless and ended with the block."""
    # Chromium's sandbox refuses to work for root, who is who containers run as
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=[*_ARGUMENTS, *sandbox])
        try:
            yield browser
        finally:
            await browser.close()
