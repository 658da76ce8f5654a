"""The pages over HTTP: what is served, how, and that nothing else of the disk is."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from milepost_hub.hub import Hub
from milepost_hub.pages import Pages

from tests.hub.live_hub import live_hub

pytestmark = pytest.mark.asyncio(loop_scope="module")

INDEX = b"<!doctype html><title>Milepost</title>" + b"<p>jobs</p>" * 200
MODULE = b"export const one = 1;\n" * 100
STYLE = b"body { margin: 0 }\n" * 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages, a file beside them, and one within them that has no business on a page."""
    root = tmp_path_factory.mktemp("site")
    (root / "secret.js").write_bytes(b"secret")
    web = root / "web"
    for name, content in {
        "index.html": INDEX,
        "client/milepost.js": MODULE,
        "client/view/graph.js": MODULE,
        "dashboard/dashboard.css": STYLE,
        "dashboard/logo.png": b"\x89PNG",
        "client/notes.md": b"not for the world",
        "client/.hidden.js": b"nor this",
        "other/page.html": b"nor this",
    }.items():
        path = web / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return web


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def hub(folder: Path) -> AsyncIterator[Hub]:
    async with live_hub(pages=folder, allow_origins=["https://app.example"]) as hub:
        yield hub


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def http(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=hub.url, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "media_type", "content"),
    [
        ("/", "text/html; charset=utf-8", INDEX),
        ("/client/milepost.js", "text/javascript; charset=utf-8", MODULE),
        ("/client/view/graph.js", "text/javascript; charset=utf-8", MODULE),
        ("/dashboard/dashboard.css", "text/css; charset=utf-8", STYLE),
        ("/dashboard/logo.png", "image/png", b"\x89PNG"),
    ],
)
async def test_each_file_has_its_media_type_and_its_bytes(
    http: httpx.AsyncClient, path: str, media_type: str, content: bytes
) -> None:
    """By GET, with the length by HEAD, and without a token."""
    response = await http.get(path)
    assert (response.status_code, response.headers["content-type"]) == (200, media_type)
    assert response.content == content
    head = await http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == response.headers["content-length"]


@pytest.mark.parametrize("path", ["/", "/client/milepost.js", "/dashboard/dashboard.css"])
async def test_every_file_says_what_it_may_do(http: httpx.AsyncClient, path: str) -> None:
    headers = (await http.get(path)).headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("encoding", ["gzip, br", "identity"])
async def test_who_has_a_file_is_told_so(http: httpx.AsyncClient, encoding: str) -> None:
    """The tag belongs to the file as it was encoded; another one brings the file again."""
    asks = {"Accept-Encoding": encoding}
    first = await http.get("/client/milepost.js", headers=asks)
    tag = first.headers["etag"]
    for known in (tag, f'"another", W/{tag}', "*"):
        again = await http.get("/client/milepost.js", headers={**asks, "If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert "content-security-policy" in again.headers
    changed = await http.get("/client/milepost.js", headers={**asks, "If-None-Match": '"another"'})
    assert (changed.status_code, changed.content) == (200, MODULE)


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("br;q=1.0, GZIP;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.0", False), ("br", False)],
)
async def test_text_is_compressed_for_who_takes_it(http: httpx.AsyncClient, accepted: str, packed: bool) -> None:
    async with http.stream("GET", "/client/milepost.js", headers={"Accept-Encoding": accepted}) as response:
        raw = b"".join([piece async for piece in response.aiter_raw()])
    assert response.headers.get("content-encoding") == ("gzip" if packed else None)
    assert (gzip.decompress(raw) if packed else raw) == MODULE
    assert "Accept-Encoding" in response.headers["vary"]
    assert int(response.headers["content-length"]) == len(raw)


async def test_pictures_are_not_compressed_again_and_the_api_not_at_all(http: httpx.AsyncClient) -> None:
    for path in ("/dashboard/logo.png", "/openapi.json", "/metrics"):
        response = await http.get(path, headers={"Accept-Encoding": "gzip"})
        assert response.status_code == 200
        assert "content-encoding" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        "/index.html",
        "/client",
        "/client/",
        "/client/view",
        "/client/none.js",
        "/client/notes.md",
        "/client/.hidden.js",
        "/client/../../secret.js",
        "/client/..%2f..%2fsecret.js",
        "/client/%2e%2e/%2e%2e/secret.js",
        "/client/..%5c..%5csecret.js",
        "/client//etc/passwd",
        "/client/milepost.js/",
        "/client/milepost.js%00.js",
        f"/client/{'x' * 3000}.js",
        "/other/page.html",
        "/secret.js",
    ],
)
async def test_nothing_else_of_the_disk_is_served(hub: Hub, path: str) -> None:
    """Asked for by these very bytes: an HTTP library would tidy the path up first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 307 "))
    assert b"secret" not in answer.partition(b"\r\n\r\n")[2]


@given(st.text(st.sampled_from("./\\%ab:\0") | st.characters()))
async def test_no_path_leads_out_of_the_folder(folder: Path, name: str) -> None:
    """Whatever is found is one of the files that are there to be served."""
    found = Pages(folder)._find(name)
    assert found is None or found.plain in {INDEX, MODULE, STYLE}


async def test_pages_are_read_only(http: httpx.AsyncClient) -> None:
    response = await http.post("/client/milepost.js")
    assert (response.status_code, response.headers["content-type"]) == (405, "application/problem+json")


async def test_allowed_origins_may_import_the_client(http: httpx.AsyncClient) -> None:
    allowed = await http.get("/client/milepost.js", headers={"Origin": "https://app.example"})
    foreign = await http.get("/client/milepost.js", headers={"Origin": "https://evil.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in foreign.headers
    assert "Origin" in foreign.headers["vary"]


async def test_a_file_that_changes_is_served_as_it_is_now(http: httpx.AsyncClient, folder: Path) -> None:
    path = folder / "client" / "changing.js"
    path.write_bytes(b"export const before = 1;")
    before = await http.get("/client/changing.js")
    path.write_bytes(b"export const afterwards = 2;")
    after = await http.get("/client/changing.js", headers={"If-None-Match": before.headers["etag"]})
    assert (after.status_code, after.content) == (200, b"export const afterwards = 2;")
    path.unlink()
    assert (await http.get("/client/changing.js")).status_code == 404


async def test_without_pages_the_hub_says_where_things_are() -> None:
    async with live_hub() as hub, httpx.AsyncClient(base_url=hub.url, trust_env=False) as http:
        told: dict[str, Any] = (await http.get("/")).json()
        assert told["status"] == 404
        for place in ("/api/jobs", "/ws", "/openapi.json"):
            assert place in told["detail"]
        assert (await http.get("/client/milepost.js")).status_code == 404


async def test_pages_are_no_part_of_the_contract(http: httpx.AsyncClient) -> None:
    paths = (await http.get("/openapi.json")).json()["paths"]
    assert not [path for path in paths if path == "/" or path.startswith(("/client", "/dashboard"))]


async def test_a_folder_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder"):
        Pages(tmp_path / "none")
