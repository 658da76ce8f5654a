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


class UnavailableError(CommandError):
    """The hub cannot do it just now, and does not know whether it was done."""


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
            kind = UnavailableError if error.status == HTTPStatus.SERVICE_UNAVAILABLE else CommandError
            raise kind(_problem(error.status or 0, error.read(_LONGEST))) from error
    except (OSError, http.client.HTTPException) as error:
        why = _words(error)
        raise CommandError(
            f"the hub at {root} cannot be reached ({why}): is it running, and is MILEPOST_URL (--url) right?"
        ) from error


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
