"""What the dashboard costs the browser that shows it: time of a frame, the main thread, memory, in real Chromium.

    python -m benchmarks.page [--quick]

Each page is opened in a tab of its own against a fresh hub and nats-server, watched for some seconds, and closed. The
peers are in the same run: a page at rest, and for the same events the least a page can do: a WebSocket, JSON.parse, and
one line of text changed an event.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from playwright.async_api import Browser, CDPSession, Page
from rich.console import Console
from rich.table import Table

from benchmarks.child import Child
from benchmarks.contestant import Contestant, Running, running
from benchmarks.peers.token import make_token
from tests import chromium

_RATE: Final = 1_000
_JOBS: Final = 10_000
_CHANGES: Final = 500
_READY: Final = 120.0
_SETTLE: Final = 5.0

_FRAMES: Final = """seconds => new Promise(done => {
  const frames = [];
  let last = performance.now();
  const end = last + seconds * 1000;
  const step = now => {
    frames.push(now - last);
    last = now;
    if (now < end) requestAnimationFrame(step);
    else done(frames.slice(1).sort((a, b) => a - b));
  };
  requestAnimationFrame(step);
})"""

_PLAIN: Final = """token => new Promise(done => {
  const line = document.body.appendChild(document.createElement("p"));
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws`);
  socket.onopen = () => {
    socket.send(JSON.stringify({action: "auth", token}));
    socket.send(JSON.stringify({action: "subscribe", jobId: 1}));
  };
  let count = 0;
  socket.onmessage = ({data}) => {
    const {type, payload} = JSON.parse(data);
    if (type === "job.progress") line.textContent = `${++count} ${payload.nodeId} ${payload.rowCount}`;
    if (type === "job.snapshot") done();
  };
})"""

_SCROLL: Final = """() => {
  let step = 40;
  const scroll = () => {
    const before = scrollY;
    scrollBy(0, step);
    if (scrollY === before) step = -step;
    requestAnimationFrame(scroll);
  };
  requestAnimationFrame(scroll);
}"""


class Figures(NamedTuple):
    """One page, watched for some seconds.

    Attributes:
        frame_ms: p50, p99 and the longest time from one frame to the next.
        late: frames that came more than 50 ms after the one before.
        busy: the main thread's share of the time.
        heap_mb: JavaScript heap after a collection, at the end; and how much of it came while it was watched.
        nodes: of the document.
    """

    frame_ms: tuple[float, float, float]
    late: int
    busy: float
    heap_mb: float
    grown_mb: float
    nodes: int


async def main() -> int:
    """Measure all of it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 seconds a page instead of 20")
    seconds = 3.0 if parser.parse_args().quick else 20.0
    program = chromium.find()
    if program is None:
        print(chromium.MISSING, file=sys.stderr)
        return 1
    rows: dict[str, Figures] = {}
    async with chromium.launched(program) as browser:
        with running(Contestant.HUB) as hub:
            rows["an empty page"] = await _empty(browser, hub, seconds)
            with _load(hub, "job", str(_RATE)):
                rows[f"a plain page, {_RATE:,} events/s"] = await _plain(browser, hub, seconds)
                rows[f"one job, {_RATE:,} events/s"] = await _dashboard(browser, hub, "&job=1", seconds)
            rows["one job, at rest"] = await _dashboard(browser, hub, "&job=1", seconds)
        with running(Contestant.HUB) as hub, _load(hub, "jobs", str(_JOBS), str(_CHANGES)):
            rows[f"{_JOBS:,} jobs, {_CHANGES} changes/s"] = await _dashboard(browser, hub, "", seconds)
            rows["the same, scrolling"] = await _dashboard(browser, hub, "", seconds, scrolling=True)
    _show(rows)
    return 0


def _load(hub: Running, *what: str) -> Child:
    url = f"nats://127.0.0.1:{hub.nats_port}"
    child = Child("load", [sys.executable, "-m", "benchmarks.page_load", url, *what])
    child.answer("ready", _READY)
    return child


async def _empty(browser: Browser, hub: Running, seconds: float) -> Figures:
    async with _tab(browser, f"{_origin(hub)}/healthz") as (page, devtools):
        return await _watch(page, devtools, seconds)


async def _plain(browser: Browser, hub: Running, seconds: float) -> Figures:
    async with _tab(browser, f"{_origin(hub)}/healthz") as (page, devtools):
        await page.evaluate(_PLAIN, make_token())
        return await _watch(page, devtools, seconds)


async def _dashboard(browser: Browser, hub: Running, where: str, seconds: float, *, scrolling: bool = False) -> Figures:
    async with _tab(browser, f"{_origin(hub)}/#token={make_token()}{where}") as (page, devtools):
        shown = f"text={_JOBS:,}" if not where else "text=Step 1"
        await page.locator(shown).first.wait_for(timeout=60_000)
        if scrolling:
            await page.evaluate(_SCROLL)
        return await _watch(page, devtools, seconds)


@asynccontextmanager
async def _tab(browser: Browser, url: str) -> AsyncIterator[tuple[Page, CDPSession]]:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.goto(url)
    devtools = await context.new_cdp_session(page)
    await devtools.send("Performance.enable")
    yield page, devtools
    await context.close()


async def _watch(page: Page, devtools: CDPSession, seconds: float) -> Figures:
    # what opening it cost is not what keeping it open costs
    await asyncio.sleep(_SETTLE)
    before = await _metrics(devtools)
    frames: list[float] = await page.evaluate(_FRAMES, seconds)
    after = await _metrics(devtools, collect=False)
    final = await _metrics(devtools)
    return Figures(
        frame_ms=(frames[len(frames) // 2], frames[int(len(frames) * 0.99)], frames[-1]),
        late=sum(frame > 50 for frame in frames),
        busy=(after["TaskDuration"] - before["TaskDuration"]) / (after["Timestamp"] - before["Timestamp"]),
        heap_mb=final["JSHeapUsedSize"] / 1e6,
        grown_mb=(final["JSHeapUsedSize"] - before["JSHeapUsedSize"]) / 1e6,
        nodes=int(final["Nodes"]),
    )


async def _metrics(devtools: CDPSession, *, collect: bool = True) -> dict[str, float]:
    if collect:
        await devtools.send("HeapProfiler.collectGarbage")
    told: dict[str, Any] = await devtools.send("Performance.getMetrics")
    return {metric["name"]: metric["value"] for metric in told["metrics"]}


def _origin(hub: Running) -> str:
    return f"http://127.0.0.1:{hub.port}"


def _show(rows: dict[str, Figures]) -> None:
    columns = ("frame p50 / p99 / longest, ms", "over 50 ms", "main thread", "heap MB", "grown MB", "document nodes")
    table = Table("page", *columns, title="What a page costs its browser", title_justify="left")
    for name, got in rows.items():
        frames = " / ".join(f"{value:.1f}" for value in got.frame_ms)
        figures = (f"{got.busy:.1%}", f"{got.heap_mb:.1f}", f"{got.grown_mb:+.1f}", f"{got.nodes:,}")
        table.add_row(name, frames, str(got.late), *figures)
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
