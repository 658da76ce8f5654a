"""The hub's addresses, from whichever of them a person has at hand."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from milepost.errors import UsageError

DEFAULT: Final = "http://127.0.0.1:8080"

_SCHEMES: Final = {
    "http": ("http", "ws"),
    "https": ("https", "wss"),
    "ws": ("http", "ws"),
    "wss": ("https", "wss"),
}


def http_url(url: str) -> str:
    """The hub's root for HTTP, without a slash at the end. UsageError when `url` is none."""
    scheme, netloc, path = _parts(url)
    return urlunsplit((_SCHEMES[scheme][0], netloc, path, "", ""))


def websocket_url(url: str) -> str:
    """Where the hub's WebSocket is. UsageError when `url` is no URL."""
    scheme, netloc, path = _parts(url)
    return urlunsplit((_SCHEMES[scheme][1], netloc, f"{path}/ws", "", ""))


def dashboard_url(url: str, token: str, job: str | None = None) -> str:
    """A link that opens the dashboard with a token, at a job's page if one is given. UsageError when `url` is no URL.

    The token is in the fragment: a browser sends that to nobody, so it is in no log.
    """
    return f"{http_url(url)}/#{urlencode({'token': token} if job is None else {'token': token, 'job': job})}"


def _parts(url: str) -> tuple[str, str, str]:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        usable = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"--url (or MILEPOST_URL): {url!r} is not the address of a hub, as {DEFAULT} is")
    return parts.scheme, parts.netloc, parts.path.rstrip("/").removesuffix("/ws").rstrip("/")
