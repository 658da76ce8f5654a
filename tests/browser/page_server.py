"""A web site of somebody's own: it serves pages, and tokens for those who are logged in there."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from milepost_hub.token import issue

PAGES: Final = Path(__file__).parent / "pages"


class PageServer:
    """The site, on a port of its own: to the hub it is a foreign origin."""

    def __init__(self, secret: str) -> None:
        handler = functools.partial(_Handler, secret)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> PageServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, page: str, **asked: str) -> str:
        """Where a page is that has been told these things."""
        return f"{self.origin}/{page}#{urlencode(asked)}"


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files, and `/token?tenant=…&ttl=…`."""

    def __init__(self, secret: str, *arguments: object) -> None:
        self._secret = secret
        super().__init__(*arguments, directory=str(PAGES))  # type: ignore[arg-type] # the server's own arguments

    def do_GET(self) -> None:
        """A token is made anew for each request."""
        asked = urlsplit(self.path)
        if asked.path != "/token":
            super().do_GET()
            return
        query = parse_qs(asked.query)
        token = issue(self._secret, query["tenant"][0], ttl=float(query.get("ttl", ["3600"])[0])).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(token)))
        self.end_headers()
        self.wfile.write(token)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a test's output is about what went wrong."""
