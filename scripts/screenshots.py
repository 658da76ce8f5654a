"""Take the pictures that the README shows, of real jobs in real Chromium: docs/images/*.png.

.venv/bin/python scripts/screenshots.py [--folder docs/images]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

from milepost_hub.token import issue
from milepost_reporter import Reporter
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from milepost.nats_server import NatsServer

ROOT: Final = Path(__file__).resolve().parents[1]
TENANT: Final = "acme"
DESK: Final[ViewportSize] = {"width": 1280, "height": 810}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
PIPELINE: Final = 42


def main() -> None:
    """All pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "images", help="where to (%(default)s)")
    parser.add_argument("--chromium", default="chromium", help="the browser's program (%(default)s)")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_urlsafe(48)
    with NatsServer() as nats, serving(nats.url, secret) as url:
        asyncio.run(take_all(given.folder, given.chromium, nats.url, f"{url}/#token={token(secret)}"))


def token(secret: str) -> str:
    """One that may watch and cancel."""
    return issue(secret, TENANT, scopes=("watch", "cancel"))


@contextmanager
def serving(nats_url: str, secret: str) -> Iterator[str]:
    """A hub of its own; gives its address."""
    command = [
        sys.executable,
        "-c",
        "from milepost.cli import main; main()",
        "serve",
        "--port",
        "0",
        "--nats",
        nats_url,
    ]
    env = {**os.environ, "MILEPOST_JWT_SECRET": secret, "NO_COLOR": "1"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        try:
            yield next(found[1] for line in process.stdout if (found := re.search(r"serves (http://\S+)", line)))
        finally:
            process.terminate()


async def take_all(folder: Path, program: str, nats_url: str, address: str) -> None:
    """Real jobs first, then their pages."""
    with tempfile.TemporaryDirectory() as work:
        earlier_jobs(nats_url)
        async with chromium(program) as browser, opened(browser, address, DESK) as page:
            with pipeline(nats_url, Path(work)) as process:
                await page.get_by_text("Names in the standard library").click()
                await page.get_by_text("Tokenize").first.wait_for()
                await page.wait_for_function("() => /4\\d %|5\\d %/.test(document.querySelector('main').innerText)")
                await page.screenshot(path=folder / "job.png")
                async with opened(browser, f"{address}&job={PIPELINE}", DESK, dark=True) as dark:
                    await dark.get_by_text("Tokenize").first.wait_for()
                    await dark.screenshot(path=folder / "dark.png")
                async with opened(browser, f"{address}&job={PIPELINE}", PHONE) as phone:
                    await phone.get_by_text("Tokenize").first.wait_for()
                    await phone.screenshot(path=folder / "phone.png")
                async with opened(browser, address, DESK) as jobs:
                    await jobs.get_by_text("Names in the standard library").wait_for()
                    await jobs.screenshot(path=folder / "list.png")
                process.wait()
            await page.get_by_text("completed").first.wait_for()
            await page.screenshot(path=folder / "completed.png")
            async with opened(browser, f"{address}&job=41", DESK) as failed:
                await failed.get_by_text("failed").first.wait_for()
                await failed.screenshot(path=folder / "failed.png")


@asynccontextmanager
async def chromium(program: str) -> AsyncIterator[Browser]:
    """The browser."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which(program), args=sandbox)
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(browser: Browser, address: str, size: ViewportSize, *, dark: bool = False) -> AsyncIterator[Page]:
    """The dashboard in a tab of its own."""
    context = await browser.new_context(
        viewport=size, color_scheme="dark" if dark else "light", device_scale_factor=1.5
    )
    page = await context.new_page()
    await page.goto(address)
    yield page
    await context.close()


@contextmanager
def pipeline(nats_url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The demo's job."""
    env = {**os.environ, "NATS_URL": nats_url, "MILEPOST_TENANT": TENANT, "MILEPOST_JOB": str(PIPELINE)}
    command = [sys.executable, "-m", "milepost.pipeline", "--database", str(folder / "names.sqlite")]
    with subprocess.Popen(command, env={**env, "MILEPOST_RUN": "1"}) as process:
        yield process


def earlier_jobs(nats_url: str) -> None:
    """What has been before: some that went well, and one that did not."""
    for job, name in (
        (37, "Nightly export"),
        (38, "Nightly export"),
        (39, "Import customers"),
        (40, "Train classifier"),
    ):
        with Reporter(nats_url=nats_url, tenant=TENANT, job=job, name=name) as reporter:
            for _ in reporter.track(range(1_000), "Read rows"):
                pass
    reporter = Reporter(nats_url=nats_url, tenant=TENANT, job=41, name="Import customers")
    with suppress(sqlite3.IntegrityError), reporter:
        import_customers(reporter)


def import_customers(reporter: Reporter) -> None:
    """A job that meets a row it cannot store."""
    nodes = [{"nodeId": node, "nodeName": name} for node, name in enumerate(("Read", "Check", "Store", "Index"), 1)]
    reporter.plan(nodes, [(1, 2), (2, 3), (3, 4)])
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        with reporter.node(1, "Read", total=5_000, unit="rows") as read:
            rows = [(number % 4_321, f"customer {number}") for number in range(5_000)]
            read.advance(len(rows))
        with reporter.node(2, "Check", total=len(rows), unit="rows") as check:
            check.advance(len(rows))
            reporter.log("679 names are used more than once", level="warning")
        with reporter.node(3, "Store", total=len(rows), unit="rows") as store:
            for row in rows:
                database.execute("INSERT INTO customer VALUES (?, ?)", row)
                store.advance()


if __name__ == "__main__":
    main()
