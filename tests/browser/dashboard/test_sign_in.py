"""How a token comes to the page, and where it never appears."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, Request, WebSocket, expect

from tests.browser.dashboard.reports import Reports
from tests.milepost.conftest import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")


def asked(page: Page) -> list[str]:
    """The addresses of everything that the page's context asks for."""
    urls: list[str] = []

    def request(request: Request) -> None:
        urls.append(request.url)

    def socket(socket: WebSocket) -> None:
        urls.append(socket.url)

    page.context.on("request", request)
    page.on("websocket", socket)
    return urls


async def test_a_token_leaves_the_address_bar_and_is_in_no_address(
    page: Page, hub: Service, token: str, reports: Reports, failures: list[str]
) -> None:
    urls = asked(page)
    await reports.say(42, {"kind": "job", "status": "running", "name": "Import", "run": 2})
    await page.goto(f"{hub.url}/#token={token}&job=42")
    await expect(page.locator("h1")).to_have_text("Import")
    assert page.url == f"{hub.url}/#/jobs/42"
    await expect(page.locator(".runs li")).to_have_count(1)
    await page.reload()
    await expect(page.locator("h1")).to_have_text("Import")
    await page.get_by_role("link", name="Milepost, all jobs").click()
    await expect(page.locator(".row")).to_have_count(1)
    assert any("/ws" in url for url in urls)
    # what stands behind the # of the address typed is the browser's own affair: it is sent to nobody
    assert [url for url in urls if token in url.partition("#")[0]] == []
    assert all(url.startswith((hub.url, hub.url.replace("http", "ws"), "data:")) for url in urls)
    assert await page.evaluate("JSON.stringify(localStorage)") == "{}"
    assert failures == []


async def test_a_link_with_a_token_opened_in_the_tab_leaves_it_in_no_link_and_no_step_back(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.say(42, {"kind": "job", "status": "running", "name": "Import"})
    await page.goto(hub.url)
    for fragment in (f"#token={token}", f"#/?q=Imp&token={token}", f"#/jobs/42?token={token}"):
        await page.evaluate("fragment => { location.hash = fragment; }", fragment)
        await page.wait_for_function("token => !location.hash.includes(token)", arg=token)
        assert token not in await page.content()
    await expect(page.locator("h1")).to_have_text("Import")
    for _ in range(2):
        await page.go_back()
        assert token not in page.url


async def test_the_box_takes_a_token_and_signing_out_forgets_it(
    page: Page, hub: Service, token: str, tenant: str, failures: list[str]
) -> None:
    await page.goto(f"{hub.url}/#/jobs/42")
    field = page.get_by_label("Token", exact=True)
    await expect(field).to_be_focused()
    assert await field.get_attribute("type") == "password"
    await field.fill(token)
    await page.keyboard.press("Enter")
    await expect(page.locator(".tenant")).to_have_text(tenant)
    await expect(page.locator(".waiting")).to_contain_text("Nobody has heard of job 42")
    assert page.url == f"{hub.url}/#/jobs/42"
    await page.get_by_role("button", name="Sign out").click()
    await expect(field).to_be_visible()
    assert await page.evaluate("sessionStorage.length") == 0
    await page.reload()
    await expect(field).to_be_visible()
    assert failures == []


async def test_a_refused_token_shows_the_hubs_words_and_the_box(page: Page, hub: Service) -> None:
    await page.goto(f"{hub.url}/#token=no-token-at-all")
    await expect(page.get_by_label("Token", exact=True)).to_be_visible()
    refused = page.locator(".sign-in .refused")
    await expect(refused).to_contain_text("token")
    await expect(page.locator(".connection")).to_have_text("refused")
    assert await page.evaluate("sessionStorage.length") == 0


async def test_the_box_stays_wherever_the_address_goes_while_the_token_is_refused(
    page: Page, hub: Service, token: str, reports: Reports
) -> None:
    await reports.say(42, {"kind": "job", "status": "running", "name": "Import"})
    await page.goto(f"{hub.url}/#token=no-token-at-all")
    field = page.get_by_label("Token", exact=True)
    await expect(page.locator(".sign-in .refused")).to_be_visible()
    await page.evaluate("location.hash = '#/jobs/42'")
    await page.evaluate("() => new Promise(requestAnimationFrame)")
    await expect(field).to_be_visible()
    assert await page.title() == "Sign in \N{EN DASH} Milepost"
    await field.fill(token)
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Import")


async def test_what_was_seen_stays_under_the_box_when_the_token_has_expired(
    page: Page, hub: Service, tenant: str, token: str, reports: Reports
) -> None:
    await reports.say(42, {"kind": "job", "status": "running", "name": "Import"})
    await page.goto(hub.url)
    field = page.get_by_label("Token", exact=True)
    await expect(field).to_be_visible()
    # the page is loaded by now: a busy machine has the list well before the token expires
    await page.evaluate("token => { location.hash = `#token=${token}`; }", hub.token(tenant, ttl=5))
    await expect(page.locator(".rows .row")).to_be_visible()
    await expect(field).to_be_visible(timeout=20_000)
    await page.locator(".rows .row").click()
    await expect(page.locator(".job-page")).to_be_attached()
    await expect(field).to_be_visible()
    await field.fill(token)
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Import")
    await expect(field).to_be_hidden()


async def test_the_tabs_title_says_what_is_looked_at(page: Page, hub: Service, token: str, reports: Reports) -> None:
    await page.goto(hub.url)
    await expect(page).to_have_title("Sign in \N{EN DASH} Milepost")
    await reports.say(42, {"kind": "job", "status": "running", "name": "Import"})
    await page.goto(f"{hub.url}/#token={token}&job=42")
    await expect(page).to_have_title("running · Import \N{EN DASH} Milepost")
    await page.keyboard.press("Escape")
    await expect(page).to_have_title("Jobs \N{EN DASH} Milepost")


async def test_light_and_dark_are_chosen_and_stay_chosen(page: Page, hub: Service) -> None:
    await page.emulate_media(color_scheme="light")
    await page.goto(hub.url)
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert await page.evaluate(background) == "rgb(246, 247, 249)"
    await page.get_by_role("button", name="Switch to dark").click()
    assert await page.evaluate(background) == "rgb(14, 17, 22)"
    await page.reload()
    await expect(page.get_by_role("button", name="Switch to light")).to_be_visible()
    assert await page.evaluate(background) == "rgb(14, 17, 22)"
