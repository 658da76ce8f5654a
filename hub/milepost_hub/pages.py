"""The pages a hub serves: the files of one folder, each read once, and nothing else of the disk.

Whoever gives the hub a folder says what is in it: `index.html` is `/`, `client/` and `dashboard/` keep their names.
"""

from __future__ import annotations

import gzip
import hashlib
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException

_INDEX: Final = "index.html"
_FOLDERS: Final = ("client", "dashboard")

# Not `mimetypes`, which asks the machine: there are some where a module would be text/plain, and so no module.
_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",
}
_COMPRESSED: Final = frozenset({".css", ".html", ".js", ".svg", ".ts"})

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS: Final = {
    # asked for again each time, and answered with 304: after an upgrade of the hub nobody has half of the old pages
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    # Pages of other origins import the client with CORS, which this does not concern; nothing else may embed a file.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding, Origin",
    "X-Content-Type-Options": "nosniff",
}


class _File(NamedTuple):
    """A file as it was when its state on the disk was `stamp`."""

    stamp: tuple[int, int]
    media_type: str
    plain: bytes
    packed: bytes | None
    """The same with gzip, where that is worth it."""
    tag: str


class Pages:
    """The files of a folder, as answers to requests."""

    def __init__(self, folder: Path) -> None:
        """Serve this folder. ValueError when it is none."""
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder} to serve pages from")
        self._folder = folder
        self._files: dict[str, _File] = {}

    def add_to(self, app: FastAPI) -> None:
        """Give the app the routes of all of them, for GET and HEAD."""

        async def index(request: Request) -> Response:
            return self._answer(request, _INDEX)

        app.add_route("/", index, include_in_schema=False)
        for folder in _FOLDERS:
            self.add_folder(app.router, folder)

    def add_folder(self, router: APIRouter, folder: str) -> None:
        """Give a router the routes of what is below this folder, for GET and HEAD."""

        async def page(request: Request) -> Response:
            return self._answer(request, f"{folder}/{request.path_params['path']}")

        router.add_route(f"/{folder}/{{path:path}}", page, include_in_schema=False)

    def _answer(self, request: Request, name: str) -> Response:
        file = self._find(name)
        if file is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "the hub has no such page")
        packed = file.packed if _takes_gzip(request.headers.get("accept-encoding", "")) else None
        tag = f'"{file.tag}-gzip"' if packed is not None else f'"{file.tag}"'
        headers = {**_HEADERS, "ETag": tag}
        if _knows(request.headers.get("if-none-match", ""), tag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        headers["Content-Type"] = file.media_type
        if packed is None:
            return Response(file.plain, headers=headers)
        return Response(packed, headers={**headers, "Content-Encoding": "gzip"})

    def _find(self, name: str) -> _File | None:
        """The file of this name, below the folder by its very words; None when there is none that is served."""
        words = name.split("/")
        media_type = _MEDIA_TYPES.get(Path(name).suffix)
        if media_type is None or any(word.startswith(".") or not word or set(word) & set("\\:\0") for word in words):
            return None
        path = self._folder.joinpath(*words)
        try:
            state = path.stat()
            stamp = (state.st_mtime_ns, state.st_size)
            known = self._files.get(name)
            if known is None or known.stamp != stamp:
                known = self._files[name] = _read(path, stamp, media_type)
        except OSError:
            return None
        return known


def _read(path: Path, stamp: tuple[int, int], media_type: str) -> _File:
    plain = path.read_bytes()
    # no time in it: hubs of one group give the same answer
    packed = gzip.compress(plain, mtime=0) if path.suffix in _COMPRESSED else None
    return _File(stamp, media_type, plain, packed, hashlib.sha256(plain).hexdigest()[:32])


def _takes_gzip(accepted: str) -> bool:
    for item in accepted.split(","):
        coding, _, weight = item.replace(" ", "").lower().partition(";q=")
        if coding == "gzip":
            return weight.strip("0.") != "" if weight else True
    return False


def _knows(tags: str, tag: str) -> bool:
    return tags.strip() == "*" or tag in (known.strip().removeprefix("W/") for known in tags.split(","))
