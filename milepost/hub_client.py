"""The hub's HTTP API, as far as commands use it: one request, and what the hub says against it in words."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any, Final

from milepost import hub_url
from milepost.errors import CommandError

_PATIENCE: Final = 30.0
"""Seconds for the hub to answer."""
_LONGEST: Final = 1024 * 1024
_LONGEST_WORDS: Final = 200
_NOBODY_KNOWS: Final = frozenset(
    {
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""The hub's, or a proxy's that had its answer no more."""


class UnavailableError(CommandError):
    """Nobody knows whether it was done: the hub cannot do it just now, or was asked and has not answered."""


def ask(method: str, url: str, path: str, token: str, body: Any = None) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """What the hub answers, a JSON object. CommandError, in the hub's words and with its reasons, when it will not."""
    root = hub_url.http_url(url)
    headers = {"Authorization": f"Bearer {token}"}
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    request = urllib.request.Request(root + path, data, headers, method=method)  # noqa: S310 - http_url lets no other through
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as response:  # noqa: S310
            return _object(response.read(_LONGEST), root)
    except urllib.error.HTTPError as error:
        with error:
            kind = UnavailableError if error.status in _NOBODY_KNOWS else CommandError
            raise kind(_problem(error.status or 0, error.read(_LONGEST))) from error
    except (OSError, http.client.HTTPException) as error:
        asked = isinstance(error, OSError) and not isinstance(error, urllib.error.URLError)
        kind, what = (UnavailableError, "has not answered") if asked else (CommandError, "cannot be reached")
        check = "is it running, and is MILEPOST_URL (--url) right?"
        raise kind(f"the hub at {root} {what} ({_words(error)}): {check}") from error


def _words(error: Exception) -> str:
    """The error in one line: what is no hub may have answered with anything."""
    from milepost.watched_job import plain

    told = str(getattr(error, "reason", None) or error) or type(error).__name__
    return plain(" ".join(told.split()))[:_LONGEST_WORDS]


def _object(text: bytes, root: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise CommandError(f"{root} does not answer as a hub: is MILEPOST_URL (--url) the address of one?")
    return told


def _problem(status: int, text: bytes) -> str:
    """What is wrong, as RFC 9457 has it; below it, a line for each reason."""
    from milepost.watched_job import plain

    try:
        told = json.loads(text)
        detail, reasons = told["detail"], told.get("errors") or []
        lines = [f"  {'.'.join(map(str, reason['loc']))}: {reason['msg']}" for reason in reasons]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"the hub answered HTTP {status}: is MILEPOST_URL (--url) the address of one?"
    return "\n".join([f"the hub says ({status}): {plain(str(detail))}", *map(plain, lines)])
