"""A block that goes wrong in a browser is noticed."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from tests.docs.block import Block
from tests.docs.page import run_html, run_js
from tests.docs.surroundings import Surroundings

pytestmark = pytest.mark.asyncio(loop_scope="session")


def block(text: str) -> Block:
    return Block("page.md", 7, (), None, text)


@pytest.mark.parametrize(
    "text",
    [
        "throw new Error('broken')",
        "await Promise.reject(new Error('broken'))",
        "setTimeout(() => { throw new Error('broken') })",
        "Promise.reject(new Error('broken'))",
        "console.error('broken')",
    ],
)
async def test_an_error_in_a_script_fails_it(browser: Browser, around: Surroundings, text: str) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:7(?s:.*)broken"):
        await run_js(block(text), browser, around)


async def test_an_error_in_a_document_fails_it(browser: Browser, around: Surroundings) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:7(?s:.*)broken"):
        await run_html(block("<p>Text</p><script>throw new Error('broken')</script>"), browser, around)


async def test_a_socket_that_is_refused_fails_it(browser: Browser, around: Surroundings) -> None:
    with pytest.raises(AssertionError, match="WebSocket"):
        await run_js(block("new WebSocket(`ws://${location.host}/elsewhere`)"), browser, around)


async def test_a_document_has_the_hubs_origin_and_a_token_and_hears_of_its_job(
    browser: Browser, around: Surroundings
) -> None:
    text = """\
        <p id="rows"></p>
        <script>
          const socket = new WebSocket(`ws://${location.host}/ws?token=${token}`);
          socket.onopen = () => socket.send('{"action":"subscribe","jobId":"page"}');
          socket.onmessage = ({ data }) => { document.getElementById("rows").textContent = data; };
        </script>
        """
    await run_html(block(text), browser, around)


async def test_a_stream_hears_of_its_job(browser: Browser, around: Surroundings) -> None:
    text = """\
        const stream = new EventSource(`/api/jobs/page/stream?token=${token}`);
        await new Promise(resolve => stream.addEventListener("progress", resolve));
        """
    await run_js(block(text), browser, around)


async def test_a_stream_that_is_refused_fails_it(browser: Browser, around: Surroundings) -> None:
    with pytest.raises(AssertionError, match="401"):
        await run_js(block("new EventSource(`/api/jobs/page/stream?token=${token}x`)"), browser, around)
