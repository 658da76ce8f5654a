"""Real React and Angular apps, and a page of callbacks, in a real browser against a real hub."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import pytest
from milepost_reporter import Reporter
from playwright.async_api import Page, WebSocket, expect

from milepost.nats_server import NatsServer
from tests.client.node import CLIENT, MODULES, tool
from tests.client.package import run
from tests.client.site import served
from tests.milepost.conftest import Service, serving
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

APPS: Final = Path(__file__).parent / "apps"
SOURCES: Final = {"react": "react.jsx", "angular": "angular.ts", "callbacks": "callbacks.js"}
TIMES: Final = 100

# What stands on window and document, by name and function: an addition of the same one again is none.
COUNT_LISTENERS: Final = """
globalThis.listeners = new Set();
for (const target of [window, document]) {
  const { addEventListener: add, removeEventListener: remove } = target;
  const numbers = new Map();
  const key = (type, listener, options) => {
    if (!numbers.has(listener)) numbers.set(listener, numbers.size);
    const capture = typeof options === "object" ? options?.capture : options;
    return [target.constructor.name, type, numbers.get(listener), Boolean(capture)].join();
  };
  target.addEventListener = function (type, listener, options) {
    listeners.add(key(type, listener, options));
    options?.signal?.addEventListener("abort", () => listeners.delete(key(type, listener, options)));
    return add.call(this, type, listener, options);
  };
  target.removeEventListener = function (type, listener, options) {
    listeners.delete(key(type, listener, options));
    return remove.call(this, type, listener, options);
  };
}
"""
MANY_TIMES: Final = """
async (times) => {
  const until = async (look) => { while (!look()) await new Promise(requestAnimationFrame); };
  for (let time = 0; time < times; time++) {
    const unmount = await mount();
    await until(() => document.querySelector("#status")?.textContent === "running");
    await unmount();
  }
}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site that has each app, bundled as its makers would: `milepost` is a package in node_modules."""
    esbuild = tool("esbuild")
    home = tmp_path_factory.mktemp("apps")
    (home / "node_modules").mkdir()
    for found in MODULES.iterdir():
        if not found.name.startswith("."):
            (home / "node_modules" / found.name).symlink_to(found)
    (home / "node_modules" / "milepost").symlink_to(CLIENT)
    for file in APPS.iterdir():
        shutil.copy(file, home)
    for name, source in SOURCES.items():
        # the production build of React would leave out what StrictMode does
        mode = "--define:process.env.NODE_ENV='development'"
        out = f"--outfile=site/{name}/app.js"
        run(esbuild, source, "--bundle", "--format=esm", mode, out, "--log-level=error", cwd=home)
        shutil.copy(APPS / "index.html", home / "site" / name)
    with served(home / "site") as origin:
        yield origin


@pytest.fixture(scope="module")
def hub(shared_nats: NatsServer, site: str) -> Iterator[Service]:
    """A hub that nobody else connects to, so that its connections can be counted."""
    with serving(shared_nats.url, "--allow-origin", site) as service:
        yield service


def address(site: str, app: str, hub: Service, token: str) -> str:
    """Where an app's page is that has been told these things."""
    return f"{site}/{app}/#{urlencode({'hub': hub.url, 'token': token, 'job': '7'})}"


async def opened(page: Page, url: str) -> None:
    """The app's page, its listeners counted."""
    await page.add_init_script(COUNT_LISTENERS)
    await page.goto(url)
    await page.wait_for_function("'mount' in globalThis")


def job(nats_url: str, tenant: str, seen: threading.Event) -> None:
    """A job of one node; half of it done, it waits to be seen."""
    with Reporter(nats_url=nats_url, tenant=tenant, job=7, name="Import") as reporter:
        with reporter.node(1, "Load", total=1_000, unit="rows") as node:
            node.advance(500)
            assert seen.wait(30)
            node.advance(500)
        reporter.artifact("names", "file:names")
        reporter.result({"rows": 1_000})


def connections(hub: Service) -> int:
    """How many clients the hub counts."""
    metrics = httpx.get(f"{hub.url}/metrics").text
    (line,) = [line for line in metrics.splitlines() if line.startswith("milepost_hub_connections ")]
    return int(float(line.split()[1]))


@asynccontextmanager
async def half_done(nats: NatsServer, tenant: str) -> AsyncIterator[None]:
    """A job that goes on to its end when the block is left, and has ended behind it."""
    seen = threading.Event()
    running = asyncio.create_task(asyncio.to_thread(job, nats.url, tenant, seen))
    try:
        yield
    finally:
        seen.set()
        await running


async def nobody_is_connected(hub: Service) -> None:
    """Wait until the hub says so."""
    await asyncio.to_thread(eventually, lambda: connections(hub) == 0)


@pytest.mark.parametrize("app", ["react", "angular"])
async def test_an_app_shows_a_job_to_its_end(
    *, app: str, page: Page, hub: Service, shared_nats: NatsServer, tenant: str, site: str
) -> None:
    await opened(page, address(site, app, hub, hub.token(tenant)))
    await page.evaluate("async () => { window.unmount = await mount(); }")
    async with half_done(shared_nats, tenant):
        await expect(page.locator("#status")).to_have_text("running")
        await expect(page.locator(".node")).to_have_text("Load 500")
        await expect(page.locator("h1")).to_have_text("Import")
        await expect(page.locator("#jobs")).to_have_text("7")
        await expect(page.locator("#connection")).to_have_text("connected")
    await expect(page.locator("#status")).to_have_text("completed")
    await expect(page.locator(".node")).to_have_text("Load 1000")
    await expect(page.locator("#ended")).to_have_text("true")
    await page.evaluate("window.unmount()")
    await nobody_is_connected(hub)


@pytest.mark.parametrize("app", ["react", "angular"])
async def test_mounted_and_unmounted_a_hundred_times_it_leaves_nothing(
    *, app: str, page: Page, hub: Service, shared_nats: NatsServer, tenant: str, site: str
) -> None:
    """No socket, as the browser and the hub count them, and no listener on window or document."""
    sockets: list[WebSocket] = []
    # Playwright marks the function, which a method of a list does not let it
    page.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108
    await opened(page, address(site, app, hub, hub.token(tenant)))
    async with half_done(shared_nats, tenant):
        await page.evaluate(MANY_TIMES, 1)
        # React keeps listeners of its own on the document, once
        before = await page.evaluate("[...listeners]")
        await page.evaluate(MANY_TIMES, TIMES)
    await nobody_is_connected(hub)
    assert len(sockets) > TIMES
    assert [socket for socket in sockets if not socket.is_closed()] == []
    assert await page.evaluate("[...listeners]") == before
    assert await page.evaluate("document.body.childElementCount") == 0


async def test_a_thousand_events_render_at_most_once_a_frame(
    *, page: Page, hub: Service, shared_nats: NatsServer, tenant: str, site: str
) -> None:
    """React, in StrictMode, where each rendering counts twice."""
    await opened(page, address(site, "react", hub, hub.token(tenant)))
    await page.evaluate(
        """async () => {
          window.unmount = await mount();
          window.frames = 0;
          const next = () => { window.frames++; requestAnimationFrame(next); };
          next();
        }"""
    )
    await expect(page.locator("#connection")).to_have_text("connected")

    def many() -> None:
        with Reporter(nats_url=shared_nats.url, tenant=tenant, job=7) as reporter:
            for number in range(1_000):
                reporter.log(f"line {number}")

    await asyncio.to_thread(many)
    await expect(page.locator("#status")).to_have_text("completed")
    renders, frames = await page.evaluate("[window.renders, window.frames]")
    assert renders <= 2 * (frames + 3)
    await page.evaluate("window.unmount()")


async def told(page: Page, last: str) -> list[list[Any]]:
    """Everything that the page was told, when it was told the last."""
    await page.wait_for_function("last => window.told.some(([name]) => name === last)", arg=last)
    everything: list[list[Any]] = json.loads(await page.evaluate("JSON.stringify(window.told)"))
    return everything


async def test_callbacks_tell_a_job_from_open_to_completed(
    *, page: Page, hub: Service, shared_nats: NatsServer, tenant: str, site: str
) -> None:
    await opened(page, address(site, "callbacks", hub, hub.token(tenant)))
    await page.evaluate("void (window.unmount = mount())")
    async with half_done(shared_nats, tenant):
        await page.wait_for_function(
            "window.told.some(([name, words]) => name === 'progress' && words.status === 'running')"
        )
        assert await page.evaluate("[following.isOpen(), following.getReadyState()]") == [True, 1]
    names = await told(page, "completed")
    assert [name for name, *_ in names if name not in ("progress",)] == ["open", "artifact", "completed"]
    assert names[-1] == ["completed", {"rows": 1_000}]
    progress = [words for name, *words in names if name == "progress"]
    assert progress[-1][0]["status"] == "completed"
    assert progress[-1][0]["progress"] == 100
    assert await page.evaluate("[following.isOpen(), following.getReadyState()]") == [False, 3]
    await nobody_is_connected(hub)


async def test_callbacks_tell_of_a_failure_and_of_what_was_before(
    *, page: Page, hub: Service, shared_nats: NatsServer, tenant: str, site: str
) -> None:
    """Joined when all is over: the artifacts and the end are told all the same."""

    def fails() -> None:
        with Reporter(nats_url=shared_nats.url, tenant=tenant, job=7) as reporter:
            reporter.artifact("log", "file:log")
            reporter.fail("the disk is full")

    await asyncio.to_thread(fails)
    await opened(page, address(site, "callbacks", hub, hub.token(tenant)))
    await page.evaluate("void (window.unmount = mount())")
    names = await told(page, "failed")
    assert ["failed", "the disk is full", None] in names
    assert [name for name, *_ in names].count("artifact") == 1


async def test_callbacks_tell_of_a_refusal(*, page: Page, hub: Service, site: str) -> None:
    await opened(page, address(site, "callbacks", hub, "no token"))
    await page.evaluate("void (window.unmount = mount())")
    assert (await told(page, "error"))[-1] == ["error", "refused"]
    assert await page.evaluate("following.getReadyState()") == 3
